"""Class inversion: images that a network is sure of, found by gradient descent from a start (MIFACE).

Algorithm 1 of Fredrikson, Jha and Ristenpart (CCS 2015), for many classes and starts as one batch. A class keeps its
own state, so the batch gives what one descent after the other would, but for rounding. `rule="art"` descends and stops
as ART 1.20.1 does with its usual batch of one, for comparison: that rule lets go of a class that has hardly begun, and
holds on to one that has arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unsmash.class_cost import Climbed, judge, total_variation
from unsmash.denoising import denoise
from unsmash.errors import UnsmashError
from unsmash.lab import keep_memory

Logits = Callable[[Tensor], Tensor]
"""Images [n, c, h, w] in [0, 1] → logits [n, classes], each row on its own, differentiable"""

Stop = Literal["confident", "no progress", "iterations", "levelled", "flat start", "art"]

STOPS: tuple[Stop, ...] = ("confident", "no progress", "iterations", "levelled", "flat start", "art")

PLAIN: dict[str, str] = {
    "confident": "reached the confidence asked for",
    "no progress": "no better than all of its window",
    "iterations": "used all iterations",
    "levelled": "used all iterations, and as many again would not do at its last pace",
    "flat start": "the start has no gradient to follow",
    "art": "let go by ART's rule",
}
"""Why a descent stopped, in words"""

FLAT = 1e-6
"""A start is called flat when no pixel's gradient is larger: a thousand steps of 0.1 would not move a grey level"""


@dataclass(frozen=True)
class Descent:
    """How to descend; the defaults are the paper's algorithm, on log-odds."""

    rule: Literal["paper", "art"] = "paper"
    on: Climbed = "log_odds"
    """What is climbed: the class's probability p, or log(p / (1 − p)), whose gradient does not fade where p is tiny"""
    max_iter: int = 1000
    window_length: int = 100
    threshold: float = 0.99
    """Paper: the confidence at which a class is done (1 − its γ). ART: the cost below which a class goes on"""
    learning_rate: float = 0.1
    tv: float = 0.0
    """Weight of the images' total variation, added to the cost"""
    denoising: float = 0.0
    """Strength of the denoising after each step; 0 leaves it out"""


@dataclass(frozen=True)
class Inversion:
    """What the descents found, one row each."""

    images: Tensor
    """[m, c, h, w] in [0, 1]. Paper: the cheapest that was met; ART: the last"""
    confidences: Tensor
    """[m]: the network's probability of the row's class for that image"""
    iterations: Tensor
    """[m]: steps taken"""
    stops: tuple[Stop, ...]
    starts: Tensor
    """[m]: probability of the class for the start image"""
    slopes: Tensor
    """[m]: largest gradient entry at the start, of those that point into [0, 1]"""
    origins: Tensor
    """[m, c, h, w]: the start images"""

    @property
    def flat(self) -> Tensor:
        """[m]: true where the start had no gradient worth following."""
        return self.slopes < FLAT

    def rows(self, rows: list[int]) -> Inversion:
        """Some of the rows, on the CPU."""
        index = torch.tensor(rows, device=self.images.device)
        tensors = {name: value[index].cpu() for name, value in vars(self).items() if name != "stops"}
        return Inversion(stops=tuple(self.stops[row] for row in rows), **tensors)


def invert(logits: Logits, starts: Tensor, classes: Tensor, descent: Descent, *, batch: int = 512) -> Inversion:
    """One descent a row: from `starts` [m, c, h, w] to images of `classes` [m].

    Raises:
        UnsmashError: the network's answers are no logits [n, classes], or not finite at a start.
    """
    keep_memory()
    parts = [
        _Batch(logits, start, label, descent).run()
        for start, label in zip(starts.split(batch), classes.to(starts.device).split(batch), strict=True)
    ]
    names = [name for name in Inversion.__dataclass_fields__ if name != "stops"]
    tensors = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return Inversion(stops=tuple(stop for part in parts for stop in part.stops), **tensors)


@dataclass(frozen=True)
class _Look:
    """The network's answers to images, and the way down."""

    images: Tensor
    answers: Tensor
    pull: Tensor
    """[n, classes]: derivative of the cost by the answers"""
    rough: Tensor | None
    """[n]: what the images' total variation adds to the cost"""
    cost: Tensor
    confidence: Tensor

    def gradient(self) -> Tensor:
        """Of the cost, by each row's own image."""
        if self.rough is None:
            return torch.autograd.grad(self.answers, self.images, self.pull)[0]
        return torch.autograd.grad((self.answers, self.rough.sum()), self.images, (self.pull, None))[0]


class _Batch:
    """Descents that share each pass through the network; rows that have stopped leave it."""

    def __init__(self, logits: Logits, starts: Tensor, classes: Tensor, descent: Descent) -> None:
        self.logits, self.descent = logits, descent
        self.active, self.classes = torch.arange(len(starts), device=starts.device), classes
        self.highest = int(classes.max())
        first = self._look(starts)
        if not first.cost.isfinite().all():
            raise UnsmashError("the network's answer to a start image is not finite")
        self.gradient = first.gradient()
        self.slopes = _inward(starts, self.gradient).abs().flatten(1).amax(1)
        self.origins, self.starts = starts, first.confidence.clone()
        # what is kept of each row; `at` is where the rows in the batch stand
        self.at, self.images, self.confidences = starts.clone(), starts.clone(), first.confidence.clone()
        self.costs = first.cost.clone()
        self.iterations = torch.zeros(len(starts), dtype=torch.long, device=starts.device)
        self.why = torch.full_like(self.iterations, STOPS.index("iterations"))
        self.window = starts.new_full((max(descent.window_length, 1), len(starts)), torch.inf)
        if descent.rule == "paper":
            self.window[0] = self.costs

    def run(self) -> Inversion:
        """Descend until every row has stopped."""
        paper = self.descent.rule == "paper"
        if paper:
            self._leave(torch.where(self.slopes == 0, STOPS.index("flat start"), -1), 0)
        for step in range(1, self.descent.max_iter + 1):
            if not len(self.active):
                break
            self.at = self._stepped()
            look = self._look(self.at)
            last = step == self.descent.max_iter
            reasons = self._paper(look, last=last) if paper else self._art(look.cost)
            # the start's cost is the paper window's first entry, ART's is the first step's
            self.window[(step if paper else step - 1) % len(self.window)] = look.cost
            self._keep(look.cost, look.confidence, always=not paper)
            if not last:
                self.gradient = look.gradient()
            if reasons is not None:
                self._leave(reasons, step)
        self.iterations[self.active] = self.descent.max_iter
        stops = tuple(STOPS[index] for index in self.why.tolist())
        return Inversion(self.images, self.confidences, self.iterations, stops, self.starts, self.slopes, self.origins)

    def _look(self, images: Tensor) -> _Look:
        images = images.detach().requires_grad_()
        answers = self.logits(images)
        if answers.ndim != 2 or answers.shape[1] <= self.highest:
            raise UnsmashError(
                f"the network answers with shape {tuple(answers.shape)}; class inversion needs one logit a class"
            )
        rough = self.descent.tv * total_variation(images) if self.descent.tv else None
        with torch.no_grad():
            cost, pull, confidence = judge(answers, self.classes[:, None], self.descent.on)
            return _Look(images, answers, pull, rough, cost if rough is None else cost + rough, confidence)

    def _stepped(self) -> Tensor:
        # product and difference are rounded one after the other, as elsewhere: fused, they are other images in the end
        images = (self.at - self.descent.learning_rate * self.gradient).clamp_(0, 1)
        return denoise(images, self.descent.denoising) if self.descent.denoising else images

    def _paper(self, look: _Look, *, last: bool) -> Tensor | None:
        """Stop where nothing in the window was worse, or where the class is confident; −1 goes on, None if all do."""
        stuck, sure = look.cost >= self.window.amax(0), look.confidence >= self.descent.threshold
        late = self._levelled(look) if last else torch.zeros_like(sure)
        if not (stuck | sure | late).any():
            return None
        reasons = torch.where(late, STOPS.index("levelled"), -1)
        reasons = torch.where(stuck, STOPS.index("no progress"), reasons)
        return torch.where(sure, STOPS.index("confident"), reasons)

    def _levelled(self, look: _Look) -> Tensor:
        """After the last step: at the mean pace of its window, as many steps again would not make the class sure."""
        length = len(self.window)
        if self.descent.max_iter < length:  # too few steps to tell
            return torch.zeros_like(look.cost, dtype=torch.bool)
        pace = (self.window[self.descent.max_iter % length] - look.cost) / length
        p, goal = look.confidence, look.cost.new_tensor(self.descent.threshold)
        missing = goal - p if self.descent.on == "probability" else goal.logit() - p.logit()
        return missing > pace * self.descent.max_iter

    def _art(self, cost: Tensor) -> Tensor | None:
        low = cost <= self.descent.threshold
        if low.all():
            return None
        going = low | (cost >= self.window.amax(0))
        return None if going.all() else torch.where(going, -1, STOPS.index("art"))

    def _keep(self, cost: Tensor, confidence: Tensor, *, always: bool) -> None:
        """Remember the cheapest image of each row, or the last."""
        if always and len(self.active) == len(self.images):
            self.images, self.confidences, self.costs = self.at, confidence, cost
            return
        better = torch.ones_like(cost, dtype=torch.bool) if always else cost < self.costs[self.active]
        rows = self.active[better]
        if always:  # `images` may be what the rows stand at
            self.images, self.confidences, self.costs = (
                self.images.clone(),
                self.confidences.clone(),
                self.costs.clone(),
            )
        self.images[rows], self.confidences[rows], self.costs[rows] = self.at[better], confidence[better], cost[better]

    def _leave(self, reasons: Tensor, step: int) -> None:
        """Take the rows with a reason out of the batch after so many steps."""
        stays = reasons < 0
        self.iterations[self.active[~stays]] = step
        self.why[self.active[~stays]] = reasons[~stays]
        self.active, self.classes, self.at = self.active[stays], self.classes[stays], self.at[stays]
        self.gradient, self.window = self.gradient[stays], self.window[:, stays]


def _inward(images: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the cost where a step against it stays in [0, 1], else 0."""
    return torch.where(((gradient > 0) & (images > 0)) | ((gradient < 0) & (images < 1)), gradient, 0.0)
