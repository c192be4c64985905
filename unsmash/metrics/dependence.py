"""Distance correlation between inputs and release: how much one depends on the other. No measure of leakage.

`distance_correlation` is the bias-corrected estimator of Székely & Rizzo (2014) on Euclidean distances. Its form on
squared distances sees linear dependence only (it equals the square root of linear CKA) and is offered as
`distance_correlation_compat`, for comparison with published figures.
"""

from __future__ import annotations

import torch
from torch import Tensor


def distance_correlation(x: Tensor, z: Tensor) -> float:
    """Bias-corrected distance correlation R* of rows [n, d] and [n, e], n ≥ 4; in [-1, 1], about 0 when independent.

    R* estimates the squared distance correlation; the value given is its signed square root.
    """
    a, b = u_centred(_distances(x)), u_centred(_distances(z))
    variances = (a * a).sum() * (b * b).sum()
    if variances <= 0:
        return 0.0
    squared = ((a * b).sum() / variances.sqrt()).item()
    return float(abs(squared) ** 0.5 * (1 if squared >= 0 else -1))


def distance_correlation_compat(x: Tensor, z: Tensor) -> float:
    """The field's form: squared distances, doubly centred, biased. Depends on n; state n with every figure."""
    a, b = double_centred(_distances(x).square()), double_centred(_distances(z).square())
    variances = (a * a).sum() * (b * b).sum()
    if variances <= 0:
        return 0.0
    return float(((a * b).sum().clamp(min=0) / variances.sqrt()).sqrt())


def double_centred(d: Tensor) -> Tensor:
    """D with row, column and grand means taken out (Székely et al. 2007, eq. 2.8)."""
    return d - d.mean(0, keepdim=True) - d.mean(1, keepdim=True) + d.mean()


def u_centred(d: Tensor) -> Tensor:
    """D centred so that the estimator is unbiased, zero diagonal (Székely & Rizzo 2014, definition 2)."""
    n = len(d)
    rows = d.sum(1, keepdim=True) / (n - 2)
    centred = d - rows - rows.T + d.sum() / ((n - 1) * (n - 2))
    return centred.fill_diagonal_(0)


def _distances(rows: Tensor) -> Tensor:
    rows = rows.flatten(1).double()
    return torch.cdist(rows, rows)
