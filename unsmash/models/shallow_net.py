"""The one-hidden-layer network of NIST Dioptra's model-inversion example."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import ClassVar, Literal

from torch import nn

from unsmash.lab import Lab
from unsmash.models.base import Model


class ShallowNet(Model):
    """32 sigmoid units on the device, one linear layer on the server."""

    kind: Literal["shallow_net"] = "shallow_net"

    default_cut: ClassVar[str] = "hidden"
    # sigmoid units learn slowly: after 10 passes over 2,000 images it is at most 95 % sure of whatever it is shown
    epochs: ClassVar[int] = 60

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """Layers flatten, fc1, hidden | fc2. Pixels stay in [0, 1], as published."""
        with lab.seeded("init"):
            return nn.Sequential(
                OrderedDict(
                    flatten=nn.Flatten(),
                    fc1=nn.Linear(math.prod(input_shape), 32),
                    hidden=nn.Sigmoid(),
                    fc2=nn.Linear(32, classes),
                )
            )
