"""What every component of every family keeps, whoever wrote it: a new file in a family's folder is tested by itself."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

import unsmash
from unsmash.component import Component, discover
from unsmash.errors import ConfigError
from unsmash.experiment import FAMILIES, component

NEEDED: dict[str, dict[str, Any]] = {"folder": {"path": "images"}}
"""Settings that have no default"""

ALL = [
    pytest.param(family, kind, cls, id=f"{family}-{kind}")
    for family, (package, base) in FAMILIES.items()
    for kind, cls in discover(package, base).items()
]
every = pytest.mark.parametrize(("family", "kind", "cls"), ALL)


def tiny(kind: str, cls: type[Component]) -> Component:
    return cls.model_validate({"kind": kind, **NEEDED.get(kind, {}), **cls.tiny})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_of_the_folder_is_discovered(family: str) -> None:
    package, base = FAMILIES[family]
    folder = Path(unsmash.__file__).parent / package.removeprefix("unsmash.")
    files = {file.stem for file in folder.glob("*.py") if not file.stem.startswith("_") and file.stem != "base"}
    assert set(discover(package, base)) == files
    assert files


@every
def test_the_kind_is_the_name_of_its_file(family: str, kind: str, cls: type[Component]) -> None:
    assert tiny(kind, cls).kind == kind
    file = importlib.import_module(cls.__module__).__file__
    assert file is not None
    assert Path(file).stem == kind


@every
def test_it_says_what_it_is(family: str, kind: str, cls: type[Component]) -> None:
    assert cls.__doc__ != Component.__doc__
    assert cls.__dict__.get("__doc__"), "the class needs a docstring of its own"
    assert cls.summary().endswith((".", ";", ",")) or len(cls.summary()) > 20
    assert importlib.import_module(cls.__module__).__doc__, "the file needs a docstring: the idea and its source"


@every
def test_every_setting_has_help(family: str, kind: str, cls: type[Component]) -> None:
    silent = [
        name for name, field in cls.model_fields.items() if name != "kind" and not (field.description or "").strip()
    ]
    assert not silent


@every
def test_its_settings_cannot_be_changed(family: str, kind: str, cls: type[Component]) -> None:
    made = tiny(kind, cls)
    for name in type(made).model_fields:
        with pytest.raises(ValidationError):
            setattr(made, name, getattr(made, name))


@every
def test_an_unknown_setting_is_refused_with_its_path(family: str, kind: str, cls: type[Component]) -> None:
    raw = {"kind": kind, **NEEDED.get(kind, {}), "no_such_setting": 1}
    with pytest.raises(ConfigError, match="no_such_setting") as caught:
        component(raw, family, f"{family}.7")
    assert caught.value.path.startswith(f"{family}.7")
    assert "\n" not in str(caught.value)


@every
def test_an_infinite_or_missing_number_is_refused(family: str, kind: str, cls: type[Component]) -> None:
    for name, field in cls.model_fields.items():
        if field.annotation is float:
            for bad in (float("inf"), float("nan")):
                with pytest.raises(ValidationError):
                    cls.model_validate({"kind": kind, **NEEDED.get(kind, {}), name: bad})


@every
def test_it_round_trips_through_yaml_and_json(family: str, kind: str, cls: type[Component]) -> None:
    made = tiny(kind, cls)
    plain = made.model_dump(mode="json")
    assert component(yaml.safe_load(yaml.safe_dump(plain)), family, family) == made
    assert component(json.loads(json.dumps(plain)), family, family) == made
    assert plain["kind"] == kind


@every
def test_its_tiny_settings_are_settings(family: str, kind: str, cls: type[Component]) -> None:
    assert set(cls.tiny) <= set(cls.model_fields) - {"kind"}
    made = tiny(kind, cls)
    for name, value in cls.tiny.items():
        assert getattr(made, name) == value


@every
def test_it_is_a_value(family: str, kind: str, cls: type[Component]) -> None:
    made, twin = tiny(kind, cls), tiny(kind, cls)
    assert made == twin
    assert hash(made) == hash(twin)
    assert made.label() == twin.label()


@every
def test_its_label_names_what_is_not_default(family: str, kind: str, cls: type[Component]) -> None:
    bare = cls.model_validate({"kind": kind, **NEEDED.get(kind, {})})
    made = tiny(kind, cls)
    assert made.label().startswith(kind)
    for name, value in cls.tiny.items():
        assert (f"{name}={value}" in made.label()) == (value != getattr(bare, name))
    if not NEEDED.get(kind):
        assert bare.label() == kind


@every
def test_its_revision_is_a_whole_number(family: str, kind: str, cls: type[Component]) -> None:
    assert isinstance(cls.revision, int)
    assert cls.revision >= 1


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    for family, near in (("attacks", "decoder"), ("defences", "gaussian"), ("data", "digits"), ("model", "splitnn")):
        with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
            component({"kind": near + "x"}, family, family)
