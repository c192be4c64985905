"""Advice on real digits: what meets the demand is found, nothing tried is lost, the re-test has the word."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small import TINY

import unsmash
from unsmash import advice_record, advising, choosing, demands, recogniser, retesting
from unsmash.advice_record import Advice, Retest, Trial, candidates, choices
from unsmash.advising import Advised
from unsmash.attacks.base import Attack
from unsmash.auditing import load
from unsmash.component import discover
from unsmash.errors import ConfigError, DependencyError, UnsmashError
from unsmash.events import Event, silent
from unsmash.lab import Lab
from unsmash.recipes import Space, recipes
from unsmash.report import render_advice
from unsmash.report.advice_findings import headline, lines
from unsmash.searching import Search
from unsmash.store import Store
from unsmash.threat import Secret, standing
from unsmash.trying import Bench

ASKED: dict[str, Any] = {
    "data": TINY,
    "model": "shallow_net",
    "train": {"epochs": 2},
    "attacks": ["ridge", "gallery"],
    "threats": [one.model_dump(mode="json") for one in standing()],
    "budget": "gallery_identification<=0.6",
    "only": ["label", "no defence", "quantise"],
    "trials": 6,
    "seeds": 1,
}
"""Of these only the label is not found by whoever holds the candidates"""

LADDER, STEPS = retesting.ladder, recogniser.STEPS


def advised(out: Path, **changes: Any) -> Advised:
    return unsmash.advise(**(ASKED | {"out": out} | changes))


def few(allowed: Any, given: Any = ()) -> tuple[Attack, ...]:
    """A ladder of those attacks alone that the study names."""
    return tuple(given)


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unsmash.recogniser.STEPS", 12)
        patch.setattr(retesting, "ladder", few)
        yield


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Advised, list[Event]]:
    events: list[Event] = []
    return advised(tmp_path_factory.mktemp("advice") / "runs", progress=events.append), events


def store(found: Advised) -> Store:
    return Store(found.folder.parent.parent)


def without_times(trials: tuple[Trial, ...]) -> list[Trial]:
    return [replace(one, seconds=0.0, row=one.row and replace(one.row, seconds=0.0)) for one in trials]


# -- what is found -----------------------------------------------------------------------------------------------------


def test_the_only_recipe_that_meets_the_budget_is_found(once: tuple[Advised, list[Event]]) -> None:
    advice = once[0].advice
    assert advice.chosen is not None
    assert advice.chosen.holds
    chosen = advice.trial(advice.chosen.trial)
    assert [one["kind"] for one in chosen.experiment["defences"]] == ["codebook"]
    assert once[0].exit_code == 0
    assert len(advice.trials) == 6
    for one in advice.trials:
        assert one.meets is (
            one.experiment["defences"][:1] != [] and one.experiment["defences"][0]["kind"] == "codebook"
        )


def test_the_label_and_no_defence_come_first(once: tuple[Advised, list[Event]]) -> None:
    first, second = once[0].advice.trials[:2]
    assert first.experiment["defences"][0]["symbols"] == "label"
    assert first.experiment["train"]["augment"] is True
    assert second.experiment["defences"] == []


def test_no_configuration_is_tried_twice(once: tuple[Advised, list[Event]]) -> None:
    seen = [json.dumps(one.experiment, sort_keys=True) for one in once[0].advice.trials]
    assert len(set(seen)) == len(seen)


def test_measured_trials_are_audits_with_reports_and_others_have_no_verdict(
    once: tuple[Advised, list[Event]],
) -> None:
    found = once[0]
    states = {one.state for one in found.advice.trials}
    assert states == {"measured", "pruned"}
    for one in found.advice.trials:
        if one.state == "pruned":
            assert one.row is None
            assert one.reason
            continue
        assert one.row is not None
        assert (found.folder / one.row.report).is_file()
        run = store(found).load(one.row.runs[0])
        assert run.experiment["data"]["spare"] is True
        assert run.experiment["defences"] == one.experiment["defences"]


def test_the_retest_is_of_other_victims_and_other_seeds(once: tuple[Advised, list[Event]]) -> None:
    found = once[0]
    chosen = found.advice.chosen
    assert chosen is not None
    run = store(found).load(chosen.row.runs[0])
    assert "spare" not in run.experiment["data"]
    assert run.seed == 1
    assert run.data is not None
    assert found.advice.fingerprint == run.data.fingerprint
    searched = [store(found).load(one.row.runs[0]).data for one in found.advice.trials if one.row]
    assert all(data is not None and data.fingerprint != run.data.fingerprint for data in searched)


def test_the_retests_ladder_has_every_attack_that_someone_can_carry_out() -> None:
    whom = retesting.threats()
    assert {"query", "repeat", "white_box", "gallery", "gallery_repeat"} == {one.name for one in whom}
    kinds = {one.kind for one in LADDER(whom)}
    every = discover("unsmash.attacks", Attack)
    assert {"decoder", "ridge", "rmle", "hybrid", "gallery", "posterior", "class_ridge", "lookalike"} <= kinds
    assert not {kind for kind in kinds if every[kind].exhibit or every[kind].role == "floor"}
    assert {every[kind].secret for kind in kinds} == {Secret.INPUTS, Secret.IDENTITY}
    assert {one.kind for one in LADDER([one for one in whom if one.name != "white_box"])} == kinds - {
        "hybrid",
        "generator_prior",
    }


def test_each_trial_is_told_in_one_line_with_the_time_left(once: tuple[Advised, list[Event]]) -> None:
    told = [event for event in once[1] if (event.kind, event.stage) == ("finding", "trial")]
    assert [event.step for event in told] == list(range(1, 7))
    assert all("left" in event.text for event in told)


# -- measured in part --------------------------------------------------------------------------------------------------


def test_what_is_measured_in_part_is_what_the_audit_finds(tmp_path: Path) -> None:
    raw = {name: ASKED[name] for name in ("data", "model", "train", "attacks", "threats")}
    plan = choosing.plan(raw)
    data = plan.base.data.model_copy(update={"spare": True})
    lab = Lab()
    splits = load(data, lab)
    asked = demands.demand("identification<=1 and accuracy>=0", certified=1.0)
    bench = Bench(asked, splits, Store(tmp_path), lab, {})
    recipe = next(one for one in recipes(10) if one.name == "Gaussian, inference only")
    one = plan.trial("hidden", recipe, {"gaussian.sigma": 0.8}, longer=False)
    begun = Trial(0, "", "failed", "accuracy", {})
    part = bench._cheaply(begun, one, lambda _: "")
    whole = bench.attempt(begun, one, lambda _: "")
    assert whole.state == "measured", whole.reason
    assert part.attack is not None
    for name in ("accuracy", "undefended", "lost", "bytes_sent", "device_macs", "gallery", "attack"):
        assert getattr(part, name) == getattr(whole, name), name


def test_a_trial_that_misses_at_a_cheap_step_is_never_attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unsmash.trying.attempt", lambda *_: pytest.fail("attacked"))
    monkeypatch.setattr("unsmash.auditing.measure", lambda *_, **__: pytest.fail("audited"))
    plan = choosing.plan({name: ASKED[name] for name in ("data", "model", "train", "attacks", "threats")})
    lab = Lab()
    splits = load(plan.base.data.model_copy(update={"spare": True}), lab)
    recipe = next(one for one in recipes(10) if one.name == "Gaussian")
    one = plan.trial("hidden", recipe, {"gaussian.sigma": 1.0}, longer=False)
    begun = Trial(0, "", "failed", "accuracy", {})
    for budget, certified, stage in (
        ("identification<=0.5 and accuracy>=1", None, "accuracy"),
        ("identification<=0.5 and bytes<=1", None, "price"),
        ("identification<=0.5", 0.01, "proofs"),
    ):
        asked = demands.demand(budget, certified=certified)
        made = Bench(asked, splits, Store(tmp_path), lab, {}).attempt(begun, one, lambda _: "")
        assert (made.state, made.stage) == ("pruned", stage)
        assert made.row is None


def test_pruned_trials_never_win(once: tuple[Advised, list[Event]]) -> None:
    trials = once[0].advice.trials
    pruned = [replace(one, meets=True, lost=-1.0) for one in trials if one.state == "pruned"]
    assert pruned
    assert candidates(pruned) == []
    good = candidates([*trials, *pruned])
    assert good == sorted(good, key=advice_record.price)
    assert {one.state for one in good} == {"measured"}


# -- stopped and gone on with ------------------------------------------------------------------------------------------


def test_a_killed_search_goes_on_with_no_trial_lost_or_doubled(
    once: tuple[Advised, list[Event]], tmp_path: Path
) -> None:
    script = (
        "import json, sys, unsmash\n"
        "from unsmash import recogniser\n"
        "recogniser.STEPS = 12\n"
        "def tell(event):\n"
        "    if event.stage == 'trial': print(event.kind, event.text, flush=True)\n"
        "unsmash.advise(**json.loads(sys.argv[1]), progress=tell)\n"
    )
    asked = json.dumps(ASKED | {"out": str(tmp_path / "runs")})
    child = subprocess.Popen([sys.executable, "-c", script, asked], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = 0
    for line in child.stdout:  # in the middle of the third trial
        told += line.startswith("note")
        if told == 3:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    again: list[Event] = []
    found = advised(tmp_path / "runs", progress=again.append)
    assert without_times(found.advice.trials) == without_times(once[0].advice.trials)
    # the two that had ended are not tried again; the third may have ended too before the blow fell
    assert sum((event.kind, event.stage) == ("finding", "trial") for event in again) in (3, 4)
    assert found.folder.name == once[0].folder.name


def test_a_finished_search_tries_nothing_again_and_more_trials_add_to_it(
    once: tuple[Advised, list[Event]], tmp_path: Path
) -> None:
    shutil.copytree(store(once[0]).root, tmp_path / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unsmash.auditing.measure", lambda *_, **__: pytest.fail("measured again"))
        same = advised(tmp_path / "runs")
    assert same.advice.trials == once[0].advice.trials
    more = advised(tmp_path / "runs", trials=7)
    assert more.folder.name == once[0].folder.name
    assert more.advice.trials[:6] == once[0].advice.trials


def proposed(folder: Path, seed: int, count: int, split: int = 0) -> list[tuple[Any, ...]]:
    """What a search proposes when every trial turns out alike; opened anew after `split` of them."""
    every = recipes(10)
    space = Space(("code", "pool"), every, (False, True))
    made: list[tuple[Any, ...]] = []
    search = Search(folder / "optuna.db", space, seed)
    proposals = search.proposals()
    for number in range(count):
        if number == split:
            search = Search(folder / "optuna.db", space, seed)
            proposals = search.proposals()
        one = next(proposals)
        lost = 0.01 * (one.number % 5)
        trial = Trial(one.number, one.recipe, "pruned", "accuracy", {"cut": one.cut}, lost=lost)
        search.tell(one, trial)
        made.append((one.number, one.cut, one.recipe, one.longer, tuple(one.strengths.items())))
    return made


def test_a_seed_proposes_the_same_however_often_the_search_is_opened(tmp_path: Path) -> None:
    first = proposed(tmp_path / "a", 0, 14)
    assert proposed(tmp_path / "b", 0, 14, split=9) == first
    assert proposed(tmp_path / "c", 1, 14) != first
    assert [one[0] for one in first] == list(range(14))


# -- nothing fits, or does not hold ------------------------------------------------------------------------------------


def test_the_expensive_part_of_the_demand_is_named_with_what_would_do(tmp_path: Path) -> None:
    found = advised(tmp_path / "runs", certified=0.05, only=["label", "no defence"], trials=2)
    advice = found.advice
    assert advice.chosen is None
    assert found.exit_code == 1
    best = advice.relaxed[0]
    assert (best.part, best.without) == ("certified", 1)
    assert best.value == pytest.approx(10 / 40)  # one of ten labels, forty victims
    assert "--certified 0.25" in " ".join(lines(advice))
    assert headline(advice).startswith("Nothing meets the demand")
    eased = advised(tmp_path / "runs", certified=best.value, only=["label", "no defence"], trials=2)
    assert eased.advice.chosen is not None


def test_a_part_that_alone_stands_in_the_way_is_told_for_each_kind() -> None:
    asked = demands.demand("identification<=0.05 and accuracy>=0.9", max_loss=0.02, certified=0.1)
    names = list(demands.parts(asked))
    assert names == ["identification>0.05", "accuracy<0.9", "max-loss", "certified"]

    def trial(number: int, lost: float, *missed: str, state: Any = "measured") -> Trial:
        return Trial(number, "", state, "audit", {}, lost=lost, broken=missed)

    tried = [
        trial(0, 0.0311, "max-loss"),
        trial(1, 0.05, "max-loss"),
        trial(2, 0.001, "max-loss", "certified"),
        trial(3, 0.001, "max-loss", state="pruned"),
    ]
    found = demands.relaxed(asked, tried)
    assert (found[0].part, found[0].without, found[0].value, found[0].trial) == ("max-loss", 2, 0.032, 0)
    assert all(one.without == 0 for one in found[1:])


def test_what_one_seed_could_not_tell_is_tested_after_all_that_meet_the_demand() -> None:
    def trial(number: int, **more: Any) -> Trial:
        return Trial(number, "", more.pop("state", "measured"), "audit", {}, lost=0.1 - 0.01 * number, **more)

    tried = [trial(0, meets=True), trial(1, meets=True), trial(2, unsure=True), trial(3), trial(4, unsure=True)]
    tried.append(trial(5, unsure=True, state="pruned"))
    assert [one.number for one in choices(tried)] == [1, 0, 4, 2]


def test_only_what_is_neither_met_nor_broken_is_unsure(once: tuple[Advised, list[Event]]) -> None:
    label = next(one for one in once[0].advice.trials if one.row is not None)
    assert label.row is not None
    assert label.row.gallery is not None
    runs = [store(once[0]).load(label.row.runs[0])]
    share = label.row.gallery.share
    for limit, word in ((share.low / 2, False), (share.mean, True)):
        part = f"gallery_identification>{limit:g}"
        missed = demands.broken(demands.demand(f"gallery_identification<={limit:g}"), runs, label.row)
        assert missed == (part,)
        assert demands.unsure(runs, missed) is word
    assert not demands.unsure(runs, ("max-loss",))
    assert not demands.unsure(runs, ())


def test_a_failed_retest_is_told_and_the_next_is_tried_three_at_most(
    once: tuple[Advised, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = once[0].advice
    assert given.chosen is not None
    row, good = given.chosen.row, [replace(given.trials[0], number=number) for number in range(5)]

    def job(holding: int) -> list[Retest]:
        def retest(_plan: Any, trial: Trial, *_: Any, **__: Any) -> Retest:
            return Retest(trial.number, row, trial.number == holding, "it leaks", ("Ridge regression",))

        monkeypatch.setattr(retesting, "retest", retest)
        bench: Any = Bench(given.demand, None, store(once[0]), Lab(sink=silent), {})  # type: ignore[arg-type]
        made = advising.Job(None, bench, None, None, 0.0, 5, None, 1, 1, {})  # type: ignore[arg-type]
        return made.retests(good, None, (1,))  # type: ignore[arg-type]

    assert [one.holds for one in job(1)] == [False, True]
    none = job(4)
    assert [one.holds for one in none] == [False] * 3
    told = replace(given, trials=tuple(good), retests=tuple(none))
    assert headline(told) == "No advice: all three choices failed the re-test."
    assert sum("choice failed its re-test" in line for line in lines(told)) == 3
    early = headline(replace(told, retests=told.retests[:1]))
    assert early == "No advice yet: the first choice failed the re-test, and there was no time for the next."
    second = replace(given, trials=tuple(good), retests=tuple(job(1)))
    assert any("second choice of five" in line and "luck" in line for line in lines(second))


# -- the page and the record -------------------------------------------------------------------------------------------


def test_the_record_reads_back_and_the_page_holds_it(once: tuple[Advised, list[Event]]) -> None:
    found = once[0]
    stored = advice_record.load((found.folder / advising.RECORD).read_text(encoding="utf-8"))
    assert without_times(stored.trials) == without_times(found.advice.trials)
    page = render_advice(stored)
    assert page == render_advice(stored)
    assert "<svg" in page
    assert "src=" not in page
    for one in stored.trials:
        assert one.name in page
    assert stored.chosen is not None
    assert f'href="{stored.chosen.row.report}"' in page
    text = page.partition('id="advice">')[2].partition("</script>")[0]
    assert advice_record.load(text) == stored


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(UnsmashError, match="version 99"):
        advice_record.load('{"version": 99}')


@pytest.mark.parametrize("state", ["nothing", "failed"])
def test_an_advice_with_nothing_measured_has_a_page(state: str) -> None:
    trials = (Trial(0, "label", "failed", "accuracy", {"defences": []}, reason="no"),) if state == "failed" else ()
    made = Advice("0" * 12, demands.demand("identification<=0.05"), trials)
    assert "Nothing meets the demand" in render_advice(made)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"budget": "identification>0.05"}, "budget: got 'identification>0.05'; allowed: identification<0.05"),
        ({"budget": "accuracy>=0.9"}, "at least one limit on what leaks"),
        ({"budget": "identification<=0.05 and class_ssim<=0.2"}, "budget: got 'class_ssim'"),
        ({"max_loss": 2.0}, "max-loss: got 2.0; allowed: a share"),
        ({"certified": -0.1}, "certified: got -0.1; allowed: a share"),
        ({"defences": ["label"]}, "defences: got .* The advisor chooses the defences"),
        ({"trials": 0}, "--trials: got 0"),
        ({"minutes": 0.0}, "--minutes: got 0.0"),
        ({"seeds": 0}, "--seeds: got 0"),
        ({"only": ["lable"]}, "--only: got 'lable'.*did you mean 'label'"),
        ({"cuts": ["stage9"]}, "--cut: 'stage9' is no place to cut"),
        ({"at": "stage9"}, "stage9"),
        ({"data": TINY | {"spare": True}}, "data.spare: got True"),
    ],
)
def test_what_is_wrong_is_one_sentence_before_anything_is_trained(
    changes: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unsmash.victim.train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(UnsmashError, match=sentence):
        advised(tmp_path / "runs", **changes)


def test_without_optuna_the_sentence_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DependencyError, match=r'pip install "unsmash\[advise\]"'):
        advised(tmp_path / "runs")


def test_a_demand_of_no_leak_is_refused_in_the_right_place() -> None:
    with pytest.raises(ConfigError) as caught:
        demands.demand("bytes<=64")
    assert caught.value.path == "budget"


# -- time --------------------------------------------------------------------------------------------------------------


def test_where_time_is_short_a_probe_of_the_choice_that_leads_keeps_its_share_free(
    once: tuple[Advised, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = once[0].advice
    good = candidates(given.trials)
    asked: list[int] = []

    def estimate(_plan: Any, trial: Trial, *_: Any) -> float:
        asked.append(trial.number)
        return 100.0

    monkeypatch.setattr(retesting, "estimate", estimate)
    bench: Any = Bench(given.demand, None, store(once[0]), Lab(sink=silent), {})  # type: ignore[arg-type]

    def seconds(minutes: float | None, seeds: int, workers: int) -> float:
        job = advising.Job(None, bench, None, None, 0.0, 5, minutes, seeds, workers, {})  # type: ignore[arg-type]
        first, again = job._retest_seconds(given.trials), job._retest_seconds(given.trials)
        assert first == again
        return again

    assert seconds(None, 2, 1) == 0.0
    assert not asked
    assert seconds(30.0, 2, 1) == 200.0
    assert asked == [good[0].number]  # once, however often it is asked
    monkeypatch.setattr("unsmash.execute.threads_of", lambda workers: 4 // workers)
    assert seconds(30.0, 4, 2) == 2 * 100.0 * advising.CROWDED
    monkeypatch.setattr("unsmash.execute.threads_of", lambda workers: 1)
    assert seconds(30.0, 4, 2) == 2 * 100.0


def test_the_estimate_is_of_the_whole_ladder(once: tuple[Advised, list[Event]]) -> None:
    given = once[0].advice
    raw = {name: ASKED[name] for name in ("data", "model", "train", "attacks", "threats")}
    plan = choosing.plan(raw)
    splits = load(plan.base.data, Lab())
    assert 0 < retesting.estimate(plan, candidates(given.trials)[0], splits, Lab()) < 600


@pytest.mark.slow
def test_seeds_side_by_side_are_the_runs_of_seeds_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser, "STEPS", STEPS)  # as in the other processes, which know of no shorter one
    turn = advised(tmp_path / "turn", seeds=2)
    beside = advised(tmp_path / "beside", seeds=2, workers=2)
    assert [one.row.runs for one in beside.advice.retests] == [one.row.runs for one in turn.advice.retests]
    assert [one.holds for one in beside.advice.retests] == [one.holds for one in turn.advice.retests]
    assert [one.row.attack for one in beside.advice.retests] == [one.row.attack for one in turn.advice.retests]
    for run in turn.advice.retests[0].row.runs:
        assert Store(tmp_path / "beside").load(run).digest() == Store(tmp_path / "turn").load(run).digest()
