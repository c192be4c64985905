"""What the strongest attack makes of the same few images along each number that a study varies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unsmash import guesses
from unsmash.errors import RecordError
from unsmash.frontier_record import Frontier, Row, found
from unsmash.records import Run
from unsmash.report import tiles
from unsmash.report.page_parts import Strip
from unsmash.report.picture_parts import Tile
from unsmash.report.sensitivity import name
from unsmash.report.words import plural, whole
from unsmash.run_reading import load_run
from unsmash.sensitivity import groups, paths, value_of
from unsmash.store import PICTURES, RUN

MOST = 4
"""Strips on a page"""
EACH = (("worst", 2), ("typical", 2), ("least", 2))
"""Victims of each group that stand in a strip"""


def strips(frontier: Frontier, home: Path | None, *, images: bool = True) -> tuple[Strip, ...]:
    """A strip for each number that varies alone; none without the folder of runs or their records."""
    if home is None:
        return ()
    made: list[Strip] = []
    for path in paths(frontier):
        rows = _line_of(frontier, path)
        if rows and len(made) < MOST:
            made += [strip for strip in [_strip(frontier, path, rows, home, images=images)] if strip is not None]
    return tuple(made)


def _line_of(frontier: Frontier, path: str) -> list[Row]:
    """The longest line of rows that differ in this number alone, in its order."""
    if path.split(".")[0] == "data":
        return []  # other data, other victims
    known = [
        row for row in frontier.rows
        if row.failure is None and row.runs and found(row, frontier.chosen) and _number(value_of(row, path))
    ]  # fmt: skip
    longest = max(groups(known, path), key=len, default=[])
    return sorted(longest, key=lambda row: value_of(row, path))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _strip(frontier: Frontier, path: str, rows: Sequence[Row], home: Path, *, images: bool) -> Strip | None:
    """Originals, and a line for each value; victims are those of the first run."""
    runs = [(row, run) for row in rows if (run := _run(home / row.runs[0])) is not None]
    if len(runs) < 2 or len({run.data.fingerprint for _, run in runs if run.data}) > 1:
        return None
    first = runs[0][1]
    places = [
        place
        for group, most in EACH
        for place in [place for place, one in enumerate(first.pictures.groups) if one == group][:most]
    ]
    victims = [first.pictures.victims[place] for place in places]
    if not victims:
        return None
    original = _arrays(home / first.id).get("original") if images else None
    lines: list[tuple[str, str, tuple[Tile, ...]]] = []
    if original is not None:
        alt = f"the true {frontier.noun[0]}"
        shown = [_tile(original[p], f"Victim {v}: {alt}", "", False) for p, v in zip(places, victims, strict=True)]
        lines.append(("Original", "never leaves the device", tuple(shown)))
    for row, run in runs:
        lines.append(_guessed(frontier, path, row, run, victims, home / run.id if images else None))
    said = name(frontier, path)
    return Strip(f"{said[:1].upper()}{said[1:]}, from {_short(rows[0], path)} to {_short(rows[-1], path)}",
                 _lede(frontier, rows[0], path, first, len(victims), original is not None), tuple(lines))  # fmt: skip


def _lede(frontier: Frontier, row: Row, path: str, run: Run, shown: int, pictured: bool) -> str:
    held = ", ".join(f"{name} {value}" for name, value in row.settings.items() if name != path and "kind" not in name)
    told = (
        f"The same {plural(shown, frontier.noun)} at every value, as the strongest attack of that setting makes them"
        f" out: two it hit worst at the first value, two typical, two least hit. Seed {run.seed}"
    )
    told += f"; held: {held}." if held else "."
    if pictured:
        return f"{told} This page shows {plural(shown, ('private original', 'private originals'))}."
    return f"{told} Pictures are left out or missing; the ranks stay."


def _guessed(
    frontier: Frontier, path: str, row: Row, run: Run, victims: Sequence[int], folder: Path | None
) -> tuple[str, str, tuple[Tile, ...]]:
    """One value's line: guesses of the attack that reached most, with each victim's rank."""
    reached = found(row, frontier.chosen)
    result = next((one for one in run.results if reached is not None and one.name == reached.name), None)
    title = f"{_last(path)} {_short(row, path)}"
    if result is None:
        return title, "no attack finished", ()
    pixels = _guesses(run, result.name, folder)
    made = []
    for victim in victims:
        rank = result.ranks[victim] if victim < len(result.ranks) else None
        tag = "no rank" if rank is None else "● found" if rank == 1 else f"rank {whole(rank)}"
        alt = f"{result.title} at {title}: guess for victim {victim}, {tag.removeprefix('● ')}"
        made.append(_tile(pixels.get(victim), alt, tag, rank == 1))
    return title, result.title, tuple(made)


def _guesses(run: Run, result: str, folder: Path | None) -> dict[int, np.ndarray]:
    """Guesses as pixels by victim: all of them where they were kept, else those of the pictured victims."""
    if folder is None:
        return {}
    try:
        every = guesses.load(folder).get(result)
    except RecordError:
        every = None
    if every is not None and every.ndim == 4:
        return {victim: np.rint(one * 255).astype(np.uint8) for victim, one in enumerate(np.clip(every, 0, 1))}
    few = _arrays(folder).get(f"guess/{result}")
    return {} if few is None else dict(zip(run.pictures.victims, few, strict=False))


def _run(folder: Path) -> Run | None:
    try:
        return load_run((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, RecordError):
        return None


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    """A run's pictures; none where they are missing or damaged."""
    try:
        return load_file(folder / PICTURES)
    except (OSError, ValueError, SafetensorError):
        return {}


def _tile(pixels: np.ndarray | None, alt: str, tag: str, hit: bool) -> Tile:
    if pixels is None:
        return Tile("", (0, 0), alt, tag, hit)
    return Tile(tiles.picture(pixels), (pixels.shape[-1], pixels.shape[-2]), alt, tag, hit)


def _last(path: str) -> str:
    return path.split(".")[-1]


def _short(row: Row, path: str) -> str:
    return f"{value_of(row, path):g}"
