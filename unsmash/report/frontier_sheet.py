"""The frontier's sheet: where an accuracy and a share stand on it, and where there is room for a name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from markupsafe import escape

UNIT, PARTS = 0.005, 40
"""Accuracy lost, as a share, below which the axis is nearly even and above which it is logarithmic; a wide
range has its own, of which it holds so many"""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom"""


@dataclass(frozen=True)
class Sheet:
    """The paper: its size, the inner edges of the plot, and how large its letters are."""

    wide: float
    high: float
    left: float
    right: float
    top: float
    bottom: float
    letters: float
    gap: float
    """Least distance between ticks"""
    longest: int
    """Letters of a name before it is cut short"""


WIDE = Sheet(1056, 500, 52, 1036, 40, 440, 13.5, 52, 40)
PHONE = Sheet(358, 460, 38, 346, 36, 400, 12, 42, 20)


@dataclass(frozen=True)
class Scales:
    """Where accuracies and shares stand on a sheet."""

    sheet: Sheet
    best: float
    worst: float
    most: float
    """Share at the upper end"""

    def x(self, accuracy: float) -> float:
        """From the worst accuracy at the left to the best at the right, stretched near the best."""
        unit = max(UNIT, (self.best - self.worst) / PARTS)
        reach = math.log1p((self.best - self.worst) / unit)
        lost = math.log1p((self.best - min(max(accuracy, self.worst), self.best)) / unit)
        inner = self.sheet.right - self.sheet.left - 44
        return self.sheet.right - 22 - inner * lost / reach

    def y(self, share: float) -> float:
        """From none at the bottom, by square roots."""
        return self.sheet.bottom - (self.sheet.bottom - self.sheet.top) * math.sqrt(min(share, self.most) / self.most)


SQUARE = 24.0
"""Side of the squares that boxes are looked up by"""


@dataclass
class Labels:
    """Names beside marks: put where there is room, left out where there is none."""

    sheet: Sheet
    taken: list[Box] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    squares: dict[tuple[int, int], dict[Box, None]] = field(default_factory=dict)
    """The same boxes, each once, by the squares that they touch: a name among a thousand marks looks at its neighbours
    alone"""

    def __post_init__(self) -> None:
        for box in self.taken:
            self._enter(box)

    def block(self, x: float, y: float, reach: float) -> None:
        """A mark stands there."""
        self.take((x - reach, y - reach, x + reach, y + reach))

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A line runs there."""
        steps = max(1, int(math.dist(start, end) / 8))
        for step in range(steps + 1):
            part = step / steps
            self.block(start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]), 1)

    def write(self, x: float, y: float, text: str, kind: str = "", *, away: float = 12, must: bool = False) -> bool:
        """Put a name beside a mark; False where there was no room. One that must be goes where it covers least."""
        size = self.sheet.letters
        wide, high = len(text) * size * 0.53, size * 1.1
        beside = [(anchor, dx, dy) for dy in (high, -high) for anchor, dx in (("start", away - 3), ("end", 3 - away))]
        places = [("start", away, 0.0), ("end", -away, 0.0), ("middle", 0.0, high + 1), ("middle", 0.0, -high - 1)]
        places += [*beside, *((anchor, dx, 2 * dy) for anchor, dx, dy in beside if must)]
        seen: list[Any] = []
        for anchor, dx, dy in places:
            left = x + dx - {"start": 0.0, "end": wide, "middle": wide / 2}[anchor]
            box = (left, y + dy - high / 2, left + wide, y + dy + high / 2)
            if left >= 2 and box[2] <= self.sheet.wide - 2 and box[1] >= 2 and box[3] <= self.sheet.bottom:
                covers = self._covers(box, all_of_it=must)
                seen.append((covers, len(seen), anchor, dx, dy, box))
                if not covers:
                    break  # the first place that is free is the best
        covered, _, anchor, dx, dy, box = min(seen, default=(math.inf, 0, "", 0.0, 0.0, (0.0, 0.0, 0.0, 0.0)))
        if not seen or (covered > 0 and not must):
            return False
        self._put(x + dx, y + dy, text, kind, anchor, box)
        return True

    def along(self, y: float, text: str) -> None:
        """Name a line across the sheet: over it or under it, as far to the left as there is room."""
        size, sheet = self.sheet.letters, self.sheet
        wide, high = len(text) * size * 0.55, size * 1.1
        seen: list[Any] = []
        for up in (-size * 0.95, size * 0.95):
            for step in range(13):
                left = sheet.left + 4 + step / 12 * max(0.0, sheet.right - sheet.left - 8 - wide)
                box = (left, y + up - high / 2, left + wide, y + up + high / 2)
                seen.append((self._covers(box), len(seen), left, up, box))
        _, _, left, up, box = min(seen)
        self._put(left, y + up, text, "b", "start", box)

    def _put(self, x: float, y: float, text: str, kind: str, anchor: str, box: Box) -> None:
        self.take(box)
        place = f'x="{x:.1f}" y="{y + self.sheet.letters * 0.35:.1f}" text-anchor="{anchor}"'
        self.written.append(f'<text class="halo {kind}" {place}>{escape(text)}</text>')

    def take(self, box: Box) -> None:
        """Nothing may be written there."""
        self.taken.append(box)
        self._enter(box)

    def _enter(self, box: Box) -> None:
        for square in _squares(box):
            self.squares.setdefault(square, {})[box] = None

    def _covers(self, box: Box, *, all_of_it: bool = True) -> float:
        """Area of what is taken that a box would cover; the first bit of it where not all is asked for."""
        total, counted = 0.0, set[Box]()
        for square in _squares(box):
            for other in self.squares.get(square, ()):
                shared = _shared(box, other)
                if shared and other not in counted:
                    counted.add(other)
                    total += shared
                    if not all_of_it:
                        return total
        return total


def _squares(box: Box) -> Iterator[tuple[int, int]]:
    """The squares of the sheet that a box touches."""
    for column in range(int(box[0] // SQUARE), int(box[2] // SQUARE) + 1):
        for line in range(int(box[1] // SQUARE), int(box[3] // SQUARE) + 1):
            yield column, line


def _shared(one: Box, other: Box) -> float:
    """Area that two boxes have in common."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    return max(0.0, wide) * max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
