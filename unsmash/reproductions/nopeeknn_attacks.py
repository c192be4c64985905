"""Attacks on NoPeekNN's target, each a step of its own: what the adversary holds, and what comes of it."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.attempt import attempt
from unsmash.lab import Lab
from unsmash.recogniser import Recogniser, recogniser
from unsmash.reproductions.letters import Source, letters
from unsmash.reproductions.measures import alike, figures_of, shown
from unsmash.reproductions.nopeeknn_target import CLASSES, FIRST_VICTIM, Target, digits
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.threat import Threat
from unsmash.view import make_scene, observe

FIRST_RECOGNISED = 30_000
"""Where in MNIST's training file the independent recogniser's digits begin: behind all that a target is trained on, and
before those that stand in for letters"""

METRICS = ("identification", "recognition", "ssim", "mse", "dcor")


@dataclass(frozen=True)
class Holding:
    """What an adversary holds besides the device half to be asked."""

    source: Source
    count: int
    sideways: bool = False
    """As the published code saw EMNIST: rows and columns exchanged"""
    test: bool = False
    """Of the letters' test file, as the notebook took them"""


def attacked(bench: Workbench, target: Target, holding: Holding, attack: Attack, readers: int) -> Made:
    """One attack on one target: its figures, and its guesses at the first victims."""
    lying = " on their side" if holding.sideways else ""
    step = f"{attack.kind}, {holding.count:,} images{lying}, {target.plan.name}"
    settings = {
        "target": target.settings, "holding": asdict(holding), "attack": attack.model_dump(mode="json"),
        "attack_revision": type(attack).revision, "readers": readers,
    }  # fmt: skip
    return bench.once(step, settings, lambda lab: _attacked(bench, target, holding, attack, readers, lab))


def _attacked(bench: Workbench, target: Target, holding: Holding, attack: Attack, readers: int, lab: Lab) -> Made:
    victims, truth = digits(bench.root, "test", FIRST_VICTIM, FIRST_VICTIM + target.plan.victims)
    images = _images(bench.root, holding)
    unknown = torch.full((len(images),), -1)
    scene = make_scene(victims, truth, images, unknown, CLASSES, lab.beside("scene"))
    threat = Threat(name="query", grants=tuple(sorted(attack.required())))
    view = observe(target.model, scene, threat, lab)
    result, guess = attempt(attack, attack.kind, view, scene, _reader(bench, readers), lab)
    figures = figures_of(result, METRICS) | {"shared": alike(victims, images)}
    assert guess is not None
    return Made(figures, {"guess": shown(guess)})


@functools.lru_cache(4)
def _images(root: Path, holding: Holding) -> Tensor:
    mine = letters(root, holding.source, holding.count, test=holding.test)
    return mine.as_in_the_file() if holding.sideways else mine.images


def _reader(bench: Workbench, count: int) -> Recogniser | None:
    if not count:
        return None
    images, labels = digits(bench.root, "train", FIRST_RECOGNISED, FIRST_RECOGNISED + count)
    return recogniser(images, labels, CLASSES, bench.lab.at(f"{bench.name}/recogniser"), bench.cache)
