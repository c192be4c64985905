"""What an adversary keeps of the gradients that come back in training: for each image and pass, how long and which way.

The loss is a batch's mean, so row i of what comes back is image i's own gradient over the batch's size. A gradient of
many numbers is kept as a count sketch (Charikar, Chen & Farach-Colton 2002): each number goes to one of `WIDTH` places
with a random sign, which keeps the cosine of any two gradients to within about 1/√WIDTH.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from unsmash.errors import UnsmashError
from unsmash.lab import Lab
from unsmash.split.shield import Smashed, flat
from unsmash.threat import Grant
from unsmash.view import View

WIDTH = 512
"""Numbers kept of a gradient's direction; shorter ones are kept as they are"""

IMAGES = 5000
"""Training images whose gradients are kept: the first ones, which are of all classes"""

PASSES = 32
"""Most passes that are kept; of a longer training every second one, or every fourth, …"""


@dataclass(frozen=True)
class Pass:
    """One pass over the training images."""

    number: int
    """Which pass of the training, from 1"""
    norms: Tensor
    """Length of each image's gradient [n], float64; nan where none came back"""
    directions: Tensor
    """The gradients at length 1, or sketches of them [n, d]; zeros where the gradient is zero"""
    batches: Tensor
    """Which batch of the pass each image was in [n]"""


@dataclass
class Recorder:
    """Reads along and keeps the passes."""

    generator: torch.Generator
    passes: list[Pass] = field(default_factory=list)
    _rows: list[Tensor] = field(default_factory=list)
    _gradients: list[Tensor] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _places: tuple[Tensor, Tensor] | None = None
    _number: int = 0
    _stride: int = 1

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> None:
        """Keep a batch; an image that comes up again begins the next pass."""
        if self._seen & set(rows.tolist()):
            self.close()
        self._seen |= set(rows.tolist())
        self._rows.append(rows)
        self._gradients.append(self._sketch(flat(gradient)[rows < IMAGES].cpu()))

    def close(self) -> None:
        """End the pass that is under way."""
        rows = [batch[batch < IMAGES] for batch in self._rows]
        if any(map(len, rows)):
            self._number += 1
            if (self._number - 1) % self._stride == 0:
                self.passes.append(self._pass(rows))
        if len(self.passes) > PASSES:
            self.passes, self._stride = self.passes[::2], 2 * self._stride
        self._rows, self._gradients, self._seen = [], [], set()

    def _pass(self, rows: list[Tensor]) -> Pass:
        where, kept = torch.cat(rows), torch.cat(self._gradients)
        count = max(int(where.max()) + 1, *(len(one.norms) for one in self.passes), 0)
        norms = torch.full((count,), torch.nan, dtype=torch.float64)
        directions = torch.zeros(count, kept.shape[1] - 1)
        batches = torch.zeros(count, dtype=torch.long)
        norms[where] = kept[:, 0].double()
        directions[where] = torch.nn.functional.normalize(kept[:, 1:], eps=1e-30)
        batches[where] = torch.cat([torch.full_like(batch, place) for place, batch in enumerate(rows)])
        return Pass(self._number, norms, directions, batches)

    def _sketch(self, gradients: Tensor) -> Tensor:
        """[n, 1 + d]: the length, then the gradient or its sketch, scaled so that tiny numbers do not vanish."""
        norms = gradients.double().norm(dim=1, keepdim=True)
        unit = (gradients.double() / norms.clamp(min=1e-300)).float()
        if unit.shape[1] > WIDTH:
            if self._places is None:
                to = torch.randint(WIDTH, (unit.shape[1],), generator=self.generator)
                self._places = to, torch.randint(2, (unit.shape[1],), generator=self.generator).float() * 2 - 1
            to, signs = self._places
            unit = torch.zeros(len(unit), WIDTH).index_add_(1, to, unit * signs)
        return torch.cat([norms.float(), unit], 1)


def record(view: View, lab: Lab) -> tuple[Pass, ...]:
    """The passes of the training, kept in the view's memory: who reads along second reads the same.

    Raises:
        UnsmashError: there was no training to read along in.
    """

    def read() -> tuple[Pass, ...]:
        recorder = Recorder(lab.beside("gradients").generator("sketch"))
        view.look_on(recorder)
        recorder.close()
        return tuple(recorder.passes)

    passes = view.memo(frozenset({Grant.GRADIENTS}), "gradients", read)
    if not passes:
        raise UnsmashError("nothing came back, for nothing was trained: set train.epochs to 1 or more")
    return passes
