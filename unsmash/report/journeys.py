"""From image to guess, one victim a row: the image, what crosses the cut map by map, and what attacks made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unsmash.feature_record import FeatureMaps, Sheet
from unsmash.records import Result, Run
from unsmash.report import tiles
from unsmash.report.evidence import HEADLINE, Evidence, counted, seen
from unsmash.report.gallery import FILE
from unsmash.report.picture_parts import Journeys, Stop, Tile
from unsmash.report.words import MINUS, listed, spell, whole

TITLES = {"smashed": "Smashed data", "release": "Sent"}


def journeys(evidence: Evidence, folder: Path | None, *, images: bool) -> Journeys | None:
    """A few victims from image to guess; None without pictures, or for a record that has none of what crossed."""
    run, maps = evidence.run, evidence.run.maps
    arrays = _arrays(run, folder) if images and maps.sheets else {}
    if not arrays:
        return None
    rows = []
    for row, place in enumerate(maps.places):
        label = run.pictures.labels[place] if run.pictures.labels else ""
        name = f"#{run.pictures.victims[place]:03d}" + (f", {label}" if label else "")
        crossing = [_crossing(sheet, arrays[f"maps/{sheet.name}"][row], maps, name) for sheet in maps.sheets]
        guesses = [_guess(evidence, result, arrays, place, name) for result in _shown(run, arrays)]
        rows.append((f"{name}: {_group(run, place)}", (_original(arrays, place, name), *crossing, *guesses)))
    columns, ranges = _ranges(maps)
    return Journeys("From image to guess, one victim a row", _lede(maps), tuple(rows), columns, ranges)


def _arrays(run: Run, folder: Path | None) -> dict[str, np.ndarray]:
    """The stored arrays, if they belong to this record."""
    try:
        raw: dict[str, np.ndarray] = load_file(folder / FILE) if folder is not None else {}
    except (OSError, ValueError, SafetensorError):
        return {}  # the gallery above says so
    count, maps = len(run.pictures.victims), run.maps
    sheets = [raw.get(f"maps/{sheet.name}") for sheet in maps.sheets]
    fits = [array is not None and len(array) == len(maps.places) for array in sheets]
    original = raw.get("original")
    whole_set = original is not None and len(original) == count and all(place < count for place in maps.places)
    return raw if whole_set and all(fits) else {}


def _shown(run: Run, arrays: dict[str, np.ndarray]) -> list[Result]:
    """Attacks with stored guesses, weakest first; floors see nothing of what is sent."""
    found = [next((result for result in run.results if result.name == name), None) for name in run.pictures.shown]
    return [result for result in found if result and result.role == "attack" and f"guess/{result.name}" in arrays]


def _group(run: Run, place: int) -> str:
    return {"worst": "worst hit", "typical": "typical", "least": "least hit"}.get(run.pictures.groups[place], "")


def _original(arrays: dict[str, np.ndarray], place: int, name: str) -> Stop:
    pixels = arrays["original"][place]
    tile = Tile(
        tiles.picture(pixels), (pixels.shape[2], pixels.shape[1]), f"The image of victim {name}, row by row", ""
    )
    return Stop("Original", "", tile, "image")


def _crossing(sheet: Sheet, levels: np.ndarray, maps: FeatureMaps, name: str) -> Stop:
    title = TITLES[sheet.name] if len(maps.sheets) > 1 else "Smashed data, sent as it is"
    if sheet.channels:
        drawn = tiles.cells(levels.astype(np.float32))
        what = f"{len(sheet.channels)} of {whole(sheet.shape[0])} maps of {sheet.shape[1]} × {sheet.shape[2]}"
        alt = f"{title} for victim {name}: {what}, each from its lowest value in black to its highest in white"
    else:
        drawn = tiles.strip(levels)
        of, total = levels.size, int(np.prod(sheet.shape))
        what = f"{whole(total)} numbers" if of == total else f"the first {whole(of)} of {whole(total)} numbers"
        alt = f"{title} for victim {name}: {what}, the lowest black, the highest white"
    tile = Tile(tiles.greys(drawn), (drawn.shape[1], drawn.shape[0]), alt, "")
    return Stop(title, what, tile, "maps" if sheet.channels else "strip")


def _guess(evidence: Evidence, result: Result, arrays: dict[str, np.ndarray], place: int, name: str) -> Stop:
    index, pixels = evidence.run.pictures.victims[place], arrays[f"guess/{result.name}"][place]
    score = result.scores.get(HEADLINE)
    hit = bool(score is not None and index < len(score.values) and score.values[index] >= 0.5)
    rank = result.ranks[index] if index < len(result.ranks) else None
    tag = "● found" if hit else f"rank {whole(rank)}" if rank else ""
    threat = evidence.threat(result.threat)
    note = (seen(threat) if threat else "") + ("" if counted(result) else ", not counted")
    fate = (
        "the best match is the true one" if hit else f"the true one ranks {whole(rank)}" if rank else "no rank stored"
    )
    alt = f"{result.title}, {note}: what it drew of victim {name}, in its row; {fate}"
    return Stop(
        result.title, note, Tile(tiles.picture(pixels), (pixels.shape[2], pixels.shape[1]), alt, tag, hit), "image"
    )


def _lede(maps: FeatureMaps) -> str:
    several = f" The first of {spell(maps.tensors)} tensors that cross is drawn." if maps.tensors > 1 else ""
    mapped = [sheet for sheet in maps.sheets if sheet.channels]
    if mapped:
        step = max(sheet.step for sheet in mapped)
        thin = f" Of large maps every {_nth(step)} row and column is drawn." if step > 1 else ""
        text = (
            f"What crosses the cut as maps: those that vary most, in their own order. Black is a map's own lowest value"
            f" over these {spell(len(maps.places))} victims, white its highest, so shades of two maps do not compare."
        )
        return text + thin + several
    ends = [
        f"{TITLES[sheet.name].lower()} from {_figure(sheet.low[0])} to {_figure(sheet.high[0])}"
        for sheet in maps.sheets
    ]
    return f"What crosses the cut has no maps: its numbers stand line by line, black to white, {listed(ends)}.{several}"


def _nth(step: int) -> str:
    return {2: "second", 3: "third"}.get(step, f"{step}th")


def _ranges(maps: FeatureMaps) -> tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]:
    """A line a map where both sheets draw the same maps, else a line a map of each."""
    sheets = [sheet for sheet in maps.sheets if sheet.channels]
    numbers = sorted({channel for sheet in sheets for channel in sheet.channels})
    rows = []
    for number in numbers:
        cells = []
        for sheet in sheets:
            at = sheet.channels.index(number) if number in sheet.channels else None
            cells.append("not drawn" if at is None else _range(sheet.low[at], sheet.high[at]))
        rows.append((whole(number + 1), tuple(cells)))
    return tuple(TITLES[sheet.name] for sheet in sheets), tuple(rows)


def _range(low: float, high: float) -> str:
    return f"always {_figure(low)}" if low == high else f"{_figure(low)} to {_figure(high)}"


def _figure(value: float) -> str:
    return f"{value:.3g}".replace("-", MINUS)
