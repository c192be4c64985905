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
from torch import Tensor

from unsmash.attacks.celeba_decoder import MEAN, STD
from unsmash.metrics.identification import identify
from unsmash.metrics.images import ms_ssim, ms_ssim_fits, psnr, ssim
from unsmash.metrics.intervals import bootstrap
from unsmash.published import Recipe, fitted
from unsmash.records import Score
from unsmash.reproductions.record import Measure
from unsmash.scoring import mean_score, share_score

PIXELS = Recipe("", 1, 1, 1.0, MEAN, STD)
"""ImageNet's normalisation, there and back"""

BATCH = 128
"""Images that the published PSNR is taken over at a time"""

ENLARGED, JUDGED = 192, 64
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
    large = [_large(one[:JUDGED]) for one in (images, drawn, target, guess)]
    return {
        "formula": asdict(_of_batches(formula, len(images))),
        "psnr": asdict(measure(mean_score("psnr", "dB", "up", psnr(images, drawn)))),
        "ms_formula": asdict(measure(mean_score("ms_ssim", "", "up", ms_ssim(large[2], large[3])))),
        "ms_ssim": asdict(measure(mean_score("ms_ssim", "", "up", ms_ssim(large[0], large[1])))),
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


def _large(images: Tensor) -> Tensor:
    if ms_ssim_fits(*images.shape[-2:]):
        return images
    return torch.cat([fitted(part, (ENLARGED, ENLARGED)) for part in images.split(32)])
