"""Local differential privacy of one release: how alike two inputs look from outside, whatever the two inputs are.

Any two inputs are neighbours, so a distance here is the diameter of the region that the noise-free release lies in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from unsmash.bounds.regions import Noise, Region, demand


def local_epsilon(region: Region, noise: Noise | None, *, delta: float, queries: int = 1) -> float:
    """ε of (ε, δ)-local privacy of `queries` releases of one input, fresh noise each; inf where nothing bounds it.

    Laplace and randomised response hold with δ = 0, whatever `delta` is; a release that never changes has ε = 0.
    """
    if region.diameter_l2() == 0:
        return 0.0
    if noise is None:
        return math.inf
    noise = compose(noise, queries)
    if noise.law == "response":
        return noise.smallest
    distance = _distance(region, noise)
    return laplace_epsilon(distance, 1.0) if noise.law == "laplace" else gaussian_epsilon(distance, 1.0, delta)


def compose(noise: Noise, queries: int) -> Noise:
    """The noise of one release with the ε of `queries` releases of one input: σ/√k, b/k, k·ε.

    Exact for Gaussian noise (the mean of the releases tells all of them); basic composition for the others
    (Dwork & Roth 2014, theorem 3.16).
    """
    demand(queries >= 1, f"queries is {queries}, must be ≥ 1")
    factor = {"gaussian": queries**-0.5, "laplace": 1 / queries, "response": queries}[noise.law]
    scale = noise.scale
    return Noise(noise.law, tuple(s * factor for s in scale) if isinstance(scale, tuple) else scale * factor)


def laplace_epsilon(l1_distance: float, scale: float) -> float:
    """ε of Laplace(b) noise on each number, at an L1 distance: Δ/b (Dwork & Roth 2014, theorem 3.6). δ = 0."""
    return _ratio(l1_distance, scale, "scale")


def laplace_scale(l1_distance: float, epsilon: float) -> float:
    """The least b with that ε > 0: Δ/ε."""
    return _ratio(l1_distance, epsilon, "epsilon")


def gaussian_epsilon(l2_distance: float, sigma: float, delta: float) -> float:
    """The exact ε of N(0, σ²) noise at a Euclidean distance, δ in [0, 1); inf for δ = 0 (Balle & Wang 2018, theorem 8).

    Found by bisection and rounded up. The textbook Δ√(2 ln(1.25/δ))/σ can claim too little above ε = 1.
    """
    demand(0 <= delta < 1, f"delta is {delta}, must be in [0, 1)")
    mu = _ratio(l2_distance, sigma, "sigma")
    if delta >= math.erf(mu / math.sqrt(8)):
        return 0.0
    if delta == 0 or mu == math.inf:
        return math.inf
    from scipy.special import ndtri

    # over a = μ/2 − ε/μ, where nothing large cancels: δ ≤ Φ(a), and a = μ/2 is ε = 0
    a = _bisect(lambda a: _log_delta(mu, a) <= math.log(delta), good=float(ndtri(delta)), bad=mu / 2)
    return mu * (mu / 2 - a)


def gaussian_delta(l2_distance: float, sigma: float, epsilon: float) -> float:
    """The exact δ of N(0, σ²) noise at that ε ≥ 0: Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ), μ = Δ/σ (ibid.)."""
    demand(epsilon >= 0, f"epsilon is {epsilon}, must be ≥ 0")
    return math.exp(_log_delta_at(_ratio(l2_distance, sigma, "sigma"), epsilon))


def gaussian_sigma(l2_distance: float, epsilon: float, delta: float) -> float:
    """The least σ, rounded up, that is (ε, δ)-private at a Euclidean distance; finite ε ≥ 0, δ in (0, 1)."""
    demand(0 <= epsilon < math.inf, f"epsilon is {epsilon}, must be finite and ≥ 0")
    demand(0 < delta < 1, f"delta is {delta}, must be in (0, 1)")
    above = 1.0
    while _log_delta_at(above, epsilon) <= math.log(delta):
        above *= 2
    mu = _bisect(lambda mu: _log_delta_at(mu, epsilon) <= math.log(delta), good=0.0, bad=above)
    return _ratio(l2_distance, mu, "mu")


def epsilon_lower_bound(low: float, n: int) -> float:
    """The ε that a measured attack disproves: ln(p(N−1)/(1−p)), p the lower confidence limit of its hit rate among N.

    The inverse of `pure_ceiling`; 0 at chance or below. Above a claimed pure ε it is a bug found.
    """
    demand(n >= 1 and 0 <= low <= 1, f"a hit rate of {low} among {n}")
    if low * n <= 1:
        return 0.0
    return math.inf if low == 1 else math.log(low * (n - 1) / (1 - low))


def _distance(region: Region, noise: Noise) -> float:
    """Largest distance of two releases in units of the noise, in the norm that its law goes by."""
    laplace = noise.law == "laplace"
    whole = (region.diameter_l1() if laplace else region.diameter_l2()) / noise.smallest
    scales = noise.scales(region.numbers)
    if not region.sides:
        return whole
    each = [side / scale for side, scale in zip(region.sides, scales, strict=True)]
    return min(whole, math.fsum(each) if laplace else math.hypot(*each))


def _ratio(distance: float, unit: float, name: str) -> float:
    demand(distance >= 0, f"a distance of {distance}, must be ≥ 0")
    demand(0 < unit < math.inf, f"{name} is {unit}, must be finite and > 0")
    return distance / unit


def _log_delta_at(mu: float, epsilon: float) -> float:
    if mu in (0, math.inf):
        return -math.inf if mu == 0 else 0.0
    return _log_delta(mu, mu / 2 - epsilon / mu)


def _log_delta(mu: float, a: float) -> float:
    """The log of δ at ε = μ²/2 − μa: with Mills' ratio R = (1 − Φ)/φ, ln Φ(a) + ln(1 − R(μ − a)/R(−a)), free of e^ε.

    The relative error of δ is about 1e-15 for μ ≥ 1 and 1e-15/μ below.
    """
    from scipy.special import erfcx, log_ndtr

    if a == -math.inf:
        return -math.inf
    ratio = float(erfcx((mu - a) / math.sqrt(2)) / erfcx(-a / math.sqrt(2)))
    return float(log_ndtr(a)) + math.log1p(-ratio) if ratio < 1 else -math.inf


def _bisect(holds: Callable[[float], bool], *, good: float, bad: float) -> float:
    """The last number from good towards bad for which it holds, as far as floating point can tell."""
    while (middle := (good + bad) / 2) not in (good, bad):
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good
