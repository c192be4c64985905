"""Metrics that an audit leaves out and `unsmash score` computes on demand.

Each gives identical images its best value, flat ones apart. That is why the universal quality index and the spatial
correlation coefficient are missing: on windows without contrast their common implementations give 0 to identical
images, so that a black background decides the figure.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unsmash.metrics.base import Metric
from unsmash.metrics.identification import centred_cosine
from unsmash.metrics.images import CHUNK

BINS = 100
"""Brightness bins of the mutual information, between each image's own extremes"""

PEAK = 255.0
"""VIF's noise is stated for 8-bit images: on [0, 1] the same constant drowns every picture"""


def mae(truth: Tensor, guess: Tensor) -> Tensor:
    """Mean absolute error of each guess: [n, c, h, w] twice → [n]."""
    return (truth.double() - guess.double()).abs().flatten(1).mean(1)


def correlation(truth: Tensor, guess: Tensor) -> Tensor:
    """Pearson's correlation of pixels, blind to brightness and contrast: → [n] in [−1, 1]; 0 for a flat image."""
    pairs = zip(truth.flatten(1).double(), guess.flatten(1).double(), strict=True)
    return torch.stack([centred_cosine(a[None], b[None])[0, 0] for a, b in pairs])


def nmi(truth: Tensor, guess: Tensor) -> Tensor:
    """Normalised mutual information (H(a) + H(b)) / H(a, b) of pixel values: → [n] from 1, independent, to 2.

    It sees any relation of brightness, an inverted image too. A flat image tells nothing: 1.
    """
    from skimage.metrics import normalized_mutual_information

    pairs = zip(truth.double().numpy(), guess.double().numpy(), strict=True)
    values = [
        float(normalized_mutual_information(a, b, bins=BINS)) if a.min() < a.max() and b.min() < b.max() else 1.0
        for a, b in pairs
    ]
    return torch.tensor(values, dtype=torch.float64)


def vif(truth: Tensor, guess: Tensor) -> Tensor:
    """Visual information fidelity in the pixel domain: → [n], 1 for identical images, 0 for nothing in common.

    Computed on [0, 255], where its noise variance of 2 belongs. A true image with a channel that has no contrast: 0.
    """
    from torchmetrics.functional.image import visual_information_fidelity

    parts = [
        visual_information_fidelity(g.double() * PEAK, t.double() * PEAK, reduction="none")
        for t, g in zip(truth.split(CHUNK), guess.split(CHUNK), strict=True)
    ]
    return torch.cat(parts).nan_to_num(0.0)


MAE = Metric("mae", mae, unit="pixel value", leak="down", source="data range [0, 1]")
CORRELATION = Metric("correlation", correlation, unit="", leak="up", source="Pearson, data range [0, 1]")
NMI = Metric("nmi", nmi, unit="", leak="up", source="Studholme et al. 1999, 100 bins between an image's extremes")
VIF = Metric("vif", vif, unit="", leak="up", source="Sheikh & Bovik 2006", data_range="[0, 255]", least=41)

FURTHER = (MAE, CORRELATION, NMI, VIF)
