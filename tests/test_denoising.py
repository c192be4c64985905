"""Non-local means against its definition, the unsharp mask against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.filters import unsharp_mask
from small import pictures

from unsmash.denoising import PATCH, REACH, denoise, nl_means, sharpen


def by_definition(image: np.ndarray, strength: float) -> np.ndarray:
    """One image [c, h, w], pixel by pixel."""
    near = PATCH // 2
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (near, near), (near, near)), mode="reflect")

    def patch(row: int, column: int) -> np.ndarray:
        return padded[:, row : row + PATCH, column : column + PATCH]

    out = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            total, weights = np.zeros(len(image)), 0.0
            for i in range(max(0, row - REACH), min(height, row + REACH + 1)):
                for j in range(max(0, column - REACH), min(width, column + REACH + 1)):
                    weight = np.exp(-np.mean((patch(row, column) - patch(i, j)) ** 2) / strength**2)
                    total, weights = total + weight * image[:, i, j], weights + weight
            out[:, row, column] = total / weights
    return out


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 5), (1, 3, 12)])
def test_nl_means_is_the_weighted_mean_of_like_patches(shape: tuple[int, int, int]) -> None:
    images = pictures(shape, 2)[0].double()
    wanted = np.stack([by_definition(image.numpy(), 0.3) for image in images])
    assert torch.allclose(nl_means(images, 0.3), torch.from_numpy(wanted), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 5), (1, 28, 20)])
def test_sharpening_is_the_unsharp_mask(shape: tuple[int, int, int]) -> None:
    images = pictures(shape, 2)[0].double()
    found = sharpen(images, sigma=1.0, amount=0.7)
    for image, ours in zip(images, found, strict=True):
        wanted = unsharp_mask(image.numpy(), radius=1.0, amount=0.7, preserve_range=True, channel_axis=0)
        assert np.allclose(ours.numpy(), wanted, atol=1e-12)


def test_noise_goes_and_images_stay_in_range() -> None:
    clean = torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    clean[..., 6:14] = 1
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    done = nl_means(noisy, 0.2)
    assert (done - clean).square().mean() < 0.3 * (noisy - clean).square().mean()
    assert denoise(noisy, 0.2).min() >= 0
    assert denoise(noisy, 0.2).max() <= 1


def test_a_flat_image_stays_as_it_is() -> None:
    flat = torch.full((1, 3, 6, 7), 0.4, dtype=torch.float64)
    assert torch.allclose(denoise(flat, 0.1), flat, atol=1e-12)
