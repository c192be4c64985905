"""A small residual network for colour images of 32 to 96 pixels: deep enough to cut early, middle and late."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from unsmash.lab import Lab
from unsmash.models.base import Model, require_size
from unsmash.nets import Normalise, Residual


class SmallResNet(Model):
    """A stem and four residual blocks with BatchNorm, each halving the image, then an average and a linear layer."""

    kind: Literal["small_resnet"] = "small_resnet"
    width: int = Field(16, ge=4, le=256)
    """Channels of the stem; each block doubles them"""

    default_cut: ClassVar[str] = "block2"
    epochs: ClassVar[int] = 12

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """Layers normalise, stem, relu, block1 … block4, average, flatten, fc."""
        require_size(self.kind, input_shape, 16)
        channels, width = input_shape[0], self.width
        with lab.seeded("init"):
            return nn.Sequential(
                OrderedDict(
                    normalise=Normalise([0.5] * channels, [0.25] * channels),
                    stem=nn.Conv2d(channels, width, 3, padding=1),
                    relu=nn.ReLU(),
                    block1=Residual(width, 2 * width, stride=2, norm=True),
                    block2=Residual(2 * width, 4 * width, stride=2, norm=True),
                    block3=Residual(4 * width, 8 * width, stride=2, norm=True),
                    block4=Residual(8 * width, 16 * width, stride=2, norm=True),
                    average=nn.AdaptiveAvgPool2d(1),
                    flatten=nn.Flatten(),
                    fc=nn.Linear(16 * width, classes),
                )
            )
