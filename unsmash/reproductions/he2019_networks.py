"""The networks of He, Zhang & Lee, ACSAC 2019: what they attacked, where they cut it, and their inverse networks.

Layers, sizes and normalisations are those of the authors' repository, which the paper points to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from unsmash.lab import Lab
from unsmash.models.cifar_cnn import CifarCNN
from unsmash.nets import Normalise
from unsmash.reproductions.training import MakeOptimiser
from unsmash.split import SplitModel, cut
from unsmash.split.shield import Smashed

CLASSES = 10
Name = Literal["mnist", "cifar10"]


@dataclass(frozen=True)
class Subject:
    """One of the two experiments: a network, its cuts from shallow to deep, and what the attacks were set to there."""

    name: Name
    title: str
    shape: tuple[int, int, int]
    cuts: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    smooth: tuple[float, ...]
    """Weight of total variation in rMLE at each cut; at MNIST's conv1 none is told, and that of conv11 is taken"""

    @property
    def tv(self) -> dict[str, float]:
        """The same by cut."""
        return dict(zip(self.cuts, self.smooth, strict=True))


MNIST = Subject("mnist", "MNIST, LeNet", (1, 28, 28), ("conv1", "relu2"), (0.5,), (0.5,), (0.0, 1.0))
CIFAR10 = Subject(
    "cifar10", "CIFAR-10, six convolutions", (3, 32, 32), ("conv11", "relu22", "relu32"),
    (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0.0, 10.0, 1000.0),
)  # fmt: skip
SUBJECTS: dict[Name, Subject] = {"mnist": MNIST, "cifar10": CIFAR10}


def adam(rate: float) -> MakeOptimiser:
    """The optimiser of all their trainings and descents."""
    return lambda parameters: torch.optim.Adam(parameters, lr=rate, eps=1e-3, amsgrad=True)


def network(subject: Subject, width: int, lab: Lab) -> nn.Module:
    """The whole network on images in [0, 1]; `width` is that of the photographs' first pair of convolutions."""
    if subject.name == "mnist":
        return _le_net(lab)
    net = CifarCNN(width=width).build(subject.shape, CLASSES, lab)
    net.normalise = Normalise(subject.mean, subject.std)  # theirs, not the component's
    return net


def halves(net: nn.Module, at: str, subject: Subject) -> SplitModel:
    """The network cut there, in eval mode; the halves share its weights."""
    return cut(net.eval(), at, torch.zeros(2, *subject.shape)).eval()


def _le_net(lab: Lab) -> nn.Module:
    with lab.seeded("init"):
        return nn.Sequential(
            OrderedDict(
                normalise=Normalise(MNIST.mean, MNIST.std),
                conv1=nn.Conv2d(1, 8, 5),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(8, 16, 5),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc1=nn.Linear(256, 120),
                relu3=nn.ReLU(),
                fc2=nn.Linear(120, 84),
                relu4=nn.ReLU(),
                fc3=nn.Linear(84, CLASSES),
            )
        )


class Inverse(nn.Module):
    """Their inverse network for a cut: from the release of shape `sent` to normalised pixels."""

    def __init__(self, at: str, sent: Sequence[int]) -> None:
        super().__init__()
        maps = sent[0]
        self.layers = nn.Sequential(*_layers(at, maps))

    def forward(self, release: Smashed) -> torch.Tensor:
        """[n, c, h, w], normalised pixels."""
        images: torch.Tensor = self.layers(release[0].float())
        return images


def _layers(at: str, maps: int) -> list[nn.Module]:
    """`maps` arrive; in the photographs' network half as many had been in its first pair of convolutions."""
    half = maps // 2
    if at == "conv1":
        return [nn.Conv2d(maps, 1, 5, padding=4)]
    if at == "relu2":
        back = nn.ConvTranspose2d(maps, half, 5)
        return [back, nn.ReLU(), nn.ConvTranspose2d(half, 1, 5, stride=2, output_padding=1)]
    last = nn.ConvTranspose2d(maps if at == "conv11" else half, 3, 3, padding=1)
    if at == "conv11":
        return [last]
    if at == "relu22":
        return [_doubling(maps, half), nn.ReLU(), last]
    return [_doubling(maps, maps), nn.ReLU(), _doubling(maps, half), nn.ReLU(), last]


def _doubling(maps: int, out: int) -> nn.Module:
    return nn.ConvTranspose2d(maps, out, 3, stride=2, padding=1, output_padding=1)
