"""The Omniglot network of the 2020 study of model inversion in split learning: 105 × 105 pixels down to 32 numbers."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from unsmash.lab import Lab
from unsmash.models.base import Model, require_size

STAGES = ((7, 3, 3), (7, 3, 2), (5, 2, 2), (3, 2, 2))
"""Kernel of the convolution, window and stride of the pooling, for each stage"""


class OmniglotCNN(Model):
    """Four convolution stages to a code of 32 numbers on the device, two linear layers on the server."""

    kind: Literal["omniglot_cnn"] = "omniglot_cnn"
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share dropped after each stage; 0 as in the study's DP-SGD runs"""

    default_cut: ClassVar[str] = "code"
    epochs: ClassVar[int] = 10

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """Layers stage1 … stage4, code | fc1, relu, dropout, fc2. Pixels stay in [0, 1], page white, as published."""
        require_size(self.kind, input_shape, 105)
        sides, stages, width = list(input_shape[1:]), OrderedDict[str, nn.Module](), input_shape[0]
        with lab.seeded("init"):
            for number, (kernel, window, stride) in enumerate(STAGES, 1):
                stages[f"stage{number}"] = self._stage(width, kernel, window, stride)
                width, sides = 32, [((side - kernel + 1) - window) // stride + 1 for side in sides]
            return nn.Sequential(
                OrderedDict(
                    **stages,
                    code=nn.Flatten(),
                    fc1=nn.Linear(32 * sides[0] * sides[1], 256),
                    relu=nn.ReLU(),
                    dropout=nn.Dropout(self.dropout),
                    fc2=nn.Linear(256, classes),
                )
            )

    def _stage(self, width: int, kernel: int, window: int, stride: int) -> nn.Module:
        return nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(width, 32, kernel),
                relu=nn.ReLU(),
                norm=nn.BatchNorm2d(32),
                pool=nn.MaxPool2d(window, stride),
                dropout=nn.Dropout(self.dropout),
            )
        )
