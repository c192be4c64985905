"""Only some feature maps are sent: fixed ones, others for every query, those with most to say, or learned ones.

The mitigation that the README of piyushnags/reconstruction proposes and its code never had; He, Zhang & Lee 2020 weigh
leaving out features as well. On a trained network maps are `learned` by their first-order effect on the loss (Molchanov
et al. 2017), from the first one up.

A map is a slice of a tensor's first dimension: a channel of [c, h, w], a single number of a flat cut. Where several
tensors cross, the choice is made in each by itself: sizes in different layers cannot be compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unsmash.bounds.regions import Region
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.split.drawn import DrawnShield, device_key, uniform
from unsmash.split.masks import misfit, union
from unsmash.split.shield import Fitting, Shield, Site, Smashed, count

IMPOSSIBLE = -1e7
"""Log-likelihood of each map that a candidate cannot have sent"""

MIXED, SCORED, ROUNDS = 20, 512, 16
"""Training steps that mix learned maps; images by which those of a trained network are chosen, in so many rounds"""


class Subset(Defence):
    """Sends a few feature maps (channels, or single numbers of a flat cut) and leaves out the rest."""

    kind: Literal["subset"] = "subset"
    keep: int | None = Field(None, ge=1)
    """Maps sent of each tensor that crosses; unset: half of them"""
    choose: Literal["fixed", "random", "keyed", "topk", "learned"] = "fixed"
    """fixed: once and for all. random: for every query. keyed: for every image, by a secret key. topk: each image's
    largest. learned: those that the task needs most"""

    source: ClassVar[str] = "piyushnags/reconstruction (proposed there, never built); He, Zhang & Lee 2020"
    protects: ClassVar[str] = (
        "Takes away from an attacker what is found in no map that is sent. Maps of a convolution repeat one another, "
        "so a handful of 64 still shows the image, and a fresh choice for every query gives all of them away."
    )
    guarantee: ClassVar[str] = "none of its own; bounds of what follows count fewer numbers"
    tiny: ClassVar[dict[str, object]] = {"keep": 3}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The shield of that choice.

        Raises:
            ConfigError: a tensor has fewer maps than are to be kept.
        """
        fewest = min(shape[0] for shape in site.shapes)
        if self.keep is not None and self.keep > fewest:
            raise ConfigError("defences.subset.keep", got=self.keep, allowed=f"1 to {fewest}, the maps that cross")
        keeps = [self.keep or max(1, shape[0] // 2) for shape in site.shapes]
        if self.choose == "fixed":
            return FixedShield(site.shapes, keeps, lab.generator("choice"))
        if self.choose == "learned":
            return LearnedShield(site.shapes, keeps, lab.generator("choice"))
        if self.choose == "topk":
            return LargestShield(site.shapes, keeps)
        return RandomShield(site.shapes, keeps, key=device_key(lab, self.choose == "keyed"))


class FewerMaps(Shield):
    """Some maps of each tensor, the places of the others hold zeros."""

    indexed = True
    """The choice differs from one image to the next, so it is sent along"""

    def __init__(self, shapes: Sequence[tuple[int, ...]], keeps: Sequence[int], **more: bytes) -> None:
        super().__init__(**more)
        self.shapes, self.keeps = tuple(shapes), tuple(keeps)

    def wire_bits(self, before: float, z: Smashed, release: Smashed) -> float:
        """The maps kept, with a number or a bit for each map that says which, whichever is shorter."""
        pairs = list(zip(self.shapes, self.keeps, strict=True))
        which = sum(min(maps, keep * math.ceil(math.log2(maps))) for (maps, *_), keep in pairs) if self.indexed else 0
        return before * sum(count((keep, *each)) for (_, *each), keep in pairs) / sum(map(count, self.shapes)) + which


class FixedShield(FewerMaps):
    """Some maps, chosen once. The release holds nothing else; the server puts zeros back."""

    indexed = False

    def __init__(self, shapes: Sequence[tuple[int, ...]], keeps: Sequence[int], draw: torch.Generator) -> None:
        super().__init__(shapes, keeps)
        for place, (shape, keep) in enumerate(zip(shapes, keeps, strict=True)):
            self.register_buffer(f"chosen_{place}", torch.randperm(shape[0], generator=draw)[:keep].sort().values)

    @property
    def chosen(self) -> list[Tensor]:
        """Which maps of each tensor are sent."""
        return [self.get_buffer(f"chosen_{place}") for place in range(len(self.shapes))]

    def forward(self, z: Smashed) -> Smashed:
        """Those maps."""
        return tuple(part[:, chosen] for part, chosen in zip(z, self.chosen, strict=True))

    def receive(self, release: Smashed) -> Smashed:
        """The maps in their places, zeros elsewhere."""
        empty = (part.new_zeros(len(part), *shape) for part, shape in zip(release, self.shapes, strict=True))
        return tuple(e.index_copy(1, c, part) for e, c, part in zip(empty, self.chosen, release, strict=True))

    def confine(self, region: Region) -> Region:
        """All facts, of fewer numbers: leaving out the same ones for every input is a projection."""
        sent = _sent(self.shapes, self.chosen)
        sides = tuple(itertools.compress(region.sides, sent))
        return replace(region, numbers=sum(sent), sides=sides, l2=region.radius_l2(), hull=0, hull_radius=0.0)


class LearnedShield(FewerMaps):
    """The maps with the highest scores, zeros elsewhere. Scores are trained with the network, or measured on it."""

    indexed = False

    def __init__(self, shapes: Sequence[tuple[int, ...]], keeps: Sequence[int], draw: torch.Generator) -> None:
        super().__init__(shapes, keeps)
        self.taken = 0  # steps of training
        # all but equal at first, so that the training decides
        self.scores = nn.ParameterList([0.01 * torch.randn(shape[0], generator=draw) for shape in shapes])

    @property
    def chosen(self) -> list[Tensor]:
        """Which maps of each tensor are sent."""
        return [score.topk(keep).indices for score, keep in zip(self.scores, self.keeps, strict=True)]

    def forward(self, z: Smashed) -> Smashed:
        """Those maps; to a score goes the gradient of a gate σ(score), also where the map is left out.

        The first steps of training mix the maps, or the server never learns what those left out would have been worth.
        """
        mixing, gates = 1 - self.taken / MIXED if self.training else 0.0, []
        self.taken += self.training
        for score, keep in zip(self.scores, self.keeps, strict=True):
            lots = score + mixing * torch.randn_like(score) if mixing > 0 else score
            soft = score.sigmoid()
            gates.append(torch.zeros_like(score).index_fill(0, lots.topk(keep).indices, 1) + (soft - soft.detach()))
        return tuple(part * _wide(gate[None], part) for part, gate in zip(z, gates, strict=True))

    def fit(self, fitting: Fitting) -> None:
        """On a trained network: from no maps at all, those are added that lower the loss most, to first order."""
        if not fitting.trained:
            return
        rows = torch.randperm(len(fitting.images), generator=fitting.lab.generator("scores"))[:SCORED]
        ranks = [torch.zeros_like(score) for score in self.scores]
        for turn in range(1, ROUNDS + 1):
            for rank, keep, gain in zip(ranks, self.keeps, _gains(fitting, rows, ranks), strict=True):
                wanted = keep * turn // ROUNDS - int(rank.sum())
                rank[gain.masked_fill(rank > 0, -math.inf).topk(wanted).indices] = 1
        for score, rank in zip(self.scores, ranks, strict=True):
            score.data.copy_(rank)

    def confine(self, region: Region) -> Region:
        """All facts: what is left out is zero for every input."""
        sent = _sent(self.shapes, self.chosen)
        sides = (side if is_sent else 0.0 for side, is_sent in zip(region.sides, sent, strict=False))
        return replace(region, sides=tuple(sides), l2=region.radius_l2(), hull=0, hull_radius=0.0)

    def note(self) -> str:
        """What the choice was made on."""
        return f"Feature maps sent: {' and '.join(map(str, self.keeps))}, chosen on the training images"


def _gains(fitting: Fitting, rows: Tensor, ranks: Sequence[Tensor]) -> list[Tensor]:
    """How much less the loss would be with each map, to first order, where those of rank 1 are sent already."""
    gains = [torch.zeros_like(rank) for rank in ranks]
    for some in rows.split(128):
        z = tuple(part.detach() for part in fitting.entering(fitting.images[some]))
        sent = tuple((part * _wide(rank[None], part)).requires_grad_() for part, rank in zip(z, ranks, strict=True))
        labels = fitting.labels[some].to(z[0].device)
        labels = torch.where(labels < 0, fitting.answer(z).argmax(1), labels)
        slopes = torch.autograd.grad(nn.functional.cross_entropy(fitting.answer(sent), labels), sent)
        for gain, part, slope in zip(gains, z, slopes, strict=True):
            gain -= (part * slope).reshape(*part.shape[:2], -1).sum((0, 2))
    return gains


class LargestShield(FewerMaps):
    """The maps of largest norm of each image, zeros elsewhere."""

    smooth = False

    def forward(self, z: Smashed) -> Smashed:
        """Those maps."""
        sizes = (part.detach().reshape(*part.shape[:2], -1).norm(dim=2) for part in z)
        return tuple(_only(part, size, keep) for part, size, keep in zip(z, sizes, self.keeps, strict=True))


class RandomShield(FewerMaps, DrawnShield):
    """Maps drawn afresh for every query, or by a key for every input; zeros elsewhere."""

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """So many of each tensor's maps, all choices alike."""
        lots = (uniform(part.detach().reshape(*part.shape[:2], -1)[..., 0], generator) for part in quiet)
        return tuple(_only(part, lot, keep) for part, lot, keep in zip(quiet, lots, self.keeps, strict=True))

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """The share of choices that give this release, [n, m]; far below where a map sent is not the candidate's.

        Maps are the same where they differ by no more than the rounding of another batch.
        """
        return torch.stack([_log_share(*one) for one in zip(release, z, self.keeps, strict=True)]).sum(0)

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """Every map that any release holds."""
        return union(releases)


def _log_share(sent: Tensor, true: Tensor, keep: int) -> Tensor:
    """A candidate's own zero maps may be among those sent without being seen: binom(its zero maps, those unseen)."""
    r, t = (part.double().reshape(*part.shape[:2], -1) for part in (sent, true))
    seen, zero = (r != 0).any(2).double(), (t == 0).all(2).sum(1).double()
    unseen = (keep - seen.sum(1, keepdim=True)).expand(-1, len(zero))
    room = torch.maximum(zero.expand_as(unseen), unseen)
    ways = torch.lgamma(room + 1) - torch.lgamma(unseen + 1) - torch.lgamma(room - unseen + 1)
    kept = seen[..., None].expand_as(r).flatten(1)
    return ways + IMPOSSIBLE * (room - zero) - misfit(r.flatten(1), kept, t.flatten(1))


def _only(part: Tensor, ranks: Tensor, keep: int) -> Tensor:
    """The maps of highest rank of each row, zeros elsewhere."""
    return part * _wide(torch.zeros_like(ranks).scatter(1, ranks.topk(keep, 1).indices, 1), part)


def _wide(mask: Tensor, part: Tensor) -> Tensor:
    """One number a map, to be multiplied with all of that map."""
    return mask.reshape(*mask.shape, *[1] * (part.ndim - 2))


def _sent(shapes: Sequence[tuple[int, ...]], chosen: Sequence[Tensor]) -> list[bool]:
    """Of all numbers that reach the shield, which belong to a map that is sent."""
    kept = [(shape, set(maps.tolist())) for shape, maps in zip(shapes, chosen, strict=True)]
    return [index in maps for shape, maps in kept for index in range(shape[0]) for _ in range(count(shape[1:]))]
