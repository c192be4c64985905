"""Variants of a study: which ones, in which order, under which names, and one sentence for each thing wrong."""

from __future__ import annotations

import doctest
import itertools
from typing import Any

import pytest

from unsmash import variants
from unsmash.component import discover
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.experiment import study
from unsmash.variants import MOST, Plan, ordered, plan, trainings

LAPLACE = {"kind": "laplace", "scale": 0.5}
LATER = {"kind": "laplace", "scale": 0.5, "when": "inference"}


def made(**settings: Any) -> Plan:
    return plan({"data": "digits"} | settings)


def names(found: Plan) -> list[str]:
    return [variant.name for variant in found.variants]


# -- which variants ---------------------------------------------------------------------------------------------------


def test_a_sweep_is_every_combination_and_the_last_path_varies_fastest() -> None:
    scales, rates, epochs = [0.1, 0.5], [1e-3, 3e-3], [1, 2, 3]
    found = made(defences=["laplace"], sweep={"defences.0.scale": scales, "train.rate": rates, "train.epochs": epochs})
    got = [(e.defences[0].scale, e.train.rate, e.train.epochs)  # type: ignore[attr-defined]
           for e in (variant.study.experiment for variant in found.variants)]  # fmt: skip
    assert got == list(itertools.product(scales, rates, epochs))


def test_a_whole_list_may_be_swept_and_variants_come_after() -> None:
    found = made(
        sweep={"defences": [[], ["laplace"], [LAPLACE, "gaussian"]]},
        variants=[{"at": "fc1", "train.epochs": 3}, {"name": "mine", "train": {"epochs": 4, "augment": True}}],
    )
    experiments = [variant.study.experiment for variant in found.variants]
    assert [[defence.kind for defence in e.defences] for e in experiments] == [
        [], ["laplace"], ["laplace", "gaussian"], [], [],
    ]  # fmt: skip
    assert [e.at for e in experiments[:4]] == [experiments[0].at] * 3 + ["fc1"]
    assert [e.train.epochs for e in experiments] == [None, None, None, 3, 4]
    assert experiments[4].train.augment


def test_what_is_not_varied_holds_for_all() -> None:
    settings: dict[str, Any] = {"fail_if": "ssim>0.4", "seeds": 3, "attacks": ["ridge"], "name": "a study"}
    found = made(**settings, sweep={"train.epochs": [1, 2]})
    assert found.name == "a study"
    assert found.budget == "ssim>0.4"
    assert found.seeds == (0, 1, 2)
    for variant in found.variants:
        assert variant.study.seeds == (0, 1, 2)
        assert [attack.kind for attack in variant.study.experiment.attacks] == ["ridge"]


def test_expansion_leaves_what_it_was_given() -> None:
    raw: dict[str, Any] = {"data": "digits", "defences": [dict(LAPLACE)], "sweep": {"defences.0.scale": [1.0, 2.0]}}
    before = repr(raw)
    plan(raw)
    assert repr(raw) == before


def test_a_path_into_what_is_usual_finds_it() -> None:
    found = made(sweep={"attacks.0.draws": [10, 20], "threats.0.queries": [1, 4]})
    assert [variant.study.experiment.attacks[0].model_dump()["draws"] for variant in found.variants] == [10, 10, 20, 20]
    assert [variant.study.experiment.threats[0].queries for variant in found.variants] == [1, 4, 1, 4]


# -- names and ids ----------------------------------------------------------------------------------------------------


def test_rows_are_named_by_what_they_set() -> None:
    found = made(
        defences=["gaussian"],
        sweep={"defences": [[], [LAPLACE], [LATER, "gaussian"], [{"kind": "laplace", "scale": 1.0}]]},
        variants=[
            {"defences.0.sigma": 0.25},
            {"at": "fc1"},
            {"name": "by hand", "seed": 3},
            {"train.epochs": 20, "train.augment": True, "defences": ["laplace"]},
        ],
    )
    assert names(found) == [
        "no defence", "laplace 0.5", "laplace 0.5, inference + gaussian", "laplace 1", "gaussian 0.25", "at fc1",
        "by hand", "laplace, epochs 20, augment true",
    ]  # fmt: skip


def test_names_that_come_out_alike_are_counted() -> None:
    found = made(sweep={"data.train": [100, 200]}, variants=[{"data.shadow": 100}, {"name": "train 100", "at": "fc1"}])
    assert names(found) == ["train 100 #2", "train 200", "shadow 100", "train 100"]


def test_doctests_hold() -> None:
    assert doctest.testmod(variants).failed == 0


def test_the_id_is_of_the_experiments_alone() -> None:
    first = made(sweep={"train.epochs": [1, 2]}, name="one", fail_if="identification>0.05")
    again = made(variants=[{"name": "b", "train.epochs": 2}, {"name": "a", "train.epochs": 1}], fail_if="ssim>0.4")
    assert first.id == again.id
    assert len(first.id) == 12
    assert set(first.id) <= set("0123456789abcdef")
    others = [made(sweep={"train.epochs": [1, 3]}), made(sweep={"train.epochs": [1, 2]}, seeds=2),
              made(sweep={"train.epochs": [1, 2]}, at="fc1")]  # fmt: skip
    assert len({first.id, *(other.id for other in others)}) == 4


def test_a_variant_is_the_experiment_that_an_audit_would_make() -> None:
    found = made(sweep={"defences": [[LAPLACE]]}, seeds=2)
    alone = study({"data": "digits", "defences": [LAPLACE], "seeds": 2})
    assert found.variants[0].study.experiments() == alone.experiments()
    assert found.variants[0].study.experiment.id == alone.experiment.id


# -- order and shared trainings ---------------------------------------------------------------------------------------


def test_what_others_rest_on_comes_first() -> None:
    found = made(sweep={"defences": [["gaussian"], [LATER], [LAPLACE, LATER], [], [{**LATER, "scale": 2.0}]]})
    assert [variant.name for variant in ordered(found.variants)] == [
        "no defence", "laplace 0.5, inference", "laplace 2, inference", "gaussian",
        "laplace 0.5 + laplace 0.5, inference",
    ]  # fmt: skip


def test_variants_share_the_trainings_that_they_have_in_common() -> None:
    def rests(**settings: Any) -> frozenset[str]:
        each = trainings(study({"data": "digits"} | settings))
        together = frozenset[str]().union(*each)
        assert sum(map(len, each)) == len(together)  # seeds share none
        return together

    bare = rests()
    assert len(bare) == 1
    assert rests(defences=[LATER]) == bare
    assert rests(at="fc1") == bare  # without a defence the cut does not change the training
    trained = rests(defences=[LAPLACE])
    assert trained > bare
    assert rests(defences=[LAPLACE, LATER]) == trained
    assert rests(defences=[LAPLACE], at="fc1") != trained
    assert not rests(train={"epochs": 1}) & bare
    assert not rests(seed=1) & bare
    assert rests(seeds=2) == bare | rests(seed=1)
    assert rests(attacks=["ridge"]) == bare


# -- what can be wrong ------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "nothing varies": ({}, "study", "sweep, variants or both"),
    "the base itself": ({"data": "digit", "sweep": {"at": ["fc1"]}}, "data.kind", "did you mean 'digits'"),
    "no mapping": ({"sweep": [1, 2]}, "sweep", "a mapping from dotted paths"),
    "empty sweep": ({"sweep": {}}, "sweep", "a mapping from dotted paths"),
    "no list": ({"sweep": {"train.epochs": 3}}, "sweep.train.epochs", "a list of values"),
    "no values": ({"sweep": {"train.epochs": []}}, "sweep.train.epochs", "a list of values"),
    "no path": ({"sweep": {"train..epochs": [1]}}, "sweep.train..epochs", "a dotted path"),
    "a number for a path": ({"sweep": {3: [1]}}, "sweep.3", "a dotted path"),
    "value out of range": ({"defences": [LAPLACE], "sweep": {"defences.0.scale": [1, -1]}}, "sweep.defences.0.scale.1",
                           "greater than 0"),
    "inside a value": ({"sweep": {"defences": [[], [{"kind": "laplace", "scale": -1}]]}}, "sweep.defences.1.0.scale",
                       "greater than 0"),
    "unknown kind": ({"sweep": {"defences": [["laplce"]]}}, "sweep.defences.0.0.kind", "did you mean 'laplace'"),
    "unknown setting": ({"variants": [{}, {"train.epoch": 3}]}, "variants.1: train", "did you mean 'epochs'"),
    "through nothing": ({"sweep": {"defences.0.scale": [1.0]}}, "sweep.defences.0.scale.0", "Give the study defences"),
    "beyond the list": ({"defences": [LAPLACE], "variants": [{"defences.1.scale": 1.0}]}, "variants.0.defences.1.scale",
                        "from 0 to 0"),
    "into an empty list": ({"defences": [], "variants": [{"defences.0.scale": 1.0}]}, "variants.0.defences.0.scale",
                           "the list is empty"),
    "seeds of one row": ({"variants": [{"seeds": 3}]}, "variants.0.seeds", "hold for the whole study"),
    "budget of one row": ({"sweep": {"fail_if": ["ssim>0.4"]}}, "sweep.fail_if", "hold for the whole study"),
    "sweep in a row": ({"variants": [{"sweep": {"at": ["fc1"]}}]}, "variants.0.sweep", "hold for the whole study"),
    "row that is no mapping": ({"variants": ["laplace"]}, "variants.0", "a mapping from dotted paths"),
    "no rows": ({"variants": []}, "variants", "a list of mappings"),
    "name of nothing": ({"variants": [{"name": " "}]}, "variants.0.name", "a few words"),
    "name twice": ({"variants": [{"name": "a"}, {"name": "a", "at": "fc1"}]}, "variants.1.name", "another name"),
    "the same twice": ({"variants": [{"at": "fc1"}, {"name": "b", "at": "fc1"}]}, "variants.1", "variants.0"),
    "seed where seeds are": ({"seeds": 2, "sweep": {"seed": [0, 1]}}, "sweep.seed.1", "sweep.seed.0"),
    "attack that no threat allows": (
        {"variants": [{}, {"threats": [{"name": "blind", "grants": []}]}]}, "variants.1: attacks.0",
        "blind grants nothing",
    ),
    "code in a file": ({"variants": [{"model": {"kind": "own", "path": "x.py", "factory": "f"}}]},
                       "variants.0.model.kind", "Code is never named in a file"),
    "too many": ({"sweep": {"train.epochs": list(range(MOST + 1))}}, "sweep", f"up to {MOST}"),
    "too many together": ({"sweep": {"train.epochs": list(range(40)), "train.batch": list(range(1, 41))}}, "sweep",
                          f"up to {MOST}"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence_with_its_place(case: str) -> None:
    settings, path, told = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        plan({"data": "digits"} | settings)
    assert caught.value.path == path
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_kind_of_defence_can_be_swept() -> None:
    kinds = discover("unsmash.defences", Defence)
    found = made(sweep={"defences": [[{"kind": kind} | cls.tiny] for kind, cls in kinds.items()]})
    assert [variant.study.experiment.defences[0].kind for variant in found.variants] == list(kinds)
    assert len(set(names(found))) == len(kinds)


@pytest.mark.parametrize("key", ["sweep", "variants"])
def test_an_audit_sends_a_study_of_several_to_the_sweep(key: str) -> None:
    with pytest.raises(ConfigError, match="`unsmash sweep STUDY"):
        study({"data": "digits", key: {"train.epochs": [1, 2]}})
