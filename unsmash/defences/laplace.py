"""Laplace noise on everything that is sent, in training and at inference, as in Titcombe et al. 2021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split import Shield, Site, Smashed, flat

MEDIAN_FROM = 16
"""Releases from which the median is the better estimate: its variance tends to b²/k, the mean's is 2b²/k"""


class Laplace(Defence):
    """Adds Laplace(0, b) to each number sent; proves nothing, since nothing bounds what it is added to."""

    kind: Literal["laplace"] = "laplace"
    scale: float = Field(1.0, gt=0, le=1e6)
    """Scale b, in units of the smashed data; the standard deviation is √2·b"""

    tiny: ClassVar[dict[str, object]] = {"scale": 0.1}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The noise, for any shapes."""
        return LaplaceShield(self.scale)


class LaplaceShield(Shield):
    """z + Laplace(0, b), fresh at every call."""

    stochastic = True

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, z: Smashed) -> Smashed:
        """Noise on every tensor that crosses."""
        return tuple(part + self._noise(part) for part in z)

    def _noise(self, like: Tensor) -> Tensor:
        # inverse of the distribution function; the smallest float keeps log away from zero
        u = torch.rand_like(like) - 0.5
        return -self.scale * u.sign() * torch.log1p(-2 * u.abs().clamp(max=0.5 - 1e-7))

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """−‖release − z‖₁ / b: [n, m]."""
        return -torch.cdist(flat(release).double(), flat(z).double(), p=1) / self.scale

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """The median of many, the mean of few."""
        if len(releases) < MEDIAN_FROM:
            return super().pool(releases)
        return tuple(_median(torch.stack(parts)) for parts in zip(*releases, strict=True))


def _median(stack: Tensor) -> Tensor:
    """Over the first dimension; of an even count the middle of the two, where torch's own takes the lower one."""
    ordered = stack.sort(0).values
    return (ordered[(len(stack) - 1) // 2] + ordered[len(stack) // 2]) / 2
