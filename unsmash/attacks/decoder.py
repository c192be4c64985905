"""The default learned attack: a residual decoder fed the release and the ridge image.

The ridge image carries what is linear; the network learns the rest on top of it, so it starts at ridge and cannot
collapse below it. For training, ridge images are out of fold, or the network would learn to trust an overfitted first
stage; every batch is a fresh query, so a random defence is met with fresh noise. The weights that do best on held-out
images are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unsmash import regression
from unsmash.attacks.base import Attack
from unsmash.features import Features
from unsmash.lab import Lab
from unsmash.metrics.images import structural_similarity
from unsmash.nets import Residual, jitter
from unsmash.split.shield import Smashed, flat
from unsmash.threat import Grant, Oracle, View

LADDER = {"small": (16, 1), "medium": (32, 2), "large": (64, 4)}
"""Channels and residual blocks by size"""


class Decoder(Attack):
    """Residual decoder on the release and the ridge image, trained on queries of the adversary's own images."""

    kind: Literal["decoder"] = "decoder"
    size: Literal["small", "medium", "large"] = "medium"
    """Rung of the capacity ladder"""
    epochs: int = Field(5, ge=1, le=1000)
    """Passes over the adversary's images and their copies"""
    copies: int = Field(3, ge=0, le=64)
    """Slightly moved copies of each of the adversary's images, queried and trained on as well"""
    images: int = Field(8000, ge=16, le=1_000_000)
    """Most images it trains on, copies counted: fewer copies are made of a large collection"""
    batch: int = Field(64, ge=2, le=4096)
    """Images a step"""
    rate: float = Field(3e-3, gt=0, le=1)
    """Peak learning rate of Adam under a one-cycle schedule"""
    loss: Literal["mse", "mixed"] = "mse"
    """mse: squared error, the stronger one here by every metric; mixed: 0.5 L1 + 0.5 (1 − SSIM) + MSE"""
    aware: bool = True
    """Trains on what is really sent; false: on releases without noise, a mistake that flatters the defence"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    learned: ClassVar[bool] = True
    title: ClassVar[str] = "Residual decoder"
    tiny: ClassVar[dict[str, object]] = {"size": "small", "epochs": 3}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w]."""
        with lab.seeded("queries"):
            stage = _first_stage(view, self._images(view, lab), lab, aware=self.aware)
        with lab.seeded("network"):
            width, blocks = LADDER[self.size]
            release = stage.widen(view.release)
            shapes = [tuple(part.shape[1:]) for part in release]
            network = DecoderNet(shapes, view.input_shape, width, blocks).to(lab.device)
            network = network.to(memory_format=torch.channels_last)  # a fifth faster on processors
            self._train(network, stage, lab)
            return _apply(network, release, stage.first_of(view.release), lab)

    def _images(self, view: View, lab: Lab) -> Tensor:
        generator = lab.generator("copies")
        own = view.shadow[: self.images]
        copies = min(self.copies, self.images // len(own) - 1)
        return torch.cat([own, *(jitter(own, generator) for _ in range(copies))])

    def _train(self, network: DecoderNet, stage: _Stage, lab: Lab) -> None:
        fit, images = stage.fit, stage.oracle.images
        steps = self.epochs * -(-len(fit) // self.batch)
        optimiser = torch.optim.Adam(network.parameters(), lr=self.rate)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.rate, total_steps=max(steps, 2))
        network.standardise(tuple(part[fit] for part in stage.seen))
        order = lab.generator("order")
        best, kept = self._held_out(network, stage, lab), _weights(network)
        progress = iter(lab.track(range(steps), "decoder"))
        for _ in range(self.epochs):
            network.train()
            for rows in fit[torch.randperm(len(fit), generator=order)].split(self.batch):
                next(progress)
                release = _seen(stage, rows, lab)
                loss = self._loss(network(release, stage.first[rows].to(lab.device)), images[rows].to(lab.device))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                cycle.step()
            error = self._held_out(network, stage, lab)
            if error < best:
                best, kept = error, _weights(network)
        next(progress, None)
        network.load_state_dict(kept)

    @torch.no_grad()
    def _held_out(self, network: DecoderNet, stage: _Stage, lab: Lab) -> float:
        network.eval()
        held = stage.held
        release = tuple(part[held].to(lab.device) for part in stage.seen)
        guess = network(release, stage.first[held].to(lab.device))
        return self._loss(guess, stage.oracle.images[held].to(lab.device)).item()

    def _loss(self, guess: Tensor, truth: Tensor) -> Tensor:
        squared = (guess - truth).square().mean()
        if self.loss == "mse":
            return squared
        similarity = structural_similarity(guess, truth).mean()
        return 0.5 * (guess - truth).abs().mean() + 0.5 * (1 - similarity) + squared


@dataclass(frozen=True)
class _Stage:
    """The ridge stage over the adversary's images, and which of them train and which are held out."""

    oracle: Oracle
    features: Features
    linear: regression.Ridge
    first: Tensor
    """Out-of-fold ridge images [m, c, h, w]"""
    seen: Smashed
    """One release of each image"""
    fit: Tensor
    held: Tensor
    fresh: bool
    """Query anew for every batch: the defence draws noise"""

    def widen(self, release: Smashed) -> Smashed:
        """The release, and its logarithms as one more tensor where it is positive."""
        return (*release, self.features.log(flat(release))) if self.features.logged else release

    def first_of(self, release: Smashed) -> Tensor:
        """The ridge image of each release: [n, c, h, w]."""
        return self.linear(self.features(release)).reshape(-1, *self.oracle.images.shape[1:])


RIDGE_ROWS, RIDGE_NUMBERS = 4000, 40_000_000
"""Most images the ridge stage is fitted on, and most numbers in their releases: what keeps it to seconds"""


def _first_stage(view: View, images: Tensor, lab: Lab, *, aware: bool) -> _Stage:
    oracle = view.oracle(images, aware=aware)
    seen = oracle.ask()
    kind = Features.of(seen)
    features, flat_images = kind(seen), images.flatten(1)
    own = torch.randperm(min(len(view.shadow), len(images)), generator=lab.generator("split"))
    # a copy goes where its original goes: held out together, or trained on together
    groups = [own + len(own) * copy for copy in range(len(images) // len(own))]
    held_out = max(4, len(own) // 12)
    fit = torch.cat([group[held_out:] for group in groups])
    limit = min(RIDGE_ROWS, max(len(own) // 2, RIDGE_NUMBERS // features.shape[1]))
    rows = torch.cat(groups)[:limit]
    rows = rows[torch.randperm(len(rows), generator=lab.generator("rows"))]
    linear, unseen = regression.fit_in_and_out(features[rows], flat_images[rows])
    first = linear(features)
    first[rows] = unseen
    stage = _Stage(oracle, kind, linear, first.reshape_as(images), seen, fit, own[:held_out], view.stochastic and aware)
    return replace(stage, seen=stage.widen(seen))


def _seen(stage: _Stage, rows: Tensor, lab: Lab) -> Smashed:
    release = stage.widen(stage.oracle.ask(rows)) if stage.fresh else tuple(part[rows] for part in stage.seen)
    return tuple(part.to(lab.device) for part in release)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@torch.no_grad()
def _apply(network: DecoderNet, release: Smashed, first: Tensor, lab: Lab) -> Tensor:
    network.eval()
    parts = []
    for rows in torch.arange(len(release[0])).split(256):
        part = tuple(tensor[rows].to(lab.device) for tensor in release)
        parts.append(network(part, first[rows].to(lab.device)).cpu())
    return torch.cat(parts)


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
