"""The closed-form attack: the best linear map from release to image, in about a second, deterministic."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash import regression
from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.split.model import flat
from unsmash.threat import Grant, View


class Ridge(Attack):
    """Ridge regression from release to image, penalty by hold-out (dual form where the release is wide)."""

    kind: Literal["ridge"] = "ridge"
    images: int = Field(4000, ge=8, le=100_000)
    """Most of the adversary's images it uses"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    title: ClassVar[str] = "Ridge regression"
    tiny: ClassVar[dict[str, object]] = {"images": 200}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Linear reconstructions [n, c, h, w]."""
        index = torch.randperm(len(view.shadow), generator=lab.generator("rows"))[: self.images]
        with lab.seeded("queries"):
            features = flat(view.oracle(view.shadow).ask(index))
        linear = regression.fit(features, view.shadow[index].flatten(1))
        return linear(flat(view.release)).reshape(-1, *view.input_shape)
