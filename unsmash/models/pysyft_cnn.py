"""The network of the PySyft split-learning notebook from which NoPeekNN and the Omniglot study descend."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

from torch import nn

from unsmash.lab import Lab
from unsmash.models.base import MNIST_MEAN, MNIST_STD, Model, require_size
from unsmash.nets import Normalise


class PySyftCNN(Model):
    """Two 5 × 5 convolutions, each pooled, on the device; 32 × 4 × 4 numbers cross for a 28 × 28 image."""

    kind: Literal["pysyft_cnn"] = "pysyft_cnn"
    softmax: bool = False
    """End with a softmax as published, although the loss applies another one"""

    default_cut: ClassVar[str] = "pool2"

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """Layers normalise, conv1, relu1, pool1, conv2, relu2, pool2 | flatten, fc1, relu3, fc2."""
        require_size(self.kind, input_shape, 16)
        channels, height, width = input_shape
        numbers = 32 * (((height - 4) // 2 - 4) // 2) * (((width - 4) // 2 - 4) // 2)
        with lab.seeded("init"):
            return nn.Sequential(
                OrderedDict(
                    normalise=Normalise([MNIST_MEAN] * channels, [MNIST_STD] * channels),
                    conv1=nn.Conv2d(channels, 32, 5),
                    relu1=nn.ReLU(),
                    pool1=nn.MaxPool2d(2),
                    conv2=nn.Conv2d(32, 32, 5),
                    relu2=nn.ReLU(),
                    pool2=nn.MaxPool2d(2),
                    flatten=nn.Flatten(),
                    fc1=nn.Linear(numbers, 256),
                    relu3=nn.ReLU(),
                    fc2=nn.Linear(256, classes),
                    **({"softmax": nn.Softmax(1)} if self.softmax else {}),
                )
            )
