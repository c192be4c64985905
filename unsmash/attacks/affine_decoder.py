"""The published decoder of NoPeekNN and of Titcombe et al. 2021: transposed convolutions without activations.

It is one affine map, so that ridge regression equals it at best in a thousandth of the time. Kept for comparison: a
defence judged by it alone looks better than it is. Trained here on what is really sent; in the published code it saw
the activations before the noise.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.published import Recipe, reconstruct
from unsmash.split.shield import Smashed, flat
from unsmash.threat import Grant
from unsmash.view import View

MEAN, STD = 0.1307, 0.3081
"""Its loss is on pixels so normalised, whatever the data"""


class AffineDecoder(Attack):
    """A linear layer and four transposed convolutions without activations: an affine map, as published."""

    kind: Literal["affine_decoder"] = "affine_decoder"
    epochs: int = Field(10, ge=1, le=1000)
    """Passes over the adversary's images"""
    batch: int = Field(128, ge=2, le=4096)
    """Images a step"""
    rate: float = Field(1e-4, gt=0, le=1)
    """Adam's learning rate"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    exhibit: ClassVar[bool] = True
    title: ClassVar[str] = "Published affine decoder"
    tiny: ClassVar[dict[str, object]] = {"rate": 1e-3, "epochs": 20, "batch": 16}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w]."""
        recipe = Recipe(self.kind, self.epochs, self.batch, self.rate, (MEAN,), (STD,))
        return reconstruct(view, recipe, lambda: Affine(flat(view.release).shape[1], view.input_shape), lab)


class Affine(nn.Module):
    """From any release to [n, *input_shape]; for 28 × 28 images the layers are those published."""

    def __init__(self, numbers: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, self.height, self.width = input_shape
        grid = (-(-(self.height - 4) // 2), -(-(self.width - 4) // 2))
        self.layers = nn.Sequential(
            nn.Linear(numbers, 64 * grid[0] * grid[1]),
            nn.Unflatten(1, (64, *grid)),
            nn.ConvTranspose2d(64, 64, 3, stride=2, padding=1, output_padding=1),
            nn.ConvTranspose2d(64, 32, 3, padding=1),
            nn.ConvTranspose2d(32, 8, 3),
            nn.ConvTranspose2d(8, channels, 3),
        )

    def forward(self, release: Smashed) -> Tensor:
        """[n, c, h, w]; the row or column that an odd size leaves over is taken off."""
        images: Tensor = self.layers(flat(release))
        return images[..., : self.height, : self.width]
