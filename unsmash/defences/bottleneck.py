"""Send a narrow learned code in place of the smashed data: what is not sent cannot leak.

An encoder on the device takes all that crosses to a few numbers, a decoder on the server takes them back (Eshratifar,
Esmaili & Pedram 2019: BottleNet; Shao & Zhang 2020). By itself it proves nothing: its box or ball bounds what noise put
after it must hide, and the fewer the numbers, the further noise goes.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.bounds.regions import Region
from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split import Fitting, Shield, Site, Smashed
from unsmash.split.clip import scaled
from unsmash.split.heads import Head, Table, learn, sample

SPREAD = 0.5
"""Standard deviation of each number at the start, in radii: the squashed range is used, its ends are not reached"""


class Bottleneck(Defence):
    """Sends a few learned numbers instead of everything that crosses the cut."""

    kind: Literal["bottleneck"] = "bottleneck"
    numbers: int = Field(16, ge=1, le=65_536)
    """How many numbers are sent"""
    squash: Literal["tanh", "none", "l2"] = "tanh"
    """tanh: each number into a box; l2: all of them into a ball; none: as they come"""
    radius: float = Field(1.0, gt=0, le=1e6)
    """Half side of the box, radius of the ball"""
    epochs: int = Field(8, ge=1, le=10_000)
    """Passes over the training images where it is put on a trained model"""

    source: ClassVar[str] = "BottleNet: Eshratifar, Esmaili & Pedram 2019; Shao & Zhang 2020"
    protects: ClassVar[str] = (
        "Keeps back what the task does not need, as far as a few numbers cannot carry it, and saves bytes. "
        "It does not stop anyone who holds a list of candidates: without noise the few numbers still tell all apart."
    )
    guarantee: ClassVar[str] = "none by itself; a box or a ball for noise put after it"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "training"
    fitted: ClassVar[tuple[str, ...]] = ("epochs",)
    tiny: ClassVar[dict[str, object]] = {"numbers": 4, "squash": "l2", "epochs": 1}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """Encoder and decoder for these shapes."""
        with lab.seeded("code"):
            return BottleneckShield(site, self)


class BottleneckShield(Shield):
    """Smashed data → a code [n, numbers]; the server decodes it."""

    def __init__(self, site: Site, made: Bottleneck) -> None:
        super().__init__()
        self.made = made
        self.encoder = Head(site.shapes, made.numbers)
        self.receiver = Table(site.shapes, made.numbers)

    def forward(self, z: Smashed) -> Smashed:
        """The code."""
        return (self._squash(self.encoder(z)),)

    def _squash(self, code: Tensor) -> Tensor:
        radius = self.made.radius
        if self.made.squash == "tanh":
            return radius * (code / radius).tanh()
        if self.made.squash == "l2":
            return scaled((code,), radius, 2)[0]
        return code

    def receive(self, release: Smashed) -> Smashed:
        """The decoded code."""
        return self.receiver(release[0])

    def fit(self, fitting: Fitting) -> None:
        """Start from the principal components; on a trained network train both ends by cross-entropy."""
        z, _ = sample(fitting)
        self._start(z)
        if fitting.trained:
            learn(self, fitting, self.made.epochs)

    @torch.no_grad()
    def _start(self, z: Smashed) -> None:
        """Whitened principal components, decoded by least squares."""
        rows = self.encoder.grid.rows(z)
        mean, kept = rows.mean(0), min(self.made.numbers, *rows.shape)
        _, scale, axes = torch.pca_lowrank(rows, kept)
        spread = SPREAD * self.made.radius / (math.sqrt(kept) if self.made.squash == "l2" else 1)
        last = self.encoder.last
        last.weight[:kept] = axes.T * spread / (scale / math.sqrt(len(rows))).clamp(min=1e-6)[:, None]
        last.bias.copy_(-last.weight @ mean)
        codes = with_ones(self._squash(self.encoder(z)))
        solved = torch.linalg.lstsq(codes.double(), rows.double(), driver="gelsd" if codes.is_cpu else None).solution
        self.receiver.linear.weight.copy_(solved[:-1].T)
        self.receiver.linear.bias.copy_(solved[-1])

    def confine(self, region: Region) -> Region:
        """The box or the ball, whatever the image."""
        n, radius, kept = self.made.numbers, self.made.radius, (region.log2_points, region.premises)
        if self.made.squash == "tanh":
            fact = f"tanh keeps each of the {n} numbers between −{radius:g} and {radius:g}."
            return Region(n, kept[0], sides=(2 * radius,) * n, premises=(*kept[1], fact))
        if self.made.squash == "l2":
            fact = f"The {n} numbers are scaled into a ball of radius {radius:g}."
            return Region(n, kept[0], l2=radius, premises=(*kept[1], fact))
        return Region(n, kept[0], premises=kept[1])

    def wire_bits(self, before: float, z: Smashed, release: Smashed) -> float:
        """Each number in 32 bits."""
        return 32.0 * self.made.numbers


def with_ones(codes: Tensor) -> Tensor:
    """The codes with a column of ones, for the bias."""
    return torch.cat([codes, torch.ones_like(codes[:, :1])], 1)
