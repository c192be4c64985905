"""Small split models and real images at any size, for tests of what must work with every cut and shape."""

from __future__ import annotations

import copy
import functools

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from unsmash.errors import Alarm
from unsmash.lab import Lab
from unsmash.sessions import Outcome
from unsmash.split import Shield, Shields, SplitModel
from unsmash.split.parties import Server, Watch
from unsmash.split.train import Training, train
from unsmash.threat import Grant, Threat
from unsmash.view import Scene, View, make_scene, observe

CLASSES = 10
TINY = {"kind": "digits", "train": 120, "shadow": 160, "validator": 80, "val": 40, "victims": 40}
"""The data of small audits, as settings"""

GREY, COLOUR = (1, 8, 8), (3, 8, 8)


@functools.cache
def pictures(shape: tuple[int, int, int], count: int, start: int = 0) -> tuple[Tensor, Tensor]:
    """Handwritten digits [count, *shape] in [0, 1] with labels: enlarged to the shape, tinted where it has colour."""
    bunch = load_digits()
    rows = slice(start, start + count)
    grey = torch.from_numpy(bunch.images[rows]).float()[:, None] / 16
    if shape[1:] != (8, 8):
        grey = nn.functional.interpolate(grey, size=shape[1:], mode="bilinear", align_corners=False)
    tint = torch.rand(count, shape[0], 1, 1, generator=torch.Generator().manual_seed(start)) * 0.7 + 0.3
    return (grey * tint if shape[0] > 1 else grey), torch.from_numpy(bunch.target[rows]).long()


class TwoWays(nn.Module):
    """Feature maps and a few numbers cross together, as around a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, stride=3, padding=1)
        self.numbers = nn.AdaptiveAvgPool2d(3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.relu(self.conv(x))
        return maps, self.numbers(x).flatten(1)


class Join(nn.Module):
    """The server half of `TwoWays`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(4 + 9 * channels, CLASSES)

    def forward(self, z: tuple[Tensor, Tensor]) -> Tensor:
        return self.fc(torch.cat([z[0].mean((2, 3)), z[1]], 1))


def shallow(cut: str, shape: tuple[int, int, int], shield: Shield | None = None) -> SplitModel:
    """An undefended shallow cut with random weights, in eval mode: `flat`, `maps` or `several` tensors cross."""
    c, h, w = shape
    with Lab(seed=5).seeded("small"):
        if cut == "several":
            model = SplitModel(TwoWays(c), Join(c))
        elif cut == "maps":
            device = nn.Sequential(nn.Conv2d(c, 5, 3, stride=3, padding=1), nn.LeakyReLU())
            model = SplitModel(device, nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, CLASSES)))
        else:
            device = nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, 96), nn.Tanh())
            model = SplitModel(device, nn.Linear(96, CLASSES))
    if shield is not None:
        model.shield = Shields([shield])
    return model.eval()


@functools.cache
def trained(cut: str, shape: tuple[int, int, int]) -> SplitModel:
    """The same cut of a network that has learned its task: for those who go by what the server half answers."""
    model, (images, labels) = shallow(cut, shape), pictures(shape, 800, 900)
    plan = Training(epochs=30, rate=1e-2)  # type: ignore[call-arg]
    train(model, images, labels, plan, Lab(seed=6))
    return model


def scene(shape: tuple[int, int, int], *, victims: int = 24, shadow: int = 200) -> Scene:
    """Victims and an adversary's images that share none."""
    seen, labels = pictures(shape, victims)
    mine, known = pictures(shape, shadow, victims)
    return make_scene(seen, labels, mine, known, CLASSES, Lab(seed=3), training_labels=practice(shape)[1])


def look(model: SplitModel, at: Scene, grants: frozenset[Grant] | tuple[Grant, ...], queries: int = 1) -> View:
    """What an adversary with exactly those grants sees."""
    threat = Threat(name="test", grants=tuple(sorted(grants)), queries=queries)
    _, c, h, w = at.victims.shape
    return observe(model, at, threat, Lab(seed=1), rehearse=functools.partial(practise, model, (c, h, w)))


def practice(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Images and labels that a training in other company is on: neither victims nor the adversary's."""
    return pictures(shape, 200, 600)


def practise(
    model: SplitModel, shape: tuple[int, int, int], server: Server | None, watch: Watch | None, steps: int | None
) -> Outcome:
    """A training of a copy of this model."""
    fresh = copy.deepcopy(model).requires_grad_(True)
    images, labels = practice(shape)
    plan = Training(epochs=2, batch=32)
    try:
        train(fresh, images, labels, plan, Lab(seed=2), server=server, watch=watch, steps=steps)
    except Alarm as alarm:
        return Outcome(fresh, str(alarm))
    return Outcome(fresh)
