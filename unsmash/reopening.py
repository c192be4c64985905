"""A stored run opened again: its experiment, its very images, and its model where a command needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsmash import experiment as experiments
from unsmash import shelf
from unsmash.auditing import identity, load
from unsmash.data.base import Data, Splits
from unsmash.environment import describe as describe_machine
from unsmash.errors import ConfigError, DataError, RecordError
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.records import Run
from unsmash.settings import component as parse
from unsmash.store import Store

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Reopened:
    """A run with what it was made of."""

    store: Store
    """The folder of runs it lies in"""
    run: Run
    experiment: Experiment
    splits: Splits
    module: nn.Module | None
    """The user's own model where one came from Python"""
    changed: str
    """Why this code would not measure the same run; empty where it would, given the same machine"""


def record_of(run: str | Path, out: Path) -> tuple[Store, Run]:
    """The store and the record of a finished run, given by its id, a unique beginning of it, or its folder.

    Raises:
        RecordError: there is no such run, or it did not finish.
    """
    store, name = shelf.locate(str(run), out)
    record = store.load(name)
    if record.failure is not None:
        raise RecordError(
            f"run {name} did not finish, it stopped in {record.failure.stage}: {record.failure.message.rstrip('.')}. "
            "`unsmash audit` of the same measures it anew"
        )
    return store, record


def images_of(record: Run, lab: Lab, root: Path | None) -> Splits:
    """The run's images, read again.

    Raises:
        DataError: they cannot be read, or are others than the run's.
    """
    data = experiments.component(record.experiment["data"], "data", "data")
    assert isinstance(data, Data)
    assert record.data is not None
    splits = load(data, lab, root=root, allow_contamination=record.data.contamination > 0)
    now, then = splits.report.fingerprint, record.data.fingerprint
    if now != then:
        raise DataError(
            f"{data.kind}: these are not the images of run {record.id}, their fingerprint is {now[:12]} and was "
            f"{then[:12]}: files were added, removed or changed since, or come from another place (--data-root)"
        )
    return splits


def reopen(
    run: str | Path,
    out: Path,
    lab: Lab,
    *,
    model: str | Mapping[str, Any] | nn.Module | None = None,
    root: Path | None = None,
) -> Reopened:
    """A finished run with its experiment and images; `model` is the user's own one, where it was made with one.

    Raises:
        RecordError: no such run, or it did not finish. DataError: the images are not the run's.
        ConfigError: the model must be given again, or is another.
    """
    store, record = record_of(run, out)
    module = None if model is None or isinstance(model, str | Mapping) else model
    raw = record.experiment | {"model": _model(record, model)}
    experiment = experiments.study(raw, trusted=True).experiment
    splits = images_of(record, lab, root)
    changed = ""
    if identity(experiment, splits, lab, module) != record.id:
        changed = _why_changed(record, experiment, lab)
    return Reopened(store, record, experiment, splits, module, changed)


def _model(record: Run, model: str | Mapping[str, Any] | nn.Module | None) -> Any:
    """The model's settings, as the run has them or, where the model is the user's own, as it is given again."""
    known = record.experiment["model"]
    own = known["kind"] == "own"
    if own and model is None:
        made = f"{known['path']}:{known['factory']}" if known.get("path") else ""
        hint = f"Write --model {made}" if made else f"In Python: model=, your {known['factory']}"
        allowed = f"the model that run {record.id} was made with: code is never taken from a stored run"
        raise ConfigError("--model", got="nothing", allowed=allowed, hint=hint)
    if not own and model is not None:
        allowed = f"nothing, for run {record.id} was made with {known['kind']}"
        raise ConfigError("--model", got=_named(model), allowed=allowed)
    if not own:
        return known
    if isinstance(model, str):
        model = parse(model, "model", trusted=True)
    if not isinstance(model, Mapping):
        return {"kind": "own", "factory": type(model).__name__}
    return model


def _why_changed(record: Run, experiment: Experiment, lab: Lab) -> str:
    then, now = record.environment.get("unsmash", ""), describe_machine(lab.device).get("unsmash", "")
    versions = f" (unsmash was {then}, is {now})" if then != now else ""
    if experiment.model.local_only:
        allowed = f"the model of run {record.id}: its weights, its factory's name or its settings are others{versions}"
        raise ConfigError("--model", got=experiment.model.label(), allowed=allowed)
    return f"the components have changed since it was made{versions}"


def _named(model: Any) -> str:
    return (
        str(model.get("kind"))
        if isinstance(model, Mapping)
        else model
        if isinstance(model, str)
        else type(model).__name__
    )
