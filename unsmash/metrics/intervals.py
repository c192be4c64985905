"""95 % intervals: Wilson for shares, bootstrap over victims and seeds for everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z = 1.959963984540054
DRAWS = 2000


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's interval of a share, `hits` of `n` (hits may be fractional where ties share one).

    >>> [round(end, 3) for end in wilson(0, 500)]
    [0.0, 0.008]
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def bootstrap(values: Sequence[float] | Sequence[Sequence[float]], *, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of the mean over victims; over seeds too when several rows (one a seed) are given."""
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    seeds, victims = table.shape
    if victims == 0:
        return math.nan, math.nan
    draw = np.random.default_rng(seed)
    means = np.empty(DRAWS)
    for index in range(DRAWS):
        rows = draw.integers(seeds, size=seeds) if seeds > 1 else np.zeros(1, dtype=int)
        counts = np.bincount(draw.integers(victims, size=victims), minlength=victims)
        means[index] = table[rows].mean(0) @ counts / victims
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def share_interval(hits: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Interval of a share over seeds and victims: Wilson over the victims, widened to the bootstrap over both.

    Seeds do not add victims, so Wilson's n stays the number of victims; the bootstrap adds what seeds vary.
    """
    table = np.atleast_2d(np.asarray(hits, dtype=np.float64))
    low, high = wilson(float(table.mean() * table.shape[1]), table.shape[1])
    if len(table) == 1:
        return low, high
    other_low, other_high = bootstrap(table.tolist())
    return min(low, other_low), max(high, other_high)
