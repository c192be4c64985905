"""Scores as a step keeps them: plain numbers that come back as the figures of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from unsmash import scoring
from unsmash.records import Result, Score
from unsmash.reproductions.record import Measure

Kept = Mapping[str, Any]
"""By metric: mean, ends of the interval and count"""


def kept(scores: Mapping[str, Score], names: Iterable[str] = ()) -> dict[str, Any]:
    """Scores as plain data; of those names only where some are given."""
    chosen = [name for name in names if name in scores] or list(scores)
    return {name: [scores[name].mean, scores[name].low, scores[name].high, scores[name].n] for name in chosen}


def measure(figures: Kept, name: str, *, percent: bool = False) -> Measure | None:
    """One of them as a table's figure; a share as 0 to 100 where `percent`; None where there is none of that name."""
    if name not in figures:
        return None
    mean, low, high, count = figures[name]
    scale = 100 if percent else 1
    if low == mean == high:  # one figure over all rows has no interval
        return Measure(mean * scale, n=count)
    return Measure(mean * scale, low * scale, high * scale, count)


def share(hits: Tensor) -> list[float]:
    """A share of hits [n] with Wilson's interval, as plain data."""
    return list(kept({"share": scoring.share_score("share", hits)})["share"])


def figures_of(result: Result, names: Iterable[str] = ()) -> dict[str, Any]:
    """A result's scores as plain data.

    Raises:
        RuntimeError: the attack failed, with its error.
    """
    if result.failure:
        raise RuntimeError(f"{result.name}: {result.failure}")
    return kept(result.scores, names)


def alike(one: Tensor, other: Tensor) -> int:
    """How many images of `one` [n, c, h, w] stand in `other` too, to the last bit of every pixel."""
    known = {image.numpy().tobytes() for image in other.contiguous()}
    return sum(image.numpy().tobytes() in known for image in one.contiguous())


def shown(images: Tensor, most: int = 10) -> Tensor:
    """The first images as a page shows them: float in [0, 1] on the CPU, rounded to the levels a picture has."""
    return (images[:most].float().clamp(0, 1) * 255).round().div(255).cpu().to(torch.float32)
