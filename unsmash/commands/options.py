"""Options that several commands share, so that they mean and are called the same everywhere."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="Folder of runs.")]
DataOption = Annotated[str | None, typer.Option("--data", help="KIND[:key=value,…]; `unsmash kinds data` lists them.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="KIND[:key=value,…] or path.py:factory[,key=value].")]
OwnModelOption = Annotated[
    str | None, typer.Option("--model", help="path.py:factory[,key=value] again, where the run was made with it.")
]
RootOption = Annotated[Path | None, typer.Option("--data-root", help="Where data sets lie; else UNSMASH_DATA.")]
AtOption = Annotated[str | None, typer.Option("--at", help="Layer after which the model is cut.")]
AttackOption = Annotated[list[str] | None, typer.Option("--attack", help="KIND[:key=value,…]; repeat for several.")]
QueriesOption = Annotated[
    int | None, typer.Option("--queries", min=1, max=4096, help="Messages of one image an adversary sees.")
]
FramesOption = Annotated[
    int | None, typer.Option("--frames", min=1, max=1024, help="Slightly moved frames of one image an adversary sees.")
]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="path=value, such as train.epochs=2.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="Smaller training and attacks: a first look only.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, mps.")]
ContaminationOption = Annotated[bool, typer.Option("--allow-contamination", help="Go on with shared images.")]
AgainOption = Annotated[bool, typer.Option("--again", help="Measure anew even if the run is known.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
NoImagesOption = Annotated[bool, typer.Option("--no-images", help="Leave private images out of what is written.")]
GateOption = Annotated[str | None, typer.Option("--fail-if", help="Limits; the exit code is then 0, 1 or 3.")]
SomeGateOption = Annotated[
    str | None,
    typer.Option("--fail-if", help="Limits; exit code 0 if one of them is within, 1 or 3 if none is."),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option("--track", help="Mirror runs: mlflow[:URI] or tensorboard[:FOLDER]; repeat for both."),
]
JUnitOption = Annotated[Path | None, typer.Option("--junit", help="Also write the verdict as JUnit XML, for CI.")]
MarkdownOption = Annotated[
    Path | None, typer.Option("--markdown", help="Also write a summary; $GITHUB_STEP_SUMMARY is appended to.")
]
OnOption = Annotated[
    str, typer.Option("--on", help="A Ray cluster that you run: auto, ray://host:port or host:port; else here.")
]
DepotOption = Annotated[
    str, typer.Option("--depot", help="With --on: URL under which machines without a shared folder exchange runs.")
]
RunArgument = Annotated[str, typer.Argument(help="Run id, its beginning, or the run's folder.")]


def command() -> str:
    """The command as it was typed, for the record."""
    return "unsmash " + " ".join(shlex.quote(word) for word in sys.argv[1:])
