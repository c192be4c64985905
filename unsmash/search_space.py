"""What an inversion moves to make an image: its pixels, or a few numbers of which the image is made.

A space says which images its starts stand for, and opens a search: numbers that can descend, and the image that they
make at any moment. Which images a space makes easily is its prior; total variation can stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Search:
    """A descent of some victims from where they start; every victim's numbers are its own."""

    def __init__(self, free: Sequence[Tensor]) -> None:
        self.free = [numbers.requires_grad_() for numbers in free]
        """What descends, on the device where it is computed"""

    def images(self) -> Tensor:
        """The images of the numbers as they are now, [n, c, h, w] in [0, 1]; differentiable."""
        raise NotImplementedError

    def length(self) -> Tensor | None:
        """The squared length of numbers that are N(0, 1) beforehand, [n]; None where nothing is known of them."""
        return None

    def settle(self) -> None:
        """Bring the numbers back to where they are allowed; called after each step, without gradient."""


class Space:
    """A way to make images from numbers. This base takes an image itself as the start."""

    def shown(self, starts: Tensor) -> Tensor:
        """The images [n, c, h, w] in [0, 1] that starts [n, …] stand for, without gradient."""
        return starts.clamp(0, 1)

    def search(self, starts: Tensor, victims: Tensor) -> Search:
        """Open the descent of those victims [n] from their starts [n, …], which lie where it is computed."""
        raise NotImplementedError


class Pixels(Space):
    """Every pixel by itself, projected onto [0, 1] after each step."""

    def search(self, starts: Tensor, victims: Tensor) -> Search:
        """From images [n, c, h, w]."""
        return _FreePixels([starts.clamp(0, 1)])


class _FreePixels(Search):
    def images(self) -> Tensor:
        return self.free[0]

    def settle(self) -> None:
        self.free[0].clamp_(0, 1)


@dataclass(frozen=True)
class Doubt(Space):
    """Where the truth may lie around a start: start + widths · (u @ directions) with u near N(0, 1)."""

    directions: Tensor
    """[q, c·h·w]"""
    widths: Tensor
    """Deviation at each pixel of each start, [n, c, h, w]"""

    def search(self, starts: Tensor, victims: Tensor) -> Search:
        """From images [n, c, h, w] and u = 0."""
        return _Around(starts.clamp(0, 1), self.directions.to(starts), self.widths[victims].to(starts))


class _Around(Search):
    def __init__(self, start: Tensor, directions: Tensor, widths: Tensor) -> None:
        super().__init__([start.new_zeros(len(start), len(directions))])
        self.start, self.directions, self.widths = start, directions, widths

    def images(self) -> Tensor:
        moved = (self.free[0] @ self.directions).reshape_as(self.start)
        return within(self.start + self.widths * moved)

    def length(self) -> Tensor:
        return self.free[0].square().sum(1)


@dataclass(frozen=True)
class Codes(Space):
    """What a generator makes: a start is its code, near N(0, 1) in each number."""

    network: nn.Module
    """[n, q] → images [n, c, h, w]; in eval mode, where the codes are"""

    @torch.no_grad()
    def shown(self, starts: Tensor) -> Tensor:
        """The generated images."""
        return self.network(starts).clamp(0, 1)

    def search(self, starts: Tensor, victims: Tensor) -> Search:
        """From codes [n, q]."""
        return _Generated(starts.clone(), self.network)


class _Generated(Search):
    def __init__(self, codes: Tensor, network: nn.Module) -> None:
        super().__init__([codes])
        self.network = network

    def images(self) -> Tensor:
        return within(self.network(self.free[0]))

    def length(self) -> Tensor:
        return self.free[0].square().sum(1)


def within(images: Tensor) -> Tensor:
    """Clamped to [0, 1] with the gradient let through: what is beyond an end can come back."""
    return images + (images.clamp(0, 1) - images).detach()
