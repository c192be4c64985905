"""The published decoder of NoPeekNN and of Titcombe et al. 2021: transposed convolutions without activations.

It is one affine map, so that ridge regression equals it at best in a thousandth of the time. Kept for comparison: a
defence judged by it alone looks better than it is. Trained here on what is really sent; in the published code it saw
the activations before the noise.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.split.model import Smashed, flat
from unsmash.threat import Grant, View

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
    learned: ClassVar[bool] = True
    title: ClassVar[str] = "Published affine decoder"
    tiny: ClassVar[dict[str, object]] = {"rate": 1e-3, "epochs": 20, "batch": 16}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w]."""
        oracle = view.oracle(view.shadow)
        with lab.seeded("network"):
            numbers = flat(view.release).shape[1]
            network = _network(numbers, view.input_shape).to(lab.device)
            optimiser = torch.optim.Adam(network.parameters(), lr=self.rate)
            targets, order = (view.shadow - MEAN) / STD, lab.generator("order")
            steps = self.epochs * -(-len(targets) // self.batch)
            progress = iter(lab.track(range(steps), "affine_decoder"))
            for _ in range(self.epochs):
                for rows in torch.randperm(len(targets), generator=order).split(self.batch):
                    next(progress)
                    guess = network(flat(oracle.ask(rows)).to(lab.device))
                    loss = nn.functional.mse_loss(guess, targets[rows].to(lab.device))
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()
            next(progress, None)
            return _apply(network, view.release, lab) * STD + MEAN


def _network(numbers: int, input_shape: tuple[int, ...]) -> nn.Module:
    """From [n, numbers] to [n, *input_shape]; for 28 × 28 images the layers are those published."""
    channels, height, width = input_shape
    grid = (-(-(height - 4) // 2), -(-(width - 4) // 2))
    return nn.Sequential(
        nn.Linear(numbers, 64 * grid[0] * grid[1]),
        nn.Unflatten(1, (64, *grid)),
        nn.ConvTranspose2d(64, 64, 3, stride=2, padding=1, output_padding=1),
        nn.ConvTranspose2d(64, 32, 3, padding=1),
        nn.ConvTranspose2d(32, 8, 3),
        nn.ConvTranspose2d(8, channels, 3),
        _Crop(height, width),
    )


class _Crop(nn.Module):
    """Takes off the row or column that an odd image size leaves over."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : self.height, : self.width]


@torch.no_grad()
def _apply(network: nn.Module, release: Smashed, lab: Lab) -> Tensor:
    return torch.cat([network(part.to(lab.device)).cpu() for part in flat(release).split(256)])
