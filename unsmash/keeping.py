"""What is expensive and shared is made once and kept as a file, also where several processes want it at once.

Whoever wants a file that is not there yet takes its lock, looks again, makes it and lets go; the others wait, and then
find it. The lock belongs to the process, so one that is killed gives it back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from unsmash.lab import Lab

PARTIAL = ".partial"
"""How the names of half-written files end; they begin with a dot"""

PATIENCE = 0.5
"""Seconds without the lock after which it is told that another process has it"""


@contextlib.contextmanager
def alone(file: Path | None, lab: Lab, what: str) -> Iterator[None]:
    """Hold the right to make a file; who else wants to make it waits meanwhile. Without a file nothing is held.

    `what` names it to the user where they wait. A file system without locks holds nobody back: a file is then made
    twice at worst, and each time whole.
    """
    if file is None:
        yield
        return
    from filelock import FileLock, Timeout

    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.parent / f".{file.stem}.lock")
    with contextlib.ExitStack() as held:
        with contextlib.suppress(NotImplementedError, OSError):
            try:
                held.enter_context(lock.acquire(timeout=PATIENCE))
            except Timeout:
                lab.emit("note", "waiting", f"another process is making {what}: waiting for it")
                held.enter_context(lock.acquire())
            _clear(file)
        yield


def save(file: Path, state: Mapping[str, Tensor], told: Mapping[str, str]) -> None:
    """Write tensors, and some text about them, so that a reader sees all of it or nothing."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.stem}.{os.getpid()}-{id(state)}{PARTIAL}")
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    save_file(tensors, str(partial), metadata=dict(told))
    partial.replace(file)


def load(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and the text about them."""
    from safetensors import safe_open

    with safe_open(str(file), "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118


def _clear(file: Path) -> None:
    """Remove what somebody killed while writing this file left; who holds the lock is its only writer."""
    for partial in file.parent.glob(f".{file.stem}.*{PARTIAL}"):
        partial.unlink(missing_ok=True)
