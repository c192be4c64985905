"""Intervals against scipy, and against the coverage they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from unsmash.metrics.intervals import bootstrap, share_interval, wilson


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_wilson_agrees_with_scipy(case: tuple[int, int]) -> None:
    hits, n = case
    expected = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    low, high = wilson(hits, n)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= hits / n <= high <= 1


def test_wilson_of_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_takes_shared_hits() -> None:
    (before, _), (between, _), (after, _) = wilson(3, 20), wilson(3.5, 20), wilson(4, 20)
    assert before < between < after


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_wilson_covers_the_truth_about_as_often_as_it_says(share: float) -> None:
    n = 200
    hits = np.random.default_rng(5).binomial(n, share, size=2000)
    covered = np.mean([low <= share <= high for low, high in (wilson(h, n) for h in hits)])
    assert 0.92 < covered < 0.98


def test_bootstrap_covers_the_mean_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(11)
    trials = 50
    covered = 0
    for trial in range(trials):
        low, high = bootstrap(draw.exponential(2.0, size=100).tolist(), seed=trial)
        covered += low <= 2.0 <= high
    # 95 % of 50 within three standard errors, and percentile intervals of skew data run a little short
    assert covered / trials > 0.95 - 0.02 - 3 * math.sqrt(0.95 * 0.05 / trials)


def test_bootstrap_is_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(2).normal(size=400)
    low, high = bootstrap(values.tolist())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high


def test_bootstrap_is_the_same_every_time() -> None:
    values = np.random.default_rng(2).normal(size=50).tolist()
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values, seed=1) != bootstrap(values)


def test_bootstrap_of_equal_values_is_a_point() -> None:
    assert bootstrap([0.25] * 30) == (0.25, 0.25)


def test_bootstrap_over_seeds_takes_in_what_the_seeds_vary() -> None:
    victims = np.random.default_rng(3).normal(size=100)
    apart = [(victims + shift).tolist() for shift in (-1.0, 0.0, 1.0)]
    alike = [victims.tolist()] * 3
    wide, narrow = bootstrap(apart), bootstrap(alike)
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    # seeds that agree add no victims: the interval is that of one seed
    single = bootstrap(victims.tolist())
    assert narrow[1] - narrow[0] == pytest.approx(single[1] - single[0], rel=0.1)


@given(st.lists(st.lists(st.booleans(), min_size=25, max_size=25), min_size=1, max_size=4))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_share_interval_contains_wilson_and_the_bootstrap(table: list[list[bool]]) -> None:
    hits = [[float(hit) for hit in row] for row in table]
    low, high = share_interval(hits)
    wilson_low, wilson_high = wilson(float(np.mean(hits)) * 25, 25)
    assert low <= wilson_low + 1e-12
    assert high >= wilson_high - 1e-12
    if len(hits) > 1:
        other_low, other_high = bootstrap(hits)
        assert low == min(wilson_low, other_low)
        assert high == max(wilson_high, other_high)
    else:
        assert (low, high) == pytest.approx((wilson_low, wilson_high))


def test_more_seeds_never_pass_for_more_victims() -> None:
    hits = [float(victim < 20) for victim in range(100)]
    one, many = share_interval([hits]), share_interval([hits] * 10)
    assert many[0] <= one[0]
    assert many[1] >= one[1]
