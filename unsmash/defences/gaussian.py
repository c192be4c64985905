"""Gaussian noise on everything that is sent, in training and at inference; with a clip it has a finite ε.

As published (He, Zhang & Lee 2020; Titcombe et al. 2021 with Laplace noise) nothing bounds what the noise is put on,
and nothing is proved. With each release scaled down to an L2 ball of radius C it is the Gaussian mechanism (Dwork &
Roth 2014): two inputs lie at most 2C apart, and σ follows exactly from a target ε (Balle & Wang 2018).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unsmash.bounds.epsilon import gaussian_sigma
from unsmash.bounds.regions import Noise
from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split.clip import Clip, ClippedShield, Radius, check_budget
from unsmash.split.drawn import device_key, normal
from unsmash.split.shield import Shield, Site, Smashed, flat

USUAL_SIGMA = 0.5


class Gaussian(Defence):
    """Adds N(0, σ²) to each number sent; with a clip there is a finite ε, without one nothing is proved."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: float | None = Field(None, gt=0, le=1e6)
    """Standard deviation σ, in units of the smashed data; unset: what epsilon asks for, else 0.5"""
    clip: Clip = None
    """Largest L2 norm C: releases beyond it are scaled down. `learned` from training images proves nothing"""
    epsilon: float | None = Field(None, gt=0, le=1e6)
    """Local ε of one release to aim at, in place of sigma; needs a clip that is a number"""
    delta: float = Field(1e-5, gt=0, le=1e-2)
    """δ of that ε: the chance that a release betrays more than ε allows. Above 1/100 it would be no promise"""
    quantile: float = Field(0.5, gt=0, le=1)
    """Share of the training images that a learned clip leaves as they are"""
    memoise: bool = False
    """One draw for each input, by a key that stays on the device: repeats tell nothing new"""

    source: ClassVar[str] = "He, Zhang & Lee, IEEE IoT Journal 2020; Balle & Wang, ICML 2018 (exact σ for ε and δ)"
    protects: ClassVar[str] = (
        "Blurs every number that is sent, and with a clip and noise of the clip's size it bounds what anyone can learn "
        "from one release. At the usual strength it does not stop who holds a list of candidates, and fresh noise "
        "averages out over repeated queries."
    )
    guarantee: ClassVar[str] = "(ε, δ)-local privacy and a message count where the clip is a number; else none"
    fitted: ClassVar[tuple[str, ...]] = ("quantile",)
    tiny: ClassVar[dict[str, object]] = {"clip": 1.0, "epsilon": 2000.0}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The noise, for any shapes."""
        key = device_key(lab, self.memoise)
        return GaussianShield(self.deviation(), self.clip, delta=self.delta, quantile=self.quantile, key=key)

    def deviation(self) -> float:
        """σ: as given, or the least that has the target ε between any two releases, which lie at most 2C apart."""
        if self.epsilon is not None and isinstance(self.clip, float):
            return gaussian_sigma(2 * self.clip, self.epsilon, self.delta)
        return USUAL_SIGMA if self.sigma is None else self.sigma

    @model_validator(mode="after")
    def _one_strength(self) -> Gaussian:
        check_budget(self.sigma, self.clip, self.epsilon, name="sigma")
        return self


class GaussianShield(ClippedShield):
    """clip(z) + N(0, σ²): fresh at every call, or by the key."""

    order = 2

    def __init__(
        self,
        sigma: float,
        clip: Radius = None,
        *,
        delta: float = 1e-5,
        quantile: float = 0.5,
        key: bytes = b"",
    ) -> None:
        super().__init__(clip, quantile=quantile, key=key)
        self.sigma, self.delta = sigma, delta
        self.noise = Noise("gaussian", sigma)

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """Noise on every tensor that crosses."""
        return tuple(part + normal(part, generator) * self.sigma for part in quiet)

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """−‖release − clip(z)‖² / 2σ²: [n, m]."""
        distances = torch.cdist(flat(release).double(), flat(self.quiet(z)).double())
        return -distances.square() / (2 * self.sigma**2)
