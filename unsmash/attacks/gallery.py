"""The best anyone can do who holds the weights and a list of candidates: MAP identification.

The candidate whose smashed data makes the seen release likeliest, over all k releases. By the data-processing
inequality no attack that reconstructs and then matches can identify more, in expectation.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.records import Role
from unsmash.split.shield import Smashed
from unsmash.threat import Grant, Secret, View


class Gallery(Attack):
    """Names the likeliest of N candidates from the release, the weights and the defence's law."""

    kind: Literal["gallery"] = "gallery"

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.WEIGHTS, Grant.CANDIDATES})
    secret: ClassVar[Secret] = Secret.IDENTITY
    role: ClassVar[Role] = "ceiling"
    title: ClassVar[str] = "Candidate list"

    def run(self, view: View, lab: Lab) -> Tensor:
        """Log-likelihood of each candidate for each victim: [n, N]."""
        z = view.smash(view.candidates)
        total = torch.zeros(view.victims, len(view.candidates), dtype=torch.float64)
        for release in view.repeats:
            total = total + self._likelihood(view, release, z, lab)
        return total

    def _likelihood(self, view: View, release: Smashed, z: Smashed, lab: Lab) -> Tensor:
        known = view.shield.log_likelihood(release, z)
        if known is not None:
            return known
        # no closed form: distance to the mean of what each candidate would send
        with lab.seeded("candidates"):
            sent = view.shield.pool([view.shield(z) for _ in range(64)])
        return -torch.cdist(
            torch.cat([p.flatten(1) for p in release], 1), torch.cat([p.flatten(1) for p in sent], 1)
        ).double()
