"""A device half of the adversary's own, for one who may not run the real one: trained against the server half it holds.

He, Zhang and Lee ask of it only that the server, left as it is, classifies the adversary's images by its releases
(their query-free attack). That leaves much open, since many device halves serve a server. But the victims' releases
were seen, and the server tells which class each is of: here the substitute's releases must also have, class by class,
the moments of what the victims sent.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unsmash.errors import UnsmashError
from unsmash.lab import Lab
from unsmash.moments import ORDERS, Moments
from unsmash.split.shield import Smashed, as_tuple, flat
from unsmash.threat import Grant
from unsmash.view import View

NEEDS = frozenset({Grant.SERVER, Grant.ARCHITECTURE, Grant.SHADOW})
"""Grants that training takes"""

SEEN = 1000
"""Most releases whose moments are taken: what a step costs grows with them"""


EACH = 20
"""Victims a class from which higher moments than the mean are taken: those of a few releases mislead"""


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


def train_substitute(view: View, lab: Lab, plan: SubstitutePlan) -> nn.Module:
    """A device half trained from newly drawn weights, frozen and in eval mode; nothing in the view changes.

    Where no image's label is known, the moments are those of all releases together and the server is not asked.

    Raises:
        UnsmashError: no gradient reaches the device half, or its training is not finite.
    """
    device = view.blank(lab).to(lab.device)
    images, labels = _known(view)
    if not any(True for _ in device.parameters()):
        return device  # without weights, whoever knows the layers has the real one
    moments = _moments(view, bool((labels >= 0).all()), lab)
    shield = copy.deepcopy(view.shield).to(lab.device)
    optimiser = torch.optim.Adam(device.parameters(), lr=plan.rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=max(plan.steps, 2))
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


def _known(view: View) -> tuple[Tensor, Tensor]:
    """Images with labels, those alone where some are known."""
    known = view.shadow_labels >= 0
    return (view.shadow[known], view.shadow_labels[known]) if known.any() else (view.shadow, view.shadow_labels)


@torch.no_grad()
def _moments(view: View, labelled: bool, lab: Lab) -> Moments:
    """Of the victims' releases, each by itself: the substitute's are compared as single ones too.

    The first frame of a burst is the image as it is; the moved ones are of another law.
    """
    seen = view.repeats[:1] if view.threat.frames > 1 else view.repeats
    rows = torch.cat([flat(release) for release in seen]).to(lab.device)
    if labelled:
        told = view.serve(view.release).softmax(1).repeat(len(seen), 1).to(rows)
    else:
        told = rows.new_ones(len(rows), 1)
    chosen = torch.randperm(len(rows), generator=lab.generator("seen"))[:SEEN].to(rows.device)
    enough = view.victims >= EACH * told.shape[1]
    return Moments(rows[chosen], told[chosen], lab.generator("columns"), ORDERS if enough else (1,))


def _batches(count: int, plan: SubstitutePlan, lab: Lab) -> Iterator[Tensor]:
    order, batch = lab.generator("order"), min(plan.batch, count)
    for _ in range(plan.steps):
        yield torch.randperm(count, generator=order)[:batch]


def _loss(view: View, release: Smashed, labels: Tensor, moments: Moments, plan: SubstitutePlan) -> Tensor:
    known, rows, half = bool((labels >= 0).all()), flat(release), len(labels) // 2
    classes = labels if known else torch.zeros_like(labels)
    loss = plan.moments * moments.gaps(rows[:half], classes[:half], rows[half:], classes[half:]).sum()
    if known and plan.answers:
        loss = loss + plan.answers * nn.functional.cross_entropy(view.serve(release).to(rows), labels)
    return loss


def _check(release: Smashed, loss: Tensor) -> None:
    if not any(part.requires_grad for part in release):
        raise UnsmashError("no gradient reaches the device half: the defence lets none through")
    if not loss.isfinite():
        raise UnsmashError("the substitute's training is not finite: a learning rate that is too high? Lower `rate`")
