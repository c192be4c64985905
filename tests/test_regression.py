"""Ridge regression against scikit-learn, against itself in its two forms, and against the closed-form optimum."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.linear_model
import torch
from torch import Tensor

from unsmash.errors import UnsmashError
from unsmash.regression import PENALTIES, fit, out_of_fold


def rows(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(n: int, d: int, e: int = 3, noise: float = 0.5) -> tuple[Tensor, Tensor]:
    features = rows(n, d, 1) * torch.linspace(0.2, 3, d, dtype=torch.float64) + 2
    return features, features @ rows(d, e, 2) + noise * rows(n, e, 3) - 7


def absolute(features: Tensor, penalty: float) -> float:
    """scikit-learn's alpha for our penalty, which is relative to the mean of the features' sums of squares."""
    return penalty * float(((features - features.mean(0)) ** 2).sum(0).mean())


@pytest.mark.parametrize(("n", "d"), [(50, 8), (20, 20), (20, 60)], ids=["tall", "square", "wide"])
@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
def test_ridge_agrees_with_scikit_learn(n: int, d: int, penalty: float) -> None:
    features, targets = problem(n, d)
    reference = sklearn.linear_model.Ridge(alpha=absolute(features, penalty)).fit(features.numpy(), targets.numpy())
    fresh = rows(10, d, 4)
    expected = torch.from_numpy(np.asarray(reference.predict(fresh.numpy())))
    ours = fit(features, targets, penalty=penalty)
    assert torch.allclose(ours(fresh), expected, rtol=1e-8, atol=1e-8)
    weight = ours.weight if ours.basis is None else ours.basis.T @ ours.weight
    assert torch.allclose(weight, torch.from_numpy(np.asarray(reference.coef_)).T, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 10), (10, 60)], ids=["tall", "wide"])
def test_primal_and_dual_form_give_the_same_map(n: int, d: int) -> None:
    features, targets = problem(n, d)
    loading = absolute(features, 0.1)
    x, y, fresh = features - features.mean(0), targets - targets.mean(0), rows(7, d, 5)
    primal = torch.linalg.solve(x.T @ x + loading * torch.eye(d, dtype=torch.float64), x.T @ y)
    dual = x.T @ torch.linalg.solve(x @ x.T + loading * torch.eye(n, dtype=torch.float64), y)
    assert torch.allclose(primal, dual, atol=1e-9)
    ours = fit(features, targets, penalty=0.1)
    assert (ours.basis is not None) == (d > n)  # the smaller of the two systems is solved
    assert torch.allclose(ours(fresh), (fresh - features.mean(0)) @ primal + targets.mean(0), atol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(23, 4), (17, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize("folds", [2, 5])
def test_out_of_fold_never_sees_its_row(n: int, d: int, folds: int) -> None:
    features, targets = problem(n, d)
    guess = out_of_fold(features, targets, 0.1, folds)
    for row in range(n):
        spoilt = targets.clone()
        spoilt[row] += 1e6
        moved = (out_of_fold(features, spoilt, 0.1, folds) - guess).abs().amax(1)
        assert moved[row] < 1e-6  # rounding of a change of 1e6, in the form that takes all folds from one inverse
        assert (moved > 1).any()  # while rows of the other folds do see it


@pytest.mark.parametrize(("n", "d"), [(20, 6), (43, 9), (20, 50), (43, 90)], ids=str)
@pytest.mark.parametrize("folds", [5, 20])
@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_out_of_fold_equals_leaving_each_fold_out_by_hand(n: int, d: int, folds: int, penalty: float) -> None:
    features, targets = problem(n, d)
    guess = out_of_fold(features, targets, penalty, folds)
    size = -(-n // folds)
    for start in range(0, n, size):
        held = list(range(start, min(start + size, n)))
        kept = [row for row in range(n) if row not in held]
        alpha = absolute(features if d > n else features[kept], penalty)  # wide: one penalty for all folds
        model = sklearn.linear_model.Ridge(alpha=alpha).fit(features[kept].numpy(), targets[kept].numpy())
        expected = torch.from_numpy(np.asarray(model.predict(features[held].numpy())))
        assert torch.allclose(guess[held], expected, rtol=1e-6, atol=1e-6)


def test_wide_out_of_fold_is_as_exact_in_single_precision() -> None:
    features, targets = problem(80, 300)
    for penalty in PENALTIES:
        single = out_of_fold(features.float(), targets.float(), penalty).double()
        double = out_of_fold(features, targets, penalty)
        assert (single - double).abs().max() < 1e-3 * targets.std()


@pytest.mark.parametrize(("n", "d", "noise"), [(40, 30, 3.0), (200, 5, 0.0), (25, 80, 1.0), (60, 50, 20.0)])
def test_the_penalty_is_the_best_of_the_grid_on_the_held_out_fifth(n: int, d: int, noise: float) -> None:
    features, targets = problem(n, d, noise=noise)
    cut = n * 4 // 5
    errors = {}
    for penalty in PENALTIES:
        alpha = absolute(features[:cut], penalty)
        model = sklearn.linear_model.Ridge(alpha=alpha).fit(features[:cut].numpy(), targets[:cut].numpy())
        errors[penalty] = float(((model.predict(features[cut:].numpy()) - targets[cut:].numpy()) ** 2).mean())
    assert fit(features, targets).penalty == min(errors, key=errors.__getitem__)


def test_the_penalty_follows_the_noise() -> None:
    clean = fit(*problem(200, 5, noise=0.0)).penalty
    noise = fit(rows(60, 50, 1), rows(60, 3, 2)).penalty  # nothing to learn: shrink as far as the grid goes
    assert clean == min(PENALTIES)
    assert noise == max(PENALTIES)


def test_the_relative_penalty_does_not_care_about_the_features_unit() -> None:
    features, targets = problem(40, 6)
    fresh = rows(5, 6, 9)
    assert torch.allclose(fit(features, targets)(fresh), fit(features * 1000, targets)(fresh * 1000), atol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(300, 120), (120, 4000)], ids=["tall", "wide"])
def test_features_of_low_rank_in_single_precision_are_fitted_all_the_same(n: int, d: int) -> None:
    """A layer that widens leaves directions without spread: there the Gram matrix is rounding, of either sign."""
    hidden, spread = rows(n, 20, 1), rows(20, d, 2)
    features, targets = (100 * hidden @ spread).float(), (hidden @ rows(20, 3, 3)).float()
    for penalty in (None, *PENALTIES[:3]):
        linear = fit(features, targets, penalty=penalty)
        assert (linear(features) - targets).square().mean() < 1e-3 * targets.square().mean()
        held = out_of_fold(features, targets, linear.penalty)
        assert (held - targets).square().mean() < 1e-2 * targets.square().mean()


@pytest.mark.parametrize("draw", range(40))
def test_rows_that_are_all_alike_but_for_a_few_are_fitted(draw: int) -> None:
    """What one class sends where the label alone is sent: the same row again and again, and some that were misread."""
    generator = torch.Generator().manual_seed(draw)
    features = torch.randn(1, 9, generator=generator).repeat(140, 1)
    odd = torch.randperm(140, generator=generator)[: 1 + draw % 3]
    features[odd] = 3 * torch.randn(len(odd), 9, generator=generator)
    targets = torch.rand(140, 30, generator=generator)
    for penalty in (None, 1e-9):
        guess = fit(features, targets, penalty=penalty)(features)
        assert guess.isfinite().all()
        same = torch.ones(140, dtype=torch.bool)
        same[odd] = False
        assert (guess[same] - targets[same].mean(0)).abs().max() < 0.2


def test_constant_features_give_the_mean_of_the_targets() -> None:
    targets = rows(30, 2, 1)
    guess = fit(torch.ones(30, 4, dtype=torch.float64), targets)(torch.ones(3, 4, dtype=torch.float64))
    assert torch.allclose(guess, targets.mean(0).expand(3, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error_of_one_sentence(value: float) -> None:
    features, targets = problem(20, 4)
    features[3, 1] = value
    with pytest.raises(UnsmashError, match="not finite"):
        fit(features, targets)


def test_ridge_reaches_the_linear_gaussian_optimum_and_never_beats_it() -> None:
    """z = A x + noise with x normal: the best any attack can do is known, tr(Σ − ΣAᵀ(AΣAᵀ + σ²I)⁻¹AΣ)/d."""
    d, k, sigma, train, test = 64, 32, 0.3, 15_000, 8_000
    mix = rows(d, d, 1) / d**0.5
    a, root = rows(k, d, 2) / d**0.5, mix * torch.linspace(0.2, 2, d, dtype=torch.float64)
    covariance = root @ root.T
    inner = torch.linalg.inv(a @ covariance @ a.T + sigma**2 * torch.eye(k, dtype=torch.float64))
    optimum = torch.trace(covariance - covariance @ a.T @ inner @ a @ covariance).item() / d

    x = rows(train + test, d, 3) @ root.T
    z = x @ a.T + sigma * rows(train + test, k, 4)
    guess = fit(z[:train].float(), x[:train].float())(z[train:].float()).double()
    errors = (guess - x[train:]).square().mean(1)
    slack = 4 * errors.std().item() / test**0.5
    assert optimum - slack < errors.mean().item() < 1.02 * optimum
    assert errors.mean().item() < 0.8 * covariance.trace().item() / d  # there was something to learn
