"""A user's own model: a factory function in a Python file, named on the command line or in Python only."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import nn

from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.models.base import Model
from unsmash.nets import Normalise


class Own(Model):
    """Your model, from `--model path.py:factory`; taken with the weights the factory gives it."""

    kind: Literal["own"] = "own"
    path: str = ""
    """Python file with the factory"""
    factory: str = ""
    """Function in it that returns the module; it may take `classes` and `input_shape`"""
    mean: tuple[float, ...] = ()
    """Channel means your model expects to be subtracted; leave out if it takes [0, 1]"""
    std: tuple[float, ...] = ()
    """Channel deviations your model expects to be divided by"""

    local_only: ClassVar[bool] = True
    epochs: ClassVar[int] = 0

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """What the factory returns.

        Raises:
            ConfigError: no such file or function, it raised, or what it returned is no module.
        """
        function = self._function()
        offered = {"classes": classes, "input_shape": input_shape}
        wanted = inspect.signature(function).parameters
        with lab.seeded("init"):
            try:
                module = function(**{name: value for name, value in offered.items() if name in wanted})
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise ConfigError(
                    "model.factory", got=f"{self.path}:{self.factory}", hint=f"It raised {what}"
                ) from error
        if not isinstance(module, nn.Module):
            raise ConfigError(
                "model.factory", got=type(module).__name__, allowed="a torch.nn.Module, returned by the factory"
            )
        return module

    def entry(self) -> nn.Module | None:
        """The normalisation asked for."""
        if not self.mean and not self.std:
            return None
        mean = self.mean or (0.0,) * len(self.std)
        return Normalise(mean, self.std or (1.0,) * len(mean))

    def fingerprint(self) -> str:
        """Hash of the file; the weights it loads are hashed by the audit."""
        return hashlib.sha256(Path(self.path).read_bytes()).hexdigest() if Path(self.path).is_file() else ""

    def _function(self) -> Any:
        path = Path(self.path)
        if not path.is_file():
            raise ConfigError(
                "model.path", got=self.path, allowed="a Python file", hint="Write --model path.py:factory"
            )
        spec = importlib.util.spec_from_file_location(f"unsmash_own_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ConfigError("model.path", got=self.path, allowed="a Python file ending in .py")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError("model.path", got=self.path, hint=f"It raised {type(error).__name__}: {error}") from error
        functions = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        if self.factory not in functions:
            raise ConfigError("model.factory", got=self.factory, allowed=functions)
        return getattr(module, self.factory)
