"""The frontier record: its numbers are the runs' numbers, its front is the front, and it reads back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import builders
import pytest
from builders import attack, run, share, threat
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash import judge
from unsmash.errors import RecordError
from unsmash.frontier import Entry, frontier, settled
from unsmash.frontier_record import About, Frontier, Reached, Row, Share, front, load, price
from unsmash.plain import dumps
from unsmash.records import Bound, Card, Failure, Run, Utility
from unsmash.subject import SplitRecord

THREATS = (
    threat(),
    replace(threat("repeat"), queries=16, asked=False),
    threat("gallery", asked=False, candidates=True),
)
CASES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans(), st.booleans()), max_size=9)


def measured(
    name: str = "laplace",
    hits: int = 20,
    listed: int = 60,
    right: int = 80,
    *,
    seed: int = 0,
    bare: int | None = 90,
    defences: Any = ({"kind": "laplace", "scale": 1.0},),
    **changes: Any,
) -> Run:
    """A run under three adversaries, with as many hits and as many classified rightly."""
    results = (
        attack("ridge", hits // 2),
        attack("decoder", hits),
        attack("decoder@repeat", min(100, hits + 10), threat="repeat"),
        attack("gallery", listed, threat="gallery", role="ceiling", card=Card(strong=True)),
    )
    undefended = None if bare is None else share(bare, metric="accuracy")
    settled: dict[str, Any] = {
        "results": results,
        "threats": THREATS,
        "id": f"{name}{seed}",
        "seed": seed,
        "experiment": {"data": {"kind": "digits"}, "defences": [dict(one) for one in defences], "seed": seed},
        "utility": Utility(share(right, metric="accuracy"), 0.1, 2, undefended),
        "seconds": {"total": 2.5},
    }
    return run(**(settled | changes))


def entry(name: str = "laplace", *runs: Run, **changes: Any) -> Entry:
    made = runs or (measured(name),)
    return Entry(name, made[0].experiment, made, **changes)


def study(*entries: Entry, **changes: Any) -> Frontier:
    settled: dict[str, Any] = {"id": "5eed", "name": "a study", "budget": "identification>0.05", "seeds": (0,)}
    return frontier(entries, **(settled | changes))


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_a_row_holds_the_runs_numbers() -> None:
    bounds = (
        Bound("ceiling_messages", "", 0.5, "share"),
        Bound("ceiling_gaussian", "the lower one", 0.25, "share"),
        Bound("converse", "", 0.01, "share"),
        Bound("ceiling_bits", "", 0.01, "bits"),
        Bound("ceiling_none", "", None, "share"),
    )
    one = measured(bounds=bounds)
    (row,) = study(entry("laplace", one, report="../../laplace0/report.html")).rows
    decoder = one.result("decoder").scores["identification"]
    assert row.attack == Reached(
        Share(decoder.mean, decoder.low, decoder.high, 100), "Decoder", "Title of query", 1, "decoder"
    )
    assert row.gallery is not None
    assert row.gallery.share.mean == 0.6
    assert row.repeats is not None
    assert (row.repeats.share.mean, row.repeats.messages) == (0.3, 16)
    assert row.ceiling is not None
    assert (row.ceiling.value, row.ceiling.title) == (0.25, "the lower one")
    assert row.accuracy is not None
    assert (row.accuracy.mean, row.undefended) == (0.8, 0.9)
    assert row.lost == pytest.approx(0.1)
    assert one.split is not None
    assert (row.bytes_sent, row.device_macs) == (one.split.bytes_sent, one.split.device_macs)
    assert row.word == judge.judge([one], "identification>0.05").word == "leaks"
    assert (row.runs, row.seconds, row.report) == (("laplace0",), 2.5, "../../laplace0/report.html")
    assert row.defences == ({"kind": "laplace", "scale": 1.0},)


def test_seeds_are_pooled_as_the_verdict_pools_them() -> None:
    runs = [measured(hits=hits, right=right, bare=bare, seed=seed)
            for seed, (hits, right, bare) in enumerate([(20, 80, 90), (30, 84, 92), (25, 70, 85)])]  # fmt: skip
    (row,) = study(entry("laplace", *runs), seeds=(0, 1, 2)).rows
    best = judge.strongest(runs, ["decoder"], "identification")
    assert best is not None
    assert row.attack is not None
    assert row.attack.share == Share(best.mean, best.low, best.high, best.n)
    assert row.accuracy is not None
    assert row.accuracy.mean == pytest.approx((80 + 84 + 70) / 300)
    assert row.accuracy.low < min(0.78, row.accuracy.mean) < row.accuracy.high
    assert row.lost == pytest.approx((90 + 92 + 85) / 300 - row.accuracy.mean)
    assert row.seconds == 7.5
    assert row.runs == ("laplace0", "laplace1", "laplace2")


def test_a_ceiling_holds_for_every_seed_or_is_none() -> None:
    def bounded(seed: int, *values: float) -> Run:
        bounds = tuple(Bound(f"ceiling_{place}", "", value, "share") for place, value in enumerate(values))
        return measured(seed=seed, bounds=bounds)

    (row,) = study(entry("laplace", bounded(0, 0.3, 0.6), bounded(1, 0.4, 0.35)), seeds=(0, 1)).rows
    assert row.ceiling is not None
    assert row.ceiling.value == 0.35
    (row,) = study(entry("laplace", bounded(0, 0.3), bounded(1)), seeds=(0, 1)).rows
    assert row.ceiling is None


def test_a_ceiling_that_forbids_nobody_is_not_shown() -> None:
    made = study(entry())
    for value, shown in ((0.25, 0.25), (0.995, 0.995), (0.9951, None), (1.0, None)):
        row = replace(made.rows[0], ceiling=None if value is None else _ceiling(value))
        assert made.ceiling(row) == shown
    assert made.ceiling(made.rows[0]) is None


def _ceiling(value: float) -> Any:
    return study(entry("a", measured(bounds=(Bound("ceiling", "", value, "share"),)))).rows[0].ceiling


def test_an_undefended_row_has_lost_nothing() -> None:
    (row,) = study(entry("none", measured("none", 100, 100, defences=(), bare=None))).rows
    assert row.lost == 0.0
    assert row.undefended == 0.8


def test_what_was_not_measured_is_none() -> None:
    bare = measured(utility=None, split=None, results=(attack("decoder", 3),), threats=(threat(),))
    (row,) = study(entry("a", bare)).rows
    assert (row.accuracy, row.lost, row.undefended, row.gallery, row.repeats, row.ceiling) == (None,) * 6
    assert (row.bytes_sent, row.device_macs, row.front) == (None, None, False)
    assert row.attack is not None


def test_the_strongest_is_that_of_any_adversary_asked_about() -> None:
    asked = (THREATS[0], replace(THREATS[1], asked=True), THREATS[2])
    (row,) = study(entry("a", measured(threats=asked))).rows
    assert row.attack is not None
    assert (row.attack.share.mean, row.attack.messages) == (0.3, 16)


def test_a_low_share_without_strength_is_doubted() -> None:
    weak = (attack("decoder", 1, card=Card()), attack("gallery", 60, threat="gallery", role="ceiling"))
    (row,) = study(entry("a", measured(results=weak, threats=(THREATS[0], THREATS[2])))).rows
    assert row.word == "inconclusive"
    assert row.doubt
    assert not row.front
    strong = (attack("decoder", 1), weak[1])
    (row,) = study(entry("a", measured(results=strong, threats=(THREATS[0], THREATS[2])))).rows
    assert row.doubt == ""
    assert row.front


@pytest.mark.parametrize(("budget", "good"), [
    ("identification>0.5", True), ("identification>0.05", False), ("identification>0.5 or accuracy<0.99", False),
    ("identification>0.5 or accuracy<0.5", True), ("identification>0.5 or bytes>3", False),
])  # fmt: skip
def test_good_enough_is_within_the_whole_budget(budget: str, good: bool) -> None:
    assert study(entry(), budget=budget).rows[0].good is good


def test_the_budgets_limits_are_told() -> None:
    made = study(
        entry(), budget="identification>5% or identification>0.1 or accuracy<0.9 or gallery_identification>0.2"
    )
    assert (made.limit, made.gallery_limit, made.least_accuracy, made.chosen) == (0.05, 0.2, 0.9, "identification")
    listed = study(entry(), budget="gallery_identification>0.2")
    assert (listed.limit, listed.gallery_limit, listed.chosen) == (None, 0.2, "gallery_identification")


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_failed_variant_is_a_row_with_its_reason() -> None:
    failure = Failure("TrainingError", "NaN at step 3", "victim")
    lost = entry("nan", replace(measured(), failure=failure))
    never = Entry("never", {"defences": [{"kind": "laplace"}]}, failure=failure, seconds=3.0)
    half = entry("half", measured(seed=0), replace(measured(seed=1), failure=failure))
    made = study(lost, entry("fine"), never, half)
    assert [row.name for row in made.rows] == ["fine", "nan", "never", "half"]  # failed ones last
    for row in made.rows[1:]:
        assert (row.word, row.failure, row.reason, row.front, row.good) == (
            "failed",
            failure,
            "NaN at step 3",
            False,
            False,
        )
        assert row.attack is None


def test_nothing_finished_is_a_frontier_all_the_same() -> None:
    made = study(Entry("a", {"defences": []}, failure=Failure("E", "m", "s")))
    assert (made.n, made.label, made.curves, made.environment) == (0, None, (), None)
    assert load(dumps(made)) == made


# -- price and front --------------------------------------------------------------------------------------------------


def priced(name: str, right: int, sent: int, macs: int) -> Entry:
    split = SplitRecord("splitnn", "code", ((8,),), sent, 64, 900, 80, macs)
    return entry(name, measured(name, right=right, split=split))


def test_rows_are_sorted_by_accuracy_lost_then_bytes_then_work() -> None:
    made = study(
        priced("dear", 80, 1, 1), priced("work", 90, 10, 9), priced("light", 90, 10, 5), priced("short", 90, 4, 9),
        priced("gain", 92, 99, 99), entry("unknown", measured(utility=None)),
    )  # fmt: skip
    assert [row.name for row in made.rows] == ["gain", "short", "light", "work", "dear", "unknown"]


def test_less_than_a_tenth_of_a_point_is_no_price() -> None:
    near, far = Row("a", "leaks", lost=0.00049, bytes_sent=5), Row("b", "leaks", lost=-0.0004, bytes_sent=5)
    assert price(near) == price(far)
    assert price(replace(near, lost=0.0006)) > price(far)


@given(CASES)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_front_is_what_no_other_row_beats(cases: list[tuple[int, int, bool, bool]]) -> None:
    rows = []
    for right, hits, doubted, missing in cases:
        reached = None if missing else Reached(Share(hits / 6, 0, 1, 6), "", "")
        rows.append(Row("r", "leaks", accuracy=Share(right / 6, 0, 1, 6), attack=reached, doubt="weak" * doubted))
    counted = [place for place, case in enumerate(cases) if not case[2] and not case[3]]
    expected = set()
    for place in counted:
        beaten = False
        for other in counted:
            more, less = cases[other][0] - cases[place][0], cases[place][1] - cases[other][1]
            beaten = beaten or (more >= 0 and less >= 0 and more + less > 0)
        expected |= set() if beaten else {place}
    assert front(rows, "identification") == expected
    assert bool(expected) == bool(counted)


def test_the_front_may_be_about_the_candidate_list() -> None:
    made = study(
        entry("a", measured("a", hits=1, listed=90)), entry("b", measured("b", hits=40, listed=50)),
        budget="gallery_identification>0.2",
    )  # fmt: skip
    assert [row.name for row in made.rows if row.front] == ["b"]


# -- curves -----------------------------------------------------------------------------------------------------------


def swept(name: str, *defences: dict[str, Any], **more: Any) -> Entry:
    one = measured(name, defences=defences)
    return entry(name, replace(one, experiment=one.experiment | more))


def test_rows_that_differ_in_one_number_of_one_defence_are_a_curve() -> None:
    late = {"kind": "laplace", "when": "inference"}
    made = study(
        swept("b", late | {"scale": 2.0}), swept("a", late | {"scale": 0.5}), swept("c", late | {"scale": 1.0}),
        swept("always", {"kind": "laplace", "when": "always", "scale": 0.5}),
        swept("other", late | {"scale": 3.0}, train={"epochs": 3}),
        swept("two", late | {"scale": 0.5}, {"kind": "gaussian", "sigma": 1.0}),
        Entry("failed", {"defences": [late | {"scale": 9.0}]}, failure=Failure("E", "m", "s")),
    )  # fmt: skip
    (curve,) = made.curves
    assert curve.title == "laplace, inference: scale"
    assert [made.rows[place].name for place in curve.rows] == ["a", "c", "b"]
    assert curve.values == (0.5, 1.0, 2.0)


def test_a_grid_gives_a_curve_for_each_line_and_switches_are_no_numbers() -> None:
    def cell(clip: float, sigma: float, memoise: bool = False) -> Entry:
        return swept(
            f"{clip} {sigma} {memoise}", {"kind": "gaussian", "clip": clip, "sigma": sigma, "memoise": memoise}
        )

    made = study(cell(1.0, 0.5), cell(1.0, 1.0), cell(2.0, 0.5), cell(1.0, 0.5, True))
    assert sorted((curve.title, curve.values) for curve in made.curves) == [
        ("gaussian: clip", (1.0, 2.0)),
        ("gaussian: sigma", (0.5, 1.0)),
    ]


# -- the bar ----------------------------------------------------------------------------------------------------------


def test_the_label_is_measured_where_a_run_has_it() -> None:
    labelled = attack("label_only", 3, role="floor", threat="")
    one = measured("a", bare=95)
    split = replace(one.split, whole_macs=7000) if one.split else None
    better = replace(one, results=(*one.results, labelled), split=split)
    made = study(entry("b", measured("b", bare=90)), entry("a", better))
    assert made.label is not None
    assert made.label.measured
    assert (made.label.share, made.label.device_macs) == (0.03, 7000)
    assert made.label.accuracy is not None
    assert made.label.accuracy.mean == 0.95


def test_the_label_is_computed_from_the_classes_otherwise() -> None:
    made = study(entry("a", measured("a", bare=90)), entry("b", measured("b", bare=93)))
    assert made.label is not None
    assert not made.label.measured
    assert made.label.share == 2 / 100  # classes by victims
    assert made.label.accuracy is not None
    assert made.label.accuracy.mean == 0.93
    single = replace(builders.data(), classes=("one",))
    assert study(entry("a", measured("a", data=single))).label is None


# -- as a document ----------------------------------------------------------------------------------------------------


def full() -> Frontier:
    about = About("laplace", "Adds noise.", "Hides. Does not.", "nothing", "free", "Titcombe et al. 2021")
    failed = Entry("failed", {"defences": [{"kind": "dpsgd"}]}, failure=Failure("E", "m", "s"), seconds=1.0)
    bounded = measured(
        "b", defences=({"kind": "laplace", "scale": 2.0},), bounds=(Bound("ceiling", "t", 0.5, "share", "c", ("p",)),)
    )
    return study(entry("a"), entry("b", bounded), failed, defences=(about,), command="unsmash sweep study.yaml")


def test_a_frontier_reads_back() -> None:
    made = full()
    assert made.curves
    assert load(dumps(made)) == made
    assert load(dumps(made, indent=1)) == made
    assert json.loads(dumps(made))["version"] == 1


@pytest.mark.parametrize("text", ["", "[]", "{", "3", '{"version": 9}', '{"version": 1}'])
def test_what_is_no_frontier_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        load(text)


def test_a_frontier_of_a_newer_version_is_refused() -> None:
    raw = json.loads(dumps(full()))
    with pytest.raises(RecordError, match="version 2"):
        load(json.dumps(raw | {"version": 2}))
    with pytest.raises(RecordError, match="later"):
        load(json.dumps(raw | {"later": 1}))


def test_what_rows_share_is_told_once() -> None:
    made = full()
    assert (made.data, made.model, made.fingerprint) == ("digits", "splitnn cut after code", "fade")
    assert (made.n, made.noun) == (100, ("digit", "digits"))
    elsewhere = measured("c")
    assert elsewhere.split is not None
    cut = replace(elsewhere, split=replace(elsewhere.split, at="pool"))
    assert study(entry("a"), entry("c", cut)).model == "splitnn"
    assert not math.isnan(made.rows[0].seconds)


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("labelled", "broken"), [(True, False), (False, False), (True, True)])
def test_entries_settled_one_by_one_give_the_same_frontier(labelled: bool, broken: bool) -> None:
    budget = "identification>0.05 or accuracy<0.9"
    entries = [Entry("failed", {"defences": []}, failure=Failure("TrainingError", "NaN", "victim"), seconds=3.0)]
    for number in range(2):
        one = measured(f"run{number}", 5 * number, right=88 + number, bare=90 + number if labelled else None)
        if labelled:
            one = replace(one, results=(*one.results, attack("label_only", 3, role="floor", threat="")))
        if broken and number:
            one = replace(one, failure=Failure("UnsmashError", "no", "proofs"))
        entries.append(Entry(f"row {number}", one.experiment, (one, replace(one, seed=1)), "page.html", seconds=1.0))
    slim = [settled(entry, budget) for entry in entries]
    made = [frontier(some, id="5eed", name="study", budget=budget, seeds=(0, 1)) for some in (slim, entries)]
    assert made[0] == made[1]
    for run_ in (one for entry in slim for one in entry.runs):
        assert {result.name for result in run_.results} <= {"label_only"}
        assert '"values": [0' not in dumps(run_)
        assert '"values": [1' not in dumps(run_)
        assert all(not result.ranks for result in run_.results)
