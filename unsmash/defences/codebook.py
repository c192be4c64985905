"""Send one of M symbols and nothing else: the label, the label with its confidence, or the nearest of M prototypes.

One of M values tells apart at most M inputs: among N candidates no attacker finds more than M/N, for any number of
repeats (Issa, Wagner & Kamath 2020). The symbol is picked on the device; gradients pass straight through, as if its
softmax had been sent (Bengio, Léonard & Courville 2013; van den Oord, Vinyals & Kavukcuoglu 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unsmash.bounds.regions import Noise, Region
from unsmash.defences.base import Defence
from unsmash.lab import Lab
from unsmash.split import Fitting, Shield, Site, Smashed
from unsmash.split.burst import OneAnswer
from unsmash.split.drawn import device_key, uniform
from unsmash.split.heads import Head, Table, answers, k_means, learn, sample

OTHER = -1e6
"""Log-likelihood of a candidate that would have sent another symbol: never, but finite, so that repeats add up"""

PACE = 0.05
"""Share of each batch in the running edges of the confidence levels"""

UNUSED = 0.1
"""What a nat costs by which the prototypes are used less evenly than they could be"""

PASSED = 0.1
"""Share of the server's gradient that prototypes follow: all of it costs them 0.7 points of accuracy (measured)"""


class Codebook(Defence):
    """Sends one of M symbols, at most ⌈log₂ M⌉ bits: no attacker finds more than M among any candidates."""

    kind: Literal["codebook"] = "codebook"
    symbols: Literal["label", "levels", "prototypes"] = "label"
    """label: the device's own answer; levels: that and how sure it is; prototypes: one of `size` learned ones"""
    levels: int = Field(5, ge=2, le=1000)
    """Levels of confidence for each label, equally often in training (symbols=levels)"""
    size: int | None = Field(None, ge=2, le=65_536)
    """How many prototypes (symbols=prototypes); unset: five for each class"""
    hidden: int | None = Field(None, ge=1, le=65_536)
    """Units of a hidden layer in the device's head; unset: the head is linear"""
    response: float | None = Field(None, gt=0, le=50)
    """ε of randomised response: the true symbol e^ε times as often as any other one; unset: always the true one"""
    memoise: bool = False
    """One draw for each input, by a key that stays on the device: repeats tell nothing new"""
    burst: float | None = Field(None, gt=0, le=100)
    """One answer while frames stay this near to the one answered; within 1 lie 99 % of one scene's (1.5 does well)"""
    epochs: int = Field(8, ge=1, le=10_000)
    """Passes over the training images where it is put on a trained model"""

    source: ClassVar[str] = "randomised response: Warner 1965; message counts: Issa, Wagner & Kamath 2020"
    protects: ClassVar[str] = (
        "Hides everything but the symbol, from any attacker and for any number of repeats of the same image. "
        "It does not hide the symbol, nor what the changing symbols of many slightly different frames tell together, "
        "nor one image that alone has its symbol."
    )
    guarantee: ClassVar[str] = "at most M messages; with response, ε-local privacy as well"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "training"
    fitted: ClassVar[tuple[str, ...]] = ("epochs",)
    tiny: ClassVar[dict[str, object]] = {"symbols": "levels", "levels": 2, "response": 6.0, "epochs": 1}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The head with its symbols, and the server's table of them."""
        with lab.seeded("head"):
            return CodebookShield(site, self, device_key(lab, self.memoise and self.response is not None))


class CodebookShield(OneAnswer):
    """Smashed data → one symbol, as a one-hot row [n, M]; the server looks the symbol up in a table."""

    smooth = False
    edges: Tensor

    def __init__(self, site: Site, made: Codebook, key: bytes = b"") -> None:
        super().__init__(key, made.burst)
        self.made, self.classes = made, site.classes
        self.levels = made.levels if made.symbols == "levels" else 1
        prototypes = made.symbols == "prototypes"
        outputs = (made.size or 5 * site.classes) if prototypes else site.classes
        self.points = outputs * self.levels
        self.stochastic = made.response is not None
        self.noise = None if made.response is None else Noise("response", made.response)
        self.head = Head(site.shapes, outputs, made.hidden)
        self.reading = nn.Parameter(torch.zeros(outputs, site.classes)) if prototypes else None
        self.receiver = Table(site.shapes, self.points)
        self.register_buffer("edges", torch.arange(1.0, self.levels))

    def forward(self, z: Smashed) -> Smashed:
        """The symbol; in training the levels' edges follow the confidence, so that each stays equally frequent."""
        if self.training and self.levels > 1:
            self.edges.lerp_(self._quantiles(self.head(z)), PACE)
        return super().forward(z)

    def quiet(self, z: Smashed) -> Smashed:
        """The true symbol as a one-hot row, with the gradient of the soft choice."""
        soft = self.soft(self.head(z))
        hard = nn.functional.one_hot(soft.argmax(1), self.points).to(soft.dtype)
        return (hard + (1.0 if self.reading is None else PASSED) * (soft - soft.detach()),)

    def soft(self, logits: Tensor) -> Tensor:
        """The choice before it is made, [n, M]: probabilities of the head, each in the level that is reached."""
        chosen = logits.softmax(1)
        if self.levels == 1:
            return chosen
        level = nn.functional.one_hot(torch.bucketize(confidence(logits), self.edges), self.levels)
        return (chosen[:, :, None] * level[:, None, :]).flatten(1)

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """The true symbol, or under randomised response at times any other one, all alike."""
        if self.made.response is None or self.points == 1:
            return quiet
        symbol = quiet[0].argmax(1, keepdim=True)
        kept = uniform(quiet[0][:, :1], generator) < self._kept(self.made.response)
        step = 1 + (uniform(quiet[0][:, :1], generator) * (self.points - 1)).long().clamp(max=self.points - 2)
        sent = torch.where(kept, symbol, (symbol + step) % self.points)
        hard = nn.functional.one_hot(sent[:, 0], self.points).to(quiet[0].dtype)
        return (hard + (quiet[0] - quiet[0].detach()),)

    def _kept(self, epsilon: float) -> float:
        return 1 / (1 + (self.points - 1) * math.exp(-epsilon))

    def receive(self, release: Smashed) -> Smashed:
        """The symbol's row of the server's table."""
        return self.receiver(release[0])

    def place(self, z: Smashed) -> Tensor:
        """The head's numbers."""
        return self.head(z)

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        """The head learns to tell the classes: by its own numbers, or as its prototypes, weighted, would tell them."""
        logits = self.head(z)
        if self.reading is None:
            return nn.functional.cross_entropy(logits, y)
        told = logits.log_softmax(1) + self.reading.log_softmax(1).T[y]
        used = logits.softmax(1).mean(0)
        return -told.logsumexp(1).mean() + UNUSED * (used * (used * self.points).clamp(min=1e-9).log()).sum()

    def fit(self, fitting: Fitting) -> None:
        """Prototypes start from k-means; on a trained network head and table are trained as well."""
        z, y = sample(fitting)
        if fitting.trained and self.reading is None:
            self.head.start(z, answers(fitting, z))
        if self.reading is not None and (fitting.trained or self.made.hidden is None):
            self._cluster(z, y, fitting.lab.generator("prototypes"))
        elif self.reading is not None:
            self._share_out()
        if self.levels > 1:
            with torch.no_grad():
                self.edges.copy_(self._quantiles(self.head(z)))
        if fitting.trained:
            with torch.no_grad():
                own = self.quiet(z)[0]
            labels = nn.functional.one_hot(y, self.classes).float().repeat_interleave(self.levels, 1)
            self.receiver.start(labels if self.reading is None else own, z)
            learn(self, fitting, self.made.epochs)

    @torch.no_grad()
    def _cluster(self, z: Smashed, y: Tensor, generator: torch.Generator) -> None:
        """Let the head's last layer rank prototypes by distance, as many for each class, and each tell its images'."""
        assert self.reading is not None
        rows, last, classes = self.head.reached(z), self.head.last, self.classes
        each = [self.points * (k + 1) // classes - self.points * k // classes for k in range(classes)]
        members = [rows[y == k] for k in range(classes)]
        if min(each) and min(map(len, members)):
            centres = torch.cat([k_means(m, n, generator) for m, n in zip(members, each, strict=True)])
        else:
            centres = k_means(rows, self.points, generator)
        squares = torch.cdist(rows, centres).square()
        width = squares.min(1).values.mean() / 4
        last.weight.copy_(centres / width)
        last.bias.copy_(-centres.square().sum(1) / (2 * width))
        nearest = nn.functional.one_hot(squares.argmin(1), self.points).to(rows)
        told = nearest.T @ nn.functional.one_hot(y.clamp(min=0), classes).to(rows)
        self.reading.copy_((told + 0.5).log())

    @torch.no_grad()
    def _share_out(self) -> None:
        """Let each prototype tell one class, as many each; an untrained hidden layer has no clusters to start from."""
        assert self.reading is not None
        told = torch.arange(self.points, device=self.reading.device) % self.classes
        self.reading.copy_(math.log(9.0 * self.classes) * nn.functional.one_hot(told, self.classes))

    @torch.no_grad()
    def _quantiles(self, logits: Tensor) -> Tensor:
        return confidence(logits).quantile(torch.arange(1, self.levels).to(logits) / self.levels)

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """By equality of symbols alone: [n, m]; under randomised response log p of the symbol seen."""
        with torch.no_grad():
            same = release[0].argmax(1)[:, None] == self.quiet(z)[0].argmax(1)
        equal = torch.zeros((), dtype=torch.float64, device=same.device)
        return torch.where(same, equal, equal + (OTHER if self.made.response is None else -self.made.response))

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """The most frequent symbol."""
        seen = torch.stack([release[0] for release in releases]).sum(0)
        return (nn.functional.one_hot(seen.argmax(1), self.points).to(seen.dtype),)

    def confine(self, region: Region) -> Region:
        """One of M corners of a simplex."""
        fact = f"The device sends one of {self.points} symbols, whatever the image."
        least = min(math.log2(self.points), region.log2_points)
        corner = math.sqrt(1 - 1 / self.points)
        return Region(self.points, least, l2=corner, premises=(*region.premises, fact))

    def scatter(self, region: Region) -> Region:
        """Another symbol at times, but one of the same."""
        return region

    def wire_bits(self, before: float, z: Smashed, release: Smashed) -> float:
        """The symbol's number, in whole bits."""
        return max(1, math.ceil(math.log2(self.points)))

    def note(self) -> str:
        """What is sent, in words."""
        kinds = {"label": "its own label", "levels": "its own label and how sure it is", "prototypes": "a prototype"}
        return f"The device sends {kinds[self.made.symbols]}, one of {self.points} symbols; the server reads a table."


def confidence(logits: Tensor) -> Tensor:
    """How far the best output stands above the second, [n]: log-odds, which do not saturate as probabilities do."""
    best = logits.topk(min(2, logits.shape[1]), 1).values
    return best[:, 0] - best[:, -1]
