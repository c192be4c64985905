"""PSNR and MS-SSIM as the course project takes them, on normalised tensors, and as they are.

The peak of 255 belongs to pixels from 0 to 255. Tensors normalised by ImageNet's mean and deviation span about 4.7, so
every image, an all-grey one too, is credited with 48 dB before its error counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from unsmash.attacks.celeba_decoder import MEAN, STD
from unsmash.metrics.identification import identify
from unsmash.metrics.images import ms_ssim_fits, psnr, ssim
from unsmash.metrics.intervals import bootstrap
from unsmash.published import Recipe, fitted
from unsmash.records import Score
from unsmash.reproductions.record import Measure
from unsmash.scoring import mean_score, share_score

PIXELS = Recipe("", 1, 1, 1.0, MEAN, STD)
"""ImageNet's normalisation, there and back"""

BATCH = 128
"""Images that the published PSNR is taken over at a time"""

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's five scales, the finest first"""

ENLARGED, JUDGED = 176, 64
"""Side to which smaller images are enlarged for MS-SSIM's five scales, and images it is taken of"""


def published_psnr(truth: Tensor, guess: Tensor) -> Tensor:
    """10 log₁₀(255² / MSE) of normalised tensors [n, c, h, w], one figure a batch of 128: [batches], in dB."""
    pairs = zip(truth.split(BATCH), guess.split(BATCH), strict=True)
    errors = torch.stack([(a.double() - b.double()).square().mean() for a, b in pairs])
    return 20 * math.log10(255) - 10 * errors.log10()


def true_psnr(published: float) -> float:
    """What a figure of that formula says of images in [0, 1]: the peak is 1, and a normalised unit is a deviation.

    >>> round(true_psnr(48.6), 1)
    13.4
    """
    deviation = math.sqrt(sum(one * one for one in STD) / len(STD))
    return published - 20 * math.log10(255) - 20 * math.log10(deviation)


def clipped(images: Tensor) -> Tensor:
    """The best that a decoder can draw whose last layer is a ReLU on normalised pixels, in those units."""
    return PIXELS.pixels(images).clamp(min=0)


def measured(images: Tensor, guess: Tensor) -> dict[str, dict[str, Any]]:
    """Figures of a guess in normalised units [n, 3, h, w] at images in [0, 1]: as plain data, for a step to keep.

    formula, ms_formula: as published; psnr, ms_ssim, ssim, identification: of images in [0, 1].
    """
    drawn, target = PIXELS.images(guess).clamp(0, 1), PIXELS.pixels(images)
    formula = published_psnr(target, guess).tolist()
    return {
        "formula": asdict(_of_batches(formula, len(images))),
        "psnr": asdict(measure(mean_score("psnr", "dB", "up", psnr(images, drawn)))),
        "ms_formula": asdict(measure(mean_score("ms_ssim", "", "up", _by_scales(target, guess)))),
        "ms_ssim": asdict(measure(mean_score("ms_ssim", "", "up", _by_scales(images, drawn)))),
        "ssim": asdict(measure(mean_score("ssim", "", "up", ssim(images, drawn)))),
        "identification": asdict(measure(share_score("identification", identify(drawn, images).hits), 100)),
    }


def read(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Measure]:
    """What `measured` gave, as measures."""
    return {name: Measure(**one) for name, one in figures.items()}


def measure(score: Score, factor: float = 1.0) -> Measure:
    """A score with its interval; shares are written as per cent."""
    return Measure(factor * score.mean, factor * score.low, factor * score.high, score.n)


def _of_batches(values: list[float], n: int) -> Measure:
    low, high = bootstrap(values) if len(values) > 1 else (None, None)
    return Measure(sum(values) / len(values), low, high, n)


def multi_scale(truth: Tensor, guess: Tensor) -> Tensor:
    """MS-SSIM with data range 1 as pytorch-msssim takes it: whole windows only, channel by channel: [n].

    Twice [n, c, h, w] of at least 176 pixels a side. That package's own windows, since the published figure is its.
    """
    a, b, found = truth.double(), guess.double(), []
    for scale, weight in enumerate(SCALES, 1):
        mean_a, mean_b, aa, bb, ab = (_blurred(part) for part in (a, b, a * a, b * b, a * b))
        spread = aa - mean_a * mean_a + bb - mean_b * mean_b
        likeness = (2 * (ab - mean_a * mean_b) + 0.03**2) / (spread + 0.03**2)
        if scale == len(SCALES):
            likeness = likeness * (2 * mean_a * mean_b + 0.01**2) / (mean_a * mean_a + mean_b * mean_b + 0.01**2)
        found.append(likeness.mean((2, 3)).clamp(min=0) ** weight)
        a, b = (nn.functional.avg_pool2d(part, 2, padding=[side % 2 for side in part.shape[2:]]) for part in (a, b))
    return torch.stack(found).prod(0).mean(1)


def _blurred(images: Tensor) -> Tensor:
    """Each channel under a Gaussian window of 11 × 11 pixels, whole windows only: two matrix products."""
    taps = torch.exp(-torch.arange(-5, 6, dtype=torch.float64).square() / (2 * 1.5**2))
    rows, columns = (torch.zeros(side - 10, side, dtype=torch.float64) for side in images.shape[2:])
    for window in (rows, columns):
        for place in range(len(window)):
            window[place, place : place + 11] = taps / taps.sum()
    return rows @ images @ columns.T


def _by_scales(truth: Tensor, guess: Tensor) -> Tensor:
    """MS-SSIM of the first images, a few at a time; small ones are enlarged."""
    parts = []
    for pair in zip(truth[:JUDGED].split(8), guess[:JUDGED].split(8), strict=True):
        large = pair if ms_ssim_fits(*truth.shape[-2:]) else [fitted(one, (ENLARGED, ENLARGED)) for one in pair]
        parts.append(multi_scale(*large))
    return torch.cat(parts)
