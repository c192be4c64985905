"""The SplitNN of NoPeekNN and of Titcombe et al. 2021 (arXiv 2104.05743): two convolutions, then 500 numbers."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

from torch import nn

from unsmash.lab import Lab
from unsmash.models.base import MNIST_MEAN, MNIST_STD, Model, require_size
from unsmash.nets import Normalise


class SplitNN(Model):
    """Two convolutions and a 500-number layer on the device, two linear layers on the server."""

    kind: Literal["splitnn"] = "splitnn"
    tanh: bool = True
    """Squash the 500 numbers to [-1, 1], as Titcombe et al. do; without it the cut is NoPeekNN's"""
    softmax: bool = False
    """End with a softmax as published, although the loss applies another one"""

    default_cut: ClassVar[str] = "code"

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """Layers normalise, conv1, relu1, conv2, relu2, pool, flatten, fc1, code | fc2, relu3, fc3."""
        require_size(self.kind, input_shape, 6)
        channels, height, width = input_shape
        numbers = 64 * ((height - 4) // 2) * ((width - 4) // 2)
        with lab.seeded("init"):
            return nn.Sequential(
                OrderedDict(
                    normalise=Normalise([MNIST_MEAN] * channels, [MNIST_STD] * channels),
                    conv1=nn.Conv2d(channels, 32, 3),
                    relu1=nn.ReLU(),
                    conv2=nn.Conv2d(32, 64, 3),
                    relu2=nn.ReLU(),
                    pool=nn.MaxPool2d(2),
                    flatten=nn.Flatten(),
                    fc1=nn.Linear(numbers, 500),
                    code=nn.Tanh() if self.tanh else nn.Identity(),
                    fc2=nn.Linear(500, 128),
                    relu3=nn.ReLU(),
                    fc3=nn.Linear(128, classes),
                    **({"softmax": nn.Softmax(1)} if self.softmax else {}),
                )
            )
