"""Labels and attributes in a run: apart from everything else, with their chance, floors and ceilings, and into JSON."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from small import TINY

from unsmash import pipeline
from unsmash.data.mnist5k import Mnist5k
from unsmash.experiment import Experiment, study
from unsmash.judge import judge
from unsmash.lab import Lab
from unsmash.plain import dumps
from unsmash.records import InferenceRecord, InferenceResult, Run
from unsmash.report import render, summarise
from unsmash.run_reading import load_run

ASKED: list[Any] = [
    {"kind": "gradient_cosine"},
    {"kind": "gradient_norm"},
    {"kind": "attribute_probe", "components": 20, "hidden": 0},
]


def experiment(attacks: list[Any], **more: Any) -> Experiment:
    raw = {"data": TINY, "model": "shallow_net", "train": {"epochs": 2}, "attacks": attacks} | more
    return study(raw).experiment


@functools.cache
def run_of(asked: bool) -> Run:
    one = experiment(["ridge", *(ASKED if asked else [])])
    return pipeline.run(one, one.data.load(Path()), Lab(), name="0123456789ab").run


def record() -> InferenceRecord:
    found = run_of(True).inferences
    assert found is not None
    return found


def result(name: str) -> InferenceResult:
    return next(one for one in record().results if one.name == name)


def test_it_stands_apart_and_changes_nothing_else() -> None:
    plain, more = run_of(False), run_of(True)
    assert plain.inferences is None
    for part in ("results", "threats", "bounds", "pictures", "dependence", "utility"):
        assert getattr(plain, part) == getattr(more, part)
    assert judge([plain]) == judge([more])
    assert plain.digest() != more.digest()


def test_it_survives_json() -> None:
    again = load_run(dumps(run_of(True)))
    assert again == run_of(True)
    assert again.digest() == run_of(True).digest()


def test_the_labels_are_told_by_directions() -> None:
    found = result("gradient_cosine")
    assert found.card.strong
    assert found.scores["inferred"].low > found.chance["inferred"]
    assert "Does not apply" in result("gradient_norm").notes[0]


def test_each_attribute_stands_beside_the_label_and_the_image() -> None:
    for name in ("class", "ink"):
        probe, image = result(f"attribute_probe/{name}"), result(f"attribute_probe/{name}/image")
        assert image.role == "ceiling"
        assert probe.scores["inferred"].n == TINY["victims"]
        assert probe.task == (name == "class")
    assert result("attribute_probe/ink/label").role == "floor"
    assert not any(one.name == "attribute_probe/class/label" for one in record().results)


def test_the_adversary_is_brought_where_nobody_holds_what_it_takes() -> None:
    assert [threat.name for threat in experiment(["ridge"]).threats] == ["query", "gallery"]
    added = experiment([{"kind": "gradient_cosine"}]).threats[-1]
    assert (added.name, added.asked, [str(grant) for grant in added.grants]) == (
        "reader",
        False,
        ["gradients", "hints"],
    )
    assert len(experiment([{"kind": "attribute_probe"}]).threats) == 2


def test_the_page_tells_it_in_a_section_of_its_own() -> None:
    plain, more = ([run_of(asked)] for asked in (False, True))
    page = render(summarise(more, judge(more), None))
    assert 'id="inferences"' in page
    assert "training labels" in page
    assert 'id="inferences"' not in render(summarise(plain, judge(plain), None))


def test_one_in_ten_is_a_zero_and_the_digit_is_told_beside_it() -> None:
    settings = {"kind": "mnist5k", "ask": "zero", "train": 300, "shadow": 60, "validator": 60, "val": 60, "victims": 60}
    splits = Mnist5k.model_validate(settings).load(Path())
    asked = {one.name: one for one in splits.attributes()}
    assert set(asked) == {"class", "digit", "ink"}
    assert torch.equal(asked["class"].victims == 1, asked["digit"].victims == 0)
    assert (splits.train.labels == 1).double().mean().item() == pytest.approx(0.1, abs=0.03)
