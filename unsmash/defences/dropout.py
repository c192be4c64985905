"""A random part of what would be sent is left out, afresh for every query, in training and at inference.

After the dropout defence of He, Zhang & Lee 2020. What is kept is exact, so each release is a list of true numbers with
gaps, and two releases of one input fill each other's gaps: sixteen leave none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split.drawn import DrawnShield, device_key, uniform
from unsmash.split.masks import misfit, union
from unsmash.split.shield import Shield, Site, Smashed, flat


class Dropout(Defence):
    """Sends each number, or each feature map, only by chance, and zero instead; a fresh mask for every query."""

    kind: Literal["dropout"] = "dropout"
    rate: float = Field(0.5, gt=0, lt=1)
    """Chance that a number is left out; the others are sent 1/(1 − rate) times as large, which keeps the mean"""
    maps: bool = False
    """Leave out whole feature maps (slices of a tensor's first dimension) in place of single numbers"""
    memoise: bool = False
    """One draw for each input, by a key that stays on the device: repeats tell nothing new"""

    source: ClassVar[str] = "He, Zhang & Lee, IEEE IoT Journal 2020"
    protects: ClassVar[str] = (
        "Takes numbers away from an attacker who sees one release and has a fixed network to invert it. It does not "
        "protect against decoders trained on gaps, against lists of candidates or against repeats, which fill the gaps."
    )
    guarantee: ClassVar[str] = "none: what is kept is exact"
    tiny: ClassVar[dict[str, object]] = {"rate": 0.3}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The mask, for any shapes."""
        return DropoutShield(self.rate, maps=self.maps, key=device_key(lab, self.memoise))


class DropoutShield(DrawnShield):
    """z·m/(1 − rate), m a mask of single numbers or of whole maps."""

    def __init__(self, rate: float, *, maps: bool = False, key: bytes = b"") -> None:
        super().__init__(key)
        self.rate, self.maps = rate, maps

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """A mask on every tensor that crosses."""
        return tuple(part * self._mask(part, generator) / (1 - self.rate) for part in quiet)

    def _mask(self, part: Tensor, generator: torch.Generator | None) -> Tensor:
        one_each = part[(...,) + (slice(0, 1),) * (part.ndim - 2)] if self.maps else part
        return (uniform(one_each, generator) >= self.rate).to(part.dtype)

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """Log p(mask) where every number kept is the candidate's, [n, m]; far below where one is not.

        A zero of the candidate's own is zero whether kept or not. Whether a number kept is the candidate's is told by
        their distance in units of rounding, so that the truth survives another batch's rounding.
        """
        sent, true = (1 - self.rate) * flat(release).double(), flat(z).double()
        seen, live = self._units(release), self._units(z)
        kept = flat(tuple(unit.expand_as(part) for unit, part in zip(seen, release, strict=True))).double()
        seen_units, live_units = flat(seen).double(), flat(live).double()
        chance = (1 - seen_units) @ live_units.T * math.log(self.rate)
        return chance + seen_units.sum(1, keepdim=True) * math.log(1 - self.rate) - misfit(sent, kept, true)

    def _units(self, z: Smashed) -> Smashed:
        """Whether each number, or each map, holds anything but zero: shapes that broadcast to those of z."""
        if not self.maps:
            return tuple(part != 0 for part in z)
        units = ((part != 0).reshape(*part.shape[:2], -1).any(2) for part in z)
        return tuple(unit.reshape(*unit.shape, *[1] * (part.ndim - 2)) for unit, part in zip(units, z, strict=True))

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """Every number that any release kept: the likeliest input is the one that sent them all."""
        return union(releases)

    def wire_bits(self, before: float, z: Smashed, release: Smashed) -> float:
        """On the average: what is kept, and one bit for each number or map that says whether it was."""
        units = sum(part.shape[1] if self.maps else part[0].numel() for part in z)
        return min(before, (1 - self.rate) * before + units)
