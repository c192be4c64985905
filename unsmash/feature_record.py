"""The record of what crossed the cut for a few victims, as it is drawn: maps or numbers, each with its own range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sheet:
    """One array of levels 0 to 255 among a run's pictures: `maps/` and the sheet's name."""

    name: Literal["smashed", "release"]
    shape: tuple[int, ...]
    """Of the whole tensor, for one image"""
    channels: tuple[int, ...]
    """Which maps are drawn, those that vary most, in their own order; empty where the numbers are no maps"""
    low: tuple[float, ...]
    """Value at level 0: one a map, or one in all; over these victims"""
    high: tuple[float, ...]
    """Value at level 255"""
    step: int = 1
    """Of every so many rows and columns of a map one is drawn"""


@dataclass(frozen=True)
class FeatureMaps:
    """What crossed for a few of the pictured victims."""

    places: tuple[int, ...] = ()
    """Which of the pictured victims, by their place among them"""
    sheets: tuple[Sheet, ...] = ()
    """The smashed data where a defence changes it, and the release"""
    tensors: int = 1
    """Tensors that cross together; the first is drawn"""
