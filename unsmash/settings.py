"""From flags and YAML to plain settings: `KIND:key=value,…`, `--set path=value`, `--quick`. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from unsmash.errors import ConfigError

QUICK_DECODER = {"kind": "decoder", "size": "small", "epochs": 2, "copies": 1}
"""The decoder of `--quick`"""


def gather(
    study: Path | None,
    *,
    data: str | None = None,
    model: str | None = None,
    at: str | None = None,
    defences: list[str] | None = None,
    attacks: list[str] | None = None,
    seeds: int | None = None,
    queries: int | None = None,
    frames: int | None = None,
    fail_if: str | None = None,
    assignments: list[str],
    quick: bool = False,
) -> dict[str, Any]:
    """The study's mapping: the file's, then the flags', then the assignments'."""
    raw: dict[str, Any] = _read(study) if study else {}
    if data is not None:
        raw["data"] = component(data, "data")
    if model is not None:
        raw["model"] = component(model, "model", trusted=True)
    if at is not None:
        raw["at"] = at
    if defences:
        raw["defences"] = [component(text, "defence") for text in defences]
    if attacks:
        raw["attacks"] = [component(text, "attack") for text in attacks]
    if seeds is not None:
        raw["seeds"] = seeds
    if fail_if is not None:
        raw["fail_if"] = fail_if
    if queries is not None or frames is not None:
        raw["threats"] = _standing(queries or 1, frames or 1)
    if quick:
        _hasten(raw)
    for assignment in assignments:
        assign(raw, assignment)
    return raw


def component(text: str, path: str, *, trusted: bool = False) -> dict[str, Any]:
    """`KIND[:key=value,…]` as a mapping; for a model also `path.py:factory[,key=value]`.

    Raises:
        ConfigError: a part is no key=value.
    """
    head, _, rest = text.partition(":")
    if trusted and head.endswith(".py"):
        factory, _, rest = rest.partition(",")
        if not factory:
            raise ConfigError(
                path, got=text, allowed="path.py:factory", hint="Name the function that returns the model"
            )
        return {"kind": "own", "path": head, "factory": factory} | _pairs(rest, path)
    return {"kind": head.strip()} | _pairs(rest, path)


def assign(raw: dict[str, Any], assignment: str) -> None:
    """Set one dotted path: `train.epochs=2`, `attacks.0.size=large`, `seed=3`.

    Raises:
        ConfigError: no `=`, or the path leads through something that has no parts.
    """
    path, sign, value = assignment.partition("=")
    if not sign or not all(path.strip().split(".")):
        raise ConfigError("--set", got=assignment, allowed="path=value", hint="Write for example --set train.epochs=2")
    put(raw, path.strip(), _value(value), where="--set", got=assignment)


def put(raw: dict[str, Any], path: str, value: Any, *, where: str, got: str) -> None:
    """Set a dotted path in a study's mapping, making the parts that lead there.

    Raises:
        ConfigError: the path leads through something that has no parts; `where` and `got` are what it names.
    """
    steps = path.split(".")
    here: Any = raw
    for depth, step in enumerate(steps[:-1]):
        here = _step(here, step, ".".join(steps[: depth + 1]), where, got)
    last = steps[-1]
    if isinstance(here, list):
        here[_index(here, last, where, got)] = value
    else:
        here[last] = value


def _step(here: Any, step: str, path: str, where: str, got: str) -> Any:
    if isinstance(here, list):
        index = _index(here, step, where, got)
        if isinstance(here[index], str):
            here[index] = {"kind": here[index]}
        return here[index]
    if step not in here and step == "attacks":
        here[step] = _default_attacks()
    if step not in here and step == "threats":
        here[step] = _standing()
    if step not in here and step == "defences":
        hint = "Add --defence first" if where == "--set" else "Give the study defences first"
        raise ConfigError(where, got=got, allowed="a path into defences that were given", hint=hint)
    if step not in here and step in ("data", "model"):
        here[step] = {"kind": _default_kind(step, here)}
    inner = here.setdefault(step, {})
    if isinstance(inner, str):
        inner = here[step] = {"kind": inner}
    if not isinstance(inner, dict | list):
        raise ConfigError(where, got=got, allowed=f"a path; {path} is {inner!r} and has no parts")
    return inner


def _default_attacks() -> list[Any]:
    from unsmash.experiment import DEFAULT_ATTACKS

    return list(DEFAULT_ATTACKS)


def _default_kind(step: str, raw: dict[str, Any]) -> str:
    """The data set, or the data set's model, that is taken when none is named."""
    from unsmash import experiment
    from unsmash.data.base import Data

    if step == "data":
        return experiment.default_data()
    data = experiment.component(raw.get("data", experiment.default_data()), "data", "data")
    assert isinstance(data, Data)
    return data.usual_model


def _index(items: list[Any], step: str, where: str, got: str) -> int:
    if not step.isdigit() or int(step) >= len(items):
        allowed = f"a number from 0 to {len(items) - 1} in place of {step!r}" if items else "a path; the list is empty"
        raise ConfigError(where, got=got, allowed=allowed)
    return int(step)


def _read(path: Path) -> dict[str, Any]:
    from unsmash.experiment import read_yaml

    return read_yaml(path)


def _pairs(text: str, path: str) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for part in _split(text):
        key, sign, value = part.partition("=")
        if not sign or not key.strip():
            raise ConfigError(
                path, got=part, allowed="key=value", hint=f"Write for example --{path} KIND:key=value,key=value"
            )
        pairs[key.strip()] = _value(value)
    return pairs


def _split(text: str) -> list[str]:
    """Split at commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return [part for part in parts if part.strip()]


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _standing(queries: int = 1, frames: int = 1) -> list[dict[str, Any]]:
    from unsmash.threat import standing

    return [threat.model_dump(mode="json") for threat in standing(queries, frames)]


def _hasten(raw: dict[str, Any]) -> None:
    train = raw.setdefault("train", {})
    model = raw.get("model")
    own = isinstance(model, dict) and model.get("kind") == "own"
    if isinstance(train, dict) and not own:
        train.setdefault("epochs", 2)
    attacks = [dict(QUICK_DECODER) if kind == "decoder" else {"kind": kind} for kind in _default_attacks()]
    raw.setdefault("attacks", attacks)
