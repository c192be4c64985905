"""The convolutional network of NIST Dioptra's model-inversion example (it calls it LeNet)."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

from torch import nn

from unsmash.lab import Lab
from unsmash.models.base import Model, require_size


class LeNet(Model):
    """Two 3 × 3 convolutions and a pooling on the device, two linear layers with dropout on the server."""

    kind: Literal["le_net"] = "le_net"

    default_cut: ClassVar[str] = "pool"

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """Layers conv1, relu1, conv2, relu2, pool | dropout1, flatten, fc1, relu3, dropout2, fc2, on plain pixels."""
        require_size(self.kind, input_shape, 6)
        channels, height, width = input_shape
        numbers = 64 * ((height - 4) // 2) * ((width - 4) // 2)
        with lab.seeded("init"):
            return nn.Sequential(
                OrderedDict(
                    conv1=nn.Conv2d(channels, 32, 3),
                    relu1=nn.ReLU(),
                    conv2=nn.Conv2d(32, 64, 3),
                    relu2=nn.ReLU(),
                    pool=nn.MaxPool2d(2),
                    dropout1=nn.Dropout(0.25),
                    flatten=nn.Flatten(),
                    fc1=nn.Linear(numbers, 128),
                    relu3=nn.ReLU(),
                    dropout2=nn.Dropout(0.5),
                    fc2=nn.Linear(128, classes),
                )
            )
