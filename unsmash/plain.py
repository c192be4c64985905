"""Frozen dataclasses ↔ strict JSON, without loss and without surprises: how every record is written and read."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from unsmash.errors import RecordError


def dumps(record: Any, *, indent: int | None = None) -> str:
    """A record as strict JSON (no NaN, no infinity)."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, allow_nan=False, indent=indent)


T = TypeVar("T")


def build(kind: type[T], raw: Any) -> T:
    """A dataclass from plain JSON data, tuples and nested records restored.

    Raises:
        RecordError: a field is unknown, missing or of the wrong type.
    """
    if not isinstance(raw, dict):
        raise RecordError(f"{kind.__name__} cannot be read: a mapping should stand there, not {type(raw).__name__}")
    hints: dict[str, Any] = _hints(kind)  # type: ignore[arg-type]
    unknown = set(raw) - set(hints)
    if unknown:
        raise RecordError(f"{kind.__name__} has no field {sorted(unknown)[0]!r}; was it written by a newer unsmash?")
    try:
        return kind(**{name: _restore(hints[name], value) for name, value in raw.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{kind.__name__} cannot be read: {error}") from None


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    # written as text in every module: to read them takes longer than all else that building a record does
    return get_type_hints(kind)


def not_json(word: str) -> float:
    """Refuse NaN and infinity while JSON is parsed."""
    raise ValueError(f"{word} is no number in JSON")


def _restore(hint: Any, value: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _restore(next(arg for arg in args if arg is not type(None)), value)
    if dataclasses.is_dataclass(hint):
        return build(hint, value)  # type: ignore[arg-type]
    if origin is tuple and isinstance(value, list):
        many = len(args) == 2 and args[1] is Ellipsis
        hints = args[:1] * len(value) if many else args
        return tuple(_restore(inner, item) for inner, item in zip(hints, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {key: _restore(args[1], item) for key, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if value in args if origin is Literal else hint is not float and type(value) is hint:
        return value
    allowed = " or ".join(map(repr, args)) if origin is Literal else getattr(origin or hint, "__name__", str(hint))
    raise ValueError(f"got {str(value)[:60]!r} where {allowed} should stand")
