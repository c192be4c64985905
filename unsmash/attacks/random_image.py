"""Answers with any image of the adversary's: the like-for-like floor of attacks that pick rather than estimate."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.records import Role
from unsmash.threat import Grant
from unsmash.view import View


class RandomImage(Attack):
    """An image of the adversary's drawn by chance, for each victim."""

    kind: Literal["random_image"] = "random_image"

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.SHADOW})
    role: ClassVar[Role] = "floor"
    title: ClassVar[str] = "A random image of the same kind"

    def run(self, view: View, lab: Lab) -> Tensor:
        """One shadow image a victim: [n, c, h, w]."""
        return view.shadow[torch.randint(len(view.shadow), (view.victims,), generator=lab.generator("pick"))]
