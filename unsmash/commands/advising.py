"""`unsmash advise`: the cheapest cut, defence and strength that meet a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unsmash.commands.options import (
    ContaminationOption,
    DataOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    NoImagesOption,
    Out,
    RootOption,
    SetOption,
    command,
)


def advise(
    budget: Annotated[str, typer.Option("--budget", help="What is allowed, such as identification<=0.05.")],
    data: DataOption = None,
    model: ModelOption = None,
    at: Annotated[str | None, typer.Option("--at", help="The one layer to cut after; else several are tried.")] = None,
    cut: Annotated[list[str] | None, typer.Option("--cut", help="Layer that may be cut after; repeat.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Recipes to search, such as 'label*'; repeat.")
    ] = None,
    max_loss: Annotated[
        float | None, typer.Option("--max-loss", help="Most accuracy lost against no defence, such as 0.02.")
    ] = None,
    certified: Annotated[
        float | None, typer.Option("--certified", help="Most that anyone may identify, by proof.")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Configurations tried, earlier calls' included.")] = 24,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Stop searching in time for a re-test within so many.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds of each re-test.")] = 2,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes for a re-test's seeds; else one a core.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the search.")] = 0,
    out: Out = Path("runs"),
    set_: SetOption = None,
    json_: JsonOption = False,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    allow_contamination: ContaminationOption = False,
    no_images: NoImagesOption = False,
) -> None:
    """Search cuts, defences and strengths for the cheapest that meets a budget; re-test it on images it never saw."""
    from unsmash import settings

    raw = {"seed": seed} | settings.gather(None, data=data, model=model, at=at, assignments=set_ or [])
    from unsmash import advising, choosing, demands
    from unsmash.commands.advice_table import print_advice
    from unsmash.events import Console

    asked = demands.demand(budget, max_loss, certified)
    plan = choosing.plan(raw, trusted=model is not None)
    with Console() as console:
        e = plan.base
        console.heading(f"Advice for {e.model.label()} on {e.data.label()}: {budget}")
        found = advising.conduct(
            plan, asked, out=out, workers=workers, trials=trials, minutes=minutes, seeds=seeds, cuts=cut or (),
            only=only or (), progress=console, device=device, root=data_root,
            allow_contamination=allow_contamination, images=not no_images, command=command(),
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(advising.summary(found), ensure_ascii=False, indent=1))
    else:
        print_advice(found.advice)
        typer.echo(f"Advice: {found.report}")
    raise typer.Exit(found.exit_code)
