"""JUnit as machines read it: whole, counted right, and red whenever the gate is closed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import builders
import pytest
import scans
import sweeps
from hypothesis import given
from hypothesis import strategies as st
from schema import cases, green

from unsmash.errors import ConfigError, TrainingError
from unsmash.frontier_record import Row
from unsmash.gate import cases as suites
from unsmash.gate.junit import render
from unsmash.judge import judge
from unsmash.records import Card, Run
from unsmash.sweeping import Sweep

WEAK = Card(strong=False)


def run(hits: int, gallery: int = 100, *, card: Card = builders.STRONG, accuracy: int = 90) -> Run:
    threats = (builders.threat(), builders.threat("gallery", asked=False, candidates=True))
    found = [builders.attack("decoder", hits, builders.figure("ssim", hits / 100), card=card)]
    found.append(builders.attack("gallery", gallery, threat="gallery", role="ceiling"))
    made = builders.run(found, threats)
    assert made.utility is not None
    return replace(made, utility=replace(made.utility, accuracy=builders.share(accuracy, metric="accuracy")))


def audited(one: Run, budget: str) -> tuple[dict[str, tuple[str, str, str]], int]:
    verdict = judge([one], budget)
    return cases(render(suites.of_audit([one], verdict))), verdict.exit_code


BUDGETS = (
    "identification>0.05",
    "identification>0.05 or accuracy<0.8",
    "identification>0.05 and accuracy<0.8",
    "ssim>0.4",
    "identification>0.3 or gallery_identification>0.5",
    "accuracy<0.8",
    "bytes>10",
)


@pytest.mark.parametrize(
    ("budget", "hits", "card", "accuracy"),
    list(itertools.product(BUDGETS, (0, 4, 30, 97), (builders.STRONG, WEAK), (50, 80, 99))),
)
def test_the_file_is_red_exactly_when_the_gate_is_closed(budget: str, hits: int, card: Card, accuracy: int) -> None:
    found, code = audited(run(hits, card=card, accuracy=accuracy), budget)
    assert green(found) == (code == 0)


def test_an_adversary_that_leaks_fails_with_the_sentence() -> None:
    found, _ = audited(run(40), "identification>0.05")
    sentence = judge([run(40)], "identification>0.05").sentence
    assert found["query: Title of query"] == ("failure", "leaks", sentence)
    assert found["gallery: Title of gallery"][0] == "skipped"  # nobody asked about it


def test_an_adversary_nobody_can_judge_is_never_green() -> None:
    for one in (run(0, card=WEAK), run(5)):
        found, code = audited(one, "identification>0.05")
        assert code == 3
        outcome, kind, message = found["query: Title of query"]
        assert (outcome, kind) == ("failure", "inconclusive")
        assert message.startswith("No verdict: ")


def test_a_limit_that_no_adversary_stands_for_closes_the_gate_too() -> None:
    found, code = audited(run(0, accuracy=50), "identification>0.5 or accuracy<0.9")
    assert code == 1
    assert found["query: Title of query"][0] == "passed"
    (whole,) = [value for name, value in found.items() if name.startswith("whole budget")]
    assert whole[:2] == ("failure", "over budget")
    assert "accuracy" in whole[2]


def test_every_variant_of_a_sweep_is_a_case() -> None:
    frontier = sweeps.fifteen()
    found = cases(render(suites.of_sweep(frontier, Sweep(frontier, Path()).exit_code)))
    assert set(found) == {row.name for row in frontier.rows}
    for row in frontier.rows:
        outcome, kind, message = found[row.name]
        wanted = {"leaks": "failure", "inconclusive": "failure", "failed": "error"}.get(row.word)
        assert outcome == (wanted or ("passed" if row.good else "failure"))
        if row.failure is not None:
            assert kind == row.failure.error
            assert row.failure.message in message
        assert (outcome == "passed") == (not message) == row.good
    assert {"passed", "failure", "error"} <= {outcome for outcome, *_ in found.values()}


def test_a_variant_that_leaks_little_but_is_too_dear_is_no_pass() -> None:
    row = Row("dear", "passes", good=False, reason="accuracy 0.5 against your limit of 0.9")
    found = cases(render(suites.of_sweep(replace(sweeps.two(), rows=(row,)), 1)))
    assert found["dear"][:2] == ("failure", "over budget")
    assert "accuracy 0.5" in found["dear"][2]


def test_every_cut_of_a_scan_is_a_case() -> None:
    scan = scans.falling(480, 300, 2)
    found = cases(render(suites.of_scan(scan, 0)))
    assert [found[cut.name][0] for cut in scan.cuts] == ["failure", "failure", "passed"]


def test_a_cut_that_a_deeper_one_belies_is_no_pass() -> None:
    scan = scans.falling(480, 2, 300)
    assert scan.cuts[1].good
    assert cases(render(suites.of_scan(scan, 1)))["layer1"][:2] == ("failure", "inconclusive")


def test_a_control_is_passed_over() -> None:
    scan = scans.scan([scans.cut(0, 480, 480, control=True), scans.cut(1, 2, 2)])
    assert cases(render(suites.of_scan(scan, 0)))["layer0"][0] == "skipped"


def test_what_stopped_a_call_is_an_error() -> None:
    error = TrainingError("NaN at\nstep 3")
    error.stage = "victim"  # type: ignore[attr-defined]
    for raised in (error, ConfigError("data", got="x"), ValueError()):
        ((outcome, kind, message),) = cases(render(suites.of_error("audit", raised))).values()
        assert (outcome, kind) == ("error", type(raised).__name__)
        assert message


@given(st.text(), st.text(), st.text(), st.sampled_from(["passed", "failure", "error", "skipped"]))
def test_any_words_make_a_document_that_can_be_read(name: str, message: str, text: str, outcome: str) -> None:
    case = suites.Case(name, outcome, "kind", message, text, 1.25)  # type: ignore[arg-type]
    suite = suites.Suite("audit", message, (case,), (("sentence", text),))
    ((read, *_),) = cases(render(suite)).values()
    assert read == outcome
    render(suite).encode("utf-8")
