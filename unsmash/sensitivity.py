"""Which setting of a study matters: how far what is identified, and accuracy, move with one setting alone. No torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from unsmash.frontier_record import Frontier, Row, Share, found

DEFENCES = "defences"
"""The defences as a whole, with all their settings: what a study varies when it names several kinds"""


@dataclass(frozen=True)
class Effect:
    """One setting: the range of each figure over its values with all others held, averaged over combinations."""

    path: str
    values: tuple[Any, ...]
    identified: float
    """Largest less smallest share identified by the strongest attack, a mean over combinations"""
    accuracy: float | None
    combinations: int
    """Of the other settings, in which this one has two values or more that can be believed"""
    clear: bool
    """In some combination the intervals of the most and the least identified do not overlap"""


def effects(frontier: Frontier) -> tuple[Effect, ...]:
    """An effect for each setting that varies alone anywhere, the largest first."""
    rows = [row for row in frontier.rows if row.failure is None and _share(frontier, row) is not None]
    made = [effect for path in paths(frontier) if (effect := _effect(frontier, rows, path)) is not None]
    return tuple(sorted(made, key=lambda effect: (-effect.identified, effect.path)))


def paths(frontier: Frontier) -> list[str]:
    """Settings that vary, and `defences` as a whole where their kinds do; none where an older record does not say."""
    if not all(row.experiment for row in frontier.rows):
        return []
    names = list(dict.fromkeys(path for row in frontier.rows for path in row.settings))
    kinds = {json.dumps([one.get("kind") for one in row.defences]) for row in frontier.rows}
    return [*([DEFENCES] if len(kinds) > 1 else []), *(path for path in names if not path.endswith(".kind"))]


def groups(rows: Iterable[Row], path: str) -> list[list[Row]]:
    """Rows that are the same but for one setting, where at least two of its values are among them."""
    made: dict[str, dict[str, Row]] = {}
    for row in rows:
        value = value_of(row, path)
        if value is not None:
            made.setdefault(_others(row, path), {}).setdefault(json.dumps(value), row)
    return [list(group.values()) for group in made.values() if len(group) > 1]


def value_of(row: Row, path: str) -> Any:
    """A row's value of a setting; None where it has none."""
    return list(row.defences) if path == DEFENCES else row.settings.get(path)


def _others(row: Row, path: str) -> str:
    """Everything that varies but this setting."""
    inside = f"{DEFENCES}."
    held = {
        name: value
        for name, value in row.settings.items()
        if name != path and not (path == DEFENCES and name.startswith(inside))
    }
    # what only some defences have is no varied path, and still tells them apart
    kinds = [] if path == DEFENCES else [one.get("kind") for one in row.defences]
    return json.dumps([held, kinds], sort_keys=True)


def _effect(frontier: Frontier, rows: Sequence[Row], path: str) -> Effect | None:
    alike = groups(rows, path)
    if not alike:
        return None
    spreads, losses, clear = [], [], False
    for group in alike:
        shares = sorted((share for row in group if (share := _share(frontier, row))), key=lambda share: share.mean)
        spreads.append(shares[-1].mean - shares[0].mean)
        clear = clear or shares[-1].low > shares[0].high
        accuracies = [row.accuracy.mean for row in group if row.accuracy is not None]
        losses += [max(accuracies) - min(accuracies)] if len(accuracies) > 1 else []
    values = dict.fromkeys(json.dumps(value_of(row, path)) for row in itertools.chain(*alike))
    accuracy = sum(losses) / len(losses) if losses else None
    told = tuple(json.loads(value) for value in values)
    return Effect(path, told, sum(spreads) / len(spreads), accuracy, len(alike), clear)


def _share(frontier: Frontier, row: Row) -> Share | None:
    """What a row gives away, where that can be believed."""
    reached = found(row, frontier.chosen)
    return None if reached is None or (row.doubt and frontier.chosen == "identification") else reached.share
