"""Learn how much noise each number of a trained network's release bears (Shredder: Mireshghallah et al., ASPLOS 2020).

Network and server stay as they are. Each number gets a location and a scale, learned by the cross-entropy minus a
weight times the mean log scale: what the answer does not need is drowned, what it needs stays. A location moves all
releases alike, so it hides nothing from who knows it; it only helps the server to bear the noise.

The paper learns whole noise tensors, many times over, and draws from that collection; who knows it tries each of them.
Here the noise's distribution itself is learned, through its draws, so that every release has fresh noise of a known law
and an adversary who knows all that was learned still faces it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from unsmash.bounds.regions import Noise, Region
from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split import Fitting, Shield, Site, Smashed, flat, unflat
from unsmash.split.drawn import DrawnShield, device_key, normal, uniform
from unsmash.split.heads import BATCH, known
from unsmash.split.parties import Optimiser

WIDEST = 1e6
"""Largest scale: a number that the server ignores would be drowned ever deeper"""

MEDIAN_FROM = 16
"""Laplace releases from which the median is the better estimate than the mean"""

Law = Literal["laplace", "gaussian"]


class Shredder(Defence):
    """Adds noise whose location and scale were learned for each number, on a trained network that stays as it is."""

    kind: Literal["shredder"] = "shredder"
    when: Literal["always", "inference"] = "inference"
    """Inference only: the noise is learned on the trained network"""
    weight: float = Field(0.1, gt=0, le=1e6)
    """What e times more noise on every number is worth, in units of the cross-entropy (nats)"""
    law: Law = "laplace"
    """Law of the noise"""
    start: float = Field(0.5, gt=0, le=WIDEST)
    """Scale of the noise before anything is learned, in units of the smashed data"""
    epochs: int = Field(8, ge=1, le=10_000)
    """Passes over the training images"""
    rate: float = Field(0.1, gt=0, le=10)
    """Peak learning rate of Adam under a one-cycle schedule, for log scales and for locations over the scale"""
    memoise: bool = False
    """One draw for each input, by a key that stays on the device: repeats tell nothing new"""

    source: ClassVar[str] = "Mireshghallah et al., ASPLOS 2020"
    protects: ClassVar[str] = (
        "Blurs what the trained network's answer needs least, with no new training of the network. "
        "It leaves the numbers that the answer needs nearly as they are, which many candidates are told apart by, and "
        "fresh noise averages out over repeated queries."
    )
    guarantee: ClassVar[str] = "that of its smallest scale where a fixed clip or box stands before it; else none"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "minutes"
    fitted: ClassVar[tuple[str, ...]] = ("weight", "epochs", "rate")
    tiny: ClassVar[dict[str, object]] = {"start": 0.1, "epochs": 1}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """Noise of the starting scale on every number."""
        return ShredderShield(self, site, device_key(lab, self.memoise))

    @model_validator(mode="after")
    def _needs_a_trained_network(self) -> Shredder:
        if self.when == "always":
            raise ValueError("inference: shredder learns its noise on the trained network, it cannot act in training")
        return self


class ShredderShield(DrawnShield):
    """z + location + scale · noise, each number with its own."""

    scale: Tensor
    location: Tensor

    def __init__(self, made: Shredder, site: Site, key: bytes = b"") -> None:
        super().__init__(key)
        self.made, self.shapes = made, site.shapes
        self.register_buffer("scale", torch.full((site.numbers,), made.start))
        self.register_buffer("location", torch.zeros(site.numbers))

    @property
    def noise(self) -> Noise:  # type: ignore[override]
        """The law, with a scale for each number."""
        return Noise(self.made.law, tuple(self.scale.tolist()))

    def quiet(self, z: Smashed) -> Smashed:
        """Moved to the locations."""
        return tuple(
            part + move.to(part) for part, move in zip(z, unflat(self.location[None], self.shapes), strict=True)
        )

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """Noise on every number, of its scale."""
        scales = unflat(self.scale[None], self.shapes)
        return tuple(
            part + scale.to(part) * unit(part, self.made.law, generator)
            for part, scale in zip(quiet, scales, strict=True)
        )

    def fit(self, fitting: Fitting) -> None:
        """Learn location and scale on the trained network, which takes no gradients."""
        if not fitting.trained:
            return
        # the location in units of the starting scale, so that one rate suits both whatever the numbers' size
        log_scale, shift = (nn.Parameter(part) for part in (self.scale.log(), self.location / self.made.start))
        optimiser = Optimiser([log_scale, shift], self.made.rate, self._steps(fitting))
        with fitting.lab.seeded("noise"):
            for x, y in fitting.lab.track(_batches(fitting, self.made.epochs), "fit", total=self._steps(fitting)):
                with torch.no_grad():
                    z = fitting.entering(x)
                    y = known(fitting, z, y)
                rows = flat(z)
                sent = rows + shift * self.made.start + log_scale.exp() * unit(rows, self.made.law, None)
                received = tuple(part.to(like) for part, like in zip(unflat(sent, self.shapes), z, strict=True))
                loss = nn.functional.cross_entropy(fitting.answer(received), y) - self.made.weight * log_scale.mean()
                optimiser.clear()
                loss.backward(inputs=[log_scale, shift])
                optimiser.step()
                log_scale.data.clamp_(-math.log(WIDEST), math.log(WIDEST))
        self.scale.copy_(log_scale.detach().exp())
        self.location.copy_(shift.detach() * self.made.start)

    def _steps(self, fitting: Fitting) -> int:
        return self.made.epochs * -(-len(fitting.images) // BATCH)

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """Laplace: −Σ |difference|/scale; Gaussian: −½ Σ (difference/scale)²: [n, m]."""
        scale = self.scale.double()
        rows, known_rows = flat(release).double() / scale, flat(self.quiet(z)).double() / scale
        if self.made.law == "laplace":
            return -torch.cdist(rows, known_rows, p=1)
        return -torch.cdist(rows, known_rows).square() / 2

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """The mean; of many Laplace releases the median."""
        if self.made.law == "gaussian" or len(releases) < MEDIAN_FROM:
            return super().pool(releases)
        ordered = [torch.stack(parts).sort(0).values for parts in zip(*releases, strict=True)]
        return tuple((part[(len(part) - 1) // 2] + part[len(part) // 2]) / 2 for part in ordered)

    def confine(self, region: Region) -> Region:
        """As large as before: what reaches the shield is only moved."""
        return region

    def note(self) -> str:
        """The scales that were learned."""
        if (self.scale == self.made.start).all():
            return ""
        low, middle, high = self.scale.double().quantile(self.scale.new_tensor([0.05, 0.5, 0.95]).double()).tolist()
        return (
            f"Noise learned on the training images: median scale {middle:.3g}, nine numbers in ten from {low:.3g} to "
            f"{high:.3g}, started at {self.made.start:g}"
        )


def unit(like: Tensor, law: Law, generator: torch.Generator | None) -> Tensor:
    """Numbers of that law with location 0 and scale 1, of that shape; Laplace: a fair sign and a size −ln u."""
    if law == "gaussian":
        return normal(like, generator)
    # the second draw fills the gaps of 2^-24 between the values of the first, or the tail would be made of steps
    info = torch.finfo(like.dtype)
    u = uniform(like, generator) + uniform(like, generator) * (info.eps / 2)
    size = -u.clamp(min=info.tiny).log()
    return torch.where(uniform(like, generator) < 0.5, -size, size)


def _batches(fitting: Fitting, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    order, device = fitting.lab.generator("order"), fitting.lab.device
    for _ in range(epochs):
        for index in torch.randperm(len(fitting.images), generator=order).split(BATCH):
            yield fitting.images[index].to(device), fitting.labels[index].to(device)
