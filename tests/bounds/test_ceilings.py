"""Ceilings against mechanisms that reach them, simulated attackers that must not pass them, and published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from unsmash.bounds.ceilings import (
    converse,
    gaussian_ceiling,
    hull_accuracy,
    message_ceiling,
    pure_ceiling,
    response_accuracy,
)
from unsmash.bounds.messages import hull_messages, response_messages


def map_rate(law: np.ndarray) -> float:
    """Best hit rate there is: law[i, z] is the chance that candidate i sends z."""
    return float(law.max(0).sum() / len(law))


def randomised_response(epsilon: float, n: int) -> np.ndarray:
    keep = np.where(np.eye(n) > 0, math.exp(epsilon), 1.0)
    return keep / keep.sum(1, keepdims=True)


def percent(*shares: float) -> list[float]:
    return [round(100 * share, 1) for share in shares]


def test_published_ceilings_among_500() -> None:
    assert percent(*(gaussian_ceiling(r, 500) for r in (1, 2, 4))) == [3.0, 19.0, 86.9]
    assert percent(*(pure_ceiling(e, 500) for e in (1, 3, 5, 6, 8))) == [0.5, 3.9, 22.9, 44.7, 85.7]
    assert percent(*(pure_ceiling(e, 100) for e in (1, 3, 5, 8))) == [2.7, 16.9, 60.0, 96.8]


@pytest.mark.parametrize(
    ("r", "cert", "hull10", "ceiling10", "ceiling100", "ceiling1000"),
    [
        (1.5965, 10, 1.5, 57.1, 20.5, 6.0),
        (2.88, 50, 5.0, 90.8, 64.2, 36.9),
        (3.7267, 80, 10.0, 98.0, 87.2, 68),
        (5.0, 98, 25.0, 99.9, 98.9, 95.1),
    ],
)
def test_published_mechanisms(
    r: float, cert: float, hull10: float, ceiling10: float, ceiling100: float, ceiling1000: float
) -> None:
    assert 100 * gaussian_ceiling(r, 500) == pytest.approx(cert, abs=0.5)
    assert 100 * message_ceiling(hull_messages(r, 10), 500) == pytest.approx(hull10, abs=0.06)
    assert 100 * hull_accuracy(r, 10) == pytest.approx(ceiling10, abs=0.1)
    assert 100 * hull_accuracy(r, 100) == pytest.approx(ceiling100, abs=0.15)
    assert 100 * hull_accuracy(r, 1000) == pytest.approx(ceiling1000, abs=0.25)


def test_published_randomised_response() -> None:
    assert percent(*(response_accuracy(4.02, k) for k in (10, 100, 1000))) == [86.1, 36.0, 5.3]
    assert percent(*(response_accuracy(6.21, k) for k in (10, 100, 1000))) == [98.2, 83.4, 33.3]


@pytest.mark.parametrize("n", [2, 7, 50])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.0])
def test_randomised_response_reaches_the_pure_ceiling(epsilon: float, n: int) -> None:
    law = randomised_response(epsilon, n)
    assert map_rate(law) == pytest.approx(pure_ceiling(epsilon, n), rel=1e-12)
    assert (law / law.sum(0)).max() == pytest.approx(pure_ceiling(epsilon, n), rel=1e-12)
    assert message_ceiling(response_messages(epsilon, math.log2(n)), n) == pytest.approx(map_rate(law), rel=1e-12)


@given(st.integers(2, 8), st.integers(2, 12), st.integers(0, 10_000))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_private_channel_passes_the_pure_ceiling(n: int, outcomes: int, seed: int) -> None:
    law = np.random.default_rng(seed).dirichlet(np.ones(outcomes) * 3, n)
    epsilon = float(np.log(law.max(0) / law.min(0)).max())
    assert map_rate(law) <= pure_ceiling(epsilon, n) + 1e-12
    assert (law / law.sum(0)).max() <= pure_ceiling(epsilon, n) + 1e-12
    assert map_rate(law) == pytest.approx(message_ceiling(math.log2(law.max(0).sum()), n))


@pytest.mark.parametrize("r", [0.0, 0.3, 1.0, 2.5, 6.0])
def test_two_opposite_points_reach_the_gaussian_ceiling(r: float) -> None:
    best = norm.cdf(r)  # the nearest of ±r
    assert gaussian_ceiling(r, 2) == pytest.approx(best, rel=1e-12)
    assert hull_accuracy(r, 2) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("r", [0.5, 1.5, 3.0])
@pytest.mark.parametrize(("n", "numbers"), [(3, 2), (20, 2), (20, 10)])
def test_the_best_attacker_stays_under_the_gaussian_ceiling(r: float, n: int, numbers: int) -> None:
    draw = np.random.default_rng(n)
    points = draw.normal(size=(n, numbers))
    points *= r / np.linalg.norm(points, axis=1, keepdims=True)
    truth = draw.integers(n, size=20_000)
    z = points[truth] + draw.normal(size=(len(truth), numbers))
    hits = ((z[:, None] - points) ** 2).sum(-1).argmin(1) == truth
    assert hits.mean() - 4 * hits.std() / math.sqrt(len(hits)) <= gaussian_ceiling(r, n)


@pytest.mark.parametrize(("r", "classes"), [(0.0, 10), (1.0, 3), (2.0, 10), (3.0, 30)])
def test_hull_accuracy_agrees_with_a_simulation(r: float, classes: int) -> None:
    draw = np.random.default_rng(classes)
    scores = draw.normal(size=(100_000, classes))  # those of K orthogonal code words; the simplex is these, centred
    scores[:, 0] += r * math.sqrt(classes / (classes - 1))
    right = scores.argmax(1) == 0
    assert hull_accuracy(r, classes) == pytest.approx(right.mean(), abs=4 * math.sqrt(0.25 / len(right)))
    assert hull_accuracy(0.0, classes) == pytest.approx(1 / classes, rel=1e-10)


@given(st.floats(0, 12), st.integers(2, 400))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_accuracy_never_passes_what_the_messages_allow(r: float, classes: int) -> None:
    """The converse: classes are candidates too, so K·accuracy ≤ W, and accuracy ≤ the ceiling among K."""
    accuracy = hull_accuracy(r, classes)
    assert accuracy <= message_ceiling(hull_messages(r, classes), classes) * (1 + 1e-9)
    assert accuracy <= gaussian_ceiling(r, classes) * (1 + 1e-9)


def test_converse_is_what_a_random_member_of_the_right_class_hits() -> None:
    labels = np.array([0] * 5 + [1] * 3 + [2] * 12)
    right = np.array([1.0] * 4 + [0.0] + [1.0] * 3 + [0.5] * 12)  # how often the server names each one's class
    hit = np.mean([right[i] / (labels == labels[i]).sum() for i in range(20)])
    average = np.mean([right[labels == c].mean() for c in range(3)])
    assert converse(3, average, 20) == pytest.approx(hit)
    assert converse(10, 0.96, 500) == pytest.approx(0.0192)
    assert converse(10, 0.96, 4) == 1


@given(st.floats(0, 800), st.integers(1, 10**9))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_ceilings_lie_between_chance_and_one(size: float, n: int) -> None:
    for ceiling in (pure_ceiling, gaussian_ceiling, message_ceiling):
        assert 1 / n * (1 - 1e-9) <= ceiling(size, n) <= 1
        assert ceiling(size, n) <= ceiling(size + 0.5, n) + 1e-12
        assert ceiling(math.inf, n) == 1
        assert ceiling(0.0, n) == pytest.approx(1 / n)


def test_one_class_is_always_right() -> None:
    assert hull_accuracy(1.0, 1) == 1
    assert response_accuracy(1.0, 1) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: pure_ceiling(-1.0, 10),
        lambda: pure_ceiling(math.nan, 10),
        lambda: pure_ceiling(1.0, 0),
        lambda: gaussian_ceiling(-1.0, 10),
        lambda: message_ceiling(-1.0, 10),
        lambda: converse(10, 1.2, 500),
        lambda: hull_accuracy(math.inf, 10),
    ],
)
def test_nonsense_is_refused(call) -> None:
    with pytest.raises(ValueError):
        call()
