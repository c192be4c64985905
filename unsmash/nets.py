"""Small blocks that several components share: normalisation, residual blocks, and a gentle jitter of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """(x − mean) / std per channel. The device half's first layer, so that pixels are [0, 1] everywhere outside."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] in [0, 1] → the same shape, roughly standardised."""
        return (x - self.mean) / self.std


class Residual(nn.Module):
    """Two 3 × 3 convolutions added to their input; optional BatchNorm, stride and widening by a 1 × 1 shortcut."""

    def __init__(self, width: int, out: int | None = None, *, stride: int = 1, norm: bool = False) -> None:
        super().__init__()
        out = out or width
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=not norm)
        self.norm1 = nn.BatchNorm2d(out) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=not norm)
        self.norm2 = nn.BatchNorm2d(out) if norm else nn.Identity()
        self.relu = nn.ReLU()
        plain = stride == 1 and out == width
        self.shortcut = nn.Identity() if plain else nn.Conv2d(width, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, width, h, w] → [n, out, h/stride, w/stride]."""
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return self.relu(y + self.shortcut(x))


def jitter(
    x: Tensor, generator: torch.Generator, *, degrees: float = 12, scale: float = 0.12, shift: float = 0.1
) -> Tensor:
    """A random small rotation, scaling, shear and shift of each image; `shift` is a share of half the image's side."""
    n = len(x)

    def draw(size: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * size

    angle, zoom = draw(degrees) * torch.pi / 180, 1 + draw(scale)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = torch.stack([cos, -sin + draw(scale), draw(shift), sin, cos, draw(shift)], 1).reshape(n, 2, 3)
    grid = nn.functional.affine_grid(rows.to(x), list(x.shape), align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False, padding_mode="border")
