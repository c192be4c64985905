"""Denoise and sharpen a batch of images: what the class inversion of Fredrikson et al. does after each descent."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

PATCH, REACH = 3, 3
"""Side of the compared patches, and how far away a pixel's likenesses are looked for, in pixels"""


def denoise(images: Tensor, strength: float) -> Tensor:
    """Non-local means (Buades et al. 2005), then an unsharp mask, kept in [0, 1]: [n, c, h, w] → the same."""
    return sharpen(nl_means(images, strength)).clamp(0, 1)


def nl_means(images: Tensor, strength: float) -> Tensor:
    """Each pixel becomes the mean of the pixels at most `REACH` away, weighted by how alike their patches are.

    The weight is exp(−d / strength²), d the patches' mean squared difference over all channels. Patches that reach
    over the border see it reflected; pixels beyond it are not averaged.
    """
    height, width = images.shape[-2:]
    near, edge = PATCH // 2, REACH + PATCH // 2
    # replicated beyond what one reflection gives, so that images of any size can be shifted
    padded = nn.functional.pad(nn.functional.pad(images, (near,) * 4, "reflect"), (REACH,) * 4, "replicate")
    inside = nn.functional.pad(images.new_ones(1, 1, height, width), (edge,) * 4)
    here = padded[..., REACH : REACH + height + 2 * near, REACH : REACH + width + 2 * near]
    total, weights = torch.zeros_like(images), torch.zeros_like(images[:, :1])
    for down in range(-REACH, REACH + 1):
        for right in range(-REACH, REACH + 1):
            there = padded[..., REACH + down :, REACH + right :][..., : here.shape[-2], : here.shape[-1]]
            apart = nn.functional.avg_pool2d((here - there).square().mean(1, keepdim=True), PATCH, stride=1)
            known = inside[..., edge + down :, edge + right :][..., :height, :width]
            weight = (-apart / strength**2).exp() * known
            total += weight * there[..., near : near + height, near : near + width]
            weights += weight
    return total / weights


def sharpen(images: Tensor, *, sigma: float = 1.0, amount: float = 1.0) -> Tensor:
    """Unsharp mask: what a Gaussian blur takes away is added once more, `amount` times."""
    rows = _blur(images.shape[-2], sigma).to(images)
    columns = _blur(images.shape[-1], sigma).to(images)
    return images + amount * (images - rows @ images @ columns.T)


@functools.cache
def _blur(size: int, sigma: float) -> Tensor:
    """[size, size]: Gaussian taps up to 4 σ, those beyond an end mirrored about the edge, the edge pixel twice."""
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    taps = torch.exp(-offsets.double().square() / (2 * sigma**2))
    places = (torch.arange(size)[:, None] + offsets) % (2 * size)
    mirrored = torch.where(places < size, places, 2 * size - 1 - places)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, mirrored, (taps / taps.sum()).expand(size, -1))
