"""From a report to one HTML file: no script, no network, nothing but what the report holds."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from unsmash.advice_record import Advice
from unsmash.frontier_record import Frontier
from unsmash.records import Run
from unsmash.report import compare, curve_chart, drawings, frontier_chart, line_chart, reproduction, scan_chart, tiles
from unsmash.report.advice import compose as compose_advice
from unsmash.report.advice import drawn
from unsmash.report.frontier import compose
from unsmash.report.parts import Report
from unsmash.report.scan import compose as compose_scan
from unsmash.report.summarise import summarise
from unsmash.report.words import THIN
from unsmash.reproductions.record import Reproduced
from unsmash.scan_record import Scan
from unsmash.study_difference import Difference
from unsmash.verdicts import Verdict


def render(report: Report) -> str:
    """The report as one self-contained HTML page; the same report gives the same bytes."""
    page = "report.html" if report.body is not None else "failed.html"
    return _environment().get_template(page).render(report=report, body=report.body)


def render_frontier(frontier: Frontier, home: Path | None = None, *, images: bool = True) -> str:
    """The frontier as one self-contained HTML page; `home` is the folder of its runs. Same records, same bytes."""
    page = compose(frontier, home, images=images)
    drawings = frontier_chart.drawings(frontier, f"{page.chart.heading}. The table below holds every number.")
    shown = drawings if all(drawings) else ()
    return _environment().get_template("frontier.html").render(report=page, drawings=shown)


def render_advice(advice: Advice) -> str:
    """The advice as one self-contained HTML page; the same record gives the same bytes."""
    page = compose_advice(advice)
    drawings = frontier_chart.drawings(drawn(advice), f"{page.chart.heading}. The tables below hold every number.")
    shown = drawings if all(drawings) else ()
    return _environment().get_template("advice.html").render(report=page, drawings=shown)


def render_comparison(difference: Difference) -> str:
    """Two studies as one self-contained HTML page; the same records give the same bytes."""
    page = compare.compose(difference)
    drawn = compare.drawings(difference, f"{page.headline.replace('**', '')} The table below holds every number.")
    return _environment().get_template("compare.html").render(report=page, drawings=drawn)


def render_scan(scan: Scan, folder: Path | None = None, *, images: bool = True) -> str:
    """The scan as one self-contained HTML page; `folder` has its pictures. The same record gives the same bytes."""
    page = compose_scan(scan, folder, images=images)
    drawings = scan_chart.drawings(scan, f"{page.chart.heading}. The table below holds every number.")
    return _environment().get_template("scan.html").render(report=page, drawings=drawings)


def render_reproduction(record: Reproduced, folder: Path | None = None, *, images: bool = True) -> str:
    """A reproduction as one self-contained HTML page; `folder` has its pictures. The same record, the same bytes."""
    page = reproduction.compose(record, folder, images=images)
    return _environment().get_template("reproduction.html").render(report=page)


def write(runs: Sequence[Run], verdict: Verdict, folder: Path | None, target: Path, images: bool = True) -> Path:
    """Render the report of these runs into `target`, whole or not at all.

    Args:
        runs: one run a seed.
        verdict: the judgement on them.
        folder: run folder of the first, for its pictures.
        target: the HTML file; its folder is made.
        images: False leaves all pictures out.

    Returns:
        `target`.
    """
    page = render(summarise(runs, verdict, folder, images=images))
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        # mkstemp makes private files; a report is as readable as any other file its owner writes
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def rich(text: str) -> Markup:
    """A sentence with its two marks turned into elements; everything else in it is escaped.

    >>> str(rich("**5 of 9** <b> `x`"))
    '<b>5 of 9</b> &lt;b&gt; <code>x</code>'
    """
    safe = re.sub(r"(?<=\d) %", f"{THIN}%", str(escape(text)))
    safe = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", safe)
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", safe))


def inert(json: str) -> Markup:
    """JSON that may stand inside a script element: no `<` can end it or open a comment."""
    return Markup(json.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def place(share: float, top: float) -> str:
    """Where a share stands on an axis that ends at `top`, in per cent of its length.

    >>> place(0.05, 0.25), place(0.3, 0.25)
    ('20%', '100%')
    """
    return f"{min(max(share / top, 0.0), 1.0) * 100:.4g}%"


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(rich=rich, inert=inert)
    environment.globals.update(sign=drawings.sign, waffle=drawings.waffle, place=place, icon=tiles.icon())
    environment.globals.update(lines=line_chart.lines, reasons=reproduction.reasons)
    environment.globals.update(symbol=frontier_chart.symbol, curves=curve_chart.chart)
    return environment
