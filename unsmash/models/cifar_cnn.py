"""The CIFAR-10 network of He, Zhang & Lee, ACSAC 2019, whose layers their inversions are reported for."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from unsmash.lab import Lab
from unsmash.models.base import Model, require_size
from unsmash.nets import Normalise


class CifarCNN(Model):
    """Six convolutions in three pairs, each pair ending in a pooling, then two linear layers."""

    kind: Literal["cifar_cnn"] = "cifar_cnn"
    width: int = Field(64, ge=4, le=256)
    """Channels of the first pair, half of the others'; 64 as published"""

    default_cut: ClassVar[str] = "relu22"
    epochs: ClassVar[int] = 15

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """Layers normalise, conv11, relu11, conv12, relu12, pool1, conv21 … pool3, flatten, fc1, sigmoid, fc2.

        The paper cuts after conv11, relu22 and relu32.
        """
        require_size(self.kind, input_shape, 8)
        channels, height, width = input_shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        with lab.seeded("init"):
            layers["normalise"] = Normalise([0.5] * channels, [0.5] * channels)
            for pair, wide in enumerate((self.width, 2 * self.width, 2 * self.width), start=1):
                for place in (1, 2):
                    layers[f"conv{pair}{place}"] = nn.Conv2d(channels, wide, 3, padding=1)
                    layers[f"relu{pair}{place}"] = nn.ReLU()
                    channels = wide
                layers[f"pool{pair}"] = nn.MaxPool2d(2)
            layers["flatten"] = nn.Flatten()
            layers["fc1"] = nn.Linear(channels * (height // 8) * (width // 8), 512)
            layers["sigmoid"] = nn.Sigmoid()
            layers["fc2"] = nn.Linear(512, classes)
        return nn.Sequential(layers)
