"""The tables of the Omniglot study, from what its steps measured."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unsmash.reproductions.paper import Paper
from unsmash.reproductions.record import Measure, Table
from unsmash.reproductions.workbench import Made

ATTACKS = {
    "omniglot_decoder": "published decoder",
    "lookalike": "nearest look-alike",
    "ridge": "ridge",
    "decoder": "residual decoder",
}
"""Kind of each attack, and its row"""

PUBLISHED, RIGHT, ALIKE, START = "trained as published", "trained properly", "trained alike", "not trained"

Row = dict[str, Measure | None]


@dataclass
class Measured:
    """All that a run has measured."""

    paper: Paper
    shown: Made
    """The test images of the sheets"""
    shared: Mapping[str, Any]
    """What the sets share, by content"""
    passes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Of the target as published and of the one trained properly: accuracy after each pass"""
    floors: dict[str, Made] = field(default_factory=dict)
    attacks: dict[str, dict[str, Made]] = field(default_factory=dict)
    """By target, then by kind of attack"""
    standing: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Accuracy of the private targets, and of the one trained alike"""
    epsilons: dict[float, Mapping[str, Any]] = field(default_factory=dict)
    """By noise"""
    incomparable: str = ""

    def score(self, target: str, kind: str, part: str, what: str) -> Measure:
        """What an attack got from a target: `mse`, `ssim` or `identified` of a part of the test images."""
        return measure(self.attacks[target][kind].figures["parts"][part][what])

    def floor(self, name: str, part: str, what: str) -> Measure:
        """The same of a guess that sees no message."""
        return measure(self.floors[name].figures["parts"][part][what])

    @property
    def candidates(self) -> int:
        """Among how many a guess must find its own image."""
        return int(self.shown.figures["candidates"])

    @property
    def chance(self) -> float:
        """In per cent."""
        return 100 / self.candidates

    @property
    def private(self) -> dict[str, float]:
        """Targets trained with DP-SGD, and their noise."""
        return {noise_name(noise): noise for noise in self.epsilons}


def noise_name(noise: float) -> str:
    """The row of a noise multiplier."""
    return f"noise {noise:g}"


def measure(triple: list[float]) -> Measure:
    """A figure with its interval."""
    value, low, high, n = triple
    return Measure(value, low, high, int(n))


def tables(got: Measured) -> tuple[Table, ...]:
    """All tables; those of private targets only where there are any."""
    found = [_accuracy(got), _training_error(got), _floors(got), _attacks(got), _leaked(got)]
    return tuple(found + ([_privacy(got), _private_attacks(got)] if got.epsilons else []))


def _accuracy(got: Measured) -> Table:
    published = got.paper.tables["accuracy"]
    wanted = {row.at["pass"] for row in published.rows}

    def rows(target: str) -> dict[str, Row]:
        done = got.passes[target]
        chosen = [one for one in done if one["pass"] in wanted or one is done[-1]]
        return {f"pass {one['pass']}": {what: measure(one[what]) for what in ("train", "val")} for one in chosen}

    reasons = (
        "As published, no layer is ever told that it trains: dropout drops nothing and BatchNorm keeps the statistics "
        "that it starts with. Put right, they are told; training accuracy is then that of a network with dropout.",
        "Told so, BatchNorm averages over hundreds of batches, as Keras has it: after the first pass, and in the quick "
        "form, its statistics lag behind and validation accuracy says little.",
        "The order of the images was that of a data package; a fixed draw stands in for it, and a buffer of 1,000 "
        "shuffles as published. Weights start by Keras' law.",
    )
    return published.table("accuracy", rows(PUBLISHED), rows(RIGHT), reasons=reasons, incomparable=got.incomparable)


def _training_error(got: Measured) -> Table:
    published = got.paper.tables["training_error"]
    wanted = {row.at["pass"] for row in published.rows}

    def rows(target: str) -> dict[str, Row]:
        errors = got.attacks[target]["omniglot_decoder"].figures["errors"]
        chosen = [number for number in range(1, len(errors) + 1) if number in wanted or number == len(errors)]
        return {f"pass {number}": {"mse": Measure(errors[number - 1])} for number in chosen}

    reasons = (
        "Put right: the same decoder on the codes of the target that was trained properly. Weights start by Keras' "
        "law, and alike for every target; all that it draws passes one map: where that dies, every guess is the same.",
    )
    ours, right = rows(PUBLISHED), rows(RIGHT)
    return published.table("training_error", ours, right, reasons=reasons, incomparable=got.incomparable)


def _floors(got: Measured) -> Table:
    ours: dict[str, Row] = {}
    right: dict[str, Row] = {}
    for name, made in got.floors.items():
        ours[name] = {"small1": measure(made.figures["small1"]), "small2": got.floor(name, "all", "mse")}
        right[name] = {"small2": got.floor(name, "clean", "mse")}
    return got.paper.tables["floors"].table("floors", ours, right, incomparable=got.incomparable)


def _attacks(got: Measured) -> Table:
    def rows(part: str) -> dict[str, Row]:
        what = ("mse", "ssim", "identified")
        found: dict[str, Row] = {
            name: {one: got.score(PUBLISHED, kind, part, one) for one in what} for kind, name in ATTACKS.items()
        }
        for name in ("blank page", "mean image", "32 principal components"):
            found[name] = {one: got.floor(name, part, one) for one in what}
        return found | {"chance": {"identified": Measure(got.chance)}}

    counts = got.shown.figures["counts"]
    reasons = (
        f"Identified among {got.candidates:,} candidates of the part; {counts['all']:,} test images, of which "
        f"{counts['leaked']:,} stand in the attacker's set too and {counts['clean']:,} do not.",
        "The look-alike answers a leaked image with that very image: so much of the figures as published is memory.",
    )
    published = got.paper.tables["attacks"]
    return published.table("attacks", rows("all"), rows("clean"), reasons=reasons, incomparable=got.incomparable)


def _leaked(got: Measured) -> Table:
    def row(score: Callable[[str, str], Measure], part: str) -> Row:
        return {what: score(part, what) for what in ("mse", "ssim", "identified")}

    def rows(target: str) -> dict[str, Row]:
        scores = {name: functools.partial(got.score, target, kind) for kind, name in ATTACKS.items()}
        return {f"{name}, {part}": row(score, part) for name, score in scores.items() for part in ("clean", "leaked")}

    guesses = {name: functools.partial(got.floor, name) for name in ("blank page", "mean image")}
    ours = {f"{name}, {part}": row(score, part) for name, score in guesses.items() for part in ("clean", "leaked")}
    reasons = (
        "The first study drew 500 images of each part, so its figures differ by that draw; for the attacks, by its "
        "target, too.",
    )
    published = got.paper.tables["leaked"]
    both = rows(PUBLISHED) | ours, rows(RIGHT)
    return published.table("leaked", *both, reasons=reasons, incomparable=got.incomparable)


def _privacy(got: Measured) -> Table:
    ours: dict[str, Row] = {}
    right: dict[str, Row] = {}
    for name, noise in got.private.items():
        spent = got.epsilons[noise]
        ours[name] = {"epsilon": Measure(spent["published"])}
        right[name] = {"epsilon": Measure(spent["poisson"]), "shuffled": Measure(spent["shuffled"])}
    for name, row in got.standing.items():
        right[name] = right.get(name, {}) | {what: measure(row[what]) for what in ("train", "val")}
    reasons = (
        "ε as published: Rényi's accountant with Mironov's conversion, for Poisson batches of all 13,180 images; put "
        "right: for the images that train, by numerical composition (PRV) where ε is below 50 and Rényi's otherwise. "
        "PRV is the closer of the two, so ε may fall although fewer records are more exposed.",
        "A shuffle draws no Poisson batches. Each record is used once a pass, so what is proven for it is the Gaussian "
        "mechanism as often as there are passes, whatever the number of records.",
        "With BatchNorm as published none of this holds: each record's gradient hangs on the other records of its "
        "batch, and their statistics are kept without noise. Ours has GroupNorm in its place.",
    )
    return got.paper.tables["privacy"].table("privacy", ours, right, reasons=reasons, incomparable=got.incomparable)


def _private_attacks(got: Measured) -> Table:
    def rows(part: str) -> dict[str, Row]:
        return {
            name: {
                "published_mse": got.score(name, "omniglot_decoder", part, "mse"),
                "published_identified": got.score(name, "omniglot_decoder", part, "identified"),
                "ridge_identified": got.score(name, "ridge", part, "identified"),
                "decoder_identified": got.score(name, "decoder", part, "identified"),
            }
            for name in got.attacks
        }

    reasons = (
        "The published private targets differ from the undefended one in dropout, optimiser's rate and passes as well; "
        "the row trained alike differs from the private ones in noise, clip and how batches are drawn.",
    )
    published = got.paper.tables["private_attacks"]
    return published.table(
        "private_attacks", rows("all"), rows("clean"), reasons=reasons, incomparable=got.incomparable
    )
