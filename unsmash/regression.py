"""Ridge regression in closed form: the best linear map from releases to images, its penalty chosen by hold-out.

Where the release is wider than there are images the dual form is solved, so that a 64 × 12 × 12 cut costs seconds.
Several attacks use it: as an attack, as the first stage of a decoder, and as the bar a learned attack must clear.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unsmash.errors import UnsmashError

PENALTIES = tuple(10.0**power for power in (-5, -4, -3, -2, -1, 0, 1))
"""Tried penalties, relative to the mean square of a feature times the number of rows"""

LOADS = 6
"""Loads tried, each ten times the one before, until the matrix can be solved"""

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

    Raises:
        UnsmashError: the rows hold numbers that are not finite.
    """
    solver = _Solver(features)
    return solver.fit(targets, solver.choose(targets) if penalty is None else penalty)


def out_of_fold(features: Tensor, targets: Tensor, penalty: float, folds: int = 5) -> Tensor:
    """Each row's prediction by a map fitted without that row: [n, e]. What a second stage must be trained on."""
    return _Solver(features).out_of_fold(targets, penalty, folds)


def fit_in_and_out(features: Tensor, targets: Tensor) -> tuple[Ridge, Tensor]:
    """`fit` with its own penalty, and `out_of_fold` at that penalty, for the price of one."""
    solver = _Solver(features)
    penalty = solver.choose(targets)
    return solver.fit(targets, penalty), solver.out_of_fold(targets, penalty, folds=5)


class _Solver:
    """Centres once and forms the smaller Gram matrix once; each penalty is then one Cholesky factorisation."""

    def __init__(self, features: Tensor) -> None:
        self.features, self.mean = features, features.mean(0)
        self.x = features - self.mean
        self.dual = self.x.shape[1] > self.x.shape[0]
        self.gram = (self.x @ self.x.T if self.dual else self.x.T @ self.x).double()
        self.size = float(self.gram.trace()) / self.x.shape[1] or 1.0
        """Mean over features of the sum of squares: the scale that penalties are relative to"""
        self.least = 2 * torch.finfo(self.x.dtype).eps * float(self.gram.norm())
        """What rounding may have added to the Gram matrix or taken from it; a smaller penalty would fit that"""

    def fit(self, targets: Tensor, penalty: float) -> Ridge:
        """The map at a relative penalty, or at the least that rounding allows."""
        mean = targets.mean(0)
        y = targets - mean
        right = y.double() if self.dual else (self.x.T @ y).double()
        weight = _solve(self.gram, right, max(penalty * self.size, self.least))
        return Ridge(weight.to(self.x.dtype), self.x if self.dual else None, self.mean, mean, penalty)

    def choose(self, targets: Tensor) -> float:
        """The penalty that does best on the last fifth of the rows, on some of the targets."""
        split = max(1, int(len(self.x) * (1 - HELD_OUT)))
        columns = torch.linspace(0, targets.shape[1] - 1, min(JUDGED_COLUMNS, targets.shape[1])).long()
        known, truth = targets[:split, columns], targets[split:, columns]
        guesses = self._held_dual(known, split) if self.dual else self._held_primal(known, split)
        errors = {penalty: (guess - truth).square().mean().item() for penalty, guess in guesses}
        finite = {penalty: error for penalty, error in errors.items() if math.isfinite(error)}
        if not finite:
            raise UnsmashError("no linear map fits: the releases or the images hold numbers that are not finite")
        return min(finite, key=finite.__getitem__)

    def out_of_fold(self, targets: Tensor, penalty: float, folds: int) -> Tensor:
        """Predictions of each row by maps fitted without it."""
        if self.dual:
            return self._out_of_fold_dual(targets, penalty, folds)
        guess = torch.empty_like(targets)
        for held in torch.arange(len(self.x)).chunk(folds):
            keep = torch.ones(len(self.x), dtype=torch.bool)
            keep[held] = False
            guess[held] = fit(self.features[keep], targets[keep], penalty=penalty)(self.features[held])
        return guess

    def _held_primal(self, known: Tensor, split: int) -> Iterator[tuple[float, Tensor]]:
        part = _Solver(self.features[:split])
        for penalty in PENALTIES:
            yield penalty, part.fit(known, penalty)(self.features[split:])

    def _held_dual(self, known: Tensor, split: int) -> Iterator[tuple[float, Tensor]]:
        """Blocks of the one Gram matrix, centred anew on the rows that are fitted."""
        inner, cross = self.gram[:split, :split], self.gram[split:, :split]
        rows, whole = inner.mean(1, keepdim=True), inner.mean()
        inner = inner - rows - rows.T + whole
        cross = cross - cross.mean(1, keepdim=True) - rows.T + whole
        size, mean = float(inner.trace()) / self.x.shape[1] or 1.0, known.double().mean(0)
        for penalty in PENALTIES:
            yield penalty, cross @ _solve(inner, known.double() - mean, max(penalty * size, self.least)) + mean

    def _out_of_fold_dual(self, targets: Tensor, penalty: float, folds: int) -> Tensor:
        """All folds from one inverse.

        Let G = (K + λ)⁻¹ and M = G − G1(1ᵀG1)⁻¹1ᵀG, which is G with the unpenalised mean eliminated. What a map fitted
        without the rows F misses on them is (M_FF)⁻¹ (M y)_F: block-wise leave-one-out, exact at that λ.
        """
        load = max(penalty * self.size, self.least)
        loaded = self.gram + torch.eye(len(self.gram), dtype=torch.float64) * load
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(loaded))
        ones = inverse.sum(1, keepdim=True)
        inverse = inverse - ones @ ones.T / ones.sum()
        misses = inverse.to(targets.dtype) @ (targets - targets.mean(0))
        guess = torch.empty_like(targets)
        for held in torch.arange(len(self.x)).chunk(folds):
            block = inverse[held][:, held]
            guess[held] = targets[held] - torch.linalg.solve(block, misses[held].double()).to(targets.dtype)
        return guess


def _solve(gram: Tensor, right: Tensor, load: float) -> Tensor:
    """(gram + load · I)⁻¹ right, at the next load of ten times as much that makes it positive definite.

    A Gram matrix of a few rows that differ and many that do not lacks more than `least` by rounding. NaN where no load
    helps: the numbers are not finite.
    """
    for _ in range(LOADS):
        factor, failed = torch.linalg.cholesky_ex(gram + torch.eye(len(gram), dtype=torch.float64) * load)
        if not failed:
            return torch.cholesky_solve(right, factor)
        load *= 10
    return right * math.nan
