"""Shields that draw: fresh noise at every call, or one draw for each input by a key that never leaves the device.

With fresh draws, many releases of one input average out the noise. A memoised draw is seeded by a secret key and by
what is about to be sent, so the same input gives the same release however often it is asked for.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from unsmash.lab import Lab
from unsmash.split.shield import Shield, Smashed, flat


class DrawnShield(Shield):
    """A random shield: `quiet` gives what is noised, `draw` noises it. Give it a key and each input has one draw."""

    stochastic = True

    def __init__(self, key: bytes = b"") -> None:
        super().__init__()
        self.key = key
        """Secret of the device; empty draws afresh at every call. Not part of the state that is saved"""

    @property
    def memoised(self) -> bool:  # type: ignore[override]
        """True while it holds a key."""
        return bool(self.key)

    def quiet(self, z: Smashed) -> Smashed:
        """What the noise is put on."""
        return z

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """One release; randomness comes from the generator (on the CPU), or from torch's global state when None."""
        raise NotImplementedError

    def forward(self, z: Smashed) -> Smashed:
        """Fresh draws in training, and without a key; else each row's own draw."""
        quiet = self.quiet(z)
        if not self.key or self.training:
            return self.draw(quiet, None)
        rows = [
            self.draw(tuple(part[i : i + 1] for part in quiet), generator)
            for i, generator in enumerate(self._streams(quiet))
        ]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    def forget(self) -> Shield:
        """Lose the key."""
        self.key = b""
        return self

    def _streams(self, quiet: Smashed) -> list[torch.Generator]:
        """A generator for each row, seeded by the key and the row's bytes."""
        rows = flat(quiet).detach().cpu().numpy()
        seeds = [hashlib.blake2b(row.tobytes(), key=self.key, digest_size=8).digest() for row in rows]
        return [torch.Generator().manual_seed(int.from_bytes(seed, "big") >> 1) for seed in seeds]


def device_key(lab: Lab, memoise: bool) -> bytes:
    """The key of memoised draws, from the lab's stream `key` so that a run can be repeated; empty without."""
    return lab.stream("key").to_bytes(8, "big") if memoise else b""


def normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of that shape, device and type."""
    if generator is None:
        return torch.randn_like(like)
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers evenly in [0, 1) of that shape, device and type."""
    if generator is None:
        return torch.rand_like(like)
    return torch.rand(like.shape, generator=generator, dtype=like.dtype).to(like.device)
