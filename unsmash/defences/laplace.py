"""Laplace noise on everything that is sent, in training and at inference, as in Titcombe et al. 2021.

As published nothing bounds what the noise is put on, and nothing is proved. With each release scaled down to an L1 ball
of radius C it is the Laplace mechanism (Dwork et al. 2006): two inputs lie at most 2C apart, and ε = 2C/b.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unsmash.bounds.epsilon import laplace_scale
from unsmash.bounds.regions import Noise
from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split.clip import Clip, ClippedShield, Radius, check_budget
from unsmash.split.drawn import device_key, uniform
from unsmash.split.shield import Shield, Site, Smashed, flat

USUAL_SCALE = 1.0

MEDIAN_FROM = 16
"""Releases from which the median is the better estimate: its variance tends to b²/k, the mean's is 2b²/k"""


class Laplace(Defence):
    """Adds Laplace(0, b) to each number sent; with a clip there is a finite ε, without one nothing is proved."""

    kind: Literal["laplace"] = "laplace"
    scale: float | None = Field(None, gt=0, le=1e6)
    """Scale b, in units of the smashed data; the standard deviation is √2·b. Unset: what epsilon asks for, else 1"""
    clip: Clip = None
    """Largest L1 norm C: releases beyond it are scaled down. `learned` from training images proves nothing"""
    epsilon: float | None = Field(None, gt=0, le=1e6)
    """Local ε of one release to aim at, in place of scale; needs a clip that is a number"""
    quantile: float = Field(0.5, gt=0, le=1)
    """Share of the training images that a learned clip leaves as they are"""
    memoise: bool = False
    """One draw for each input, by a key that stays on the device: repeats tell nothing new"""

    revision: ClassVar[int] = 2
    source: ClassVar[str] = "Titcombe et al., DPML at ICLR 2021 (no clip); Dwork et al., TCC 2006 (with a clip)"
    protects: ClassVar[str] = (
        "Blurs every number that is sent, and with a clip and noise of the clip's size it bounds what anyone can learn "
        "from one release. At the usual strength it does not stop who holds a list of candidates, and sixteen repeated "
        "queries undo it."
    )
    guarantee: ClassVar[str] = "pure ε-local privacy and a message count where the clip is a number; else none"
    fitted: ClassVar[tuple[str, ...]] = ("quantile",)
    tiny: ClassVar[dict[str, object]] = {"clip": 1.0, "epsilon": 1000.0}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The noise, for any shapes."""
        return LaplaceShield(self.width(), self.clip, quantile=self.quantile, key=device_key(lab, self.memoise))

    def width(self) -> float:
        """b: as given, or the least that has the target ε between any two releases, which lie at most 2C apart."""
        if self.epsilon is not None and isinstance(self.clip, float):
            return laplace_scale(2 * self.clip, self.epsilon)
        return USUAL_SCALE if self.scale is None else self.scale

    @model_validator(mode="after")
    def _one_strength(self) -> Laplace:
        check_budget(self.scale, self.clip, self.epsilon, name="scale")
        return self


class LaplaceShield(ClippedShield):
    """clip(z) + Laplace(0, b): fresh at every call, or by the key."""

    order = 1

    def __init__(
        self,
        scale: float,
        clip: Radius = None,
        *,
        quantile: float = 0.5,
        key: bytes = b"",
    ) -> None:
        super().__init__(clip, quantile=quantile, key=key)
        self.scale = scale
        self.noise = Noise("laplace", scale)

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """Noise on every tensor that crosses."""
        return tuple(part + self.scale * standard(part, generator) for part in quiet)

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """−‖release − clip(z)‖₁ / b: [n, m]."""
        return -torch.cdist(flat(release).double(), flat(self.quiet(z)).double(), p=1) / self.scale

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """The median of many, the mean of few."""
        if len(releases) < MEDIAN_FROM:
            return super().pool(releases)
        return tuple(_median(torch.stack(parts)) for parts in zip(*releases, strict=True))


def standard(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Laplace(0, 1) numbers of that shape: a fair sign, and a size whose survival function is the uniform number u."""
    # the second draw fills the gaps of 2^-24 between the values of the first: from one alone the tail is made of steps
    # from 10 on and ends at 16.6
    u = uniform(like, generator) + uniform(like, generator) * (torch.finfo(like.dtype).eps / 2)
    size = -u.clamp(min=torch.finfo(like.dtype).tiny).log()
    return torch.where(uniform(like, generator) < 0.5, -size, size)


def _median(stack: Tensor) -> Tensor:
    """Over the first dimension; of an even count the middle of the two, where torch's own takes the lower one."""
    ordered = stack.sort(0).values
    return (ordered[(len(stack) - 1) // 2] + ordered[len(stack) // 2]) / 2
