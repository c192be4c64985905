"""The page of a reproduction: published figures, ours as published and ours put right, with pictures and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unsmash.plain import dumps
from unsmash.report import tiles
from unsmash.report.gallery import FILE
from unsmash.report.page_parts import Page
from unsmash.report.parts import Fact, Section
from unsmash.report.picture_parts import Tile
from unsmash.report.words import MINUS, THIN, decimal, duration, listed, plural, whole
from unsmash.reproductions.record import Cell, Chart, Column, Measure, Reproduced, Row, Sheet, Table, near

State = Literal["near", "off", "open"]
NOTHING = "–"

Side = Literal["published", "as published", "put right"]
SIDES: tuple[Side, ...] = ("published", "as published", "put right")


@dataclass(frozen=True)
class Figure:
    """One cell: three figures, each with what stands small under it."""

    published: tuple[str, str]
    ours: tuple[str, str]
    right: tuple[str, str]
    state: State
    """near: within what the column allows; off: beyond it; open: not held against each other"""

    def side(self, side: Side) -> tuple[str, str]:
        """The figure on one side, and what stands small under it."""
        return {"published": self.published, "as published": self.ours, "put right": self.right}[side]


@dataclass(frozen=True)
class Head:
    """A quantity of a table, and which of its three columns hold anything."""

    title: str
    """With its unit"""
    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Panel:
    """A table drawn: up to three columns for each quantity."""

    table: Table
    heads: tuple[Head, ...]
    rows: tuple[tuple[str, str, tuple[Figure, ...]], ...]
    tally: str


@dataclass(frozen=True)
class PictureSheet:
    """A grid of pictures."""

    sheet: Sheet
    lines: tuple[tuple[str, str, tuple[Tile, ...]], ...]


@dataclass(frozen=True)
class ReproductionPage(Page):
    """A whole page on a published experiment."""

    findings: tuple[str, ...]
    panels: tuple[Panel, ...]
    sheets: tuple[PictureSheet, ...]
    missing: str
    """Why there are no pictures; empty where there are"""
    charts: tuple[Chart, ...]
    edges: tuple[str, ...]


def compose(record: Reproduced, folder: Path | None, *, images: bool = True) -> ReproductionPage:
    """Everything the page will say."""
    arrays, missing = _arrays(record, folder, images=images)
    known = {table.id for table in record.tables}
    charts = tuple(one if one.after in known else replace(one, after="") for one in record.charts)
    sheets = tuple(one if one.after in known else replace(one, after="") for one in record.sheets)
    return ReproductionPage(
        word="inconclusive",
        pill=tally(record),
        title=f"{record.name} · unsmash reproduce",
        crumb=f"Reproduce · {record.title}",
        run_id=record.name,
        headline=record.headline,
        lines=(f"{record.citation}. {record.source}.", *_small(record)),
        facts=tuple(_facts(record)),
        findings=record.findings,
        panels=tuple(panel(table) for table in record.tables),
        sheets=tuple(_sheet(sheet, arrays) for sheet in sheets),
        missing=missing,
        charts=charts,
        edges=(*record.substitutes, *record.left_out),
        reproduce=_reproduce(record),
        records=(("reproduced", dumps(record)),),
    )


def tally(record: Reproduced) -> str:
    """How many figures are reproduced, in a few words."""
    found, judged = record.tally()
    if not judged:
        return "quick" if record.quick else "nothing to compare"
    return f"{whole(found)} of {whole(judged)} figures reproduced"


def _small(record: Reproduced) -> list[str]:
    if not record.quick:
        return []
    return ["**This is the quick form:** smaller data and fewer passes; no figure is held against a published one."]


def _facts(record: Reproduced) -> list[Fact]:
    found, judged = record.tally()
    cells = [cell for table in record.tables for row in table.rows for cell in row.cells]
    published = sum(cell.published is not None for cell in cells)
    right = sum(cell.right is not None for cell in cells)
    return [
        Fact("Published figures", whole(published), f"in {plural(len(record.tables), ('table', 'tables'))}"),
        Fact("Reproduced", f"{whole(found)} of {whole(judged)}", "within what each column allows"),
        Fact("Put right", whole(right), "figures with the faults removed"),
        Fact("Work", duration(record.seconds), f"seed {record.seed}, {record.environment.get('device', 'cpu')}"),
    ]


def panel(table: Table) -> Panel:
    """A table's figures as they are written."""
    heads = tuple(_head(table, column) for column in table.columns)
    rows = tuple((row.name, row.note, tuple(figure(_cell(row, c), c) for c in table.columns)) for row in table.rows)
    judged = table.judged()
    told = f"{whole(sum(judged))} of {whole(len(judged))} within what is allowed" if judged else ""
    return Panel(table, heads, rows, told)


def _head(table: Table, column: Column) -> Head:
    cells = [_cell(row, column) for row in table.rows]
    told = [[cell.published, cell.ours, cell.right] for cell in cells]
    sides = tuple(side for place, side in enumerate(SIDES) if any(one[place] is not None for one in told))
    return Head(f"{column.title}, {column.unit}" if column.unit else column.title, sides)


def _cell(row: Row, column: Column) -> Cell:
    return next((cell for cell in row.cells if cell.column == column.id), Cell(column.id))


def figure(cell: Cell, column: Column) -> Figure:
    """One cell as it is written: the figures, their intervals, and how far ours is from the published one."""
    found = near(cell, column)
    published = NOTHING if cell.published is None else decimal(cell.published, column.digits)
    apart = ""
    if cell.ours is not None and cell.published is not None and not cell.incomparable:
        difference = round(cell.ours.value - cell.published, column.digits)
        apart = f"{'+' if difference > 0 else MINUS if difference < 0 else '±'}{abs(difference):.{column.digits}f}"
    interval = _interval(cell.ours, column)
    under = ", ".join(part for part in (interval, apart) if part)
    state: State = "open" if found is None else "near" if found else "off"
    why = "not comparable" if cell.incomparable and cell.published is not None else ""
    right = (_number(cell.right, column), _interval(cell.right, column))
    return Figure((published, why), (_number(cell.ours, column), under), right, state)


def _number(measure: Measure | None, column: Column) -> str:
    return NOTHING if measure is None else decimal(measure.value, column.digits)


def _interval(measure: Measure | None, column: Column) -> str:
    if measure is None or measure.low is None or measure.high is None:
        return ""
    return f"{decimal(measure.low, column.digits)}{THIN}–{THIN}{decimal(measure.high, column.digits)}"


def reasons(table: Table) -> tuple[str, ...]:
    """Why figures differ, and why some cannot be compared; each reason once, with the columns it is about."""
    told: dict[str, list[str]] = {}
    for row in table.rows:
        for cell in row.cells:
            if cell.incomparable and cell.published is not None:
                title = table.column(cell.column).title
                known = told.setdefault(cell.incomparable, [])
                known += [title] if title not in known else []
    return (*table.reasons, *(f"{listed(titles)}: not comparable, {why}" for why, titles in told.items()))


def _arrays(record: Reproduced, folder: Path | None, *, images: bool) -> tuple[Mapping[str, np.ndarray], str]:
    if not record.sheets:
        return {}, ""
    if not images:
        return {}, "Pictures are left out of this page (`--no-images`)."
    file = folder / FILE if folder is not None else None
    if file is None or not file.is_file():
        return {}, "The pictures of this reproduction are not here."
    try:
        return load_file(file), ""
    except (OSError, ValueError, SafetensorError) as error:
        return {}, f"The pictures cannot be read ({error})."


def _sheet(sheet: Sheet, arrays: Mapping[str, np.ndarray]) -> PictureSheet:
    lines = []
    for place, (name, note) in enumerate(sheet.lines):
        pictures = arrays.get(f"{sheet.id}/{place}")
        shown = [] if pictures is None else [_tile(one, name, sheet, at) for at, one in enumerate(pictures)]
        lines.append((name, note, tuple(shown)))
    return PictureSheet(sheet, tuple(lines))


def _tile(pixels: np.ndarray, name: str, sheet: Sheet, place: int) -> Tile:
    under = sheet.columns[place] if place < len(sheet.columns) else ""
    drawn = tiles.picture((pixels.clip(0, 1) * 255).round().astype(np.uint8))
    return Tile(
        drawn, (pixels.shape[2], pixels.shape[1]), f"{name}{f': {under}' if under else f', picture {place + 1}'}", under
    )


def _reproduce(record: Reproduced) -> Section:
    changed = ", ".join(f"{name} {value}" for name, value in record.settings.items() if name != "kind")
    machine = [text for name in ("machine", "torch", "threads") if (text := record.environment.get(name))]
    return Section(
        "The same figures again",
        entries=(
            ("Settings", changed or "none"), ("Seed", str(record.seed)), ("Began", record.started),
            ("Work", f"{duration(record.seconds)}, steps kept from earlier calls included"),
            ("Machine", ", ".join(machine)),
        ),
        command=record.command or f"unsmash reproduce {record.name}{' --quick' if record.quick else ''}",
    )  # fmt: skip
