"""SplitGuard: the device finds out whether the server trains the task, by sending wrong labels now and then.

Erdoğan, Küpçü & Çiçek, WPES 2022. A server that trains the task answers a batch with random labels by another gradient,
in length and direction, than a batch with the true ones; one that follows an aim of its own answers both alike. The
paper compares gradients of the device half's first layer. Here it is those of an imaginary layer at the cut, which
scales and shifts every number that is sent: they are made of what crosses the wire alone.
"""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unsmash.defences.base import Defence
from unsmash.errors import Alarm
from unsmash.lab import Lab
from unsmash.split import Shield, Site, Smashed, flat
from unsmash.split.parties import Watch


class SplitGuard(Defence):
    """Sends some batches with random labels; takes no further part when the gradients that return are no different."""

    kind: Literal["split_guard"] = "split_guard"
    share: float = Field(0.1, gt=0, lt=0.5)
    """Share of the batches that are sent with random labels; the device does not learn from them"""
    after: int = Field(20, ge=0, le=1_000_000)
    """First batches, all true: before anything is learned a wrong label is as good as a right one, and a false alarm
    the likelier the slower it starts"""
    least: int = Field(3, ge=1, le=1000)
    """Batches with random labels before the first score"""
    alpha: float = Field(5.0, gt=0, le=1000)
    """Slope of the score's sigmoid (the paper's α)"""
    beta: float = Field(2.0, gt=0, le=1000)
    """Power of the score's sigmoid (the paper's β)"""
    threshold: float = Field(0.9, gt=0, lt=1)
    """Scores below it speak against the server"""
    policy: Literal["voting", "fast"] = "voting"
    """voting: the alarm is given when most of the last scores speak against the server; fast: when one does"""
    votes: int = Field(5, ge=1, le=999)
    """Scores that vote"""

    after_training: ClassVar[bool] = False
    source: ClassVar[str] = "Erdoğan, Küpçü & Çiçek, WPES 2022"
    protects: ClassVar[str] = (
        "Notices a server that pulls the device half where it likes in place of training the task, and goes no "
        "further. All releases sent until then are given away, a server that also trains the task may go "
        "unnoticed, and at inference it protects nothing."
    )
    guarantee: ClassVar[str] = "none"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "training"
    fitted: ClassVar[tuple[str, ...]] = ("share", "after", "least", "alpha", "beta", "threshold", "votes")
    tiny: ClassVar[dict[str, object]] = {"after": 2, "least": 1, "votes": 1}

    @model_validator(mode="after")
    def _odd(self) -> SplitGuard:
        if self.votes % 2 == 0:
            raise ValueError("an odd number of votes, so that most of them can be told")
        return self

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The identity, with a guard."""
        return SplitGuardShield(self, site.classes)


class SplitGuardShield(Shield):
    """Sends what reaches it as it is; in training, the guard watches what comes back."""

    def __init__(self, made: SplitGuard, classes: int) -> None:
        super().__init__()
        self.made, self.classes = made, classes

    def guard(self, lab: Lab) -> Watch | None:
        """A guard that knows nothing yet."""
        return Guard(self.made, self.classes, lab)


class Guard:
    """What the device keeps of the gradients, and the scores it gives the server."""

    def __init__(self, made: SplitGuard, classes: int, lab: Lab) -> None:
        self.made, self.classes = made, classes
        self.draw = lab.generator("labels")
        self.batches = 0
        self.false = False
        self.sets = {"false": Gradients(), "one": Gradients(), "other": Gradients()}
        self.scores: deque[float] = deque(maxlen=made.votes)

    def labels(self, rows: Tensor, y: Tensor) -> Tensor:
        """The true ones; in some batches, for each image a class that is not its own."""
        self.batches += 1
        drawn = torch.rand(1, generator=self.draw).item()
        self.false = self.batches > self.made.after and drawn < self.made.share and self.classes > 1
        if not self.false:
            return y
        shift = torch.randint(1, self.classes, (len(y),), generator=self.draw).to(y)
        return torch.where(y >= 0, (y + shift) % self.classes, y)

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> bool:
        """Keep the gradient with its kind, and after a batch with random labels judge the server.

        Raises:
            Alarm: the server has been found out.
        """
        if self.batches <= self.made.after:
            return True
        at, back = flat(release), flat(gradient)
        vector = torch.cat([(at * back).mean(0), back.mean(0)])
        half = "one" if torch.rand(1, generator=self.draw).item() < 0.5 else "other"
        self.sets["false" if self.false else half].add(vector)
        if self.false and self._ready():
            self._judge()
        return not self.false

    def _ready(self) -> bool:
        least = {"false": self.made.least, "one": 1, "other": 1}
        return all(self.sets[name].count >= number for name, number in least.items())

    def _judge(self) -> None:
        made = self.made
        self.scores.append(score(**self.sets, alpha=made.alpha, beta=made.beta))
        against = sum(one < made.threshold for one in self.scores)
        if made.policy == "fast":
            guilty = self.scores[-1] < made.threshold
        else:
            guilty = len(self.scores) == made.votes and against > made.votes // 2
        if guilty:
            raise Alarm(
                f"the device noticed after {self.batches} batches that the server does not train the task "
                f"({against} of SplitGuard's last {len(self.scores)} scores are below {made.threshold:g})"
            )


class Gradients:
    """A set of gradients, by what the score needs of it."""

    def __init__(self) -> None:
        self.count, self.length, self.sum = 0, 0.0, torch.zeros(())

    def add(self, vector: Tensor) -> None:
        """One more batch's [d]. Kept in double precision: a hijacker's gradients may be very small."""
        vector = vector.detach().double().cpu()
        self.count += 1
        self.length += vector.norm().item()
        self.sum = self.sum + vector

    @property
    def mean(self) -> Tensor:
        """Their mean [d]."""
        return self.sum / self.count

    @property
    def size(self) -> float:
        """Their mean length."""
        return self.length / self.count


def score(false: Gradients, one: Gradients, other: Gradients, *, alpha: float, beta: float) -> float:
    """The paper's score, in (0, 1): near 1 where batches with random labels stand out from all the others, as they do
    with an honest server, and no more than σ(0)^β where they differ as two random halves of the others do.

    S = θ(F, R) · d(F, R) / D − θ(R₁, R₂) · d(R₁, R₂) / D with D = d(F, R) + d(R₁, R₂), and σ(α · S)^β. θ is the angle
    of two sets' means, d the difference of their mean lengths, R the mean of both halves R₁ and R₂.
    """
    both, size = (one.mean + other.mean) / 2, (one.size + other.size) / 2
    apart, within = abs(false.size - size), abs(one.size - other.size)
    total = apart + within
    share = apart / total if total > 0 else 0.5
    raw = angle(false.mean, both) * share - angle(one.mean, other.mean) * (1 - share)
    return (1 / (1 + math.exp(-alpha * raw))) ** beta


def angle(a: Tensor, b: Tensor) -> float:
    """Between two vectors, in radians; a right angle where one of them is zero."""
    lengths = a.norm() * b.norm()
    return math.acos(float((a @ b / lengths).clamp(-1, 1))) if lengths > 0 else math.pi / 2
