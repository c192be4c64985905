"""A training drawn: passes to the right, loss upwards, a dashed line for training images and a full one for held-out.

Numbers in, markup out. The axis begins at zero, unless the losses span so much that only a logarithm shows them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

from unsmash.report.picture_parts import Plot

WIDE, HIGH = 330, 158
LEFT, RIGHT, TOP, BOTTOM = 46, 258, 12, 132
APART = 13
"""Least distance of the two lines' names"""
SPAN = 30
"""Above this ratio of the largest loss to the least the axis is a logarithm"""

Points = Sequence[tuple[int, float]]


class _Axis:
    """Where a pass and a loss stand on the sheet."""

    def __init__(self, points: Points) -> None:
        passes, losses = [place for place, _ in points], [loss for _, loss in points]
        self.first, self.last = min(passes), max(max(passes), min(passes) + 1)
        self.log = min(losses) > 0 and max(losses) > SPAN * min(losses)
        if self.log:
            self.ticks = _decades(min(losses), max(losses))
            self.low, self.high = math.log10(self.ticks[0]), math.log10(self.ticks[-1])
        else:
            self.ticks = round_ticks(min(0.0, *losses), max(losses))
            self.low, self.high = self.ticks[0], self.ticks[-1]

    def x(self, place: int) -> float:
        return LEFT + (RIGHT - LEFT) * (place - self.first) / (self.last - self.first)

    def y(self, loss: float) -> float:
        level = math.log10(loss) if self.log else loss
        return BOTTOM - (BOTTOM - TOP) * (level - self.low) / (self.high - self.low)


def chart(plot: Plot) -> Markup:
    """The drawing of one training, with the finding as its label."""
    points = (*plot.train, *plot.held)
    if not points:
        return Markup("")
    axis = _Axis(points)
    parts = [*_grid(axis), *_line(plot.train, "train", axis), *_line(plot.held, "held", axis), *_kept(plot, axis)]
    label = f"{plot.title}, {plot.loss} by pass. {plot.finding}"
    return Markup(
        f'<svg class="cv" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}{''.join(_names(plot, axis))}</svg>"
    )


def _grid(axis: _Axis) -> Iterator[str]:
    for tick in axis.ticks:
        y = axis.y(tick)
        yield f'<line class="gr" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    middle = (axis.first + axis.last) // 2
    for place in sorted({axis.first, middle, axis.last}):
        yield f'<text x="{axis.x(place):.1f}" y="{BOTTOM + 17}" text-anchor="middle">{place}</text>'
    yield f'<text x="{WIDE}" y="{BOTTOM + 17}" text-anchor="end">{"log, " if axis.log else ""}pass</text>'


def _line(points: Points, kind: str, axis: _Axis) -> Iterator[str]:
    if points:
        path = " ".join(f"{axis.x(place):.1f},{axis.y(loss):.1f}" for place, loss in points)
        yield f'<polyline class="{kind}" points="{path}"/>'


def _kept(plot: Plot, axis: _Axis) -> Iterator[str]:
    for place, loss in plot.held:
        if place == plot.kept:
            told = f"pass {place}: {loss:.3g}, the weights that were kept"
            x, y = axis.x(place), axis.y(loss)
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"><title>{escape(told)}</title></circle>'


def _names(plot: Plot, axis: _Axis) -> Iterator[str]:
    """Beside the end of each line its name, moved apart where they would meet."""
    ends = [(axis.y(points[-1][1]), name) for points, name in ((plot.train, "training"), (plot.held, "held out"))
            if points]  # fmt: skip
    ends.sort()
    if len(ends) == 2 and ends[1][0] - ends[0][0] < APART:
        middle = (ends[0][0] + ends[1][0]) / 2
        low = min(max(middle + APART / 2, TOP + APART), BOTTOM)
        ends = [(low - APART, ends[0][1]), (low, ends[1][1])]
    for y, name in ends:
        yield f'<text class="name" x="{RIGHT + 8}" y="{y + 4:.1f}">{name}</text>'


def round_ticks(low: float, high: float) -> list[float]:
    """Three to five round numbers from below the least to above the most."""
    reach = (high - low) or 1.0
    step = next(s for s in _steps(reach) if reach / s <= 4)
    start = math.floor(low / step + 1e-9)
    count = math.ceil(high / step - 1e-9) - start or 1
    return [round((start + place) * step, 12) for place in range(count + 1)]


def _steps(reach: float) -> Iterator[float]:
    power = 10.0 ** math.floor(math.log10(reach) - 1)
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    every = max(1, -(-(last - first) // 4))
    return [10.0**place for place in range(first, last + every, every)]
