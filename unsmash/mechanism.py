"""From a stack of shields to what bounds are computed from: its random steps, and where each acts.

Whatever follows a step on its way to the wire is post-processing: it can only take information away. So every step's
bound holds for the release, and the least of them is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from unsmash.bounds.epsilon import local_epsilon
from unsmash.bounds.messages import log2_messages
from unsmash.bounds.regions import Noise, Region
from unsmash.split.shield import Shield, Shields

DELTA = 1e-5
"""δ of an (ε, δ) statement where a defence names none"""

RANGES: dict[type[nn.Module], tuple[float, float]] = {
    nn.Tanh: (-1, 1),
    nn.Sigmoid: (0, 1),
    nn.Softmax: (0, 1),
    nn.Hardsigmoid: (0, 1),
    nn.Softsign: (-1, 1),
    nn.ReLU6: (0, 6),
}
"""Activations that keep every number in an interval, whatever they are given"""


@dataclass(frozen=True)
class Step:
    """One random step: noise put on what lies in a region."""

    region: Region
    """Where it lies before the noise"""
    noise: Noise | None
    """None where bounds know no law for it: a random mask, stochastic rounding"""
    memoised: bool
    exact: bool
    """Nothing before it is random: what it noises is a function of the image"""
    delta: float
    place: int
    """Which shield of the stack"""


@dataclass(frozen=True)
class Mechanism:
    """All that bounds need to know of a stack."""

    steps: tuple[Step, ...]
    log2_values: float
    """log2 of how many values the image can take on at its narrowest place before anything random: kept by repeats"""
    log2_values_once: float
    """The same at any place: it holds for one release"""
    premises: tuple[str, ...]

    def messages(self, queries: int = 1) -> tuple[float, str]:
        """log2 W of that many releases of one input, and the fact that gave it: `values`, `box`, `ball`, …"""
        told = [(self.log2_values, "values"), (queries * self.log2_values_once, "values")]
        for step in self.steps:
            if step.noise is not None:
                told.append(log2_messages(step.region, step.noise, queries=1 if step.memoised else queries))
        return min(told, key=lambda one: one[0])

    def epsilon(self, queries: int = 1) -> tuple[float, float]:
        """The least ε that holds, and its δ (0 for Laplace noise and randomised response)."""
        best = (math.inf, 0.0)
        for step in self.steps:
            if step.noise is None:
                continue
            k = 1 if step.memoised else queries
            delta = step.delta if step.noise.law == "gaussian" else 0.0
            best = min(best, (local_epsilon(step.region, step.noise, delta=step.delta, queries=k), delta))
        return best

    def reach(self, queries: int = 1) -> float:
        """The least C/σ of a Gaussian step: radius of what it noises over its deviation; inf where there is none."""
        reaches = [math.inf]
        for step in self.steps:
            if step.noise is not None and step.noise.law == "gaussian":
                k = 1 if step.memoised else queries
                reaches.append(step.region.radius_l2() / step.noise.smallest * math.sqrt(k))
        return min(reaches)

    @property
    def why_unbounded(self) -> str:
        """Why there is no finite ε."""
        noised = [step for step in self.steps if step.noise is not None]
        if not self.steps:
            return "The release is not random: two inputs that differ in it are told apart for certain"
        if not noised:
            return "What is random here has no law that bounds know: a mask or a rounding leaves the rest exact"
        return "Nothing fixed bounds what the noise is put on: no clip, or one that was learned from data"


def mechanism(shield: Shield, start: Region) -> Mechanism:
    """Walk the stack from what is known of the smashed data."""
    layers = shield.layers if isinstance(shield, Shields) else [shield]
    region = start
    steps: list[Step] = []
    values = once = start.log2_points
    for place, layer in enumerate(layers):
        region = layer.confine(region)
        once = min(once, region.log2_points)
        if not steps:
            values = min(values, region.log2_points)
        if layer.stochastic:
            delta = float(getattr(layer, "delta", DELTA) or DELTA)
            steps.append(Step(region, layer.noise, layer.memoised, exact=not steps, delta=delta, place=place))
            region = layer.scatter(region)
            once = min(once, region.log2_points)
    premises = tuple(dict.fromkeys((*region.premises, *(p for step in steps for p in step.region.premises))))
    return Mechanism(tuple(steps), values, once, premises)


def smashed_region(net: nn.Module, at: str, numbers: int) -> Region:
    """What the architecture alone says of the smashed data: an activation at the cut that keeps to an interval."""
    try:
        last = net.get_submodule(at)
    except AttributeError:
        return Region(numbers)
    while isinstance(last, nn.Sequential) and len(last):
        last = last[-1]
    bounds = RANGES.get(type(last))
    if bounds is None:
        return Region(numbers)
    told = f"{type(last).__name__} at {at!r} keeps each number from {bounds[0]:g} to {bounds[1]:g}"
    return Region(numbers, sides=(bounds[1] - bounds[0],) * numbers, premises=(told,))
