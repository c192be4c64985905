"""Pixel metrics against scikit-image and against their definitions; wrong ranges are refused, not measured."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate1d
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from unsmash.errors import UnsmashError
from unsmash.metrics import images
from unsmash.metrics.images import MS_SSIM, MSE, PSNR, SSIM, ms_ssim_fits, pixel_metrics

SHAPES = [(1, 8, 8), (3, 8, 12), (1, 15, 40), (1, 16, 16), (3, 16, 20), (1, 28, 28), (3, 32, 32), (3, 41, 33)]
ALL = (MSE, PSNR, SSIM, MS_SSIM)


def pictures(shape: tuple[int, ...], n: int = 3, *, noise: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Blocky images and noisy, darkened guesses at them, both [n, c, h, w] in [0, 1]."""
    draw = np.random.default_rng([seed, *shape])
    c, h, w = shape
    coarse = draw.uniform(0, 1, (n, c, -(-h // 4), -(-w // 4)))
    truth = np.kron(coarse, np.ones((4, 4)))[:, :, :h, :w]
    guess = np.clip(0.9 * truth + noise * draw.normal(size=truth.shape), 0, 1)
    return torch.tensor(truth, dtype=torch.float32), torch.tensor(guess, dtype=torch.float32)


def reference_ssim(truth: Tensor, guess: Tensor) -> list[float]:
    small = min(truth.shape[-2:]) < 16
    return [
        structural_similarity(
            t.double().numpy(), g.double().numpy(), gaussian_weights=True, sigma=0.8 if small else 1.5,
            use_sample_covariance=False, data_range=1, channel_axis=0,
        )
        for t, g in zip(truth, guess, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mse_and_psnr_agree_with_scikit_image(shape: tuple[int, ...]) -> None:
    truth, guess = pictures(shape)
    pairs = list(zip(truth.double().numpy(), guess.double().numpy(), strict=True))
    assert MSE(truth, guess).tolist() == pytest.approx([mean_squared_error(t, g) for t, g in pairs], rel=1e-12)
    expected = [peak_signal_noise_ratio(t, g, data_range=1) for t, g in pairs]
    assert PSNR(truth, guess).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ssim_agrees_with_scikit_image(shape: tuple[int, ...]) -> None:
    truth, guess = pictures(shape)
    assert SSIM(truth, guess).tolist() == pytest.approx(reference_ssim(truth, guess), abs=1e-9)


def test_grey_ssim_agrees_with_scikit_image_on_plain_matrices() -> None:
    truth, guess = pictures((1, 24, 30))
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    pairs = zip(truth[:, 0].double().numpy(), guess[:, 0].double().numpy(), strict=True)
    expected = [structural_similarity(t, g, **settings) for t, g in pairs]
    assert SSIM(truth, guess).tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ssim_in_single_precision_serves_as_a_loss(shape: tuple[int, ...]) -> None:
    truth, guess = pictures(shape, n=5)
    single = images.structural_similarity(guess.float(), truth.float()).double()
    assert torch.allclose(single, SSIM(truth, guess), atol=1e-4)


def test_ssim_as_a_loss_has_the_gradient_of_finite_differences() -> None:
    truth, guess = pictures((1, 8, 9), n=2)
    guess = guess.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda g: images.structural_similarity(g, truth.double()), (guess,))


def test_metrics_are_one_number_a_victim_whatever_stands_beside_it() -> None:
    truth, guess = pictures((1, 8, 8), n=300)  # more than one chunk
    rows = torch.tensor([299, 0, 255, 256])
    for metric in (MSE, PSNR, SSIM):
        whole = metric(truth, guess)
        assert whole.shape == (300,)
        assert whole.dtype == torch.float64
        assert whole[rows].tolist() == pytest.approx(metric(truth[rows], guess[rows]).tolist(), abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 20), (1, 176, 176)], ids=str)
def test_identical_images_reach_the_best_value_of_every_metric(shape: tuple[int, ...]) -> None:
    truth, guess = pictures(shape, n=1)
    for metric in pixel_metrics(shape):
        perfect, flawed = metric(truth, truth.clone()), metric(truth, guess)
        best = {"mse": 0.0, "psnr": 100.0, "ssim": 1.0, "ms_ssim": 1.0}[metric.name]
        assert perfect.tolist() == pytest.approx([best] * len(truth), abs=1e-6)
        assert ((perfect > flawed) if metric.leak == "up" else (perfect < flawed)).all()


@pytest.mark.parametrize("metric", [MSE, PSNR, SSIM], ids=lambda metric: metric.name)
def test_direction_says_which_way_more_noise_moves_a_metric(metric: object) -> None:
    assert metric in ALL
    assert isinstance(metric, type(MSE))
    levels = [metric(*pictures((1, 28, 28), noise=noise)).mean().item() for noise in (0.02, 0.1, 0.3)]
    assert levels == sorted(levels, reverse=metric.leak == "up")


def reference_ms_ssim(truth: np.ndarray, guess: np.ndarray) -> float:
    """Wang et al. 2003 in numpy, of one grey image: contrast at four scales and SSIM at the fifth."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()

    def blur(image: np.ndarray) -> np.ndarray:
        return np.asarray(correlate1d(correlate1d(image, taps, axis=0, mode="mirror"), taps, axis=1, mode="mirror"))

    value = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        a, b = blur(truth), blur(guess)
        cov = blur(truth * guess) - a * b
        contrast = (2 * cov + 0.03**2) / (blur(truth**2) - a * a + blur(guess**2) - b * b + 0.03**2)
        luminance = (2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2)
        # the coarsest scale may be smaller than the window, so it alone keeps its mirrored border
        at_scale = (luminance * contrast).mean() if scale == 4 else contrast[5:-5, 5:-5].mean()
        value *= max(at_scale, 0.0) ** weight
        h, w = (side // 2 * 2 for side in truth.shape)
        truth, guess = (x[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3)) for x in (truth, guess))
    return float(value)


@pytest.mark.parametrize("side", [176, 181])
def test_ms_ssim_agrees_with_its_definition(side: int) -> None:
    truth, guess = pictures((1, side, side), n=1)
    pairs = zip(truth[:, 0].double().numpy(), guess[:, 0].double().numpy(), strict=True)
    expected = [reference_ms_ssim(t, g) for t, g in pairs]
    assert MS_SSIM(truth, guess).tolist() == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_is_left_out_where_five_scales_do_not_fit() -> None:
    for height, width in ((160, 300), (161, 300), (175, 175), (176, 176), (300, 176)):
        fits = ms_ssim_fits(height, width)
        assert [metric.name for metric in pixel_metrics((1, height, width))] == ["mse", "psnr", "ssim", "ms_ssim"][
            : 3 + fits
        ]
        # the rule is the library's, not our caution
        with nullcontext() if fits else pytest.raises(ValueError, match="must be larger"):
            MS_SSIM(*pictures((1, height, width), n=1))
    assert ms_ssim_fits(176, 176)


def test_peak_255_on_normalised_images_turns_13_decibels_into_48() -> None:
    """The field's 48.6 dB: images normalised as ImageNet's, error measured there, and 255 taken for the peak."""
    std = 0.225
    error = 10 ** (-13.4 / 20)  # a constant error that is 13.4 dB in pixels
    truth = torch.zeros(1, 1, 16, 16)
    guess = torch.full_like(truth, error)
    assert PSNR(truth, guess).item() == pytest.approx(13.4, abs=1e-5)
    inflated = 20 * math.log10(255 / (error / std))
    assert inflated == pytest.approx(48.6, abs=0.05)
    with pytest.raises(UnsmashError, match="clamp first"):
        PSNR((truth - 0.485) / std, (guess - 0.485) / std)


BAD = {
    "bytes": (torch.linspace(0, 255, 256).reshape(1, 1, 16, 16), r"\[0, 255\]"),
    "normalised": ((torch.linspace(0, 1, 256).reshape(1, 1, 16, 16) - 0.5) / 0.25, r"\[-2, 2\]"),
    "a little over": (torch.full((1, 1, 16, 16), 1.25), r"\[1\.25, 1\.25\]"),
    "a little under": (torch.full((1, 1, 16, 16), -0.125), r"\[-0\.125, -0\.125\]"),
    "nan": (torch.full((1, 1, 16, 16), float("nan")), r"\[nan, nan\]"),
    "one nan": (torch.zeros(1, 1, 16, 16).index_fill(2, torch.tensor([3]), float("nan")), "nan"),
    "infinite": (torch.full((1, 1, 16, 16), float("inf")), r"\[inf, inf\]"),
}


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
@pytest.mark.parametrize("case", BAD)
def test_other_ranges_are_refused_with_the_range_that_came(case: str, metric: object) -> None:
    assert isinstance(metric, type(MSE))
    images, told = BAD[case]
    fine = torch.full((1, 1, 16, 16), 0.5)
    with pytest.raises(UnsmashError, match=rf"^images lie in .*{told}.*defined on \[0, 1\]"):
        metric(images, fine)
    with pytest.raises(UnsmashError, match=rf"^guesses lie in .*{told}.*defined on \[0, 1\]"):
        metric(fine, images)


@pytest.mark.parametrize(
    ("truth", "guess"), [((2, 1, 8, 8), (2, 1, 8, 9)), ((2, 1, 8, 8), (1, 1, 8, 8)), ((8, 8), (8, 8))]
)
def test_other_shapes_are_refused_with_both_shapes(truth: tuple[int, ...], guess: tuple[int, ...]) -> None:
    with pytest.raises(UnsmashError) as caught:
        MSE(torch.zeros(truth), torch.zeros(guess))
    assert str(truth) in str(caught.value)
    assert str(guess) in str(caught.value)


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_mse_and_psnr_of_constant_images_follow_from_arithmetic(a: float, b: float) -> None:
    truth, guess = torch.full((1, 1, 8, 8), a, dtype=torch.float64), torch.full((1, 1, 8, 8), b, dtype=torch.float64)
    assert MSE(truth, guess).item() == pytest.approx((a - b) ** 2, abs=1e-15)
    psnr = PSNR(truth, guess).item()
    if abs(a - b) > 1e-5:
        assert psnr == pytest.approx(-20 * math.log10(abs(a - b)), abs=1e-6)
    else:
        assert psnr == 100.0
