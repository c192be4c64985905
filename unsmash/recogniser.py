"""The independent recogniser: a small network trained on images of its own, that reads the guesses as a stranger would.

It gives two things: whether a guess is recognised as its victim's class, and a feature space, trained apart from target
and adversary, in which identification is asked again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from unsmash import keeping
from unsmash.lab import Lab
from unsmash.nets import jitter

REVISION = 1
"""Raised when a change here changes the weights that come out"""

FEATURES = 64
STEPS = 400
BATCH = 32


@dataclass(frozen=True)
class Recogniser:
    """A trained network, frozen."""

    body: nn.Module
    head: nn.Module

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """[n, c, h, w] in [0, 1] → [n, 64]."""
        return torch.cat([self.body(part) for part in images.split(512)])

    @torch.no_grad()
    def reads(self, images: Tensor) -> Tensor:
        """How sure it is of each class: probabilities [n, classes]."""
        return self.head(self.features(images)).softmax(1)

    @torch.no_grad()
    def recognises(self, images: Tensor, labels: Tensor) -> Tensor:
        """1 where the image is read as its label, else 0: [n] float64."""
        return (self.head(self.features(images)).argmax(1) == labels).double()


def recogniser(images: Tensor, labels: Tensor, classes: int, lab: Lab, cache: Path | None = None) -> Recogniser | None:
    """Trained on the validator's images [n, c, h, w], or taken from the cache where it was trained on them before;
    None where they have fewer than two classes.
    """
    known = labels >= 0
    images, labels = images[known], labels[known]
    if len(labels.unique()) < 2:
        return None
    file = cache / "recognisers" / f"{_key(images, labels, classes, lab)}.safetensors" if cache else None
    with keeping.alone(None if file is None or file.is_file() else file, lab, "the same recogniser"):
        if file is not None and file.is_file():
            return _kept(file, images.shape[1:], classes, lab)
        eye = _train(images, labels, classes, lab)
        if file is not None:
            keeping.save(file, nn.ModuleDict({"body": eye.body, "head": eye.head}).state_dict(), {})
    return eye


def _key(images: Tensor, labels: Tensor, classes: int, lab: Lab) -> str:
    """Hash of everything the weights depend on."""
    rest = [REVISION, STEPS, BATCH, torch.__version__, classes, tuple(images.shape), lab.stream("")]
    digest = hashlib.sha256(repr(rest).encode())
    for tensor in (images, labels):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:24]


def _kept(file: Path, shape: torch.Size, classes: int, lab: Lab) -> Recogniser:
    with lab.seeded("recogniser"):  # starting weights are drawn, and then replaced
        parts = nn.ModuleDict({"body": _body(shape), "head": nn.Linear(FEATURES, classes)})
    parts.load_state_dict(keeping.load(file)[0])
    parts.eval().requires_grad_(False)
    return Recogniser(parts["body"], parts["head"])


def _train(images: Tensor, labels: Tensor, classes: int, lab: Lab) -> Recogniser:
    with lab.seeded("recogniser"):
        body, head = _body(images.shape[1:]), nn.Linear(FEATURES, classes)
        optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=3e-3)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=STEPS)
        draw = lab.generator("batches")
        for _ in lab.track(range(STEPS), "recogniser"):
            rows = torch.randint(len(images), (BATCH,), generator=draw)
            loss = nn.functional.cross_entropy(head(body(jitter(images[rows], draw))), labels[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            cycle.step()
    return Recogniser(body.eval().requires_grad_(False), head.eval().requires_grad_(False))


def _body(shape: torch.Size) -> nn.Module:
    # images over 40 pixels are halved first: the recogniser must be cheap beside the attacks
    shrink = nn.AvgPool2d(2) if min(shape[1:]) >= 40 else nn.Identity()
    return nn.Sequential(
        shrink,
        nn.Conv2d(shape[0], 16, 3, stride=1, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(576, FEATURES),
        nn.ReLU(),
    )
