"""How the papers trained: a constant learning rate, fixed order of images, and the penalty on what leaves the device.

Our own training (`unsmash.split.train`) has a schedule and shuffles, so a published accuracy is reached with the
published loop only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unsmash.errors import TrainingError
from unsmash.lab import Lab
from unsmash.split import SplitModel, as_tuple

MakeOptimiser = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Loop:
    """A published training loop."""

    epochs: int
    batch: int
    optimiser: MakeOptimiser
    shuffle: bool = False
    """The published code of NoPeekNN and dpsnn takes the images in the file's order, every pass"""
    buffer: int = 0
    """So many images wait, and each is drawn from them by lot, as `tf.data` shuffles; 0: no such buffer"""
    inference: bool = False
    """The layers are never told that this is training, as in the Omniglot study's own loop"""
    decay: float = 1.0
    """What the learning rate is multiplied with after every pass"""


def fit(
    model: SplitModel,
    images: Tensor,
    labels: Tensor,
    loop: Loop,
    lab: Lab,
    *,
    after: Callable[[int], Any] = lambda _: None,
    seen: Callable[[Tensor, Tensor], Any] = lambda answers, labels: None,
) -> None:
    """Train a split model in place on images [n, c, h, w] in [0, 1] with labels [n]; leaves it in eval mode.

    The loss is the cross-entropy of what the server half gives, which applies a softmax of its own where that half ends
    in one, and the penalty of the shields. `after` is called with the number of each pass that is done, in eval mode:
    where it answers True, that was the last; `seen` with the answers to each batch, as they were trained on, and its
    labels.

    Raises:
        TrainingError: the loss was not finite.
    """
    optimiser = loop.optimiser([p for p in model.parameters() if p.requires_grad])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, loop.decay)
    model.to(lab.device)
    with lab.seeded("train"):
        for number in range(1, loop.epochs + 1):
            model.train(not loop.inference)
            total = torch.zeros((), device=lab.device)
            for x, y in _batches(images, labels, loop, number, lab):
                z = as_tuple(model.device(x))
                passed = model.shield.steps(z)
                given = model.serve(passed[-1])
                loss = nn.functional.cross_entropy(given, y)
                (loss + model.shield.penalties(x, passed, y)).backward()
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                total += loss.detach() * len(x)
                seen(given.detach(), y)
            schedule.step()
            mean = (total / len(images)).item()
            if mean != mean:
                raise TrainingError(f"the loss was not finite in pass {number} of {loop.epochs}")
            lab.epoch("train", number, loss="cross-entropy", train=mean, held=None)
            model.eval()
            if after(number) is True:
                break
    model.eval()


def _batches(images: Tensor, labels: Tensor, loop: Loop, number: int, lab: Lab) -> Iterator[tuple[Tensor, Tensor]]:
    order = lab.generator(f"order/{number}")
    rows = torch.randperm(len(images), generator=order) if loop.shuffle else torch.arange(len(images))
    rows = buffered(len(images), loop.buffer, order) if loop.buffer else rows
    for part in lab.track(rows.split(loop.batch), f"pass {number} of {loop.epochs}"):
        yield images[part].to(lab.device), labels[part].to(lab.device)


def buffered(count: int, size: int, draw: torch.Generator) -> Tensor:
    """The order in which a shuffle buffer of that size lets the numbers 0 … count − 1 out, as `tf.data` does.

    Each one out is drawn by lot from those that wait, and the next in line takes its place.
    """
    size = min(size, count)
    waiting, order = list(range(size)), []
    places = torch.randint(size, (count - size,), generator=draw).tolist()
    for place, entering in zip(places, range(size, count), strict=True):
        order.append(waiting[place])
        waiting[place] = entering
    rest = [waiting[place] for place in torch.randperm(size, generator=draw).tolist()]
    return torch.tensor(order + rest)


@torch.no_grad()
def answers(model: SplitModel, images: Tensor, lab: Lab, *, batch: int = 256) -> Tensor:
    """What the whole path answers, shield included, in eval mode: [n, classes] on the CPU."""
    model.eval()
    with lab.seeded("answers"):
        return torch.cat([model(part.to(lab.device)).float().cpu() for part in images.split(batch)])


def accuracy(model: SplitModel, images: Tensor, labels: Tensor, lab: Lab) -> Tensor:
    """1 where the answer is the label, else 0: [n] float64."""
    return (answers(model, images, lab).argmax(1) == labels).double()
