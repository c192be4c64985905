"""Jacobians of what is sent by the image, in blocks: backward, or forward where the image is the shorter side."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from unsmash.bounds.regions import demand

Encoder = Callable[[Tensor], Tensor]
"""Images [n, c, h, w] → rows [n, k], without the noise; each row from its own image only"""

BLOCK = 64
"""Rows or columns of a Jacobian computed at once; fewer for large images"""
NUMBERS = 2**20
"""Pixel values handled at once, which bounds the memory"""


def forward(g: Encoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """A leaf with the images, and its rows."""
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        rows = g(leaf.clone())  # a copy: the first layer may work in place
    demand(rows.requires_grad, "f gives rows without gradients: its slope cannot be had")
    return leaf, rows


def blocks(g: Encoder, image: Tensor) -> Iterator[Tensor]:
    """The Jacobian of one image [1, c, h, w] by blocks of rows [b, d], or of columns [b, k] where those are fewer."""
    d, size = image.numel(), max(1, min(BLOCK, NUMBERS // image.numel()))
    leaf, row = forward(g, image)
    by_column = d < row.numel() and _can_push(g, image)
    for start in range(0, d if by_column else row.numel(), size):
        if by_column:
            yield _push(g, image, _units(d, start, size).to(image))
        else:
            yield _pull(row, leaf, _units(row.numel(), start, size).to(row))


def _units(length: int, start: int, count: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.arange(start, min(start + count, length)), length)


def _pull(row: Tensor, leaf: Tensor, units: Tensor) -> Tensor:
    """Rows of J, or what weighs them: [b, k] → [b, d]."""
    try:
        with _quiet():
            pulled = torch.autograd.grad(row, leaf, units[:, None], retain_graph=True, is_grads_batched=True)[0]
    except RuntimeError:  # an operation that cannot be batched
        pulled = torch.stack([torch.autograd.grad(row, leaf, unit[None], retain_graph=True)[0] for unit in units])
    return pulled.flatten(1)


def _push(g: Encoder, image: Tensor, units: Tensor) -> Tensor:
    """Columns of J, or what weighs them: [b, d] → [b, k]."""

    def along(unit: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.func.jvp(g, (image.clone(),), (unit.reshape(image.shape),))[1].flatten()

    with _quiet():
        return torch.func.vmap(along)(units)


def _can_push(g: Encoder, image: Tensor) -> bool:
    """Whether all operations know how to differentiate forward and in batches."""
    try:
        _push(g, image, _units(image.numel(), 0, 1).to(image))
    except RuntimeError:
        return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks about its own batching and its own scripts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)
        yield
