"""Drawings as SVG text: numbers in, markup out. Colours are classes: dark mode and print are left to the styles."""

from __future__ import annotations

from markupsafe import Markup, escape

from unsmash.report.parts import Squares
from unsmash.verdicts import Word

PITCH, SIDE = 12, 10
"""Distance between squares and side of one, in drawing units"""

_FORMS = {
    "leaks": (
        '<path d="M6.1 1h7.8L19 6.1v7.8L13.9 19H6.1L1 13.9V6.1z" fill="currentColor"/>'
        '<path d="M7 7l6 6M13 7l-6 6" class="inside"/>'
    ),
    "passes": '<circle cx="10" cy="10" r="9" fill="currentColor"/><path d="M5.8 10.3l2.9 2.9 5.6-6.1" class="inside"/>',
    "inconclusive": (
        '<circle cx="10" cy="10" r="8" class="dashed"/>'
        '<text x="10" y="14" text-anchor="middle" fill="currentColor">?</text>'
    ),
}


def sign(word: Word) -> Markup:
    """The verdict's form: octagon, disc or dashed ring, so that colour is never alone."""
    return Markup(f'<svg class="sign" viewBox="0 0 20 20" aria-hidden="true">{_FORMS[word]}</svg>')


def scaled(counts: list[int], most: int) -> list[int]:
    """Counts brought down to add up to `most` by largest remainders; unchanged when they do not exceed it.

    >>> scaled([600, 399, 1], 500)
    [300, 200, 0]
    """
    total = sum(counts)
    if total <= most:
        return counts
    exact = [count * most / total for count in counts]
    floors = [int(value) for value in exact]
    order = sorted(range(len(counts)), key=lambda place: (floors[place] - exact[place], place))
    for place in order[: most - sum(floors)]:
        floors[place] += 1
    return floors


def columns(squares: int) -> int:
    """Squares in a line: 25, or 10 when there are few."""
    return 25 if squares >= 100 else 10


def waffle(squares: Squares, most: int = 500) -> Markup:
    """Every victim as a square, coloured by who finds it, the limit outlined from the first square on."""
    counts = scaled([share.count for share in squares.shares], most)
    drawn = sum(counts)
    wide = columns(drawn)
    parts, place = [], 0
    for share, count in zip(squares.shares, counts, strict=True):
        marks = []
        for index in range(place, place + count):
            x, y = (index % wide) * PITCH + 1, (index // wide) * PITCH + 1
            marks.append(f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" rx="1.5"/>')
        if marks:
            parts.append(f'<g class="sq {escape(share.tone)}">{"".join(marks)}</g>')
        place += count
    if squares.limit is not None:
        limit = squares.limit if squares.n <= most else int(squares.limit * most / squares.n)
        parts.append(outline(min(limit, drawn), wide))
    high = -(-drawn // wide) * PITCH
    return Markup(
        f'<svg class="waffle" viewBox="0 0 {wide * PITCH} {high}" role="img" aria-label="{escape(squares.label)}">'
        f"{''.join(parts)}</svg>"
    )


def outline(count: int, wide: int) -> str:
    """A line around the first `count` squares in reading order; a bar before the first when it is none.

    >>> outline(25, 25)
    '<path class="limit" d="M0 0H300V12H0Z"/>'
    """
    full, rest = divmod(count, wide)
    if count == 0:
        return f'<path class="limit" d="M0 0V{PITCH}"/>'
    if rest == 0:
        return f'<path class="limit" d="M0 0H{wide * PITCH}V{full * PITCH}H0Z"/>'
    if full == 0:
        return f'<path class="limit" d="M0 0H{rest * PITCH}V{PITCH}H0Z"/>'
    across, down = rest * PITCH, full * PITCH
    return f'<path class="limit" d="M0 0H{wide * PITCH}V{down}H{across}V{down + PITCH}H0Z"/>'
