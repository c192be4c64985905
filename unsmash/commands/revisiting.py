"""Commands that go back to a stored run: attack, score, challenge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unsmash.commands.measuring import tell
from unsmash.commands.options import (
    AttackOption,
    DeviceOption,
    FramesOption,
    JsonOption,
    NoImagesOption,
    Out,
    OwnModelOption,
    QueriesOption,
    RootOption,
    RunArgument,
    command,
)


def attack(
    run: RunArgument,
    attack: AttackOption = None,
    queries: QueriesOption = None,
    frames: FramesOption = None,
    model: OwnModelOption = None,
    fail_if: Annotated[
        str | None, typer.Option("--fail-if", help="Another budget than the run's; the exit code is then 0, 1 or 3.")
    ] = None,
    out: Out = Path("runs"),
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    again: Annotated[bool, typer.Option("--again", help="Measure everything anew, also what the run has.")] = False,
    no_images: NoImagesOption = False,
) -> None:
    """Attack the victim of a stored run further; what the run has measured is taken from it."""
    from unsmash import budget, settings

    new = [settings.component(text, "attack") for text in attack or []]
    if fail_if is not None:
        budget.parse(fail_if)
    from unsmash import auditing, extending
    from unsmash.events import Console

    with Console() as console:
        console.heading(f"Further attacks on the victim of run {run}")
        found = extending.attack(
            run, new, queries=queries, frames=frames, model=model, out=out, fail_if=fail_if, progress=console,
            device=device, root=data_root, again=again, images=not no_images, command=command(),
        )  # fmt: skip
    document = auditing.summary(found)
    if json_:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        tell(document)
    raise typer.Exit(found.verdict.exit_code if fail_if is not None else 0)


def score(
    run: RunArgument,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="ssim, psnr, nmi, …; repeat for several. Else the run's own.")
    ] = None,
    guesses: Annotated[
        Path | None, typer.Option("--guesses", help="Somebody's guesses: a safetensors file with the tensor `guess`.")
    ] = None,
    out: Out = Path("runs"),
    json_: JsonOption = False,
    data_root: RootOption = None,
) -> None:
    """Score the guesses of a stored run by other metrics, or outside guesses at its victims; nothing is attacked."""
    from unsmash import rescoring
    from unsmash.events import Console

    with Console() as console:
        found = rescoring.score(run, metric or (), guesses=guesses, out=out, root=data_root, progress=console)
    if json_:
        typer.echo(json.dumps(rescoring.summary(found), ensure_ascii=False, indent=1))
    else:
        rescoring.print_rows(found)


def challenge(
    run: RunArgument,
    target: Annotated[Path, typer.Option("--out", help="Folder to write, new or empty.")],
    threat: Annotated[
        str | None, typer.Option("--threat", help="Adversary of the run whose place is offered; else its first.")
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option("--draws", min=1, help="Releases of each shadow image, where the defence is random; else 4."),
    ] = None,
    candidates: Annotated[
        bool, typer.Option("--candidates", help="Give away the victims' images, as a list in no order.")
    ] = False,
    runs: Annotated[Path, typer.Option("--runs", help="Folder of runs.")] = Path("runs"),
    model: OwnModelOption = None,
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Export what an outsider needs to attack a run's victims without this code: never their images or labels."""
    from unsmash import challenging
    from unsmash.events import Console

    with Console() as console:
        manifest = challenging.challenge(
            run, target, threat=threat, draws=draws, candidates=candidates, out=runs, model=model, root=data_root,
            device=device, progress=console,
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(manifest, ensure_ascii=False, indent=1))
    else:
        challenging.tell(manifest, target)
