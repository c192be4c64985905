"""The command line. torch is imported inside commands, so that `unsmash --help` answers at once."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unsmash.commands.advising import advise

app = typer.Typer(
    help="What a split network's smashed data gives away, and what it costs to stop it.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

STOPPED = 130
"""Exit code after Ctrl-C"""

Out = Annotated[Path, typer.Option("--out", help="Folder of runs.")]
DataOption = Annotated[str | None, typer.Option("--data", help="KIND[:key=value,…]; `unsmash kinds data` lists them.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="KIND[:key=value,…] or path.py:factory[,key=value].")]
RootOption = Annotated[Path | None, typer.Option("--data-root", help="Where data sets lie; else UNSMASH_DATA.")]
AtOption = Annotated[str | None, typer.Option("--at", help="Layer after which the model is cut.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="Smaller training and attacks: a first look only.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, mps.")]
ContaminationOption = Annotated[bool, typer.Option("--allow-contamination", help="Go on with shared images.")]
AgainOption = Annotated[bool, typer.Option("--again", help="Measure anew even if the run is known.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """What a split network's smashed data gives away, and what it costs to stop it."""
    if version:
        from unsmash import __version__

        typer.echo(f"unsmash {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def audit(
    study: Annotated[Path | None, typer.Argument(help="A study in YAML; flags change it.")] = None,
    data: DataOption = None,
    model: ModelOption = None,
    at: AtOption = None,
    defence: Annotated[list[str] | None, typer.Option("--defence", help="KIND[:key=value,…]; repeat to stack.")] = None,
    attack: Annotated[
        list[str] | None, typer.Option("--attack", help="KIND[:key=value,…]; repeat for several.")
    ] = None,
    seeds: SeedsOption = None,
    queries: Annotated[
        int | None, typer.Option("--queries", min=1, help="Messages of one image an adversary sees.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=1, help="Slightly moved frames of one image an adversary sees.")
    ] = None,
    fail_if: Annotated[str | None, typer.Option("--fail-if", help="Limits; the exit code is then 0, 1 or 3.")] = None,
    out: Out = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="path=value, such as train.epochs=2.")] = None,
    quick: QuickOption = False,
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    allow_contamination: ContaminationOption = False,
    again: AgainOption = False,
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave private images out of the report.")] = False,
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
            again=again, images=not no_images, command=_command(),
        )  # fmt: skip
    document = auditing.summary(found)
    if json_:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        _tell(document)
    raise typer.Exit(found.verdict.exit_code if fail_if is not None else 0)


@app.command()
def sweep(
    study: Annotated[Path, typer.Argument(help="A study in YAML with sweep, variants or both.")],
    data: DataOption = None,
    model: ModelOption = None,
    at: AtOption = None,
    seeds: SeedsOption = None,
    fail_if: Annotated[
        str | None,
        typer.Option("--fail-if", help="Limits; exit code 0 if a variant is within them, 1 or 3 if none is."),
    ] = None,
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
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave private images out of the reports.")] = False,
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
            allow_contamination=allow_contamination, again=again, images=not no_images, command=_command(),
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(sweeping.summary(found), ensure_ascii=False, indent=1))
    else:
        shelf.print_frontier(found.frontier)
        typer.echo(f"Frontier: {found.report}")
    if all(row.failure for row in found.frontier.rows):
        raise typer.Exit(4)
    raise typer.Exit(found.exit_code if fail_if is not None else 0)


@app.command()
def scan(
    data: DataOption = None,
    model: ModelOption = None,
    cut: Annotated[
        list[str] | None, typer.Option("--cut", help="Layer to cut after; repeat for several. Else up to 12.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of training and attacks.")] = 0,
    fail_if: Annotated[
        str | None,
        typer.Option("--fail-if", help="Limits; exit code 0 if a cut is within them, 1 or 3 if none is."),
    ] = None,
    out: Out = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="path=value, such as train.epochs=2.")] = None,
    quick: QuickOption = False,
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    allow_contamination: ContaminationOption = False,
    again: AgainOption = False,
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave private images out of the page.")] = False,
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
            allow_contamination=allow_contamination, again=again, images=not no_images, command=_command(),
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(scanning.summary(found), ensure_ascii=False, indent=1))
    else:
        shelf.print_scan(found.scan)
        typer.echo(f"Scan: {found.report}")
    raise typer.Exit(found.exit_code if fail_if is not None else 0)


app.command()(advise)


@app.command()
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


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="Run ids or run folders; seeds of one experiment go together.")],
    out: Out = Path("runs"),
    fail_if: Annotated[str | None, typer.Option("--fail-if", help="Another budget than the run's.")] = None,
    target: Annotated[Path | None, typer.Option("--to", help="Where to write; else beside the first run.")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave private images out.")] = False,
) -> None:
    """Write the report of stored runs anew."""
    from unsmash import shelf

    for file in shelf.write_reports(runs, out, fail_if, target, images=not no_images):
        typer.echo(file)


@app.command("ls")
def ls(out: Out = Path("runs"), json_: JsonOption = False) -> None:
    """List the runs of a folder."""
    from unsmash import shelf

    rows = shelf.rows(out)
    if json_:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        shelf.print_rows(rows, out)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Run id or run folder.")],
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


@app.command()
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


def _title(plan: Any) -> str:
    e = plan.experiment
    seeds = f", {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
    defences = " + ".join(defence.label() for defence in e.defences) or "no defence"
    return f"Audit of {e.model.label()} cut at {e.at or '?'} on {e.data.label()}, {defences}{seeds}"


def _sweep_title(plan: Any) -> str:
    seeds = f", {len(plan.seeds)} seeds each" if len(plan.seeds) > 1 else ""
    named = f" of {plan.name}" if plan.name else ""
    return f"Sweep{named}: {len(plan.variants)} variants{seeds}"


def _command() -> str:
    return "unsmash " + " ".join(shlex.quote(word) for word in sys.argv[1:])


def _tell(document: dict[str, Any]) -> None:
    from rich.console import Console

    colour = {"leaks": "red", "passes": "blue", "inconclusive": "bright_black"}[document["verdict"]]
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold {colour}]{document['verdict'].capitalize()}.[/] ", end="")
    console.print(document["sentence"], markup=False)
    for reason in document["reasons"]:
        console.print(f"  {reason}", markup=False)
    console.print(f"Report: {document['report']}  (run {document['id']})", markup=False)


def main() -> None:
    """Entry point: errors raised on purpose are one sentence and an exit code, without a traceback."""
    from unsmash.errors import UnsmashError

    code: object = 0
    try:
        code = app(standalone_mode=False)
    except UnsmashError as error:
        typer.echo(f"unsmash: {error}", err=True)
        code = error.exit_code
    except typer.Exit as leaving:
        code = leaving.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except Exception as error:
        _usage_or_raise(error)
    if code == STOPPED:  # newer versions of typer return it, older ones abort
        typer.echo("unsmash: stopped; nothing half-written was kept", err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_or_raise(error: Exception) -> None:
    """A wrong flag is one sentence; anything else is a bug and keeps its traceback."""
    message = getattr(error, "format_message", None)
    if message is None:
        raise error
    typer.echo(f"unsmash: {message()} `unsmash --help` lists the commands and their options.", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
