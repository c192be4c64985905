"""A server that takes over a split training, and decodes what the hijacked device half then sends.

Feature-space hijacking is of Pasquini, Ateniese & Bernaschi, "Unleashing the Tiger", CCS 2021: on images of its own the
server has a pilot encoder and a decoder that undoes it, and it answers each release with the gradient that makes the
device half's output look like the pilot's. Three things differ from the paper, for they measured better (docs/lab.md):

- What is compared is a distance of samples, the energy distance (Székely & Rizzo 2013), in place of a discriminator
  trained by WGAN-GP: nothing has to be learned, and it is as sharp at the first batch as at the last.
- The labels that come with a release tell which of the adversary's own images it is compared to.
- The device's optimiser is Adam at a rate made for an honest training: it takes a step of full length for any gradient
  above its ε of 1e-8, and gradients that agree then tear the device half apart in a few batches. So the server first
  tries how long a gradient may be; the length that is found lies mostly below ε, where it sets the step's length.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from unsmash.decoder_net import DecoderNet
from unsmash.lab import Lab
from unsmash.nets import jitter
from unsmash.pilot import Pilot
from unsmash.split.shield import Shield, Smashed, flat, unflat

COMPANIONS, REMEMBERED, NUMBERS = 512, 320, 8_000_000
"""Most of the adversary's own images, and of the device's last releases, that a release is compared to, and most
numbers in either"""

WIDTH, BLOCKS = 32, 1
"""Channels and residual blocks of the decoder"""

ASTRAY = 0.5
"""Noise on what the decoder learns from, in deviations: a device half never follows the pilot to the end"""

FIRST, SHOWN, SHARE = 1e-11, 0.7, 0.7
"""The first push's length; the shift, in deviations, that ends the probe; the share of the last push that is kept"""


@dataclass(frozen=True)
class HijackPlan:
    """How the server works."""

    practice: int
    """Steps in which the decoder learns to undo the pilot, when the first release has come"""
    batch: int
    """Own images in each of them"""
    rate: float
    """Peak learning rate of Adam in them"""
    labelled: bool
    """Compare a release to own images of its class alone"""
    gain: float
    """Length of the gradient of one release that is far from all of the pilot's; 0: found out first"""


class Hijacker:
    """The server's side, in place of an honest one. It sees releases and labels, and never the device half."""

    def __init__(self, shadow: Tensor, labels: Tensor, shield: Shield, draws: int, plan: HijackPlan, lab: Lab) -> None:
        """`shadow` [m, c, h, w] are its own images with labels [m], −1 where unknown; `shield` is the defence's law;
        `draws` releases of one input are pooled before the decoder gets them.
        """
        self.plan, self.lab, self.draws = plan, lab, draws
        self.shield = copy.deepcopy(shield).to(lab.device).requires_grad_(False)
        self.shadow, self.labels = shadow, labels.to(lab.device)
        self.grey = shadow.mean(0, keepdim=True).to(lab.device)
        self.step = 0
        self.gain = plan.gain

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        """The gradient that pulls these releases towards the pilot's, and how far they are from them."""
        if self.step == 0:
            self._begin(release)
        self.step += 1
        shapes, sent = [tuple(part.shape[1:]) for part in release], flat(release)
        with self.lab.seeded(f"answer/{self.step}"):
            pull, distance = self._pull(sent, y)
        push = None if self.gain else self.probe(sent)
        if push is None:
            self.gain = self.gain or self.probe.found
            push = self.gain * pull
        return unflat(push / len(y), shapes), distance

    def _begin(self, release: Smashed) -> None:
        self.probe = Probe(release, self.lab.generator("probe"))
        with self.lab.seeded("networks"):
            like = tuple(part.cpu() for part in self.shield.receive(release))
            self.pilot = Pilot(self.shadow, like, self.lab.generator("pilot")).to(self.lab.device)
            shapes = [tuple(part.shape[1:]) for part in release]
            self.decoder = DecoderNet(shapes, tuple(self.shadow.shape[1:]), WIDTH, BLOCKS).to(self.lab.device)
            with torch.no_grad():
                self.decoder.standardise(self.shield(self.pilot(self._own(torch.arange(min(256, len(self.shadow)))))))
        self._practise()
        with torch.no_grad():
            parts = [self.pilot(self._own(rows)) for rows in torch.arange(len(self.shadow)).split(256)]
        self.led = tuple(torch.cat([part[index] for part in parts]) for index in range(len(parts[0])))
        self.remembered, self.past = flat(release)[:0], self.labels[:0]
        self.room = max(len(release[0]), min(REMEMBERED, NUMBERS // flat(release).shape[1]))

    def _practise(self) -> None:
        """The decoder learns to undo the pilot, and the pilot to be undone, through the defence."""
        adam = torch.optim.Adam(self.decoder.parameters(), lr=self.plan.rate)
        cycle = torch.optim.lr_scheduler.OneCycleLR(adam, self.plan.rate, total_steps=max(self.plan.practice, 2))
        draw = self.lab.generator("practice")
        with self.lab.seeded("practice"):
            for _ in range(self.plan.practice):
                rows = torch.randint(len(self.shadow), (self.plan.batch,), generator=draw)
                x = jitter(self.shadow[rows], draw).to(self.lab.device)
                z = self.pilot(x)
                sent = [self.shield(z) for _ in range(self.draws)]
                seen = sent[0] if self.draws == 1 else self.shield.pool(sent)
                error = (self._decoded(self._astray(seen)) - x).square().mean()
                adam.zero_grad(set_to_none=True)
                error.backward()
                adam.step()
                cycle.step()

    def _astray(self, release: Smashed) -> Smashed:
        """Releases as a device half sends them that follows the pilot, but not to the end."""
        return tuple(part + ASTRAY * part.std() * torch.randn_like(part) for part in release)

    def _own(self, rows: Tensor) -> Tensor:
        return self.shadow[rows].to(self.lab.device)

    def _decoded(self, release: Smashed) -> Tensor:
        return self.decoder(release, self.grey.expand(len(release[0]), -1, -1, -1))

    @torch.no_grad()
    def decode(self, release: Smashed) -> Tensor:
        """What the decoder makes of releases: [n, c, h, w] on the CPU."""
        rows = torch.arange(len(release[0])).split(256)
        return torch.cat(
            [self._decoded(tuple(part[one].to(self.lab.device) for part in release)).cpu() for one in rows]
        )

    @torch.no_grad()
    def _pull(self, sent: Tensor, y: Tensor) -> tuple[Tensor, float]:
        """The energy distance's gradient at each release [n, d], and the distance up to a constant."""
        count = min(COMPANIONS, len(self.shadow), max(len(sent), NUMBERS // sent.shape[1]))
        rows = torch.randperm(len(self.shadow))[:count].to(sent.device)
        goals = flat(self.shield(tuple(part[rows] for part in self.led)))
        self.remembered = torch.cat([sent, self.remembered])[: self.room]
        self.past = torch.cat([y, self.past])[: self.room]
        there, far = self._away(sent, y, goals, self.labels[rows])
        here, near = self._away(sent, y, self.remembered, self.past)
        return there - here, (2 * far - near).mean().item()

    def _away(self, sent: Tensor, y: Tensor, points: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean unit vector from these points to each release, and the mean distance: over points of its class where
        there are some, else over all.
        """
        same = (classes[None] == y[:, None]) & (y[:, None] >= 0) & self.plan.labelled
        same |= ~same.any(1, keepdim=True)
        away = torch.cdist(sent, points)
        weight = same / same.sum(1, keepdim=True)
        unit = weight / away.clamp(min=1e-6) * (away > 1e-6)
        return sent * unit.sum(1, keepdim=True) - unit @ points, (weight * away).sum(1)


class Probe:
    """How long a gradient may be: all images are pushed one way, three times as hard at each batch, until it shows."""

    def __init__(self, release: Smashed, draw: torch.Generator) -> None:
        signs = [torch.randn(1, len(part[0]), *[1] * (part.ndim - 2), generator=draw).sign() for part in release]
        way = flat(tuple(sign.to(part).expand_as(part[:1]) for sign, part in zip(signs, release, strict=True)))
        self.way = way / way.norm()
        self.gain, self.start, self.spread = FIRST, 0.0, 0.0

    def __call__(self, sent: Tensor) -> Tensor | None:
        """The next push for these releases [n, d]; None once the last has shown, or would be longer than 1."""
        along = (sent @ self.way.T).squeeze(1)
        if not self.spread:
            self.start, self.spread = along.mean().item(), max(along.std(correction=0).item(), 1e-12)
        if abs(along.mean().item() - self.start) > SHOWN * self.spread or self.gain >= 1:
            return None
        self.gain = min(3 * self.gain, 1.0)
        return self.gain * self.way.expand_as(sent)

    @property
    def found(self) -> float:
        """The length to go on with: less than what showed; 1 where nothing did, for Adam's steps are short enough."""
        return 1.0 if self.gain >= 1 else SHARE * self.gain
