"""Answers with the adversary's image whose release lies nearest. On noisy releases nearly as strong as a decoder."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.split.model import flat
from unsmash.threat import Grant
from unsmash.view import View


class Lookalike(Attack):
    """Picks the adversary's image whose release is most like the victim's."""

    kind: Literal["lookalike"] = "lookalike"
    draws: int = Field(16, ge=1, le=1024)
    """Releases averaged for each of the adversary's images when the defence draws noise"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    control_share: ClassVar[float] = 0.05
    title: ClassVar[str] = "Nearest look-alike"
    tiny: ClassVar[dict[str, object]] = {"draws": 2}

    def run(self, view: View, lab: Lab) -> Tensor:
        """One shadow image a victim: [n, c, h, w]."""
        draws = self.draws if view.stochastic else 1
        oracle = view.oracle(view.shadow)
        with lab.seeded("queries"):
            known = sum((flat(oracle.ask()) for _ in range(draws)), torch.zeros(())) / draws
        return view.shadow[torch.cdist(flat(view.release), known).argmin(1)]
