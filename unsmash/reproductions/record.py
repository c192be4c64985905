"""What a reproduction found: published numbers, ours as published and ours put right, side by side. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measure:
    """A figure of ours, with the 95 % interval where one was computed."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    """What it was counted or averaged over; 0 where that is no count"""


@dataclass(frozen=True)
class Column:
    """A quantity of a table."""

    id: str
    title: str
    unit: str = ""
    """`%` figures are written 0 to 100"""
    digits: int = 2
    within: float | None = None
    """How far ours may lie from the published figure, in its unit, and still count as reproduced; None: not judged"""


@dataclass(frozen=True)
class Cell:
    """One figure of a row: what was published, what we get as published, and what is right."""

    column: str
    published: float | None = None
    ours: Measure | None = None
    """As published, faults included"""
    right: Measure | None = None
    """With the faults put right; None where nothing had to be"""
    incomparable: str = ""
    """Why ours cannot be held against the published figure; empty where it can"""


@dataclass(frozen=True)
class Row:
    """One setting of the experiment."""

    name: str
    cells: tuple[Cell, ...]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Published figures of one kind with ours."""

    id: str
    title: str
    about: str
    """What was measured on what: data, sizes, range"""
    source: str
    """Where the published figures stand"""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    reasons: tuple[str, ...] = ()
    """Why published, ours and corrected differ, a sentence each"""

    def column(self, name: str) -> Column:
        """The column of that id."""
        return next(one for one in self.columns if one.id == name)

    def judged(self) -> list[bool]:
        """For each cell that can be held against its published figure, whether it is reproduced."""
        found = [near(cell, self.column(cell.column)) for row in self.rows for cell in row.cells]
        return [one for one in found if one is not None]


@dataclass(frozen=True)
class Sheet:
    """A grid of pictures: each line the same images, or one a column."""

    id: str
    title: str
    about: str
    lines: tuple[tuple[str, str], ...]
    """Name and note of each line; its pictures are the array `<id>/<place of the line>` [n, c, h, w] in [0, 1]"""
    columns: tuple[str, ...] = ()
    """What stands under each column; none where nothing must be said"""
    after: str = ""
    """Id of the table under which it stands; empty: after all of them"""


@dataclass(frozen=True)
class Chart:
    """Lines over one axis."""

    title: str
    about: str
    x: str
    y: str
    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    """Name and points (x, y) of each, in order of x"""
    published: tuple[str, ...] = ()
    """Names of the lines that are published figures: drawn dashed"""
    after: str = ""
    """Id of the table under which it stands; empty: after all of them"""


@dataclass(frozen=True)
class Reproduced:
    """A reproduction that was carried out."""

    name: str
    title: str
    citation: str
    source: str
    headline: str
    """The finding, one sentence"""
    findings: tuple[str, ...]
    """What was put right and what came of it, a sentence each"""
    tables: tuple[Table, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    charts: tuple[Chart, ...] = ()
    substitutes: tuple[str, ...] = ()
    """Data or weights that could not be had, and what stands in for them"""
    left_out: tuple[str, ...] = ()
    """Parts of the published experiment that were not run, with the reason"""
    quick: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0
    """Work of all its steps, those of earlier calls included"""
    started: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    schema: int = 1

    def tally(self) -> tuple[int, int]:
        """Figures reproduced within what their column allows, and figures judged."""
        judged = [one for table in self.tables for one in table.judged()]
        return sum(judged), len(judged)


def near(cell: Cell, column: Column) -> bool | None:
    """Whether ours reproduces the published figure; None where that is not judged.

    >>> near(Cell("a", 98.0, Measure(97.6)), Column("a", "Accuracy", "%", within=0.5))
    True
    """
    if cell.published is None or cell.ours is None or column.within is None or cell.incomparable:
        return None
    return abs(cell.ours.value - cell.published) <= column.within + 1e-9
