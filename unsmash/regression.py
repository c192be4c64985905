"""Ridge regression in closed form: the best linear map from releases to images, its penalty chosen by hold-out.

Where the release is wider than there are images the dual form is solved, so that a 64 × 12 × 12 cut costs seconds.
Several attacks use it: as an attack, as the first stage of a decoder, and as the bar a learned attack must clear.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unsmash.errors import UnsmashError

PENALTIES = tuple(10.0**power for power in (-5, -4, -3, -2, -1, 0, 1))
"""Tried penalties, relative to the mean square of a feature times the number of rows"""

HELD_OUT = 0.2
JUDGED_COLUMNS = 256
"""Targets that the penalty is chosen on; more change nothing and cost time"""


@dataclass(frozen=True)
class Ridge:
    """A fitted linear map: rows [n, d] → rows [n, e]. For wide releases it keeps the rows it was fitted on."""

    weight: Tensor
    """[d, e], or [m, e] on the similarity to `basis`"""
    basis: Tensor | None
    """Centred rows [m, d] of the dual form; None in the primal form"""
    feature_mean: Tensor
    target_mean: Tensor
    penalty: float
    """Relative penalty it was fitted with"""

    def __call__(self, features: Tensor) -> Tensor:
        """Predict: [n, d] → [n, e]."""
        centred = features - self.feature_mean
        if self.basis is not None:
            centred = centred @ self.basis.T
        return centred @ self.weight + self.target_mean


def fit(features: Tensor, targets: Tensor, *, penalty: float | None = None) -> Ridge:
    """Fit rows [n, d] → [n, e]; without a penalty, the one that does best on the last fifth of the rows is taken.

    Rows must be in random order.
    """
    if penalty is None:
        penalty = _hold_out(features, targets)
    return _Solver(features).fit(targets, penalty)


def out_of_fold(features: Tensor, targets: Tensor, penalty: float, folds: int = 5) -> Tensor:
    """Each row's prediction by a map fitted without that row: [n, e]. What a second stage must be trained on."""
    if features.shape[1] > features.shape[0]:
        return _out_of_fold_dual(features, targets, penalty, folds)
    guess = torch.empty_like(targets)
    for held in torch.arange(len(features)).chunk(folds):
        keep = torch.ones(len(features), dtype=torch.bool)
        keep[held] = False
        guess[held] = fit(features[keep], targets[keep], penalty=penalty)(features[held])
    return guess


def _out_of_fold_dual(features: Tensor, targets: Tensor, penalty: float, folds: int) -> Tensor:
    """All folds from one inverse.

    Let G = (K + λ)⁻¹ and M = G − G1(1ᵀG1)⁻¹1ᵀG, which is G with the unpenalised mean eliminated. What a map fitted
    without the rows F misses on them is (M_FF)⁻¹ (M y)_F: block-wise leave-one-out, exact.
    """
    x = features - features.mean(0)
    gram = (x @ x.T).double()
    loaded = gram + torch.eye(len(x), dtype=torch.float64) * (penalty * _size(x))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(loaded))
    ones = inverse.sum(1, keepdim=True)
    inverse = inverse - ones @ ones.T / ones.sum()
    misses = inverse.to(targets.dtype) @ (targets - targets.mean(0))
    guess = torch.empty_like(targets)
    for held in torch.arange(len(x)).chunk(folds):
        block = inverse[held][:, held]
        guess[held] = targets[held] - torch.linalg.solve(block, misses[held].double()).to(targets.dtype)
    return guess


def _hold_out(features: Tensor, targets: Tensor) -> float:
    split = max(1, int(len(features) * (1 - HELD_OUT)))
    columns = torch.arange(targets.shape[1])
    if len(columns) > JUDGED_COLUMNS:
        step = len(columns) / JUDGED_COLUMNS
        columns = (torch.arange(JUDGED_COLUMNS) * step).long()
    known, truth = targets[:split, columns], targets[split:, columns]
    solver = _Solver(features[:split])
    errors = {
        penalty: (solver.fit(known, penalty)(features[split:]) - truth).square().mean().item() for penalty in PENALTIES
    }
    finite = {penalty: error for penalty, error in errors.items() if error == error}
    if not finite:
        raise UnsmashError("no linear map fits: the releases or the images hold numbers that are not finite")
    return min(finite, key=finite.__getitem__)


class _Solver:
    """Centres once, forms the smaller Gram matrix once, then solves for any penalty by one Cholesky factorisation."""

    def __init__(self, features: Tensor) -> None:
        self.mean = features.mean(0)
        self.x = features - self.mean
        self.dual = self.x.shape[1] > self.x.shape[0]
        self.gram = (self.x @ self.x.T if self.dual else self.x.T @ self.x).double()

    def fit(self, targets: Tensor, penalty: float) -> Ridge:
        """The map at a relative penalty; not finite where the penalty is too small for the data."""
        mean = targets.mean(0)
        y = targets - mean
        right = y.double() if self.dual else (self.x.T @ y).double()
        loaded = self.gram + torch.eye(len(self.gram), dtype=torch.float64) * (penalty * _size(self.x))
        factor, failed = torch.linalg.cholesky_ex(loaded)
        weight = right * float("nan") if failed else torch.cholesky_solve(right, factor)
        return Ridge(weight.to(self.x.dtype), self.x if self.dual else None, self.mean, mean, penalty)


def _size(x: Tensor) -> float:
    """Mean over features of the sum of squares: the scale that penalties are relative to."""
    return float(x.square().sum(0).mean()) or 1.0
