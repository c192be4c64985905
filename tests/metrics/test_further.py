"""Metrics on demand against scipy, scikit-learn and the paper's own loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from scipy.stats import entropy, pearsonr
from sklearn.metrics import mean_absolute_error
from torch import Tensor

from unsmash.metrics.base import Metric
from unsmash.metrics.further import BINS, CORRELATION, FURTHER, MAE, NMI, VIF
from unsmash.metrics.images import MS_SSIM, MSE, PSNR, SSIM, ms_ssim_fits

SHAPES = [(1, 8, 8), (3, 12, 9), (1, 28, 28), (3, 48, 41)]


def pairs(shape: tuple[int, ...], n: int = 4) -> tuple[Tensor, Tensor]:
    """Blocky images, and guesses at them with more noise from one to the next, in [0, 1]."""
    draw = np.random.default_rng([*shape])
    c, h, w = shape
    truth = np.kron(draw.uniform(0, 1, (n, c, -(-h // 4), -(-w // 4))), np.ones((4, 4)))[:, :, :h, :w]
    noise = np.linspace(0.05, 0.4, n)[:, None, None, None] * draw.normal(size=truth.shape)
    return torch.tensor(truth, dtype=torch.float32), torch.tensor(np.clip(truth + noise, 0, 1), dtype=torch.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_error_and_correlation_agree_with_other_libraries(shape: tuple[int, ...]) -> None:
    truth, guess = pairs(shape)
    rows = [(a.flatten().double().numpy(), b.flatten().double().numpy()) for a, b in zip(truth, guess, strict=True)]
    assert MAE(truth, guess).tolist() == pytest.approx([mean_absolute_error(a, b) for a, b in rows], rel=1e-12)
    assert CORRELATION(truth, guess).tolist() == pytest.approx([pearsonr(a, b)[0] for a, b in rows], rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mutual_information_is_that_of_the_joint_histogram(shape: tuple[int, ...]) -> None:
    truth, guess = pairs(shape)
    expected = []
    for a, b in zip(truth.double().numpy(), guess.double().numpy(), strict=True):
        joint = np.histogram2d(a.ravel(), b.ravel(), bins=BINS)[0]
        expected.append((entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint.ravel()))
    assert NMI(truth, guess).tolist() == pytest.approx(expected, rel=1e-9)


def paper_vif(truth: np.ndarray, guess: np.ndarray) -> float:
    """Sheikh & Bovik's pixel-domain VIF of one grey image on [0, 255], as their formulas read."""
    told = known = 0.0
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        ticks = np.arange(size) - size // 2
        window = np.exp(-(ticks[:, None] ** 2 + ticks[None] ** 2) / (2 * (size / 5) ** 2))
        window /= window.sum()
        if scale:
            truth, guess = (convolve2d(image, window, "valid")[::2, ::2] for image in (truth, guess))
        mean_t, mean_g = convolve2d(truth, window, "valid"), convolve2d(guess, window, "valid")
        var_t = np.maximum(convolve2d(truth * truth, window, "valid") - mean_t**2, 0)
        var_g = np.maximum(convolve2d(guess * guess, window, "valid") - mean_g**2, 0)
        shared = convolve2d(truth * guess, window, "valid") - mean_t * mean_g
        gain = np.maximum(shared / (var_t + 1e-10), 0)
        rest = np.maximum(np.where(shared < 0, var_g, var_g - gain * shared), 1e-10)
        told += np.log10(1 + gain**2 * var_t / (rest + 2)).sum()
        known += np.log10(1 + var_t / 2).sum()
    return float(told / known)


@pytest.mark.parametrize("shape", [(1, 41, 41), (1, 48, 60), (3, 48, 41)], ids=str)
def test_vif_is_the_papers_on_eight_bit_values(shape: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(3)
    truth = torch.nn.functional.avg_pool2d(torch.rand(3, *shape, generator=draw), 3, 1, 1)  # no flat windows
    guess = (0.9 * truth + 0.02 * torch.randn(truth.shape, generator=draw)).clamp(0, 1)
    expected = [
        np.mean([paper_vif(255 * a, 255 * b) for a, b in zip(one.numpy(), other.numpy(), strict=True)])
        for one, other in zip(truth.double(), guess.double(), strict=True)
    ]
    assert VIF(truth, guess).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", FURTHER, ids=lambda metric: metric.name)
def test_identical_images_are_best_and_a_worse_guess_is_worse(metric: Metric) -> None:
    truth, guess = pairs((3, 48, 41))
    sign = 1 if metric.leak == "up" else -1
    best, measured = sign * metric(truth, truth), sign * metric(truth, guess)
    assert best.dtype == torch.float64
    assert (best >= measured).all()
    assert (measured.diff() < 0).all()  # more noise from one guess to the next
    top = {"mae": 0.0, "correlation": 1.0, "nmi": 2.0, "vif": 1.0}[metric.name]
    assert metric(truth, truth).tolist() == pytest.approx([top] * len(truth), abs=1e-9)


@pytest.mark.parametrize("metric", FURTHER, ids=lambda metric: metric.name)
def test_flat_images_give_numbers(metric: Metric) -> None:
    truth, _ = pairs((1, 44, 44))
    flat = torch.full_like(truth, 0.25)
    for a, b in ((truth, flat), (flat, truth), (flat, flat)):
        values = metric(a, b)
        assert values.shape == (len(truth),)
        assert values.isfinite().all()
        if metric.name != "mae":
            assert values.tolist() == pytest.approx([1.0 if metric.name == "nmi" else 0.0] * len(truth), abs=1e-6)


def test_least_sizes_are_what_the_libraries_take() -> None:
    assert [m.fits((1, 28, 28)) for m in (*FURTHER, MSE, PSNR, SSIM, MS_SSIM)] == [True] * 3 + [False] + [True] * 3 + [
        False
    ]
    for side in (40, 41):
        images = torch.rand(2, 1, side, 64, generator=torch.Generator().manual_seed(side))
        if VIF.fits((1, side, 64)):
            assert VIF(images, images).shape == (2,)
        else:
            with pytest.raises(ValueError, match="41"):
                VIF(images, images)
    assert all(MS_SSIM.fits((1, side, 300)) == ms_ssim_fits(side, 300) for side in range(170, 182))
