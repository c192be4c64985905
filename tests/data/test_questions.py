"""A task with two questions of one image: the classes answer both, and each has an accuracy of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unsmash import pipeline
from unsmash.data.mnist5k import INKS, Mnist5k
from unsmash.experiment import study
from unsmash.lab import Lab

SMALL = {"kind": "mnist5k", "ask": "digit_ink", "train": 300, "shadow": 100, "validator": 60, "val": 60, "victims": 60}


def test_each_class_is_an_answer_to_both_questions() -> None:
    splits = Mnist5k.model_validate(SMALL).load(Path())
    assert [question.name for question in splits.questions] == ["digit", "ink"]
    assert len(splits.classes) == 30
    for label, name in enumerate(splits.classes):
        digit, ink = (question.answers[question.of_class[label]] for question in splits.questions)
        assert name == f"{digit} {ink}"


def test_the_ink_is_a_third_each_and_follows_the_picture() -> None:
    pool = Mnist5k.model_validate(SMALL).pools(Path()).common
    assert pool is not None
    ink, sums = pool.labels % 3, pool.pixels.flatten(1).long().sum(1)
    assert ink.bincount().max() - ink.bincount().min() <= 1
    for lighter, heavier in ((0, 1), (1, 2)):
        assert sums[ink == lighter].max() <= sums[ink == heavier].min()
    digits = Mnist5k(kind="mnist5k").pools(Path()).common
    assert digits is not None
    assert torch.equal(pool.labels // len(INKS), digits.labels)


@pytest.mark.slow
def test_accuracy_is_told_for_each_question() -> None:
    one = study({"data": SMALL, "train": {"epochs": 2}, "attacks": ["ridge"], "defences": ["laplace"]}).experiment
    run = pipeline.run(one, one.data.load(Path()), Lab(), name="0123456789ab").run
    assert run.utility is not None
    assert run.utility.accuracy is not None
    for scores in (run.utility.questions, run.utility.undefended_questions):
        assert set(scores) == {"digit", "ink"}
        # who knows both answers knows each
        assert all(score.mean >= run.utility.accuracy.mean - 0.05 for score in scores.values())
    assert run.utility.questions["digit"].n == run.utility.accuracy.n
