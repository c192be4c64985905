"""NoPeekNN's target as its authors trained it, and with the faults of that training put right.

Published: a softmax in front of a loss that applies its own, images in the file's order, squared distances in NoPeek's
penalty, and the weights of the pass that did best on the very images whose accuracy is told.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unsmash import scoring
from unsmash.data.base import Pool
from unsmash.data.mnist import Mnist
from unsmash.defences.nopeek import NoPeek
from unsmash.lab import Lab
from unsmash.metrics.dependence import distance_correlation, distance_correlation_compat
from unsmash.models.pysyft_cnn import PySyftCNN
from unsmash.models.splitnn import SplitNN
from unsmash.reproductions.measures import kept, share
from unsmash.reproductions.training import Loop, MakeOptimiser, accuracy, answers
from unsmash.reproductions.two_parties import fit_apart
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import Shields, Site, SplitModel, cut, flat

SHAPE, CLASSES, CODE = (1, 28, 28), 10, 500
FIRST_VICTIM = 5000
"""The published figure shows digits of the test file from here"""

OPTIMISERS: dict[str, tuple[MakeOptimiser, float]] = {
    "no-syft": (lambda parameters: torch.optim.Adadelta(parameters, lr=1.0), 0.7),
    "master": (lambda parameters: torch.optim.SGD(parameters, lr=0.6), 1.0),
    "notebook": (lambda parameters: torch.optim.Adam(parameters, lr=1e-4), 1.0),
}
"""Of each half, by branch of the repository, and what its rate is multiplied with after a pass"""

Chosen = Literal["test", "held"]


@dataclass(frozen=True)
class Plan:
    """A training; all that its weights depend on beside the seed."""

    weight: float
    """NoPeek's; 0 leaves it out"""
    right: bool
    """With the faults of the training put right"""
    branch: str
    train: int
    epochs: int
    batch: int
    held: int
    test: int
    victims: int

    @property
    def name(self) -> str:
        """For people."""
        kind = "put right" if self.right else "as published"
        return f"{'the notebook' if self.branch == 'notebook' else f'NoPeek {self.weight:g}'}, {kind}"


@dataclass(frozen=True)
class Target:
    """A trained target, its weights chosen by one of two sets."""

    plan: Plan
    chosen: Chosen
    model: SplitModel
    figures: dict[str, Any]
    """Of these weights: accuracy on the first test images, dependence of release and image, the label-only floor"""
    passes: list[list[float]]
    """Accuracy after each pass on the images that the published code selected by, and on held-out ones"""
    best: int
    """The pass whose weights these are"""

    @property
    def settings(self) -> dict[str, Any]:
        """All that it depends on."""
        return asdict(self.plan) | {"chosen": self.chosen}


def digits(root: Path, file: Literal["train", "test"], start: int, stop: int) -> tuple[Tensor, Tensor]:
    """MNIST in the order of its file: images [n, 1, 28, 28] in [0, 1], and labels [n]."""
    pool = _file(root, file)
    return pool.pixels[start:stop].float() / 255, pool.labels[start:stop].long()


@functools.lru_cache(2)
def _file(root: Path, file: Literal["train", "test"]) -> Pool:
    """A file is read once, not for every step."""
    pools = Mnist().pools(root)
    pool = pools.target if file == "train" else pools.victims
    assert pool is not None
    return pool


def target(bench: Workbench, plan: Plan, chosen: Chosen) -> Target:
    """The target of a plan, trained or kept from before."""
    made = bench.once(f"target, {plan.name}", asdict(plan), lambda lab: _train(plan, bench.root, lab))
    net = _network(plan, bench.lab)
    net.load_state_dict({name.split(".", 1)[1]: one for name, one in made.arrays.items() if name.startswith(chosen)})
    told = made.figures
    return Target(plan, chosen, _halves(net, plan, bench.lab), told[chosen], told["passes"], told["best"][chosen])


def _network(plan: Plan, lab: Lab) -> nn.Module:
    if plan.branch == "notebook":
        return PySyftCNN(softmax=not plan.right).build(SHAPE, CLASSES, lab)
    return SplitNN(tanh=False, softmax=not plan.right).build(SHAPE, CLASSES, lab)


def _halves(net: nn.Module, plan: Plan, lab: Lab) -> SplitModel:
    model = cut(net.eval(), "pool2" if plan.branch == "notebook" else "code", torch.zeros(2, *SHAPE))
    if plan.weight:
        penalty = NoPeek(weight=plan.weight, estimator="exact" if plan.right else "compat")
        model.shield = Shields([penalty.arm(Site(((CODE,),), SHAPE, CLASSES), lab)])
    return model.to(lab.device).eval()


def _train(plan: Plan, root: Path, lab: Lab) -> Made:
    lab = lab.beside("target")  # every plan starts from the same weights
    optimiser, decay = OPTIMISERS[plan.branch]
    images, labels = digits(root, "train", 0, plan.train)
    judges = {
        "test": digits(root, "test", 0, 2 * plan.test),
        "held": digits(root, "train", plan.train, plan.train + plan.held),
    }
    net = _network(plan, lab)
    model, passes = _halves(net, plan, lab), list[list[float]]()
    best: dict[str, tuple[float, int, dict[str, Tensor]]] = {}

    def after(number: int) -> None:
        found = [accuracy(model, *judge, lab).mean().item() for judge in judges.values()]
        passes.append(found)
        for name, value in zip(judges, found, strict=True):
            if name not in best or value > best[name][0]:
                best[name] = (value, number, {key: one.clone() for key, one in net.state_dict().items()})

    loop = Loop(plan.epochs, plan.batch, optimiser, shuffle=plan.right, decay=decay)
    fit_apart(model, images, labels, loop, lab, after=after)
    figures: dict[str, Any] = {"passes": passes, "best": {name: number for name, (_, number, _) in best.items()}}
    arrays: dict[str, Tensor] = {}
    for name, (_, _, state) in best.items():
        net.load_state_dict(state)
        figures[name] = _judged(model.eval(), plan, root, lab)
        arrays |= {f"{name}.{key}": one for key, one in state.items()}
    return Made(figures, arrays)


def _judged(model: SplitModel, plan: Plan, root: Path, lab: Lab) -> dict[str, Any]:
    images, labels = digits(root, "test", 0, plan.test)
    victims, truth = digits(root, "test", FIRST_VICTIM, FIRST_VICTIM + plan.victims)
    named = answers(model, victims, lab).argmax(1)
    right = scoring.share_score("accuracy", (named == truth).double())
    floor = scoring.label_only(named, right, 0).scores["identification"]
    with torch.no_grad():
        z = flat(model.smash(victims.to(lab.device))).cpu()
    return {
        "accuracy": share(accuracy(model, images, labels, lab)),
        "label_only": kept({"share": floor})["share"],
        **dependence(victims.flatten(1), z, plan.batch),
    }


def dependence(x: Tensor, z: Tensor, batch: int) -> dict[str, list[float]]:
    """Of images and releases, rows [n, d] and [n, e]: the field's form as it is paid, a mean over batches; the same of
    pairs that have nothing to do with each other; and the unbiased one of all rows.
    """
    parts = list(zip(x.split(batch), z.split(batch), strict=True))
    parts = [(a, b) for a, b in parts if len(a) == len(parts[0][0])]

    def paid(pair: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> list[float]:
        values = torch.tensor([distance_correlation_compat(*pair(a, b)) for a, b in parts], dtype=torch.float64)
        return list(kept({"it": scoring.mean_score("dcor_compat", "", "up", values)})["it"])

    unbiased = distance_correlation(x, z)
    return {
        "compat": paid(lambda a, b: (a, b)),
        "compat_unpaired": paid(lambda a, b: (a, b.roll(1, 0))),
        "unbiased": [unbiased, unbiased, unbiased, len(x)],
    }
