"""Gaussian noise on everything that is sent, in training and at inference."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split import Shield, Site, Smashed, flat


class Gaussian(Defence):
    """Adds N(0, σ²) to each number sent; proves nothing, since nothing bounds what it is added to."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: float = Field(0.5, gt=0, le=1e6)
    """Standard deviation, in units of the smashed data"""

    tiny: ClassVar[dict[str, object]] = {"sigma": 0.1}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The noise, for any shapes."""
        return GaussianShield(self.sigma)


class GaussianShield(Shield):
    """z + N(0, σ²), fresh at every call."""

    stochastic = True

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, z: Smashed) -> Smashed:
        """Noise on every tensor that crosses."""
        return tuple(part + torch.randn_like(part) * self.sigma for part in z)

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """−‖release − z‖² / 2σ²: [n, m]."""
        distances = torch.cdist(flat(release).double(), flat(z).double())
        return -distances.square() / (2 * self.sigma**2)
