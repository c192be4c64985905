"""A reproduction on the console: the list of experiments, and the figures of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unsmash.report.reproduction import Figure, Side, panel, reasons, tally
from unsmash.report.words import duration
from unsmash.reproductions.record import Reproduced
from unsmash.shelf import width

MARKS = {"near": "[green]{}[/]", "off": "[red]{}[/]", "open": "{}"}


def heading(experiment: Any, *, quick: bool) -> str:
    """What is about to be carried out."""
    form = (
        "quick form"
        if quick
        else "full sizes" + (f", about {experiment.minutes} min on two cores" if experiment.minutes else "")
    )
    return f"{experiment.paper().title} ({form})"


def print_list(kinds: Mapping[str, Any], known: Sequence[Reproduced]) -> None:
    """Every experiment, and what lies in the folder of runs of it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=width())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "what", "full form", "here"):
        table.add_column(title, overflow="fold")
    for name, cls in kinds.items():
        mine = [one for one in known if one.name == name]
        here = "; ".join(f"{'quick, ' if one.quick else ''}{tally(one)}" for one in mine) or "–"
        full = f"about {cls.minutes} min" if cls.minutes else "not timed here"
        table.add_row(name, cls.summary().rstrip("."), full, here)
    console.print(table)
    console.print(
        "`unsmash reproduce NAME --quick` takes minutes; `unsmash kinds NAME` tells the settings.", markup=False
    )


def _text(figure: Figure, side: Side) -> str:
    value = figure.side(side)[0]
    return MARKS[figure.state].format(value) if side == "as published" else value


def print_record(record: Reproduced) -> None:
    """Finding, figures and reasons."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=width())
    for one in record.tables:
        shown = panel(one)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=one.title, title_justify="left")
        table.add_column("", no_wrap=True)
        cells: list[list[str]] = [[escape(name)] for name, _, _ in shown.rows]
        for place, head in enumerate(shown.heads):
            for side in head.sides:
                title = f"{head.title}: {side}" if side == head.sides[0] else side
                table.add_column(title, justify="right", overflow="fold")
                cells = [[*row, _text(line[2][place], side)] for row, line in zip(cells, shown.rows, strict=True)]
        for row in cells:
            table.add_row(*row)
        console.print(table)
        for line in reasons(one):
            console.print(f"  {line.replace('**', '')}", markup=False, soft_wrap=True)
    for line in record.findings:
        console.print(f"- {line.replace('**', '')}", markup=False, soft_wrap=True)
    console.print(record.headline.replace("**", ""), markup=False, style="bold")
    console.print(f"{tally(record)}; {duration(record.seconds)} of work", markup=False)
