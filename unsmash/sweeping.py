"""The sweep: from a study of several variants to one frontier. What `unsmash sweep` and `unsmash.sweep()` both call."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from unsmash import budget, execute, report, tracking, variants
from unsmash.auditing import gathered, load, parsed, working_device
from unsmash.component import discover
from unsmash.data.base import Splits
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError, UnsmashError
from unsmash.events import Event, Sink, silent
from unsmash.execute import Here, Job, Outcome, Processes
from unsmash.frontier import Entry, frontier, row
from unsmash.frontier_record import About, Frontier, Row
from unsmash.lab import Lab
from unsmash.report.words import duration, percent, whole
from unsmash.store import REPORT, Store, write_record, write_text
from unsmash.variants import Plan, Variant
from unsmash.victim import build, split

if TYPE_CHECKING:
    from torch import nn

FOLDER, PAGE, RECORD, STUDY = "frontiers", "frontier.html", "frontier.json", "study.yaml"


@dataclass(frozen=True)
class Sweep:
    """What a sweep found: every variant's row, and where the page lies."""

    frontier: Frontier
    folder: Path

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
    from paths to values. The other settings are those of `unsmash.audit` and hold for all. More than one worker starts
    processes: a script must then call this under `if __name__ == "__main__":`.

    >>> found = sweep(data="digits", sweep={"defences": [[], ["laplace"], ["nopeek"]]})        # doctest: +SKIP
    >>> found.frontier.rows[0].name, found.report                                              # doctest: +SKIP
    """
    options = {
        name: settings.pop(name)
        for name in ("device", "root", "allow_contamination", "again", "track")
        if name in settings
    }
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
    track: str | Sequence[str] = (),
) -> Sweep:
    """Carry out a study of several variants: check them all, measure what the store does not have, write the frontier.

    `track` names trackers that every run is mirrored to, from this process alone, as it comes back.

    Raises:
        UnsmashError: something is wrong with the study. A variant that fails is a row of the frontier, no error.
    """
    plan = variants.plan(raw, trusted=trusted)
    mirror = tracking.opened(track, Store(out), progress, name=plan.name, sweep=plan.id, images=images)
    lab = Lab(device=working_device(device), sink=progress)
    pools = _images(plan, lab, root, allow_contamination)
    with lab.stage("variants") as told:
        _rehearse(plan, pools, lab, module)
        told["say"] = f"{len(plan.variants)} can be built and cut"
    options = {
        "out": str(out), "device": lab.device.type if device == "auto" else device, "again": again, "images": images,
        "root": None if root is None else str(root), "allow_contamination": allow_contamination,
        "command": _alone(plan),
    }  # fmt: skip
    jobs = [_job(variant, options) for variant in variants.ordered(plan.variants)]
    slots = _workers(workers, len(jobs), lab.device.type, module)
    entries = _Entries(plan, Store(out), slots, progress)
    executor: execute.Executor
    if slots == 1:
        images_of = {variant.name: pools[_key(variant)] for variant in plan.variants}
        executor = Here(entries.tell, lambda job: images_of[job.name], module)
    else:
        executor = Processes(entries.tell, slots, threads=_threads(slots))
    with mirror:
        try:
            for outcome in execute.carry_out(jobs, executor, slots, entries.begin):
                entries.take(outcome)
                mirror.add(outcome.runs, outcome.name)
        finally:
            executor.stop()
        with lab.stage("frontier"):
            found = _write(plan, entries.ordered(), raw, out, command)
        mirror.finished(found.folder)
    return found


def _images(plan: Plan, lab: Lab, root: Path | None, allow_contamination: bool) -> dict[str, Splits]:
    """The images of every data set among the variants."""
    pools: dict[str, Splits] = {}
    for variant in plan.variants:
        if _key(variant) not in pools:
            data = variant.study.experiment.data
            pools[_key(variant)] = load(data, lab, root=root, allow_contamination=allow_contamination)
    return pools


def _key(variant: Variant) -> str:
    return variant.study.experiment.data.model_dump_json()


def _rehearse(plan: Plan, pools: Mapping[str, Splits], lab: Lab, module: nn.Module | None) -> None:
    """Build and cut every variant's network once, so that a layer that is not there is told before anything trains.

    Raises:
        UnsmashError: one cannot be built or cut; the sentence names the variant.
    """
    done: set[str] = set()
    for variant in plan.variants:
        e, splits = variant.study.experiment, pools[_key(variant)]
        kinds = [defence.kind for defence in e.defences]
        key = f"{_key(variant)} {e.model.model_dump_json()} {e.at} {kinds}"
        if key in done:
            continue
        done.add(key)
        try:
            net = build(e, splits, lab, module=module)
            for defence in e.defences:
                net, _ = defence.adapt(net)
            split(net, e.model.entry(), e.at, splits)
        except ConfigError as error:
            place = f"{variant.name}: {error.path}"
            raise ConfigError(place, got=error.got, allowed=error.allowed, hint=error.hint) from None
        except UnsmashError as error:
            raise UnsmashError(f"{variant.name}: {error}") from None


def _job(variant: Variant, options: dict[str, Any]) -> Job:
    study = variant.study
    plain = study.experiment.model_dump(mode="json")
    plain |= {"seeds": list(study.seeds), "fail_if": study.fail_if, "name": variant.name}
    return Job(variant.name, plain, options, variants.trainings(study))


def _alone(plan: Plan) -> str:
    """The command that audits one variant by itself, in its run's folder."""
    words = ["unsmash", "audit", "experiment.yaml"]
    if len(plan.seeds) > 1 and plan.seeds == tuple(range(len(plan.seeds))):
        words += ["--seeds", str(len(plan.seeds))]
    if plan.budget != budget.DEFAULT:
        words += ["--fail-if", plan.budget]
    return shlex.join(words)


def _workers(asked: int | None, jobs: int, device: str, module: nn.Module | None) -> int:
    """How many processes; a module that lives in this one cannot be sent to others."""
    if module is not None:
        return 1
    return max(1, min(asked or execute.usual_workers(device), jobs))


def _threads(workers: int) -> int:
    """Of each process, so that together they have no more than this one may use."""
    import torch

    return max(1, min(torch.get_num_threads(), execute.cores()) // workers)


class _Entries:
    """What has come back so far, and the line that tells it."""

    def __init__(self, plan: Plan, store: Store, slots: int, sink: Sink) -> None:
        self.plan, self.store, self.slots, self.sink = plan, store, slots, sink
        self.lock = threading.Lock()
        self.active: set[str] = set()
        self.found: dict[str, Entry] = {}
        self.measured: list[float] = []

    def begin(self, job: Job) -> None:
        """A job starts."""
        with self.lock:
            self.active.add(job.name)
            self.sink(Event("start", job.name))

    def tell(self, name: str, event: Event) -> None:
        """Something happened in a job: it moves the job's bar; only warnings are worth a line."""
        with self.lock:
            if event.kind == "warning":
                self.sink(replace(event, text=f"{name}: {event.text}"))
            elif event.kind in ("start", "tick") and name in self.active:
                text = f"{name} · {event.stage}" if event.kind == "start" else ""
                self.sink(Event("tick", name, text, event.step, event.total or 100, at=event.at))

    def take(self, outcome: Outcome) -> None:
        """A job has come to its end."""
        variant = next(one for one in self.plan.variants if one.name == outcome.name)
        runs = tuple(self.store.load(name) for name in outcome.runs)
        page = self.store.folder(runs[0].id) / REPORT if runs else None
        entry = Entry(
            variant.name,
            variant.study.experiment.model_dump(mode="json"),
            runs,
            f"../../{runs[0].id}/{REPORT}" if page and page.is_file() else "",
            outcome.failure,
            outcome.seconds,
        )
        self.found[variant.name] = entry
        self.measured += [] if outcome.known else [outcome.seconds]
        with self.lock:
            self.active.discard(variant.name)
            kind: Any = "fail" if outcome.failure else "end"
            text = f"{_say(row(entry, self.plan.budget), outcome)}; {self._left()}"
            self.sink(Event(kind, variant.name, text, data={"runs": list(outcome.runs), "known": outcome.known}))

    def _left(self) -> str:
        """How many are done, and how long the others will take if they take as long as these."""
        done, total = len(self.found), len(self.plan.variants)
        if done == total or not self.measured:
            return f"{done} of {total}"
        each = sum(self.measured) / len(self.measured)
        return f"{done} of {total}, about {duration(each * (total - done) / min(self.slots, total - done))} left"

    def ordered(self) -> list[Entry]:
        """Every entry, in the study's order."""
        return [self.found[variant.name] for variant in self.plan.variants]


def _say(made: Row, outcome: Outcome) -> str:
    """A row in a few words."""
    if made.failure is not None:
        return f"failed in {made.failure.stage}: {made.failure.message.rstrip('.')}"
    parts = ["known" if outcome.known else "", made.word]
    if made.attack is not None:
        parts.append(f"{whole(made.attack.share.mean * made.attack.share.n)} of {whole(made.attack.share.n)}")
    if made.accuracy is not None:
        parts.append(f"accuracy {percent(made.accuracy.mean)}")
    return ", ".join(part for part in parts if part)


def _write(plan: Plan, entries: Sequence[Entry], raw: Mapping[str, Any], out: Path, command: str) -> Sweep:
    """The frontier's folder, whole or not at all."""
    made = frontier(
        entries, id=plan.id, name=plan.name, budget=plan.budget, seeds=plan.seeds, defences=_about(plan),
        command=command,
    )  # fmt: skip
    store = Store(out / FOLDER)
    with store.writing(plan.id) as folder:
        write_text(folder / STUDY, yaml.safe_dump(_plain(raw), sort_keys=False, allow_unicode=True))
        write_record(folder / RECORD, made)
        write_text(folder / PAGE, report.render_frontier(made))
    return Sweep(made, store.folder(plan.id))


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
