"""`unsmash reproduce`: published experiments, run again and put right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unsmash.commands.options import (
    DeviceOption,
    JsonOption,
    NoImagesOption,
    Out,
    RootOption,
    SetOption,
    command,
)

RECORDS = "reproductions"
"""Folder beside the document that holds the records it is made of"""


def reproduce(
    name: Annotated[str | None, typer.Argument(help="Which experiment; without it they are listed.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller data and fewer passes: minutes, a first look.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of trainings and attacks.")] = 0,
    set_: SetOption = None,
    out: Out = Path("runs"),
    document: Annotated[
        Path | None,
        typer.Option(
            "--document", help="Write this Markdown file from the records that lie beside it; nothing is run."
        ),
    ] = None,
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    no_images: NoImagesOption = False,
) -> None:
    """Run a published experiment as published and as it should have been, beside its published numbers."""
    from unsmash import reproducing, settings
    from unsmash.commands import reproduction_table as table

    if document is not None:
        reproducing.write_document(document, document.parent / RECORDS)
        typer.echo(f"Document: {document}")
        return
    if name is None:
        table.print_list(reproducing.names(), reproducing.stored(out))
        return
    given = settings.gather(None, assignments=set_ or [])
    from unsmash.events import Console

    experiment = reproducing.chosen(name, given, quick=quick)
    with Console() as console:
        console.heading(table.heading(experiment, quick=quick))
        done = reproducing.conduct(
            experiment, quick=quick, out=out, progress=console, device=device, root=data_root, seed=seed,
            images=not no_images, command=command(),
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(reproducing.summary(done), ensure_ascii=False, indent=1))
    else:
        table.print_record(done.record)
        typer.echo(f"Report: {done.report}")
