"""What the class-inversion example trains on and is judged by: MNIST's digits, and faces where there are any.

The example trains on the whole training file and has no judge. Here the test file is shared out: some of it trains the
independent recogniser, some is the average that a descent may start from, and the rest is what prototypes are held
against. No image of it is one that the network was trained on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsmash.data import Images, Pool
from unsmash.data.base import Data
from unsmash.data.folder import Folder
from unsmash.data.lfw import Lfw
from unsmash.data.mnist import Mnist
from unsmash.lab import Lab
from unsmash.models.base import Model
from unsmash.models.le_net import LeNet
from unsmash.models.shallow_net import ShallowNet
from unsmash.reproductions.training import Loop, accuracy, answers, fit
from unsmash.reproductions.workbench import Workbench
from unsmash.scoring import share_score
from unsmash.split import SplitModel, cut
from unsmash.view import Scene, make_scene

NETWORKS: dict[str, Model] = {"shallow_net": ShallowNet(), "le_net": LeNet()}

HELD = 0.2
"""Share of the training images that the early stopping goes by: the first of each class, as Keras takes them"""

JUDGE, AVERAGE, VICTIMS = 4000, 1000, 2000
"""Test images that train the recogniser, that make the average image, and that prototypes are held against"""

SIDE = 32
"""Side of the faces in pixels"""
PHOTOGRAPHS = 50
"""Photographs that a person of the face set must have"""


@dataclass(frozen=True, eq=False)
class Subject:
    """A set of images with all its parts; every pair is images [n, c, h, w] in [0, 1] and labels [n]."""

    name: str
    classes: tuple[str, ...]
    source: str
    train: tuple[Tensor, Tensor]
    held: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    judge: tuple[Tensor, Tensor]
    scene: Scene
    """What prototypes are held against; its shadow images make the average start"""
    identity: dict[str, Any]
    """What tells this set from others, for the keys of steps"""


def digits(root: Path, images: int, lab: Lab) -> Subject:
    """MNIST: the first `images` of its training file, and its whole test file without what the former hold too."""
    pools = Mnist().pools(root)
    assert pools.target is not None
    assert pools.victims is not None
    mine = pools.target.take(torch.arange(min(images, len(pools.target))))
    train, test = Images.of(mine), Images.of(pools.victims.take(_others(pools.victims, mine)))
    ends = (JUDGE, JUDGE + AVERAGE, JUDGE + AVERAGE + VICTIMS)
    judge, average, victims = ((test.pixels[a:b], test.labels[a:b]) for a, b in zip((0, *ends), ends, strict=False))
    return Subject(
        "digits", pools.classes, f"MNIST, {len(train):,} images of its training file", *_held(train),
        test=(test.pixels, test.labels), judge=judge,
        scene=make_scene(*victims, *average, len(pools.classes), lab),
        identity={"set": "mnist", "images": len(train)},
    )  # fmt: skip


def faces(where: str, root: Path, lab: Lab) -> Subject | None:
    """The faces of a folder, or Labeled Faces in the Wild where the data root has them; None where there are none.

    Raises:
        DataError: the folder holds no classes of faces.
    """
    if where == "none" or (where == "auto" and not _has_lfw(root)):
        return None
    data: Data = (
        Lfw(size=SIDE, min_images=PHOTOGRAPHS, train=1000, shadow=60, validator=250, val=50, victims=150)
        if where == "auto"
        else Folder(path=Path(where), size=SIDE, duplicates="drop")
    )
    splits = data.load(root)
    victims, shadow, judge = splits.victims, splits.shadow, splits.validator
    return Subject(
        "faces", splits.classes, splits.report.source, *_held(splits.train),
        test=(torch.cat([splits.val.pixels, victims.pixels]), torch.cat([splits.val.labels, victims.labels])),
        judge=(judge.pixels, judge.labels),
        scene=make_scene(victims.pixels, victims.labels, shadow.pixels, shadow.labels, len(splits.classes), lab),
        identity={"set": splits.report.fingerprint},
    )  # fmt: skip


def _has_lfw(root: Path) -> bool:
    return any((root / place).exists() for place in ("lfw", "lfw-py/lfw-deepfunneled", "lfw_home/lfw_funneled"))


def _others(pool: Pool, known: Pool) -> Tensor:
    """Places of the images that are neither among the known ones nor repeats."""
    seen = {row.numpy().tobytes() for row in known.pixels}
    places = []
    for place, row in enumerate(pool.pixels):
        content = row.numpy().tobytes()
        if content not in seen:
            seen.add(content)
            places.append(place)
    return torch.tensor(places)


def _held(images: Images) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The images that train, and those held out."""
    held = torch.zeros(len(images), dtype=torch.bool)
    for label in images.labels.unique():
        rows = (images.labels == label).nonzero()[:, 0]
        held[rows[: int(len(rows) * HELD)]] = True
    return (images.pixels[~held], images.labels[~held]), (images.pixels[held], images.labels[held])


@dataclass(frozen=True)
class Schedule:
    """How the example trains."""

    epochs: int
    batch: int
    rate: float
    patience: int
    least: float
    """What counts as less loss on the images held out"""


@dataclass(frozen=True, eq=False)
class Target:
    """A trained network."""

    kind: str
    subject: Subject
    model: SplitModel
    settings: dict[str, Any]
    """All that its weights depend on"""
    passes: int
    best: int
    """The pass whose weights were kept"""
    right: Tensor
    """1 where a test image is answered rightly, else 0"""

    def logits(self, images: Tensor) -> Tensor:
        """[n, classes], differentiable by the images."""
        out: Tensor = self.model(images)
        return out


def target(bench: Workbench, subject: Subject, kind: str, schedule: Schedule) -> Target:
    """The network trained as the example does: Adam, early stopping, the best weights put back."""
    model, step = NETWORKS[kind], f"train {kind} on {subject.name}"
    images, labels = subject.train
    net = model.build(tuple(images.shape[1:]), len(subject.classes), bench.lab.at(step))
    settings = {"kind": kind, **subject.identity, **vars(schedule)}

    def train(split: torch.nn.Module, lab: Lab) -> dict[str, Any]:
        assert isinstance(split, SplitModel)
        stopper = _Stopper(split, subject.held, schedule, lab)
        loop = Loop(
            schedule.epochs, schedule.batch, lambda p: torch.optim.Adam(p, lr=schedule.rate, eps=1e-7), shuffle=True
        )
        fit(split, images, labels, loop, lab, after=stopper)
        stopper.restore()
        return {"losses": stopper.losses, "best": stopper.best, "right": accuracy(split, *subject.test, lab).tolist()}

    made, told = bench.network(step, settings, cut(net, model.default_cut, images[:2]), train)
    assert isinstance(made, SplitModel)
    made.to(bench.lab.device).requires_grad_(False)
    right = torch.tensor(told["right"], dtype=torch.float64)
    return Target(kind, subject, made, settings, len(told["losses"]), told["best"], right)


class _Stopper:
    """Keras's early stopping: after each pass, whether it was the last; the weights of the best pass are kept."""

    def __init__(self, model: SplitModel, held: tuple[Tensor, Tensor], schedule: Schedule, lab: Lab) -> None:
        self.model, self.held, self.schedule, self.lab = model, held, schedule, lab
        self.losses: list[float] = []
        self.best, self.least = 0, math.inf
        self.kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def __call__(self, number: int) -> bool:
        images, labels = self.held
        loss = torch.nn.functional.cross_entropy(answers(self.model, images, self.lab), labels).item()
        self.losses.append(loss)
        if loss < self.least - self.schedule.least:
            self.best, self.least = number, loss
            self.kept = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        return number - self.best >= self.schedule.patience

    def restore(self) -> None:
        """Put the best weights back."""
        self.model.load_state_dict(self.kept)


def accuracy_of(found: Target) -> tuple[float, float, float, int]:
    """Accuracy on the test images with its interval, and how many they are."""
    score = share_score("accuracy", found.right)
    return score.mean, score.low, score.high, score.n
