"""The faces, the network and its cut: MobileNetV3-Large up to the 1 × 1 expansion of its thirteenth block.

The course project took a network with ImageNet's weights, or random ones, that answers nothing. What a defence costs
cannot be told of such a network, so here it is taught to tell people apart first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from unsmash.data import Images, Splits
from unsmash.data.base import Data
from unsmash.data.celeba import Celeba
from unsmash.data.lfw import Lfw
from unsmash.lab import Lab
from unsmash.models.base import state_digest
from unsmash.models.torchvision import Torchvision
from unsmash.published import fitted
from unsmash.reproductions.workbench import Workbench
from unsmash.split import SplitModel
from unsmash.split.train import Training, predict, train
from unsmash.victim import split

CUT = "features.13.block.0"
MAPS = 672
"""Feature maps that cross, at a sixteenth of the image's side"""

VALIDATION = 250
MOMENTUM = 0.1
LARGEST = 178
"""Side of CelebA's aligned faces; larger images are made of these, as published"""


@dataclass(frozen=True)
class Wanted:
    """Which faces, and how many."""

    faces: Literal["auto", "celeba", "lfw"]
    size: int
    taught: int
    """Faces that the network learns its task from"""
    images: int
    """Faces of the adversary's own"""
    victims: int
    photographs: int
    """Photographs that a person of LFW must have to be told apart"""


@dataclass(frozen=True, eq=False)
class Faces:
    """The sets, and whether they are the published ones."""

    splits: Splits
    published: bool

    @property
    def task(self) -> str:
        """What the network answers."""
        return "the attribute Smiling" if self.published else f"{len(self.splits.classes)} people"


def load(wanted: Wanted, root: Path) -> Faces:
    """CelebA where its files are, else Labeled Faces in the Wild, at the size wanted.

    Raises:
        DataError: there are not so many faces.
    """
    published = wanted.faces == "celeba" or (wanted.faces == "auto" and _has_celeba(root))
    counts: dict[str, Any] = {
        "train": wanted.taught, "shadow": wanted.images, "validator": 1,
        "val": min(VALIDATION, wanted.taught), "victims": wanted.victims,
    }  # fmt: skip
    side = min(wanted.size, LARGEST)
    data: Data = Celeba(size=side, **counts) if published else Lfw(size=side, min_images=wanted.photographs, **counts)
    splits = data.load(root)
    sized = replace(
        splits, train=_sized(splits.train, wanted.size), val=_sized(splits.val, wanted.size),
        shadow=_sized(splits.shadow, wanted.size), victims=_sized(splits.victims, wanted.size),
    )  # fmt: skip
    return Faces(sized, published)


def _has_celeba(root: Path) -> bool:
    folder = root / "celeba"
    there = (folder / "img_align_celeba").exists() or any(folder.glob("*.zip"))
    return there and (folder / "list_attr_celeba.txt").is_file()


def _sized(images: Images, size: int) -> Images:
    return replace(images, pixels=fitted(images.pixels, (size, size)).clamp(0, 1))


@dataclass(frozen=True, eq=False)
class Network:
    """The cut network that has learned its task."""

    model: SplitModel
    settings: dict[str, Any]
    """All that its weights depend on"""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what crosses, without the batch."""
        return self.settings["cut"][0], self.settings["cut"][1], self.settings["cut"][2]


def network(bench: Workbench, faces: Faces, weights: str, epochs: int) -> Network:
    """MobileNetV3-Large with random weights or those of a file, taught so many passes, kept from before or now.

    Raises:
        ConfigError: the file cannot be read, or holds another network.
        TrainingError: the training was not finite.
    """
    splits = faces.splits
    model = _fresh(splits, weights, bench.lab.at("network"))
    start = state_digest(model)
    with torch.no_grad():
        crossing = tuple(model.eval().smash(splits.train.pixels[:1])[0].shape[1:])
    plan = Training(epochs=epochs, batch=32, rate=1e-3, augment=True)
    key = {"start": start, "data": splits.report.fingerprint, "size": splits.input_shape[1], "momentum": MOMENTUM}
    key |= plan.model_dump()

    def teach(net: nn.Module, lab: Lab) -> Mapping[str, Any]:
        assert isinstance(net, SplitModel)
        with _quick_norms(net):
            train(net, splits.train.pixels, splits.train.labels, plan, lab, (splits.val.pixels, splits.val.labels))
        return {}

    if epochs:
        bench.network("teach the network its task", key, model, teach)
    model.to(bench.lab.device).eval().requires_grad_(False)
    return Network(model, key | {"cut": list(crossing)})


@contextlib.contextmanager
def _quick_norms(net: nn.Module) -> Iterator[None]:
    """The norms' statistics follow within tens of steps meanwhile.

    As published they take hundreds, which a training this short does not have: the network then knows its task in
    training mode and answers the same to everybody outside it.
    """
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    usual = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = MOMENTUM
    try:
        yield
    finally:
        for layer, momentum in zip(norms, usual, strict=True):
            layer.momentum = momentum


def _fresh(splits: Splits, weights: str, lab: Lab) -> SplitModel:
    kind = Torchvision(name="mobilenet_v3_large", weights=weights)
    net = kind.build(splits.input_shape, len(splits.classes), lab)
    return split(net, kind.entry(), CUT, splits)


def crossing(size: int) -> tuple[int, ...]:
    """Shape of what crosses for a published image of that size, by running one."""
    from torchvision import models

    net = models.mobilenet_v3_large(weights=None).eval()
    with torch.no_grad():
        z = net.features[:13](torch.zeros(1, 3, size, size))
        return tuple(net.features[13].block[0](z).shape[1:])


def held(splits: Splits) -> Images:
    """Faces that neither trained nor stopped anything, with their answers: those of val and the victims."""
    pixels = torch.cat([splits.val.pixels, splits.victims.pixels])
    labels = torch.cat([splits.val.labels, splits.victims.labels])
    return Images(pixels[labels >= 0], labels[labels >= 0], ())


def hits(model: SplitModel, images: Images, lab: Lab) -> torch.Tensor:
    """1 where the network answers rightly, else 0: [n] float64."""
    return (predict(model, images.pixels, lab).argmax(1) == images.labels).double()
