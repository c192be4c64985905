"""The lab: where computation happens, with which randomness, and to whom progress is told.

Everything that needs a device, a random number or a progress bar is handed a `Lab`. Random streams are named and hashed
from the seed and the stage's path, so adding or reordering stages never changes another stage's numbers. Draws are made
on the CPU and moved, so CPU and GPU start from the same point.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from unsmash.events import Event, Kind, Sink, silent

T = TypeVar("T")

TICK_SECONDS = 0.1
"""Shortest time between two progress events of one stage"""


@dataclass(frozen=True)
class Lab:
    """Device, seed, named random streams and the event stream of one run."""

    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sink: Sink = silent
    path: str = ""
    """Where in the run we are: `train`, `attack/decoder`; part of every stream's name"""

    def at(self, stage: str) -> Lab:
        """The same lab one level deeper."""
        return replace(self, path=f"{self.path}/{stage}" if self.path else stage)

    def beside(self, stage: str) -> Lab:
        """The same lab at a stage next to this one: what several stages share is drawn from the same streams."""
        parent = self.path.rpartition("/")[0]
        return replace(self, path=f"{parent}/{stage}" if parent else stage)

    def stream(self, name: str) -> int:
        """A 63-bit seed for this seed, path and name."""
        digest = hashlib.sha256(f"{self.seed}|{self.path}|{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def generator(self, name: str) -> torch.Generator:
        """A CPU generator for the named stream. Two calls with one name give the same numbers."""
        return torch.Generator().manual_seed(self.stream(name))

    @contextlib.contextmanager
    def seeded(self, name: str) -> Iterator[None]:
        """Run code that knows only torch's global random state (initialisers, dropout), then put that state back."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.stream(name))
            yield

    def emit(self, kind: Kind, stage: str, text: str = "", **data: Any) -> None:
        """Send one event."""
        self.sink(Event(kind, stage, text, data=data))

    def track(self, steps: Iterable[T], stage: str, total: int | None = None) -> Iterator[T]:
        """Yield the steps and report how far they are, at most ten times a second."""
        size = total if total is not None else (len(steps) if isinstance(steps, Sized) else 0)
        last = 0.0
        for index, step in enumerate(steps):
            yield step
            now = time.monotonic()
            if now - last >= TICK_SECONDS or index + 1 == size:
                last = now
                self.sink(Event("tick", stage, step=index + 1, total=size))

    @contextlib.contextmanager
    def stage(self, name: str, text: str = "") -> Iterator[dict[str, Any]]:
        """Bracket a stage with its start and end; what is put under `say` is told when it ends."""
        self.sink(Event("start", name, text or name))
        told: dict[str, Any] = {}
        try:
            yield told
        except BaseException:
            self.sink(Event("fail", name))
            raise
        self.sink(Event("end", name, str(told.pop("say", "")), data=told))


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU; anything else is torch's own name."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def keep_memory() -> None:
    """Let the C library keep what a step frees for the next one, instead of handing it back to the system.

    glibc trims its heap at twice the largest block it has mapped and freed. A network with layers of a few MiB sits
    right there, and pays for fresh pages at every step: a fifth of the time of a small convolutional one. A block just
    under glibc's limit of 32 MiB, never touched, raises that for the whole process; elsewhere it does nothing.
    """
    torch.empty(31 << 20, dtype=torch.uint8)
