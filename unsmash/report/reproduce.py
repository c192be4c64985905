"""What it takes to get the same numbers again: command, experiment, data, versions, seed, machine and times."""

from __future__ import annotations

from collections.abc import Sequence

from unsmash.records import Run
from unsmash.report.parts import Section
from unsmash.report.words import duration, listed, plural, whole
from unsmash.verdicts import Verdict


def reproduce(runs: Sequence[Run], verdict: Verdict) -> Section:
    """The command and a list of facts, empty ones left out."""
    run = runs[0]
    seeds = ", ".join(str(entry.seed) for entry in runs)
    entries = [
        ("Experiment", f"`{run.id}`"),
        ("Failed", " ".join(_failure(run) for run in runs if run.failure is not None)),
        ("Budget", "; ".join((f"`{verdict.budget}`", *verdict.terms))),
        ("Data", _data(run)),
        ("Fingerprint", f"`{run.data.fingerprint}` (every set's pixels and labels, hashed)" if run.data else ""),
        ("Model", _model(run)),
        ("Seed" if len(runs) == 1 else "Seeds", seeds),
        ("Measured", f"`{run.digest()[:16]}` (all results, hashed: the same again on the same machine kind)"),
        ("Software and machine", ", ".join(f"{name} {value}" for name, value in run.environment.items())),
        ("Started", run.started),
        ("Took", _took(run)),
        ("Notes", " ".join(_notes(run))),
    ]
    return Section(
        "Same experiment, same machine kind, same bits",
        entries=tuple((name, text) for name, text in entries if text),
        command=run.command,
    )


def _failure(run: Run) -> str:
    failure = run.failure
    return "" if failure is None else f"{failure.error} in stage {failure.stage}: {failure.message.rstrip('.')}."


def _data(run: Run) -> str:
    data = run.data
    if data is None:
        return ""
    sizes = " · ".join(f"{whole(size)} {name}" for name, size in data.sizes.items())
    shape = " × ".join(map(str, data.input_shape))
    classes = plural(len(data.classes), ("class", "classes"))
    return f"{data.kind}: {data.source.rstrip('.')}. {sizes}; {shape} numbers each, {classes}."


def _model(run: Run) -> str:
    split = run.split
    if split is None:
        return ""
    shapes = listed(" × ".join(map(str, shape)) for shape in split.shapes)
    defences = listed(split.defences) or "no defence"
    trained = f"; trained {plural(run.utility.trained_epochs, ('epoch', 'epochs'))}" if run.utility is not None else ""
    return (
        f"{split.model}, cut after `{split.at}` ({shapes} across), {defences}; {whole(split.device_parameters)} device"
        f" and {whole(split.server_parameters)} server weights{trained}"
    )


def _took(run: Run) -> str:
    stages = {name: spent for name, spent in run.seconds.items() if name != "total"}
    parts = " · ".join(f"{name} {duration(spent)}" for name, spent in stages.items())
    total = run.seconds.get("total")
    return " = ".join(part for part in ("" if total is None else duration(total), parts) if part)


def _notes(run: Run) -> list[str]:
    notes = [*run.notes, *(run.data.notes if run.data else ()), *(run.split.notes if run.split else ())]
    return [f"{note.rstrip('.')}." for note in notes]
