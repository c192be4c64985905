"""Class inversion (MIFACE): from the whole network to one image a class, without any release.

Fredrikson, Jha and Ristenpart, "Model inversion attacks that exploit confidence information and basic countermeasures",
CCS 2015, algorithm 1. It shows what the network has kept of a class, never whose image was sent: a prototype, and no
reconstruction of an input.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unsmash.attacks.base import ClassAttack
from unsmash.class_inversion import Descent, Inversion, invert
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View

SHADOWED = ("average", "data")
"""Starts that take the adversary's own images"""


class Miface(ClassAttack):
    """Climbs the network's confidence in each class from a start image."""

    kind: Literal["miface"] = "miface"
    rule: Literal["paper", "art"] = "paper"
    """When a class is done: the paper's rule, or that of ART 1.20.1, which is the other way round, for comparison"""
    on: Literal["log_odds", "probability"] = "log_odds"
    """What is climbed: log-odds keep a gradient where the probability is tiny; the paper climbs the probability"""
    start: Literal["zeros", "grey", "random", "average", "data"] = "grey"
    """First image: black, mid-grey, noise, the mean of the adversary's images, or one of them whatever its class"""
    restarts: int = Field(1, ge=1, le=1000)
    """Descents for each class; those after the first start from noise, or from further images of the adversary's"""
    max_iter: int = Field(1000, ge=1, le=1_000_000)
    """Most steps of a descent (the paper's α)"""
    window_length: int = Field(100, ge=1, le=100_000)
    """Steps without any progress after which a descent stops (the paper's β)"""
    threshold: float = Field(0.99, gt=0, lt=1)
    """Confidence at which a class is done (1 − the paper's γ); ART's rule takes it for a cost"""
    learning_rate: float = Field(0.1, gt=0, le=1000)
    """Length of a step for a gradient of 1 (the paper's λ)"""
    tv: float = Field(0.0, ge=0, le=100)
    """Weight of the total variation in the cost: smooth images"""
    denoising: float = Field(0.0, ge=0, le=1)
    """The paper's PROCESS after each step: non-local means of this strength, then sharpening; 0 leaves it out"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.WEIGHTS, Grant.SERVER})
    title: ClassVar[str] = "Class inversion"
    tiny: ClassVar[dict[str, object]] = {"max_iter": 20, "window_length": 5}

    @model_validator(mode="after")
    def _as_art(self) -> Miface:
        if self.rule == "art" and (self.on != "probability" or self.tv or self.denoising):
            raise ValueError("rule art only with on: probability, tv: 0 and denoising: 0, as ART descends")
        return self

    def required(self) -> frozenset[Grant]:
        """Starts made of the adversary's images need some."""
        return self.needs | ({Grant.SHADOW} if self.start in SHADOWED else set())

    def invert(self, view: View, lab: Lab) -> Inversion:
        """One row a class: the descent that ended most confident, the first of equals."""
        starts = self._starts(view, lab).to(lab.device)
        classes = torch.arange(view.classes, device=lab.device).repeat_interleave(self.restarts)
        names = Descent.__dataclass_fields__
        found = invert(view.answers, starts, classes, Descent(**{name: getattr(self, name) for name in names}))
        best = found.confidences.reshape(view.classes, self.restarts).argmax(1)
        return found.rows((torch.arange(view.classes) * self.restarts + best.cpu()).tolist())

    def _starts(self, view: View, lab: Lab) -> Tensor:
        """[classes · restarts, c, h, w], the restarts of a class together."""
        shape = (view.classes, self.restarts, *view.input_shape)
        draw = lab.generator("starts")
        if self.start == "data":
            rows = torch.randint(len(view.shadow), shape[:2], generator=draw)
            return view.shadow[rows].flatten(0, 1)
        starts = torch.rand(shape, generator=draw)
        if self.start == "zeros":
            starts[:, 0] = 0
        elif self.start == "grey":
            starts[:, 0] = 0.5
        elif self.start == "average":
            starts[:, 0] = view.shadow.mean(0)
        return starts.flatten(0, 1)
