"""Ridge regression from release to image: closed form, about a second, deterministic. The bar of every learned attack.

It takes the role of every affine attacker; the published transposed-convolution attacker without nonlinearities is one.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash import regression
from unsmash.attacks.base import Attack
from unsmash.features import Features
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View

ROWS, NUMBERS = 8000, 4_000_000
"""Most rows and most numbers in them that fresh draws are added up to: what keeps it to a second"""


class Ridge(Attack):
    """Best linear map from the release, and its logarithm where it is positive, to the image."""

    kind: Literal["ridge"] = "ridge"
    images: int = Field(4000, ge=8, le=100_000)
    """Most of the adversary's images it uses"""
    draws: int = Field(4, ge=1, le=256)
    """Most fresh releases of each of them it learns from, where the defence draws noise"""
    aware: bool = True
    """Learns from what is really sent; false: from releases without noise, a mistake that flatters the defence"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    title: ClassVar[str] = "Ridge regression"
    tiny: ClassVar[dict[str, object]] = {"images": 200}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Linear reconstructions [n, c, h, w]."""
        index = torch.randperm(len(view.shadow), generator=lab.generator("rows"))[: self.images]
        oracle = view.oracle(view.shadow, aware=self.aware)
        with lab.seeded("queries"):
            first = oracle.ask(index)
            features = Features.of(first)
            rows = [features(first)]
            rows += [features(oracle.ask(index)) for _ in range(1, self._draws(view, rows[0]))]
        # all draws of an image stand together, so that none of them is held out while another is fitted
        stacked = torch.stack(rows, 1).flatten(0, 1)
        images = view.shadow[index].flatten(1).repeat_interleave(len(rows), 0)
        linear = regression.fit(stacked, images)
        return linear(features(view.release)).reshape(-1, *view.input_shape)

    def _draws(self, view: View, rows: Tensor) -> int:
        room = min(ROWS // len(rows), NUMBERS // rows.numel())
        return max(1, min(self.draws, room)) if view.stochastic and self.aware else 1
