"""A scan drawn: cuts to the right in the order the network runs; the share identified above, the bytes sent below.

The share is stretched near nothing by square roots, the bytes are logarithmic. Numbers in, markup out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup, escape

from unsmash.records import Result
from unsmash.report.frontier_chart import SIGNS
from unsmash.report.words import bare, percent, span, whole
from unsmash.scan_record import Cut, Scan
from unsmash.scan_verdict import identification_limit, knee, strongest

SHARES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)


@dataclass(frozen=True)
class Paper:
    """The sheet: its size, the edges of both plots, and how large its letters are."""

    wide: float
    high: float
    left: float
    right: float
    top: float
    middle: float
    """Where the plot of shares ends"""
    upper: float
    """Where the plot of bytes begins"""
    lower: float
    """Where it ends"""
    letters: float
    longest: int
    """Letters of a cut's name before it is cut short"""
    name: str


WIDE = Paper(1056, 590, 60, 1040, 40, 330, 388, 506, 13.5, 20, "dk")
PHONE = Paper(358, 560, 44, 348, 36, 290, 346, 450, 12, 16, "ph")


def drawings(scan: Scan, label: str) -> tuple[Markup, ...]:
    """The drawing for a page or a screen, and the one for a phone."""
    return tuple(chart(scan, paper, label) for paper in (WIDE, PHONE))


def chart(scan: Scan, paper: Paper, label: str) -> Markup:
    """Both plots over one row of names."""
    parts = [*_shares(scan, paper), *_bytes(scan, paper), *_names(scan, paper)]
    return Markup(
        f'<svg class="fr {paper.name}" viewBox="0 0 {paper.wide:g} {paper.high:g}" role="img"'
        f' aria-label="{escape(label)}" font-size="{paper.letters}">{"".join(parts)}</svg>'
    )


def x_of(paper: Paper, place: int, count: int) -> float:
    """Where a cut stands, in equal steps."""
    return paper.left + (place + 0.5) * (paper.right - paper.left) / count


def y_of(paper: Paper, share: float) -> float:
    """From none at the foot of the plot, by square roots."""
    return paper.middle - (paper.middle - paper.top) * math.sqrt(min(max(share, 0.0), 1.0))


def _shares(scan: Scan, paper: Paper) -> Iterator[str]:
    yield f'<text class="ti" x="2" y="16">Share of {whole(scan.n)} {escape(scan.data.noun[1])} identified</text>'
    for share in SHARES:
        y = y_of(paper, share)
        text = f"{share * 100:g}" + ("\u202f%" if share == 1 else "")
        yield f'<line class="gr" x1="{paper.left}" x2="{paper.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tx" x="{paper.left - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    yield from _levels(scan, paper)
    count = len(scan.cuts)
    tops = [(x_of(paper, place, count), y_of(paper, best.scores["identification"].mean))
            for place, cut in enumerate(scan.cuts) if (best := strongest(cut)) is not None]  # fmt: skip
    if len(tops) > 1:
        yield f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in tops)}"/>'
    for place, cut in enumerate(scan.cuts):
        yield from _marks(cut, x_of(paper, place, count), paper, chosen=cut is knee(scan))


def _levels(scan: Scan, paper: Paper) -> Iterator[str]:
    """What a guesser reaches, what the label alone gives away, and the limit."""
    wide = f'x1="{paper.left}" x2="{paper.right}"'
    floors = [("mean_image", "the average image"), ("label_only", "only the label, to who holds the list")]
    for name, text in floors:
        floor = scan.floor(name)
        if floor is not None and not floor.failure:
            share = floor.scores["identification"].mean
            y = y_of(paper, share)
            yield f'<line class="proof" {wide} y1="{y:.1f}" y2="{y:.1f}"/>'
            told = f"{text}, {percent(share)}"
            yield f'<text class="halo tx" x="{paper.right}" y="{y - 4:.1f}" text-anchor="end">{escape(told)}</text>'
    limit = identification_limit(scan.budget)
    if limit is not None:
        y = y_of(paper, limit)
        yield f'<line class="lim" {wide} y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="halo b" x="{paper.left + 4}" y="{y - 5:.1f}">your limit, {bare(limit)}</text>'


def _marks(cut: Cut, x: float, paper: Paper, *, chosen: bool) -> Iterator[str]:
    """One cut: the candidate list hollow, ridge small, the strongest attack large, each with its interval."""
    gallery = cut.result("gallery")
    if gallery is not None and not gallery.failure:
        y = y_of(paper, gallery.scores["identification"].mean)
        told = f"{cut.name}: {percent(gallery.scores['identification'].mean)} with the candidate list"
        yield f'<circle class="list" cx="{x + 15:.1f}" cy="{y:.1f}" r="4.5"><title>{escape(told)}</title></circle>'
    best = strongest(cut)
    for result in cut.results:
        if result.role == "attack" and not result.failure and result is not best:
            yield from _mark(cut, result, x - 13, paper, 4.5)
    if best is not None:
        yield from _mark(cut, best, x, paper, 7)
        if chosen:
            y = y_of(paper, best.scores["identification"].mean)
            yield f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="11"/>'


def _mark(cut: Cut, result: Result, x: float, paper: Paper, radius: float) -> Iterator[str]:
    score = result.scores["identification"]
    low, high, y = (y_of(paper, value) for value in (score.low, score.high, score.mean))
    told = f"{cut.name}, {result.title}: {percent(score.mean)} identified ({span(score.low, score.high)})"
    where = f'transform="translate({x:.1f},{y:.1f})"'
    if not result.card.valid:
        title = f"<title>{escape(f'{told}; not counted')}</title>"
        yield f'<g class="doubt" {where}><circle r="{radius}"/>{title}</g>'
        return
    inside = SIGNS[cut.word] if radius > 6 else ""
    yield f'<line class="wh {cut.word}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
    yield f'<g class="mk {cut.word}" {where}><circle r="{radius}"/>{inside}<title>{escape(told)}</title></g>'


def _bytes(scan: Scan, paper: Paper) -> Iterator[str]:
    sizes = [size for cut in scan.cuts for size in (cut.bytes_raw, cut.bytes_compressed)] + [scan.bytes_input]
    low, high = math.floor(math.log10(max(min(sizes), 1))), math.ceil(math.log10(max(sizes)) + 1e-9)
    high = max(high, low + 1)

    def y_at(size: float) -> float:
        part = (math.log10(max(size, 10**low)) - low) / (high - low)
        return paper.lower - (paper.lower - paper.upper) * part

    yield f'<text class="ti" x="2" y="{paper.upper - 16:.1f}">Bytes sent for one image</text>'
    for power in range(low, high + 1):
        y = y_at(10.0**power)
        yield f'<line class="gr" x1="{paper.left}" x2="{paper.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        text = whole(10**power) if power < 6 else f"{whole(10 ** (power - 6))} M"
        yield f'<text class="tx" x="{paper.left - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    count = len(scan.cuts)
    half = min(16.0, (paper.right - paper.left) / count * 0.3)
    for place, cut in enumerate(scan.cuts):
        x = x_of(paper, place, count)
        told = (
            f"{cut.name}: {whole(cut.bytes_raw)} bytes, in 8 bits a number {whole(cut.bytes_quantised)},"
            f" deflated {whole(cut.bytes_compressed)}"
        )
        yield f"<g><title>{escape(told)}</title>"
        for kind, size in (("raw", cut.bytes_raw), ("packed", cut.bytes_compressed)):
            y = y_at(size)
            shape = f'x="{x - half:.1f}" y="{y:.1f}" width="{2 * half:.1f}" height="{paper.lower - y:.1f}"'
            yield f'<rect class="{kind}" {shape}/>'
        y = y_at(cut.bytes_quantised)
        yield f'<line class="eight" x1="{x - half:.1f}" x2="{x + half:.1f}" y1="{y:.1f}" y2="{y:.1f}"/></g>'
    y = y_at(scan.bytes_input)
    yield f'<line class="lim" x1="{paper.left}" x2="{paper.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
    text = f"the picture itself, {whole(scan.bytes_input)}"
    yield f'<text class="halo b" x="{paper.right}" y="{y - 5:.1f}" text-anchor="end">{text}</text>'


def _names(scan: Scan, paper: Paper) -> Iterator[str]:
    best = knee(scan)
    for place, cut in enumerate(scan.cuts):
        x, y = x_of(paper, place, len(scan.cuts)), paper.lower + 16
        name = cut.name if len(cut.name) <= paper.longest else f"…{cut.name[1 - paper.longest :]}"
        turned = f'transform="rotate(-35 {x:.1f} {y:.1f})"'
        kind = "b" if cut is best else "tx" if cut.control else ""
        yield f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="end" {turned}>{escape(name)}</text>'
