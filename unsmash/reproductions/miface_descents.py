"""Class inversion as the example runs it and put right: its descents, and what is measured of the images they end at.

`together` is the example's fault kept as it is: ART's loop with all classes in one batch, where a class that was let go
comes back for a step whenever its window has filled with its own unchanged cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from unsmash.class_cost import Climbed
from unsmash.class_inversion import PLAIN, Descent, Inversion, Logits, Stop, invert
from unsmash.class_scoring import Account, prototypes
from unsmash.lab import Lab
from unsmash.metrics.intervals import wilson
from unsmash.recogniser import Recogniser
from unsmash.records import ClassResult, Prototype, Score
from unsmash.reproductions.miface_data import Target
from unsmash.reproductions.record import Measure
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.scoring import mean_score

Start = Literal["zeros", "ones", "grey", "random", "average"]

SURE = 0.99
"""Confidence at which a class counts as reached"""

LEVEL = 0.5 / 255
"""An image that nowhere moved by more is the same picture in 8 bits"""


@dataclass(frozen=True)
class Plan:
    """One way to invert all classes of a network."""

    descent: Descent
    start: Start
    together: bool = False
    """ART's loop with all classes in one batch"""

    def settings(self) -> dict[str, Any]:
        """For the key of the step."""
        return {"descent": asdict(self.descent), "start": self.start, "together": self.together}


@dataclass(frozen=True, eq=False)
class Found:
    """The images that a plan ended at, one a class, and what they are like."""

    images: Tensor
    """[classes, c, h, w] in [0, 1]"""
    prototypes: tuple[Prototype, ...]
    unmoved: Tensor
    """[classes]: 1 where the image is still its start image, to the grey level"""
    dropped: Tensor
    """[classes]: 1 where the class was let go after one step"""

    def figures(self) -> dict[str, Measure | None]:
        """A row of the tables."""
        sure = torch.tensor([float(one.confidence >= SURE) for one in self.prototypes])
        read = torch.tensor([float(one.recognised) for one in self.prototypes if one.recognised is not None])
        steps = sum(one.iterations for one in self.prototypes) / len(self.prototypes)
        confidence = torch.tensor([one.confidence for one in self.prototypes], dtype=torch.float64)
        return {
            "confidence": percent(mean_score("class_confidence", "", "up", confidence)),
            "sure": share(sure),
            "stuck": share(self.unmoved),
            "iterations": Measure(steps, n=len(self.prototypes)),
            "recognised": share(read) if len(read) else None,
        }

    def result(self, name: str, settings: dict[str, Any]) -> ClassResult:
        """As the archive takes it."""
        return ClassResult(name, "miface", "Class inversion", "attack", "", self.prototypes, settings=settings)


def inverted(bench: Workbench, target: Target, plan: Plan, eye: Recogniser | None) -> Found:
    """The images of a plan, kept from before or made now, and scored."""
    d, kind = plan.descent, target.kind
    how = "ART's rule" + (" in one batch" if plan.together else "") if d.rule == "art" else f"the paper's rule, {d.on}"
    step = f"invert {kind} on {target.subject.name}, {how}, from {plan.start}, rate {d.learning_rate:g}"

    def make(lab: Lab) -> Made:
        begin, classes = starts(plan.start, target, bench.lab)
        go = together if plan.together else invert
        found = go(target.logits, begin, classes, d)
        stops = list(found.stops)
        return Made({"stops": stops}, {name: one.cpu() for name, one in vars(found).items() if name != "stops"})

    made = bench.once(step, target.settings | plan.settings(), make)
    return _scored(Inversion(stops=tuple(made.figures["stops"]), **made.arrays), target, eye, bench.lab)


def starts(name: Start, target: Target, lab: Lab) -> tuple[Tensor, Tensor]:
    """One start image a class [classes, c, h, w], and the classes [classes]."""
    subject = target.subject
    shape = (len(subject.classes), *subject.train[0].shape[1:])
    if name == "random":
        begin = torch.rand(shape, generator=lab.at(subject.name).generator("starts"))
    elif name == "average":
        begin = subject.scene.shadow.mean(0).expand(shape).clone()
    else:
        begin = torch.full(shape, {"zeros": 0.0, "ones": 1.0, "grey": 0.5}[name])
    return begin.to(lab.device), torch.arange(shape[0], device=lab.device)


def steepest(logits: Logits, begin: Tensor, classes: Tensor, on: Climbed) -> Tensor:
    """The largest partial derivative by any pixel, of each row's class: [m]. As ART's notebook takes it, with its sign.

    0 or less means that no pixel made brighter helps; at a black start nothing else is possible.
    """
    images = begin.detach().requires_grad_()
    log_p = logits(images).log_softmax(1).gather(1, classes[:, None])[:, 0]
    climbed = log_p.exp() if on == "probability" else log_p - torch.log1p(-log_p.exp())
    return torch.autograd.grad(climbed.sum(), images)[0].flatten(1).amax(1)


def together(logits: Logits, begin: Tensor, classes: Tensor, descent: Descent) -> Inversion:
    """ART 1.20's descent with every class in one batch, faults included; its iterations are the steps a class took."""
    images = begin.clone()
    active = torch.ones(len(begin), dtype=torch.bool, device=begin.device)
    window = begin.new_full((len(begin), descent.window_length), torch.inf)
    taken = torch.zeros(len(begin), dtype=torch.long, device=begin.device)
    sure, slope = _climb(logits, images, classes)
    first, slopes = sure, _inward(begin, slope)
    for step in range(descent.max_iter):
        if not active.any():
            break
        moved = (images + descent.learning_rate * slope).clamp(0, 1)
        images = torch.where(active[:, None, None, None], moved, images)
        taken += active
        sure, slope = _climb(logits, images, classes)
        cost = 1 - sure
        active = (cost <= descent.threshold) | (cost >= window.amax(1))
        window[:, step % descent.window_length] = cost
    stops: tuple[Stop, ...] = tuple("iterations" if going else "art" for going in active.tolist())
    return Inversion(images, sure, taken, stops, first, slopes, begin)


def _climb(logits: Logits, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's probability of its class, and that probability's gradient."""
    images = images.detach().requires_grad_()
    sure = logits(images).softmax(1).gather(1, classes[:, None])[:, 0]
    return sure.detach(), torch.autograd.grad(sure.sum(), images)[0]


def _inward(images: Tensor, slope: Tensor) -> Tensor:
    """[m]: the largest entry that a step can follow without leaving [0, 1]."""
    room = torch.where(slope > 0, images < 1, images > 0)
    return torch.where(room, slope, 0.0).abs().flatten(1).amax(1)


def _scored(found: Inversion, target: Target, eye: Recogniser | None, lab: Lab) -> Found:
    with torch.no_grad():
        answers = target.logits(found.images.to(lab.device)).float().cpu()
    words = tuple(PLAIN[stop] for stop in found.stops)
    account = Account(found.starts, found.iterations, found.flat, words)
    rows = prototypes(found.images, answers, account, target.subject.scene, eye, target.subject.classes)
    unmoved = (found.images - found.origins).abs().flatten(1).amax(1) < LEVEL
    dropped = (found.iterations == 1) & torch.tensor([stop == "art" for stop in found.stops])
    return Found(found.images, rows, unmoved.double(), dropped.double())


def class_means(target: Target, eye: Recogniser | None, lab: Lab) -> Found:
    """The floor: the mean of the adversary's images of each class, or of all where it has none; nobody is asked."""
    scene = target.subject.scene
    rows = [scene.shadow[scene.shadow_labels == label] for label in range(scene.classes)]
    images = torch.stack([(one if len(one) else scene.shadow).mean(0) for one in rows])
    with torch.no_grad():
        answers = target.logits(images.to(lab.device)).float().cpu()
    none = torch.zeros(len(images))
    account = Account(answers.softmax(1).diagonal(), none, none, ("",) * len(images))
    return Found(images, prototypes(images, answers, account, scene, eye, target.subject.classes), none, none)


def percent(score: Score) -> Measure:
    """A share or a mean in [0, 1] as per cent."""
    return Measure(100 * score.mean, 100 * score.low, 100 * score.high, score.n)


def share(hits: Tensor) -> Measure:
    """The share of ones, as per cent."""
    low, high = wilson(float(hits.sum()), len(hits))
    return Measure(100 * hits.double().mean().item(), 100 * low, 100 * high, len(hits))


def once_each(plans: dict[str, Plan], run: Callable[[Plan], Found]) -> dict[str, Found]:
    """Every plan carried out, each different one once."""
    done: dict[Plan, Found] = {}
    for plan in plans.values():
        if plan not in done:
            done[plan] = run(plan)
    return {name: done[plan] for name, plan in plans.items()}
