"""The best anyone can do who holds the weights and a list of candidates: MAP identification.

The candidate whose smashed data makes the seen release likeliest, over all k releases. By the data-processing
inequality no attack that reconstructs and then matches can identify more, in expectation. Of a burst, whose frames
moved by chance, it weighs moved copies of each candidate of its own; that is strong, but no exact ceiling.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.frames import burst
from unsmash.lab import Lab
from unsmash.records import Role
from unsmash.split.shield import Smashed, flat
from unsmash.threat import Grant, Secret
from unsmash.view import View

DRAWS = 64
"""Releases averaged for each candidate where the law has no closed form"""

IMPOSSIBLE = -1e5
"""Log-likelihood below which a release cannot have come from there"""


class Gallery(Attack):
    """Names the likeliest of N candidates from the release, the weights and the defence's law."""

    kind: Literal["gallery"] = "gallery"
    copies: int = Field(16, ge=1, le=1024)
    """Moved copies of each candidate that a burst is weighed against"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.WEIGHTS, Grant.CANDIDATES})
    secret: ClassVar[Secret] = Secret.IDENTITY
    role: ClassVar[Role] = "ceiling"
    title: ClassVar[str] = "Candidate list"
    tiny: ClassVar[dict[str, object]] = {"copies": 2}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Log-likelihood of each candidate for each victim: [n, N]."""
        copies = self.copies if view.threat.frames > 1 else 1
        moved = burst(view.candidates, copies, lab.generator("copies"))
        known = [self._expected(view, view.smash(images), lab) for images in moved]
        total = torch.zeros(view.victims, len(view.candidates), dtype=torch.float64)
        for release in view.repeats:
            each = torch.stack([self._likelihood(view, release, *one) for one in known])
            total = total + (_mixture(each) if copies > 1 else each[0])
        return total

    def _expected(self, view: View, z: Smashed, lab: Lab) -> tuple[Smashed, Tensor | None]:
        """The candidates' smashed data and, where the law has no closed form, the mean of what each would send."""
        one = tuple(part[:1] for part in z)
        if view.shield.log_likelihood(tuple(part[:1] for part in view.repeats[0]), one) is not None:
            return z, None
        with lab.seeded("candidates"):
            return z, flat(view.shield.pool([view.shield(z) for _ in range(DRAWS)])).double()

    def _likelihood(self, view: View, release: Smashed, z: Smashed, expected: Tensor | None) -> Tensor:
        if expected is not None:
            return -torch.cdist(flat(release).double(), expected)
        known = view.shield.log_likelihood(release, z)
        assert known is not None
        return known


def _mixture(each: Tensor) -> Tensor:
    """Log of the mean likelihood over copies [m, n, N] → [n, N].

    A frame that no copy would have sent must not rule a candidate out, for its own copies are few: where a code leaves
    no doubt (likelihoods of 0), that counts as half a copy.
    """
    best = each.amax((0, 2), keepdim=True)
    unseen = 0.5 if each.min() < IMPOSSIBLE else 1e-20
    return ((each - best).exp().sum(0) + unseen).log()
