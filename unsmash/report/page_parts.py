"""What the pages beside the report are made of: frontier, comparison, scan, advice. Plain values, not yet drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unsmash.report.parts import Fact, Section, Shielding
from unsmash.report.picture_parts import Tile
from unsmash.verdicts import Word


@dataclass(frozen=True)
class Setting:
    """A line of the frontier's table."""

    name: str
    href: str
    """Address of its own report; empty where there is none"""
    note: str
    cells: tuple[tuple[str, str], ...]
    """A figure and what stands small under it, for each column"""
    state: Literal["leaks", "passes", "inconclusive", "failed", "label"]
    front: bool = False


@dataclass(frozen=True)
class Strip:
    """The same few victims in every line, or only their ranks when pictures are left out."""

    heading: str
    lede: str
    rows: tuple[tuple[str, str, tuple[Tile, ...]], ...]
    """Name, note and a tile for each victim"""


@dataclass(frozen=True)
class Bar:
    """How far one setting moves two figures."""

    name: str
    note: str
    identified: tuple[str, float]
    """What is written, and the bar's length as a share of the longest"""
    accuracy: tuple[str, float]
    clear: bool
    """More than its intervals would give"""


@dataclass(frozen=True)
class Bars:
    """Which setting matters."""

    heading: str
    lede: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Page:
    """What every such page begins and ends with, as `base.html` and `opening.html` draw it."""

    word: Word
    pill: str
    title: str
    crumb: str
    run_id: str
    headline: str
    lines: tuple[str, ...]
    facts: tuple[Fact, ...]
    reproduce: Section
    records: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FrontierPage(Page):
    """A whole page on the variants of one study."""

    chart: Section
    """Heading, and the sentences over and under the drawing"""
    columns: tuple[str, ...]
    settings: tuple[Setting, ...]
    caption: str
    sensitivity: Bars | None
    """None where no setting varies alone"""
    strips: tuple[Strip, ...]
    methods: tuple[Shielding, ...]
    edges: Section


@dataclass(frozen=True)
class AdvicePage(Page):
    """A whole page on a search and its re-test."""

    chart: Section
    columns: tuple[str, ...]
    measured: tuple[Setting, ...]
    ended: tuple[Setting, ...]
    retests: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...]
    """Name, address of its report, what came of it, and its figures"""
    edges: Section


@dataclass(frozen=True)
class ComparePage(Page):
    """A whole page on two studies."""

    columns: tuple[str, ...]
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class ScanPage(Page):
    """A whole page on the cuts of one network."""

    chart: Section
    columns: tuple[str, ...]
    settings: tuple[Setting, ...]
    caption: str
    strip: Strip | None
    edges: Section
