"""What an image of a class is like: read by the audited network, by an independent judge, and held against victims.

Kept apart from the scores of reconstructions: a prototype is of no victim, so there is nobody to identify.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unsmash.metrics.images import mse, ssim
from unsmash.recogniser import Recogniser
from unsmash.records import Prototype, Score
from unsmash.scoring import mean_score, share_score
from unsmash.view import Scene


@dataclass(frozen=True)
class Account:
    """How the images came about, a row a class; floors have taken no step."""

    starts: Tensor
    """[classes]: probability of the class for the start image"""
    iterations: Tensor
    flat: Tensor
    stopped: tuple[str, ...]


def prototypes(
    images: Tensor, logits: Tensor, account: Account, scene: Scene, eye: Recogniser | None, names: Sequence[str]
) -> tuple[Prototype, ...]:
    """One image a class [classes, c, h, w] in [0, 1], with the audited network's answers [classes, ≥ classes]."""
    sure = logits.softmax(1).diagonal()
    read = eye.reads(images).cpu() if eye is not None else None
    found = []
    for label, name in enumerate(names[: len(images)]):
        judged = {} if read is None else _judged(read[label], label)
        near = _near(images[label : label + 1], label, scene)
        found.append(
            Prototype(
                label=name,
                confidence=sure[label].item(),
                start=account.starts[label].item(),
                iterations=int(account.iterations[label]),
                stopped=account.stopped[label],
                flat=bool(account.flat[label]),
                **judged,
                **near,
            )
        )
    return tuple(found)


def scores(found: Sequence[Prototype]) -> dict[str, Score]:
    """Figures over classes: every class weighs the same."""
    out = {"class_confidence": mean_score("class_confidence", "", "up", _column(found, "confidence"))}
    recognised = _column(found, "recognised")
    if len(recognised):
        out["class_recognition"] = share_score("class_recognition", recognised)
    pairs = [(one.own_mse, one.other_mse) for one in found if one.own_mse is not None and one.other_mse is not None]
    if pairs:
        nearer = torch.tensor([float(own < other) for own, other in pairs], dtype=torch.float64)
        out["class_nearest"] = share_score("class_nearest", nearer)
    likeness = _column(found, "mean_ssim")
    if len(likeness):
        out["class_ssim"] = mean_score("class_ssim", "", "up", likeness)
        out["class_mse"] = mean_score("class_mse", "squared pixel value", "down", _column(found, "mean_mse"))
    return out


def _column(found: Sequence[Prototype], field: str) -> Tensor:
    values = [getattr(one, field) for one in found]
    return torch.tensor([float(value) for value in values if value is not None], dtype=torch.float64)


def _judged(read: Tensor, label: int) -> dict[str, Any]:
    return {"recognised": int(read.argmax()) == label, "read": read[label].item()}


def _near(image: Tensor, label: int, scene: Scene) -> dict[str, Any]:
    """Likeness to the class's mean victim, to its nearest victim, and to the nearest of another class."""
    own, other = scene.victims[scene.labels == label], scene.victims[(scene.labels != label) & (scene.labels >= 0)]
    if not len(own):
        return {}
    mean = own.mean(0, keepdim=True)
    out = {"mean_ssim": ssim(mean, image).item(), "mean_mse": mse(mean, image).item()}
    for name, rows in (("own", own), ("other", other)):
        if len(rows):
            errors = mse(rows, image.expand_as(rows))
            nearest = rows[errors.argmin()][None]
            out |= {f"{name}_mse": errors.min().item(), f"{name}_ssim": ssim(nearest, image).item()}
    return out
