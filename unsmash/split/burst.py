"""Shields that give one answer: the same to the same input by a secret key, and the same to a burst by memory.

A keyed draw makes repeats of the same bytes worthless, but frames that differ by a tremble of the hand have bytes, and
answers, of their own: 64 of them tell a candidate apart as repeats do (measured: a plain label leaks four times its
floor). So the device remembers the frame it answered last, and sends that answer again while the scene is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unsmash.nets import jitter
from unsmash.split.drawn import DrawnShield
from unsmash.split.shield import Fitting, Smashed

NEAR = {"degrees": 5.0, "scale": 0.0, "shift": 0.6 / 14}
"""How frames of one burst differ: by up to 5 degrees, and 0.6 pixels of an image of 28"""

SHARE = 0.99
"""Share of such pairs of frames that lie within one reach of each other"""

ENOUGH = 2000
"""Training images that the reach is measured on"""


class OneAnswer(DrawnShield):
    """Draws by a key of what reached it, not of what it would send: all inputs with one answer would share one draw.

    With `burst`, a session keeps an answer while the frames lie within `burst` × `reach` of the one that was answered.
    """

    reach: Tensor

    def __init__(self, key: bytes, burst: float | None) -> None:
        super().__init__(key)
        self.burst = burst
        self.register_buffer("reach", torch.zeros(()))

    def place(self, z: Smashed) -> Tensor:
        """Where frames lie, as rows [n, d]: their distance says whether the scene is the same."""
        raise NotImplementedError

    def forward(self, z: Smashed) -> Smashed:
        """Fresh draws in training, and without a key; else each input's own draw."""
        if not self.key or self.training:
            return self.draw(self.quiet(z), None)
        # one row at a time: a matrix product may round a row differently in another batch, and would repeat itself less
        rows = [
            self.draw(self.quiet(tuple(part[i : i + 1] for part in z)), generator)
            for i, generator in enumerate(self._streams(z))
        ]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    def session(self, frames: Sequence[Smashed]) -> list[Smashed]:
        """One answer while the scene stays the same: row by row, the last answer again, or this frame's own."""
        if self.burst is None or not frames:
            return super().session(frames)
        sent: list[Smashed] = []
        answered = self.place(frames[0])
        for z in frames:
            place, answer = self.place(z), self(z)
            if sent:
                same = (place - answered).norm(dim=1) <= self.burst * self.reach
                answer = tuple(_where(same, old, new) for old, new in zip(sent[-1], answer, strict=True))
                answered = _where(same, answered, place)
            sent.append(answer)
        return sent

    @torch.no_grad()
    def settle(self, fitting: Fitting) -> None:
        """Set the reach: `SHARE` of pairs of frames of one scene lie within it."""
        if self.burst is None:
            return
        draw, device = fitting.lab.generator("burst"), fitting.lab.device
        apart = []
        for x in fitting.images[:ENOUGH].split(256):
            one, other = (self.place(fitting.entering(jitter(x, draw, **NEAR).to(device))) for _ in range(2))
            apart.append((one - other).norm(dim=1))
        self.reach.copy_(torch.cat(apart).quantile(SHARE))


def _where(rows: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """`one` in these rows, `other` elsewhere."""
    return torch.where(rows.reshape(-1, *[1] * (one.ndim - 1)), one, other)
