"""An advice on the console: what was tried, by price, and the finding. Imports no torch."""

from __future__ import annotations

import sys

from unsmash.advice_record import Advice
from unsmash.report.advice_findings import headline, lines
from unsmash.report.advice_table import COLUMNS, rows


def print_advice(advice: Advice) -> None:
    """Every trial's row and the finding."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("configuration", overflow="fold")
    for title in COLUMNS:
        table.add_column(title.lower(), justify="right", overflow="fold", no_wrap=title == COLUMNS[-1])
    for line in rows(advice):
        table.add_row(escape(f"{line.name} *" if line.front else line.name), *(value for value, _ in line.cells))
    console.print(table)
    console.print(headline(advice), markup=False, style="bold", soft_wrap=True)
    for text in lines(advice):
        console.print(f"  {text.replace('**', '').replace('`', '')}", markup=False, soft_wrap=True)
