"""Labels from the length of what comes back: a rare class is answered with longer gradients.

Li, Sun, Yang, Gao, Zhang, Xie, Smith and Wang, "Label Leakage and Protection in Two-party Split Learning", ICLR 2022,
§3.1. The adversary is on the device's side, or reads its wire; the server half's owner keeps the labels. A network
that has learned little more than how rare a class is answers its members with a large error, and all others with a
small one. Nothing follows where the classes are about as frequent, nor which of several frequent ones a short gradient
is of: the rarest class is told from all others, and no more.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from unsmash.attacks.base import LabelAttack, LabelGuess
from unsmash.gradient_record import Pass, record
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View


class GradientNorm(LabelAttack):
    """Takes the training images with the longest gradients for members of the rarest class."""

    kind: Literal["gradient_norm"] = "gradient_norm"

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.GRADIENTS})
    title: ClassVar[str] = "Length of the gradients"

    def infer(self, view: View, lab: Lab) -> LabelGuess:
        """Two sides: the rest, at 0, and the rarest class, above it where the gradient is on the longer side."""
        passes = record(view, lab)
        each = torch.stack([_longer(one) for one in passes])
        together = each.mean(0)
        return LabelGuess(
            scores=_sides(together),
            passes=torch.stack([_sides(one) for one in each]),
            numbers=tuple(one.number for one in passes),
            sides="rare",
            known=torch.empty(0, dtype=torch.long),
        )


def _longer(one: Pass) -> Tensor:
    """Logarithm of each length over the median of its batch [n]: the network changes from batch to batch."""
    logs = one.norms.log().nan_to_num(nan=0.0, neginf=-100.0)
    out = torch.empty_like(logs)
    for batch in one.batches.unique():
        mine = one.batches == batch
        out[mine] = logs[mine] - logs[mine].median()
    return out


def _sides(longer: Tensor) -> Tensor:
    """[n, 2]: nothing for the rest; for the rarest class how far beyond the gap between short and long."""
    return torch.stack([torch.zeros_like(longer), longer - _gap(longer)], 1)


def _gap(values: Tensor) -> float:
    """Where two groups are best parted: least variance within both (Otsu 1979)."""
    ordered = values.sort().values
    n = len(ordered)
    if n < 2 or ordered[0] == ordered[-1]:
        return ordered[-1].item()
    low, total = ordered.cumsum(0)[:-1], ordered.sum()
    k = torch.arange(1, n, dtype=ordered.dtype)
    between = k * (n - k) * (low / k - (total - low) / (n - k)).square()
    at = int(between.argmax())
    return ((ordered[at] + ordered[at + 1]) / 2).item()
