"""Where a reproduction works: steps that are made once and kept under the hash of what they depend on.

A full reproduction takes hours. Each of its steps, a trained network or a measurement, is a file of its own, so a run
that was stopped goes on behind the last step that was finished.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unsmash import keeping
from unsmash.experiment import digest
from unsmash.lab import Lab


@dataclass(frozen=True)
class Made:
    """What a step made: figures as plain data, and arrays."""

    figures: dict[str, Any]
    arrays: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Workbench:
    """The place and the memory of one reproduction."""

    name: str
    """Of the reproduction; part of every step's key"""
    lab: Lab
    root: Path
    """Where data sets lie"""
    cache: Path
    """Where steps are kept"""
    seconds: float = 0.0
    """Work of the steps that were asked for, whenever it was done; each step counts once"""
    counted: set[Path] = field(default_factory=set)
    """Files of those steps"""

    def once(self, step: str, settings: Mapping[str, Any], make: Callable[[Lab], Made]) -> Made:
        """A step's result: kept from before, or made now in a lab whose random streams are named after the step.

        `settings` are all that the result depends on beside the code: sizes, seeds, weights, and a `revision` where
        the code behind it changed.
        """
        file = self._file(step, settings)
        with self.lab.stage(step) as told, keeping.alone(None if file.is_file() else file, self.lab, "the same step"):
            if file.is_file():
                arrays, told_of = keeping.load(file)
                kept = json.loads(told_of["step"])
                self._count(file, kept["seconds"])
                told["say"] = "kept from before"
                return Made(kept["figures"], {name: one for name, one in arrays.items() if name != "."})
            begun = time.perf_counter()
            made = make(self.lab.at(f"{self.name}/{step}"))
            took = time.perf_counter() - begun
            self._count(file, took)
            kept = {"figures": made.figures, "seconds": took, "settings": dict(settings)}
            keeping.save(file, made.arrays | {".": torch.zeros(0)}, {"step": json.dumps(kept, allow_nan=False)})
        return made

    def network(
        self,
        step: str,
        settings: Mapping[str, Any],
        net: nn.Module,
        train: Callable[[nn.Module, Lab], Mapping[str, Any]],
    ) -> tuple[nn.Module, dict[str, Any]]:
        """The network trained in place, and what its training told; weights kept from before are loaded into it."""

        def make(lab: Lab) -> Made:
            told = train(net, lab)
            return Made(dict(told), {f"net.{name}": tensor for name, tensor in net.state_dict().items()})

        made = self.once(step, settings, make)
        net.load_state_dict({name.removeprefix("net."): tensor for name, tensor in made.arrays.items()})
        return net.eval(), made.figures

    def kept(self, step: str, settings: Mapping[str, Any]) -> bool:
        """Whether that step was made before."""
        return self._file(step, settings).is_file()

    def seeded(self, seed: int) -> Workbench:
        """The same place with another seed; its work counts apart."""
        return replace(self, lab=replace(self.lab, seed=seed), seconds=0.0, counted=set())

    def _count(self, file: Path, seconds: float) -> None:
        self.seconds += 0.0 if file in self.counted else seconds
        self.counted.add(file)

    def _file(self, step: str, settings: Mapping[str, Any]) -> Path:
        key = digest([self.name, step, dict(settings), self.lab.seed, torch.__version__])[:24]
        return self.cache / "reproductions" / f"{self.name}-{key}.safetensors"
