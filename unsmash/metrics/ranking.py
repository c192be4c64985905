"""How well a score tells two sides apart: the area under the ROC curve, with an interval.

The area is the chance that a member of the first side scores above one of the second, ties counting half (Mann &
Whitney); its standard error is that of DeLong, DeLong & Clarke-Pearson, Biometrics 1988.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unsmash.metrics.intervals import Z


def auc(scores: Tensor, positive: Tensor) -> tuple[float, float]:
    """Area under the ROC curve of scores [n] for those that are positive [n] bool, and its standard error.

    Both are nan where one side is empty, the standard error also where a side has one member.

    >>> auc(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([False, False, True]))[0]
    1.0
    """
    above, below = scores[positive].double(), scores[~positive].double()
    m, n = len(above), len(below)
    if not m or not n:
        return math.nan, math.nan
    won = (_midranks(torch.cat([above, below]))[:m] - _midranks(above)) / n
    lost = 1 - (_midranks(torch.cat([below, above]))[:n] - _midranks(below)) / m
    if m < 2 or n < 2:
        return won.mean().item(), math.nan
    return won.mean().item(), math.sqrt(won.var().item() / m + lost.var().item() / n)


def auc_interval(area: float, error: float) -> tuple[float, float]:
    """The 95 % interval of an area, from 0 to 1; all of it where the error is not known."""
    if math.isnan(error):
        return 0.0, 1.0
    return max(0.0, area - Z * error), min(1.0, area + Z * error)


def _midranks(values: Tensor) -> Tensor:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    return (ends - (counts.double() - 1) / 2)[place]
