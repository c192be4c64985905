"""The least telling noise on the gradients of two classes, for a given power: Marvell.

Li, Sun, Yang, Gao, Zhang, Xie, Smith and Wang, "Label Leakage and Protection in Two-party Split Learning", ICLR 2022,
§4. The gradients of class c are modelled as Gaussian, all directions alike: N(m_c, v_c I), c in 0, 1, in d dimensions.
Noise N(0, D_c) is added. Among all D_0, D_1 of power p tr D_1 + (1 − p) tr D_0 ≤ P, those with the least
sumKL = KL(class 1 ‖ class 0) + KL(class 0 ‖ class 1) have one variance along m_1 − m_0 and one across it (theorem 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEPS = 50
"""Golden sections of an interval: what is left of it is below rounding"""

GRID = 17
"""Points at which the share of the power that goes across is first tried"""

LEAST = 1e-12
"""Smallest variance, in units of the power: keeps ratios finite where gradients of a class are all alike"""


@dataclass(frozen=True)
class Model:
    """Two classes of gradients as they are modelled, and the power that noise may have."""

    distance: float
    """‖m_1 − m_0‖²"""
    variances: tuple[float, float]
    """Variance of a class's gradients in any one direction: of class 0, of class 1"""
    share: float
    """p: share of class 1, above 0 and below 1"""
    dimensions: int
    power: float
    """P: mean squared length of the noise"""


@dataclass(frozen=True)
class Law:
    """Variances of the noise on each class, along the difference of the means and in each direction across it."""

    along: tuple[float, float]
    across: tuple[float, float]
    divergence: float
    """sumKL with that noise, under the model"""


def divergence(model: Model, along: tuple[float, float], across: tuple[float, float]) -> float:
    """SumKL of the two classes with noise of these variances, in closed form."""
    (v0, v1), g = model.variances, model.distance
    inside = _apart(v0 + along[0], v1 + along[1], g)
    outside = _apart(v0 + across[0], v1 + across[1], 0.0) if model.dimensions > 1 else 0.0
    return (inside + (model.dimensions - 1) * outside) / 2


def _apart(a: float, b: float, distance: float) -> float:
    """Twice the sumKL of two normal laws of variances a and b whose means lie √distance apart."""
    if a == b == distance == 0:
        return 0.0
    return a / b + b / a - 2 + distance / a + distance / b if min(a, b) > 0 else math.inf


def area_bound(divergence: float) -> float:
    """Largest area under the ROC curve of any attack on one gradient, given sumKL (theorem 1 of the paper).

    Total variation is at most √sumKL / 2 (Pinsker, both ways), and with a total variation t the area is at most
    1/2 + t − t²/2. From sumKL 4 on nothing is excluded.

    >>> area_bound(0), area_bound(4), area_bound(1)
    (0.5, 1.0, 0.875)
    """
    t = min(1.0, math.sqrt(max(divergence, 0.0)) / 2)
    return 0.5 + t - t * t / 2


def solve(model: Model) -> Law:
    """The noise of least sumKL within the power.

    Across the means' difference, noise only ever evens out the variances: it goes to the class that has less, and to
    no more than the other has. What is spent there is one number; given it, what is left along the difference is
    shared between the classes, in which sumKL is convex.
    """
    if model.power <= 0:
        return Law((0.0, 0.0), (0.0, 0.0), divergence(model, (0.0, 0.0), (0.0, 0.0)))
    weights = (1 - model.share, model.share)
    less = int(model.variances[1] < model.variances[0])
    gap = abs(model.variances[1] - model.variances[0])
    many = (model.dimensions - 1) * weights[less]
    most = min(model.power, gap * many)

    def across(spent: float) -> tuple[float, float]:
        mine = spent / many if many else 0.0
        return (mine, 0.0) if less == 0 else (0.0, mine)

    def best(spent: float) -> tuple[tuple[float, float], float]:
        along = _along(model, weights, model.power - spent)
        return along, divergence(model, along, across(spent))

    spent = 0.0
    if most > 0:
        tried = np.linspace(0, most, GRID)
        place = int(np.argmin([best(at)[1] for at in tried]))
        spent = _least(lambda at: best(at)[1], tried[max(place - 1, 0)], tried[min(place + 1, GRID - 1)], STEPS // 2)
    along, found = best(spent)
    return Law(along, across(spent), found)


def _along(model: Model, weights: tuple[float, float], power: float) -> tuple[float, float]:
    """How the power along the difference is shared between the classes."""
    power = max(power, LEAST * model.power)

    def split(part: float) -> tuple[float, float]:
        return power * (1 - part) / weights[0], power * part / weights[1]

    flat = (0.0, 0.0)
    inside = Model(model.distance, model.variances, model.share, 1, power)
    part = _least(lambda at: divergence(inside, split(at), flat), LEAST, 1 - LEAST, STEPS)
    return split(part)


def _least(value: Callable[[float], float], low: float, high: float, steps: int) -> float:
    """Where a function with one valley is least between these ends, by golden section; the ends count too."""
    ratio = (math.sqrt(5) - 1) / 2
    ends = low, high
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(steps):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = value(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = value(right)
    return min((*ends, (low + high) / 2), key=value)
