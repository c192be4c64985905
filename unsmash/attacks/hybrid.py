"""The decoder's image, then descent by the weights: what was learned starts it, what was sent finishes it.

The decoder is the one that the attack of that name trains, taken from the view's memory where it ran already. The
descent moves as the decoder errs on held-out images: far where it errs much, in the directions that its errors take.
Free pixels would fit the release as well and be worse pictures: what the release does not fix would fill with noise.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unsmash.attacks.base import Attack
from unsmash.decoding import NEEDS, DecoderPlan, Size, TrainedDecoder, trained_decoder
from unsmash.inversion import Descent, Target, invert
from unsmash.lab import Lab
from unsmash.search_space import Doubt
from unsmash.threat import Grant
from unsmash.view import View

BINS = 32
"""Kinds of pixels, by how much the image varies around them, whose errors are told apart"""

LEAST = 1e-3
"""Least width of an error, in pixels' units: where the decoder never erred, it may yet"""


class Hybrid(Attack):
    """Starts from the residual decoder's image and descends to one whose release is the victim's, by the weights."""

    kind: Literal["hybrid"] = "hybrid"
    size: Size = "medium"
    """Rung of the decoder's capacity ladder"""
    epochs: int = Field(5, ge=1, le=1000)
    """The decoder's passes over the adversary's images and their copies"""
    steps: int = Field(60, ge=1, le=100_000)
    """Steps of Adam from the decoder's image"""
    rate: float = Field(0.3, gt=0, le=10)
    """Its first step's size, in deviations of the decoder's error; falls along a cosine"""
    tv: float = Field(0.03, ge=0, le=1000)
    """Weight of the mean total variation, against the misfit as a share of a grey image's"""
    spread: float = Field(1e-5, ge=0, le=1000)
    """Least weight of the squared distance from the decoder's image in deviations of its error, on the same scale;
    behind a random defence it weighs as a prior does against the noise"""

    needs: ClassVar[frozenset[Grant]] = NEEDS | {Grant.WEIGHTS}
    learned: ClassVar[bool] = True
    title: ClassVar[str] = "Decoder, then white-box inversion"
    tiny: ClassVar[dict[str, object]] = {"size": "small", "epochs": 3, "steps": 20}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Images [n, c, h, w] in [0, 1]."""
        # the first frame of a burst is the image as it is
        seen = view.repeats[:1] if view.threat.frames > 1 else view.repeats
        target = Target(view.device, view.shield, seen, lab)
        decoder = trained_decoder(view, lab, DecoderPlan(size=self.size, epochs=self.epochs))
        start = decoder(view.release, lab).clamp(0, 1)
        plan = Descent(self.steps, self.rate, self.tv, self.spread)
        return invert(target, [start], plan, lab, "hybrid", _doubt(decoder, start)).images


def _doubt(decoder: TrainedDecoder, start: Tensor) -> Doubt:
    """How the decoder errs around those images, by what it did on held-out ones.

    The width of the error at a pixel goes by how much the guess varies there: least where it is plain, most along
    edges. In these widths, the directions are the errors' principal ones, each as long as their deviation in it.
    """
    guess = decoder.held_guess.clamp(0, 1)
    errors, busy = decoder.held - guess, _busy(guess)
    edges = _quantiles(busy)
    kind = torch.bucketize(busy, edges).flatten()
    total = torch.zeros(len(edges) + 1).index_add_(0, kind, errors.square().flatten())
    widths = (total / kind.bincount(minlength=len(edges) + 1).clamp(min=1)).sqrt().clamp(min=LEAST)
    relative = (errors / widths[kind].reshape_as(errors)).flatten(1)
    lengths, directions = torch.linalg.svd(relative, full_matrices=False)[1:]
    ways = lengths[:, None] / len(errors) ** 0.5 * directions
    return Doubt(ways, widths[torch.bucketize(_busy(start), edges)])


def _busy(images: Tensor) -> Tensor:
    """Standard deviation of the 3 × 3 pixels around each pixel: [n, c, h, w]."""
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    mean = nn.functional.avg_pool2d(padded, 3, 1)
    return (nn.functional.avg_pool2d(padded.square(), 3, 1) - mean.square()).clamp(min=0).sqrt()


def _quantiles(values: Tensor) -> Tensor:
    """Edges of bins that hold about as many of the values each; fewer where values repeat."""
    ordered = values.flatten().sort().values
    places = torch.arange(1, BINS) * len(ordered) // BINS
    return ordered[places].unique()
