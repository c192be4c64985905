"""The main job: from settings to a verdict and a report. What `unsmash audit` and `unsmash.audit()` both call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsmash import class_archive, guesses, index, keeping, report, tracking
from unsmash import experiment as experiments
from unsmash.data.base import Data, Splits, data_root
from unsmash.earlier import Earlier
from unsmash.errors import ConfigError, UnsmashError
from unsmash.events import Fan, JsonLines, Sink, silent
from unsmash.experiment import Experiment, Study
from unsmash.judge import judge
from unsmash.lab import Lab, pick_device
from unsmash.models.base import state_digest
from unsmash.pipeline import run as measure
from unsmash.pipeline import run_id
from unsmash.records import Failure, Run
from unsmash.settings import component as parse
from unsmash.store import PICTURES, REPORT, RUN, VERDICT, Store, write_record, write_text
from unsmash.verdicts import Verdict
from unsmash.victim import build

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Audit:
    """What an audit found: its runs (one a seed), the verdict, and where the report lies."""

    runs: tuple[Run, ...]
    verdict: Verdict
    folder: Path
    """The first run's folder"""

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / REPORT


def audit(
    *,
    data: str | Mapping[str, Any] | None = None,
    model: str | Mapping[str, Any] | nn.Module | None = None,
    at: str = "",
    out: str | Path = "runs",
    progress: Sink = silent,
    **settings: Any,
) -> Audit:
    """Audit a split model: train or take it, attack what it sends, judge, and write the report.

    `data` and `model` are a component's name or its settings; `model` may be your own torch module, taken with the
    weights it has, that maps images [n, c, h, w] in [0, 1] to logits. Other settings are those of a study file:
    `defences`, `attacks`, `threats`, `train`, `seeds`, `fail_if`; and those of `conduct`, `track` among them.

    >>> found = audit(data="digits", at="code", out="runs")        # doctest: +SKIP
    >>> found.verdict.word, found.report                           # doctest: +SKIP
    """
    options = {
        name: settings.pop(name)
        for name in ("device", "root", "allow_contamination", "again", "track")
        if name in settings
    }
    raw, module = gathered(data, model, at, settings)
    return conduct(experiments.study(raw, trusted=True), out=Path(out), progress=progress, module=module, **options)


def gathered(
    data: str | Mapping[str, Any] | None,
    model: str | Mapping[str, Any] | nn.Module | None,
    at: str,
    settings: Mapping[str, Any],
) -> tuple[dict[str, Any], nn.Module | None]:
    """A study's mapping from what a caller in Python gives, and the caller's own module if the model is one."""
    raw: dict[str, Any] = {"at": at} | {name: parsed(value, name) for name, value in settings.items()}
    if data is not None:
        raw["data"] = parsed(data, "data")
    if model is not None and not isinstance(model, str | Mapping):
        return raw | {"model": {"kind": "own", "factory": type(model).__name__}}, model
    if model is not None:
        raw["model"] = parsed(model, "model")
    return raw, None


def parsed(value: Any, name: str) -> Any:
    """`KIND:key=value` strings as the command line reads them, alone or in a list of defences or attacks."""
    if name in ("defences", "attacks") and isinstance(value, list | tuple):
        return [parsed(item, name.removesuffix("s")) for item in value]
    if name in ("data", "model", "defence", "attack") and isinstance(value, str):
        return parse(value, name, trusted=name == "model")
    return value


@contextlib.contextmanager
def still() -> Iterator[None]:
    """Same experiment, same machine kind, same bits; afterwards torch's settings are the caller's again."""
    import os

    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    strict = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=only_warns)
        torch.backends.cudnn.benchmark = benchmark


@still()
def conduct(
    study: Study,
    *,
    out: Path,
    progress: Sink = silent,
    module: nn.Module | None = None,
    device: str = "auto",
    root: Path | None = None,
    allow_contamination: bool = False,
    again: bool = False,
    images: bool = True,
    command: str = "",
    splits: Splits | None = None,
    earlier: Earlier | None = None,
    track: str | Sequence[str] = (),
) -> Audit:
    """Carry out a study: each seed's run is taken from the store or measured, then all are judged and reported.

    `splits` are the study's images where the caller has loaded them already; what the run in `earlier` has measured of
    the same victim is taken from it. `track` names trackers that the runs are mirrored to, as `mlflow:URI` or
    `tensorboard:FOLDER`.

    Raises:
        UnsmashError: what stopped it. A failed run is stored as data before the error is passed on.
    """
    store = Store(out)
    lab = Lab(device=working_device(device), sink=progress)
    with tracking.opened(track, store, progress, name=study.name, images=images) as mirror:
        if splits is None:
            splits = load(study.experiment.data, lab, root=root, allow_contamination=allow_contamination)
        runs: list[Run] = []
        for one in study.experiments():
            alone = replace(lab, seed=one.seed)
            runs.append(_one(one, splits, store, alone, module, study.fail_if, command, again, earlier))
        verdict = judge(runs, study.fail_if)
        folder = store.folder(runs[0].id)
        write_record(folder / VERDICT, verdict)
        for run in runs:
            index.remember(store, run, verdict.word if run is runs[0] else judge([run], run.budget).word)
        with lab.stage("report"):
            report.write(runs, verdict, folder, folder / REPORT, images=images)
        mirror.add([run.id for run in runs])
    return Audit(tuple(runs), verdict, folder)


def _one(
    experiment: Experiment,
    splits: Splits,
    store: Store,
    lab: Lab,
    module: nn.Module | None,
    budget: str,
    command: str,
    again: bool,
    earlier: Earlier | None,
) -> Run:
    name = identity(experiment, splits, lab, module)
    if not again and (known := _known(store, name, budget, lab)):
        return known
    with keeping.alone(store.cache / "runs" / name, lab, f"run {name}"):
        if not again and (known := _known(store, name, budget, lab)):
            return known
        return _measured(name, experiment, splits, store, lab, module, budget, command, earlier)


def _known(store: Store, name: str, budget: str, lab: Lab) -> Run | None:
    """The stored run, where it is complete and answers the budget too."""
    if not store.has(name):
        return None
    known = store.load(name)
    if known.failure is not None or not _cards_serve(known, budget):
        return None
    lab.emit("note", "store", f"run {name} is known: taken from {store.folder(name)}")
    return known


def _measured(
    name: str,
    experiment: Experiment,
    splits: Splits,
    store: Store,
    lab: Lab,
    module: nn.Module | None,
    budget: str,
    command: str,
    earlier: Earlier | None,
) -> Run:
    """Measure a run and store it; one that fails is stored before its error is passed on."""
    stopped: UnsmashError | None = None
    with store.writing(name) as work:
        write_text(work / "experiment.yaml", experiments.to_yaml(experiment))
        lines = JsonLines(work / "events.jsonl")
        told = replace(lab, sink=Fan((lab.sink, lines)))
        try:
            measured = measure(
                experiment, splits, told, name=name, cache=store.cache, module=module, budget=budget, command=command,
                earlier=earlier,
            )  # fmt: skip
            run = measured.run
            save_pictures(work / PICTURES, measured.arrays)
            class_archive.save(run, measured.arrays, work)
            guesses.save(work, measured.guesses)
        except UnsmashError as error:
            if error.exit_code == 2:
                raise  # a user's mistake is no result
            stopped = error
            error.run = name  # type: ignore[attr-defined]
            run = _failed(name, experiment, error, command)
        finally:
            lines.close()
        write_record(work / RUN, run)
    if stopped is not None:
        raise stopped
    return run


def identity(experiment: Experiment, splits: Splits, lab: Lab, module: nn.Module | None) -> str:
    """The id of the run that measures this: a model that is given counts by the weights it comes with."""
    own = module is not None or experiment.model.given()
    return run_id(experiment, splits, state_digest(build(experiment, splits, lab, module=module)) if own else "")


def _failed(name: str, experiment: Experiment, error: UnsmashError, command: str) -> Run:
    failure = Failure(type(error).__name__, str(error), getattr(error, "stage", "start"))
    return Run(name, experiment.model_dump(mode="json"), experiment.seed, failure=failure, command=command)


def _cards_serve(run: Run, budget: str) -> bool:
    """A stored run's strength cards were made for one budget; another may need control runs that were not made."""
    if run.budget == budget:
        return True
    cards = [result.card for result in run.of_role("attack") if not result.card.exhibit]
    return all(card.strong is not None or card.valid is False for card in cards)


def save_pictures(file: Path, arrays: Mapping[str, Any]) -> None:
    """Write the arrays of a run's pictures by their names."""
    from safetensors.numpy import save_file

    save_file(dict(arrays), str(file))


def load(data: Data, lab: Lab, *, root: Path | None = None, allow_contamination: bool = False) -> Splits:
    """The images of a data set, with what is to be known of them told.

    Raises:
        DataError: images are missing, unreadable, too few, or stand in two sets.
    """
    with lab.stage("data") as told:
        splits = data.load(data_root(root), allow_contamination=allow_contamination)
        told["say"] = _say_data(splits)
    _warn(splits, lab)
    return splits


def working_device(name: str) -> torch.device:
    """The device of that name, tried out.

    Raises:
        ConfigError: there is no such device, or not on this machine.
    """
    import torch

    try:
        device = pick_device(name)
        torch.empty(1, device=device).fill_(0).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        allowed = "auto, cpu, cuda or mps, where the machine has it"
        raise ConfigError("device", got=name, allowed=allowed, hint=first) from None
    return device


def _say_data(splits: Splits) -> str:
    sizes = splits.report.sizes
    noun = splits.noun[1]
    return f"{sizes['train']} {noun} train, {sizes['shadow']} are the adversary's, {sizes['victims']} are victims"


def _warn(splits: Splits, lab: Lab) -> None:
    found = splits.report
    if found.contamination:
        lab.emit("warning", "data", f"{found.contamination} images stand in two sets that must share none (allowed)")
    if found.near_duplicates:
        lab.emit("warning", "data", f"{found.near_duplicates} victims have a near twin in another set")
    if found.repeats_dropped:
        lab.emit("note", "data", f"{found.repeats_dropped} repeated images were left out")


def summary(found: Audit) -> dict[str, Any]:
    """An audit as one JSON document, figures averaged over seeds."""
    runs = found.runs

    def average(name: str, metric: str) -> float | None:
        values = [run.result(name).mean(metric) for run in runs]
        kept = [value for value in values if value is not None]
        return sum(kept) / len(kept) if kept else None

    def entry(names: Sequence[str]) -> dict[str, Any]:
        figures = ("identification", "feature_identification", "recognition", "ssim", "ms_ssim", "psnr", "mse")
        return {
            name: {metric: average(name, metric) for metric in figures if average(name, metric) is not None}
            | {"valid": all(run.result(name).card.valid and not run.result(name).failure for run in runs)}
            for name in names
        }

    first = runs[0]
    accuracies = [run.utility.accuracy.mean for run in runs if run.utility and run.utility.accuracy]
    galleries = [result.name for result in first.of_role("ceiling")]
    return {
        "id": first.id,
        "ids": [run.id for run in runs],
        "experiment": first.experiment,
        "verdict": found.verdict.word,
        "sentence": found.verdict.sentence,
        "reasons": list(found.verdict.reasons),
        "budget": found.verdict.budget,
        "terms": list(found.verdict.terms),
        "exit_code": found.verdict.exit_code,
        "accuracy": sum(accuracies) / len(accuracies) if accuracies else None,
        "victims": first.data.sizes["victims"] if first.data else None,
        "floors": entry([result.name for result in first.of_role("floor")]),
        "attacks": entry([result.name for result in first.of_role("attack")]),
        "classes": _classes(first),
        "inferences": _inferences(first),
        "gallery_identification": average(galleries[0], "identification") if galleries else None,
        "contamination": first.data.contamination if first.data else 0,
        "near_duplicates": first.data.near_duplicates if first.data else 0,
        "dependence": {name: score.mean for name, score in first.dependence.items()},
        "seeds": [run.seed for run in runs],
        "seconds": sum(run.seconds.get("total", 0.0) for run in runs),
        "report": str(found.report),
    }


def _inferences(run: Run) -> dict[str, Any]:
    """Figures of the attacks on labels and attributes, of their floors and ceilings, and what chance is."""
    results = run.inferences.results if run.inferences else ()
    return {
        one.name: {name: score.mean for name, score in one.scores.items()} | {"chance": one.chance} for one in results
    }


def _classes(run: Run) -> dict[str, Any]:
    """Figures of the attacks on the network's classes and of their floors."""
    results = run.classes.results if run.classes else ()
    return {result.name: {name: score.mean for name, score in result.scores.items()} for result in results}
