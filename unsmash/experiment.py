"""What is measured: an experiment, and a study of several seeds; read from YAML, from flags, or made in Python.

An experiment holds components and nothing about where it runs: no device, no output folder, no worker count. Its id is
a hash of its canonical form, so machines agree on it. Everything is checked here, before anything is trained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator, model_validator
from torch import nn

from unsmash import budget
from unsmash.attacks.base import Attack, ClassAttack
from unsmash.component import Component, discover, find
from unsmash.data.base import Data
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.models.base import Model
from unsmash.split.train import Training
from unsmash.threat import Grant, Secret, Threat, standing

FAMILIES: dict[str, tuple[str, type[Component]]] = {
    "data": ("unsmash.data", Data),
    "model": ("unsmash.models", Model),
    "defences": ("unsmash.defences", Defence),
    "attacks": ("unsmash.attacks", Attack),
}
"""Folder and base class of each family of components"""

DEFAULT_ATTACKS = ("lookalike", "posterior", "ridge", "class_ridge", "decoder", "gallery")
PLACES = ("path", "shadow_path")
"""Settings that say where something lies on this machine; they are no part of an experiment's id"""

VARIED = ("sweep", "variants")
"""Settings that make several experiments of one study; `unsmash.variants` reads them"""

MOST_SEEDS = 1000

C = TypeVar("C", bound=Component)


class Experiment(BaseModel):
    """One thing to measure: data, model, cut, training, defences, adversaries, attacks and a seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data: SerializeAsAny[Data]
    """Which images"""
    model: SerializeAsAny[Model]
    """Which network"""
    at: str = ""
    """Name of the layer after which the model is cut; empty: the model's usual place"""
    train: Training = Training()  # type: ignore[call-arg]
    """How the split model is trained"""
    defences: tuple[SerializeAsAny[Defence], ...] = ()
    """What is put at the cut, in order"""
    threats: tuple[Threat, ...] = Field(default_factory=standing, min_length=1)
    """Adversaries, weakest first"""
    attacks: tuple[SerializeAsAny[Attack], ...] = ()
    """What they try; empty: lookalike, posterior, ridge, class_ridge, decoder and gallery"""
    seed: int = Field(0, ge=0, le=2**31)
    """Varies the training and the noise, never the images drawn"""

    @field_validator("data", "model", mode="before")
    @classmethod
    def _one(cls, value: Any, info: Any) -> Component:
        return component(value, info.field_name, info.field_name)

    @field_validator("at", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        # the layers of a plain nn.Sequential are called 0, 1, 2: YAML reads those as numbers
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("defences", "attacks", mode="before")
    @classmethod
    def _several(cls, value: Any, info: Any) -> tuple[Component, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(info.field_name, got=value, allowed="a list of components")
        return tuple(component(item, info.field_name, f"{info.field_name}.{index}") for index, item in enumerate(value))

    @model_validator(mode="after")
    def _complete(self) -> Experiment:
        if not self.attacks:
            kinds = discover("unsmash.attacks", Attack)
            object.__setattr__(self, "attacks", tuple(kinds[kind]() for kind in DEFAULT_ATTACKS))  # type: ignore[call-arg]
        if not self.at:
            object.__setattr__(self, "at", self.model.default_cut)
        if "threats" not in self.model_fields_set:
            threats = _with_holders(self.attacks, self.threats)
            object.__setattr__(self, "threats", (*threats, *_owner(self.attacks, threats)))
        _check_threats(self.threats)
        _check_grants(self.attacks, self.threats)
        return self

    @property
    def id(self) -> str:
        """12 hex digits of the canonical form and the components' revisions; the same on every machine."""
        parts: list[Component] = [self.data, self.model, *self.defences, *self.attacks]
        revisions = [type(part).revision for part in parts]
        return digest({"experiment": self.canonical(), "revisions": revisions})[:12]

    def canonical(self) -> dict[str, Any]:
        """Plain data with every setting spelled out, places left out."""
        plain: dict[str, Any] = _without_places(self.model_dump(mode="json"))
        return plain

    def adapted(self, net: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
        """The network as the defences can train it, and a note on each thing replaced."""
        notes: tuple[str, ...] = ()
        for defence in self.defences:
            net, replaced = defence.adapt(net)
            notes += replaced
        return net, notes

    def epochs(self) -> int:
        """Training passes: as asked, else the model's recommendation."""
        return self.model.recommended_epochs() if self.train.epochs is None else self.train.epochs


class Study(BaseModel):
    """An experiment over several seeds, with the budget that its verdict is asked about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: Experiment
    seeds: tuple[int, ...] = (0,)
    fail_if: str = budget.DEFAULT
    name: str = ""

    def experiments(self) -> tuple[Experiment, ...]:
        """One experiment a seed."""
        return tuple(self.experiment.model_copy(update={"seed": seed}) for seed in self.seeds)


def component(value: Any, family: str, path: str) -> Component:
    """A component from a name, a mapping with `kind`, or a component.

    Raises:
        ConfigError: unknown kind or setting, or a value out of range; the sentence has the path.
    """
    package, base = FAMILIES[family]
    if isinstance(value, base):
        return value
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise ConfigError(path, got=value, allowed=f"a mapping with kind, one of {', '.join(discover(package, base))}")
    cls = find(package, base, value["kind"], f"{path}.kind")
    try:
        return cls.model_validate(dict(value))
    except ValidationError as error:
        raise config_error(error, path, cls) from None


def study(raw: Mapping[str, Any], *, trusted: bool = False) -> Study:
    """A study from plain data, as YAML or flags give it.

    `trusted` is for what the user typed on this machine: only then may the model be code of their own.

    Raises:
        ConfigError: the first thing that is wrong, with its path.
    """
    raw = dict(raw)
    for several in VARIED:
        if several in raw:
            hint = "`unsmash sweep STUDY.yaml` measures a study of several variants"
            raise ConfigError(several, got=raw[several], allowed="one experiment, without it", hint=hint)
    seeds, fail_if, name = raw.pop("seeds", ...), raw.pop("fail_if", budget.DEFAULT), raw.pop("name", "")
    raw.setdefault("data", default_data())
    model = raw.get("model")
    if not trusted and (model.get("kind") if isinstance(model, Mapping) else model) == "own":
        hint = "Code is never named in a file: give it on the command line, --model path.py:factory"
        raise ConfigError(
            "model.kind", got="own", allowed=[k for k in discover("unsmash.models", Model) if k != "own"], hint=hint
        )
    data = component(raw["data"], "data", "data")
    assert isinstance(data, Data)
    raw["data"] = data
    raw.setdefault("model", data.usual_model)
    try:
        experiment = Experiment.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, "", Experiment) from None
    budget.parse(str(fail_if))
    each = (experiment.seed,) if seeds is ... else _seeds(seeds)
    return Study(experiment=experiment, seeds=each, fail_if=str(fail_if), name=str(name))


def default_data() -> str:
    """The data set taken when none is named."""
    return next(kind for kind, cls in discover("unsmash.data", Data).items() if cls.default)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    if not path.is_file():
        raise ConfigError("study", got=str(path), allowed="a YAML file that exists")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" at line {place.line + 1}, column {place.column + 1}" if place else ""
        raise ConfigError("study", got=str(path), allowed="YAML", hint=f"It cannot be read{where}") from None
    if not isinstance(raw, dict):
        raise ConfigError("study", got=type(raw).__name__, allowed="a mapping with data, model, attacks, …")
    return raw


def to_yaml(experiment: Experiment) -> str:
    """An experiment as YAML that reads back to the same experiment."""
    return yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def digest(plain: Any) -> str:
    """SHA-256 of canonical JSON."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def config_error(error: ValidationError, path: str, cls: type[BaseModel]) -> ConfigError:
    """The first of pydantic's findings as one sentence of ours."""
    first = error.errors(include_url=False)[0]
    place = ".".join([*([path] if path else []), *(str(step) for step in first["loc"])])
    got = first.get("input")
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        parent = place.rpartition(".")[0]
        more = [] if parent else ["seeds", "fail_if", "name"]
        return ConfigError(parent or "study", got=name, allowed=[*_fields(cls, first["loc"]), *more])
    if first["type"] == "missing":
        return ConfigError(place, got="nothing", allowed="a value", hint="It must be given")
    context = first.get("ctx") or {}
    told = first["msg"].removeprefix("Value error, ")
    allowed = context.get("expected") or told[0].lower() + told[1:]
    return ConfigError(place, got=got, allowed=str(allowed))


def _fields(cls: type[BaseModel], steps: Sequence[int | str]) -> list[str]:
    for step in steps[:-1]:
        field = cls.model_fields.get(str(step))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            cls = inner
        elif str(step) == "threats":
            cls = Threat
    return list(cls.model_fields)


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = list(range(min(value, MOST_SEEDS + 1))) if type(value) is int else value
    whole = isinstance(seeds, Sequence) and all(type(seed) is int and 0 <= seed <= 2**31 for seed in seeds)
    if not whole or not 1 <= len(seeds) <= MOST_SEEDS or len(set(seeds)) != len(seeds):
        allowed = f"a number of seeds from 1 to {MOST_SEEDS}, or a list of different whole numbers from 0 to 2^31"
        raise ConfigError("seeds", got=value, allowed=allowed)
    return tuple(seeds)


def _with_holders(attacks: tuple[Attack, ...], threats: tuple[Threat, ...]) -> tuple[Threat, ...]:
    """The threats, and who holds a half of the network where an attack on releases needs one; both are asked for.

    They stand before whoever holds a list of candidates, under whom the same attack would be shown only. Who holds the
    server half need not run the device half; who opens its weights can.
    """
    reading = [attack for attack in attacks if attack.role == "attack" and attack.secret is Secret.INPUTS]
    needs = [attack.required() for attack in reading]
    opening = [need for need in needs if Grant.WEIGHTS in need]
    serving = [need for need in needs if Grant.SERVER in need and need.isdisjoint({Grant.WEIGHTS, Grant.QUERIES})]
    asked = {"server": frozenset[Grant]().union(*serving)} if serving else {}
    if opening:
        asked["white_box"] = frozenset({Grant.QUERIES, Grant.SHADOW}).union(*opening)
    added = [
        Threat(name=name, grants=tuple(sorted(grants)))
        for name, grants in asked.items()
        if not any(threat.asked and threat.allows(grants) for threat in threats)
    ]
    place = next((at for at, threat in enumerate(threats) if Grant.CANDIDATES in threat.grants), len(threats))
    return (*threats[:place], *added, *threats[place:])


def _owner(attacks: tuple[Attack, ...], threats: tuple[Threat, ...]) -> tuple[Threat, ...]:
    """The adversary that attacks on the network itself ask for, shown only: no standing one holds the server half."""
    needs = [attack.required() for attack in attacks if isinstance(attack, ClassAttack)]
    grants = frozenset[Grant]().union(*needs)
    if any(threat.allows(grants) for threat in threats):
        return ()
    return (Threat(name="owner", grants=tuple(sorted(grants)), asked=False),)


def _check_threats(threats: tuple[Threat, ...]) -> None:
    names = [threat.name for threat in threats]
    if len(set(names)) != len(names):
        raise ConfigError("threats", got=names, allowed="names that differ")
    if not any(threat.asked for threat in threats):
        raise ConfigError(
            "threats", got=names, allowed="at least one with asked: true", hint="A verdict needs an adversary"
        )


def _check_grants(attacks: tuple[Attack, ...], threats: tuple[Threat, ...]) -> None:
    for index, attack in enumerate(attacks):
        if attack.role == "floor" or any(threat.allows(attack.required()) for threat in threats):
            continue
        needs = ", ".join(sorted(attack.required()))
        grants = "; ".join(f"{threat.name} grants {', '.join(threat.grants) or 'nothing'}" for threat in threats)
        raise ConfigError(
            f"attacks.{index}", got=attack.kind, allowed=f"attacks that some threat allows: it needs {needs}, {grants}"
        )


def _without_places(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _without_places(value) for key, value in plain.items() if key not in PLACES}
    if isinstance(plain, list):
        return [_without_places(value) for value in plain]
    return plain
