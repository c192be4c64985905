"""The decoder of the 2020 Omniglot study: four transposed convolutions with a waist of one channel, ReLU after each.

All that it draws passes through one 51 × 51 map, and its last ReLU lets a whole image die to zero. Published for 32
numbers of a 105 × 105 character. Its weights start as Keras draws them: by torch's law the one map can be dead from
the start, and then the decoder learns one shade of grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.published import Recipe, fitted, reconstruct
from unsmash.split.shield import Smashed, count, flat
from unsmash.threat import Grant
from unsmash.view import View


class OmniglotDecoder(Attack):
    """Four transposed convolutions from a 1 × 1 code, all but the first two with a single channel."""

    kind: Literal["omniglot_decoder"] = "omniglot_decoder"
    revision: ClassVar[int] = 2
    epochs: int = Field(100, ge=1, le=1000)
    """Passes over the adversary's images"""
    batch: int = Field(32, ge=2, le=4096)
    """Images a step"""
    rate: float = Field(1e-3, gt=0, le=1)
    """Adam's learning rate"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    exhibit: ClassVar[bool] = True
    title: ClassVar[str] = "Published decoder of the Omniglot study"
    tiny: ClassVar[dict[str, object]] = {"epochs": 8}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w]."""
        recipe = Recipe(self.kind, self.epochs, self.batch, self.rate)
        shapes = [tuple(part.shape[1:]) for part in view.release]
        return reconstruct(view, recipe, lambda: Waist(shapes, view.input_shape), lab)


class Waist(nn.Module):
    """From any release, taken as one code, to images of 105 × 105, resized to those wanted."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.size = (input_shape[1], input_shape[2])
        self.layers = nn.Sequential(
            nn.Unflatten(1, (-1, 1, 1)),
            nn.ConvTranspose2d(sum(map(count, shapes)), 32, 9),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 32, 7, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 7, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(1, input_shape[0], 5, stride=2),
            nn.ReLU(),
        )
        for layer in self.layers:
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, release: Smashed) -> Tensor:
        """[n, c, h, w], never below 0."""
        images: Tensor = self.layers(flat(release))
        return fitted(images, self.size)
