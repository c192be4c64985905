"""What an attack is: a function from a view to a guess, with the grants it needs declared."""

from __future__ import annotations

from typing import ClassVar

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

    def run(self, view: View, lab: Lab) -> Tensor:
        """The guess. For inputs: images [n, c, h, w], clamped to [0, 1] by the caller. For identity: log-likelihoods
        [n, N] of the candidates, larger is likelier. For classes: one image a class [classes, c, h, w]. Leaves torch's
        random state and everything in the view unchanged.
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
