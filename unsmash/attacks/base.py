"""What an attack is: a function from a view to a guess, with the grants it needs declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unsmash.class_inversion import Inversion
from unsmash.component import Component
from unsmash.lab import Lab
from unsmash.records import Role
from unsmash.threat import Grant, Secret
from unsmash.view import View


class Attack(Component):
    """Turns what a threat lets it see into a guess at a secret."""

    needs: ClassVar[frozenset[Grant]] = frozenset()
    """Grants it uses whatever its settings. Floors are given theirs: they are no adversaries"""

    secret: ClassVar[Secret] = Secret.INPUTS
    role: ClassVar[Role] = "attack"

    learned: ClassVar[bool] = False
    """Fitted by gradient descent: must not collapse, and must not do worse than ridge"""

    exhibit: ClassVar[bool] = False
    """Kept as published, weakness and all, to stand beside the others: held to no strength, and no reason for doubt"""

    control_share: ClassVar[float] = 0.5
    """Identification it must reach on the undefended shallow cut to be called strong"""

    title: ClassVar[str] = ""
    """Name for people"""

    for_noise: ClassVar[bool] = False
    """Has something to add only where the defence draws noise"""

    @property
    def heading(self) -> str:
        """Name for people, with what a reader must know of the settings."""
        unaware = getattr(self, "aware", True) is False
        return (self.title or self.kind) + (", unaware of the defence" if unaware else "")

    def required(self) -> frozenset[Grant]:
        """The grants that these settings use: `needs`, and what an option adds. Checked when the settings are read."""
        return self.needs

    @property
    def of_inputs(self) -> bool:
        """It is after the private images, or whose they are: what others are after is scored and told apart."""
        return self.secret in (Secret.INPUTS, Secret.IDENTITY)

    def run(self, view: View, lab: Lab) -> Tensor:
        """The guess. For inputs: images [n, c, h, w], clamped to [0, 1] by the caller. For identity: log-likelihoods
        [n, N] of the candidates, larger is likelier. For classes: one image a class [classes, c, h, w]. For labels:
        scores [n, sides] of the training images, larger is likelier. For attributes: log-probabilities [n, answers],
        one attribute's after the other's. Leaves torch's random state and everything in the view unchanged.
        """
        raise NotImplementedError


class ClassAttack(Attack):
    """Shows what the network has kept of its classes: one image a class, of no input in particular."""

    secret: ClassVar[Secret] = Secret.CLASS

    def invert(self, view: View, lab: Lab) -> Inversion:
        """One row a class, with how sure the network is, how long it took and why it stopped."""
        raise NotImplementedError

    def run(self, view: View, lab: Lab) -> Tensor:
        """One image a class [classes, c, h, w]."""
        return self.invert(view, lab).images.cpu()


@dataclass(frozen=True)
class LabelGuess:
    """How much each training image looks like each side: scores, larger is likelier."""

    scores: Tensor
    """By all that came back [n, sides]"""
    passes: Tensor
    """By what came back in each pass alone [passes, n, sides]"""
    numbers: tuple[int, ...]
    """Which pass of the training each of them is, from 1"""
    sides: Literal["classes", "unnamed", "rare"]
    """`classes`: a side a class, in their order; `unnamed`: a side a class, in no order; `rare`: the rarest class
    against all others"""
    known: Tensor
    """Places of the images whose label the adversary was given [k]: they do not count"""


class LabelAttack(Attack):
    """Infers the labels of the training images, which the server half's owner keeps, from what comes back."""

    secret: ClassVar[Secret] = Secret.LABELS

    def infer(self, view: View, lab: Lab) -> LabelGuess:
        """Scores of every training image whose gradients were kept, over all passes and in each."""
        raise NotImplementedError

    def run(self, view: View, lab: Lab) -> Tensor:
        """Scores [n, sides] over all passes."""
        return self.infer(view, lab).scores


Probe = Callable[[Tensor], Tensor]
"""Rows [n, d] → log-probabilities [n, answers]"""


class AttributeAttack(Attack):
    """Answers questions about the private images from what was sent of them."""

    secret: ClassVar[Secret] = Secret.ATTRIBUTE

    def probe(self, view: View, lab: Lab) -> Mapping[str, Tensor]:
        """Log-probabilities [n, answers] of each victim's answer, by attribute; those it could learn nothing of are
        left out.
        """
        raise NotImplementedError

    def learn(self, rows: Tensor, known: Tensor, answers: int, lab: Lab) -> Probe:
        """What it would learn from these rows [m, d] and their answers [m]: of the images themselves, its ceiling."""
        raise NotImplementedError

    def run(self, view: View, lab: Lab) -> Tensor:
        """Log-probabilities [n, answers], one attribute's after the other's."""
        return torch.cat(list(self.probe(view, lab).values()), 1)
