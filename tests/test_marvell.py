"""Marvell's noise against a numerical search over all four variances, sampled divergences, and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from unsmash.marvell import Law, Model, area_bound, divergence, solve


def drawn(seed: int) -> Model:
    rng = np.random.default_rng(seed)
    return Model(
        distance=10 ** rng.uniform(-2, 1),
        variances=(10 ** rng.uniform(-4, 0), 10 ** rng.uniform(-4, 0)),
        share=rng.uniform(0.05, 0.95),
        dimensions=int(rng.choice([1, 2, 5, 60])),
        power=10 ** rng.uniform(-2, 1.5),
    )


def spent(model: Model, law: Law) -> float:
    mean = [(1 - model.share) * pair[0] + model.share * pair[1] for pair in (law.along, law.across)]
    return mean[0] + (model.dimensions - 1) * mean[1]


def searched(model: Model, starts: int = 4) -> float:
    """The least sumKL that a search without any theory finds: the power shared out by a softmax of four numbers."""
    weights = np.array([1 - model.share, model.share])
    cost = np.concatenate([weights, weights * max(model.dimensions - 1, 1)])
    used = 4 if model.dimensions > 1 else 2

    def value(theta: np.ndarray) -> float:
        parts = np.exp(theta - theta.max())
        noise = np.zeros(4)
        noise[:used] = parts / parts.sum() * model.power / cost[:used]
        return divergence(model, (noise[0], noise[1]), (noise[2], noise[3]))

    rng = np.random.default_rng(1)
    options = {"maxiter": 3000, "xatol": 1e-8, "fatol": 1e-12, "adaptive": True}
    return min(
        minimize(value, rng.normal(size=used) * 3, method="Nelder-Mead", options=options).fun for _ in range(starts)
    )


@pytest.mark.parametrize("seed", range(12))
def test_no_search_finds_a_noise_that_tells_less(seed: int) -> None:
    model = drawn(seed)
    law = solve(model)
    assert spent(model, law) == pytest.approx(model.power, rel=1e-6)
    assert min(*law.along, *law.across) >= 0
    assert law.divergence == pytest.approx(divergence(model, law.along, law.across))
    assert law.divergence <= searched(model) * (1 + 1e-6) + 1e-12
    assert law.divergence <= divergence(model, (0, 0), (0, 0))
    even = model.power / model.dimensions
    assert law.divergence <= divergence(model, (even, even), (even, even)) + 1e-12


def test_more_power_never_tells_more() -> None:
    for seed in range(6):
        one = drawn(seed)
        powers = [0.1, 0.3, 1.0, 3.0, 10.0, 100.0]
        found = [
            solve(Model(one.distance, one.variances, one.share, one.dimensions, power)).divergence for power in powers
        ]
        assert all(more <= less + 1e-12 for less, more in itertools.pairwise(found))


@pytest.mark.parametrize(("distance", "power"), [(3.0, 2.0), (0.1, 5.0), (7.0, 0.5)])
def test_equal_classes_of_one_gradient_each_have_a_closed_form(distance: float, power: float) -> None:
    """Half of each, no variance of their own: all noise goes along the difference, and sumKL is distance / power."""
    law = solve(Model(distance, (0.0, 0.0), 0.5, 9, power))
    assert law.divergence == pytest.approx(distance / power)
    assert law.along == pytest.approx((power, power), rel=1e-4)
    assert law.across == (0.0, 0.0)


def test_classes_that_differ_in_spread_alone_are_evened_out() -> None:
    """No distance, and power enough: nothing is left to tell, and no more is added across than the gap."""
    model = Model(0.0, (0.2, 0.5), 0.3, 4, 0.7 * 0.3 * 4 + 5)
    law = solve(model)
    assert law.divergence == pytest.approx(0, abs=1e-9)
    assert law.across == pytest.approx((0.3, 0.0), abs=1e-4)


def test_the_divergence_is_that_of_two_gaussians() -> None:
    """Against the mean log-ratio of scipy's densities over samples of each."""
    model, along, across = Model(1.5, (0.4, 0.7), 0.3, 3, 1.0), (0.5, 0.1), (0.2, 0.3)
    means = [np.zeros(3), np.array([math.sqrt(1.5), 0, 0])]
    laws = [
        stats.multivariate_normal(
            means[c], np.diag([model.variances[c] + along[c]] + [model.variances[c] + across[c]] * 2)
        )
        for c in (0, 1)
    ]
    total = 0.0
    for c in (0, 1):
        x = laws[c].rvs(200_000, random_state=c)
        total += (laws[c].logpdf(x) - laws[1 - c].logpdf(x)).mean()
    assert divergence(model, along, across) == pytest.approx(total, rel=0.02)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_attack_on_two_gaussians_keeps_to_the_bound(seed: int) -> None:
    """The likelihood ratio orders best of all: its AUC, sampled, is below what sumKL allows."""
    rng = np.random.default_rng(seed)
    distance, variances = rng.uniform(0.1, 2), (rng.uniform(0.5, 2), rng.uniform(0.5, 2))
    model = Model(distance, variances, 0.5, 1, 1.0)
    bound = area_bound(divergence(model, (0, 0), (0, 0)))
    laws = [stats.norm(0, variances[0] ** 0.5), stats.norm(distance**0.5, variances[1] ** 0.5)]
    x = np.concatenate([law.rvs(20_000, random_state=seed + place) for place, law in enumerate(laws)])
    found = roc_auc_score(np.arange(40_000) >= 20_000, laws[1].logpdf(x) - laws[0].logpdf(x))
    assert 0.5 < found <= bound + 0.005
    assert bound < 1


def test_what_cannot_be_hidden_is_infinite_and_what_is_alike_is_nothing() -> None:
    assert divergence(Model(1.0, (0.0, 0.0), 0.5, 3, 1.0), (0, 0), (0, 0)) == math.inf
    assert divergence(Model(0.0, (0.3, 0.3), 0.5, 3, 1.0), (0, 0), (0, 0)) == 0
    assert solve(Model(1.0, (0.5, 0.5), 0.5, 3, 0.0)).divergence == pytest.approx(2.0)
    assert [area_bound(x) for x in (0.0, 4.0, 9.0)] == [0.5, 1.0, 1.0]
