"""Answers with the mean image of the victim's true class: what sending only the label would give away."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.records import Role
from unsmash.threat import Grant
from unsmash.view import View


class ClassMean(Attack):
    """The mean of the adversary's images of the victim's class, the true label given."""

    kind: Literal["class_mean"] = "class_mean"

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.SHADOW, Grant.LABELS})
    role: ClassVar[Role] = "floor"
    title: ClassVar[str] = "Only the label is known"

    def run(self, view: View, lab: Lab) -> Tensor:
        """One mean image a class: [n, c, h, w]. A class the adversary holds no image of gets the mean of all."""
        shadow, known = view.shadow, view.shadow_labels
        means = torch.empty(view.classes, *view.input_shape)
        for label in range(view.classes):
            mine = shadow[known == label]
            means[label] = (mine if len(mine) else shadow).mean(0)
        return means[view.labels.clamp(min=0)]
