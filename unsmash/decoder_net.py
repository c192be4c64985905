"""The residual decoder's network: from a release and its ridge image to an image, for any cut and image shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unsmash.nets import Residual
from unsmash.split.shield import Smashed


class DecoderNet(nn.Module):
    """(release, ridge image) → image, on a grid of half or a quarter of the image's side; any cut and image shape."""

    def __init__(
        self, cut_shapes: list[tuple[int, ...]], input_shape: tuple[int, ...], width: int, blocks: int
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        channels, height, width_px = input_shape
        self.factor = 2 if max(height, width_px) < 48 else 4
        self.grid = (-(-height // self.factor), -(-width_px // self.factor))
        cells = channels * self.factor**2
        self.image = nn.Conv2d(cells, width, 3, padding=1)
        self.stems = nn.ModuleList(_stem(shape, width, self.grid) for shape in cut_shapes)
        self.body = nn.Sequential(*[Residual(width) for _ in range(blocks)])
        self.out = nn.Conv2d(width, cells, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)
        self.scales = nn.ModuleList(_Standardise() for _ in cut_shapes)

    def standardise(self, release: Smashed) -> None:
        """Fix the mean and deviation by which each tensor of the release is scaled."""
        for scale, part in zip(self.scales, release, strict=True):
            assert isinstance(scale, _Standardise)
            scale.fix(part)

    def forward(self, release: Smashed, first: Tensor) -> Tensor:
        """The ridge image plus what the network adds: [n, c, h, w] in [0, 1]."""
        padded = self._pad(first)
        hidden = self.image(nn.functional.pixel_unshuffle(padded, self.factor))
        for scale, stem, part in zip(self.scales, self.stems, release, strict=True):
            hidden = hidden + stem(scale(part))
        added = nn.functional.pixel_shuffle(self.out(self.body(torch.relu(hidden))), self.factor)
        image = first + added[..., : first.shape[-2], : first.shape[-1]]
        # clamped, with the gradient let through: a page that is exactly white or black costs no loss, and none is stuck
        return image + (image.clamp(0, 1) - image).detach()

    def _pad(self, x: Tensor) -> Tensor:
        down, right = self.grid[0] * self.factor - x.shape[-2], self.grid[1] * self.factor - x.shape[-1]
        return nn.functional.pad(x, (0, right, 0, down), mode="replicate") if down or right else x


class _Standardise(nn.Module):
    """Takes off the mean and divides by the deviation, both over the whole tensor's channel."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def fix(self, part: Tensor) -> None:
        self.mean.copy_(part.float().mean())
        self.std.copy_(part.float().std().clamp(min=1e-6))

    def forward(self, part: Tensor) -> Tensor:
        return (part.float() - self.mean) / self.std


def _stem(shape: tuple[int, ...], width: int, grid: tuple[int, int]) -> nn.Module:
    """From one tensor of the release to [n, width, *grid]."""
    if len(shape) == 3 and shape[1] * shape[2] > 1:
        return _MapStem(shape, width, grid)
    numbers = int(torch.tensor(shape).prod()) if shape else 1
    return _FlatStem(numbers, width, grid)


class _MapStem(nn.Module):
    """Feature maps: brought to a whole multiple of the grid, folded down so that none is lost, then a convolution.

    Maps a little smaller than that multiple are padded around: convolutions without padding lose just such a border,
    and stretching the maps would move every feature off its pixel.
    """

    def __init__(self, shape: tuple[int, ...], width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.fold = max(1, round(min(shape[1] / grid[0], shape[2] / grid[1])))
        self.size = (grid[0] * self.fold, grid[1] * self.fold)
        missing = [goal - side for goal, side in zip(self.size, shape[1:], strict=True)]
        self.padded = all(0 <= gap <= side // 4 for gap, side in zip(missing, shape[1:], strict=True))
        top, left = missing[0] // 2, missing[1] // 2
        self.border = (left, missing[1] - left, top, missing[0] - top)
        self.conv = nn.Conv2d(shape[0] * self.fold**2, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        if self.padded:
            maps = nn.functional.pad(maps, self.border)
        else:
            maps = nn.functional.interpolate(maps, size=self.size, mode="bilinear", align_corners=False)
        return self.conv(nn.functional.pixel_unshuffle(maps, self.fold))


class _FlatStem(nn.Module):
    """Plain numbers: a linear layer to a coarse grid, widened by a convolution and enlarged."""

    def __init__(self, numbers: int, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.coarse = (-(-grid[0] // 2), -(-grid[1] // 2))
        self.linear = nn.Linear(numbers, width * self.coarse[0] * self.coarse[1])
        self.width = width

    def forward(self, rows: Tensor) -> Tensor:
        coarse = self.linear(rows.flatten(1)).reshape(-1, self.width, *self.coarse)
        return nn.functional.interpolate(coarse, size=self.grid, mode="bilinear", align_corners=False)
