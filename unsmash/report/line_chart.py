"""A few lines over one axis, for a reproduction's page. Numbers in, markup out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

from unsmash.report.curve_chart import round_ticks
from unsmash.reproductions.record import Chart

WIDE, HIGH = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 560, 34, 268
APART = 17
"""Least distance of two lines' names"""
COLOURS = 6
"""Lines told apart by colour; further ones begin again"""

Line = tuple[str, Sequence[tuple[float, float]]]


class _Axes:
    def __init__(self, chart: Chart) -> None:
        points = [point for _, line in chart.lines for point in line]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self.x_ticks, self.y_ticks = round_ticks(min(xs), max(xs)), round_ticks(min(ys), max(ys))

    def x(self, value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (value - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0])

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - self.y_ticks[0]) / (self.y_ticks[-1] - self.y_ticks[0])


def lines(chart: Chart) -> Markup:
    """The drawing, labelled with its title; empty where there is no point."""
    if not any(points for _, points in chart.lines):
        return Markup("")
    axes = _Axes(chart)
    parts = [
        *_grid(axes, chart),
        *(part for place, line in enumerate(chart.lines) for part in _line(place, line, chart, axes)),
    ]
    return Markup(
        f'<svg class="ln" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(chart.title)}">'
        f"{''.join(parts)}{''.join(_names(chart, axes))}</svg>"
    )


def _grid(axes: _Axes, chart: Chart) -> Iterator[str]:
    for tick in axes.y_ticks:
        y = axes.y(tick)
        yield f'<line class="gr" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    for tick in axes.x_ticks:
        yield f'<text x="{axes.x(tick):.1f}" y="{BOTTOM + 19}" text-anchor="middle">{tick:g}</text>'
    yield f'<text class="ti" x="{(LEFT + RIGHT) / 2}" y="{HIGH - 8}" text-anchor="middle">{escape(chart.x)}</text>'
    yield f'<text class="ti" x="{LEFT - 54}" y="{TOP - 18}">{escape(chart.y)}</text>'


def _line(place: int, line: Line, chart: Chart, axes: _Axes) -> Iterator[str]:
    name, points = line
    kind = f"l{place % COLOURS}" + (" published" if name in chart.published else "")
    path = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points)
    yield f'<polyline class="{kind}" points="{path}"/>'
    for x, y in points:
        told = f"{name}: {y:g} at {x:g}"
        at = f'cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}"'
        yield f'<circle class="{kind}" {at} r="3"><title>{escape(told)}</title></circle>'


def _names(chart: Chart, axes: _Axes) -> Iterator[str]:
    """Beside the end of each line its name, moved down where two would meet."""
    ends = sorted((axes.y(points[-1][1]), place, name) for place, (name, points) in enumerate(chart.lines) if points)
    lowest = float(TOP)
    shown = []
    for y, place, name in ends:
        lowest = max(y, lowest)
        shown.append((lowest, place, name))
        lowest += APART
    over = max(0.0, shown[-1][0] - BOTTOM)
    for y, place, name in shown:
        yield f'<text class="name l{place % COLOURS}" x="{RIGHT + 12}" y="{y - over + 4:.1f}">{escape(name)}</text>'
