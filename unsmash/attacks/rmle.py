"""Regularised maximum likelihood (He, Zhang & Lee, ACSAC 2019): the image that would have sent what was seen.

It needs the device half's weights and not one image. The published attack starts from the average colour (zero once
normalised) and fits every release to the end; here grey is the first start, since a dark one can lie where every unit
of the device half is dead, and what a defence adds at random is not fitted.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.inversion import Descent, Target, invert
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View

LEVELS = {"grey": 0.5, "zeros": 0.0}


class Rmle(Attack):
    """Descends from a grey image to one whose release is the victim's, by the weights alone; smooth ones first."""

    kind: Literal["rmle"] = "rmle"
    steps: int = Field(200, ge=1, le=100_000)
    """Steps of Adam from each start"""
    rate: float = Field(0.5, gt=0, le=10)
    """Its first step's size, in pixels; falls along a cosine"""
    tv: float = Field(0.1, ge=0, le=1000)
    """Weight of the mean total variation, against the misfit as a share of a grey image's"""
    start: Literal["grey", "random", "zeros"] = "grey"
    """The first start"""
    starts: int = Field(3, ge=1, le=100)
    """Most starts; those after the first are random, and only for victims that no earlier one has fitted"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.WEIGHTS})
    title: ClassVar[str] = "White-box inversion"
    tiny: ClassVar[dict[str, object]] = {"starts": 2}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Images [n, c, h, w] in [0, 1]."""
        # the first frame of a burst is the image as it is
        seen = view.repeats[:1] if view.threat.frames > 1 else view.repeats
        target = Target(view.device, view.shield, seen, lab)
        starts = [start.expand(view.victims, *view.input_shape) for start in self._starts(view, lab)]
        return invert(target, starts, Descent(self.steps, self.rate, self.tv), lab, "rmle").images

    def _starts(self, view: View, lab: Lab) -> list[Tensor]:
        """[1, c, h, w] each; the same for all victims."""
        generator = lab.generator("starts")
        drawn = [torch.rand(1, *view.input_shape, generator=generator) for _ in range(self.starts)]
        if self.start in LEVELS:
            drawn[0] = torch.full_like(drawn[0], LEVELS[self.start])
        return drawn
