"""Training the residual decoder: a ridge image first, then a network that learns on the adversary's own queries.

The ridge image carries what is linear; the network learns the rest on top of it, so it starts at ridge and cannot
collapse below it. For training, ridge images are out of fold, or the network would learn to trust an overfitted first
stage; every batch is a fresh query, so a random defence is met with fresh noise. The weights that do best on held-out
images are kept.

Several attacks start from it. What is learned depends on the adversary's queries and images, never on the victims'
release, so it is kept in the view's memory: whoever asks second gets the same network, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from unsmash import regression
from unsmash.decoder_net import DecoderNet
from unsmash.features import Features
from unsmash.lab import Lab
from unsmash.metrics.images import structural_similarity
from unsmash.nets import jitter
from unsmash.split.shield import Smashed, flat
from unsmash.threat import Grant
from unsmash.view import Oracle, View

LADDER = {"small": (16, 1), "medium": (32, 2), "large": (64, 4)}
"""Channels and residual blocks by size"""

NEEDS = frozenset({Grant.QUERIES, Grant.SHADOW})
"""Grants that training takes"""

Size = Literal["small", "medium", "large"]


class DecoderPlan(BaseModel):
    """How a decoder is trained: everything that its weights depend on besides the view and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    size: Size = "medium"
    """Rung of the capacity ladder"""
    epochs: int = Field(5, ge=1, le=1000)
    """Passes over the adversary's images and their copies"""
    copies: int = Field(3, ge=0, le=64)
    """Slightly moved copies of each of the adversary's images, queried and trained on as well"""
    images: int = Field(8000, ge=16, le=1_000_000)
    """Most images it trains on, copies counted: fewer copies are made of a large collection"""
    batch: int = Field(64, ge=2, le=4096)
    """Images a step"""
    rate: float = Field(3e-3, gt=0, le=1)
    """Peak learning rate of Adam under a one-cycle schedule"""
    loss: Literal["mse", "mixed"] = "mse"
    """mse: squared error, the stronger one here by every metric; mixed: 0.5 L1 + 0.5 (1 − SSIM) + MSE"""
    aware: bool = True
    """Trains on what is really sent; false: on releases without noise, a mistake that flatters the defence"""


@dataclass(frozen=True)
class TrainedDecoder:
    """A decoder with its first stage, and the adversary's images that neither its weights nor that stage were fitted
    to.
    """

    network: DecoderNet
    features: Features
    linear: regression.Ridge
    held: Tensor
    """Held-out images [m, c, h, w], moved copies among them"""
    held_release: Smashed
    """What was seen of them"""
    held_guess: Tensor
    """Their reconstructions; the ridge image behind each is out of fold"""

    def __call__(self, release: Smashed, lab: Lab) -> Tensor:
        """Reconstructions of releases, [n, c, h, w] on the CPU."""
        rows = flat(release)
        first = self.linear(self.features(release)).reshape(len(rows), *self.held.shape[1:])
        return _apply(self.network, _widen(self.features, release), first, lab)


def trained_decoder(view: View, lab: Lab, plan: DecoderPlan) -> TrainedDecoder:
    """The decoder of that plan under this view; needs queries and shadow images.

    It draws from streams of its own beside the attack's, so that it is the same whichever attack asks.
    """
    lab = lab.beside("decoder")
    key = ("decoder", plan, lab.seed, lab.path, str(lab.device))
    return view.memo(NEEDS, key, lambda: _train_decoder(view, lab, plan))


def _train_decoder(view: View, lab: Lab, plan: DecoderPlan) -> TrainedDecoder:
    with lab.seeded("queries"):
        stage = _first_stage(view, _images(view.shadow, lab, plan), lab, aware=plan.aware)
    with lab.seeded("network"):
        width, blocks = LADDER[plan.size]
        shapes = [tuple(part.shape[1:]) for part in stage.seen]
        network = DecoderNet(shapes, view.input_shape, width, blocks).to(lab.device)
        network = network.to(memory_format=torch.channels_last)  # a fifth faster on processors
        _train(network, stage, lab, plan)
    release = tuple(part[stage.unseen] for part in stage.seen)
    guess = _apply(network, release, stage.first[stage.unseen], lab)
    sent = release[:-1] if stage.features.logged else release
    return TrainedDecoder(network, stage.features, stage.linear, stage.oracle.images[stage.unseen], sent, guess)


def _images(shadow: Tensor, lab: Lab, plan: DecoderPlan) -> Tensor:
    generator = lab.generator("copies")
    own = shadow[: plan.images]
    copies = min(plan.copies, plan.images // len(own) - 1)
    return torch.cat([own, *(jitter(own, generator) for _ in range(copies))])


@dataclass(frozen=True)
class _Stage:
    """The ridge stage over the adversary's images, and which of them train and which are held out."""

    oracle: Oracle
    features: Features
    linear: regression.Ridge
    first: Tensor
    """Out-of-fold ridge images [m, c, h, w]"""
    seen: Smashed
    """One release of each image"""
    fit: Tensor
    """Which images train"""
    held: Tensor
    """Which are held out, to choose the weights by"""
    unseen: Tensor
    """The held-out ones and their moved copies"""
    fresh: bool
    """Query anew for every batch: the defence draws noise"""


RIDGE_ROWS, RIDGE_NUMBERS = 4000, 40_000_000
"""Most images the ridge stage is fitted on, and most numbers in their releases: what keeps it to seconds"""


def _first_stage(view: View, images: Tensor, lab: Lab, *, aware: bool) -> _Stage:
    oracle = view.oracle(images, aware=aware)
    seen = oracle.ask()
    kind = Features.of(seen)
    features, flat_images = kind(seen), images.flatten(1)
    own = torch.randperm(min(len(view.shadow), len(images)), generator=lab.generator("split"))
    # a copy goes where its original goes: held out together, or trained on together
    groups = [own + len(own) * copy for copy in range(len(images) // len(own))]
    held_out = max(4, len(own) // 12)
    fit = torch.cat([group[held_out:] for group in groups])
    unseen = torch.cat([group[:held_out] for group in groups])
    limit = min(RIDGE_ROWS, max(len(own) // 2, RIDGE_NUMBERS // features.shape[1]))
    rows = torch.cat(groups)[:limit]
    rows = rows[torch.randperm(len(rows), generator=lab.generator("rows"))]
    linear, out_of_fold = regression.fit_in_and_out(features[rows], flat_images[rows])
    first = linear(features)
    first[rows] = out_of_fold
    fresh = view.stochastic and aware
    stage = _Stage(oracle, kind, linear, first.reshape_as(images), seen, fit, own[:held_out], unseen, fresh)
    return replace(stage, seen=_widen(kind, seen))


def _train(network: DecoderNet, stage: _Stage, lab: Lab, plan: DecoderPlan) -> None:
    fit, images = stage.fit, stage.oracle.images
    steps = plan.epochs * -(-len(fit) // plan.batch)
    optimiser = torch.optim.Adam(network.parameters(), lr=plan.rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=max(steps, 2))
    network.standardise(tuple(part[fit] for part in stage.seen))
    order = lab.generator("order")
    best, kept = _held_out(network, stage, lab, plan), _weights(network)
    _tell(lab, plan, 0, None, best)
    progress = iter(lab.track(range(steps), "decoder"))
    for epoch in range(1, plan.epochs + 1):
        network.train()
        total = torch.zeros((), device=lab.device)
        for rows in fit[torch.randperm(len(fit), generator=order)].split(plan.batch):
            next(progress)
            release = _seen(stage, rows, lab)
            guess = network(release, stage.first[rows].to(lab.device))
            loss = _loss(guess, images[rows].to(lab.device), plan.loss)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            cycle.step()
            total += loss.detach() * len(rows)
        error = _held_out(network, stage, lab, plan)
        _tell(lab, plan, epoch, total.item() / len(fit), error)
        if error < best:
            best, kept = error, _weights(network)
    next(progress, None)
    network.load_state_dict(kept)


def _tell(lab: Lab, plan: DecoderPlan, epoch: int, train: float | None, held: float) -> None:
    what = "squared error a pixel" if plan.loss == "mse" else "0.5 L1 + 0.5 (1 − SSIM) + squared error"
    lab.epoch("decoder", epoch, loss=what, train=train, held=held, selects=True)


@torch.no_grad()
def _held_out(network: DecoderNet, stage: _Stage, lab: Lab, plan: DecoderPlan) -> float:
    network.eval()
    held = stage.held
    release = tuple(part[held].to(lab.device) for part in stage.seen)
    guess = network(release, stage.first[held].to(lab.device))
    return _loss(guess, stage.oracle.images[held].to(lab.device), plan.loss).item()


def _loss(guess: Tensor, truth: Tensor, kind: str) -> Tensor:
    squared = (guess - truth).square().mean()
    if kind == "mse":
        return squared
    similarity = structural_similarity(guess, truth).mean()
    return 0.5 * (guess - truth).abs().mean() + 0.5 * (1 - similarity) + squared


def _seen(stage: _Stage, rows: Tensor, lab: Lab) -> Smashed:
    fresh, seen = stage.fresh, stage.seen
    release = _widen(stage.features, stage.oracle.ask(rows)) if fresh else tuple(part[rows] for part in seen)
    return tuple(part.to(lab.device) for part in release)


def _widen(features: Features, release: Smashed) -> Smashed:
    """The release, and its logarithms as one more tensor where it is positive."""
    return (*release, features.log(flat(release))) if features.logged else release


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@torch.no_grad()
def _apply(network: DecoderNet, release: Smashed, first: Tensor, lab: Lab) -> Tensor:
    network.eval()
    parts = []
    for rows in torch.arange(len(release[0])).split(256):
        part = tuple(tensor[rows].to(lab.device) for tensor in release)
        parts.append(network(part, first[rows].to(lab.device)).cpu())
    return torch.cat(parts)
