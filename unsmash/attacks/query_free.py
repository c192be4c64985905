"""Query-free: a device half of the adversary's own stands in for the one it may not run.

He, Zhang and Lee, "Model inversion attacks against collaborative inference", ACSAC 2019, and "Attacking and protecting
data privacy in edge-cloud collaborative inference systems", IEEE IoT-J 2020: the server half and the device half's
layers are known, its weights are not and no query is answered. A substitute is trained until the server classifies the
adversary's images by its releases; then it is attacked in the real one's place. Published, nothing but the server ties
the two together. Here the substitute's releases must also have the moments of the victims', class by class as the
server tells them apart, which costs the adversary nothing; `moments=0` leaves that out. The decoder learns on the
substitute, with the defence's fresh noise, and is applied to what was really sent.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.decoding import DecoderPlan, Size, trained_decoder
from unsmash.lab import Lab
from unsmash.substitute import NEEDS, SubstitutePlan, doubted_substitute
from unsmash.threat import Grant
from unsmash.view import View, substituted

TINY = 1e-12


class QueryFree(Attack):
    """Trains a substitute of the device half against the server half, and the residual decoder on the substitute."""

    kind: Literal["query_free"] = "query_free"
    steps: int = Field(100, ge=1, le=100_000)
    """Steps of Adam on the substitute"""
    batch: int = Field(256, ge=4, le=4096)
    """The adversary's images a step"""
    rate: float = Field(0.1, gt=0, le=10)
    """Peak learning rate under a one-cycle schedule, in shares of each weight tensor's size as drawn"""
    answers: float = Field(1.0, ge=0, le=1000)
    """Weight of the server's cross-entropy on the adversary's labelled images"""
    moments: float = Field(5.0, ge=0, le=1000)
    """Weight of the gaps between the moments of the substitute's releases and the victims'; 0 as published"""
    doubt: float = Field(1.0, ge=0, le=10)
    """Noise that the decoder learns with on the substitute's releases, in shares of how far those of a second one
    differ; 0 trusts a single substitute"""
    size: Size = "medium"
    """Rung of the decoder's capacity ladder"""
    epochs: int = Field(5, ge=1, le=1000)
    """The decoder's passes over the adversary's images and their copies"""

    needs: ClassVar[frozenset[Grant]] = NEEDS
    learned: ClassVar[bool] = True
    control_share: ClassVar[float] = 0.9
    title: ClassVar[str] = "Query-free, by a substitute device half"
    tiny: ClassVar[dict[str, object]] = {"size": "small", "epochs": 3, "steps": 200, "batch": 64, "rate": 0.2}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w]."""
        plan = SubstitutePlan(self.steps, self.batch, self.rate, self.answers, self.moments, self.doubt)
        mine = substituted(view, doubted_substitute(view, lab, plan), lab)
        decoder = trained_decoder(mine, lab, DecoderPlan(size=self.size, epochs=self.epochs))
        return tempered(decoder(view.release, lab), view.shadow)


def tempered(guess: Tensor, images: Tensor) -> Tensor:
    """The guess [n, c, h, w], drawn towards the mean image where it varies more than n of these images [m, c, h, w] do.

    What a decoder adds by errors of the substitute varies by itself: of a picture with independent errors on it, the
    share that the picture's variance has in both is the best estimate (Wiener). Two standard errors are left to chance.
    """
    mean, guess = images.mean(0), guess.clamp(0, 1)
    own, found = ((x - mean).flatten(1).square().sum(1) for x in (images, guess))
    most = own.mean() + 2 * own.std(correction=0) / len(guess) ** 0.5
    return mean + (guess - mean) * (most / found.mean().clamp(min=TINY)).clamp(max=1)
