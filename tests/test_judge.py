"""The verdict: by intervals and strength cards, for each adversary asked for; in doubt inconclusive, never a pass."""

from __future__ import annotations

from dataclasses import replace

import builders
import pytest
from builders import attack, figure, share, threat
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from unsmash.errors import ConfigError
from unsmash.judge import judge
from unsmash.records import Card, ClassRecord, Failure, Result, Run, Score

N = builders.N
FIVE = "identification>0.05"


def bounds(hits: int, n: int) -> tuple[float, float]:
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def word(*results: Result, budget: str = FIVE) -> str:
    return judge([builders.run(results)], budget).word


# -- what the network gives away of its classes -----------------------------------------------------------------------


def with_classes(*records: ClassRecord | None, hits: int = 0) -> list[Run]:
    return [builders.run([attack(hits=hits)], classes=record) for record in records]


@pytest.mark.parametrize("recognised", [0, 10])
@pytest.mark.parametrize("hits", [0, 90])
def test_a_class_attack_never_decides_unless_the_budget_names_it(recognised: int, hits: int) -> None:
    plain, more = with_classes(None, builders.class_record(recognised), hits=hits)
    assert judge([plain], FIVE) == judge([more], FIVE)


@pytest.mark.parametrize(("recognised", "word"), [(10, "leaks"), (0, "passes"), (3, "inconclusive")])
def test_a_budget_that_names_it_is_judged_by_its_interval(recognised: int, word: str) -> None:
    found = judge(with_classes(builders.class_record(recognised)), "class_recognition>0.31")
    assert found.word == word
    assert "miface" in found.terms[0]
    low, high = bounds(recognised, 10)
    assert (low > 0.31, high <= 0.31) == (word == "leaks", word == "passes")


def test_images_that_the_network_itself_is_unsure_of_support_no_pass() -> None:
    found = judge(with_classes(builders.class_record(0, confidence=0.3)), "class_recognition>0.31")
    assert (found.word, found.exit_code) == ("inconclusive", 3)
    assert "did not make the network sure" in found.sentence
    assert judge(with_classes(builders.class_record(10, confidence=0.3)), "class_recognition>0.31").word == "leaks"


@pytest.mark.parametrize("record", [None, builders.class_record(failure="MemoryError: no message")])
def test_a_class_attack_that_nobody_ran_or_that_broke_is_inconclusive(record: ClassRecord | None) -> None:
    found = judge(with_classes(record), "class_recognition>0.31")
    assert found.word == "inconclusive"
    assert "not measured" in found.terms[0]


def test_seeds_of_a_class_attack_are_pooled() -> None:
    one, two = builders.class_record(10), builders.class_record(0)
    assert judge(with_classes(one, one), "class_recognition>0.5").word == "leaks"
    assert judge(with_classes(one, two), "class_recognition>0.5").word == "inconclusive"
    assert judge(with_classes(one, None), "class_recognition>0.5").word == "inconclusive"


# -- the rule ---------------------------------------------------------------------------------------------------------


@given(
    hits=st.lists(st.integers(0, 200), min_size=1, max_size=4),
    limit=st.integers(0, 100),
    cards=st.lists(st.sampled_from([True, False, None]), min_size=4, max_size=4),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_leaks_passes_or_neither(hits: list[int], limit: int, cards: list[bool | None]) -> None:
    n = 200
    strong = cards[: len(hits)]
    results = [attack(f"a{i}", h, n=n, card=Card(strong=s)) for i, (h, s) in enumerate(zip(hits, strong, strict=True))]
    found = judge([builders.run(results, n=n)], f"identification>{limit / 100}")
    counted = [h for h, s in zip(hits, strong, strict=True) if s is not False]
    if counted and bounds(max(counted), n)[0] > limit / 100:
        expected = "leaks"
    elif all(s is True for s in strong) and bounds(max(counted), n)[1] <= limit / 100:
        expected = "passes"
    else:
        expected = "inconclusive"
    assert found.word == expected
    assert found.exit_code == {"passes": 0, "leaks": 1, "inconclusive": 3}[expected]
    assert found.adversaries[0].word == expected
    assert (found.reasons == ()) == (expected != "inconclusive")


def test_the_edges_of_the_rule() -> None:
    low, high = bounds(7, N)
    assert word(attack(hits=7), budget=f"identification>{low!r}") == "inconclusive"  # not over the limit, but at it
    assert word(attack(hits=7), budget=f"identification>{high!r}") == "passes"  # at the limit is within it
    assert word(attack(hits=7), budget=f"identification>={low!r}") == "leaks"
    assert word(attack(hits=7), budget=f"identification>={high!r}") == "inconclusive"


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (Card(strong=None), "the attacks were not tried where they should succeed"),
        (Card(strong=False), "the attack failed even where it should succeed"),
        (Card(strong=True, collapsed=True), "an attack gave every victim nearly the same guess"),
        (Card(strong=True, beats_ridge=False), "a learned attack did worse than the closed-form one"),
    ],
)
def test_a_low_number_of_an_attack_without_a_good_card_is_no_pass(card: Card, told: str) -> None:
    for results in (
        [attack(card=card)],
        [attack(card=card), attack("ridge", 0)],
        [attack("ridge", 0), attack(card=card)],
    ):
        found = judge([builders.run(results)], "identification>0.5")
        assert (found.word, found.exit_code, found.reasons) == ("inconclusive", 3, (told,))
        assert found.sentence == f"No verdict: {told}."
        assert found.adversaries[0].reason == told


def test_an_attack_that_did_not_finish_is_no_pass() -> None:
    failed = attack("decoder", failure="MemoryError: no message")
    found = judge([builders.run([attack("ridge", 0), failed])], "identification>0.5")
    assert (found.word, found.reasons) == ("inconclusive", ("1 attack did not finish",))
    found = judge([builders.run([failed, attack("lookalike", failure="x"), attack("ridge", 0)])], "identification>0.5")
    assert found.reasons == ("2 attacks did not finish",)


@pytest.mark.parametrize("card", [builders.STRONG, Card(strong=True, beats_ridge=False), Card(strong=False)])
def test_an_attack_that_does_not_know_the_defence_never_makes_a_pass_nor_stands_in_its_way(card: Card) -> None:
    unaware = replace(attack("unaware", 0, card=card), settings={"aware": False})
    aware = replace(attack("decoder", 0), settings={"aware": True})
    assert word(unaware) == "inconclusive"
    assert word(attack("ridge", 0), unaware) == "passes"
    assert word(aware, unaware) == "passes"
    found = judge([builders.run([unaware])])
    assert found.reasons == ("only attacks that do not know the defence were tried",)
    assert word(attack("ridge", 0), replace(unaware, failure="x", scores={})) == "inconclusive"


def test_an_attack_that_does_not_know_the_defence_leaks_like_any_other() -> None:
    unaware = replace(attack("unaware", 60), settings={"aware": False})
    assert word(attack("ridge", 0), unaware) == "leaks"


@pytest.mark.parametrize("card", [Card(exhibit=True), Card(exhibit=True, collapsed=True)], ids=["weak", "collapsed"])
def test_an_attack_kept_as_published_raises_no_doubt_and_settles_nothing(card: Card) -> None:
    exhibit = attack("published", 0, card=card)
    assert word(attack("ridge", 0), exhibit) == "passes"
    assert word(attack("ridge", 0), replace(exhibit, failure="x", scores={})) == "passes"
    assert word(exhibit) == "inconclusive"


def test_an_attack_kept_as_published_counts_where_it_succeeds() -> None:
    assert word(attack("ridge", 0), attack("published", 60, card=Card(exhibit=True))) == "leaks"


def test_no_attack_at_all_is_no_pass() -> None:
    assert word() == "inconclusive"
    assert word(attack("mean_image", 0, threat="", role="floor")) == "inconclusive"


def test_a_floor_never_decides() -> None:
    floor = attack("class_mean", 99, threat="", role="floor", card=Card())
    assert word(floor, attack(hits=0)) == "passes"


def test_a_leak_counts_although_another_attack_is_broken_and_a_broken_attack_never_leaks() -> None:
    broken = [attack("b", 99, card=Card(strong=True, collapsed=True)), attack("c", failure="RuntimeError: x")]
    found = judge([builders.run([attack("ridge", 60), *broken])])
    assert (found.word, found.adversaries[0].attack, found.adversaries[0].count) == ("leaks", "ridge", 60)
    assert word(*broken) == "inconclusive"


def test_an_attack_needs_no_control_to_leak() -> None:
    assert word(attack(hits=60, card=Card(strong=None))) == "leaks"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_strongest_attack_stands_for_its_adversary(order: tuple[int, ...]) -> None:
    results = [attack("weak", 1), attack("middling", 30), attack("mighty", 80)]
    one = judge([builders.run([results[i] for i in order])]).adversaries[0]
    assert (one.attack, one.count, one.n) == ("mighty", pytest.approx(80), N)
    assert (one.low, one.high) == pytest.approx(bounds(80, N))
    assert one.limit == 0.05


def test_the_union_counts_victims_exposed_to_at_least_one_valid_attack() -> None:
    shifted = tuple(float(15 <= victim < 25) for victim in range(N))
    second = attack("second", 10)
    second = replace(second, scores={"identification": replace(second.scores["identification"], values=shifted)})
    collapsed = attack("third", 99, card=Card(strong=True, collapsed=True))
    one = judge([builders.run([attack("first", 20), second, collapsed])]).adversaries[0]
    assert (one.count, one.union, one.attacks) == (pytest.approx(20), 25, 2)


def test_every_upper_end_must_be_within_the_limit_not_only_that_of_the_highest_mean() -> None:
    narrow, wide = figure("ssim", 0.36, 0.01), figure("ssim", 0.34, 0.10)
    found = judge([builders.run([attack("a", 0, narrow), attack("b", 0, wide)])], "ssim>0.4")
    assert found.word == "inconclusive"
    assert "by b" in found.terms[0]
    assert word(attack("a", 0, narrow), attack("b", 0, figure("ssim", 0.34, 0.05)), budget="ssim>0.4") == "passes"


# -- adversaries ------------------------------------------------------------------------------------------------------


def two(query: int, repeat: int) -> Run:
    results = [attack("decoder", query), attack("decoder@repeat", repeat, threat="repeat")]
    return builders.run(results, [threat(), threat("repeat")])


def test_one_leaking_adversary_is_a_leak_and_is_named() -> None:
    found = judge([two(0, 70)])
    assert found.word == "leaks"
    assert found.sentence == "The adversary repeat can pick out 70 of 100 private digits. Your limit is 5."
    assert [one.word for one in found.adversaries] == ["passes", "leaks"]


def test_where_several_leak_the_weakest_adversary_is_named() -> None:
    assert judge([two(50, 90)]).sentence.startswith("The adversary query can pick out 50 of 100")


def test_a_pass_needs_every_adversary_asked_for_and_tells_the_strongest() -> None:
    found = judge([two(1, 4)], "identification>0.2")
    assert found.word == "passes"
    assert found.sentence == "The strongest attacker tried picks out 4 of 100 private digits. Your limit is 20."
    untried = [attack("decoder", 0), attack("decoder@repeat", 0, threat="repeat", card=Card())]
    assert judge([builders.run(untried, [threat(), threat("repeat")])], "identification>0.2").word == "inconclusive"


@pytest.mark.parametrize("hits", [0, 3, 99])
def test_an_adversary_not_asked_for_never_decides(hits: int) -> None:
    for card in (Card(), Card(strong=True), Card(strong=False)):
        results = [attack("decoder", 0), attack("other", hits, threat="shown", card=card)]
        found = judge([builders.run(results, [threat(), threat("shown", asked=False)])])
        assert found.word == "passes"
        assert found.adversaries[1].limit is None


def with_gallery(query: int, gallery: int) -> Run:
    results = [attack("decoder", query), attack("gallery", gallery, threat="gallery", role="ceiling")]
    return builders.run(results, [threat(), threat("gallery", asked=False, candidates=True)])


def test_the_gallery_decides_only_where_the_budget_names_it() -> None:
    assert judge([with_gallery(0, 99)]).word == "passes"
    assert judge([with_gallery(0, 99)], "gallery_identification>0.2").word == "leaks"
    assert judge([with_gallery(99, 0)], "gallery_identification>0.2").word == "passes"
    assert judge([with_gallery(99, 20)], "gallery_identification>0.2").word == "inconclusive"
    both = "identification>0.05 or gallery_identification>0.2"
    assert [judge([with_gallery(*hits)], both).word for hits in ((0, 0), (99, 0), (0, 99))] == [
        "passes",
        "leaks",
        "leaks",
    ]


def test_the_gallery_has_its_own_limit_and_sentence() -> None:
    found = judge([with_gallery(0, 99)], "identification>0.05 or gallery_identification>0.2")
    assert [one.limit for one in found.adversaries] == [0.05, 0.2]
    assert found.sentence == "The adversary gallery can pick out 99 of 100 private digits. Your limit is 20."


def test_a_gallery_nobody_played_is_inconclusive() -> None:
    found = judge([builders.run([attack(hits=0)])], "gallery_identification>0.2")
    assert (found.word, found.reasons) == ("inconclusive", ("gallery_identification was not measured here",))


# -- other metrics ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "leaky", "close", "safe"),
    [
        ("ssim>0.4", 0.6, 0.405, 0.2),
        ("psnr>20", 25.0, 20.005, 10.0),
        ("mse<0.05", 0.02, 0.055, 0.2),
        ("mse<=0.05", 0.02, 0.055, 0.2),
        ("recognition>0.5", 0.9, 0.51, 0.1),
    ],
)
def test_other_metrics_leak_in_their_own_direction(budget: str, leaky: float, close: float, safe: float) -> None:
    metric = budget.split("<")[0].split(">")[0]

    def case(value: float, card: Card = builders.STRONG) -> str:
        score = share(round(value * N), metric=metric) if metric == "recognition" else figure(metric, value)
        harmless = figure(metric, 0.3) if metric == "mse" else figure(metric, 0.05)
        return word(attack("a", 0, score, card=card), attack("b", 0, harmless), budget=budget)

    assert case(leaky) == "leaks"
    assert case(close) == "inconclusive"
    assert case(safe) == "passes"
    assert case(safe, Card(strong=None)) == "inconclusive"
    assert case(leaky, Card(strong=True, collapsed=True)) == "inconclusive"


def test_the_smallest_error_is_the_strongest() -> None:
    results = [attack("far", 0, figure("mse", 0.3)), attack("near", 0, figure("mse", 0.02))]
    found = judge([builders.run(results)], "mse<0.05")
    assert found.terms == ("mse<0.05: 0.02 by near (95 % interval 0.01 to 0.03, n = 100)",)
    assert found.sentence == f"Over your limit: {found.terms[0]}."


def test_a_metric_nobody_measured_is_inconclusive() -> None:
    found = judge([builders.run([attack(hits=0)])], "ms_ssim>0.4")
    assert (found.word, found.reasons) == ("inconclusive", ("no valid attack measured ms_ssim",))


@pytest.mark.parametrize(
    ("budget", "code"),
    [
        ("accuracy<0.5", 0),
        ("accuracy<0.99", 1),
        ("accuracy<0.9", 3),
        ("accuracy<=0.5", 0),
        ("bytes>104", 0),
        ("bytes>=104", 1),
        ("bytes>103", 1),
        ("bytes>200", 0),
        ("latency_ms>1", 1),
        ("latency_ms>2", 0),
    ],
)
def test_cost_is_judged_as_it_is(budget: str, code: int) -> None:
    run = builders.run([attack(hits=0)])  # accuracy 90 of 100, 104 bytes, median latency 1.5 ms
    assert judge([run], budget).exit_code == code
    both = judge([run], f"{FIVE} or {budget}")
    assert both.exit_code == code
    assert both.word == "passes"  # the word is about leakage; the exit code is about everything asked


def test_cost_that_was_not_measured_is_inconclusive() -> None:
    bare = builders.run([attack(hits=0)], utility=None, split=None, latency_ms=())
    for budget in ("accuracy<0.1", "bytes>9", "latency_ms>9"):
        assert judge([bare], budget).exit_code == 3


def test_and_needs_both_and_or_needs_one() -> None:
    run = builders.run([attack("decoder", 60, figure("ssim", 0.2))])
    assert judge([run], "identification>0.05 and ssim>0.4").word == "passes"
    assert judge([run], "identification>0.05 or ssim>0.4").word == "leaks"
    assert judge([run], "identification>0.05 and ms_ssim>0.4").word == "inconclusive"
    assert judge([run], "identification>0.05 or ms_ssim>0.4").word == "leaks"


# -- words ------------------------------------------------------------------------------------------------------------


def test_too_close_says_how_many_and_what_would_help() -> None:
    found = judge([builders.run([attack(hits=7)])])
    assert found.sentence == "No verdict: 7 of 100 is too close to your limit of 5: more digits or seeds are needed."
    found = judge([builders.run([attack(hits=29)])], "identification>0.29")  # 0.29 · 100 is a little under 29 in floats
    assert "your limit of 29:" in found.sentence


def test_a_failed_run_has_no_verdict_and_says_why() -> None:
    failed = builders.run([], failure=Failure("TrainingError", "loss is NaN at step 3", "victim"))
    for runs in ([failed], [builders.run([attack(hits=0)]), failed]):
        found = judge(runs)
        assert (found.word, found.exit_code) == ("inconclusive", 3)
        assert found.sentence == "No verdict: the run failed in victim: loss is NaN at step 3"


def test_a_budget_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^fail-if: got 'x'"):
        judge([builders.run([attack(hits=0)])], "x>1")


def test_every_comparison_is_told_with_its_figure() -> None:
    found = judge([builders.run([attack(hits=7)])], "identification>0.05 or bytes>100")
    low, high = bounds(7, N)
    assert found.terms == (
        f"identification>0.05: 0.07 by decoder (95 % interval {low:.3g} to {high:.3g}, n = 100)",
        "bytes>100: 104",
    )
    assert found.reasons[1] == "bytes 104 against your limit of 100"


# -- seeds ------------------------------------------------------------------------------------------------------------


def seeds(*hits: int) -> list[Run]:
    return [builders.run([attack(hits=h)], seed=seed) for seed, h in enumerate(hits)]


def test_seeds_are_pooled() -> None:
    found = judge(seeds(10, 20, 30))
    one = found.adversaries[0]
    assert found.seeds == 3
    assert one.count == pytest.approx(20)
    low, high = bounds(20, N)
    assert one.low <= low + 1e-12
    assert one.high >= high - 1e-12  # seeds add no victims, so the interval is never tighter than one seed's


def test_seeds_that_disagree_are_inconclusive_where_one_alone_would_leak() -> None:
    assert [judge(seeds(h)).word for h in (0, 60)] == ["passes", "leaks"]
    assert judge(seeds(0, 60)).word == "inconclusive"


def test_an_attack_that_is_broken_in_one_seed_supports_no_pass() -> None:
    broken = builders.run([attack(hits=0, card=Card(strong=False))], seed=1)
    assert judge([*seeds(0, 0), broken]).word == "inconclusive"
    unfinished = builders.run([attack(failure="RuntimeError: x")], seed=1)
    assert judge([*seeds(0), unfinished]).word == "inconclusive"


def test_an_attack_that_is_broken_in_one_seed_does_not_leak() -> None:
    broken = builders.run([attack(hits=90, card=Card(strong=True, collapsed=True))], seed=1)
    assert judge([*seeds(90), broken]).word == "inconclusive"


def test_the_seeds_that_pass_together_pass() -> None:
    found = judge(seeds(0, 1, 0))
    assert (found.word, found.exit_code) == ("passes", 0)


def test_accuracy_over_seeds_is_pooled() -> None:
    def one(right: int) -> Run:
        score: Score = share(right, metric="accuracy")
        return builders.run([attack(hits=0)], utility=replace(builders.full_run().utility, accuracy=score))  # type: ignore[type-var]

    assert judge([one(95)], "accuracy<0.85").exit_code == 0
    assert judge([one(95), one(60)], "accuracy<0.85").exit_code == 3
