"""How many messages a release can tell apart: W = ∫ sup_x p(z|x) dz, the exponential of its maximal leakage.

No attacker hits more than W/N of N candidates (Issa, Wagner & Kamath 2020; `ceilings.message_ceiling`). W does not
depend on the candidates or the attacker; what is done to the release afterwards never raises it. For Gaussian noise and
a convex region it is Σ_j V_j / (√(2π) σ)^j, V_j the region's intrinsic volumes (Wills' functional; Vitale 1996).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unsmash.bounds.epsilon import compose
from unsmash.bounds.regions import Noise, Region, demand

Floats = NDArray[np.float64]


def log2_messages(region: Region, noise: Noise | None, *, queries: int = 1) -> tuple[float, str]:
    """log2 W ≥ 0 of `queries` releases of one input, fresh noise each: the least over all facts, and which gave it.

    The name is `values` (finitely many), `box`, `ball`, `hull` or `epsilon` (randomised response); where nothing is
    known (inf, ""). Finitely many values stay as many under any noise and any number of repeats.
    """
    demand(queries >= 1, f"queries is {queries}, must be ≥ 1")
    found = {"values": 0.0 if region.diameter_l2() == 0 else region.log2_points}
    if noise is not None:
        found |= {"gaussian": _gaussian, "laplace": _laplace, "response": _response}[noise.law](region, noise, queries)
    name = min(found, key=lambda fact: found[fact])
    return (found[name], name) if found[name] < math.inf else (math.inf, "")


def box_messages(sides: Sequence[float], noise: Noise, *, queries: int = 1) -> float:
    """log2 W of a box under Gaussian or Laplace noise: Π (1 + l/(σ√2π)), Π (1 + l/(2b)); exact, for repeats too.

    Along one side the density of k releases rises and then falls (it is log-concave), so its supremum is half of its
    ends and its variation, and W = 1 + (l/2)·E|score|: the score is N(0, k/σ²), or k fair signs added up, over b.
    """
    demand(noise.law != "response", "randomised response has no box")
    demand(queries >= 1, f"queries is {queries}, must be ≥ 1")
    half = math.ceil(queries / 2)
    signs = 2 / math.sqrt(math.pi) * math.exp(math.lgamma(half + 0.5) - math.lgamma(half))
    score = math.sqrt(2 * queries / math.pi) if noise.law == "gaussian" else signs
    reach = np.asarray(sides, dtype=np.float64) / np.asarray(noise.scales(len(sides)))
    return float(np.log1p(reach * score / 2).sum() / math.log(2))


def ball_messages(radius_over_sigma: float, numbers: int) -> float:
    """log2 W of an L2 ball of radius C in k dimensions under N(0, σ²): V_j = binom(k,j) κ_k/κ_(k−j) C^j.

    κ_m is the volume of the unit ball in m dimensions.
    """
    if _trivial(radius_over_sigma):
        return radius_over_sigma
    from scipy.special import gammaln

    j = np.arange(numbers + 1.0)
    log_binomial = gammaln(numbers + 1) - gammaln(j + 1) - gammaln(numbers - j + 1)
    log_kappas = j / 2 * math.log(math.pi) + gammaln((numbers - j) / 2 + 1) - gammaln(numbers / 2 + 1)
    return _log2_sum(log_binomial + log_kappas + j * math.log(radius_over_sigma / math.sqrt(2 * math.pi)))


def l1_ball_messages(radius_over_scale: float, numbers: int) -> float:
    """log2 W of an L1 ball of radius C in k dimensions under Laplace(b): Σ_(j≤k) (C/b)^j / j!, at most e^(C/b).

    The supremum at z is e^(−d/b)/(2b)^k, d the L1 distance to the ball; the points nearer than d are an L1 ball of
    volume (2(C + d))^k/k!, and ∫ e^−s (C/b + s)^k ds / k! is the sum.
    """
    if _trivial(radius_over_scale):
        return radius_over_scale
    from scipy.special import gammaln

    j = np.arange(numbers + 1.0)
    return _log2_sum(j * math.log(radius_over_scale) - gammaln(j + 1))


def hull_messages(radius_over_sigma: float, vertices: int) -> float:
    """log2 W of the hull of a regular simplex, K ≥ 2 vertices at radius C, under N(0, σ²).

    V_j = faces × volume × outer angle = binom(K,j+1) · a^j √(j+1)/(j! 2^(j/2)) · E Φ(s/√(j+1))^(K−1−j), with s
    standard normal and the edge a = C√(2K/(K−1)) (Hadwiger 1979).
    """
    demand(vertices >= 2, f"{vertices} vertices, must be ≥ 2")
    if _trivial(radius_over_sigma):
        return radius_over_sigma
    from scipy.special import gammaln

    j = np.arange(float(vertices))
    log_faces = gammaln(vertices + 1) - gammaln(j + 2) - gammaln(vertices - j)
    log_edge = math.log(radius_over_sigma) + math.log(vertices / (vertices - 1) / (2 * math.pi)) / 2
    return _log2_sum(log_faces + np.log(j + 1) / 2 - gammaln(j + 1) + j * log_edge + _log_outer_angles(vertices))


def response_messages(epsilon: float, log2_points: float) -> float:
    """log2 W of randomised response over M values: M e^ε/(e^ε + M − 1), M given as log2 (inf: e^ε). ε ≥ 0."""
    demand(epsilon >= 0 and log2_points >= 0, f"ε = {epsilon} over 2^{log2_points} values: both must be ≥ 0")
    if 0 in (epsilon, log2_points) or math.inf in (epsilon, log2_points):
        return min(epsilon / math.log(2), log2_points)
    log_points = log2_points * math.log(2)
    log_others = log_points + math.log(-math.expm1(-log_points))
    return max(0.0, float(log_points + epsilon - np.logaddexp(epsilon, log_others)) / math.log(2))


def _gaussian(region: Region, noise: Noise, queries: int) -> dict[str, float]:
    noise = compose(noise, queries)
    found = {"box": box_messages(region.sides, noise)} if region.sides else {}
    found["ball"] = ball_messages(min(region.l1, region.l2) / noise.smallest, region.numbers)
    if region.hull:
        found["hull"] = hull_messages(region.hull_radius / noise.smallest, region.hull)
    return found


def _laplace(region: Region, noise: Noise, queries: int) -> dict[str, float]:
    ball = min(region.l1, region.radius_l2() * math.sqrt(region.numbers)) / noise.smallest
    return {
        "box": box_messages(region.widths(), noise, queries=queries),
        "ball": queries * l1_ball_messages(ball, region.numbers),
    }


def _response(region: Region, noise: Noise, queries: int) -> dict[str, float]:
    return {"epsilon": queries * response_messages(noise.smallest, region.log2_points)}


def _trivial(radius: float) -> bool:
    """Whether log2 W equals the radius: a point, or no bound."""
    demand(radius >= 0, f"a radius of {radius}, must be ≥ 0")
    return radius in (0, math.inf)


def _log2_sum(log_terms: Floats) -> float:
    from scipy.special import logsumexp

    return max(0.0, float(logsumexp(log_terms)) / math.log(2))


def _log_outer_angles(vertices: int) -> Floats:
    """Logs of E Φ(s/√(j+1))^(K−1−j) for j = 0 … K−1: the trapezoid rule around each integrand's own peak."""
    from scipy.special import log_ndtr, logsumexp, ndtr

    root = np.sqrt(np.arange(1.0, vertices + 1))
    power = np.arange(vertices - 1.0, -1, -1)
    low, high = np.zeros(vertices), power / root
    for _ in range(60):
        peak = (low + high) / 2
        x = peak / root
        rises = power / root * np.exp(-x * x / 2) / (math.sqrt(2 * math.pi) * ndtr(x)) > peak
        low, high = np.where(rises, peak, low), np.where(rises, high, peak)
    step = 0.1  # the integrand falls off at least as fast as a normal density, and is no narrower than a fifth of it
    s = peak[:, None] + np.arange(-9, 9 + step, step)
    logs = -s * s / 2 + power[:, None] * log_ndtr(s / root[:, None])
    return np.asarray(logsumexp(logs, axis=1) + math.log(step / math.sqrt(2 * math.pi)))
