"""Distance correlation against a double loop, and the two forms against what each is known to see."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
import torch
from torch import Tensor

from unsmash.metrics.dependence import distance_correlation, distance_correlation_compat


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distances(x: Tensor, power: int = 1) -> list[list[float]]:
    points = x.tolist()
    return [[math.dist(a, b) ** power for b in points] for a in points]


def u_product(a: list[list[float]], b: list[list[float]]) -> float:
    """The bias-corrected squared distance covariance, times n(n−3): Székely & Rizzo 2014, term by term."""
    n = len(a)

    def centred(d: list[list[float]], i: int, j: int) -> float:
        return d[i][j] - sum(d[i]) / (n - 2) - sum(d[j]) / (n - 2) + sum(map(sum, d)) / ((n - 1) * (n - 2))

    return sum(centred(a, i, j) * centred(b, i, j) for i in range(n) for j in range(n) if i != j)


def v_product(a: list[list[float]], b: list[list[float]]) -> float:
    """The biased one, times n²: Székely et al. 2007."""
    n = len(a)

    def centred(d: list[list[float]], i: int, j: int) -> float:
        return d[i][j] - fmean(d[i]) - fmean(d[j]) + sum(map(sum, d)) / n**2

    return sum(centred(a, i, j) * centred(b, i, j) for i in range(n) for j in range(n))


def linear_cka(x: Tensor, z: Tensor) -> float:
    """Kornblith et al. 2019, from centred features and not from distances."""
    x, z = x - x.mean(0), z - z.mean(0)
    return float((z.T @ x).square().sum() / ((x.T @ x).square().sum() * (z.T @ z).square().sum()).sqrt())


def biased(x: Tensor, z: Tensor) -> float:
    """The usual, biased distance correlation, in numpy."""

    def centred(rows: np.ndarray) -> np.ndarray:
        d = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(-1))
        return np.asarray(d - d.mean(0) - d.mean(1)[:, None] + d.mean())

    a, b = centred(x.numpy()), centred(z.numpy())
    return float(np.sqrt((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())))


@pytest.mark.parametrize(("n", "d", "e"), [(5, 1, 1), (9, 3, 2), (31, 7, 4)])
@pytest.mark.parametrize("mix", [0.0, 0.7])
def test_both_forms_equal_a_double_loop(n: int, d: int, e: int, mix: float) -> None:
    x = normal(n, d, 1)
    z = mix * x[:, :1] + normal(n, e, 2)
    a, b = distances(x), distances(z)
    squared = u_product(a, b) / math.sqrt(u_product(a, a) * u_product(b, b))
    signed = math.copysign(math.sqrt(abs(squared)), squared)
    assert distance_correlation(x, z) == pytest.approx(signed, abs=1e-7)
    a, b = distances(x, 2), distances(z, 2)
    expected = math.sqrt(v_product(a, b) / math.sqrt(v_product(a, a) * v_product(b, b)))
    assert distance_correlation_compat(x, z) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("n", "d", "e"), [(20, 5, 3), (60, 2, 30), (15, 40, 40)])
def test_the_compatible_form_is_the_root_of_linear_cka(n: int, d: int, e: int) -> None:
    x = normal(n, d, 3)
    z = x @ normal(d, e, 4) + normal(n, e, 5)
    assert distance_correlation_compat(x, z) == pytest.approx(math.sqrt(linear_cka(x, z)), abs=1e-9)


@pytest.mark.parametrize("n", [30, 100, 300])
def test_independent_rows_give_about_zero_at_every_n_where_the_biased_form_does_not(n: int) -> None:
    pairs = [(normal(n, 20, 2 * seed), normal(n, 20, 2 * seed + 1)) for seed in range(30)]
    signed = [distance_correlation(x, z) for x, z in pairs]
    squared = [math.copysign(value * value, value) for value in signed]
    error = float(np.std(squared)) / math.sqrt(len(squared))
    assert abs(fmean(squared)) < 4 * error  # unbiased: the average is zero within its standard error
    assert min(squared) < 0 < max(squared)
    assert fmean(biased(x, z) for x, z in pairs) > 0.25


def test_only_the_biased_forms_move_with_n() -> None:
    def average(form: object, n: int) -> float:
        assert callable(form)
        return fmean(form(normal(n, 20, 2 * seed), normal(n, 20, 2 * seed + 1)) for seed in range(20))

    for form in (biased, distance_correlation_compat):
        assert average(form, 25) > 1.5 * average(form, 250)
    assert abs(average(distance_correlation, 25) - average(distance_correlation, 250)) < 0.1


def test_a_parabola_is_seen_by_distances_and_hardly_by_the_compatible_form() -> None:
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
    y = x.square()
    assert distance_correlation(x, y) > 0.4
    assert distance_correlation_compat(x, y) < 1e-3  # x and x² have no linear correlation at all


@pytest.mark.parametrize("form", [distance_correlation, distance_correlation_compat])
def test_both_forms_are_one_for_a_rotated_and_scaled_copy_and_symmetric(form: object) -> None:
    assert callable(form)
    x = normal(40, 6, 7)
    rotation, _ = torch.linalg.qr(normal(6, 6, 8))
    assert form(x, 3 * x @ rotation + 5) == pytest.approx(1, abs=1e-7)
    z = x + 2 * normal(40, 6, 9)
    assert form(x, z) == pytest.approx(form(z, x), abs=1e-12)
    assert form(x.reshape(40, 1, 2, 3), z.float().double()) == pytest.approx(form(x, z), abs=1e-5)


@pytest.mark.parametrize("form", [distance_correlation, distance_correlation_compat])
def test_a_constant_release_depends_on_nothing(form: object) -> None:
    assert callable(form)
    assert form(normal(20, 3, 1), torch.ones(20, 4)) == 0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_than_four_rows_say_nothing(n: int) -> None:
    assert distance_correlation(normal(n, 3, 1), normal(n, 2, 2)) == 0
    assert math.isfinite(distance_correlation_compat(normal(n, 3, 1), normal(n, 2, 2)))
