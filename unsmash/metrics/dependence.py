"""Distance correlation between inputs and release: how much one depends on the other. No measure of leakage.

`distance_correlation` is the bias-corrected estimator of Székely & Rizzo (2014) on Euclidean distances. Its form on
squared distances sees linear dependence only (it equals the square root of linear CKA) and is offered as
`distance_correlation_compat`, for comparison with published figures. Both are computed in float64.
"""

from __future__ import annotations

import math

from torch import Tensor

from unsmash.distance_correlation import compat, exact


def distance_correlation(x: Tensor, z: Tensor) -> float:
    """Bias-corrected distance correlation of rows [n, …] and [n, …]; in [-1, 1], about 0 when independent.

    R* estimates the squared distance correlation; the value given is its signed square root. It needs four rows: 0 for
    fewer.
    """
    squared = exact(x.double(), z.double()).item() if len(x) >= 4 else 0.0
    return math.copysign(math.sqrt(abs(squared)), squared)


def distance_correlation_compat(x: Tensor, z: Tensor) -> float:
    """The field's form: squared distances, doubly centred, biased, in [0, 1]. It moves with n: state both together."""
    return compat(x.double(), z.double()).item()
