"""`unsmash advise`: the cheapest cut, defence and strength that meet a budget."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def advise(
    budget: Annotated[str, typer.Option("--budget", help="What is allowed, such as identification<=0.05.")],
    data: Annotated[str | None, typer.Option("--data", help="KIND[:key=value,…]; `unsmash kinds data` lists.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="KIND[:key=value,…] or path.py:factory.")] = None,
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
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the search.")] = 0,
    out: Annotated[Path, typer.Option("--out", help="Folder of runs.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="path=value, such as train.epochs=2.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", help="Where data sets lie; else UNSMASH_DATA.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, mps.")] = "auto",
    allow_contamination: Annotated[
        bool, typer.Option("--allow-contamination", help="Go on with shared images.")
    ] = False,
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave private images out of the reports.")] = False,
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
            plan, asked, out=out, trials=trials, minutes=minutes, seeds=seeds, cuts=cut or (), only=only or (),
            progress=console, device=device, root=data_root, allow_contamination=allow_contamination,
            images=not no_images, command="unsmash " + " ".join(shlex.quote(word) for word in sys.argv[1:]),
        )  # fmt: skip
    if json_:
        typer.echo(json.dumps(advising.summary(found), ensure_ascii=False, indent=1))
    else:
        print_advice(found.advice)
        typer.echo(f"Advice: {found.report}")
    raise typer.Exit(found.exit_code)
