"""The variants of a study: what its `sweep` and `variants` vary, each one checked before anything is trained.

    sweep:                          # every combination of these, the last path varying fastest
      at: [pool, code]
      defences.0.scale: [0.1, 0.5, 1]
    variants:                       # and each of these as it stands
      - {name: label only, defences: [codebook]}
      - {train.epochs: 20, train.augment: true}

Everything else in the study holds for all of them. Pure: plain settings in, experiments out.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from unsmash import experiment as experiments
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.experiment import Study, digest
from unsmash.settings import put

MOST = 1000
"""Variants of one study"""

WHOLE = ("seeds", "fail_if", "name", "sweep", "variants")
"""Settings that hold for the whole study, so that its rows can be compared"""


@dataclass(frozen=True)
class Variant:
    """One row of a study: its name and its experiment, over the study's seeds and with the study's budget."""

    name: str
    study: Study


@dataclass(frozen=True)
class Plan:
    """All variants of a study, in its order."""

    name: str
    variants: tuple[Variant, ...]

    @property
    def id(self) -> str:
        """12 hex digits of the experiments and seeds; neither names, budget nor order change it."""
        each = sorted(f"{variant.study.experiment.id} {list(variant.study.seeds)}" for variant in self.variants)
        return digest(each)[:12]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of each variant."""
        return self.variants[0].study.seeds

    @property
    def budget(self) -> str:
        """What every verdict is asked about."""
        return self.variants[0].study.fail_if


@dataclass(frozen=True)
class _Change:
    """What one variant sets, and where each value stands in the file."""

    where: str
    name: str
    values: dict[str, Any]
    places: dict[str, str]


def plan(raw: Mapping[str, Any], *, trusted: bool = False) -> Plan:
    """All variants of a study's mapping, checked.

    `trusted` is for what the user typed on this machine: only then may the model be code of their own.

    Raises:
        ConfigError: the first thing that is wrong, with its path in the study.
    """
    changes = [*_combinations(raw.get("sweep")), *_listed(raw.get("variants"))]
    if not changes:
        hint = "`unsmash audit` measures a single experiment"
        raise ConfigError("study", got="nothing that varies", allowed="sweep, variants or both", hint=hint)
    base = {key: value for key, value in raw.items() if key not in experiments.VARIED}
    experiments.study(base, trusted=trusted)
    variants: list[Variant] = []
    known: dict[str, str] = {}
    for change in changes:
        study = _study(base, change, trusted)
        same = json.dumps([study.experiment.model_dump(mode="json", exclude={"seed"}), study.seeds], sort_keys=True)
        if same in known:
            hint = "Two rows of the same experiment would be one run"
            raise ConfigError(change.where, got=f"what {known[same]} has", allowed="settings that differ", hint=hint)
        known[same] = change.where
        variants.append(Variant(change.name or _name(change, study), study))
    return Plan(str(raw.get("name", "")), _distinct(variants, changes))


def only(plan: Plan, patterns: Sequence[str]) -> Plan:
    """The variants whose names match one of the patterns (`*` any letters, `?` one); all where there are none.

    Raises:
        ConfigError: a pattern matches no variant.
    """
    for pattern in patterns:
        if not any(fnmatchcase(one.name, pattern) for one in plan.variants):
            raise ConfigError("--only", got=pattern, allowed=[one.name for one in plan.variants])
    kept = [one for one in plan.variants if any(fnmatchcase(one.name, pattern) for pattern in patterns)]
    return replace(plan, variants=tuple(kept)) if patterns else plan


def ordered(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """The order to train in: no defence, then what is put on a trained model, then what trains a model of its own."""

    def rank(variant: Variant) -> int:
        defences = variant.study.experiment.defences
        return 0 if not defences else 1 if all(defence.when == "inference" for defence in defences) else 2

    return tuple(sorted(variants, key=rank))


def trainings(study: Study) -> tuple[frozenset[str], ...]:
    """Names of the trainings that a variant rests on, for each seed: two that share one should not both make it.

    They are the network without any defence, which every audit compares with, and the network with those defences
    that take part in its training.
    """
    e = study.experiment
    plain = e.canonical()
    common = {"data": plain["data"], "model": plain["model"], "train": plain["train"] | {"epochs": e.epochs()}}
    early = [[place, plain["defences"][place]] for place, one in enumerate(e.defences) if one.when == "always"]
    rests = [common, *([common | {"at": e.at, "defences": early}] if early else [])]
    return tuple(frozenset(digest([rest, seed])[:24] for rest in rests) for seed in study.seeds)


def _combinations(sweep: Any) -> Iterator[_Change]:
    """Every combination of a sweep's values."""
    if sweep is None:
        return
    if not isinstance(sweep, Mapping) or not sweep:
        raise ConfigError("sweep", got=sweep, allowed="a mapping from dotted paths to lists of values")
    for path, values in sweep.items():
        _check_path(path, f"sweep.{path}")
        if not isinstance(values, list | tuple) or not values:
            hint = "A list that is itself one value stands in a list: [[]]"
            raise ConfigError(f"sweep.{path}", got=values, allowed="a list of values", hint=hint)
    _check_count(math.prod(len(values) for values in sweep.values()), "sweep")
    for places in itertools.product(*(range(len(values)) for values in sweep.values())):
        chosen = dict(zip(sweep, places, strict=True))
        where = ", ".join(f"sweep.{path}.{place}" for path, place in chosen.items())
        values = {path: sweep[path][place] for path, place in chosen.items()}
        yield _Change(where, "", values, {path: f"sweep.{path}.{place}" for path, place in chosen.items()})


def _listed(variants: Any) -> Iterator[_Change]:
    """The variants that were written out."""
    if variants is None:
        return
    if not isinstance(variants, list | tuple) or not variants:
        raise ConfigError("variants", got=variants, allowed="a list of mappings from dotted paths to values")
    _check_count(len(variants), "variants")
    for index, one in enumerate(variants):
        where = f"variants.{index}"
        if not isinstance(one, Mapping):
            raise ConfigError(where, got=one, allowed="a mapping from dotted paths to values, and a name")
        values = {path: value for path, value in one.items() if path != "name"}
        for path in values:
            _check_path(path, f"{where}.{path}")
        name = one.get("name", "")
        if not isinstance(name, str) or ("name" in one and not name.strip()):
            raise ConfigError(f"{where}.name", got=name, allowed="a few words")
        yield _Change(where, name.strip(), values, {path: f"{where}.{path}" for path in values})


def _check_path(path: Any, where: str) -> None:
    if not isinstance(path, str) or not all(path.split(".")):
        raise ConfigError(where, got=path, allowed="a dotted path, such as train.epochs or defences.0.scale")
    if path.split(".")[0] in WHOLE:
        hint = f"{', '.join(WHOLE[:3])} hold for the whole study, so that its rows can be compared"
        raise ConfigError(where, got=path, allowed="a setting of the experiment", hint=hint)


def _check_count(count: int, where: str) -> None:
    if count > MOST:
        raise ConfigError(where, got=f"{count} variants", allowed=f"up to {MOST}")


def _study(base: Mapping[str, Any], change: _Change, trusted: bool) -> Study:
    """One variant's study. An error names the place in the file, not the one in the variant."""
    raw = copy.deepcopy(dict(base))
    for path, value in change.values.items():
        put(raw, path, copy.deepcopy(value), where=change.places[path], got=path)
    try:
        return experiments.study(raw, trusted=trusted)
    except ConfigError as error:
        for path, place in change.places.items():
            if f"{error.path}.".startswith(f"{path}."):
                place += error.path[len(path) :]
                raise ConfigError(place, got=error.got, allowed=error.allowed, hint=error.hint) from None
        place = f"{change.where}: {error.path}"
        raise ConfigError(place, got=error.got, allowed=error.allowed, hint=error.hint) from None


def _distinct(variants: Sequence[Variant], changes: Sequence[_Change]) -> tuple[Variant, ...]:
    """The variants under names that differ: given ones must, made ones are counted."""
    used: dict[str, str] = {}
    for change in changes:
        if change.name and change.name in used:
            raise ConfigError(
                f"{change.where}.name", got=change.name, allowed=f"another name than {used[change.name]}'s"
            )
        used |= {change.name: change.where} if change.name else {}
    out = []
    for variant, change in zip(variants, changes, strict=True):
        name, number = variant.name, 2
        while not change.name and name in used:
            name, number = f"{variant.name} #{number}", number + 1
        used[name] = change.where
        out.append(Variant(name, variant.study))
    return tuple(out)


def _name(change: _Change, study: Study) -> str:
    """What a variant is called when nobody named it: its defences, and whatever else it sets."""
    parts = []
    if any(path.split(".")[0] == "defences" for path in change.values) or not change.values:
        parts.append(" + ".join(spoken(_written(defence)) for defence in study.experiment.defences) or "no defence")
    for path, value in change.values.items():
        if path.split(".")[0] != "defences":
            last = path.split(".")[-1]
            parts.append(f"{last} {_short(value)}" if not last.isdigit() else f"{path} {_short(value)}")
    return ", ".join(parts)


def _written(defence: Defence) -> dict[str, Any]:
    """A defence's settings as they were written, those at their usual values among them, others left out."""
    written = {*defence.model_fields_set, "kind"}
    return {name: value for name, value in defence.model_dump(mode="json").items() if name in written}


def spoken(defence: Mapping[str, Any]) -> str:
    """A defence's settings in a few words, numbers first.

    >>> spoken({"kind": "laplace", "when": "inference", "scale": 1.0})
    'laplace 1, inference'
    >>> spoken({"kind": "gaussian", "clip": 1.0, "epsilon": 8.0, "memoise": True})
    'gaussian clip 1, epsilon 8, memoise'
    """
    given = {name: value for name, value in defence.items() if name != "kind" and value not in (None, False, "always")}
    numbers = {name: value for name, value in given.items() if type(value) in (int, float)}
    words = [f"{name} {_short(value)}" if len(numbers) > 1 else _short(value) for name, value in numbers.items()]
    words += [name if value is True else _short(value) for name, value in given.items() if name not in numbers]
    return " ".join([str(defence.get("kind", "")), ", ".join(words)]).strip()


def _short(value: Any) -> str:
    """A value in a name."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).replace('"', "")
    return f"{value:g}" if isinstance(value, float) else str(value)
