"""The command that carries out a study of many experiments: sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unsmash import gate
from unsmash.commands.options import (
    AgainOption,
    AtOption,
    ContaminationOption,
    DataOption,
    DepotOption,
    DeviceOption,
    JsonOption,
    JUnitOption,
    MarkdownOption,
    ModelOption,
    NoImagesOption,
    OnOption,
    Out,
    QuickOption,
    RootOption,
    SeedsOption,
    SomeGateOption,
    TrackOption,
    command,
)

if TYPE_CHECKING:
    from unsmash.forecast import Forecast


@gate.told
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
    track: TrackOption = None,
    on: OnOption = "",
    depot: DepotOption = "",
    cpus: Annotated[float, typer.Option("--cpus", min=0.01, help="With --on: cores of each experiment.")] = 1,
    gpus: Annotated[float, typer.Option("--gpus", min=0, help="With --on: GPUs of each experiment, 0.5 for half.")] = 0,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Variants whose names match, * for any letters; repeat for more.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Measure at most so many new variants; the rest another time.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and about how long.")] = False,
    junit: JUnitOption = None,
    markdown: MarkdownOption = None,
) -> None:
    """Audit every variant of a study and write the frontier: what each costs, and what it gives away."""
    from unsmash import settings

    raw = settings.gather(
        study, data=data, model=model, at=at, seeds=seeds, fail_if=fail_if, assignments=set_ or [], quick=quick
    )
    from unsmash import shelf, sweeping, variants
    from unsmash.events import Console

    plan = variants.only(variants.plan(raw, trusted=model is not None), only or ())
    with Console() as console:
        console.heading(_sweep_title(plan))
        if dry_run:
            told = sweeping.preview(
                raw, trusted=model is not None, out=out, progress=console, device=device, root=data_root,
                allow_contamination=allow_contamination, only=only or (),
            )  # fmt: skip
    if dry_run:
        _tell_forecast(told, sweeping.workers_for(workers, len(told.new), device), as_json=json_)
        return
    with Console() as console:
        found = sweeping.conduct(
            raw, trusted=model is not None, out=out, workers=workers, progress=console, device=device, root=data_root,
            allow_contamination=allow_contamination, again=again, images=not no_images, command=command(),
            track=track or (), on=on, depot=depot, cpus=cpus, gpus=gpus, only=only or (), limit=limit,
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(sweeping.summary(found), ensure_ascii=False, indent=1))
    else:
        shelf.print_frontier(found.frontier)
        typer.echo(f"Frontier: {found.report}")
        if found.left:
            typer.echo(f"{found.left} of {len(plan.variants)} variants are left: the same command goes on.")
    gate.swept(found.frontier, found.exit_code, found.report, junit, markdown)
    if all(row.failure for row in found.frontier.rows):
        raise typer.Exit(4)
    raise typer.Exit(found.exit_code if fail_if is not None else 0)


def _sweep_title(plan: Any) -> str:
    seeds = f", {len(plan.seeds)} seeds each" if len(plan.seeds) > 1 else ""
    named = f" of {plan.name}" if plan.name else ""
    return f"Sweep{named}: {len(plan.variants)} variants{seeds}"


def _tell_forecast(told: Forecast, workers: int, *, as_json: bool) -> None:
    """What a study would do."""
    from dataclasses import asdict

    from unsmash.report.words import duration

    seconds = None if told.seconds is None else told.seconds / workers
    if as_json:
        typer.echo(json.dumps(asdict(told) | {"workers": workers, "about_seconds": seconds}, indent=1))
        return
    for name in told.known:
        typer.echo(f"  known  {name}")
    for name in told.new:
        typer.echo(f"  new    {name}")
    typer.echo(f"{told.runs} runs to measure, {told.trainings} networks to train for them, {workers} at a time.")
    if seconds is not None:
        typer.echo(
            f"About {duration(seconds)}, from a probe of {duration(told.probe)} on a few images. Nothing was kept."
        )
    elif told.runs:
        typer.echo("How long is not known: the probe did not finish.")


def compare(
    first: Annotated[str, typer.Argument(help="A study: its id, name or folder.")],
    second: Annotated[str, typer.Argument(help="The study to hold against it.")],
    out: Out = Path("runs"),
    target: Annotated[Path, typer.Option("--to", help="The HTML page to write.")] = Path("compare.html"),
    json_: JsonOption = False,
) -> None:
    """Hold one study against another: what each setting gives away and costs in both, on one page."""
    from unsmash import report, shelf, studies
    from unsmash.report.compare import headline
    from unsmash.store import write_text
    from unsmash.study_difference import difference, summary

    found = difference(studies.find(first, out)[0], studies.find(second, out)[0])
    page = report.render_comparison(found)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, page)
    if json_:
        document = summary(found) | {"sentence": headline(found), "page": str(target)}
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    shelf.print_difference(found)
    typer.echo(f"Page: {target}")
