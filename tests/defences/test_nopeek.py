"""NoPeek: what is paid, and that paying for it makes images and smashed data depend less on each other."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from small import pictures, shallow
from torch import Tensor

from unsmash.defences.gaussian import GaussianShield
from unsmash.defences.nopeek import NoPeek
from unsmash.lab import Lab
from unsmash.metrics.dependence import distance_correlation
from unsmash.split import Shield, Shields, Site, flat
from unsmash.split.train import Training, train

GREY = (1, 8, 8)
X, Y = pictures(GREY, 400)


def armed(shapes: tuple[tuple[int, ...], ...] = ((96,),), **settings: Any) -> Shield:
    return NoPeek(**settings).arm(Site(shapes, GREY, 10), Lab()).train()


def rows(count: int, width: int = 96) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(width))


def paid(shield: Shield, x: Tensor, *z: Tensor) -> float:
    return shield.penalty(x, z, z, torch.zeros(len(x), dtype=torch.long)).item()


def squared_correlation(x: Tensor, z: Tensor) -> float:
    """Székely & Rizzo's estimator as they write it, centred matrices and all."""

    def centred(points: Tensor) -> np.ndarray:
        flat_points = points.flatten(1).double().numpy()
        d = np.sqrt(((flat_points[:, None] - flat_points[None]) ** 2).sum(2))
        n = len(d)
        u = d - d.sum(0) / (n - 2) - d.sum(1)[:, None] / (n - 2) + d.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(u, 0)
        return u

    a, b = centred(x), centred(z)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def linear_cka(x: Tensor, z: Tensor) -> float:
    a, b = (points.flatten(1).double() - points.flatten(1).double().mean(0) for points in (x, z))
    return float((a.T @ b).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm()))


def test_exact_pays_for_the_squared_distance_correlation() -> None:
    x = X[:64]
    for z in (rows(64), x.flatten(1) + 0.1 * rows(64, 64)):
        assert paid(armed(weight=3.0), x, z) == pytest.approx(3 * squared_correlation(x, z), abs=1e-5)


def test_compat_pays_for_the_root_of_linear_cka() -> None:
    x, z = X[:64], X[:64].flatten(1) + 0.1 * rows(64, 64)
    assert paid(armed(weight=2.0, estimator="compat"), x, z) == pytest.approx(2 * linear_cka(x, z) ** 0.5, abs=1e-5)


def test_what_does_not_depend_on_the_image_costs_nothing_unless_by_the_published_form() -> None:
    x, z = X[:64], rows(64)
    assert abs(paid(armed(weight=1.0), x, z)) < 0.1
    assert paid(armed(weight=1.0, estimator="compat"), x, z) > 0.3


def test_blocks_come_near_to_the_whole_batch() -> None:
    z = X.flatten(1) + 0.3 * rows(400, 64)
    whole, blocks = paid(armed(weight=1.0), X, z), paid(armed(weight=1.0, estimator="block", size=50), X, z)
    assert whole != blocks
    assert whole == pytest.approx(blocks, abs=0.05)


def test_several_tensors_count_as_one() -> None:
    whole = rows(32)
    apart = whole[:, :60].reshape(32, 15, 2, 2), whole[:, 60:]
    shapes = ((15, 2, 2), (36,))
    assert paid(armed(shapes), X[:32], *apart) == paid(armed(), X[:32], whole)


@pytest.mark.parametrize("estimator", ["exact", "block", "compat"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_batch_too_small_to_measure_costs_nothing_and_the_note_says_so(estimator: str, count: int) -> None:
    shield = armed(estimator=estimator)
    assert paid(shield, X[:count], rows(count)) == 0
    assert "no effect" in shield.note()
    assert paid(shield, X[:4], rows(4)) != 0
    assert "batches of 4 images" in shield.note()


def test_the_note_names_the_largest_batch_and_is_kept_with_the_weights() -> None:
    shield, again = armed(), armed()
    assert shield.note() == ""
    for count in (16, 64, 8):
        paid(shield, X[:count], rows(count))
    again.load_state_dict(copy.deepcopy(shield.state_dict()))
    assert "exact" in again.note()
    assert "batches of 64 images" in again.note()


def test_behind_a_noise_it_pays_for_the_noisy_numbers_only() -> None:
    x, y = X[:64], Y[:64]
    z = (x.flatten(1),)
    with Lab().seeded("order"):
        first = Shields([armed(weight=1.0), GaussianShield(1.0)])
        clean = first.penalties(x, first.steps(z), y)
        behind = Shields([GaussianShield(1.0), armed(weight=1.0)])
        noisy = behind.penalties(x, behind.steps(z), y)
    assert clean.item() == pytest.approx(1, abs=1e-4)
    assert noisy < 0.8 * clean


def test_the_device_half_learns_to_depend_less_on_the_image() -> None:
    def correlation(weight: float, estimator: str) -> tuple[float, float]:
        model = shallow("flat", GREY, armed(weight=weight, estimator=estimator))
        train(model, X, Y, Training(epochs=20, batch=50, rate=1e-2), Lab(seed=1))
        unseen, labels = pictures(GREY, 200, 400)
        with torch.no_grad():
            z = flat(model.smash(unseen))
            accuracy = (model(unseen).argmax(1) == labels).double().mean().item()
        return distance_correlation(unseen, z), accuracy

    plain, right = correlation(1e-6, "exact")
    assert right > 0.8
    for estimator in ("exact", "compat"):
        defended, still = correlation(2.0, estimator)
        assert defended < 0.85 * plain
        assert still > right - 0.05
