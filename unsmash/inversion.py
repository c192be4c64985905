"""White-box inversion: images whose release, by the opened device half, is the one that was seen.

All victims descend at once, each by itself: no victim's image depends on who else is attacked. Pixels are projected
onto [0, 1] after each step of Adam; a sigmoid in their place fits far less in as many steps, since most pixels of a
digit lie at its ends. Total variation breaks the ties between images that send the same.

What is random in a release must not be fitted, or the image is one of the noise. So a misfit counts only as far as it
is above what the defence's law lets the truth expect (Morozov's discrepancy principle); below it only the prior acts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unsmash.bounds.regions import Noise
from unsmash.errors import UnsmashError
from unsmash.lab import Lab
from unsmash.search_space import Pixels, Space
from unsmash.split.shield import Shield, Shields, Smashed, as_tuple, flat

PIXELS = 50_000
"""Most pixels that descend at once, which bounds the memory that feature maps take"""

PIXEL = Pixels()
"""Where images are sought when no other space is named"""

LEVEL_DRAWS = 16
"""Releases drawn to estimate the misfit of the truth where its law has no closed form"""

EASED = 0.6
"""Share of the steps over which total variation comes down to its weight"""

ENOUGH = 0.01
"""Share of grey's misfit above the noise below which a victim needs no other start"""


@dataclass(frozen=True)
class Descent:
    """How images are sought."""

    steps: int
    """Steps of Adam"""
    rate: float
    """Its first step's size, in pixels or in directions; falls to a fiftieth along a cosine"""
    tv: float
    """Weight of the mean total variation of a pixel, against the misfit as a share of a grey image's"""
    spread: float = 0.0
    """Least weight of the squared length of numbers near N(0, 1), on the same scale; noise of known size asks for
    more"""
    ease: float = 1.0
    """Total variation is weighed this many times as much at first; it falls to its own weight over three fifths of the
    steps. What is told apart is then the same, and large plain parts are settled before small ones"""

    def weight(self, step: int) -> float:
        """Of total variation at a step."""
        return self.tv * (1 + (self.ease - 1) * max(0.0, 1 - step / (EASED * self.steps)))


@dataclass(frozen=True)
class Found:
    """Where the descent ended."""

    images: Tensor
    """[n, c, h, w] in [0, 1]"""
    misfit: Tensor
    """[n], in the target's unit; never above the start's, unless that is within the noise"""


class Target:
    """What was seen of the victims, and how far an image's release lies from it."""

    def __init__(self, device: nn.Module, shield: Shield, repeats: Sequence[Smashed], lab: Lab) -> None:
        self.device, self.lab = device, lab
        self.shield = copy.deepcopy(shield).to(lab.device)
        self.noise = last_noise(shield)
        self.count = len(repeats)
        rows = torch.stack([flat(release) for release in repeats])
        law = self.noise.law if self.noise else ""
        pooled = flat(repeats[0] if self.count == 1 else shield.pool(repeats))[None]
        # of Gaussian noise the mean tells all; of Laplace noise every release counts
        self.rows = rows.mean(0, keepdim=True) if law == "gaussian" else rows if law == "laplace" else pooled
        scales = self.noise.scales(rows.shape[2]) if self.noise else (1.0,)
        self.scale = torch.tensor(scales, device=lab.device)
        self.half_density = 0.5 if law == "laplace" else 1.0
        """½ where the misfit is −log p, 1 where it is −2 log p, as it is for Gaussian noise or taken to be"""

    def misfit(self, images: Tensor, victims: Tensor) -> Tensor:
        """Of images [n, c, h, w] and the victims they stand for [n]: [n], differentiable.

        Minus twice the log-likelihood for Gaussian noise, minus once for Laplace noise, up to a constant; the squared
        distance from the release without noise where the law is another.
        """
        sent = self._sent(images)
        gap = (self.rows[:, victims].to(sent.device) - sent) / self.scale
        if self.noise and self.noise.law == "laplace":
            return gap.abs().sum((0, 2))
        return gap.square().sum((0, 2)) * (self.count if self.noise else 1)

    @torch.no_grad()
    def misfits(self, images: Tensor) -> Tensor:
        """The misfit of every image [m, c, h, w] for every victim: [n, m] on the CPU."""
        sent = torch.cat([self._sent(part.to(self.lab.device)).cpu() for part in images.split(256)])
        rows, sent = self.rows.cpu() / self.scale.cpu(), sent / self.scale.cpu()
        if self.noise and self.noise.law == "laplace":
            return sum((torch.cdist(one, sent, p=1) for one in rows), torch.zeros(rows.shape[1], len(sent)))
        return torch.cdist(rows[0], sent).square() * (self.count if self.noise else 1)

    def _sent(self, images: Tensor) -> Tensor:
        return flat(self.shield.quiet(as_tuple(self.device(images))))

    @torch.no_grad()
    def level(self, images: Tensor) -> Tensor:
        """The misfit that the truth itself is expected to have, [n]; drawn at the images where no law tells it."""
        if self.noise:
            return torch.full((len(images),), float(self.rows.shape[0] * self.rows.shape[2]), device=images.device)
        if not self.shield.stochastic:
            return torch.zeros(len(images), device=images.device)
        z = as_tuple(self.device(images))
        quiet, total = flat(self.shield.quiet(z)), torch.zeros(len(images), device=images.device)
        with self.lab.seeded("level"):
            for _ in range(LEVEL_DRAWS):
                releases = [self.shield(z) for _ in range(self.count)]
                pooled = releases[0] if self.count == 1 else self.shield.pool(releases)
                total += (flat(pooled) - quiet).square().sum(1)
        return total / LEVEL_DRAWS


def last_noise(shield: Shield) -> Noise | None:
    """The law of the noise, where the last shield alone draws and adds Gaussian or Laplace noise; else None."""
    layers = shield.layers if isinstance(shield, Shields) else [shield]
    if not layers or any(layer.stochastic for layer in layers[:-1]):
        return None
    noise = layers[-1].noise
    return noise if noise and noise.law in ("gaussian", "laplace") else None


def invert(
    target: Target, starts: Sequence[Tensor], plan: Descent, lab: Lab, stage: str, space: Space = PIXEL
) -> Found:
    """Descend from the first start; victims not fitted by it try the next, and so on.

    The space says what moves and what a start is: pixels, and an image [n, c, h, w] in [0, 1], where none is given.
    Of all images passed through, each victim keeps the one of least misfit above the noise and prior together, among
    those that fit no worse than its first start does.

    Raises:
        UnsmashError: no gradient reaches the images.
    """
    best, scale = _measured(target, plan, starts[0], lab, space)
    for place, start in enumerate(starts):
        left = best.unfitted() if place else torch.arange(len(start))
        parts = left.split(max(1, PIXELS // best.images[0].numel())) if len(left) else ()
        progress = iter(lab.track(range(plan.steps * len(parts)), stage))
        for victims in parts:
            found = _descend(target, start[victims], victims, scale.of(victims, lab), plan, progress, lab, space)
            best = best.better(found, victims)
        next(progress, None)
    return Found(best.images, best.misfit)


@dataclass(frozen=True)
class _Kept:
    """The best images so far, all on the CPU or all on the lab's device."""

    images: Tensor
    misfit: Tensor
    excess: Tensor
    """Misfit above the noise, as a share of a grey image's"""
    total: Tensor
    """That and the prior: what is minimised"""

    def better(self, other: _Kept, rows: Tensor | None = None) -> _Kept:
        """The better of both for each of those rows."""
        rows = torch.arange(len(self.misfit), device=self.misfit.device) if rows is None else rows
        wins = other.total < self.total[rows]
        merged = []
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine = mine.clone()
            mine[rows[wins]] = theirs[wins]
            merged.append(mine)
        return _Kept(*merged)

    def unfitted(self) -> Tensor:
        """Victims that may gain from another start."""
        return (self.excess > ENOUGH).nonzero()[:, 0]

    def cpu(self) -> _Kept:
        """The same on the CPU."""
        return _Kept(*(part.cpu() for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.images, self.misfit, self.excess, self.total


@torch.no_grad()
def _measured(target: Target, plan: Descent, start: Tensor, lab: Lab, space: Space) -> tuple[_Kept, _Scale]:
    """The start itself, for all victims, and what misfits are compared with from there."""
    parts, scales = [], []
    size = space.shown(start[:1].to(lab.device))[0].numel()
    for victims in torch.arange(len(start)).split(max(1, PIXELS // size)):
        images = space.shown(start[victims].to(lab.device))
        misfit, scale = target.misfit(images, victims), _Scale.measure(target, images, victims)
        excess = scale.excess(misfit)
        parts.append(_Kept(images, misfit, excess, excess + plan.tv * total_variation(images)).cpu())
        scales.append((scale.grey.cpu(), scale.level.cpu(), scale.length.cpu(), excess.cpu()))
    best = _Kept(*(torch.cat(rows) for rows in zip(*(part._parts() for part in parts), strict=True)))
    return best, _Scale(*(torch.cat(rows) for rows in zip(*scales, strict=True)))


@dataclass(frozen=True)
class _Scale:
    """What misfits are compared with, for each victim by itself."""

    grey: Tensor
    """A grey image's misfit above the noise"""
    level: Tensor
    """The truth's expected misfit"""
    length: Tensor
    """Weight by which the squared length of numbers near N(0, 1) stands to the misfit as prior to likelihood"""

    bound: Tensor
    """Share of it that the first start has: an image with more is not kept"""

    @classmethod
    def measure(cls, target: Target, images: Tensor, victims: Tensor) -> _Scale:
        level = target.level(images)
        misfit = target.misfit(torch.full_like(images, 0.5), victims)
        grey = (misfit - level).clamp(min=1e-3 * misfit).clamp(min=1e-12)
        length = target.half_density * level / target.rows[:, 0].numel() / grey
        return cls(grey, level, length, torch.full_like(grey, math.inf))

    def of(self, victims: Tensor, lab: Lab) -> _Scale:
        """For those victims, on the lab's device."""
        parts = (self.grey, self.level, self.length, self.bound)
        return _Scale(*(part[victims].to(lab.device) for part in parts))

    def excess(self, misfit: Tensor) -> Tensor:
        return (misfit - self.level).clamp(min=0) / self.grey


def _descend(
    target: Target,
    start: Tensor,
    victims: Tensor,
    scale: _Scale,
    plan: Descent,
    progress: Iterator[int],
    lab: Lab,
    space: Space,
) -> _Kept:
    search = space.search(start.to(lab.device), victims)
    optimiser = torch.optim.Adam(search.free, lr=plan.rate)
    kept: _Kept | None = None
    for step in range(plan.steps + 1):
        images, length = search.images(), search.length()
        misfit = target.misfit(images, victims)
        if not misfit.requires_grad:
            raise UnsmashError("no gradient reaches the images: the device half or the defence gives steps only")
        excess, variation = scale.excess(misfit), total_variation(images)
        prior = 0.0 if length is None else scale.length.clamp(min=plan.spread) * length
        total = excess + plan.tv * variation + prior
        allowed = torch.where(excess > scale.bound, math.inf, total)  # never a worse fit than the first start's
        now = _Kept(*(part.detach().clone() for part in (images, misfit, excess, allowed)))
        kept = now if kept is None else kept.better(now)
        if step == plan.steps:
            break
        next(progress, None)
        sought = (excess + plan.weight(step) * variation + prior).sum()
        for numbers, gradient in zip(search.free, torch.autograd.grad(sought, search.free), strict=True):
            numbers.grad = gradient.nan_to_num(0, 0, 0)  # a norm of zeros, as a clip takes it, has no derivative
        optimiser.param_groups[0]["lr"] = plan.rate * (0.51 + 0.49 * math.cos(math.pi * step / plan.steps))
        optimiser.step()
        with torch.no_grad():
            search.settle()
    assert kept is not None
    return kept.cpu()


def total_variation(images: Tensor) -> Tensor:
    """Sum of absolute differences of neighbours, a mean over the pixels: [n, c, h, w] → [n]."""
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).sum(1)
    across = (images[..., 1:] - images[..., :-1]).abs().flatten(1).sum(1)
    return (down + across) / images[0].numel()
