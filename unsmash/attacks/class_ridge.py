"""Ridge regression class by class, on whitened releases: the stronger linear attack where a narrow code hides the rest.

A code trained for a task spends its numbers on the class; what is left of the picture lies in small differences within
a class, in other directions for each. So the class is read off first, then each class has a linear map of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash import regression
from unsmash.attacks.base import Attack
from unsmash.features import Features
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View

SPARE = 16
"""Directions looked for beyond those that are kept: the last few are the least exact"""

FEWEST = 24
"""Images of a class below which it shares the map of all classes"""


class ClassRidge(Attack):
    """Reads the class off the release, then answers with that class's own linear map."""

    kind: Literal["class_ridge"] = "class_ridge"
    images: int = Field(4000, ge=8, le=100_000)
    """Most of the adversary's images it uses"""
    numbers: int = Field(128, ge=1, le=4096)
    """Most directions of the release that are kept; the ones in which releases differ most"""
    draws: int = Field(4, ge=1, le=256)
    """Fresh releases of each of them it learns from, where the defence draws noise"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    title: ClassVar[str] = "Ridge regression by class"
    tiny: ClassVar[dict[str, object]] = {"images": 200, "numbers": 32}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Linear reconstructions [n, c, h, w]."""
        index = torch.randperm(len(view.shadow), generator=lab.generator("rows"))[: self.images]
        oracle, draws = view.oracle(view.shadow), self.draws if view.stochastic else 1
        with lab.seeded("queries"):
            first = oracle.ask(index)
            features = Features.of(first)
            rows = torch.stack([features(first), *(features(oracle.ask(index)) for _ in range(1, draws))], 1)
        with lab.seeded("directions"):
            white = _Whitening.of(rows.flatten(0, 1), self.numbers, lab.generator("directions"))
        known = white(rows.flatten(0, 1))
        images = view.shadow[index].flatten(1).repeat_interleave(draws, 0)
        labels = view.shadow_labels[index].repeat_interleave(draws)
        guess = _by_class(known, images, labels, white(features(view.release)))
        return guess.reshape(-1, *view.input_shape)


@dataclass(frozen=True)
class _Whitening:
    """Principal directions, each scaled to unit variance."""

    mean: Tensor
    map: Tensor
    """[d, kept]"""

    @classmethod
    def of(cls, rows: Tensor, most: int, generator: torch.Generator) -> _Whitening:
        mean = rows.mean(0)
        some = rows[torch.randperm(len(rows), generator=generator)[: max(2 * most, 2000)]] - mean
        spread, directions = _principal(some, most)
        kept = min(most, int((spread > 1e-6 * spread[:1].clamp(min=1e-12)).sum()) or 1)
        scale = (spread[:kept] / max(len(some), 1) ** 0.5).clamp(min=1e-12)
        return cls(mean, (directions[:, :kept] / scale).to(rows.dtype))

    def __call__(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) @ self.map


def _principal(rows: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Singular values and directions [d, …] of rows [n, d], the largest first; of wide rows only as many as are kept.

    Of those the largest come from random projections (Halko, Martinsson & Tropp 2011), in a fraction of the time.
    """
    if rows.shape[1] > len(rows) > 4 * most:
        _, spread, directions = torch.svd_lowrank(rows, q=most + SPARE, niter=4)
        return spread.double(), directions.double()
    _, spread, directions = torch.linalg.svd(rows.double(), full_matrices=False)
    return spread, directions.T


def _by_class(known: Tensor, images: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
    """Images of the seen rows, by the map of the class whose centre is nearest in the pooled metric of the classes."""
    guess = regression.fit(known, images)(seen)
    classes = [int(label) for label in labels.unique() if label >= 0 and int((labels == label).sum()) >= FEWEST]
    if len(classes) < 2:
        return guess
    nearest = _nearest_class(known, labels, classes, seen)
    for place, label in enumerate(classes):
        mine = nearest == place
        if mine.any():
            guess[mine] = regression.fit(known[labels == label], images[labels == label])(seen[mine])
    return guess


def _nearest_class(known: Tensor, labels: Tensor, classes: list[int], seen: Tensor) -> Tensor:
    """Linear discriminant with equal priors: place in `classes` of each seen row."""
    centres = torch.stack([known[labels == label].mean(0) for label in classes]).double()
    pairs = zip(classes, centres, strict=True)
    inner = torch.cat([known[labels == label].double() - centre for label, centre in pairs])
    covariance = inner.T @ inner / len(inner)
    covariance += torch.eye(len(covariance), dtype=torch.float64) * covariance.diagonal().mean() * 1e-3
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, torch.cat([centres, seen.double()]).T, upper=False).T
    return torch.cdist(white[len(classes) :], white[: len(classes)]).argmin(1)
