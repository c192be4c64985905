"""The decoder of the PySyft split-learning notebook, from which that of NoPeekNN descends.

Three transposed convolutions, unlike its descendants with ReLU between them. Published for 32 × 4 × 4 numbers of a
28 × 28 digit, and trained on 500 letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.published import Enlarger, Recipe, reconstruct
from unsmash.threat import Grant
from unsmash.view import View

MEAN, STD = 0.1307, 0.3081
"""Its loss is on pixels so normalised, whatever the data"""


class PysyftDecoder(Attack):
    """Three transposed convolutions with ReLU between them, as in the PySyft notebook."""

    kind: Literal["pysyft_decoder"] = "pysyft_decoder"
    epochs: int = Field(10, ge=1, le=1000)
    """Passes over the adversary's images"""
    batch: int = Field(32, ge=2, le=4096)
    """Images a step"""
    rate: float = Field(1e-4, gt=0, le=1)
    """Adam's learning rate"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    exhibit: ClassVar[bool] = True
    title: ClassVar[str] = "Published decoder of the PySyft notebook"
    tiny: ClassVar[dict[str, object]] = {"rate": 3e-3, "epochs": 20, "batch": 16}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w]."""
        recipe = Recipe(self.kind, self.epochs, self.batch, self.rate, (MEAN,), (STD,))
        shapes = [tuple(part.shape[1:]) for part in view.release]
        return reconstruct(view, recipe, lambda: network(shapes, view.input_shape), lab)


def network(shapes: Sequence[tuple[int, ...]], input_shape: tuple[int, ...]) -> nn.Module:
    """The network for a release of these shapes (without the batch) and images [c, h, w]."""

    def stack(channels: int, factors: Sequence[int]) -> nn.Module:
        first, second = factors
        return nn.Sequential(
            nn.ConvTranspose2d(channels, 32, 7, stride=first, padding=1, output_padding=first - 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 32, 5, stride=second, padding=1, output_padding=second - 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, input_shape[0], 5, padding=1),
        )

    return Enlarger(shapes, input_shape, stack, (2, 2), 32)
