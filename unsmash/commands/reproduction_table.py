"""A reproduction on the console: the list of experiments, and the figures of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unsmash.report.reproduction import panel, reasons, tally
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
        table.add_column("", overflow="fold")
        for title, right in shown.heads:
            for head in (f"{title}: published", "as published", *(["put right"] if right else [])):
                table.add_column(head, justify="right", overflow="fold")
        for name, _, figures in shown.rows:
            cells = []
            for figure, (_, right) in zip(figures, shown.heads, strict=True):
                cells += [figure.published[0], MARKS[figure.state].format(escape(figure.ours[0]))]
                cells += [figure.right[0]] if right else []
            table.add_row(escape(name), *cells)
        console.print(table)
        for line in reasons(one):
            console.print(f"  {line.replace('**', '')}", markup=False, soft_wrap=True)
    for line in record.findings:
        console.print(f"- {line.replace('**', '')}", markup=False, soft_wrap=True)
    console.print(record.headline.replace("**", ""), markup=False, style="bold")
    console.print(f"{tally(record)}; {duration(record.seconds)} of work", markup=False)
