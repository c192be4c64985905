"""The frontier drawn: accuracy to the right, share identified upwards; each setting a mark, a stem and what is proved.

Both axes are stretched where it matters: accuracy near the best, the share near nothing. Numbers in, markup out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from markupsafe import Markup, escape

from unsmash.frontier_record import Curve, Frontier, Row
from unsmash.report.frontier_sheet import PHONE, WIDE, Labels, Scales, Sheet
from unsmash.report.words import bare, percent, points, span, whole

WIDEST = 0.02
"""Least accuracy range drawn, so that settings that differ by nothing are not drawn far apart"""
LOW = 0.20
"""Where everything stays below, the axis of shares ends at a quarter"""

STAR = "M0,-8 L2.3,-2.6 8,-2.3 3.6,1.4 5.1,7.1 0,4 -5.1,7.1 -3.6,1.4 -8,-2.3 -2.3,-2.6Z"
SIGNS = {
    "leaks": '<path d="M-2.4-2.4L2.4 2.4M2.4-2.4L-2.4 2.4"/>',
    "passes": '<path d="M-3 .2L-.9 2.4L3-2.2"/>',
    "inconclusive": '<path d="M-1.9-1.4C-1.9-3.6 2-3.6 2-1.3C2 .1 0 .1 0 1.5M0 3.1V3.3"/>',
}
"""What stands inside a mark, so that its colour is never alone"""


MUST = 24
"""Names on the front, or without a defence, that are written even where they cover something; more cannot be read"""


def chart(frontier: Frontier, sheet: Sheet, label: str) -> Markup:
    """The drawing; empty where no setting has both an accuracy and a share."""
    scales = _scales(frontier, sheet)
    if scales is None:
        return Markup("")
    rows = [row for row in frontier.rows if _drawn(row)]
    several = len(frontier.seeds) > 1
    labels = Labels(sheet, [(0, 0, sheet.wide / 2, 20)])
    marks = [mark for row in rows for mark in _marks(row, frontier.ceiling(row), scales, labels, several=several)]
    curves = [part for curve in frontier.curves for part in _curve(curve, frontier, scales, labels)]
    bar = [*_bar(frontier, scales, labels)]
    parts = [*axes(frontier, scales), *_limit(frontier, scales, labels), *curves, *marks, *bar]
    _name(frontier, scales, labels)
    name = "dk" if sheet is WIDE else "ph"
    return Markup(
        f'<svg class="fr {name}" viewBox="0 0 {sheet.wide:g} {sheet.high:g}" role="img" aria-label="{escape(label)}"'
        f' font-size="{sheet.letters}">{"".join(parts)}{"".join(labels.written)}</svg>'
    )


def symbol(kind: str) -> Markup:
    """One of the chart's marks inside a sentence."""
    inner = {
        "gallery": '<circle class="list" r="4.5"/>',
        "ceiling": '<path class="cap" d="M-7 4V0H7V4"/>',
        "label": f'<path class="star" d="{STAR}"/>',
        "front": '<circle class="ring" r="7.5"/>',
        "doubt": '<circle class="doubt" r="6.5"/>',
    }
    drawn = inner.get(kind) or f'<g class="mk {kind}"><circle r="7"/>{SIGNS[kind]}</g>'
    return Markup(f'<svg class="fr inl" viewBox="-9 -9 18 18" aria-hidden="true">{drawn}</svg>')


def _drawn(row: Row) -> bool:
    return row.accuracy is not None and (row.attack is not None or row.gallery is not None)


def _scales(frontier: Frontier, sheet: Sheet) -> Scales | None:
    rows = [row for row in frontier.rows if _drawn(row)]
    if not rows:
        return None
    accuracies = [row.accuracy.mean for row in rows if row.accuracy is not None]
    if frontier.label is not None and frontier.label.accuracy is not None:
        accuracies.append(frontier.label.accuracy.mean)
    shares = [reached.share.high for row in rows for reached in (row.attack, row.gallery) if reached is not None]
    shares += [ceiling for row in rows if (ceiling := frontier.ceiling(row)) is not None]
    shares += [frontier.limit or 0.0, frontier.gallery_limit or 0.0, frontier.label.share if frontier.label else 0.0]
    best = max(accuracies)
    return Scales(sheet, best, min(*accuracies, best - WIDEST), 0.25 if max(shares) < LOW else 1.0)


def axes(frontier: Frontier, scales: Scales) -> Iterator[str]:
    """Both axes with their ticks and titles."""
    sheet = scales.sheet
    shares = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1) if scales.most == 1 else (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25)
    for share in shares:
        y = scales.y(share)
        text = f"{share * 100:g}" + ("\u202f%" if share == shares[-1] else "")
        yield f'<line class="gr" x1="{sheet.left}" x2="{sheet.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tx" x="{sheet.left - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    ticks = _ticks(scales)
    for accuracy in ticks:
        x = scales.x(accuracy)
        text = f"{accuracy * 100:g}" + ("\u202f%" if accuracy == ticks[-1] else "")
        yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{sheet.bottom}" y2="{sheet.bottom + 6}"/>'
        yield f'<text class="tx" x="{x:.1f}" y="{sheet.bottom + 21}" text-anchor="middle">{text}</text>'
    several = frontier.noun[1] if frontier.n else "victims"
    what = f"Share of {several} identified, of {whole(frontier.n)}"
    yield f'<text class="ti" x="{sheet.left - 36}" y="15">{escape(what)}</text>'
    yield f'<text class="ti" x="{sheet.right}" y="{sheet.bottom + 46}" text-anchor="end">Accuracy →</text>'


def _ticks(scales: Scales) -> list[float]:
    """Round accuracies, the roundest first, as many as there is room for."""
    chosen: list[float] = []
    for step in (100, 50, 10, 5):
        for mille in range(1000, -1, -step):
            accuracy = mille / 1000
            inside = scales.worst - 1e-9 <= accuracy <= scales.best + 1e-9
            if inside and all(abs(scales.x(accuracy) - scales.x(other)) >= scales.sheet.gap for other in chosen):
                chosen.append(accuracy)
    return sorted(chosen)


def _limit(frontier: Frontier, scales: Scales, labels: Labels) -> Iterator[str]:
    """The budget: what it allows tinted, its limit one unbroken line with its name on it."""
    limit = frontier.limit if frontier.chosen == "identification" else frontier.gallery_limit
    if limit is None:
        return
    sheet, y = scales.sheet, scales.y(limit)
    least = frontier.least_accuracy
    inside = least is not None and scales.worst <= least <= scales.best
    start = scales.x(least) if least is not None and inside else sheet.left
    size = f'width="{sheet.right - start:.1f}" height="{sheet.bottom - y:.1f}"'
    yield f'<rect class="goal" x="{start:.1f}" y="{y:.1f}" {size}/>'
    yield f'<line class="lim" x1="{sheet.left}" x2="{sheet.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
    text = f"your limit, {bare(limit)}"
    if least is not None and inside:
        yield f'<line class="lim" x1="{start:.1f}" x2="{start:.1f}" y1="{y:.1f}" y2="{sheet.bottom}"/>'
        text += f" at accuracy {bare(least)} or more"
    labels.along(y, text)
    labels.take((sheet.left, y - 1, sheet.right, y + 1))


def _marks(row: Row, ceiling: float | None, scales: Scales, labels: Labels, *, several: bool) -> Iterator[str]:
    """One setting: its stem, whiskers, hollow and filled mark, and the ceiling."""
    assert row.accuracy is not None
    x = scales.x(row.accuracy.mean)
    ends = [scales.y(reached.share.mean) for reached in (row.attack, row.gallery) if reached is not None]
    if len(ends) > 1:
        yield f'<line class="stem" x1="{x:.1f}" x2="{x:.1f}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}"/>'
        labels.line((x, ends[0]), (x, ends[1]))
    if ceiling is not None:
        y = scales.y(ceiling)
        yield f'<line class="proof" x1="{x:.1f}" x2="{x:.1f}" y1="{min(ends):.1f}" y2="{y:.1f}"/>'
        told = f"{row.name}: no attacker identifies more than {percent(ceiling)} on average, proven"
        yield f'<path class="cap" d="M{x - 8:.1f} {y + 5:.1f}V{y:.1f}H{x + 8:.1f}V{y + 5:.1f}">{_title(told)}</path>'
        labels.block(x, y + 2, 6)
    if row.attack is not None:
        low, high = scales.y(row.attack.share.low), scales.y(row.attack.share.high)
        yield f'<line class="wh {row.word}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        if several:
            left, right = scales.x(row.accuracy.low), scales.x(row.accuracy.high)
            y = scales.y(row.attack.share.mean)
            yield f'<line class="wh flat {row.word}" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    if row.gallery is not None:
        y = scales.y(row.gallery.share.mean)
        told = f"{row.name}: {percent(row.gallery.share.mean)} with the candidate list"
        yield f'<circle class="list" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{_title(told)}</circle>'
        labels.block(x, y, 4)
    if row.attack is not None:
        yield _filled(row, x, scales.y(row.attack.share.mean))
        labels.block(x, scales.y(row.attack.share.mean), 7)
    if row.front and ends:
        yield f'<circle class="ring" cx="{x:.1f}" cy="{_height(row, scales):.1f}" r="10.5"/>'


def _filled(row: Row, x: float, y: float) -> str:
    """What the strongest attack reached; dashed and empty where it must not be believed."""
    assert row.accuracy is not None
    assert row.attack is not None
    lost = "" if row.lost is None else f", {points(-row.lost)} against no defence"
    share, where = row.attack.share, f'transform="translate({x:.1f},{y:.1f})"'
    told = (
        f"{row.name}: {percent(share.mean)} identified ({span(share.low, share.high)}) by {row.attack.attack},"
        f" accuracy {percent(row.accuracy.mean)}{lost}"
    )
    told += f"; {'run' if len(row.runs) == 1 else 'runs'} {', '.join(row.runs)}" if row.runs else ""
    if row.doubt:
        return f'<g class="doubt" {where}><circle r="6.5"/>{_title(f"{told}; not counted: {row.doubt}")}</g>'
    return f'<g class="mk {row.word}" {where}><circle r="7"/>{SIGNS[row.word]}{_title(told)}</g>'


def _height(row: Row, scales: Scales) -> float:
    """Where a setting's name belongs: at its strongest attack, else at the candidate list."""
    reached = row.attack or row.gallery
    return scales.y(reached.share.mean if reached else 0.0)


def _curve(curve: Curve, frontier: Frontier, scales: Scales, labels: Labels) -> Iterator[str]:
    """Settings that differ in one number, joined in its order."""
    rows = [frontier.rows[place] for place in curve.rows if _drawn(frontier.rows[place])]
    path = [(scales.x(row.accuracy.mean), _height(row, scales)) for row in rows if row.accuracy]
    for start, end in itertools.pairwise(path):
        labels.line(start, end)
    if len(path) > 1:
        yield f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in path)}"/>'


def _bar(frontier: Frontier, scales: Scales, labels: Labels) -> Iterator[str]:
    """The bar that every defence must justify itself against."""
    bar = frontier.label
    if bar is None or bar.accuracy is None:
        return
    x, y = scales.x(bar.accuracy.mean), scales.y(bar.share)
    told = f"Send only the label: {percent(bar.share)} identified, accuracy {percent(bar.accuracy.mean)}"
    yield f'<path class="star" transform="translate({x:.1f},{y:.1f})" d="{STAR}">{_title(told)}</path>'
    labels.block(x, y, 7)


def _name(frontier: Frontier, scales: Scales, labels: Labels) -> None:
    """Names beside the marks, those that matter most first; every other one is in the table and in its title."""
    rows = [row for row in frontier.rows if _drawn(row)]
    place = {row.name: (scales.x(row.accuracy.mean), _height(row, scales)) for row in rows if row.accuracy}
    bar = frontier.label
    if bar is not None and bar.accuracy is not None:
        labels.write(scales.x(bar.accuracy.mean), scales.y(bar.share), "only the label", "b", must=True)
    numbers = dict(_numbers(frontier))
    main = [row for row in rows if row.front or not row.defences]
    named, first = {row.name for row in main}, {row.name for row in main[:MUST]}
    for row in (*main, *(row for row in rows if row.name not in named)):
        text = row.name if row.name in named else numbers.get(row.name, row.name)
        kind = "b" if row.name in named else "tx" if row.name in numbers else ""
        x, y = place[row.name]
        must = row.name in first
        labels.write(x, y, _cut(text, labels.sheet.longest), kind, must=must, away=14 if row.front else 11)


def _numbers(frontier: Frontier) -> Iterator[tuple[str, str]]:
    """What stands at the points of a curve: the number alone, with the curve's name at one end."""
    for curve in frontier.curves:
        rows = [frontier.rows[place] for place in curve.rows]
        plain = [place for place, row in enumerate(rows) if _drawn(row) and not row.front]
        for place in plain:
            number = f"{curve.values[place]:.3g}"
            yield rows[place].name, f"{curve.title} {number}" if place == plain[-1] else number


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def drawings(frontier: Frontier, label: str) -> tuple[Markup, ...]:
    """The drawing for a page or a screen, and the one for a phone."""
    return tuple(chart(frontier, sheet, label) for sheet in (WIDE, PHONE))
