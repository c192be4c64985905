"""A choice measured anew: fresh seeds, victims that took no part in the search, and every attack there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unsmash import auditing, seeds_ahead
from unsmash import experiment as experiments
from unsmash.advice_record import Demand, Retest, Trial
from unsmash.attacks.base import Attack
from unsmash.choosing import REPEATS, Plan
from unsmash.component import discover
from unsmash.demands import broken, said
from unsmash.errors import UnsmashError
from unsmash.events import silent
from unsmash.experiment import DEFAULT_ATTACKS, Experiment, Study
from unsmash.forecast import probe
from unsmash.frontier import Entry, row
from unsmash.lab import Lab
from unsmash.records import Failure
from unsmash.store import REPORT, Store
from unsmash.threat import Grant, Threat, standing

if TYPE_CHECKING:
    from torch import nn

    from unsmash.data.base import Splits


def threats(given: Sequence[Threat] = ()) -> tuple[Threat, ...]:
    """Every standing adversary: one message and sixteen, with the weights, and with the candidates; given ones first
    by their names.
    """
    white = Threat(name="white_box", grants=(Grant.QUERIES, Grant.SHADOW, Grant.WEIGHTS))
    every = [*standing(REPEATS)]
    every.insert(next(place for place, one in enumerate(every) if Grant.CANDIDATES in one.grants), white)
    own = {one.name: one for one in given}
    merged = [own.pop(one.name, one) for one in every]
    return (*merged, *own.values())


def ladder(allowed: Sequence[Threat], given: Sequence[Attack] = ()) -> tuple[Attack, ...]:
    """Every attack on what is sent that one of these adversaries can carry out, the usual ones first; those kept as
    published are left out, since their failing proves nothing. Given ones keep their settings.
    """
    kinds = discover("unsmash.attacks", Attack)
    own = {one.kind: one for one in given}
    order = [*DEFAULT_ATTACKS, *(kind for kind in kinds if kind not in DEFAULT_ATTACKS)]
    every = [own.get(kind) or kinds[kind](kind=kind) for kind in order]
    return tuple(
        one for one in every
        if one.role != "floor" and one.of_inputs and (not one.exhibit or one.kind in own)
        and any(threat.allows(one.required()) for threat in allowed)
    )  # fmt: skip


def experiment(plan: Plan, trial: Trial) -> Experiment:
    """A trial's configuration on the images that were spared, under the whole ladder."""
    base = plan.base
    given: Mapping[str, Any] = trial.experiment
    whom = threats(base.threats if "threats" in plan.raw else ())
    tried = ladder(whom, base.attacks if "attacks" in plan.raw else ())
    kinds = tuple(experiments.component(one, "defences", "defences") for one in given["defences"])
    train = type(base.train).model_validate(given["train"])
    changes = {"at": given["at"], "defences": kinds, "train": train, "threats": whom, "attacks": tried}
    return base.model_copy(update=changes)


def estimate(plan: Plan, trial: Trial, splits: Splits, lab: Lab, module: nn.Module | None = None) -> float:
    """Seconds that one seed of a trial's re-test may take on all cores, by a probe on a few images; 0 where the probe
    does not finish.
    """
    one = experiment(plan, trial)
    try:
        training, rest = probe(one, splits, replace(lab, sink=silent), module)
    except UnsmashError:
        return 0.0
    networks = 2 if any(defence.when == "always" for defence in one.defences) else 1
    return networks * one.epochs() * len(splits.train) * training + rest


def retest(
    plan: Plan,
    trial: Trial,
    demand: Demand,
    seeds: Sequence[int],
    splits: Splits,
    lab: Lab,
    *,
    store: Store,
    options: Mapping[str, Any],
    module: nn.Module | None = None,
    address: str = "../../",
    workers: int = 1,
    where: Mapping[str, Any] | None = None,
) -> Retest:
    """An ordinary audit of several seeds, judged against the whole demand; what stops it is its result.

    With more than one worker the seeds are measured side by side; `where` says how those processes find the images.
    """
    one = experiment(plan, trial)
    plain = one.model_dump(mode="json")
    study = Study(experiment=one, seeds=tuple(seeds), fail_if=demand.fail_if, name=trial.name)
    if module is None:
        away = {"out": str(store.root), **options, **(where or {})}
        seeds_ahead.measure(study, workers, away, lab.sink)
    try:
        found = auditing.conduct(study, out=store.root, progress=lab.sink, module=module, splits=splits, **options)
    except UnsmashError as error:
        failure = Failure(type(error).__name__, str(error), getattr(error, "stage", "start"))
        line = row(Entry(trial.name, plain, failure=failure), demand.fail_if)
        return Retest(trial.number, line, holds=False, reason=f"it did not finish: {error}")
    line = row(Entry(trial.name, plain, found.runs, f"{address}{found.folder.name}/{REPORT}"), demand.fail_if)
    missed = broken(demand, found.runs, line)
    first = found.runs[0]
    tried = tuple(dict.fromkeys(result.title for result in first.results if result.role != "floor"))
    return Retest(trial.number, line, not missed, said(demand, missed, line), tried, first.latency_ms)
