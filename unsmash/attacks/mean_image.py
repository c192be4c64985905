"""Answers everyone with the mean of the adversary's images: what a guess is worth without any message."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.records import Role
from unsmash.threat import Grant
from unsmash.view import View


class MeanImage(Attack):
    """The mean of the adversary's images, for every victim."""

    kind: Literal["mean_image"] = "mean_image"

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.SHADOW})
    role: ClassVar[Role] = "floor"
    title: ClassVar[str] = "The average image, every time"

    def run(self, view: View, lab: Lab) -> Tensor:
        """The same image n times: [n, c, h, w]."""
        return view.shadow.mean(0, keepdim=True).expand(view.victims, *view.input_shape)
