"""What dpsnn draws as curves: noise put on after the training, and images that the attacker has; and its letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsmash.attacks.ridge import Ridge
from unsmash.data.base import Images
from unsmash.lab import Lab
from unsmash.metrics.identification import identify
from unsmash.reproductions import measures
from unsmash.reproductions.dpsnn_attacks import (
    RECIPE,
    REVISION,
    Judges,
    Learning,
    activations,
    clean_decoder,
    decoded,
    examples,
    look,
    run,
    scored,
    sizes,
)
from unsmash.reproductions.dpsnn_names import Classifier
from unsmash.reproductions.dpsnn_networks import SHADOW_FROM, Digits, Plan, codes, hits, noised
from unsmash.reproductions.letters import Letters, found, letters
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import SplitModel
from unsmash.threat import Threat

NOTEBOOK_LETTERS = 2000
"""Letters that the notebook's attacker learns from and is scored on"""


def afterwards(
    bench: Workbench, cell: Classifier, model: SplitModel, data: Digits, plan: Plan, scales: Sequence[float], count: int
) -> dict[str, Any]:
    """Accuracies, and the share of `count` images that ridge identifies, by scale of the noise put on afterwards."""

    def make(lab: Lab) -> Made:
        parts = {"train": data.train, "val": data.val, "test": data.test}
        z = {name: codes(model, images.pixels, lab) for name, images in parts.items()}
        few = Images(data.scored.pixels[:count], data.scored.labels[:count], data.scored.names[:count])
        seen = replace(data, scored=few)
        known = activations(model, seen, lab)
        figures: dict[str, Any] = {}
        for scale in lab.track(scales, "scales"):
            here, shield = lab.at(f"scale/{scale:g}"), noised(scale)
            right = {name: hits(model, shield, z[name], parts[name].labels, here.at(name)) for name in parts}
            noisy = SplitModel(model.device, model.server, shield, at=model.at).eval()
            guess = run(Ridge(), look(noisy, seen, Threat(), here, known), here).clamp(0, 1)
            figures[f"{scale:g}"] = {name: measures.share(one) for name, one in right.items()} | {
                "train_half": measures.share(right["train"][: _half(len(right["train"]), plan.batch_of(cell))]),
                "identified": measures.share(identify(guess, few.pixels).hits),
            }
        return Made(figures)

    settings = plan.settings(cell) | sizes(data) | {"scales": list(scales), "candidates": count, "attacks": REVISION}
    return bench.once(f"noise afterwards {cell.name}", settings, make).figures


def _half(count: int, batch: int) -> int:
    return max(1, -(-count // batch) // 2) * batch


def volume(
    bench: Workbench, model: SplitModel, data: Digits, plan: Plan, how: Learning, judges: Judges, count: int
) -> Made:
    """The published decoder and ridge with so many of the attacker's images, on the network without a defence."""

    def make(lab: Lab) -> Made:
        shadow = data.shadow
        few = Images(shadow.pixels[:count], shadow.labels[:count], shadow.names[:count])
        return _both(model, replace(data, shadow=few), how, judges, lab)

    settings = plan.settings(Classifier(0, 0)) | sizes(data) | {"learning": asdict(how), "attacks": REVISION}
    return bench.once(f"with {count} images", settings | {"count": count}, make)


def from_letters(
    bench: Workbench, model: SplitModel, data: Digits, plan: Plan, how: Learning, judges: Judges, count: int
) -> dict[str, Made]:
    """Attackers that have letters in place of digits, scored on digits: `lying`, as published, and `upright`."""
    kind = found(bench.root)
    first = SHADOW_FROM if kind == "emnist" else 0
    settings = plan.settings(Classifier(0, 0)) | sizes(data) | {"learning": asdict(how), "attacks": REVISION}

    def make(upright: bool, lab: Lab) -> Made:
        images = _laid(letters(bench.root, kind, first + count), upright)[first:]
        unknown = torch.full((len(images),), -1)
        shadow = Images(images, unknown, [f"letter {place}" for place in range(len(images))])
        return _both(model, replace(data, shadow=shadow), how, judges, lab)

    settings |= {"count": count, "source": kind}
    ways = {"lying": False, "upright": True}
    return {name: bench.once(f"letters {name}", settings, partial(make, way)) for name, way in ways.items()}


def notebook(bench: Workbench, model: SplitModel, plan: Plan, how: Learning, count: int) -> dict[str, float]:
    """Squared error a normalised pixel on letters of the test file, learned from as many of the training file."""
    kind = found(bench.root)

    def error(upright: bool, lab: Lab) -> float:
        mine, theirs = (_laid(letters(bench.root, kind, count, test=test), upright) for test in (False, True))
        network = clean_decoder(codes(model, mine, lab), mine, how, lab.at("upright" if upright else "lying"))
        guess = decoded(network, codes(model, theirs, lab), lab)
        return (RECIPE.pixels(guess) - RECIPE.pixels(theirs)).square().mean().item()

    def make(lab: Lab) -> Made:
        return Made({"lying": error(False, lab), "upright": error(True, lab)})

    settings = plan.settings(Classifier(0, 0)) | {"learning": asdict(how), "attacks": REVISION, "source": kind}
    return bench.once(f"notebook, {count} letters", settings | {"count": count}, make).figures


def _laid(had: Letters, upright: bool) -> Tensor:
    return had.images if upright else had.as_in_the_file()


def stand_in(root: Path) -> str:
    """What stands in for EMNIST's letters; empty where they are there."""
    return letters(root, found(root), 1).substitute


def _both(model: SplitModel, data: Digits, how: Learning, judges: Judges, lab: Lab) -> Made:
    """The published decoder and ridge, their figures and pictures; nothing is noised."""
    known = activations(model, data, lab)
    network = clean_decoder(known[0][1][0], data.shadow.pixels, how, lab.at("published"))
    guesses = {
        "clean": decoded(network, known[1][1][0], lab),
        "ridge": run(Ridge(), look(model, data, Threat(), lab, known), lab),
    }
    places = examples(data.scored.labels)
    shown = {name: measures.shown(guess[places]) for name, guess in guesses.items()}
    return Made({name: scored(guess, data, how, judges, lab) for name, guess in guesses.items()}, shown)
