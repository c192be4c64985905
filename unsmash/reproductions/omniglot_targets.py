"""The targets of the Omniglot study: trained as published, as it was meant, and with differential privacy.

A training is cut into legs of a few passes. Each is a step that keeps the weights and Adam's memory, so that a run that
is stopped loses one leg at most, and a leg goes on exactly where the one before it ended.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unsmash.bounds.epsilon import gaussian_epsilon
from unsmash.defences.dpsgd import DpSgd
from unsmash.lab import Lab
from unsmash.models.omniglot_cnn import OmniglotCNN
from unsmash.reproductions.omniglot_images import TARGET, Letters
from unsmash.reproductions.training import Loop, accuracy, fit
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.scoring import share_score
from unsmash.split import SplitModel, cut
from unsmash.split.clipping import opacus
from unsmash.split.private import schedule, train_privately, training_epsilon
from unsmash.split.train import Training

SHAPE, OUTPUTS = (1, 105, 105), 50
"""Image, and the published outputs, of which twenty are ever an answer"""

RATE, PRIVATE_RATE = 1e-3, 5e-3
"""Adam's learning rate: Keras' own, and that of the private trainings"""

CLIP, DELTA = 1.0, 1e-5
ADAM_EPSILON = 1e-7
"""Keras' own; torch's is 1e-8"""

NORM_EPSILON, NORM_MOMENTUM = 1e-3, 0.01
"""Keras' BatchNorm: its momentum of 0.99 is torch's 0.01"""

ORDERS = (1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 4.5, *range(5, 64), 128, 256, 512)
"""Rényi orders of TensorFlow Privacy's `compute_dp_sgd_privacy`"""

Row = dict[str, Any]
"""A pass that is done: its number, and shares with their intervals"""


@dataclass(frozen=True)
class Course:
    """How a target is trained."""

    passes: int
    leg: int
    """Passes a step"""
    batch: int
    rate: float = RATE
    dropout: float = 0.2
    buffer: int = 0
    """The shuffle buffer; 0 mixes all images"""
    inference: bool = False
    grouped: bool = False
    """GroupNorm in the place of BatchNorm"""
    noise: float | None = None
    """Of DP-SGD, in clips; none trains without it"""


def network(course: Course, lab: Lab) -> SplitModel:
    """The published network with weights drawn as Keras draws them, cut at its 32 numbers; in eval mode."""
    net = OmniglotCNN(dropout=course.dropout).build(SHAPE, OUTPUTS, lab)
    if course.grouped:
        net, _ = DpSgd().adapt(net)
    with lab.seeded("start"):
        for layer in net.modules():
            _start(layer)
    return cut(net, OmniglotCNN.default_cut, torch.zeros(1, *SHAPE)).eval()


def _start(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):
        layer.eps, layer.momentum = NORM_EPSILON, NORM_MOMENTUM


@dataclass(frozen=True)
class _Leg:
    """Some passes of a training."""

    course: Course
    letters: Letters
    first: int
    last: int

    @property
    def passes(self) -> int:
        return self.last - self.first + 1

    def settings(self) -> dict[str, Any]:
        return settings(self.course, self.letters) | {"passes": self.last}


def settings(course: Course, letters: Letters) -> dict[str, Any]:
    """What a target of that course depends on."""
    return vars(course) | {"train": letters.sizes.train, "val": letters.sizes.val}


def trained(bench: Workbench, name: str, course: Course, letters: Letters) -> tuple[SplitModel, list[Row]]:
    """The target of that course, and what is known after its passes; legs kept from before are not trained again."""
    model = network(course, bench.lab.at("omniglot/target"))
    rows: list[Row] = []
    arrays: dict[str, Tensor] = {}
    for first in range(1, course.passes + 1, course.leg):
        leg = _Leg(course, letters, first, min(first + course.leg - 1, course.passes))
        step = f"{name}, passes {leg.first} to {leg.last}"
        made = bench.once(step, leg.settings(), functools.partial(_walk, model, leg, arrays))
        arrays, rows = made.arrays, rows + made.figures["passes"]
    _restore(model, None, arrays)
    return model.to(bench.lab.device).eval(), rows


def standing(bench: Workbench, name: str, course: Course, letters: Letters, model: SplitModel) -> Row:
    """Accuracy of a target when all is done, on what trained it and on what did not."""

    def make(lab: Lab) -> Made:
        sets = {"train": letters.train, "val": letters.val}
        return Made({what: share(accuracy(model, *images, lab)) for what, images in sets.items()})

    return bench.once(f"accuracy of {name}", settings(course, letters), make).figures


def _walk(model: SplitModel, leg: _Leg, before: Mapping[str, Tensor], lab: Lab) -> Made:
    """Train in place from where the leg before ended."""
    adam = torch.optim.Adam(model.to(lab.device).parameters(), lr=leg.course.rate, eps=ADAM_EPSILON)
    _restore(model, adam, before)
    rows = (_plain if leg.course.noise is None else _private)(model, adam, leg, lab)
    return Made({"passes": rows}, _kept(model, adam))


def _plain(model: SplitModel, adam: torch.optim.Adam, leg: _Leg, lab: Lab) -> list[Row]:
    """The published loop: the accuracy of a pass is that of its batches, as Keras tells it."""
    hits: list[Tensor] = []
    rows: list[Row] = []

    def after(number: int) -> None:
        held = accuracy(model, *leg.letters.val, lab)
        rows.append({"pass": leg.first + number - 1, "train": share(torch.cat(hits)), "val": share(held)})
        hits.clear()

    def seen(answers: Tensor, labels: Tensor) -> None:
        hits.append((answers.argmax(1) == labels).double().cpu())

    course = leg.course
    shuffle, inference = course.buffer == 0, course.inference
    loop = Loop(leg.passes, course.batch, lambda _: adam, shuffle, course.buffer, inference)
    fit(model, *leg.letters.train, loop, lab, after=after, seen=seen)
    return rows


def _private(model: SplitModel, adam: torch.optim.Adam, leg: _Leg, lab: Lab) -> list[Row]:
    """DP-SGD with Poisson sampling."""
    assert leg.course.noise is not None
    plan = _plan(leg.course, leg.passes)
    train_privately(model, *leg.letters.train, plan, lab, noise=leg.course.noise, clip=CLIP, adam=adam)
    return [{"pass": leg.last, "val": share(accuracy(model, *leg.letters.val, lab))}]


def _plan(course: Course, passes: int) -> Training:
    return Training(epochs=passes, batch=course.batch, rate=course.rate)


def share(hits: Tensor) -> list[float]:
    """A share in per cent with its 95 % interval, and of how many."""
    score = share_score("", hits)
    return [100 * score.mean, 100 * score.low, 100 * score.high, score.n]


def _kept(model: SplitModel, adam: torch.optim.Adam) -> dict[str, Tensor]:
    arrays = {f"net.{name}": tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    for place, memory in adam.state_dict()["state"].items():
        arrays |= {f"adam.{place}.{name}": tensor.detach().cpu().clone() for name, tensor in memory.items()}
    return arrays


def _restore(model: SplitModel, adam: torch.optim.Adam | None, arrays: Mapping[str, Tensor]) -> None:
    if not arrays:
        return
    weights = {name.removeprefix("net."): one for name, one in arrays.items() if name.startswith("net.")}
    model.load_state_dict(weights)
    if adam is None:
        return
    memory: dict[int, dict[str, Tensor]] = {}
    for name, one in arrays.items():
        if name.startswith("adam."):
            _, place, what = name.split(".")
            memory.setdefault(int(place), {})[what] = one
    adam.load_state_dict({"state": memory, "param_groups": adam.state_dict()["param_groups"]})


def epsilons(noise: float, course: Course, train: int, val: int) -> dict[str, float | str]:
    """ε of a private training: as the study computed it, as it is, and what holds for the study's own sampling."""
    rate, steps = schedule(train, _plan(course, course.passes))
    exact, accountant = training_epsilon(noise, rate, steps, DELTA, "prv")
    return {
        "published": published_epsilon(noise, train + val, course.batch, course.passes),
        "poisson": exact,
        "accountant": accountant,
        "steps": steps,
        "shuffled": gaussian_epsilon(math.sqrt(course.passes), noise, DELTA),
    }


def published_epsilon(noise: float, images: int = TARGET, batch: int = 32, passes: int = 20) -> float:
    """The study's ε: TensorFlow Privacy's Rényi accountant of its day, for Poisson batches of all `images`.

    Its conversion to (ε, δ) is Mironov's (CSF 2017, proposition 3), which later ones improve on.
    """
    renyi = opacus("accountants.analysis.rdp").compute_rdp(
        q=batch / images, noise_multiplier=noise, steps=math.ceil(passes * images / batch), orders=list(ORDERS)
    )
    return min(float(one) - math.log(DELTA) / (order - 1) for one, order in zip(renyi, ORDERS, strict=True))
