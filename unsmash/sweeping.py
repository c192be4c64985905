"""The sweep: from a study of several variants to one frontier. What `unsmash sweep` and `unsmash.sweep()` both call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from unsmash import execute, report, tracking, variants
from unsmash.auditing import gathered, parsed, working_device
from unsmash.cluster import Cluster
from unsmash.component import discover
from unsmash.defences.base import Defence
from unsmash.depot import Depot
from unsmash.errors import ConfigError
from unsmash.events import Event, Sink, silent
from unsmash.execute import Here, Processes
from unsmash.forecast import Forecast, forecast
from unsmash.frontier import Entry, frontier
from unsmash.frontier_record import About, Frontier
from unsmash.jobs import Prepared, prepare
from unsmash.lab import Lab
from unsmash.store import Store, write_record, write_text
from unsmash.studies import FOLDER, PAGE, RECORD, STUDY
from unsmash.study_progress import Entries
from unsmash.variants import Plan

if TYPE_CHECKING:
    from torch import nn

WHERE = ("device", "root", "allow_contamination", "again", "track", "on", "depot", "cpus", "gpus", "only", "limit")
"""What `conduct` takes that is no setting of the study: where, how, and how much of it"""


@dataclass(frozen=True)
class Sweep:
    """What a sweep found: every variant's row, and where the page lies."""

    frontier: Frontier
    folder: Path
    left: int = 0
    """Variants that a limit left for later"""

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder / PAGE

    @property
    def exit_code(self) -> int:
        """What a gate should return: 0 where a variant is within the budget, 1 where all are over it, else 3."""
        rows = self.frontier.rows
        if any(one.good for one in rows):
            return 0
        return 3 if any(one.word in ("inconclusive", "failed") for one in rows) else 1


def sweep(
    *,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    variants: Sequence[Mapping[str, Any]] | None = None,
    data: str | Mapping[str, Any] | None = None,
    model: str | Mapping[str, Any] | nn.Module | None = None,
    at: str = "",
    out: str | Path = "runs",
    workers: int = 1,
    progress: Sink = silent,
    **settings: Any,
) -> Sweep:
    """Audit every variant of a study, and write one page that sets what each costs against what it gives away.

    `sweep` maps dotted paths to lists of values, every combination of which is a variant; `variants` lists mappings
    from paths to values. The other settings are those of `unsmash.audit` and `conduct`, and hold for all. More than one
    worker starts processes: a script must then call this under `if __name__ == "__main__":`.

    >>> found = sweep(data="digits", sweep={"defences": [[], ["laplace"], ["nopeek"]]})        # doctest: +SKIP
    >>> found.frontier.rows[0].name, found.report                                              # doctest: +SKIP
    """
    options = {name: settings.pop(name) for name in WHERE if name in settings}
    raw, module = gathered(data, model, at, settings)
    if sweep is not None:
        raw["sweep"] = {path: [parsed(value, path) for value in values] for path, values in sweep.items()}
    if variants is not None:
        raw["variants"] = [{path: parsed(value, path) for path, value in one.items()} for one in variants]
    return conduct(raw, trusted=True, out=Path(out), workers=workers, progress=progress, module=module, **options)


def conduct(
    raw: Mapping[str, Any],
    *,
    out: Path,
    trusted: bool = False,
    workers: int | None = None,
    progress: Sink = silent,
    module: nn.Module | None = None,
    device: str = "auto",
    root: Path | None = None,
    allow_contamination: bool = False,
    again: bool = False,
    images: bool = True,
    command: str = "",
    on: str = "",
    depot: str = "",
    cpus: float = 1,
    gpus: float = 0,
    only: Sequence[str] = (),
    limit: int | None = None,
    track: str | Sequence[str] = (),
) -> Sweep:
    """Carry out a study of several variants: check them all, measure what the store does not have, write the frontier.

    `on` is the address of a Ray cluster to carry them out on, each with `cpus` cores and `gpus` GPUs; its machines
    share the folder `out`, or exchange runs under the URL `depot`. `only` keeps the variants whose names match one of
    these patterns; `limit` measures at most so many that the store does not have, and leaves the others for later.
    `track` names trackers that every run is mirrored to, from this process alone, as it comes back.

    Raises:
        UnsmashError: something is wrong with the study. A variant that fails is a row of the frontier, no error.
    """
    plan = variants.only(variants.plan(raw, trusted=trusted), only)
    mirror = tracking.opened(track, Store(out), progress, name=plan.name, sweep=plan.id, images=images)
    lab = Lab(device=working_device(device), sink=progress)
    ready = prepare(plan, lab, root=root, allow_contamination=allow_contamination, module=module)
    if limit is not None:
        ready = _limited(ready, Store(out), limit)
    if on and module is not None:
        hint = "Give the model as path.py:factory, on a path that every machine has"
        raise ConfigError("on", got=on, allowed="nothing, with a model that lives in this process", hint=hint)
    options = {
        "out": str(out.absolute() if on else out), "again": again, "images": images,
        "device": lab.device.type if device == "auto" and not on else device,
        "root": None if root is None else str(root), "allow_contamination": allow_contamination,
    }  # fmt: skip
    jobs = [ready.job(variant, options) for variant in variants.ordered(ready.plan.variants)]
    entries, made = Entries(ready.plan, Store(out), progress), execute.Made(jobs)

    def tell(name: str, event: Event) -> None:
        made.hear(name, event)
        entries.tell(name, event)

    executor: execute.Executor
    if on:
        executor = cluster = Cluster(tell, on, processors=cpus, accelerators=gpus, depot=depot)
        slots = max(1, min(workers or cluster.slots, len(jobs)))
    elif (slots := workers_for(workers, len(jobs), lab.device.type, module)) == 1:
        executor = Here(tell, lambda job: ready.images[job.name], module)
    else:
        executor = Processes(tell, slots, threads=execute.threads_of(slots))
    with mirror:
        try:
            for outcome in execute.carry_out(jobs, executor, slots, entries.begin, made):
                if depot:
                    Depot(depot).fetch(Store(out), outcome.runs)
                entries.take(outcome, slots)
                mirror.add(outcome.runs, outcome.name)
        finally:
            executor.stop()
        with lab.stage("frontier"):
            left = len(plan.variants) - len(ready.plan.variants)
            found = _write(ready.plan, entries.ordered(), raw, out, command, left, images)
        mirror.finished(found.folder)
    return found


def preview(
    raw: Mapping[str, Any],
    *,
    out: Path,
    trusted: bool = False,
    progress: Sink = silent,
    module: nn.Module | None = None,
    device: str = "auto",
    root: Path | None = None,
    allow_contamination: bool = False,
    only: Sequence[str] = (),
) -> Forecast:
    """What a study would do: which variants are known, what is to be trained, and about how long it takes.

    Raises:
        UnsmashError: something is wrong with the study.
    """
    plan = variants.only(variants.plan(raw, trusted=trusted), only)
    lab = Lab(device=working_device(device), sink=progress)
    ready = prepare(plan, lab, root=root, allow_contamination=allow_contamination, module=module)
    with lab.stage("probe"):
        quiet = replace(lab, sink=silent)
        return forecast(plan.variants, ready.ids, ready.images, Store(out), quiet, module)


def _limited(ready: Prepared, store: Store, limit: int) -> Prepared:
    """The variants that are known, and as many of the others as the limit allows."""
    new = [variant for variant in ready.plan.variants if not all(map(store.has, ready.ids[variant.name]))]
    later = {variant.name for variant in new[limit:]}
    kept = tuple(variant for variant in ready.plan.variants if variant.name not in later)
    if not kept:
        raise ConfigError("--limit", got=limit, allowed="at least 1 where nothing of the study is known yet")
    return replace(ready, plan=replace(ready.plan, variants=kept))


def workers_for(asked: int | None, jobs: int, device: str, module: nn.Module | None = None) -> int:
    """How many processes; a module that lives in this one cannot be sent to others."""
    if module is not None:
        return 1
    return max(1, min(asked or execute.usual_workers(device), jobs))


def _write(
    plan: Plan, entries: Sequence[Entry], raw: Mapping[str, Any], out: Path, command: str, left: int, images: bool
) -> Sweep:
    """The frontier's folder, whole or not at all."""
    made = frontier(
        entries, id=plan.id, name=plan.name, budget=plan.budget, seeds=plan.seeds, defences=_about(plan),
        command=command,
    )  # fmt: skip
    store = Store(out / FOLDER)
    with store.writing(plan.id) as folder:
        write_text(folder / STUDY, yaml.safe_dump(_plain(raw), sort_keys=False, allow_unicode=True))
        write_record(folder / RECORD, made)
        write_text(folder / PAGE, report.render_frontier(made, out, images=images))
    return Sweep(made, store.folder(plan.id), left)


def _about(plan: Plan) -> tuple[About, ...]:
    """What is known of each kind of defence that is used, in the order of use."""
    used = dict.fromkeys(one.kind for variant in plan.variants for one in variant.study.experiment.defences)
    kinds = discover("unsmash.defences", Defence)
    return tuple(
        About(kind, cls.summary(), cls.protects, cls.guarantee, cls.cost, cls.source)
        for kind, cls in ((kind, kinds[kind]) for kind in used)
    )


def _plain(value: Any) -> Any:
    """Settings as YAML can hold them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def summary(found: Sweep) -> dict[str, Any]:
    """A sweep as one JSON document."""
    return asdict(found.frontier) | {"exit_code": found.exit_code, "report": str(found.report)}
