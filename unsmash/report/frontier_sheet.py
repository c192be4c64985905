"""The frontier's sheet: where an accuracy and a share stand on it, and where there is room for a name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

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


@dataclass
class Labels:
    """Names beside marks: put where there is room, left out where there is none."""

    sheet: Sheet
    taken: list[Box] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def block(self, x: float, y: float, reach: float) -> None:
        """A mark stands there."""
        self.taken.append((x - reach, y - reach, x + reach, y + reach))

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A line runs there."""
        steps = max(1, int(math.dist(start, end) / 8))
        for step in range(steps + 1):
            part = step / steps
            self.block(start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]), 1)

    def write(self, x: float, y: float, text: str, kind: str = "", *, away: float = 12, must: bool = False) -> bool:
        """Put a name beside a mark; False where there was no room."""
        size = self.sheet.letters
        wide, high = len(text) * size * 0.53, size * 1.1
        first = None
        for anchor, dx, dy in (
            ("start", away, 0), ("end", -away, 0), ("middle", 0, high + 1), ("middle", 0, -high - 1),
            ("start", away - 3, high), ("end", -away + 3, high), ("start", away - 3, -high), ("end", -away + 3, -high),
        ):  # fmt: skip
            start = x + dx - {"start": 0.0, "end": wide, "middle": wide / 2}[anchor]
            box = (start, y + dy - high / 2, start + wide, y + dy + high / 2)
            if box[0] < 2 or box[2] > self.sheet.wide - 2 or box[1] < 2 or box[3] > self.sheet.bottom:
                continue
            first = first or (anchor, dx, dy, box)
            if not any(_overlap(box, other) for other in self.taken):
                self._put(x, y, text, kind, (anchor, dx, dy, box))
                return True
        if must and first:
            self._put(x, y, text, kind, first)
            return True
        return False

    def corner(self, y: float, text: str) -> None:
        """Name a line across the sheet: over it or under it, at its left end or its right one, where there is room."""
        size, sheet = self.sheet.letters, self.sheet
        wide = len(text) * size * 0.55
        places = [(anchor, up) for up in (-size * 0.95, size * 0.95) for anchor in ("start", "end")]
        boxes = []
        for anchor, up in places:
            left = sheet.left + 4 if anchor == "start" else sheet.right - 4 - wide
            boxes.append((left, y + up - size * 0.55, left + wide, y + up + size * 0.55))
        free = [place for place, box in enumerate(boxes) if not any(_overlap(box, other) for other in self.taken)]
        best = free[0] if free else 0
        anchor, up = places[best]
        x = sheet.left + 4 if anchor == "start" else sheet.right - 4
        self._put(x, y, text, "b", (anchor, 0, up, boxes[best]))

    def _put(self, x: float, y: float, text: str, kind: str, where: tuple[str, float, float, Box]) -> None:
        anchor, dx, dy, box = where
        self.taken.append(box)
        place = f'x="{x + dx:.1f}" y="{y + dy + self.sheet.letters * 0.35:.1f}" text-anchor="{anchor}"'
        self.written.append(f'<text class="halo {kind}" {place}>{escape(text)}</text>')


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
