"""Commands that read: runs that are stored, components, and where a model can be cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unsmash.commands.options import (
    JsonOption,
    NoImagesOption,
    Out,
    RunArgument,
)


def cuts(
    model: Annotated[str, typer.Argument(help="KIND[:key=value,…] or path.py:factory.")],
    shape: Annotated[str, typer.Option("--shape", help="Channels×height×width of one image.")] = "",
    classes: Annotated[int, typer.Option("--classes", min=2, help="Classes of the task.")] = 10,
    every: Annotated[bool, typer.Option("--all", help="Also cuts where several tensors cross.")] = False,
    json_: JsonOption = False,
) -> None:
    """List where a model may be cut: tensors, bytes an image, multiply-adds and parameters on the device."""
    from unsmash import listing, settings

    rows = listing.cuts(settings.component(model, "model", trusted=True), shape, classes)
    chosen = [row for row in rows if every or row["tensors"] == 1]
    if json_:
        typer.echo(json.dumps(chosen, indent=1))
    else:
        listing.print_cuts(chosen, hidden=len(rows) - len(chosen))


def report(
    runs: Annotated[list[str], typer.Argument(help="Run ids or run folders; seeds of one experiment go together.")],
    out: Out = Path("runs"),
    fail_if: Annotated[str | None, typer.Option("--fail-if", help="Another budget than the run's.")] = None,
    target: Annotated[Path | None, typer.Option("--to", help="Where to write; else beside the first run.")] = None,
    no_images: NoImagesOption = False,
) -> None:
    """Write the report of stored runs anew."""
    from unsmash import shelf

    for file in shelf.write_reports(runs, out, fail_if, target, images=not no_images):
        typer.echo(file)


def ls(out: Out = Path("runs"), json_: JsonOption = False) -> None:
    """List the runs of a folder."""
    from unsmash import shelf

    rows = shelf.rows(out)
    if json_:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        shelf.print_rows(rows, out)


def export(
    target: Annotated[Path, typer.Option("--to", help="The file to write: table.csv or table.parquet.")],
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run ids, folders of runs, or a study; all runs where none are named.")
    ] = None,
    out: Out = Path("runs"),
) -> None:
    """Write stored runs as one table: a row for each run, result and metric."""
    from unsmash import table

    typer.echo(f"{target}: {table.export(runs or (), out, target):,} rows")


def show(
    run: RunArgument,
    out: Out = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Show one run: verdict, figures with their intervals, and how they were made."""
    from unsmash import shelf

    store, name = shelf.locate(run, out)
    if json_:
        typer.echo((store.folder(name) / "run.json").read_text(encoding="utf-8"))
    else:
        shelf.print_run(store, name)


def kinds(
    name: Annotated[str | None, typer.Argument(help="data, model, defences, attacks, or one kind.")] = None,
    json_: JsonOption = False,
) -> None:
    """Describe the components: data sets, models, defences and attacks, with every setting."""
    from unsmash import listing

    found = listing.kinds(name)
    if json_:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        listing.print_kinds(found, detailed=name is not None)
