"""Commands that measure: audit, sweep, scan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

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
    ModelOption,
    NoImagesOption,
    Out,
    QueriesOption,
    QuickOption,
    RootOption,
    SeedsOption,
    SetOption,
    SomeGateOption,
    command,
)


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
            again=again, images=not no_images, command=command(),
        )  # fmt: skip
    document = auditing.summary(found)
    if json_:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        tell(document)
    raise typer.Exit(found.verdict.exit_code if fail_if is not None else 0)


def sweep(
    study: Annotated[Path, typer.Argument(help="A study in YAML with sweep, variants or both.")],
    data: DataOption = None,
    model: ModelOption = None,
    at: AtOption = None,
    seeds: SeedsOption = None,
    fail_if: SomeGateOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; half the cores where none are named.")
    ] = None,
    out: Out = Path("runs"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="path=value for all variants that do not set it themselves.")
    ] = None,
    quick: QuickOption = False,
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    allow_contamination: ContaminationOption = False,
    again: AgainOption = False,
    no_images: NoImagesOption = False,
) -> None:
    """Audit every variant of a study and write the frontier: what each costs, and what it gives away."""
    from unsmash import settings

    raw = settings.gather(
        study, data=data, model=model, at=at, seeds=seeds, fail_if=fail_if, assignments=set_ or [], quick=quick
    )
    from unsmash import shelf, sweeping, variants
    from unsmash.events import Console

    plan = variants.plan(raw, trusted=model is not None)
    with Console() as console:
        console.heading(_sweep_title(plan))
        found = sweeping.conduct(
            raw, trusted=model is not None, out=out, workers=workers, progress=console, device=device, root=data_root,
            allow_contamination=allow_contamination, again=again, images=not no_images, command=command(),
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(sweeping.summary(found), ensure_ascii=False, indent=1))
    else:
        shelf.print_frontier(found.frontier)
        typer.echo(f"Frontier: {found.report}")
    if all(row.failure for row in found.frontier.rows):
        raise typer.Exit(4)
    raise typer.Exit(found.exit_code if fail_if is not None else 0)


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
    raise typer.Exit(found.exit_code if fail_if is not None else 0)


def _title(plan: Any) -> str:
    e = plan.experiment
    seeds = f", {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
    defences = " + ".join(defence.label() for defence in e.defences) or "no defence"
    return f"Audit of {e.model.label()} cut at {e.at or '?'} on {e.data.label()}, {defences}{seeds}"


def _sweep_title(plan: Any) -> str:
    seeds = f", {len(plan.seeds)} seeds each" if len(plan.seeds) > 1 else ""
    named = f" of {plan.name}" if plan.name else ""
    return f"Sweep{named}: {len(plan.variants)} variants{seeds}"


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
