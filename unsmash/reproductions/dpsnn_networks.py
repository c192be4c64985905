"""dpsnn's networks: MNIST by index, the published training, and what is measured of a trained network.

The scripts divide MNIST by index. What no script uses, training images 50,000 to 59,999 and test images 5,000 to 9,999,
is used here to put things right: for a validator of its own images, and for an accuracy that nothing was chosen by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unsmash.data.base import Images, Pool
from unsmash.data.mnist import Mnist
from unsmash.defences.laplace import LaplaceShield
from unsmash.defences.nopeek import NoPeek
from unsmash.lab import Lab
from unsmash.metrics.dependence import distance_correlation, distance_correlation_compat
from unsmash.models.splitnn import SplitNN
from unsmash.reproductions import measures, training
from unsmash.reproductions.dpsnn_names import Classifier
from unsmash.reproductions.training import Loop
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import Shield, Shields, Site, SplitModel, cut

REVISION = 1
"""Raised when a change here changes what comes out"""

SHADOW_FROM, SCORED_FROM, SPARE_FROM = 40_000, 45_000, 50_000
"""Where in MNIST's training file the attacker's images begin, those it is scored on, and those no script uses"""

TEST_FROM = 5_000
"""Where in the test file the images begin on which nothing is published"""

SHAPE = (1, 28, 28)
ROWS = 2000
"""Images that the unbiased distance correlation is taken over"""

BATCH_128 = 128
"""The batch in which every network is measured beside its own: the estimator moves with it"""


@dataclass(frozen=True)
class Plan:
    """Sizes and the training: all that a network depends on besides its defences and the seed."""

    train: int = 40_000
    val: int = 5_000
    epochs: int = 10
    batch: int = 128
    nopeek_batch: int = 32
    rate: float = 1e-4

    def batch_of(self, cell: Classifier) -> int:
        """Images a step in the training of that network."""
        return self.nopeek_batch if cell.nopeek else self.batch

    def settings(self, cell: Classifier) -> dict[str, Any]:
        """What a step on that network is kept under."""
        return asdict(self) | {"cell": [float(cell.noise), float(cell.nopeek)], "revision": REVISION}


@dataclass(frozen=True)
class Digits:
    """MNIST as dpsnn divides it."""

    train: Images
    shadow: Images
    scored: Images
    """What the attacker is scored on"""
    spare: Images
    """Training images that no script uses"""
    val: Images
    """What the best pass is chosen by, and accuracy is published on"""
    test: Images
    """Test images on which nothing is published"""


def digits(root: Path, plan: Plan, *, shadow: int, scored: int, spare: int) -> Digits:
    """So many images of each part, from its beginning.

    Raises:
        DataError: MNIST is neither there nor to be had.
    """
    pools = Mnist().pools(root)
    file, held = pools.target, pools.victims
    assert file is not None
    assert held is not None
    return Digits(
        train=_part(file, 0, min(plan.train, SHADOW_FROM)),
        shadow=_part(file, SHADOW_FROM, min(shadow, SCORED_FROM - SHADOW_FROM)),
        scored=_part(file, SCORED_FROM, min(scored, SPARE_FROM - SCORED_FROM)),
        spare=_part(file, SPARE_FROM, spare),
        val=_part(held, 0, min(plan.val, TEST_FROM)),
        test=_part(held, TEST_FROM, plan.val),
    )


def _part(pool: Pool, first: int, count: int) -> Images:
    return Images.of(pool.take(torch.arange(first, min(first + count, len(pool)))))


def network(cell: Classifier, lab: Lab) -> SplitModel:
    """The published network with new weights: NoPeek sees the activations before the noise, as published."""
    net = SplitNN(softmax=True).build(SHAPE, 10, lab)
    model = cut(net, SplitNN.default_cut, torch.zeros(2, *SHAPE))
    return SplitModel(model.device, model.server, Shields(_shields(cell, lab)), at=model.at)


def _shields(cell: Classifier, lab: Lab) -> list[Shield]:
    site, shields = Site(((500,),), SHAPE, 10), list[Shield]()
    if cell.nopeek:
        shields.append(NoPeek(weight=cell.nopeek, estimator="compat").arm(site, lab))
    if cell.noise:
        shields.append(LaplaceShield(cell.noise))
    return shields


def trained(bench: Workbench, cell: Classifier, data: Digits, plan: Plan) -> tuple[SplitModel, dict[str, Any]]:
    """The network after its best pass, the first of equals; and what its training told, passes counted from 0."""
    name = f"train {cell.name}"
    net = network(cell, bench.lab.at(f"{bench.name}/{name}"))
    model, told = bench.network(name, plan.settings(cell), net, lambda net, lab: _fit(net, cell, data, plan, lab))
    assert isinstance(model, SplitModel)
    return model.to(bench.lab.device), told


def _fit(net: nn.Module, cell: Classifier, data: Digits, plan: Plan, lab: Lab) -> Mapping[str, Any]:
    assert isinstance(net, SplitModel)
    shares: list[float] = []
    best: dict[str, Tensor] = {}

    def after(number: int) -> None:
        share = training.accuracy(net, data.val.pixels, data.val.labels, lab.at(f"pass/{number}")).mean().item()
        if share > max(shares, default=-1.0):
            best.update({name: tensor.detach().clone() for name, tensor in net.state_dict().items()})
        shares.append(share)

    loop = Loop(plan.epochs, plan.batch_of(cell), lambda weights: torch.optim.Adam(weights, lr=plan.rate))
    training.fit(net, data.train.pixels, data.train.labels, loop, lab, after=after)
    net.load_state_dict(best)
    return {"epoch": int(np.argmax(shares)), "accuracies": shares}


@torch.no_grad()
def codes(model: SplitModel, images: Tensor, lab: Lab) -> Tensor:
    """The activations before any noise: [n, 500] on the CPU."""
    model.eval()
    return torch.cat([model.smash(part.to(lab.device))[0].float().cpu() for part in images.split(256)])


@torch.no_grad()
def hits(model: SplitModel, shield: Shield, z: Tensor, labels: Tensor, lab: Lab) -> Tensor:
    """1 where the server's answer to what this shield sends of the activations is the label, else 0: [n] float64."""
    with lab.seeded("noise"):
        answers = [model.serve(shield((part.to(lab.device),))).cpu() for part in z.split(256)]
    return (torch.cat(answers).argmax(1) == labels).double()


def noised(scale: float) -> Shield:
    """What puts noise of this scale on a trained network; nothing for 0."""
    return Shields([LaplaceShield(scale)] if scale else [])


def by_batches(x: Tensor, z: Tensor, batch: int) -> tuple[float, float]:
    """The field's DCorr as its script takes it: mean over batches in order, the last one short, and standard error."""
    pairs = zip(x.split(batch), z.split(batch), strict=True)
    values = np.array([distance_correlation_compat(a, b) for a, b in pairs])
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def measured(bench: Workbench, cell: Classifier, model: SplitModel, data: Digits, plan: Plan) -> dict[str, Any]:
    """Accuracies and distance correlations of a trained network, as published and put right."""

    def make(lab: Lab) -> Made:
        parts = {"train": data.train, "val": data.val, "test": data.test}
        z = {name: codes(model, images.pixels, lab) for name, images in parts.items()}
        right = {name: hits(model, model.shield, z[name], parts[name].labels, lab.at(name)) for name in parts}
        figures: dict[str, Any] = {name: measures.share(found) for name, found in right.items()}
        # the first half of the batches: what the notebooks' trainer takes of its training and its validation images
        for name in ("train", "val"):
            whole = -(-len(right[name]) // plan.batch_of(cell))
            first = max(1, whole // 2) * plan.batch_of(cell)
            figures[f"{name}_half"] = measures.share(right[name][:first])
            figures[f"{name}_dcorr"] = by_batches(parts[name].pixels, z[name], plan.batch_of(cell))
        figures["at_128"] = by_batches(data.val.pixels, z["val"], BATCH_128)
        with lab.seeded("sent"), torch.no_grad():
            sent = model.shield((z["test"][:ROWS],))[0]
        figures["unbiased"] = distance_correlation(data.test.pixels[:ROWS], sent)
        figures["unbiased_clean"] = distance_correlation(data.test.pixels[:ROWS], z["test"][:ROWS])
        return Made(figures)

    return bench.once(f"measure {cell.name}", plan.settings(cell), make).figures


def draws(bench: Workbench, cell: Classifier, model: SplitModel, data: Digits, plan: Plan) -> list[float]:
    """Accuracy on the published images for ten draws of the noise, as in the rerun of 2024."""

    def make(lab: Lab) -> Made:
        z = codes(model, data.val.pixels, lab)
        found = [hits(model, model.shield, z, data.val.labels, lab.at(f"draw/{number}")) for number in range(10)]
        return Made({"accuracies": [one.mean().item() for one in found]})

    return list(bench.once(f"ten draws {cell.name}", plan.settings(cell), make).figures["accuracies"])
