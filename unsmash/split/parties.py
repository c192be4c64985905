"""The two parties of split training: what the server does with a release, and what the device watches for.

An active adversary is another `Server`; whoever looks on from the device's side, to learn or to guard, is a `Watch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # a shield names its guard, so shields know this module
    from unsmash.split.shield import Smashed

Reply: TypeAlias = "Callable[[Smashed, Tensor], Smashed]"
"""dL/d(release) and the labels → what the server sends back"""


@dataclass
class Optimiser:
    """Adam under a one-cycle schedule; both halves use the same law."""

    parameters: list[nn.Parameter]
    rate: float
    steps: int

    def __post_init__(self) -> None:
        self.adam = torch.optim.Adam(self.parameters, lr=self.rate) if self.parameters else None
        self.cycle = (
            torch.optim.lr_scheduler.OneCycleLR(self.adam, self.rate, total_steps=max(self.steps, 2))
            if self.adam
            else None
        )

    def clear(self) -> None:
        """Forget the gradients."""
        if self.adam:
            self.adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One update and one step of the schedule."""
        if self.adam and self.cycle:
            self.adam.step()
            self.cycle.step()


class Steps(Protocol):
    """What a party needs of its optimiser."""

    def clear(self) -> None:
        """Forget the gradients."""
        ...

    def step(self) -> None:
        """One update."""
        ...


class Server(Protocol):
    """The server's side of split training. An active adversary is another implementation of this."""

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        """Take a release and its labels; give dL/d(release) and the loss, and update the server half."""
        ...


class HonestServer:
    """Trains the server half on cross-entropy and returns the gradient, as its own defence lets it out."""

    def __init__(self, answer: Callable[[Smashed], Tensor], optimiser: Steps, reply: Reply | None = None) -> None:
        self.logits, self.optimiser, self.reply = answer, optimiser, reply

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        """One forward and backward pass of the server half."""
        wire = tuple(part.detach().requires_grad_(part.is_floating_point()) for part in release)
        self.optimiser.clear()
        loss = nn.functional.cross_entropy(self.logits(wire), y)
        loss.backward()
        self.optimiser.step()
        gradient = tuple(part.grad if part.grad is not None else torch.zeros_like(part) for part in wire)
        return (gradient if self.reply is None else self.reply(gradient, y)), loss.item()


class Watch(Protocol):
    """What the device does with its side of the exchange beside training: look on, or guard."""

    def labels(self, rows: Tensor, y: Tensor) -> Tensor:
        """The labels to send for training images `rows` [n], whose true ones are y [n]; a guard may send others."""
        ...

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> bool:
        """Take what was sent for training images `rows` and the gradient that came back; False leaves the device half
        as it is in this step.

        Raises:
            Alarm: the device takes no further part.
        """
        ...


class Onlooker:
    """A watch that changes nothing; base of those that change something."""

    def labels(self, rows: Tensor, y: Tensor) -> Tensor:
        """The true ones."""
        return y

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> bool:
        """Nothing to object to."""
        return True


class Watches(Onlooker):
    """Several watches, each of what the one before it let through."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        self.watches = tuple(watches)

    def labels(self, rows: Tensor, y: Tensor) -> Tensor:
        """As the last of them says."""
        for watch in self.watches:
            y = watch.labels(rows, y)
        return y

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> bool:
        """All see it; one objection is enough."""
        answers = [watch.returned(rows, release, gradient) for watch in self.watches]
        return all(answers)
