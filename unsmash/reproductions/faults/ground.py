"""What the faults are shown on: how much data, the networks trained on it, and what adversaries see of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from unsmash import scoring
from unsmash.attacks.base import Attack
from unsmash.attempt import attempt
from unsmash.data.base import Data, Splits
from unsmash.data.mnist import Mnist
from unsmash.errors import DataError
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.metrics.dependence import distance_correlation_compat
from unsmash.recogniser import Recogniser, recogniser
from unsmash.reproductions.faults.fault import Figures, figures, plain
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import SplitModel
from unsmash.split.train import predict
from unsmash.victim import prepare
from unsmash.view import Scene, View, make_scene

SHOWN = 10
"""Pictures in a line"""

METRICS = ("identification", "ssim", "mse")

LAPLACE: dict[str, Any] = {"kind": "laplace", "scale": 1.0}
"""dpsnn's defence at its largest published scale: in training and at inference, on each of 500 numbers in [-1, 1]"""

CORRELATED = 256
"""Pictures in a batch of the published correlation of reconstructions"""


class Sizes(BaseModel):
    """How much data, and how long a training, each fault is shown with."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    train: int = Field(8000, ge=20, le=40_000)
    """Digits that train the network that sends with noise, and the networks that are inverted class by class"""
    passes: int = Field(5, ge=1, le=1000)
    """Passes over them"""
    shadow: int = Field(4000, ge=16, le=20_000)
    """Digits of the adversary's own"""
    validator: int = Field(2000, ge=20, le=10_000)
    """Digits that train the independent recogniser of the reconstructions"""
    val: int = Field(2000, ge=20, le=5000)
    """Digits of the test file for accuracy, and for the dependence between image and smashed data"""
    victims: int = Field(512, ge=10, le=5000)
    """Digits of the test file that are attacked, and the candidates among which each must be found"""
    attacker_passes: int = Field(10, ge=1, le=1000)
    """Passes of the published decoder over the adversary's digits"""
    decoder_images: int = Field(2000, ge=16, le=20_000)
    """Digits of the adversary's own that ridge and our decoder learn from"""
    decoder_passes: int = Field(5, ge=1, le=1000)
    """Passes of our decoder over them"""
    repeats: tuple[int, ...] = (1, 4, 16, 64)
    """How many messages of one image an adversary sees, in rising order from 1"""
    private_train: int = Field(2000, ge=20, le=40_000)
    """Digits that train the network with DP-SGD, and the same network without"""
    private_passes: int = Field(6, ge=1, le=1000)
    """Passes over them"""
    letters_train: int = Field(1400, ge=40, le=11_000)
    """Letters that train the Omniglot network"""
    letters_passes: int = Field(4, ge=1, le=1000)
    """Passes over them"""
    letters_shadow: int = Field(2720, ge=50, le=2720)
    """Letters of small1, the adversary's; the published attacker has all 2,720"""
    letters_test: int = Field(3120, ge=50, le=3120)
    """Letters of small2 from which the victims are taken; it has 3,120"""
    letters_victims: int = Field(500, ge=4, le=1000)
    """Victims of each kind: in both sets, in small2 alone, and small2 as it comes"""
    faces: int = Field(250, ge=10, le=1000)
    """Faces whose reconstructions are measured in decibels"""
    iterations: int = Field(500, ge=10, le=10_000)
    """Most steps of a class inversion"""
    batches: int = Field(20, ge=2, le=1000)
    """Batches over which a distance correlation of noise is averaged"""

    @field_validator("repeats")
    @classmethod
    def _rising_from_one(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value[:1] != (1,) or list(value) != sorted(set(value)) or len(value) < 2 or value[-1] > 1024:
            raise ValueError("at least two whole numbers in rising order, from 1 to at most 1024")
        return value

    def of(self, *names: str) -> dict[str, Any]:
        """The sizes of these names: what a step depends on."""
        return self.model_dump(mode="json", include=set(names))


DIGITS = ("train", "shadow", "validator", "val", "victims")
"""Sizes that decide which digits are drawn for which set"""


class Subject:
    """A data set, and the networks trained on it; nothing is read before it is needed."""

    def __init__(self, bench: Workbench, data: Data, *, contaminated: bool = False, recognised: bool = False) -> None:
        """`contaminated`: take the data as it is, even where its sets share images. `recognised`: an independent
        recogniser reads the reconstructions.
        """
        self.bench, self.data, self.contaminated, self.recognised = bench, data, contaminated, recognised

    @cached_property
    def splits(self) -> Splits:
        """Its five sets."""
        return self.data.load(self.bench.root, allow_contamination=self.contaminated)

    @cached_property
    def scene(self) -> Scene:
        """Its victims, and the adversary's images."""
        victims, shadow, classes = self.splits.victims, self.splits.shadow, len(self.splits.classes)
        lab = self.bench.lab.at("scene")
        return make_scene(victims.pixels, victims.labels, shadow.pixels, shadow.labels, classes, lab)

    @cached_property
    def eye(self) -> Recogniser | None:
        """The independent recogniser, where one is wanted."""
        if not self.recognised:
            return None
        known, lab = self.splits.validator, self.bench.lab.at("recogniser")
        return recogniser(known.pixels, known.labels, len(self.splits.classes), lab, self.bench.cache)

    @cached_property
    def exhibits(self) -> Tensor:
        """Places of the victims in the pictures: the first of each class, or the first of all."""
        labels = self.splits.victims.labels.tolist()
        first = [labels.index(one) for one in sorted(set(labels))]
        return torch.tensor(first[:SHOWN] if len(first) > 1 else list(range(min(SHOWN, len(labels)))))

    def network(self, model: str, passes: int, *defences: Mapping[str, Any]) -> SplitModel:
        """A trained network, cut at its usual place: the one that an audit with these settings would attack.

        It is kept beside the audits' networks, so steps that share it train it once.
        """
        told = {"data": self.data, "model": {"kind": model}, "train": {"epochs": passes}, "defences": list(defences)}
        experiment = Experiment.model_validate(told)
        return prepare(experiment, self.splits, self.bench.lab, self.bench.cache).model

    def accuracy(self, model: SplitModel) -> list[float]:
        """Its accuracy on held-out images, with what it sends as it is sent; per cent."""
        held, lab = self.splits.val, self.bench.lab.at("accuracy")
        hits = (predict(model, held.pixels, lab).argmax(1) == held.labels).double()
        return plain(scoring.share_score("accuracy", hits))

    def score(self, attack: Attack, view: View, lab: Lab, made: Tensor | None = None) -> tuple[Figures, Tensor]:
        """Run an attack, unless its guess is made already, and score it: figures, and the guess [n, c, h, w]."""
        result, guess = attempt(attack, attack.kind, view, self.scene, self.eye, lab, made=made)
        found = figures(result, (*METRICS, *(["recognition"] if self.recognised else [])))
        assert guess is not None
        return found | {"correlation": [correlation(self.scene.victims, guess)]}, guess


@dataclass
class Ground:
    """Where the faults are shown, and with how much."""

    bench: Workbench
    sizes: Sizes

    @cached_property
    def digits(self) -> Subject:
        """MNIST, as most of them need it."""
        return Subject(self.bench, Mnist(**self.sizes.of(*DIGITS)), recognised=True)

    @cached_property
    def fewer(self) -> Subject:
        """MNIST with fewer digits to train on, since private training is slow."""
        told = self.sizes.of(*DIGITS) | {"train": self.sizes.private_train}
        return Subject(self.bench, Mnist(**told))

    def noisy(self) -> SplitModel:
        """The network of dpsnn, trained and used with Laplace noise on what it sends."""
        return self.digits.network("splitnn", self.sizes.passes, LAPLACE)

    def quiet(self) -> SplitModel:
        """The same network, sending its activations before the noise."""
        noisy = self.noisy()
        return SplitModel(noisy.device, noisy.server, at=noisy.at).eval()

    @cached_property
    def noisy_accuracy(self) -> list[float]:
        """Its accuracy in per cent; the network is trained here, as a step of its own."""
        step = self.step(
            "network under Laplace 1.0",
            (*DIGITS, "passes"),
            lambda lab: Made({"accuracy": self.digits.accuracy(self.noisy())}),
        )
        found: list[float] = step.figures["accuracy"]
        return found

    def step(self, name: str, sizes: Sequence[str], make: Callable[[Lab], Made], **more: Any) -> Made:
        """A step that depends on these sizes, and on whatever else is named."""
        return self.bench.once(name, self.sizes.of(*sizes) | more, make)


def learned(sizes: Sizes) -> dict[str, Any]:
    """Settings of our decoder."""
    return {"images": sizes.decoder_images, "copies": 0, "epochs": sizes.decoder_passes}


def correlation(truth: Tensor, guess: Tensor) -> float:
    """How dpsnn measures a reconstruction: its "distance correlation" with the original, mean over batches."""
    parts = zip(truth.split(CORRELATED), guess.split(CORRELATED), strict=True)
    found = [distance_correlation_compat(x.flatten(1), y.flatten(1)) for x, y in parts]
    return sum(found) / len(found)


def require(count: int, what: str) -> None:
    """Refuse to measure a share of nothing.

    Raises:
        DataError: with what there is none of.
    """
    if not count:
        raise DataError(f"there are no {what}: take more of the data")
