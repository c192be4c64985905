"""What a mask leaves: numbers that are exact, with gaps. How to tell whose they are, and how to fill the gaps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unsmash.split.shield import Smashed

ROUNDING = 1e-4
"""How far a number kept may lie from a candidate's and still be it, as a share of their size"""


def union(releases: Sequence[Smashed]) -> Smashed:
    """Every number that any of the releases kept: the likeliest input is the one that sent them all."""
    stacks = (torch.stack(parts) for parts in zip(*releases, strict=True))
    return tuple(stack.gather(0, stack.abs().argmax(0, keepdim=True))[0] for stack in stacks)


def misfit(sent: Tensor, kept: Tensor, true: Tensor) -> Tensor:
    """Half the squared distance of the numbers kept to the candidates', in units of rounding: [n, d] × [m, d] → [n, m].

    A test of equality that the rounding of another batch does not upset; float64 loses far less than the unit.
    """
    squares = sent.square().sum(1, keepdim=True) - 2 * sent @ true.T + kept @ true.square().T
    size = sent.square().sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)
    return squares.clamp(min=0) / (2 * ROUNDING**2 * size.clamp(min=1e-30))
