"""Noise on the gradients that an honest server returns in training, so that they tell less of the labels.

Li, Sun, Yang, Gao, Zhang, Xie, Smith and Wang, "Label Leakage and Protection in Two-party Split Learning", ICLR 2022,
§4: noise along each gradient that makes all as long as the longest (max-norm), noise of the least sumKL between two
classes for its power (Marvell), and isotropic noise as the baseline that the two are held against.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unsmash import marvell
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.split.shield import Shield, Site, Smashed, flat, unflat

Rule = Literal["max_norm", "marvell", "iso"]

USUAL = 1.0


class GradientNoise(Defence):
    """The server adds noise to what it sends back in training, for the sake of the labels that it keeps."""

    kind: Literal["gradient_noise"] = "gradient_noise"
    rule: Rule = "max_norm"
    """max_norm: along each gradient, so that all are as long as the longest of the batch is; marvell: least telling for
    its power, two classes only; iso: the same in all directions, the baseline"""
    strength: float | None = Field(None, gt=0, le=1e6)
    """Mean squared length of the noise. Of marvell: in units of the squared distance between the two classes' mean
    gradients; of iso: in units of the longest gradient's squared length. Unset: 1. max_norm has none"""

    source: ClassVar[str] = "Li et al., ICLR 2022"
    protects: ClassVar[str] = (
        "The labels of the training images, which the server half's owner keeps, from who reads the gradients that "
        "come back. What the device sends is not protected at all, in training or afterwards, and who sees an image's "
        "gradients in many passes averages noise out."
    )
    guarantee: ClassVar[str] = "none: Marvell's bound takes the gradients of a class for Gaussian, which they are not"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "free"
    after_training: ClassVar[bool] = False
    fitted: ClassVar[tuple[str, ...]] = ("strength",)

    def arm(self, site: Site, lab: Lab) -> Shield:
        """Sends what it is given, and noises what comes back.

        Raises:
            ConfigError: marvell with more than two classes.
        """
        if self.rule == "marvell" and site.classes != 2:
            hint = "Its noise evens out two classes"
            allowed = f"max_norm or iso, for a task of {site.classes} classes"
            raise ConfigError("defences.gradient_noise.rule", got="marvell", allowed=allowed, hint=hint)
        return GradientNoiseShield(self.rule, USUAL if self.strength is None else self.strength)

    @model_validator(mode="after")
    def _strength_of_what(self) -> GradientNoise:
        if self.rule == "max_norm" and self.strength is not None:
            raise ValueError("strength only with rule: marvell or iso; max_norm takes what evens out the lengths")
        return self


class GradientNoiseShield(Shield):
    """The identity on what is sent; on the server, noise on what is returned."""

    reached: Tensor

    def __init__(self, rule: Rule, strength: float) -> None:
        super().__init__()
        self.rule, self.strength = rule, strength
        self.register_buffer("reached", torch.zeros(2, dtype=torch.float64))
        self._last: tuple[marvell.Law, Tensor] | None = None

    @property
    def turns(self) -> bool:  # type: ignore[override]
        """Noise along a gradient can outweigh it."""
        return self.rule == "max_norm"

    def reply(self, gradient: Smashed, y: Tensor) -> Smashed:
        """The noised gradients; draws come from torch's global state, which the training has seeded."""
        rows = flat(gradient)
        noised = {"max_norm": _even, "marvell": self._marvell, "iso": self._iso}[self.rule](rows, y)
        return unflat(noised.to(rows), [tuple(part.shape[1:]) for part in gradient])

    def note(self) -> str:
        """What Marvell reached by its own model of the gradients."""
        count, total = self.reached.tolist()
        if not count:
            return ""
        mean = total / count
        return (
            f"Marvell: sumKL {mean:.3g} a batch in the mean. If the gradients of a class were Gaussian and alike in "
            f"all directions, no attack on one gradient would have an AUC above {marvell.area_bound(mean):.3f}."
        )

    def _iso(self, rows: Tensor, y: Tensor) -> Tensor:
        deviation = (self.strength / rows.shape[1]) ** 0.5 * rows.norm(dim=1).max()
        return rows + deviation * torch.randn_like(rows)

    def _marvell(self, rows: Tensor, y: Tensor) -> Tensor:
        """A batch of one class takes the law of the batch before; the first one, the evening of lengths."""
        known = bool((y == 0).any() and (y == 1).any())
        if known:
            self._last = self._law(rows, y)
        if self._last is None:
            return _even(rows, y)
        law, way = self._last
        if known:
            self.reached += torch.tensor([1.0, law.divergence]).to(self.reached)
        along, across = (torch.tensor(pair).to(rows)[y].sqrt()[:, None] for pair in (law.along, law.across))
        draw = torch.randn_like(rows)
        part = (draw @ way)[:, None] * way
        return rows + along * part + across * (draw - part)

    def _law(self, rows: Tensor, y: Tensor) -> tuple[marvell.Law, Tensor]:
        """The batch's best noise, and the direction from one class's mean gradient to the other's."""
        # gradients late in training are so small that their squares are not: everything is measured in their own unit
        unit = rows.norm(dim=1).max().clamp(min=1e-30)
        sides = [(rows[y == side] / unit).double() for side in (0, 1)]
        means = [side.mean(0) for side in sides]
        apart = means[1] - means[0]
        distance = apart.square().sum().item()
        model = marvell.Model(
            distance=distance,
            variances=tuple((side - mean).square().mean().item() for side, mean in zip(sides, means, strict=True)),  # type: ignore[arg-type]
            share=len(sides[1]) / len(rows),
            dimensions=rows.shape[1],
            power=self.strength * distance,
        )
        law, square = marvell.solve(model), unit.double().item() ** 2
        scaled = marvell.Law(
            (law.along[0] * square, law.along[1] * square), (law.across[0] * square, law.across[1] * square),
            law.divergence,
        )  # fmt: skip
        return scaled, torch.nn.functional.normalize(apart, dim=0).to(rows)


def _even(rows: Tensor, y: Tensor) -> Tensor:
    """Each gradient times 1 + s·N(0, 1), with s such that its mean squared length is that of the longest.

    A gradient of zero has no direction for noise and stays zero.
    """
    lengths = rows.double().norm(dim=1, keepdim=True)
    times = torch.where(lengths > 0, lengths.max() / lengths, 1.0)
    spread = (times.square() - 1).clamp(min=0).sqrt()
    return rows * (1 + spread * torch.randn(len(rows), 1, dtype=spread.dtype, device=rows.device))
