"""A network with the layers of another and newly drawn weights: what one makes who knows the architecture only.

No weight of the given network may live on in it. So all are struck out first, and each layer then draws its own as it
did when it was made; what no layer draws is refused rather than copied.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import nn

from unsmash.errors import UnsmashError
from unsmash.lab import Lab

DRAWING = ("reset_parameters", "_reset_parameters")
"""What torch's layers call the method by which they draw their weights"""


@torch.no_grad()
def blank(module: nn.Module, lab: Lab) -> nn.Module:
    """A copy in eval mode whose weights are drawn from the lab's stream `blank`, and take gradients.

    Statistics that a norm has gathered are reset too. Other buffers stay: a normalisation of pixels is part of the
    architecture.

    Raises:
        UnsmashError: a weight that no layer knows how to draw.
    """
    fresh = copy.deepcopy(module).requires_grad_(True).eval()
    for parameter in fresh.parameters():
        parameter.fill_(math.nan)
    with lab.seeded("blank"):
        for layer in fresh.modules():
            for name in DRAWING:
                draw: Callable[[], None] | None = getattr(layer, name, None)
                if callable(draw):
                    draw()
    for name, parameter in fresh.named_parameters():
        if parameter.isnan().any():
            raise UnsmashError(
                f"the device half's {name!r} cannot be drawn anew: its layer has no reset_parameters that fills it, so "
                "an adversary who knows the layers only cannot be tried; add one, or leave this attack out"
            )
    return fresh
