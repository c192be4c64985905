"""Deep image prior (Ulyanov, Vedaldi & Lempitsky, CVPR 2018): an untrained network makes the image of each victim.

It needs the device half's weights and not one image, as white-box inversion of pixels does; what makes the image is
all that differs. A convolutional network draws strokes and surfaces before it draws noise. What the device half hardly
looks at it leaves as it began, and total variation settles that: strongly at first, while the large parts are found.
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
from unsmash.untrained_nets import UntrainedNets
from unsmash.view import View


class DeepPrior(Attack):
    """Trains an untrained network for each victim to draw an image whose release is the victim's, by the weights."""

    kind: Literal["deep_prior"] = "deep_prior"
    width: int = Field(16, ge=1, le=512)
    """Channels of each network"""
    levels: int = Field(2, ge=1, le=6)
    """Its grids, each of twice the side of the one before; the last is the image's"""
    steps: int = Field(400, ge=1, le=100_000)
    """Steps of Adam"""
    rate: float = Field(0.02, gt=0, le=1)
    """Its first step's size, in weights; falls along a cosine"""
    tv: float = Field(0.1, ge=0, le=1000)
    """Weight of the mean total variation, against the misfit as a share of a grey image's"""
    ease: float = Field(10, ge=1, le=1000)
    """Total variation is weighed this many times as much at first; it falls to its weight over three fifths of the
    steps"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.WEIGHTS})
    title: ClassVar[str] = "White-box inversion by untrained networks"
    tiny: ClassVar[dict[str, object]] = {"width": 8, "steps": 150}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Images [n, c, h, w] in [0, 1]."""
        # the first frame of a burst is the image as it is
        seen = view.repeats[:1] if view.threat.frames > 1 else view.repeats
        target = Target(view.device, view.shield, seen, lab)
        grey = torch.full((view.victims, *view.input_shape), 0.5)
        nets = UntrainedNets(view.input_shape, self.width, self.levels, lab.generator("networks"))
        plan = Descent(self.steps, self.rate, self.tv, ease=self.ease)
        return invert(target, [grey], plan, lab, "deep_prior", nets).images
