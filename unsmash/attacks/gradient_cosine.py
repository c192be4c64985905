"""Labels from the direction of what comes back: the gradients of one class point one way.

Li, Sun, Yang, Gao, Zhang, Xie, Smith and Wang, "Label Leakage and Protection in Two-party Split Learning", ICLR 2022,
§3.2. The adversary is on the device's side, or reads its wire; the server half's owner keeps the labels. Where the
server half ends in a linear layer, what comes back for an image is its error times the weights of the classes, so its
direction tells the class however small the error. The paper takes one known member of the positive class; here a few
known images of each class, or none, when groups are found and remain without a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from unsmash.attacks.base import LabelAttack, LabelGuess
from unsmash.gradient_record import record
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View


class GradientCosine(LabelAttack):
    """Gives each training image the class whose gradients point most nearly the way its own do."""

    kind: Literal["gradient_cosine"] = "gradient_cosine"
    anchors: int = Field(1, ge=0, le=1000)
    """Images of each class whose label the adversary knows; 0 groups the gradients and cannot name the groups"""
    rounds: int = Field(10, ge=0, le=1000)
    """How often each class's direction is taken anew, as the mean over the images that were given to it"""
    starts: int = Field(8, ge=1, le=1000)
    """Without anchors: groupings from random beginnings, of which the tightest is kept"""

    axes: bool | None = None
    """Compares lines and not directions: noise along a gradient turns it round, never aside. Unset: where the defence
    does that"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.GRADIENTS})
    title: ClassVar[str] = "Direction of the gradients"
    tiny: ClassVar[dict[str, object]] = {"rounds": 3, "starts": 2}

    def required(self) -> frozenset[Grant]:
        """Anchors are labels that somebody told."""
        return self.needs | ({Grant.HINTS} if self.anchors else set())

    def infer(self, view: View, lab: Lab) -> LabelGuess:
        """A side a class: the mean cosine with the class's direction, each pass weighed by how well it groups."""
        passes = record(view, lab)
        axes = view.shield.turns if self.axes is None else self.axes
        if self.anchors:
            rows, labels = view.hints(self.anchors)
            inside = rows < len(passes[0].directions)
            told, known = one_hot(labels[inside], view.classes).float(), rows[inside]
        else:
            told, known = torch.zeros(0, view.classes), torch.empty(0, dtype=torch.long)
        each, tight = [], []
        for one in passes:
            alone = _Grouping((one.directions,), (1.0,), known, told, axes)
            scores, centres = self._group(alone, lab)
            each.append(scores)
            tight.append(alone.tightness(scores, centres))
        all_of_them = tuple(one.directions for one in passes)
        together, _ = self._group(_Grouping(all_of_them, tuple(tight), known, told, axes), lab)
        return LabelGuess(
            scores=together,
            passes=torch.stack(each),
            numbers=tuple(one.number for one in passes),
            sides="classes" if self.anchors else "unnamed",
            known=known,
        )

    def _group(self, data: _Grouping, lab: Lab) -> tuple[Tensor, list[Tensor]]:
        """Scores [n, classes] and the classes' directions; from the anchors, or the best of random beginnings."""
        if len(data.known):
            return data.refine(data.anchored(), self.rounds)
        draw = lab.generator("starts")
        tries = [data.refine(data.spread(draw), self.rounds) for _ in range(self.starts)]
        return max(tries, key=lambda found: found[0].max(1).values.sum().item())


@dataclass(frozen=True)
class _Grouping:
    """Gradients of some passes to be grouped, by spherical k-means; anchors stay with their class."""

    directions: tuple[Tensor, ...]
    """[n, d] a pass"""
    weights: tuple[float, ...]
    known: Tensor
    told: Tensor
    """[k, classes], one-hot"""
    axes: bool

    def anchored(self) -> list[Tensor]:
        """Beginning: the mean of each class's anchors."""
        return [normalize(self.told.T @ one[self.known]) for one in self.directions]

    def spread(self, draw: torch.Generator) -> list[Tensor]:
        """Beginning: gradients far from one another, as k-means++ picks them."""
        chosen = [int(torch.randint(len(self.directions[0]), (1,), generator=draw))]
        while len(chosen) < self.told.shape[1]:
            near = self.scores([one[chosen] for one in self.directions]).max(1).values
            chosen.append(int(torch.multinomial((1 - near).clamp(min=1e-9), 1, generator=draw)))
        return [one[chosen] for one in self.directions]

    def refine(self, centres: list[Tensor], rounds: int) -> tuple[Tensor, list[Tensor]]:
        """Take each class's direction anew from the images given to it, so many times."""
        scores = self.scores(centres)
        for _ in range(rounds):
            members = self._members(scores)
            centres = [self._mean(one, members, old) for one, old in zip(self.directions, centres, strict=True)]
            scores = self.scores(centres)
        return scores, centres

    def scores(self, centres: Sequence[Tensor]) -> Tensor:
        """Weighted mean over the passes of the cosines with each centre [n, classes]."""
        found = [one @ centre.T for one, centre in zip(self.directions, centres, strict=True)]
        if self.axes:
            found = [one.abs() for one in found]
        total = sum(self.weights) or 1.0
        return sum(one.double() * weight / total for one, weight in zip(found, self.weights, strict=True))  # type: ignore[return-value]

    def tightness(self, scores: Tensor, centres: Sequence[Tensor]) -> float:
        """How near to one another a group's gradients are, in the mean: squared length of their mean."""
        members = self._members(scores)
        mean = self._sum(self.directions[0], members, centres[0]) / members.sum(0).clamp(min=1)[:, None]
        return mean.square().sum(1).mean().item()

    def _members(self, scores: Tensor) -> Tensor:
        members = one_hot(scores.argmax(1), scores.shape[1]).float()
        members[self.known] = self.told
        return members

    def _mean(self, rows: Tensor, members: Tensor, old: Tensor) -> Tensor:
        return torch.where(members.sum(0)[:, None] > 0, normalize(self._sum(rows, members, old)), old)

    def _sum(self, rows: Tensor, members: Tensor, old: Tensor) -> Tensor:
        """Of each group's gradients; as axes, each turned the way its group's is."""
        signs = torch.sign(rows @ old.T) if self.axes else 1.0
        return (members * signs).T @ rows
