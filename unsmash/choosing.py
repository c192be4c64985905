"""From a study's settings to what the advisor may choose: its cuts, and the recipes that go together with each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unsmash import cut_choice
from unsmash import experiment as experiments
from unsmash.component import discover
from unsmash.data.base import Splits
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError, UnsmashError
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.recipes import LONGER, Recipe, Space, after_training, only, recipes
from unsmash.threat import Threat, standing
from unsmash.variants import spoken
from unsmash.victim import arm, build, places, split

if TYPE_CHECKING:
    from torch import nn

MOST_CUTS = 4
"""Cuts searched where none are named"""

REPEATS = 16
"""Messages of one image that an adversary of the search sees, beside those who see one"""

CHOSEN = ("defences", "sweep", "variants", "seeds", "fail_if")
"""Settings that the advisor chooses or asks for otherwise"""


@dataclass(frozen=True)
class Plan:
    """What holds for all trials."""

    raw: Mapping[str, Any]
    """Data, model, training, adversaries and attacks as they were given"""
    base: Experiment
    """The same without defences, on the images that the re-test will use"""

    @property
    def seed(self) -> int:
        """Of the search."""
        return self.base.seed

    def trial(self, cut: str, recipe: Recipe, strengths: Mapping[str, float], *, longer: bool) -> Experiment:
        """An experiment on the images of the search."""
        base = self.base
        data = base.data.model_copy(update={"spare": True})
        kinds = [experiments.component(one, "defences", "defences") for one in recipe.settings(strengths)]
        train = longer_training(base) if longer else base.train
        return base.model_copy(update={"data": data, "at": cut, "defences": tuple(kinds), "train": train})


def plan(raw: Mapping[str, Any], *, trusted: bool = False) -> Plan:
    """What is searched around, from plain data.

    Raises:
        ConfigError: the first thing that is wrong; the advisor chooses the defences itself.
    """
    raw = {name: value for name, value in raw.items() if value not in ("", None)}
    for name in CHOSEN:
        if name in raw:
            hint = "The advisor chooses the defences; --budget says what is allowed, --seeds how often it is re-tested"
            raise ConfigError(
                name, got=raw[name], allowed="data, model, at, train, threats, attacks and seed", hint=hint
            )
    given = {"threats": [one.model_dump(mode="json") for one in adversaries()]} | raw
    return Plan(raw, experiments.study(given, trusted=trusted).experiment)


def adversaries() -> tuple[Threat, ...]:
    """Who attacks in the search: one message, sixteen of one image, and the candidate list, which is shown only."""
    return tuple(one for one in standing(REPEATS) if one.name != "gallery_repeat")


def longer_training(base: Experiment) -> Any:
    """The training with augmentation: as long as is known to pay, or twice what was asked for."""
    asked = base.train.epochs
    epochs = max(LONGER, base.epochs()) if asked is None else 2 * asked
    return base.train.model_copy(update={"augment": True, "epochs": epochs})


def space(
    plan: Plan, splits: Splits, lab: Lab, cuts: Sequence[str], patterns: Sequence[str], module: nn.Module | None
) -> Space:
    """All that may be chosen: every cut and recipe tried on each other, with the reason where they do not fit.

    Raises:
        UnsmashError: no cut of that name, no recipe of that name, or none that fits.
    """
    base, net = plan.base, build(plan.base, splits, lab, module=module)
    chosen = _cuts(plan, net, splits, cuts)
    kinds = discover("unsmash.defences", Defence)
    found = only(recipes(len(splits.classes)), patterns)
    if base.epochs() == 0:
        later = [after_training(one, lambda kind: kinds[kind].after_training) for one in found]
        found = tuple(one for one in later if one is not None)
    unfit = [row for cut in chosen for row in _misfits(plan, cut, found, net, splits, lab)]
    fitting = tuple(one for one in found if sum(name == one.name for _, name, _ in unfit) < len(chosen))
    if not fitting:
        why = unfit[0][2] if unfit else "none of them can be put on a trained network"
        raise ConfigError("--only", got=list(patterns), allowed="recipes that fit this network and cut", hint=why)
    longer = (False,) if base.epochs() == 0 or base.train.augment else (False, True)
    return Space(chosen, fitting, longer, tuple(unfit))


def _cuts(plan: Plan, net: nn.Module, splits: Splits, names: Sequence[str]) -> tuple[str, ...]:
    """The named cuts; else the one that `at` names; else the usual one, and a few over the network's depth."""
    base = plan.base
    if not names and plan.raw.get("at"):
        return (base.at,)
    rows = places(net, base.model.entry(), splits.train.pixels[:2])
    picked, _, control = cut_choice.choose(rows, names)
    spread = [row.name for row in picked[control:]]
    if names:
        return tuple(spread)
    usual = [base.at] if base.at else []
    others = [name for name in spread if name not in usual]
    room = MOST_CUTS - len(usual)
    if len(others) > room:
        others = [others[round(step * (len(others) - 1) / max(1, room - 1))] for step in range(room)]
    return (*usual, *others) if usual else tuple(reversed(others))


def _misfits(
    plan: Plan, cut: str, found: Sequence[Recipe], net: nn.Module, splits: Splits, lab: Lab
) -> list[tuple[str, str, str]]:
    """The recipes that cannot be put at a cut, each with the reason. The network is cut once for all of them.

    Raises:
        CutError: it cannot be cut there.
    """
    model = split(net, plan.base.model.entry(), cut, splits)
    unfit = []
    for recipe in found:
        middle = {name: math.sqrt(one.low * one.high) for name, one in recipe.strengths().items()}
        try:
            arm(plan.trial(cut, recipe, middle, longer=False), model, splits, lab)
        except UnsmashError as error:
            unfit.append((cut, recipe.name, str(error)))
    return unfit


def named(experiment: Experiment, base: Experiment) -> str:
    """A configuration in a few words."""
    stack = " + ".join(spoken(_written(one)) for one in experiment.defences) or "no defence"
    longer = ", trained longer" if experiment.train != base.train else ""
    return f"{stack}, cut after {experiment.at}{longer}"


def _written(defence: Defence) -> dict[str, Any]:
    written = {*defence.model_fields_set, "kind"}
    return {name: value for name, value in defence.model_dump(mode="json").items() if name in written}
