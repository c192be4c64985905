"""What a study will take, before it starts: which runs are known, which trainings are to be made, and about how long.

The time comes from a probe: the first experiment that is new, measured on a few of its images for one pass. Training
grows with images and passes, an attack that learns with the adversary's images, one that does not with the victims.
What does not grow is counted as measured. It is an estimate of the right order; the sweep's own count gets better soon.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unsmash import pipeline
from unsmash.data.base import Images, Splits
from unsmash.errors import UnsmashError
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.store import Store
from unsmash.threat import Grant
from unsmash.variants import Variant
from unsmash.victim import training_keys

if TYPE_CHECKING:
    from torch import nn

FEW = {"train": 256, "val": 64, "shadow": 256, "validator": 128, "victims": 32}
"""Images of each set in the probe"""


@dataclass(frozen=True)
class Forecast:
    """What is known and what is to be done."""

    known: tuple[str, ...]
    """Variants whose runs are all in the store"""
    new: tuple[str, ...]
    """Variants to be measured, wholly or in part"""
    runs: int
    """Runs to be measured"""
    trainings: int
    """Networks to be trained for them; each once, however many share it"""
    seconds: float | None = None
    """About how long all of it takes on one worker; None where nothing is new or the probe did not finish"""
    probe: float = 0.0
    """Seconds that the probe took"""


def forecast(
    variants: Sequence[Variant],
    ids: Mapping[str, tuple[str, ...]],
    images: Mapping[str, Splits],
    store: Store,
    lab: Lab,
    module: nn.Module | None = None,
) -> Forecast:
    """Look a study's variants up in the store, and probe the first that is new; `ids` and `images` go by name."""
    new: list[str] = []
    wanted: list[tuple[Experiment, Splits]] = []
    trainings: dict[str, int] = {}
    for variant in variants:
        splits = images[variant.name]
        missing = [
            one
            for one, name in zip(variant.study.experiments(), ids[variant.name], strict=True)
            if not _has(store, name)
        ]
        new += [variant.name] if missing else []
        for one in missing:
            wanted.append((one, splits))
            for key in training_keys(one, splits, replace(lab, seed=one.seed), module=module):
                if not (store.cache / "victims" / f"{key}.safetensors").is_file():
                    trainings[key] = one.epochs() * len(splits.train.pixels)
    known = tuple(variant.name for variant in variants if variant.name not in new)
    made = Forecast(known, tuple(new), len(wanted), len(trainings))
    return _timed(made, wanted, sum(trainings.values()), lab, module) if wanted else made


def _has(store: Store, name: str) -> bool:
    return store.has(name) and store.load(name).failure is None


def _timed(
    made: Forecast, wanted: Sequence[tuple[Experiment, Splits]], images: int, lab: Lab, module: nn.Module | None
) -> Forecast:
    """With the time that so many passes over training images and so many experiments take."""
    one, splits = wanted[0]
    begun = time.perf_counter()
    try:
        training, attacks = probe(one, splits, lab, module)
    except UnsmashError:
        return made
    return replace(made, seconds=images * training + len(wanted) * attacks, probe=time.perf_counter() - begun)


def probe(experiment: Experiment, splits: Splits, lab: Lab, module: nn.Module | None = None) -> tuple[float, float]:
    """Seconds for one pass over one training image, and for all else that one experiment takes.

    Raises:
        UnsmashError: the experiment does not run.
    """
    few = _few(splits)
    epochs = 1 if experiment.epochs() else 0
    small = experiment.model_copy(update={"train": experiment.train.model_copy(update={"epochs": epochs})})
    seconds = pipeline.run(small, few, replace(lab, seed=experiment.seed), name="probe", module=module).run.seconds
    shares = {name: len(getattr(splits, name).pixels) / len(getattr(few, name).pixels) for name in FEW}
    training = seconds.get("victim", 0.0) / len(few.train.pixels) if epochs else 0.0
    rest = 0.0
    for stage, took in seconds.items():
        if stage not in ("victim", "total"):
            rest += took * shares.get(_grows(stage, experiment), 1.0)
    return training, rest


def _grows(stage: str, experiment: Experiment) -> str:
    """Which set's size a stage's time follows; empty where it follows none."""
    name = stage.removeprefix("control of ").partition("@")[0].partition(":")[0]
    attack = next((one for one in experiment.attacks if one.kind == name), None)
    if attack is None:
        return ""
    return "shadow" if Grant.SHADOW in attack.required() else "victims"


def _few(splits: Splits) -> Splits:
    """A few images of each set."""
    kept: dict[str, Any] = {name: _first(getattr(splits, name), count) for name, count in FEW.items()}
    return replace(splits, **kept)


def _first(images: Images, count: int) -> Images:
    return replace(images, pixels=images.pixels[:count], labels=images.labels[:count], names=images.names[:count])
