"""A generator: from codes near N(0, 1) to images of the adversary's kind, and how one is learned from its own images.

The built-in one is the decoder of a variational autoencoder (Kingma & Welling, ICLR 2014) whose pixel noise is the
best fitting one at each step (Rybkin, Daniilidis & Levine, ICML 2021): no weight between picture and prior is left to
choose. What it learns depends on the adversary's images, never on a release, so it is kept in the view's memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from unsmash.errors import UnsmashError
from unsmash.lab import Lab
from unsmash.nets import Residual, jitter
from unsmash.search_space import within
from unsmash.threat import Grant
from unsmash.view import View

NEEDS = frozenset({Grant.SHADOW})
"""Grants that learning the built-in generator takes"""

LEAST_NOISE = 1e-4
"""Least variance of a pixel's noise: pages that are all one colour would ask for none"""


class GeneratorPlan(BaseModel):
    """How the built-in generator is learned: everything that its weights depend on besides the view and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    numbers: int = Field(64, ge=1, le=4096)
    """Numbers of a code"""
    width: int = Field(32, ge=1, le=512)
    """Channels of the built-in generator"""
    epochs: int = Field(8, ge=1, le=1000)
    """Its passes over the adversary's images and their copies"""
    copies: int = Field(3, ge=0, le=64)
    """Slightly moved copies of each of the adversary's images"""
    images: int = Field(8000, ge=16, le=1_000_000)
    """Most images it learns from, copies counted: fewer copies are made of a large collection"""


@dataclass(frozen=True)
class Generator:
    """A network [n, q] → images [n, c, h, w], and codes to begin a search from."""

    network: nn.Module
    """In eval mode; what it makes is clamped to [0, 1]"""
    numbers: int
    """q, the numbers of a code; each is near N(0, 1)"""
    known: Tensor | None = None
    """Codes [m, q] of images at hand; None where there are none"""

    def digest(self) -> str:
        """Hash of the network's class, weights and buffers, and of the codes: what its images depend on."""
        known = {} if self.known is None else {"known": self.known}
        digest = hashlib.sha256(f"{type(self.network).__qualname__}|{self.network}|{self.numbers}".encode())
        for name, tensor in {**self.network.state_dict(), **known}.items():
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def require_fit(self, shape: tuple[int, ...], lab: Lab) -> None:
        """Try it.

        Raises:
            UnsmashError: it does not make finite images of that shape.
        """
        made = self.network(torch.zeros(2, self.numbers, device=lab.device))
        if made.shape != (2, *shape) or not made.isfinite().all():
            raise UnsmashError(
                f"the generator makes {tuple(made.shape)} of two codes of {self.numbers} numbers; "
                f"finite images {(2, *shape)} are needed"
            )


def learned_generator(view: View, lab: Lab, plan: GeneratorPlan) -> Generator:
    """The built-in generator of that plan under this view; needs shadow images.

    It draws from streams of its own beside the attack's, so that it is the same whichever attack asks.
    """
    lab = lab.beside("generator")
    key = ("generator", plan, lab.seed, lab.path, str(lab.device))
    return view.memo(NEEDS, key, lambda: _learn(view.shadow, lab, plan))


def _learn(shadow: Tensor, lab: Lab, plan: GeneratorPlan) -> Generator:
    own = shadow[: plan.images]
    copies = min(plan.copies, plan.images // len(own) - 1)
    moved = lab.generator("copies")
    images = torch.cat([own, *(jitter(own, moved) for _ in range(copies))])
    shape = tuple(shadow.shape[1:])
    with lab.seeded("network"):
        encoder = _Encoder(shape, plan.width, plan.numbers).to(lab.device)
        decoder = _Decoder(shape, plan.width, plan.numbers).to(lab.device)
        _train(encoder, decoder, images, lab, plan)
    decoder.eval().requires_grad_(False)
    with torch.no_grad():
        known = torch.cat([encoder(part.to(lab.device))[0].cpu() for part in own.split(256)])
    return Generator(decoder, plan.numbers, known)


def _train(encoder: nn.Module, decoder: nn.Module, images: Tensor, lab: Lab, plan: GeneratorPlan) -> None:
    batch = min(64, len(images))
    steps = plan.epochs * -(-len(images) // batch)
    both = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(both, lr=3e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=max(steps, 2))
    order, noise = lab.generator("order"), lab.generator("noise")
    progress = iter(lab.track(range(steps), "generator"))
    for _ in range(plan.epochs):
        for rows in torch.randperm(len(images), generator=order).split(batch):
            next(progress)
            truth = images[rows].to(lab.device)
            mean, log_variance = encoder(truth)
            drawn = torch.randn(mean.shape, generator=noise).to(mean)
            made = decoder(mean + (0.5 * log_variance).exp() * drawn)
            squared = (made - truth).square().mean()
            loss = 0.5 * truth[0].numel() * (squared + LEAST_NOISE).log() + divergence(mean, log_variance).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(both, 100.0)
            optimiser.step()
            cycle.step()
    next(progress, None)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback–Leibler divergence of N(mean, variance), each number by itself, from N(0, 1), in nats: [n, q] → [n]."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


class _Grid:
    """The coarse grid on which both networks work: a cell is factor² pixels, and the coarsest is two cells wide."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.channels, *self.sides = shape
        self.factor = 2 if max(self.sides) < 48 else 4
        self.cells = [-(-side // self.factor) for side in self.sides]
        self.coarse = [-(-side // 2) for side in self.cells]
        self.numbers = self.channels * self.factor**2
        self.missing = [cell * self.factor - side for cell, side in zip(self.cells, self.sides, strict=True)]


class _Encoder(nn.Module):
    """Images [n, c, h, w] → mean and log-variance of their codes, [n, q] each."""

    def __init__(self, shape: tuple[int, ...], width: int, numbers: int) -> None:
        super().__init__()
        self.grid = grid = _Grid(shape)
        self.image = nn.Conv2d(grid.numbers, width, 3, padding=1)
        self.down = Residual(width, 2 * width, stride=2)
        self.code = nn.Linear(2 * width * grid.coarse[0] * grid.coarse[1], 2 * numbers)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        down, right = self.grid.missing
        padded = nn.functional.pad(images, (0, right, 0, down), mode="replicate")
        maps = self.down(torch.relu(self.image(nn.functional.pixel_unshuffle(padded, self.grid.factor))))
        mean, log_variance = self.code(maps.flatten(1)).chunk(2, 1)
        return mean, log_variance.clamp(-12, 4)


class _Decoder(nn.Module):
    """Codes [n, q] → images [n, c, h, w] in [0, 1]."""

    def __init__(self, shape: tuple[int, ...], width: int, numbers: int) -> None:
        super().__init__()
        self.grid = grid = _Grid(shape)
        self.start = nn.Linear(numbers, 2 * width * grid.coarse[0] * grid.coarse[1])
        self.fine = nn.Conv2d(2 * width, width, 3, padding=1)
        self.body = Residual(width)
        self.out = nn.Conv2d(width, grid.numbers, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        grid = self.grid
        maps = torch.relu(self.start(codes)).reshape(len(codes), -1, *grid.coarse)
        maps = nn.functional.interpolate(maps, size=grid.cells, mode="bilinear", align_corners=False)
        maps = self.body(torch.relu(self.fine(maps)))
        images = nn.functional.pixel_shuffle(self.out(maps), grid.factor)
        return within(0.5 + images[..., : grid.sides[0], : grid.sides[1]])
