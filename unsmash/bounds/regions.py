"""What is known about a release before any bound is computed: where it lies without its noise, and the noise's law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Region:
    """All that is known of where the noise-free release lies, whatever the input. Facts add up; bounds take the best.

    Raises:
        ValueError: a fact contradicts itself: a negative length, sides that are not one a number, a simplex of more
            vertices than the numbers sent have room for.
    """

    numbers: int
    """How many numbers are sent"""
    log2_points: float = math.inf
    """log2 of how many different values it can take; inf: not finite"""
    sides: tuple[float, ...] = ()
    """Length of the interval that each number lies in (a box), inf where none is known; empty: no box known"""
    l1: float = math.inf
    """Radius of an L1 ball around a fixed centre"""
    l2: float = math.inf
    """Radius of an L2 ball around a fixed centre"""
    hull: int = 0
    """Vertices K of the regular simplex in whose convex hull it lies; 0: none known"""
    hull_radius: float = 0.0
    """Distance C of those vertices from their centre"""
    premises: tuple[str, ...] = ()
    """One sentence for each reason why this holds"""

    def __post_init__(self) -> None:
        demand(self.numbers >= 1, f"numbers is {self.numbers}: a release has at least one")
        demand(len(self.sides) in (0, self.numbers), f"{len(self.sides)} sides for {self.numbers} numbers")
        lengths = (self.log2_points, self.l1, self.l2, *self.sides)
        demand(all(length >= 0 for length in lengths), "lengths, radii and log2_points must be ≥ 0")
        room = self.hull == 0 or 2 <= self.hull <= self.numbers + 1
        demand(
            room, f"hull is {self.hull}: {self.numbers} numbers have room for 2 to {self.numbers + 1} vertices, or 0"
        )
        demand(0 <= self.hull_radius < math.inf, f"hull_radius is {self.hull_radius}, must be finite and ≥ 0")

    def diameter_l1(self) -> float:
        """Largest L1 distance of two releases that the facts allow; inf where none bounds it."""
        root = math.sqrt(self.numbers)
        balls = (2 * self.l1, 2 * self.l2 * root, self._edge() * root)
        return 0.0 if self.log2_points == 0 else min(*balls, math.fsum(self.sides) if self.sides else math.inf)

    def diameter_l2(self) -> float:
        """Largest Euclidean distance of two releases that the facts allow; inf where none bounds it."""
        balls = (2 * self.l1, 2 * self.l2, self._edge())
        return 0.0 if self.log2_points == 0 else min(*balls, self._diagonal())

    def radius_l2(self) -> float:
        """Smallest radius of a ball around a fixed centre that holds every release; inf where no fact gives one."""
        return 0.0 if self.log2_points == 0 else min(self.l1, self.l2, self._reach(), self._diagonal() / 2)

    def widths(self) -> tuple[float, ...]:
        """Length of the interval that each number lies in: the box, or the box around a ball, whichever is shorter."""
        around = 0.0 if self.log2_points == 0 else 2 * min(self.l1, self.l2, self._reach())
        return tuple(min(side, around) for side in self.sides) if self.sides else (around,) * self.numbers

    @property
    def bounded(self) -> bool:
        """Whether any fact keeps the release within a finite distance."""
        return math.isfinite(self.radius_l2())

    def _reach(self) -> float:
        return self.hull_radius if self.hull else math.inf

    def _edge(self) -> float:
        return self.hull_radius * math.sqrt(2 * self.hull / (self.hull - 1)) if self.hull else math.inf

    def _diagonal(self) -> float:
        return math.hypot(*self.sides) if self.sides else math.inf


@dataclass(frozen=True)
class Noise:
    """Independent noise on each number sent, or randomised response over the values that can be sent.

    Raises:
        ValueError: a scale is not positive and finite, or randomised response is given one ε a number.
    """

    law: Literal["gaussian", "laplace", "response"]
    """`response` answers a value z with z itself e^ε times as often as with any other one of the M (k-ary)"""
    scale: float | tuple[float, ...]
    """σ or b, in units of the release, for all numbers or one a number; for `response` its ε"""

    def __post_init__(self) -> None:
        demand(bool(self._listed()), "scale is empty")
        demand(self.law != "response" or isinstance(self.scale, float | int), "randomised response has one ε")
        least = 0.0 if self.law == "response" else math.nextafter(0.0, 1.0)
        sound = all(least <= scale < math.inf for scale in self._listed())
        demand(sound, f"scale must be finite and {'≥' if self.law == 'response' else '>'} 0")

    @property
    def smallest(self) -> float:
        """The least scale: the more noise on the other numbers only hides more."""
        return float(min(self._listed()))

    def scales(self, numbers: int) -> tuple[float, ...]:
        """One scale for each of so many numbers.

        Raises:
            ValueError: the noise was made for another count.
        """
        listed = self._listed()
        demand(len(listed) in (1, numbers), f"noise for {len(listed)} numbers, a release of {numbers}")
        return listed if len(listed) == numbers else listed * numbers

    def _listed(self) -> tuple[float, ...]:
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)


def demand(holds: bool, otherwise: str) -> None:
    """Raise ValueError with the sentence unless the condition holds; NaN never does."""
    if not holds:
        raise ValueError(otherwise)
