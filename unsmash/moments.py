"""How far two sets of releases lie apart by their first three moments, class by class; differentiable.

One set is fixed and known by the server's answers only: each release belongs to the classes with the server's
probabilities. The other comes in batches with true classes. A batch is compared in two halves, so that the gap has no
bias from their size: plain squared differences of small batches would reward releases that vary too little.
"""

from __future__ import annotations

import torch
from torch import Tensor

COORDINATES = 2048
"""Most numbers of a release whose higher moments are compared; of wider ones so many are drawn"""

TINY = 1e-12


ORDERS = (1, 2, 3)
"""Moments that are compared: where a class lies, how its releases spread, and to which side they trail"""


class Moments:
    """The moments of a fixed set of releases, to hold batches against."""

    def __init__(
        self, rows: Tensor, classes: Tensor, generator: torch.Generator, orders: tuple[int, ...] = ORDERS
    ) -> None:
        """`rows` [n, d] and how far each belongs to each class [n, c], non-negative and summing to 1."""
        self.orders, self.mean = orders, rows.mean(0)
        spread, raw = (rows - self.mean).square().sum(1).mean(), rows.square().sum(1).mean()
        # a single release has no spread of its own: the fewer there are, the more its size counts
        self.scale = (spread + raw / len(rows)).sqrt().clamp(min=TINY)
        self.columns = torch.randperm(rows.shape[1], generator=generator)[:COORDINATES].sort().values.to(rows.device)
        self.rows, self.share = self.scaled(rows), classes.mean(0)
        self.weights = classes / (classes.sum(0) + TINY)
        self.lengths = [
            self._products(self.rows, self.weights, self.rows, self.weights, order) for order in self.orders
        ]

    def scaled(self, rows: Tensor) -> Tensor:
        """Rows about the fixed set's mean, in units of its spread."""
        return (rows - self.mean) / self.scale

    def gaps(self, one: Tensor, classes: Tensor, other: Tensor, others: Tensor) -> Tensor:
        """Squared distance of the moments about the fixed set's mean, a mean over the classes, for each order.

        That of means in shares of the fixed set's variance, the others in shares of its moments' own squared length.
        Each is unbiased, so that it can be below 0 for a like law. Two independent batches [m, d] with their classes
        [m]; classes that are not in both are left out.
        """
        a, b, left, right = self.scaled(one), self.scaled(other), self._weights(classes), self._weights(others)
        both = self.share * ((left.sum(0) > 0) & (right.sum(0) > 0))
        found = []
        for order, length in zip(self.orders, self.lengths, strict=True):
            gap = self._products(a, left, b, right, order) + length
            gap = gap - self._products(a, left, self.rows, self.weights, order)
            gap = gap - self._products(b, right, self.rows, self.weights, order)
            unit = 1.0 if order == 1 else (self.share @ length).clamp(min=TINY)
            found.append(both @ gap / unit)
        return torch.stack(found)

    def _products(self, a: Tensor, left: Tensor, b: Tensor, right: Tensor, order: int) -> Tensor:
        """Inner product of the moments of both sides, for each class: [c].

        Moments of order k are tensors of d^k numbers; their inner product is the mean k-th power of the rows' products.
        """
        if order == 1:
            return ((left.T @ a) * (right.T @ b)).sum(1)
        products = (a[:, self.columns] @ b[:, self.columns].T) ** order
        return (left * (products @ right)).sum(0)

    def _weights(self, classes: Tensor) -> Tensor:
        """Weights by which the rows of a class average to its mean: [m, c], the columns summing to 1 or to 0."""
        given = torch.nn.functional.one_hot(classes, len(self.share)).to(self.rows)
        return given / given.sum(0).clamp(min=1)
