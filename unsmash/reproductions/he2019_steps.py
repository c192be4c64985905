"""One of He, Zhang & Lee's two experiments, step by step: its network, and each attack at each cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from unsmash import scoring
from unsmash.attacks.base import Attack
from unsmash.attempt import attempt
from unsmash.data.base import Data, Splits
from unsmash.data.cifar10 import Cifar10
from unsmash.data.mnist import Mnist
from unsmash.lab import Lab
from unsmash.metrics.identification import identify
from unsmash.metrics.images import PSNR, SSIM
from unsmash.reproductions.he2019_attacks import (
    QUERY_FREE,
    WHITE_BOX_RATE,
    Likelihood,
    inverse_network,
    maximum_likelihood,
    train_substitute,
)
from unsmash.reproductions.he2019_networks import CLASSES, SUBJECTS, Name, Subject, adam, halves, network
from unsmash.reproductions.measures import figures_of, kept, share
from unsmash.reproductions.training import Loop, accuracy, fit
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import SplitModel
from unsmash.threat import Grant, Threat
from unsmash.view import Scene, View, make_scene, observe

PART, HALVED = 5, 20
"""Passes of a target's training that are one step, and the passes in which its rate halves"""

ROWS = 10
"""Victims that descend in one step"""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    train: int
    epochs: int
    shadow: int
    victims: int
    candidates: int
    """Held-out images among which a victim is sought, the victims first"""
    width: int
    steps: int
    """Of the descent with the real weights"""
    inverse: int
    """Passes over the adversary's images that train an inverse network"""
    substitute: int
    """And a substitute of the device half"""


class Experiment:
    """One network and its attacks."""

    def __init__(self, name: Name, sizes: Sizes, bench: Workbench) -> None:
        self.subject: Subject = SUBJECTS[name]
        self.sizes, self.bench = sizes, bench
        self.models: dict[str, SplitModel] = {}

    @cached_property
    def splits(self) -> Splits:
        """Disjoint sets: target and adversary share no image, and no victim stands in either."""
        kinds: dict[Name, type[Data]] = {"mnist": Mnist, "cifar10": Cifar10}
        wanted = {"train": self.sizes.train, "shadow": self.sizes.shadow, "validator": 1, "val": 1000}
        wanted["victims"] = self.sizes.candidates
        return kinds[self.subject.name].model_validate(wanted).load(self.bench.root)

    @property
    def _key(self) -> dict[str, Any]:
        sizes = {name: value for name, value in asdict(self.sizes).items() if name in ("train", "epochs", "width")}
        return {"subject": asdict(self.subject), "data": self.splits.report.fingerprint, **sizes}

    @cached_property
    def target(self) -> tuple[nn.Module, list[float]]:
        """The trained network, and its accuracy on held-out images."""
        net = network(self.subject, self.sizes.width, self.bench.lab.at(f"{self.bench.name}/{self.subject.name}"))
        told: dict[str, Any] = {}
        for done in range(0, self.sizes.epochs, PART):
            last = min(done + PART, self.sizes.epochs)
            step = f"target, {self.subject.name}, passes {done + 1} to {last}"
            net, told = self.bench.network(step, self._key, net, self._train(done, last))
        return net, told["accuracy"]

    def _train(self, done: int, last: int) -> Callable[[nn.Module, Lab], Mapping[str, Any]]:
        def train(net: nn.Module, lab: Lab) -> Mapping[str, Any]:
            model = halves(net, self.subject.cuts[0], self.subject)
            rate = 1e-3 * 0.5 ** (done / HALVED)
            loop = Loop(last - done, 32, adam(rate), shuffle=True, decay=0.5 ** (1 / HALVED))
            fit(model, self.splits.train.pixels, self.splits.train.labels, loop, lab)
            return {"accuracy": share(accuracy(model, self.splits.val.pixels, self.splits.val.labels, lab))}

        return train

    def model(self, at: str) -> SplitModel:
        """The target cut there."""
        if at not in self.models:
            self.models[at] = halves(self.target[0], at, self.subject).to(self.bench.lab.device)
        return self.models[at]

    @property
    def victims(self) -> Tensor:
        """What is attacked."""
        return self.splits.victims.pixels[: self.sizes.victims]

    def scored(self, guess: Tensor) -> dict[str, Any]:
        """PSNR, SSIM, and the share of victims that a guess matches best among the candidates."""
        hits = identify(guess, self.splits.victims.pixels).hits
        return {"identification": share(hits)} | kept(
            {metric.name: scoring.pixel_score(metric, self.victims, guess) for metric in (PSNR, SSIM)}
        )

    def rmle(self, at: str) -> Tensor:
        """White box, as published."""
        plan = Likelihood(self.sizes.steps, WHITE_BOX_RATE, self.subject.tv[at])
        return self._descents("rmle", at, plan, self.model(at).device, {})

    def inverse(self, at: str, *, random: bool = False) -> Tensor:
        """Black box, as published: an inverse network of the adversary's images, or of images that are pure noise."""

        def make(lab: Lab) -> Made:
            view = self._view(at, (Grant.QUERIES, Grant.SHADOW), lab, random=random)
            return Made({}, {"guess": inverse_network(view, at, self.subject, self.sizes.inverse, lab)})

        name = "inverse network" + (" of random images" if random else "")
        extra = {"passes": self.sizes.inverse, "shadow": self.sizes.shadow, "victims": self.sizes.victims}
        return self.bench.once(self._step(name, at), self._key | extra, make).arrays["guess"]

    def query_free(self, at: str) -> Tensor:
        """Without queries, as published: a substitute trained against the server, then the descent through it."""
        extra = {"substitute": self.sizes.substitute, "shadow": self.sizes.shadow}
        view = self._view(at, (Grant.ARCHITECTURE, Grant.SERVER, Grant.SHADOW), self.bench.lab)

        def train(net: nn.Module, lab: Lab) -> Mapping[str, Any]:
            images, labels = self.splits.shadow.pixels, self.splits.shadow.labels
            train_substitute(net, self.model(at).server, images, labels, self.sizes.substitute, lab)
            right = accuracy(
                SplitModel(net, self.model(at).server), self.splits.val.pixels, self.splits.val.labels, lab
            )
            return {"accuracy": share(right)}

        blank = view.blank(self.bench.lab.at(f"{self.bench.name}/{self._step('blank', at)}"))
        net, _ = self.bench.network(self._step("substitute", at), self._key | extra, blank, train)
        return self._descents("query-free", at, QUERY_FREE, net.to(self.bench.lab.device), extra)

    def ours(self, attack: Attack, at: str) -> Tensor:
        """One of our attacks."""
        extra = {
            "attack": attack.model_dump(mode="json"), "attack_revision": type(attack).revision,
            "shadow": self.sizes.shadow, "victims": self.sizes.victims,
        }  # fmt: skip

        def make(lab: Lab) -> Made:
            view, scene = self._view(at, tuple(sorted(attack.required())), lab), self._scene(lab)
            result, guess = attempt(attack, attack.kind, view, scene, None, lab)
            assert guess is not None, figures_of(result)
            return Made({}, {"guess": guess})

        return self.bench.once(self._step(f"our {attack.label()}", at), self._key | extra, make).arrays["guess"]

    def _descents(self, name: str, at: str, plan: Likelihood, device: nn.Module, extra: Mapping[str, Any]) -> Tensor:
        """A few victims at a time, each a step."""
        found = []
        with torch.no_grad():
            release = self.model(at).release(self.victims.to(self.bench.lab.device))[0]
        for start in range(0, len(self.victims), ROWS):
            part = release[start : start + ROWS]

            def make(lab: Lab, part: Tensor = part) -> Made:
                return Made({}, {"guess": maximum_likelihood(device, part, self.subject, plan, lab)})

            settings = self._key | asdict(plan) | dict(extra) | {"from": start, "rows": len(part)}
            step = self._step(f"{name}, victims {start + 1} to {start + len(part)}", at)
            found.append(self.bench.once(step, settings, make).arrays["guess"])
        return torch.cat(found)

    def _scene(self, lab: Lab, *, random: bool = False) -> Scene:
        mine, labels = self.splits.shadow.pixels, self.splits.shadow.labels
        if random:
            mine = torch.rand(mine.shape, generator=lab.generator("noise"))
            labels = torch.full_like(labels, -1)
        return make_scene(self.victims, self.splits.victims.labels[: len(self.victims)], mine, labels, CLASSES, lab)

    def _view(self, at: str, grants: tuple[Grant, ...], lab: Lab, *, random: bool = False) -> View:
        scene = self._scene(lab, random=random)
        return observe(self.model(at), scene, Threat(name="query", grants=grants), lab)

    def _step(self, name: str, at: str) -> str:
        return f"{name}, {self.subject.name}, {at}"
