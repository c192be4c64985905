"""Pixel metrics, one number a victim. Images are [0, 1], so the peak is 1."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from unsmash.metrics.base import Metric

PSNR_CAP = 100.0
"""dB given to identical images, whose PSNR is infinite, so that a mean exists"""

TINY_SIGMA, SMALL_SIGMA, SIGMA = 0.4, 0.8, 1.5
"""Width of SSIM's Gaussian window in pixels: 3 × 3 under 7 px a side, 7 × 7 under 16 px, otherwise the usual 11 × 11"""

CHUNK = 256


def mse(truth: Tensor, guess: Tensor) -> Tensor:
    """Mean squared error of each guess: [n, c, h, w] twice → [n]."""
    return (truth.double() - guess.double()).square().flatten(1).mean(1)


def psnr(truth: Tensor, guess: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, peak 1, capped at `PSNR_CAP`.

    >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1)).round()
    tensor([20.], dtype=torch.float64)
    """
    return (-10 * mse(truth, guess).log10()).clamp(max=PSNR_CAP)


def window_sigma(height: int, width: int) -> float:
    """SSIM's Gaussian width for that image size, in pixels: whole windows must fit."""
    side = min(height, width)
    return SIGMA if side >= 16 else (SMALL_SIGMA if side >= 7 else TINY_SIGMA)


def ssim(truth: Tensor, guess: Tensor) -> Tensor:
    """Structural similarity, data range 1, Gaussian window (Wang et al. 2004): [n, c, h, w] twice → [n]."""
    return structural_similarity(truth.double(), guess.double())


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of each pair in [n, c, h, w], in the tensors' precision and differentiable, so that it serves as a loss too.

    Averaged over the places where the whole window fits, as in the paper and in scikit-image; torchmetrics' mean takes
    in a reflected border, which reads up to 0.1 higher on small images. The window is two banded matrices, rows and
    columns, so that blurring is two matrix products: 40 times faster than grouped convolutions here.
    """
    sigma = window_sigma(*a.shape[-2:])
    rows, columns = _window(a.shape[-2], sigma).to(a), _window(a.shape[-1], sigma).to(a)
    mean_a, mean_b, aa, bb, ab = (rows @ torch.stack([a, b, a * a, b * b, a * b]) @ columns.T).unbind(0)
    variances = (aa - mean_a * mean_a) + (bb - mean_b * mean_b)
    covariance = ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (likeness / ((mean_a * mean_a + mean_b * mean_b + c1) * (variances + c2))).flatten(1).mean(1)


@functools.cache
def _window(size: int, sigma: float) -> Tensor:
    """[size − 2r, size]: each row a Gaussian of radius r = ⌊3.5 σ + ½⌋ at its place, whole windows only."""
    radius = int(3.5 * sigma + 0.5)
    taps = torch.exp(-torch.arange(-radius, radius + 1, dtype=torch.float64).square() / (2 * sigma**2))
    window = torch.zeros(size - 2 * radius, size, dtype=torch.float64)
    for row in range(len(window)):
        window[row, row : row + len(taps)] = taps / taps.sum()
    return window


def ms_ssim(truth: Tensor, guess: Tensor) -> Tensor:
    """Multi-scale SSIM (Wang et al. 2003), five scales; `ms_ssim_fits` says whether the images are large enough."""
    return _chunked(multiscale_structural_similarity_index_measure, truth, guess, normalize="relu")


def ms_ssim_fits(height: int, width: int) -> bool:
    """Four halvings must leave room for an 11-pixel window: at least 176 pixels a side."""
    return min(height, width) // 2**4 >= 11


def _chunked(function: Any, truth: Tensor, guess: Tensor, **settings: Any) -> Tensor:
    parts = [
        function(g.double(), t.double(), data_range=1.0, reduction="none", **settings).reshape(len(t))
        for t, g in zip(truth.split(CHUNK), guess.split(CHUNK), strict=True)
    ]
    return torch.cat(parts)


MSE = Metric("mse", mse, unit="squared pixel value", leak="down", source="data range [0, 1]")
PSNR = Metric("psnr", psnr, unit="dB", leak="up", source="data range [0, 1], peak 1")
SSIM = Metric("ssim", ssim, unit="", leak="up", source="Wang et al. 2004, data range [0, 1]")
MS_SSIM = Metric("ms_ssim", ms_ssim, unit="", leak="up", source="Wang et al. 2003, data range [0, 1]", least=176)


def pixel_metrics(shape: tuple[int, ...]) -> tuple[Metric, ...]:
    """The pixel metrics that images of shape [c, h, w] allow."""
    return (MSE, PSNR, SSIM) + ((MS_SSIM,) if ms_ssim_fits(*shape[-2:]) else ())
