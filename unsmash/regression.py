"""Ridge regression in closed form: the best linear map from releases to images, its penalty chosen by hold-out.

Where the release is wider than there are images the dual form is solved, so that a 64 × 12 × 12 cut costs seconds.
Several attacks use it: as an attack, as the first stage of a decoder, and as the bar a learned attack must clear.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PENALTIES = tuple(10.0**power for power in (-5, -4, -3, -2, -1, 0, 1))
"""Tried penalties, relative to the mean square of the features"""

HELD_OUT = 0.2


@dataclass(frozen=True)
class Ridge:
    """A fitted linear map: rows [n, d] → rows [n, e]."""

    weight: Tensor
    """[d, e]"""
    feature_mean: Tensor
    target_mean: Tensor
    penalty: float
    """Relative penalty it was fitted with"""

    def __call__(self, features: Tensor) -> Tensor:
        """Predict: [n, d] → [n, e]."""
        return (features - self.feature_mean) @ self.weight + self.target_mean


def fit(features: Tensor, targets: Tensor, *, penalty: float | None = None) -> Ridge:
    """Fit rows [n, d] → [n, e]; without a penalty, the one that does best on the last fifth of the rows is taken.

    Rows must be in random order.
    """
    if penalty is None:
        penalty = _hold_out(features, targets)
    solver = _Solver(features, targets)
    return Ridge(solver.solve(penalty), solver.feature_mean, solver.target_mean, penalty)


def out_of_fold(features: Tensor, targets: Tensor, penalty: float, folds: int = 5) -> Tensor:
    """Each row's prediction by a map fitted without that row: [n, e]. What a second stage must be trained on."""
    guess = torch.empty_like(targets)
    for held in torch.arange(len(features)).chunk(folds):
        keep = torch.ones(len(features), dtype=torch.bool)
        keep[held] = False
        guess[held] = fit(features[keep], targets[keep], penalty=penalty)(features[held])
    return guess


def _hold_out(features: Tensor, targets: Tensor) -> float:
    split = max(1, int(len(features) * (1 - HELD_OUT)))
    solver = _Solver(features[:split], targets[:split])
    errors = {}
    for penalty in PENALTIES:
        guess = (features[split:] - solver.feature_mean) @ solver.solve(penalty) + solver.target_mean
        errors[penalty] = (guess - targets[split:]).square().mean().item()
    finite = {penalty: error for penalty, error in errors.items() if error == error}
    return min(finite, key=finite.__getitem__)


class _Solver:
    """Centres once, forms the smaller Gram matrix once, then solves for any penalty by one Cholesky factorisation."""

    def __init__(self, features: Tensor, targets: Tensor) -> None:
        self.feature_mean, self.target_mean = features.mean(0), targets.mean(0)
        self.x, self.y = features - self.feature_mean, targets - self.target_mean
        self.dual = self.x.shape[1] > self.x.shape[0]
        gram = self.x @ self.x.T if self.dual else self.x.T @ self.x
        self.gram = gram.double()
        self.size = float(self.x.square().sum(0).mean()) or 1.0
        self.right = self.y.double() if self.dual else (self.x.T @ self.y).double()

    def solve(self, penalty: float) -> Tensor:
        """The weight [d, e] at a relative penalty."""
        loaded = self.gram + torch.eye(len(self.gram), dtype=torch.float64) * (penalty * self.size)
        factor, failed = torch.linalg.cholesky_ex(loaded)
        if failed:
            return self.x.new_full((self.x.shape[1], self.y.shape[1]), float("nan"))
        answer = torch.cholesky_solve(self.right, factor).to(self.x.dtype)
        return self.x.T @ answer if self.dual else answer
