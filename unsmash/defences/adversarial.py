"""Train the device half against a decoder that learns beside it (DeepObfuscator 2021; ResSFL, Li et al., CVPR 2022).

Before each step of the device the decoder takes steps of its own, on releases cut off from the device's graph; then its
weights stand still and the device pays for what it still reconstructs. Paid is the share of the images' variance that
the decoder explains, never less than 0. So the game is bounded: a decoder worse than the mean image is being misled, it
does not know less. A fresh attacker would not be misled, and a device that is paid for misleading runs away with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.nets import Residual
from unsmash.split import Shield, Site, Smashed
from unsmash.split.shield import count

LADDER = {"small": (16, 1), "medium": (32, 2)}
"""Channels and residual blocks by size"""

CODE = 4096
"""Numbers of a plain tensor's image-shaped code, at most; its grid is coarser than the maps' for large images"""


class Adversarial(Defence):
    """Adds weight · the share of the images that a decoder in the loop explains; sends what reaches it as it is."""

    kind: Literal["adversarial"] = "adversarial"
    weight: float = Field(2.0, gt=0, le=1e6)
    """What a perfect decoder costs, in units of the cross-entropy (nats); one no better than the mean image costs 0"""
    rate: float = Field(3e-3, gt=0, le=1)
    """Learning rate of the decoder's Adam"""
    steps: int = Field(1, ge=1, le=64)
    """Steps of the decoder for each step of the device"""
    size: Literal["small", "medium"] = "small"
    """How large the decoder is"""

    after_training: ClassVar[bool] = False
    source: ClassVar[str] = "Li et al. (ResSFL), CVPR 2022; Li et al. (DeepObfuscator), IoTDI 2021"
    protects: ClassVar[str] = (
        "Makes the release hard to decode for the decoder it was trained against and, less so, for others. "
        "A fresh attacker of another kind recovers much of what that decoder lost, and without noise whoever holds a "
        "list of candidates names the right one every time."
    )
    guarantee: ClassVar[str] = "none"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "training"
    tiny: ClassVar[dict[str, object]] = {"steps": 30}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The decoder, for these shapes and images."""
        with lab.seeded("adversary"):
            return AdversarialShield(self, Adversary(site.shapes, site.input_shape, *LADDER[self.size]))


class AdversarialShield(Shield):
    """The identity, with a decoder on what leaves it: it meets the noise of the shields before, not of those behind."""

    def __init__(self, made: Adversarial, adversary: Adversary) -> None:
        super().__init__()
        self.made = made
        # in a list: no other optimiser trains it, and it is neither saved nor part of the device
        self.loop: list[Adversary] = [adversary]
        self.optimiser: list[torch.optim.Optimizer] = []

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        """The weight times max(0, 1 − error/variance) in this batch; in training the decoder learns from it first."""
        if self.training:
            self._learn(x, tuple(part.detach() for part in release))
        adversary = self.loop[0].to(release[0].device).requires_grad_(False)
        variance = (x - x.mean(0)).square().mean().clamp(min=1e-8)
        error = (adversary(release) - x).square().mean()
        return self.made.weight * (1 - error / variance).clamp(min=0)

    def _learn(self, x: Tensor, release: Smashed) -> None:
        adversary = self.loop[0].to(release[0].device).requires_grad_(True)
        if not self.optimiser:
            self.optimiser.append(torch.optim.Adam(adversary.parameters(), lr=self.made.rate))
        with torch.enable_grad():
            for _ in range(self.made.steps):
                self.optimiser[0].zero_grad(set_to_none=True)
                (adversary(release) - x).square().mean().backward()
                self.optimiser[0].step()


class Adversary(nn.Module):
    """Release → images [n, c, h, w], on a grid of half their side; draws no random numbers once it is built."""

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], input_shape: tuple[int, ...], width: int, blocks: int
    ) -> None:
        super().__init__()
        channels, height, width_px = input_shape
        self.size = (height, width_px)
        grid = (-(-height // 2), -(-width_px // 2))
        self.stems = nn.ModuleList(
            _Maps(shape, width, grid) if len(shape) == 3 else _Numbers(count(shape), width, grid) for shape in shapes
        )
        self.body = nn.Sequential(*[Residual(width) for _ in range(blocks)])
        self.out = nn.Conv2d(width, 4 * channels, 3, padding=1)

    def forward(self, release: Smashed) -> Tensor:
        """Guesses, not clamped: a clamp would let the device hide behind it."""
        hidden = sum(stem(_standardised(part)) for stem, part in zip(self.stems, release, strict=True))
        guess = nn.functional.pixel_shuffle(self.out(self.body(torch.relu(hidden))), 2)
        return guess[..., : self.size[0], : self.size[1]]


def _standardised(part: Tensor) -> Tensor:
    """Each number, or each map, about 0 with deviation 1 over the batch.

    Otherwise the device evades the decoder by sending smaller or shifted numbers, which hides nothing: in saturation,
    say, where it is lost for the task as well.
    """
    part = part.float()
    variance, mean = torch.var_mean(part, [0, *range(2, part.ndim)], correction=0, keepdim=True)
    return (part - mean) / (variance + 1e-8).sqrt()


class _Maps(nn.Module):
    """Feature maps on the grid: larger ones folded into channels, so that nothing of them is lost."""

    def __init__(self, shape: tuple[int, ...], width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.fold = max(1, math.ceil(shape[1] / grid[0]), math.ceil(shape[2] / grid[1]))
        self.size = (grid[0] * self.fold, grid[1] * self.fold)
        self.conv = nn.Conv2d(shape[0] * self.fold**2, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv(nn.functional.pixel_unshuffle(_stretched(maps, self.size), self.fold))


class _Numbers(nn.Module):
    """Plain numbers on the grid: a linear layer to a coarse one, enlarged."""

    def __init__(self, numbers: int, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid, self.coarse = grid, grid
        while width * count(self.coarse) > CODE and max(self.coarse) > 1:
            self.coarse = (-(-self.coarse[0] // 2), -(-self.coarse[1] // 2))
        self.linear, self.width = nn.Linear(numbers, width * count(self.coarse)), width

    def forward(self, rows: Tensor) -> Tensor:
        coarse = self.linear(rows.flatten(1)).reshape(-1, self.width, *self.coarse)
        return _stretched(coarse, self.grid)


def _stretched(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """To a size at least theirs by repeating cells, whose gradient CUDA adds up in a fixed order."""
    return nn.functional.interpolate(maps, size=size, mode="nearest")
