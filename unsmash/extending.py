"""Further attacks on the victim of a stored run. What `unsmash attack` and `unsmash.attack()` both call.

The experiment is the old one with more attacks, and with the adversaries they need; it has an id, a run and a report of
its own, the same that an audit of all of it would have made. What the old run measured is taken from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from unsmash import experiment as experiments
from unsmash import guesses, report
from unsmash.adversaries import with_needed
from unsmash.attacks.base import Attack
from unsmash.auditing import Audit, conduct, parsed, working_device
from unsmash.component import Component
from unsmash.earlier import Earlier, differences
from unsmash.environment import describe as describe_machine
from unsmash.errors import ConfigError, RecordError
from unsmash.events import Sink, silent
from unsmash.experiment import Experiment, Study, config_error
from unsmash.judge import judge
from unsmash.lab import Lab
from unsmash.records import ClassResult, Result, Run
from unsmash.reopening import Reopened, reopen
from unsmash.store import GUESSES, PICTURES, REPORT, VERDICT, write_record
from unsmash.threat import Grant, Threat, standing

if TYPE_CHECKING:
    from torch import nn


def attack(
    run: str | Path,
    attacks: Sequence[str | Mapping[str, Any]] = (),
    *,
    queries: int | None = None,
    frames: int | None = None,
    model: str | Mapping[str, Any] | nn.Module | None = None,
    out: str | Path = "runs",
    fail_if: str | None = None,
    progress: Sink = silent,
    device: str = "auto",
    root: Path | None = None,
    again: bool = False,
    images: bool = True,
    command: str = "",
) -> Audit:
    """Attack the victim of a stored run further; what the run measured is not measured again.

    Args:
        run: its id, a beginning of it that no other run in `out` shares, or its folder.
        attacks: `KIND[:key=value,…]` or settings; those that the run has already are left out.
        queries: adds adversaries who see so many messages of one image.
        frames: adds those who see so many slightly moved frames of one image.
        model: your own model again, where the run was made with one.
        out: the folder of runs; the new run is put beside the old one.
        fail_if: another budget than the run's.
        progress: takes events.
        device: where the attacks run.
        root: where data sets lie; else UNSMASH_DATA.
        again: takes nothing from the run.
        images: shows private images in the report.
        command: what to record as the command.

    Raises:
        UnsmashError: no such run, other images, an attack that no adversary may carry out, or what stopped it.

    >>> found = attack("3f9c", attacks=["hybrid"])                                             # doctest: +SKIP
    >>> found.verdict.word, found.report                                                       # doctest: +SKIP
    """
    if not attacks and queries is None and frames is None:
        raise ConfigError(
            "--attack", got="nothing", allowed="KIND[:key=value,…]", hint="`unsmash kinds attacks` lists them"
        )
    new = [experiments.component(parsed(one, "attack"), "attacks", "--attack") for one in attacks]
    lab = Lab(device=working_device(device), sink=progress)
    opened = reopen(run, Path(out), lab, model=model, root=root)
    experiment = extended(opened.experiment, [one for one in new if isinstance(one, Attack)], queries, frames)
    if experiment == opened.experiment and not again:
        found = _as_it_is(opened, fail_if, lab, images=images)
        _tell_what_did_not_run(new, found.runs[0], lab)
        return found
    study = Study(experiment=experiment, seeds=(experiment.seed,), fail_if=fail_if or opened.run.budget)
    earlier = None if again else _earlier(opened, lab)
    found = conduct(
        study, out=opened.store.root, progress=progress, module=opened.module, device=device, root=root, again=again,
        images=images, command=command, splits=opened.splits, earlier=earlier,
    )  # fmt: skip
    if earlier is not None and earlier.taken:
        lab.emit("note", "store", f"taken from run {opened.run.id}: {', '.join(earlier.taken)}")
    _tell_what_did_not_run(new, found.runs[0], lab)
    return found


def extended(
    old: Experiment, attacks: Sequence[Attack], queries: int | None = None, frames: int | None = None
) -> Experiment:
    """The old experiment with these attacks after its own, and the adversaries they and the further messages need.

    Raises:
        ConfigError: an attack needs what no adversary holds.
    """
    threats = old.threats
    try:
        more = standing(queries or 1, frames or 1)
    except ValidationError as error:
        raise config_error(error, "", Threat) from None
    for one in more:
        if one.queries > 1 or one.frames > 1:
            threats = _with(threats, one)
    every = list(old.attacks)
    every += [one for place, one in enumerate(attacks) if one not in old.attacks and one not in attacks[:place]]
    return Experiment.model_validate(
        {name: getattr(old, name) for name in Experiment.model_fields}
        | {"attacks": every, "threats": with_needed(tuple(every), threats)}
    )


def _with(threats: tuple[Threat, ...], more: Threat) -> tuple[Threat, ...]:
    """The threats and one more, where none sees and holds as much; it stands where an audit would have put it."""
    if any((t.grants, t.queries, t.frames) == (more.grants, more.queries, more.frames) for t in threats):
        return threats
    if more.name in (threat.name for threat in threats):
        more = more.model_copy(update={"name": f"{more.name}_{max(more.queries, more.frames)}"})
    listing = Grant.CANDIDATES in more.grants
    place = next((at for at, threat in enumerate(threats) if Grant.CANDIDATES in threat.grants and not listing), None)
    place = len(threats) if place is None else place
    return (*threats[:place], more, *threats[place:])


def _as_it_is(opened: Reopened, budget: str | None, lab: Lab, *, images: bool) -> Audit:
    """The run itself, for there is nothing to add; its report, which may be of several seeds, stays as it is."""
    folder = opened.store.folder(opened.run.id)
    verdict = opened.store.verdict(opened.run.id)
    if verdict is None or not (folder / REPORT).is_file():
        verdict = judge([opened.run], opened.run.budget)
        write_record(folder / VERDICT, verdict)
        report.write([opened.run], verdict, folder, folder / REPORT, images=images)
    if budget is not None and budget != verdict.budget:
        verdict = judge([opened.run], budget)
    lab.emit("note", "store", f"run {opened.run.id} has all of that already: nothing was attacked")
    return Audit((opened.run,), verdict, folder)


def _tell_what_did_not_run(attacks: Sequence[Component], run: Run, lab: Lab) -> None:
    """Attacks that were asked for and have no result: what they would show is shown already."""
    results: list[Result | ClassResult] = [*run.results, *(run.classes.results if run.classes else ())]
    done = [result.settings for result in results] + [{"kind": result.kind} for result in results if result.failure]
    for one in attacks:
        plain = one.model_dump(mode="json")
        if plain in done or {"kind": one.kind} in done:
            continue
        lab.emit("note", one.kind, f"{one.label()} was not run: it adds something only where the defence draws noise")


def _earlier(opened: Reopened, lab: Lab) -> Earlier | None:
    """What can be taken from the run; where nothing can, it is told why."""
    run, folder = opened.run, opened.store.folder(opened.run.id)
    then, now = dict(run.environment), describe_machine(lab.device)
    reasons = [opened.changed] if opened.changed else list(differences(then, now))
    if not reasons and not (folder / GUESSES).is_file():
        reasons = ["it keeps no guesses"]
    if reasons:
        lab.emit("note", "store", f"nothing is taken from run {run.id}: {'; '.join(reasons)}")
        return None
    try:
        kept = guesses.load(folder)
    except RecordError as error:
        lab.emit("warning", "store", f"nothing is taken from run {run.id}: {error}")
        return None
    return Earlier(run, kept, _arrays(folder / PICTURES))


def _arrays(file: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(str(file)) if file.is_file() else {}
