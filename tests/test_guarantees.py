"""Proofs beside measurements: on every run the accuracy's floor ≤ the candidate list's rate ≤ the proved ceiling."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import builders
import pytest
from small import TINY

from unsmash import guarantees, pipeline
from unsmash.data.base import Splits
from unsmash.errors import BoundError
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.records import Bound, Run
from unsmash.threat import standing

FINITE: dict[str, list[dict[str, Any]]] = {
    "label": [{"kind": "codebook"}],
    "levels": [{"kind": "codebook", "symbols": "levels"}],
    "response": [{"kind": "codebook", "response": 2.0}],
    "hull": [{"kind": "simplex"}],
    "hull, much noise": [{"kind": "simplex", "radius_over_sigma": 1.0}],
    "clipped": [{"kind": "bottleneck", "numbers": 4}, {"kind": "gaussian", "sigma": 1.0, "clip": 1.0}],
    "clipped, laplace": [{"kind": "bottleneck", "numbers": 4}, {"kind": "laplace", "scale": 1.0, "clip": 1.0}],
    "quantised": [{"kind": "bottleneck", "numbers": 2}, {"kind": "quantise", "bits": 1}],
    "box": [{"kind": "bottleneck", "numbers": 3}, {"kind": "gaussian", "sigma": 2.0}],
}


@functools.cache
def measured(name: str, queries: int = 4) -> Run:
    raw = {
        "data": TINY,
        "train": {"epochs": 3},
        "attacks": ["ridge", "posterior", "gallery"],
        "threats": [threat.model_dump(mode="json") for threat in standing(queries)],
        "defences": FINITE[name],
    }
    one = study(raw).experiment
    splits = one.data.load(Path())
    return pipeline.run(one, splits, Lab(), name="0123456789ab").run


def value(run: Run, name: str) -> float:
    found = next(bound.value for bound in run.bounds if bound.name == name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", FINITE)
def test_floor_candidate_list_and_ceiling_stand_in_order(name: str) -> None:
    run, slack = measured(name), 3 * (0.25 / 40) ** 0.5
    bits = value(run, "messages")
    assert math.isfinite(bits)
    n = run.data.sizes["victims"] if run.data else 0
    exact = [result for result in run.of_role("ceiling") if result.threat == "gallery" and result.card.strong]
    for result in exact:
        rate = result.scores["identification"].mean
        assert rate <= min(1.0, 2**bits / n) + slack
        assert rate >= value(run, "converse") - slack
    if name in ("label", "levels", "quantised"):  # no noise: not a matter of sampling
        assert exact
        assert value(run, "converse") - 1e-9 <= exact[0].scores["identification"].mean <= 2**bits / n + 1e-9


@pytest.mark.parametrize("name", FINITE)
def test_more_releases_never_prove_more(name: str) -> None:
    run = measured(name)
    assert value(run, "messages@4") >= value(run, "messages") - 1e-9
    once, often = (next((b for b in run.bounds if b.name == f"epsilon{at}"), None) for at in ("", "@4"))
    assert once is not None
    if once.value is not None and often is not None and often.value is not None:
        assert often.value >= once.value


@pytest.mark.parametrize("name", FINITE)
def test_every_statement_says_whom_it_binds_and_why_it_holds(name: str) -> None:
    for bound in measured(name).bounds:
        assert bound.covers
        assert bound.title
        assert bound.premises or bound.reason
        assert (bound.value is None) == bool(bound.reason)


@pytest.mark.parametrize("name", ["response", "clipped, laplace"])
def test_the_epsilon_that_the_attacks_disprove_is_below_the_claim(name: str) -> None:
    run = measured(name)
    assert value(run, "epsilon_at_least") <= value(run, "epsilon")


@pytest.mark.parametrize("name", FINITE)
def test_no_reconstruction_beats_the_candidate_lists_least_error(name: str) -> None:
    run = measured(name)
    least = next((bound.value for bound in run.bounds if bound.name == "gallery_mmse"), None)
    if least is None:
        return
    for result in run.of_role("attack"):
        if result.threat == "query":
            assert result.scores["mse"].mean >= least - 3 * 0.02


def test_what_needs_a_derivative_is_left_out_where_there_is_none() -> None:
    names = {name: {bound.name for bound in measured(name).bounds} for name in FINITE}
    assert {"dfil", "unbiased", "van_trees_scalar", "van_trees_matrix"} <= names["clipped"] & names["box"]
    for name in ("label", "response", "quantised"):
        assert not {"dfil", "van_trees_scalar"} & names[name]


def test_the_unbiased_bound_is_named_for_what_it_covers() -> None:
    bound = next(bound for bound in measured("clipped").bounds if bound.name == "unbiased")
    assert "unbiased attackers only" in bound.covers


def ceiling(share: float, queries: int = 1) -> Bound:
    name = "ceiling_messages" if queries == 1 else f"ceiling_messages@{queries}"
    return Bound(name, "t", share, "share", "any", ("why",), queries=queries)


@pytest.mark.parametrize(
    ("hits", "queries", "bounds", "broken"),
    [
        (30, 1, [ceiling(0.05)], True),
        (9, 1, [ceiling(0.05)], False),
        (30, 4, [ceiling(0.05)], False),  # the proof is for one release, the attack saw four
        (30, 1, [ceiling(0.05, 4)], True),  # what holds for four holds for one
        (30, 4, [ceiling(0.05, 4)], True),
    ],
)
def test_an_attack_beyond_a_proof_is_a_bug(hits: int, queries: int, bounds: list[Bound], broken: bool) -> None:
    results = [builders.attack("decoder", hits)]
    if not broken:
        return guarantees.check(results, bounds, {"query": queries})
    with pytest.raises(BoundError, match="decoder") as caught:
        guarantees.check(results, bounds, {"query": queries})
    assert caught.value.exit_code == 4
    return None


def test_a_candidate_list_below_the_accuracys_floor_is_a_bug_too() -> None:
    floor = Bound("converse", "t", 0.5, "share", "any", ("why",))
    gallery = dataclasses.replace(builders.attack("gallery", 3, role="ceiling"))
    with pytest.raises(BoundError, match="accuracy"):
        guarantees.check([gallery], [floor], {"query": 1})
    guarantees.check([builders.attack("decoder", 3)], [floor], {"query": 1})  # a weak attack breaks nothing


def test_the_undefended_release_proves_nothing_and_says_so(digits: Splits) -> None:
    one = study({"data": TINY, "train": {"epochs": 2}, "attacks": ["gallery", "ridge"]}).experiment
    run = pipeline.run(one, digits, Lab(), name="0123456789ab").run
    bounds = {bound.name: bound for bound in run.bounds}
    assert bounds["epsilon"].value is None
    assert "not random" in bounds["epsilon"].reason
    assert bounds["messages"].value is None
    assert not [name for name in bounds if name.startswith("ceiling")]
    assert bounds["gallery_mmse"].value == pytest.approx(0, abs=1e-9)  # each candidate's release is its own
    assert bounds["worst_posterior"].value == 1
    assert bounds["smallest_cell"].value == 1


def test_sending_only_the_label_stands_in_every_run(digits: Splits) -> None:
    one = study({"data": TINY, "train": {"epochs": 2}, "attacks": ["gallery", "ridge"]}).experiment
    run = pipeline.run(one, digits, Lab(), name="0123456789ab").run
    row = run.result("label_only")
    hits = row.scores["identification"]
    answers = round(sum(hits.values))  # each answer's victims share one hit
    assert 1 <= answers <= 10
    assert hits.mean == pytest.approx(answers / hits.n)
    assert "accuracy" in row.summary
    assert "multiply-adds" in row.summary
