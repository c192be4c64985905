"""What the pictured parts of a report are made of: tiles, the gallery, the way from image to guess, and curves.

Plain frozen data like `unsmash.report.parts`, which holds the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Tile:
    """One picture of the gallery, or only its rank when pictures are left out."""

    source: str
    """Data URI; empty without pictures"""
    size: tuple[int, int]
    alt: str
    tag: str
    hit: bool = False


@dataclass(frozen=True)
class Victim:
    """A column of the gallery."""

    name: str
    label: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Gallery:
    """Originals, what was sent and the guesses, for a few victims."""

    heading: str
    lede: str
    rows: tuple[tuple[str, str], ...]
    """Name and note of each row of tiles"""
    groups: tuple[tuple[str, tuple[Victim, ...]], ...]
    pictures: bool
    note: str


@dataclass(frozen=True)
class Stop:
    """One picture on the way from an image to a guess."""

    title: str
    note: str
    tile: Tile
    kind: Literal["image", "maps", "strip"]


@dataclass(frozen=True)
class Journeys:
    """A few victims, each from its image through what is sent to every guess."""

    heading: str
    lede: str
    rows: tuple[tuple[str, tuple[Stop, ...]], ...]
    """Name of the victim and its stops"""
    columns: tuple[str, ...]
    ranges: tuple[tuple[str, tuple[str, ...]], ...]
    """Name of a map and its range in each column; none where the lede says it"""


@dataclass(frozen=True)
class Plot:
    """How one training went."""

    title: str
    finding: str
    loss: str
    train: tuple[tuple[int, float], ...]
    """(pass, loss)"""
    held: tuple[tuple[int, float], ...]
    kept: int | None
    """The pass whose weights were kept, where the least held-out loss decided"""


@dataclass(frozen=True)
class Trainings:
    """How the trainings went."""

    heading: str
    lede: str
    plots: tuple[Plot, ...]
