"""How far two sets of releases lie apart by their first three moments, class by class; differentiable.

One set is fixed and known by the server's answers only: each release belongs to the classes with the server's
probabilities. The other comes in batches with true classes. A batch is compared in two halves, so that the gap has no
bias from their size: plain squared differences of small batches would reward releases that vary too little.

Moments of few releases mislead: those of a class are means over its releases, off by a sampling error of known size.
Each gap is therefore taken in two parts, of the moment over all classes and of the classes' about it, and each counts
by the share of its squared length that is no sampling error (the factor of James and Stein's positive-part estimate).
Where every class has few releases the second part fades and the pooled moment is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COORDINATES = 2048
"""Most numbers of a release whose higher moments are compared; of wider ones so many are drawn"""

TINY = 1e-12

ORDERS = (1, 2, 3)
"""Moments that are compared: where a class lies, how its releases spread, and to which side they trail"""


@dataclass(frozen=True)
class Trust:
    """How far a moment of the fixed set is known: shares in [0, 1] of squared lengths that are no sampling error."""

    pooled: float
    """Of the moment over all classes"""
    apart: float
    """Of the classes' moments about it"""


class Moments:
    """The moments of a fixed set of releases, to hold batches against."""

    def __init__(self, rows: Tensor, classes: Tensor, generator: torch.Generator) -> None:
        """`rows` [n, d] and how far each belongs to each class [n, c], non-negative and summing to 1."""
        self.mean = rows.mean(0)
        spread, raw = (rows - self.mean).square().sum(1).mean(), rows.square().sum(1).mean()
        # a single release has no spread of its own: the fewer there are, the more its size counts
        self.scale = (spread + raw / len(rows)).sqrt().clamp(min=TINY)
        self.columns = torch.randperm(rows.shape[1], generator=generator)[:COORDINATES].sort().values.to(rows.device)
        self.rows, self.share = self.scaled(rows), classes.mean(0)
        self.weights = classes / (classes.sum(0) + TINY)
        about = [_about(self.rows, self.rows.mean(0), order)[:, self._seen(order)] for order in ORDERS]
        self.about = about
        """The rows as each order takes them: [n, columns]"""
        self.own = own = [(rows @ rows.T) ** order for order, rows in zip(ORDERS, about, strict=True)]
        """Inner products [n, n] of the rows' tensors of each order"""
        self.units = [1.0, *(float(self.share @ _length(gram, self.weights)) or 1.0 for gram in own[1:])]
        self.trust = [_trust(gram, classes, self.weights, self.share) for gram in own]
        # the mean's own zero is where the fixed set lies: that is known, however few there are
        self.trust[0] = Trust(1.0, self.trust[0].apart)

    def scaled(self, rows: Tensor) -> Tensor:
        """Rows about the fixed set's mean, in units of its spread."""
        return (rows - self.mean) / self.scale

    def gaps(self, one: Tensor, classes: Tensor, other: Tensor, others: Tensor) -> Tensor:
        """Squared distance of the moments for each order, by its two parts: [orders, 2].

        First that of the moments over all classes, then that of the classes' moments about them, a mean over classes.
        Means count in shares of the fixed set's variance, the others in shares of its moments' own squared length; the
        others are taken about each side's own mean. For a like law a gap is 0 on average, and can be below. Two
        independent batches [m, d] with their classes [m]; classes that are not in both are left out on all sides.
        """
        a, b, left, right = self.scaled(one), self.scaled(other), self._weights(classes), self._weights(others)
        share = self.share * ((left.sum(0) > 0) & (right.sum(0) > 0))
        whole = share.sum().clamp(min=TINY)
        left, right, fixed = (torch.cat([w, (w @ share / whole)[:, None]], 1) for w in (left, right, self.weights))
        found = []
        for order, aim, own, unit in zip(ORDERS, self.about, self.own, self.units, strict=True):
            mine, theirs = (_about(x, w[:, -1] @ x, order)[:, self._seen(order)] for x, w in ((a, left), (b, right)))
            gap = _inner((mine @ theirs.T) ** order, left, right) + _length(own, fixed)
            gap = gap - _inner((mine @ aim.T) ** order, left, fixed)
            gap = gap - _inner((theirs @ aim.T) ** order, right, fixed)
            pooled = whole * gap[-1]
            found.append(torch.stack([pooled, share @ gap[:-1] - pooled]) / unit)
        return torch.stack(found)

    def trusted(self, gaps: Tensor) -> Tensor:
        """The sum of the gaps, each by how far the fixed set's moment is known."""
        return (gaps * gaps.new_tensor([[one.pooled, one.apart] for one in self.trust])).sum()

    def _seen(self, order: int) -> Tensor | slice:
        """Which numbers of a release count."""
        return slice(None) if order == 1 else self.columns

    def _weights(self, classes: Tensor) -> Tensor:
        """Weights by which the rows of a class average to its mean: [m, c], the columns summing to 1 or to 0."""
        given = torch.nn.functional.one_hot(classes, len(self.share)).to(self.rows)
        return given / given.sum(0).clamp(min=1)


def _about(rows: Tensor, mean: Tensor, order: int) -> Tensor:
    """Rows as a moment takes them: about their own mean from the second on, and so much longer that it is unbiased.

    About another mean, releases that hardly vary but lie off would have the second and third moments of some that do:
    a trap for whoever descends.
    """
    if order == 1:
        return rows
    count = len(rows)
    lost = (count - 1) / count if order == 2 else (count - 1) * (count - 2) / count**2
    return (rows - mean) / max(lost, 1 / count) ** (1 / order)


def _inner(products: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Inner products of both sides' weighted means, column by column: [c]."""
    return (left * (products @ right)).sum(0)


def _length(products: Tensor, weights: Tensor) -> Tensor:
    return _inner(products, weights, weights)


def _trust(gram: Tensor, classes: Tensor, weights: Tensor, share: Tensor) -> Trust:
    """From the inner products [n, n] of what is averaged: its variance over the number that a mean is taken of."""
    count, sizes, lengths = len(gram), gram.diagonal().sum(), _length(gram, weights)
    pooled, within = gram.mean(), share @ lengths
    around = (sizes - count * pooled) / max(count - 1, 1)
    inside = (sizes - count * within) / (count - (classes * weights).sum()).clamp(min=1)
    # a mean with weights w is off by Σw² of the variance; what the pooled one is off by is in every class's
    off = inside * ((share * weights.square().sum(0)).sum() - 1 / count)
    return Trust(_known(pooled, around / count), _known(within - pooled, off))


def _known(length: Tensor, error: Tensor) -> float:
    return float((1 - error / length.clamp(min=TINY)).clamp(0, 1)) if length > TINY else 0.0
