"""The pilot of a server that hijacks a training: from an image to what the device half is to send for it.

It takes any cut (plain numbers, feature maps, several tensors) and any image size, and knows nothing of the device half
but what it sent first. Nothing in it is learned: plain numbers are the image's principal components, feature maps those
of its patches where they lie, both turned into random directions. A device half follows so simple a map soonest, and
what is large in it is what a picture is made of; a learned encoder may hide the picture in what nobody can imitate.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unsmash.split.shield import Smashed

COMPONENTS = 64
"""Most principal components that plain numbers carry"""


REACH = 3.0
"""Spread of the pilot over that of what was sent first: further apart, one can tell them more easily"""

ROWS = 20_000
"""Most patches that the components of patches are taken from"""


class Pilot(nn.Module):
    """Image → tensors of the shapes that reach the shield: the space the device half is pulled into."""

    def __init__(self, images: Tensor, like: Smashed, draw: torch.Generator) -> None:
        """`images` [m, c, h, w] are the adversary's; `like` is what the device half sent first, before the shield."""
        super().__init__()
        maps = [_is_map(part.shape[1:]) for part in like]
        heads: list[nn.Module] = []
        for part, is_map in zip(like, maps, strict=True):
            if is_map:
                heads.append(_MapHead(images, part, draw))
            else:
                heads.append(_Still(part) if any(maps) else _FlatHead(images, part, draw))
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Smashed:
        """[n, c, h, w] in [0, 1] → one tensor [n, …] for each that crosses."""
        return tuple(head(x) for head in self.heads)


class _FlatHead(nn.Module):
    """Plain numbers: principal components of the image."""

    def __init__(self, images: Tensor, part: Tensor, draw: torch.Generator) -> None:
        super().__init__()
        self.shape = tuple(part.shape[1:])
        self.turn = _Turned(images.flatten(1), part.flatten(1), draw)

    def forward(self, x: Tensor) -> Tensor:
        numbers: Tensor = self.turn(x.flatten(1))
        return numbers.reshape(len(x), *self.shape)


class _MapHead(nn.Module):
    """Feature maps: the image folded to their grid, so that every patch stays in its place, then its components."""

    def __init__(self, images: Tensor, part: Tensor, draw: torch.Generator) -> None:
        super().__init__()
        down, right = part.shape[2:]
        self.fold = max(1, round(min(images.shape[2] / down, images.shape[3] / right)))
        self.size = (down * self.fold, right * self.fold)
        patches = self._folded(images[: max(1, ROWS // (down * right))]).movedim(1, -1).flatten(0, -2)
        self.turn = _Turned(patches, part.movedim(1, -1).flatten(0, -2), draw)

    def _folded(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        return nn.functional.pixel_unshuffle(x, self.fold)

    def forward(self, x: Tensor) -> Tensor:
        turned: Tensor = self.turn(self._folded(x).movedim(1, -1))
        return turned.movedim(-1, 1)


class _Still(nn.Module):
    """Plain numbers beside feature maps: noise as wide as what was sent, so that the decoder learns not to heed them.

    They may be ones that the device half cannot move at all, such as the averages that a skip connection carries.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, part: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", part.mean(0).float())
        self.register_buffer("std", part.float().std(0, correction=0))

    def forward(self, x: Tensor) -> Tensor:
        return self.mean + self.std * torch.randn(len(x), *self.mean.shape).to(self.mean)


class _Turned(nn.Module):
    """Rows' principal components in random directions, centred as what was sent and `REACH` times as wide."""

    mean: Tensor
    matrix: Tensor
    centre: Tensor

    def __init__(self, rows: Tensor, sent: Tensor, draw: torch.Generator) -> None:
        super().__init__()
        rows, sent = rows.double(), sent.double()
        mean = rows.mean(0)
        variances, axes = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        count = min(COMPONENTS, rows.shape[1], sent.shape[1])
        turn = torch.linalg.qr(torch.randn(sent.shape[1], count, generator=draw, dtype=torch.float64)).Q
        width = (variances[-count:].clamp(min=0).sum() / sent.shape[1]).sqrt().clamp(min=1e-12)
        matrix = axes[:, -count:] @ turn.T * (REACH * _width(sent) / width)
        self.low, self.high = _range(sent)
        self.register_buffer("mean", mean.float())
        self.register_buffer("matrix", matrix.float())
        self.register_buffer("centre", sent.mean(0).float())

    def forward(self, rows: Tensor) -> Tensor:
        return (self.centre + (rows - self.mean) @ self.matrix).clamp(self.low, self.high)


def _width(rows: Tensor) -> float:
    """Root mean square of the numbers' deviations over rows [n, d]; 1 where nothing varies."""
    return rows.std(0, correction=0).square().mean().sqrt().item() or 1.0


def _range(rows: Tensor) -> tuple[float, float]:
    """Where the numbers may lie: a pilot beyond what the device half can send could never be followed."""
    low, high = rows.min().item(), rows.max().item()
    if low >= 0:
        return 0.0, 1.0 if high <= 1 else float("inf")
    return (-1.0, 1.0) if low >= -1 and high <= 1 else (float("-inf"), float("inf"))


def _is_map(shape: Sequence[int]) -> bool:
    """Channels over a grid of more than one cell."""
    return len(shape) == 3 and shape[1] * shape[2] > 1
