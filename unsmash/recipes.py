"""The space that the advisor searches: recipes of defences with ranges for their strengths, and the rows made by hand.

A recipe is a stack of defences whose settings are values or ranges. Which recipes there are follows from what was
measured (docs/lab.md); the ranges are those in which a setting changes something. Pure: no model is built here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from unsmash.errors import ConfigError

DIGITS = 3
"""Significant digits of a strength: finer differences are no other setting"""

LONGER = 20
"""Training passes with augmentation where the study does not say how many (docs/lab.md)"""


@dataclass(frozen=True)
class Range:
    """A strength that is searched, by its logarithm."""

    low: float
    high: float
    whole: bool = False
    """Whole numbers only"""
    name: str = ""
    """Two settings of the same name have the same value; empty: the setting's own name"""


@dataclass(frozen=True)
class Recipe:
    """A stack of defences, in order."""

    name: str
    defences: tuple[Mapping[str, Any], ...] = ()

    def strengths(self) -> dict[str, Range]:
        """What is to be chosen, by name; names are unique in the recipe."""
        return {self._named(index, setting, value): value for index, setting, value in self._ranges()}

    def settings(self, values: Mapping[str, float]) -> list[dict[str, Any]]:
        """The defences' settings at these strengths."""
        made = [dict(defence) for defence in self.defences]
        for index, setting, value in self._ranges():
            chosen = values[self._named(index, setting, value)]
            made[index][setting] = round(chosen) if value.whole else float(f"{chosen:.{DIGITS}g}")
        return made

    def middle(self) -> list[dict[str, Any]]:
        """The defences' settings in the middle of every range."""
        return self.settings({name: math.sqrt(one.low * one.high) for name, one in self.strengths().items()})

    def _ranges(self) -> list[tuple[int, str, Range]]:
        return [
            (index, setting, value)
            for index, defence in enumerate(self.defences)
            for setting, value in defence.items()
            if isinstance(value, Range)
        ]

    def _named(self, index: int, setting: str, value: Range) -> str:
        return value.name or f"{self.defences[index]['kind']}.{setting}"


@dataclass(frozen=True)
class First:
    """A configuration tried before the search begins."""

    recipe: str
    strengths: Mapping[str, float]
    longer: bool = True
    """Trained longer, with augmentation"""


FIRST = (
    First("label", {}),
    First("no defence", {}, longer=False),
    First("simplex", {"simplex.radius_over_sigma": 5.0, "simplex.temperature": 0.25}),
    First("bottleneck + CEM + Gaussian", {"bottleneck.numbers": 16, "cem.weight": 0.05, "sigma": 0.5}),
    First("label and confidence", {"codebook.levels": 5}),
    First("bottleneck + Gaussian, certified", {"bottleneck.numbers": 16, "gaussian.epsilon": 65}, longer=False),
)
"""Sending only the label, the bar of every defence, comes first; then the best of examples/frontier.yaml"""


def recipes(classes: int) -> tuple[Recipe, ...]:
    """Every recipe, for a task of so many classes; DP-SGD is none, since it protects the training images only."""
    made: list[tuple[str, Sequence[Mapping[str, Any]]]] = [
        ("no defence", []),
        ("label", [{"kind": "codebook", "symbols": "label"}]),
        ("label, at times another", [{"kind": "codebook", "symbols": "label", "response": Range(3, 8)}]),
        ("label and confidence", [{"kind": "codebook", "symbols": "levels", "levels": Range(2, 16, whole=True)}]),
        (
            "prototypes",
            [{"kind": "codebook", "symbols": "prototypes", "size": Range(max(2, classes), 8 * classes, whole=True)}],
        ),
        ("simplex", [{"kind": "simplex", "radius_over_sigma": Range(2.5, 8), "temperature": Range(0.1, 1)}]),
        ("bottleneck + CEM + Gaussian", [
            {"kind": "bottleneck", "numbers": Range(4, 64, whole=True)},
            {"kind": "cem", "weight": Range(0.01, 0.2), "sigma": Range(0.25, 1, name="sigma")},
            {"kind": "gaussian", "sigma": Range(0.25, 1, name="sigma")},
        ]),
        ("bottleneck + Gaussian, certified", [
            {"kind": "bottleneck", "numbers": Range(4, 64, whole=True)},
            {"kind": "gaussian", "clip": 1.0, "epsilon": Range(8, 200)},
        ]),
        ("Gaussian", [{"kind": "gaussian", "sigma": Range(0.1, 4)}]),
        ("Gaussian, inference only", [{"kind": "gaussian", "sigma": Range(0.1, 4), "when": "inference"}]),
        ("Laplace", [{"kind": "laplace", "scale": Range(0.1, 4)}]),
        ("Laplace, inference only", [{"kind": "laplace", "scale": Range(0.1, 4), "when": "inference"}]),
        ("NoPeek + Gaussian", [
            {"kind": "nopeek", "weight": Range(0.1, 5)}, {"kind": "gaussian", "sigma": Range(0.1, 4)},
        ]),
        ("adversarial + Gaussian", [
            {"kind": "adversarial", "weight": Range(1, 20)}, {"kind": "gaussian", "sigma": Range(0.1, 1)},
        ]),
        ("quantise", [{"kind": "quantise", "bits": Range(1, 4, whole=True)}]),
        ("dropout", [{"kind": "dropout", "rate": Range(0.3, 0.95)}]),
        ("subset", [{"kind": "subset", "keep": Range(1, 16, whole=True)}]),
        ("shredder", [{"kind": "shredder", "weight": Range(0.02, 1)}]),
        ("fisher", [{"kind": "fisher", "target": Range(0.01, 1)}]),
    ]  # fmt: skip
    return tuple(Recipe(name, tuple(defences)) for name, defences in made)


def only(found: Sequence[Recipe], patterns: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes whose names match one of the patterns (`*` any letters, `?` one); all where there are none.

    Raises:
        ConfigError: a pattern matches no recipe.
    """
    for pattern in patterns:
        if not any(fnmatchcase(one.name, pattern) for one in found):
            raise ConfigError("--only", got=pattern, allowed=[one.name for one in found])
    return tuple(one for one in found if not patterns or any(fnmatchcase(one.name, p) for p in patterns))


def after_training(recipe: Recipe, able: Callable[[str], bool]) -> Recipe | None:
    """The recipe put on a network that is taken as it is; None where a defence of it acts through the training."""
    if not all(able(str(defence["kind"])) for defence in recipe.defences):
        return None
    return Recipe(recipe.name, tuple({**defence, "when": "inference"} for defence in recipe.defences))


@dataclass(frozen=True)
class Space:
    """Everything that can be chosen."""

    cuts: tuple[str, ...]
    """The usual one first"""
    recipes: tuple[Recipe, ...]
    longer: tuple[bool, ...]
    """Whether training longer, with augmentation, may be tried: neither, both or one of them"""
    unfit: tuple[tuple[str, str, str], ...] = ()
    """Cut, recipe and why they do not go together"""

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name."""
        return next(one for one in self.recipes if one.name == name)

    def fits(self, cut: str, recipe: str) -> bool:
        """Whether they go together."""
        return not any((cut, recipe) == (at, name) for at, name, _ in self.unfit)

    def first(self) -> list[dict[str, Any]]:
        """What is tried before the search begins, as a trial's parameters."""
        known = {one.name for one in self.recipes}
        made: list[dict[str, Any]] = []
        for one in FIRST:
            if one.recipe in known and self.fits(self.cuts[0], one.recipe):
                longer = one.longer if one.longer in self.longer else self.longer[0]
                chosen = {parameter(one.recipe, name): value for name, value in one.strengths.items()}
                made.append({"cut": self.cuts[0], "recipe": one.recipe, "longer": longer} | chosen)
        return made


def parameter(recipe: str, strength: str) -> str:
    """What a strength is called among a trial's parameters."""
    return f"{recipe}: {strength}"
