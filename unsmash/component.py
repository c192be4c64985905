"""A component is its settings: one frozen model per file, found by looking into the folder.

`Component` is the base of data sets, models, defences and attacks. Its fields are the YAML keys, the command line's
`key=value` pairs, the form and the documentation; its one verb (`load`, `build`, `arm`, `run`) is the work. A folder
of components is its own registry: `discover("unsmash.attacks", Attack)` takes the one component in each file.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from unsmash.errors import ConfigError


class Component(BaseModel):
    """Settings and behaviour in one frozen value. Subclasses set `kind` to their file's name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    kind: str
    """Name of the component; equals its file's name"""

    revision: ClassVar[int] = 1
    """Raised when the behaviour changes, so that cached results of the old behaviour no longer match"""

    tiny: ClassVar[dict[str, Any]] = {}
    """The smallest sensible settings, for the contract tests"""

    @classmethod
    def summary(cls) -> str:
        """The first sentence of the class's docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]

    def label(self) -> str:
        """Short name with the settings that differ from the defaults: `decoder(size=large)`."""
        changed = [f"{name}={value}" for name, value in self if name != "kind" and value != self._default(name)]
        return self.kind + (f"({', '.join(changed)})" if changed else "")

    def _default(self, name: str) -> Any:
        return type(self).model_fields[name].get_default(call_default_factory=True)


C = TypeVar("C", bound=Component)


@functools.cache
def discover(package: str, base: type[C]) -> dict[str, type[C]]:
    """All components of a folder by kind: exactly one subclass of `base` per module, `base.py` excepted.

    Raises:
        TypeError: a module holds no component, several, or one whose `kind` is not the file's name.
    """
    folder = importlib.import_module(package)
    found: dict[str, type[C]] = {}
    for info in sorted(pkgutil.iter_modules(folder.__path__), key=lambda item: item.name):
        if info.name == "base" or info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        classes = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        ]
        if len(classes) != 1:
            raise TypeError(f"{module.__name__} must hold exactly one {base.__name__}, found {len(classes)}")
        kind = get_args(classes[0].model_fields["kind"].annotation)
        if kind != (info.name,):
            raise TypeError(f"{module.__name__}: kind is {kind}, the file's name is {info.name!r}")
        found[info.name] = classes[0]
    return found


def find(package: str, base: type[C], kind: str, path: str) -> type[C]:
    """The component class of that kind.

    Raises:
        ConfigError: no file of that name, with the nearest names.
    """
    kinds = discover(package, base)
    if kind not in kinds:
        raise ConfigError(path, got=kind, allowed=kinds, hint="`unsmash kinds` describes each")
    return kinds[kind]
