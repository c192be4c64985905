"""A published loop between two parties: the device and the server each hold a half and an optimiser of their own.

What passes between them is the release and its labels one way, the gradient at the release the other. With optimisers
that treat every weight by itself (SGD, Adadelta, Adam) this is joint training, number for number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unsmash.errors import TrainingError
from unsmash.lab import Lab
from unsmash.reproductions.training import Loop
from unsmash.split import SplitModel, as_tuple
from unsmash.split.parties import HonestServer


class Party:
    """One side's optimiser, and the law by which its learning rate falls from pass to pass."""

    def __init__(self, parameters: Iterable[nn.Parameter], loop: Loop) -> None:
        self.optimiser = loop.optimiser([one for one in parameters if one.requires_grad])
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, loop.decay)

    def clear(self) -> None:
        """Forget the gradients."""
        self.optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One update."""
        self.optimiser.step()

    def passed(self) -> None:
        """A pass over the images is done."""
        self.schedule.step()


def fit_apart(
    model: SplitModel,
    images: Tensor,
    labels: Tensor,
    loop: Loop,
    lab: Lab,
    *,
    after: Callable[[int], Any] = lambda _: None,
) -> None:
    """Train both halves in place on images [n, c, h, w] in [0, 1] with labels [n]; leaves them in eval mode.

    The device's loss has the penalties of its shields besides what comes back. `after` is called with the number of
    each pass that is done, in eval mode.

    Raises:
        TrainingError: the loss was not finite.
    """
    device, server = Party(model.device_parameters(), loop), Party(model.server_parameters(), loop)
    honest = HonestServer(model.answer, server, model.shield.reply)
    model.to(lab.device)
    with lab.seeded("train"):
        for number in range(1, loop.epochs + 1):
            model.train()
            total = 0.0
            for x, y in _batches(images, labels, loop, number, lab):
                device.clear()
                passed = model.shield.steps(as_tuple(model.device(x)))
                release = passed[-1]
                gradient, loss = honest.answer(tuple(part.detach() for part in release), y)
                penalty = model.shield.penalties(x, passed, y)
                if not math.isfinite(loss + penalty.item()):
                    raise TrainingError(f"the loss was not finite in pass {number} of {loop.epochs}")
                ends = [(part, back) for part, back in zip(release, gradient, strict=True) if part.requires_grad]
                ends += [(penalty, torch.ones_like(penalty))] if penalty.requires_grad else []
                torch.autograd.backward([end for end, _ in ends], [back for _, back in ends])
                device.step()
                total += loss * len(x)
            device.passed()
            server.passed()
            lab.epoch("train", number, loss="cross-entropy", train=total / len(images), held=None)
            model.eval()
            after(number)
    model.eval()


def _batches(images: Tensor, labels: Tensor, loop: Loop, number: int, lab: Lab) -> Iterator[tuple[Tensor, Tensor]]:
    order = lab.generator(f"order/{number}")
    rows = torch.randperm(len(images), generator=order) if loop.shuffle else torch.arange(len(images))
    for part in lab.track(rows.split(loop.batch), f"pass {number} of {loop.epochs}"):
        yield images[part].to(lab.device), labels[part].to(lab.device)
