"""How the published decoders are trained and applied: squared error, Adam, no held-out images; kept weak as they are.

Their networks were written for one cut and one image size each. `Enlarger` fits such a stack to any: maps go in as they
are, other numbers through a linear layer; enlargements that the image does not need keep the size, and what still does
not fit is resized. At the published cut and size nothing of this acts, and the layers are those published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unsmash.lab import Lab
from unsmash.split.shield import Smashed, count, flat
from unsmash.view import View

Stack = Callable[[int, Sequence[int]], nn.Module]
"""(channels that go in, factor of each enlargement) → the published layers, ending in an image"""


@dataclass(frozen=True)
class Recipe:
    """How a published decoder is trained."""

    name: str
    """For the progress line"""
    epochs: int
    batch: int
    rate: float
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    """The loss is on pixels so normalised: one number for all channels, or one each"""
    decay: float = 0.0
    """Adam's weight decay"""
    step: tuple[int, float] | None = None
    """Epochs after which the rate is multiplied, and by what"""
    eps: float = 1e-8
    """Adam's, added to the root of the squared gradients"""
    amsgrad: bool = False
    """Adam's variant that divides by the largest of them"""

    def pixels(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the loss sees them."""
        return (images - self._like(self.mean, images)) / self._like(self.std, images)

    def images(self, pixels: Tensor) -> Tensor:
        """What the network gives, as images; not clamped."""
        return pixels * self._like(self.std, pixels) + self._like(self.mean, pixels)

    @staticmethod
    def _like(numbers: Sequence[float], images: Tensor) -> Tensor:
        """One number a channel; for images with another number of channels, their mean."""
        given = torch.tensor(numbers).to(images)
        each = given if len(numbers) == images.shape[1] else given.mean()[None]
        return each.reshape(1, -1, 1, 1)


def reconstruct(view: View, recipe: Recipe, make: Callable[[], nn.Module], lab: Lab) -> Tensor:
    """Train a network (release → pixels) on queries of the adversary's images, and apply it: [n, c, h, w].

    Every batch is a fresh query: a random defence is met as it is, unlike in the published code.
    """
    with lab.seeded("network"):
        network = make().to(lab.device)
        _train(network, view, recipe, lab)
        network.eval()
        with torch.no_grad():
            parts = zip(*(part.split(256) for part in view.release), strict=True)
            return recipe.images(torch.cat([network(_to(part, lab)).cpu() for part in parts]))


def _train(network: nn.Module, view: View, recipe: Recipe, lab: Lab) -> None:
    oracle, targets, order = view.oracle(view.shadow), recipe.pixels(view.shadow), lab.generator("order")
    optimiser = torch.optim.Adam(
        network.parameters(), lr=recipe.rate, weight_decay=recipe.decay, eps=recipe.eps, amsgrad=recipe.amsgrad
    )
    every, factor = recipe.step or (recipe.epochs, 1.0)
    decay = torch.optim.lr_scheduler.StepLR(optimiser, every, factor)
    batches = [
        rows for _ in range(recipe.epochs) for rows in torch.randperm(len(targets), generator=order).split(recipe.batch)
    ]
    each = -(-len(targets) // recipe.batch)
    total, seen = torch.zeros((), device=lab.device), 0
    for step, rows in enumerate(lab.track(batches, recipe.name, total=len(batches)), 1):
        if len(rows) > 1:  # a norm over a batch of one has nothing to go by
            guess = network(_to(oracle.ask(rows), lab))
            loss = nn.functional.mse_loss(guess, targets[rows].to(lab.device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total, seen = total + loss.detach() * len(rows), seen + len(rows)
        if step % each == 0:
            decay.step()
            what = "squared error a pixel, normalised as published"
            lab.epoch(recipe.name, step // each, loss=what, train=total.item() / max(seen, 1), held=None)
            total, seen = torch.zeros((), device=lab.device), 0


def _to(release: Smashed, lab: Lab) -> Smashed:
    return tuple(part.to(lab.device) for part in release)


class Enlarger(nn.Module):
    """A published stack of layers between any release and any image."""

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        input_shape: tuple[int, ...],
        stack: Stack,
        factors: Sequence[int],
        width: int,
    ) -> None:
        """`shapes` without the batch; `factors` as published; `width` channels where a linear layer makes the maps."""
        super().__init__()
        height, wide = input_shape[1:]
        maps = shapes[0] if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] * shapes[0][2] > 1 else None
        whole = count(factors)
        self.grid = (maps[1], maps[2]) if maps else (-(-height // whole), -(-wide // whole))
        channels = maps[0] if maps else width
        self.first = None if maps else nn.Linear(sum(map(count, shapes)), width * count(self.grid))
        needed = max(-(-height // self.grid[0]), -(-wide // self.grid[1]))
        self.stack = stack(channels, needed_factors(factors, needed))
        self.size = (height, wide)

    def forward(self, release: Smashed) -> Tensor:
        """[n, c, h, w]."""
        if self.first is None:
            maps = release[0].float()
        else:
            rows = self.first(flat(release))
            maps = rows.reshape(len(rows), -1, *self.grid)
        return fitted(self.stack(maps), self.size)


def needed_factors(factors: Sequence[int], needed: int) -> tuple[int, ...]:
    """The published enlargements, from the first, until the size needed is reached; the others become 1."""
    kept, reached = [], 1
    for factor in factors:
        kept.append(factor if reached < needed else 1)
        reached *= kept[-1]
    return tuple(kept)


def fitted(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [n, c, h, w] of that size; resized where they have another."""
    if tuple(images.shape[-2:]) == size:
        return images
    return nn.functional.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
