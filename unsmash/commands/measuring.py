"""Commands that measure one network: audit, scan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unsmash import gate
from unsmash.commands.options import (
    AgainOption,
    AtOption,
    AttackOption,
    ContaminationOption,
    DataOption,
    DeviceOption,
    FramesOption,
    GateOption,
    JsonOption,
    JUnitOption,
    MarkdownOption,
    ModelOption,
    NoImagesOption,
    Out,
    QueriesOption,
    QuickOption,
    RootOption,
    SeedsOption,
    SetOption,
    SomeGateOption,
    TrackOption,
    command,
)


@gate.told
def audit(
    study: Annotated[Path | None, typer.Argument(help="A study in YAML; flags change it.")] = None,
    data: DataOption = None,
    model: ModelOption = None,
    at: AtOption = None,
    defence: Annotated[list[str] | None, typer.Option("--defence", help="KIND[:key=value,…]; repeat to stack.")] = None,
    attack: AttackOption = None,
    seeds: SeedsOption = None,
    queries: QueriesOption = None,
    frames: FramesOption = None,
    fail_if: GateOption = None,
    out: Out = Path("runs"),
    set_: SetOption = None,
    quick: QuickOption = False,
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    allow_contamination: ContaminationOption = False,
    again: AgainOption = False,
    no_images: NoImagesOption = False,
    track: TrackOption = None,
    junit: JUnitOption = None,
    markdown: MarkdownOption = None,
) -> None:
    """Attack what a split model sends, judge it against a budget, and write a report."""
    from unsmash import settings

    raw = settings.gather(
        study, data=data, model=model, at=at, defences=defence, attacks=attack, seeds=seeds, queries=queries,
        frames=frames, fail_if=fail_if, assignments=set_ or [], quick=quick,
    )  # fmt: skip
    from unsmash import auditing, experiment
    from unsmash.events import Console

    plan = experiment.study(raw, trusted=model is not None)
    with Console() as console:
        console.heading(_title(plan))
        found = auditing.conduct(
            plan, out=out, progress=console, device=device, root=data_root, allow_contamination=allow_contamination,
            again=again, images=not no_images, command=command(), track=track or (),
        )  # fmt: skip
    document = auditing.summary(found)
    if json_:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        tell(document)
    gate.audited(found.runs, found.verdict, found.report, junit, markdown)
    raise typer.Exit(found.verdict.exit_code if fail_if is not None else 0)


@gate.told
def scan(
    data: DataOption = None,
    model: ModelOption = None,
    cut: Annotated[
        list[str] | None, typer.Option("--cut", help="Layer to cut after; repeat for several. Else up to 12.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of training and attacks.")] = 0,
    fail_if: SomeGateOption = None,
    out: Out = Path("runs"),
    set_: SetOption = None,
    quick: QuickOption = False,
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    allow_contamination: ContaminationOption = False,
    again: AgainOption = False,
    no_images: NoImagesOption = False,
    junit: JUnitOption = None,
    markdown: MarkdownOption = None,
) -> None:
    """Rank the places where a network can be cut: what each sends, costs the device and gives away undefended."""
    from unsmash import settings

    raw = {"seed": seed} | settings.gather(None, data=data, model=model, fail_if=fail_if, assignments=set_ or [])
    from unsmash import scanning, shelf
    from unsmash.events import Console

    plan = scanning.planned(raw, quick=quick, trusted=model is not None)
    with Console() as console:
        e = plan.experiment
        console.heading(f"Scan of the cuts of {e.model.label()} on {e.data.label()}, no defence")
        found = scanning.conduct(
            plan, cut or (), out=out, quick=quick, progress=console, device=device, root=data_root,
            allow_contamination=allow_contamination, again=again, images=not no_images, command=command(),
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(scanning.summary(found), ensure_ascii=False, indent=1))
    else:
        shelf.print_scan(found.scan)
        typer.echo(f"Scan: {found.report}")
    gate.scanned(found.scan, found.exit_code, found.report, junit, markdown)
    raise typer.Exit(found.exit_code if fail_if is not None else 0)


def _title(plan: Any) -> str:
    e = plan.experiment
    seeds = f", {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
    defences = " + ".join(defence.label() for defence in e.defences) or "no defence"
    return f"Audit of {e.model.label()} cut at {e.at or '?'} on {e.data.label()}, {defences}{seeds}"


def tell(document: dict[str, Any]) -> None:
    """The verdict in words, and where the report lies."""
    from rich.console import Console

    colour = {"leaks": "red", "passes": "blue", "inconclusive": "bright_black"}[document["verdict"]]
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold {colour}]{document['verdict'].capitalize()}.[/] ", end="")
    console.print(document["sentence"], markup=False)
    for reason in document["reasons"]:
        console.print(f"  {reason}", markup=False)
    console.print(f"Report: {document['report']}  (run {document['id']})", markup=False)
