"""ε against its definition integrated numerically, closed forms, and the formula everyone gets wrong."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from unsmash.bounds.ceilings import pure_ceiling
from unsmash.bounds.epsilon import (
    compose,
    epsilon_lower_bound,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_sigma,
    laplace_epsilon,
    laplace_scale,
    local_epsilon,
)
from unsmash.bounds.regions import Noise, Region

BALL = Region(16, l2=1.0)


def hockey_stick(mu: float, epsilon: float) -> float:
    """∫ (p − e^ε q)₊ of N(μ, 1) and N(0, 1): it is positive from x = ε/μ + μ/2 on."""
    start = epsilon / mu + mu / 2

    def excess(x: float) -> float:
        return math.exp(-((x - mu) ** 2) / 2) * -math.expm1(epsilon - mu * x + mu * mu / 2) / math.sqrt(2 * math.pi)

    return quad(excess, start, max(start, mu) + 12, epsabs=0, epsrel=1e-11, limit=200)[0]


def textbook_gaussian_epsilon(l2_distance: float, sigma: float, delta: float) -> float:
    """Dwork & Roth 2014, theorem A.1, solved for ε; it asks for ε < 1 and is used beyond."""
    return l2_distance * math.sqrt(2 * math.log(1.25 / delta)) / sigma


@pytest.mark.parametrize(
    ("mu", "epsilon"),
    [(0.01, 0.02), (0.1, 0.0), (0.25, 0.9), (0.5, 2.0), (1.0, 1.0), (2.0, 10.0), (8.0, 65.0), (80.0, 3500.0)],
)
def test_delta_is_the_hockey_stick_divergence(mu: float, epsilon: float) -> None:
    assert gaussian_delta(mu, 1.0, epsilon) == pytest.approx(hockey_stick(mu, epsilon), rel=1e-8)
    assert gaussian_delta(3 * mu, 3.0, epsilon) == pytest.approx(gaussian_delta(mu, 1.0, epsilon), rel=1e-9)


@pytest.mark.parametrize("mu", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.01])
def test_epsilon_is_the_least_at_which_the_divergence_is_delta(mu: float, delta: float) -> None:
    epsilon = gaussian_epsilon(mu, 1.0, delta)
    if epsilon == 0:
        assert 2 * norm.cdf(mu / 2) - 1 <= delta
    else:
        assert hockey_stick(mu, epsilon) == pytest.approx(delta, rel=1e-7)


@pytest.mark.parametrize(("mu", "exact", "textbook"), [(2.0, 9.997, 9.690), (0.5, 1.993, 2.422), (0.25, 0.926, 1.211)])
def test_epsilon_of_published_cases(mu: float, exact: float, textbook: float) -> None:
    assert gaussian_epsilon(mu, 1.0, 1e-5) == pytest.approx(exact, abs=6e-4)
    assert textbook_gaussian_epsilon(mu, 1.0, 1e-5) == pytest.approx(textbook, abs=6e-4)


def test_the_textbook_formula_claims_privacy_that_is_not_there() -> None:
    claimed = textbook_gaussian_epsilon(2.0, 1.0, 1e-5)
    assert claimed < gaussian_epsilon(2.0, 1.0, 1e-5)
    assert hockey_stick(2.0, claimed) > 1.2e-5


distances = st.floats(1e-3, 1e3)
deltas = st.floats(1e-12, 0.5)


@given(distances, st.floats(1e-2, 1e2), deltas)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_sigma_and_epsilon_undo_each_other(distance: float, sigma: float, delta: float) -> None:
    epsilon = gaussian_epsilon(distance, sigma, delta)
    assume(epsilon > 0)
    assert gaussian_sigma(distance, epsilon, delta) == pytest.approx(sigma, rel=1e-6)


@given(distances, st.floats(0, 1e4), deltas)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_sigma_is_the_least_that_will_do(distance: float, epsilon: float, delta: float) -> None:
    sigma = gaussian_sigma(distance, epsilon, delta)
    assume(sigma < 1e8 * distance)
    assert gaussian_delta(distance, sigma, epsilon) <= delta * (1 + 1e-6)
    assert gaussian_delta(distance, sigma * 0.999, epsilon) > delta


@given(distances, distances, deltas, deltas)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_epsilon_grows_with_distance_and_falls_with_delta(a: float, b: float, delta: float, other: float) -> None:
    near, far = sorted((a, b))
    assert gaussian_epsilon(near, 1.0, delta) <= gaussian_epsilon(far, 1.0, delta) * (1 + 1e-9)
    few, many = sorted((delta, other))
    assert gaussian_epsilon(a, 1.0, many) <= gaussian_epsilon(a, 1.0, few) * (1 + 1e-9)


def test_gaussian_epsilon_at_its_ends() -> None:
    assert gaussian_epsilon(0.0, 1.0, 1e-5) == 0
    assert gaussian_epsilon(0.0, 1.0, 0.0) == 0
    assert gaussian_epsilon(1.0, 1.0, 0.0) == math.inf
    assert gaussian_epsilon(math.inf, 1.0, 1e-5) == math.inf
    assert gaussian_delta(0.0, 1.0, 0.0) == 0
    assert gaussian_delta(math.inf, 1.0, 9.0) == 1
    # total variation alone: ε is 0 from there on
    assert gaussian_epsilon(0.5, 1.0, 2 * norm.cdf(0.25) - 1 + 1e-12) == 0
    assert gaussian_epsilon(0.5, 1.0, 2 * norm.cdf(0.25) - 1 - 1e-6) > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: gaussian_epsilon(1.0, 0.0, 1e-5),
        lambda: gaussian_epsilon(1.0, 1.0, 1.0),
        lambda: gaussian_epsilon(-1.0, 1.0, 1e-5),
        lambda: gaussian_epsilon(math.nan, 1.0, 1e-5),
        lambda: gaussian_sigma(1.0, math.inf, 1e-5),
        lambda: gaussian_sigma(1.0, 1.0, 0.0),
        lambda: gaussian_delta(1.0, 1.0, -1.0),
        lambda: laplace_scale(1.0, 0.0),
        lambda: compose(Noise("laplace", 1.0), 0),
        lambda: epsilon_lower_bound(1.5, 10),
        lambda: local_epsilon(Region(3, l2=1.0), Noise("gaussian", (1.0, 2.0)), delta=1e-5),
    ],
)
def test_nonsense_is_refused(call) -> None:
    with pytest.raises(ValueError):
        call()


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0])
def test_laplace_epsilon_is_the_largest_log_ratio_of_densities(scale: float) -> None:
    z = np.linspace(-5, 5, 1001)
    ratio = (np.abs(z - 1.5) - np.abs(z)) / scale
    assert laplace_epsilon(1.5, scale) == pytest.approx(ratio.max())
    assert laplace_scale(1.5, laplace_epsilon(1.5, scale)) == pytest.approx(scale)


@pytest.mark.parametrize(("scale", "epsilon"), [(0.1, 10_000), (0.5, 2_000), (1.0, 1_000)])
def test_laplace_noise_on_500_tanh_numbers(scale: float, epsilon: float) -> None:
    region = Region(500, sides=(2.0,) * 500)
    assert local_epsilon(region, Noise("laplace", scale), delta=0.0) == pytest.approx(epsilon)


@pytest.mark.parametrize(("radius_over_sigma", "epsilon"), [(4.0, 65), (1 / 0.35, 40), (2.0, 24)])
def test_epsilon_of_a_clipped_release(radius_over_sigma: float, epsilon: float) -> None:
    noise = Noise("gaussian", 1 / radius_over_sigma)
    assert local_epsilon(BALL, noise, delta=1e-5) == pytest.approx(epsilon, abs=0.5)


@pytest.mark.parametrize(("radius_over_sigma", "epsilon"), [(2.88, 27), (3.72, 38), (5.0, 59)])
def test_epsilon_of_a_hull(radius_over_sigma: float, epsilon: float) -> None:
    region = Region(10, hull=10, hull_radius=radius_over_sigma)
    assert local_epsilon(region, Noise("gaussian", 1.0), delta=1e-5) == pytest.approx(epsilon, abs=0.6)


def test_scales_of_each_number_count_where_a_box_is_known() -> None:
    box = Region(2, sides=(1.0, 4.0))
    laplace, gaussian = Noise("laplace", (0.5, 2.0)), Noise("gaussian", (0.5, 2.0))
    assert local_epsilon(box, laplace, delta=0.0) == pytest.approx(1 / 0.5 + 4 / 2)
    assert local_epsilon(box, gaussian, delta=1e-5) == gaussian_epsilon(math.hypot(2, 2), 1.0, 1e-5)
    # a ball may lie along the number with the least noise
    ball = Region(2, l2=1.0)
    assert local_epsilon(ball, gaussian, delta=1e-5) == gaussian_epsilon(2.0, 0.5, 1e-5)
    assert local_epsilon(ball, laplace, delta=0.0) == pytest.approx(2 * math.sqrt(2) / 0.5)
    both = dataclasses.replace(box, l2=0.1)
    assert local_epsilon(both, gaussian, delta=1e-5) == gaussian_epsilon(0.2, 0.5, 1e-5)


def test_what_nothing_bounds_is_infinite() -> None:
    unbounded = Region(4, log2_points=8.0)
    assert local_epsilon(BALL, None, delta=1e-5) == math.inf
    assert local_epsilon(unbounded, Noise("gaussian", 1.0), delta=1e-5) == math.inf
    assert local_epsilon(unbounded, Noise("laplace", 1.0), delta=1e-5) == math.inf
    assert local_epsilon(unbounded, Noise("response", 2.0), delta=0.0) == 2.0


@pytest.mark.parametrize("noise", [None, Noise("laplace", 1.0), Noise("gaussian", 1.0), Noise("response", 9.0)])
def test_a_release_that_never_changes_gives_nothing_away(noise: Noise | None) -> None:
    assert local_epsilon(Region(3, log2_points=0.0), noise, delta=0.0, queries=9) == 0


def test_repeats_add_up() -> None:
    box = Region(2, sides=(1.0, 4.0))
    for law in ("laplace", "response"):
        noise = Noise(law, 0.7)  # type: ignore[arg-type]
        once = local_epsilon(box, noise, delta=0.0)
        assert local_epsilon(box, noise, delta=0.0, queries=5) == pytest.approx(5 * once)
    noise = Noise("gaussian", (0.7, 2.0))
    assert local_epsilon(box, noise, delta=1e-5, queries=9) == pytest.approx(
        local_epsilon(box, Noise("gaussian", (0.7 / 3, 2.0 / 3)), delta=1e-5)
    )


def test_composed_gaussians_have_the_divergence_of_the_joint_release() -> None:
    """Four releases along a line of distance μ are one release at distance 2μ: the joint law's log ratio is N."""
    mu, queries, epsilon = 0.6, 4, 1.3
    z = np.random.default_rng(0).normal(mu, 1, (400_000, queries))
    log_ratio = (mu * z - mu * mu / 2).sum(1)
    excess = -np.expm1(np.minimum(epsilon - log_ratio, 0))
    expected = gaussian_delta(mu, compose(Noise("gaussian", 1.0), queries).smallest, epsilon)
    assert excess.mean() == pytest.approx(expected, abs=4 * excess.std() / math.sqrt(len(z)))


@given(st.floats(0.01, 30), st.integers(2, 10_000))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_audit_undoes_the_ceiling(epsilon: float, n: int) -> None:
    rate = pure_ceiling(epsilon, n)
    assume(rate < 1 - 1e-9)
    assert epsilon_lower_bound(rate, n) == pytest.approx(epsilon, rel=1e-5, abs=1e-9)


def test_the_audit_at_its_ends() -> None:
    assert epsilon_lower_bound(0.01, 100) == 0
    assert epsilon_lower_bound(0.0, 100) == 0
    assert epsilon_lower_bound(1.0, 1) == 0
    assert epsilon_lower_bound(1.0, 2) == math.inf
