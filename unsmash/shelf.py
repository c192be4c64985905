"""Stored runs for the command line: list, show, and write their reports anew. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsmash import report
from unsmash.errors import ConfigError
from unsmash.frontier_record import Frontier
from unsmash.index import summaries
from unsmash.judge import judge
from unsmash.records import Result, Run
from unsmash.report.page_parts import Setting
from unsmash.scan_record import Scan
from unsmash.store import REPORT, RUN, VERDICT, Store, write_record
from unsmash.study_difference import Difference

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = (
    *("id", "verdict", "data", "model", "at", "defences", "seed"),
    *("identification", "attack", "accuracy", "seconds", "started"),
)
"""What a row of the list says of a run"""


def locate(run: str, out: Path) -> tuple[Store, str]:
    """The store and id of a run given by its id, by a beginning of it that no other shares, or by its folder.

    Raises:
        RecordError: there is no such run, or the beginning is that of several.
    """
    path = Path(run)
    if (path / RUN).is_file():
        path = path if path.name not in ("", "..") else path.resolve()
        return Store(path.parent), path.name
    return Store(out), Store(out).find(run)


def rows(out: Path) -> list[dict[str, Any]]:
    """One row a run, oldest first."""
    return [{name: getattr(one, name) for name in COLUMNS} for one in summaries(Store(out))]


def print_rows(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """A table of runs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=width())
    if not rows:
        console.print(f"No runs in {out} yet: `unsmash audit` makes one.", markup=False)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("run", "verdict", "data", "model", "cut", "defence", "seed", "identified", "accuracy", "took"):
        table.add_column(title, overflow="fold", no_wrap=title not in ("model", "defence", "data"))
    for row in rows:
        table.add_row(
            row["id"], row["verdict"], row["data"], row["model"], row["at"], " + ".join(row["defences"]) or "–",
            str(row["seed"]), _percent(row["identification"]), _percent(row["accuracy"]),
            f"{row['seconds']:.0f} s" if row["seconds"] else "–",
        )  # fmt: skip
    console.print(table)


def print_run(store: Store, name: str) -> None:
    """Verdict and figures of one run."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    run = store.load(name)
    verdict = store.verdict(name) or judge([run], run.budget)
    console = Console(highlight=False, width=width())
    console.print(f"[bold]{verdict.word.capitalize()}.[/] ", end="")
    console.print(verdict.sentence, markup=False)
    if run.failure:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "identified", "95 % interval", "recognised", "SSIM", "PSNR dB", "MSE", "counted"):
        table.add_column(title, overflow="fold", no_wrap=title != "")
    for result in run.results:
        table.add_row(result.name, *_figures(result))
    console.print(table)
    n = run.data.sizes["victims"] if run.data else 0
    console.print(
        f"n = {n} victims, data range [0, 1], budget {verdict.budget}, report {store.folder(name) / REPORT}",
        markup=False,
    )


def _figures(result: Result) -> list[str]:
    if result.failure:
        return [result.failure, "", "", "", "", "", "no"]
    identified = result.scores["identification"]
    interval = f"{_percent(identified.low)} – {_percent(identified.high)}"
    counted = "floor" if result.role == "floor" else ("yes" if result.card.valid else "no")
    cells = [_percent(identified.mean), interval, _percent(result.mean("recognition"))]
    return [*cells, _number(result, "ssim", 3), _number(result, "psnr", 1), _number(result, "mse", 4), counted]


def print_frontier(frontier: Frontier) -> None:
    """The frontier's finding and its table, cheapest first."""
    from unsmash.report.frontier_findings import headline
    from unsmash.report.frontier_table import COLUMNS, settings

    console = _tabled("defence", COLUMNS, settings(frontier))
    for row in frontier.rows:
        if row.failure is not None:
            console.print(f"{row.name} failed in {row.failure.stage}: {row.failure.message}", markup=False)
    console.print(
        "* on the front: nothing else is as accurate and gives away as little, and better in one", markup=False
    )
    console.print(headline(frontier), markup=False, style="bold")


def print_difference(found: Difference) -> None:
    """Two studies' rows side by side, and the finding."""
    from unsmash.report.compare import COLUMNS, headline, rows

    console = _tabled("setting", COLUMNS, rows(found), notes=True)
    for line in found.warnings:
        console.print(line.replace("`", ""), markup=False, soft_wrap=True)
    console.print(headline(found), markup=False, style="bold")


def _tabled(first: str, columns: Sequence[str], lines: Sequence[Setting], *, notes: bool = False) -> Console:
    """Print a page's table; the console it was printed on."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=width())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for title in columns:
        table.add_column(title.lower(), justify="right", overflow="fold", no_wrap=title == "Verdict")
    for line in lines:
        table.add_row(
            escape(f"{line.name} *" if line.front else line.name),
            *(f"{value}\n{note}" if notes and note else value for value, note in line.cells),
        )
    console.print(table)
    return console


def print_scan(scan: Scan) -> None:
    """Every cut's row in the order the network runs, and the recommendation."""
    from unsmash.report.scan_findings import lines, recommendation
    from unsmash.report.scan_table import COLUMNS, rows

    console = _tabled("cut after", COLUMNS, rows(scan))
    console.print(recommendation(scan), markup=False, style="bold")
    for text in lines(scan):
        console.print(f"  {text.replace('**', '').replace('`', '')}", markup=False, soft_wrap=True)


def write_reports(
    runs: Sequence[str], out: Path, fail_if: str | None, target: Path | None, *, images: bool
) -> list[Path]:
    """Write a report for each experiment among the runs; seeds of one experiment share a report.

    Raises:
        ConfigError: one target was named for several experiments.
    """
    groups: dict[str, list[tuple[Store, Run]]] = {}
    for run in runs:
        store, name = locate(run, out)
        record = store.load(name)
        groups.setdefault(_without_seed(record), []).append((store, record))
    if target is not None and len(groups) > 1:
        raise ConfigError(
            "--to", got=str(target), allowed="one experiment's runs", hint=f"These are {len(groups)} experiments"
        )
    files = []
    for members in groups.values():
        store, first = members[0]
        verdict = judge([run for _, run in members], fail_if or first.budget)
        folder = store.folder(first.id)
        if target is None:
            write_record(folder / VERDICT, verdict)
        records = [run for _, run in members]
        files.append(report.write(records, verdict, folder, target or folder / REPORT, images=images))
    return files


def _without_seed(run: Run) -> str:
    import json

    fingerprint = run.data.fingerprint if run.data else ""
    return json.dumps([{k: v for k, v in run.experiment.items() if k != "seed"}, fingerprint], sort_keys=True)


def width() -> int | None:
    """A terminal's own width; wide enough for whole rows where the output goes to a file or a pipe."""
    return None if sys.stdout.isatty() else 140


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _number(result: Result, metric: str, digits: int) -> str:
    value = result.mean(metric)
    return "–" if value is None else f"{value:.{digits}f}"
