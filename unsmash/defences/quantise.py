"""Few levels for each number: rounding to 2^bits evenly spaced values, plain or dithered.

What can be told apart is counted, not blurred: a release takes at most 2^(bits·numbers) values, whatever the network
and whoever attacks. Rounding up or down at random (dither; Roberts 1962) keeps the mean, and repeats average it out.
Gradients pass straight through the rounding (Bengio, Léonard & Courville 2013).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unsmash.bounds.regions import Region
from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split.drawn import DrawnShield, device_key, uniform
from unsmash.split.shield import Fitting, Shield, Site, Smashed, flat

IMPOSSIBLE = -1e7
"""Log-likelihood of each number that a candidate cannot have sent. Not −inf: one number at the edge of a level, rounded
differently in another batch, must not rule out the truth"""

MOST_IMAGES, MOST_NUMBERS = 1024, 250_000
"""Images, and numbers of each batch of them, that a range is learned from"""


class Quantise(Defence):
    """Rounds each number to one of 2^bits evenly spaced levels; what lies outside their range goes to the ends."""

    kind: Literal["quantise"] = "quantise"
    bits: int = Field(4, ge=1, le=16)
    """Bits a number: 2^bits levels"""
    low: float | None = Field(None, ge=-1e6, le=1e6)
    """Lowest level; unset with high: learned from the training images for each tensor that crosses"""
    high: float | None = Field(None, ge=-1e6, le=1e6)
    """Highest level"""
    cover: float = Field(0.98, gt=0, le=1)
    """Share of the training images' numbers that a learned range covers, the rest cut off evenly on both sides"""
    dither: bool = False
    """Round up or down at random, so that the mean is kept"""
    memoise: bool = False
    """One draw for each input, by a key that stays on the device: repeats tell nothing new. For dither only"""

    source: ClassVar[str] = "Straight-through rounding: Bengio, Léonard & Courville 2013; dither: Roberts 1962"
    protects: ClassVar[str] = (
        "Limits how many messages can be told apart, which helps where few numbers are sent with few bits. It does not "
        "hide images at usual settings: 500 numbers of one bit still name any one of billions."
    )
    guarantee: ClassVar[str] = "at most 2^(bits × numbers) messages, for any attacker; no ε"
    fitted: ClassVar[tuple[str, ...]] = ("cover",)
    tiny: ClassVar[dict[str, object]] = {"bits": 5, "low": -4.0, "high": 4.0, "dither": True}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """Levels for each tensor; a range that is yet to be learned starts as [-1, 1]."""
        fixed = None if self.low is None or self.high is None else (self.low, self.high)
        key = device_key(lab, self.memoise)
        return QuantiseShield(self.bits, len(site.shapes), fixed, cover=self.cover, dither=self.dither, key=key)

    @model_validator(mode="after")
    def _a_range_to_draw_from(self) -> Quantise:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high go together: give both, or neither to learn the range")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("low must be below high")
        if self.memoise and not self.dither:
            raise ValueError("memoise needs dither: without it nothing is drawn")
        return self


class QuantiseShield(DrawnShield):
    """Levels low + step·k, k = 0 … 2^bits − 1. With dither, what is drawn on is each number clamped to their range."""

    smooth = False
    ends: Tensor
    """[tensors, 2]: lowest and highest level"""

    def __init__(
        self,
        bits: int,
        tensors: int,
        fixed: tuple[float, float] | None = None,
        *,
        cover: float = 0.98,
        dither: bool = False,
        key: bytes = b"",
    ) -> None:
        super().__init__(key)
        self.bits, self.fixed, self.cover, self.stochastic = bits, fixed, cover, dither
        self.register_buffer("ends", torch.tensor([fixed or (-1.0, 1.0)] * tensors))

    def forward(self, z: Smashed) -> Smashed:
        """The nearest levels, or drawn ones."""
        return super().forward(z) if self.stochastic else self.quiet(z)

    def quiet(self, z: Smashed) -> Smashed:
        """The nearest levels; with dither the mean of what is drawn."""
        places = self._places(z)
        return self._values(places, places if self.stochastic else tuple(place.round() for place in places))

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """The level above with a chance equal to the way already gone to it, else the level below."""
        places = self._places(quiet)
        below = tuple(place.floor() for place in places)
        up = (uniform(p, generator) < p - b for p, b in zip(places, below, strict=True))
        return self._values(places, tuple(b + u for b, u in zip(below, up, strict=True)))

    def fit(self, fitting: Fitting) -> None:
        """The range that covers a share of the training images' numbers, of a sample of them."""
        if self.fixed:
            return
        draw = fitting.lab.generator("range")
        order = torch.randperm(len(fitting.images), generator=draw)[:MOST_IMAGES]
        with torch.no_grad():
            seen = [fitting.entering(fitting.images[rows]) for rows in order.split(256)]
        tails = torch.tensor([(1 - self.cover) / 2, (1 + self.cover) / 2], dtype=torch.float64)
        for ends, parts in zip(self.ends, zip(*seen, strict=True), strict=True):
            low, high = torch.cat([_some(part, draw) for part in parts]).double().quantile(tails)
            ends.copy_(torch.stack([low, torch.maximum(high, low + 1e-6)]))

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor | None:
        """Σ log(1 − |k − place|), k the level sent: [n, m]; without dither candidates rank by distance."""
        if not self.stochastic:
            return super().log_likelihood(release, z)
        sent, places = flat(self._places(release)).round().double(), flat(self._places(self.quiet(z))).double()
        return torch.stack([_log(1 - (row - places).abs()).sum(1) for row in sent])

    def confine(self, region: Region) -> Region:
        """A box where the range is fixed; without dither, as many values as there are levels, whatever the range."""
        points = region.log2_points if self.stochastic else min(region.log2_points, self._bits(region))
        return self._levels(region, points)

    def scatter(self, region: Region) -> Region:
        """With dither, a release is made of levels too, though repeats tell what lies between them."""
        return self._levels(region, self._bits(region)) if self.stochastic else region

    def wire_bits(self, before: float, z: Smashed, release: Smashed) -> float:
        """The levels' numbers."""
        return self.bits * float(sum(part[0].numel() for part in release))

    def note(self) -> str:
        """What was learned."""
        if self.fixed:
            return ""
        told = ", ".join(f"{low:.3g} to {high:.3g}" for low, high in self.ends.tolist())
        return f"Levels from {told}, learned from the training images: their number is proved, their range is not"

    def _bits(self, region: Region) -> float:
        return float(self.bits * region.numbers)

    def _levels(self, region: Region, points: float) -> Region:
        sides = (self.fixed[1] - self.fixed[0],) * region.numbers if self.fixed else ()
        where = f" from {self.fixed[0]:g} to {self.fixed[1]:g}" if self.fixed else ""
        premise = f"Each number is rounded to one of {2**self.bits} levels{where}."
        return Region(region.numbers, points, sides, premises=tuple(dict.fromkeys((*region.premises, premise))))

    def _places(self, z: Smashed) -> Smashed:
        """Where each number lies, in steps above its tensor's lowest level.

        No gradient outside the range: a change there sends the same, and following it would drive numbers further out.
        """
        steps = zip(z, self._grids(), strict=True)
        return tuple(((part - low) / step).clamp(0, 2**self.bits - 1) for part, (low, step) in steps)

    def _values(self, places: Smashed, codes: Smashed) -> Smashed:
        """The levels' values; the gradient is the place's, as if nothing were rounded."""
        # adding an exact zero keeps each value the same function of its code, so there are no more values than levels
        straight = [code.detach() + (place - place.detach()) for place, code in zip(places, codes, strict=True)]
        return tuple(low + step * code for code, (low, step) in zip(straight, self._grids(), strict=True))

    def _grids(self) -> list[tuple[Tensor, Tensor]]:
        """Lowest level and step of each tensor."""
        return [(low, (high - low) / (2**self.bits - 1)) for low, high in self.ends.unbind()]


def _some(part: Tensor, draw: torch.Generator) -> Tensor:
    """All numbers of a tensor, or so many of them at random."""
    numbers = part.flatten().cpu()
    if len(numbers) <= MOST_NUMBERS:
        return numbers
    return numbers[torch.randint(len(numbers), (MOST_NUMBERS,), generator=draw)]


def _log(chance: Tensor) -> Tensor:
    return torch.where(chance > 0, chance.clamp(min=1e-300).log(), IMPOSSIBLE)
