"""A device half of the adversary's own, for one who may not run the real one: trained against the server half it holds.

He, Zhang and Lee ask of it only that the server, left as it is, classifies the adversary's images by its releases
(their query-free attack). That leaves much open, since many device halves serve a server. But the victims' releases
were seen, and the server tells which class each is of: here the substitute's releases must also have, class by class,
the moments of what the victims sent.

What that leaves open, two substitutes settle differently. So a twin is trained from other weights, on victims drawn
with replacement from those seen: how far its releases lie from the first one's tells how far those may lie from the
real ones, and in which directions. Whoever learns from a substitute is given that doubt as noise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unsmash.errors import UnsmashError
from unsmash.lab import Lab
from unsmash.moments import Moments
from unsmash.split.shield import Smashed, as_tuple, flat
from unsmash.threat import Grant
from unsmash.view import View

NEEDS = frozenset({Grant.SERVER, Grant.ARCHITECTURE, Grant.SHADOW})
"""Grants that training takes"""

SEEN = 1000
"""Most releases whose moments are taken: what a step costs grows with them"""

SMALLEST = 0.01
"""Size that smaller weights, zeros above all, are taken to have when their learning rate is set"""

JUDGED = 2000
"""Most of the adversary's images by which two substitutes are compared"""


@dataclass(frozen=True)
class SubstitutePlan:
    """How a substitute is trained."""

    steps: int
    """Steps of Adam under a one-cycle schedule"""
    batch: int
    """The adversary's images a step"""
    rate: float
    """Peak learning rate"""
    answers: float
    """Weight of the server's cross-entropy"""
    moments: float
    """Weight of the gaps between the moments of its releases and of the victims'"""
    doubt: float
    """Noise for whoever learns from it, in shares of what a twin's releases differ by"""


class Doubted(nn.Module):
    """A substitute whose releases are off by random draws with the second moments of the errors given."""

    def __init__(self, device: nn.Module, errors: Smashed, generator: torch.Generator) -> None:
        """`errors` are tensors [m, …], as the device sends them: for each of m images, what a release was off by."""
        super().__init__()
        self.device, self.errors, self.generator = device, errors, generator

    def forward(self, x: Tensor) -> Smashed:
        """Releases of images, each off by an error of its own; every call draws anew."""
        sent, known = as_tuple(self.device(x)), len(self.errors[0])
        mix = torch.randn(len(x), known, generator=self.generator).to(x.device) / math.sqrt(known)
        return tuple(
            part + (mix @ error.flatten(1).to(part)).reshape_as(part)
            for part, error in zip(sent, self.errors, strict=True)
        )


def doubted_substitute(view: View, lab: Lab, plan: SubstitutePlan) -> nn.Module:
    """A substitute that sends what it is unsure of: its releases are off as far as a twin's lie from them.

    Raises:
        UnsmashError: as `train_substitute`.
    """
    device = train_substitute(view, lab, plan)
    if not plan.doubt or not any(True for _ in device.parameters()):
        return device
    twin = train_substitute(view, lab.at("twin"), plan, again=True)
    errors = [_differences(device, twin, part, plan.doubt, lab) for part in view.shadow[:JUDGED].split(250)]
    return Doubted(device, tuple(torch.cat(parts) for parts in zip(*errors, strict=True)), lab.generator("doubt"))


@torch.no_grad()
def _differences(one: nn.Module, other: nn.Module, images: Tensor, share: float, lab: Lab) -> Smashed:
    images = images.to(lab.device)
    pairs = zip(as_tuple(one(images)), as_tuple(other(images)), strict=True)
    return tuple(share * (b - a) for a, b in pairs)


def train_substitute(view: View, lab: Lab, plan: SubstitutePlan, *, again: bool = False) -> nn.Module:
    """A device half trained from newly drawn weights, frozen and in eval mode; nothing in the view changes.

    Where no image's label is known, the moments are those of all releases together and the server is not asked. `again`
    trains it on as many releases drawn from the seen ones with replacement.

    Raises:
        UnsmashError: no gradient reaches the device half, or its training is not finite.
    """
    device = view.blank(lab).to(lab.device)
    images, labels = _known(view)
    if not any(True for _ in device.parameters()):
        return device  # without weights, whoever knows the layers has the real one
    moments = _moments(view, bool((labels >= 0).all()), lab, again)
    shield = copy.deepcopy(view.shield).to(lab.device)
    rates = [plan.rate * _size(weights) for weights in device.parameters()]
    optimiser = torch.optim.Adam([{"params": weights} for weights in device.parameters()])
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=max(plan.steps, 2))
    device.train()
    with lab.seeded("substitute"):
        for rows in lab.track(_batches(len(images), plan, lab), "substitute", total=plan.steps):
            release = shield(as_tuple(device(images[rows].to(lab.device))))
            loss = _loss(view, release, labels[rows].to(lab.device), moments, plan)
            _check(release, loss)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            cycle.step()
    return device.requires_grad_(False).eval()


def _size(weights: Tensor) -> float:
    """Root mean square of weights as drawn: layers with many inputs draw small ones and must learn in small steps."""
    return float(weights.detach().square().mean().sqrt().clamp(min=SMALLEST))


def _known(view: View) -> tuple[Tensor, Tensor]:
    """Images with labels, those alone where some are known."""
    known = view.shadow_labels >= 0
    return (view.shadow[known], view.shadow_labels[known]) if known.any() else (view.shadow, view.shadow_labels)


@torch.no_grad()
def _moments(view: View, labelled: bool, lab: Lab, again: bool) -> Moments:
    """Of the victims' releases, each by itself: the substitute's are compared as single ones too.

    The first frame of a burst is the image as it is; the moved ones are of another law.
    """
    seen = view.repeats[:1] if view.threat.frames > 1 else view.repeats
    rows = torch.cat([flat(release) for release in seen]).to(lab.device)
    if labelled:
        told = view.serve(view.release).softmax(1).repeat(len(seen), 1).to(rows)
    else:
        told = rows.new_ones(len(rows), 1)
    draw = lab.generator("seen")
    chosen = (
        torch.randint(len(rows), (len(rows),), generator=draw) if again else torch.randperm(len(rows), generator=draw)
    )
    chosen = chosen[:SEEN].to(rows.device)
    return Moments(rows[chosen], told[chosen], lab.generator("columns"))


def _batches(count: int, plan: SubstitutePlan, lab: Lab) -> Iterator[Tensor]:
    order, batch = lab.generator("order"), min(plan.batch, count)
    for _ in range(plan.steps):
        yield torch.randperm(count, generator=order)[:batch]


def _loss(view: View, release: Smashed, labels: Tensor, moments: Moments, plan: SubstitutePlan) -> Tensor:
    known, rows, half = bool((labels >= 0).all()), flat(release), len(labels) // 2
    classes = labels if known else torch.zeros_like(labels)
    loss = plan.moments * moments.trusted(moments.gaps(rows[:half], classes[:half], rows[half:], classes[half:]))
    if known and plan.answers:
        loss = loss + plan.answers * nn.functional.cross_entropy(view.serve(release).to(rows), labels)
    return loss


def _check(release: Smashed, loss: Tensor) -> None:
    if not any(part.requires_grad for part in release):
        raise UnsmashError("no gradient reaches the device half: the defence lets none through")
    if not loss.isfinite():
        raise UnsmashError("the substitute's training is not finite: a learning rate that is too high? Lower `rate`")
