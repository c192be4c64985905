"""What a linear attack is fed: the numbers of a release, and their logarithms where they are all positive.

A softmax hides in its smallest entries what a linear map of it cannot reach and a linear map of its logarithm can: ten
exact probabilities identify a few victims in a hundred, their logarithms a third of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unsmash.split.shield import Smashed, flat

MOST = 1024
"""Numbers of a release above which logarithms are left out: they would double what is slow already"""
SMALLEST = 1e-12


@dataclass(frozen=True)
class Features:
    """How a release becomes rows of features; the same for the adversary's own releases and the victims'."""

    logged: bool
    """Logarithms stand beside the numbers"""

    @classmethod
    def of(cls, release: Smashed) -> Features:
        """As fits this release: logarithms where nothing is negative and more than two values occur."""
        rows = flat(release)
        told = rows.shape[1] <= MOST and bool((rows >= 0).all()) and bool(((rows > 0) & (rows != rows.max())).any())
        return cls(told)

    def __call__(self, release: Smashed) -> Tensor:
        """[n, d] or, with logarithms, [n, 2d]."""
        rows = flat(release)
        return torch.cat([rows, self.log(rows)], 1) if self.logged else rows

    def log(self, rows: Tensor) -> Tensor:
        """Their logarithms, zeros taken as the smallest number that counts."""
        return rows.clamp(min=SMALLEST).log()
