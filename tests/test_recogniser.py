"""The recogniser: trained once on the same images, and read back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unsmash import recogniser as recognisers
from unsmash.data.base import Splits
from unsmash.lab import Lab
from unsmash.recogniser import Recogniser, recogniser

pytestmark = pytest.mark.usefixtures("short_recogniser")


def made(splits: Splits, lab: Lab, cache: Path | None, classes: int = 10) -> Recogniser:
    eye = recogniser(splits.validator.pixels, splits.validator.labels, classes, lab.at("recogniser"), cache)
    assert eye is not None
    return eye


def test_one_that_was_kept_is_the_one_that_would_be_trained(
    digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = digits.victims.pixels
    fresh, first = made(digits, Lab(), None), made(digits, Lab(), tmp_path)
    monkeypatch.setattr(recognisers, "_train", None)  # calling it would fail
    before = torch.get_rng_state()
    kept = made(digits, Lab(), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    for eye in (first, kept):
        assert torch.equal(eye.reads(x), fresh.reads(x))
        assert not any(parameter.requires_grad for parameter in eye.body.parameters())
        assert not eye.body.training


def test_other_images_labels_seed_or_steps_are_another(
    digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, labels = digits.validator.pixels, digits.validator.labels
    recogniser(pixels, labels, 10, Lab(), tmp_path)
    recogniser(pixels, labels, 10, Lab(seed=1), tmp_path)
    recogniser(1 - pixels, labels, 10, Lab(), tmp_path)
    recogniser(pixels, 9 - labels, 10, Lab(), tmp_path)
    recogniser(pixels, labels, 11, Lab(), tmp_path)
    monkeypatch.setattr(recognisers, "STEPS", 13)
    recogniser(pixels, labels, 10, Lab(), tmp_path)
    assert len(list((tmp_path / "recognisers").glob("*.safetensors"))) == 6


def test_one_class_is_nothing_to_recognise(digits: Splits, tmp_path: Path) -> None:
    pixels = digits.validator.pixels
    assert recogniser(pixels, torch.zeros(len(pixels), dtype=torch.long), 10, Lab(), tmp_path) is None
    assert recogniser(pixels, torch.full((len(pixels),), -1), 10, Lab(), tmp_path) is None
