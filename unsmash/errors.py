"""Every error unsmash raises on purpose, drawn as a tree.

    UnsmashError
    ├── ConfigError            a setting is wrong: path, what came, what is allowed, what to do
    ├── DataError              images are missing, unreadable or too few
    │   └── ContaminationError the same image stands in two sets that must not share any
    ├── CutError               the model cannot be cut there
    ├── ThreatError            an attack reached for something its threat does not grant
    ├── TrainingError          a training produced numbers that are not finite
    ├── Alarm                  the device's guard took no further part in a training
    ├── BoundError             an attack beat a proven bound: a bug of ours, never a result
    ├── RecordError            a run folder or record cannot be read
    └── DependencyError        an optional package is not installed

The command line prints the message of any of these as one sentence, without a traceback, and leaves with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnsmashError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 2
    """2: the user can put it right. 4: the run itself failed."""


class ConfigError(UnsmashError):
    """A setting is wrong. The sentence names the path, the value, what is allowed and the remedy."""

    def __init__(self, path: str, *, got: object, allowed: object = None, hint: str = "") -> None:
        self.path, self.got, self.allowed, self.hint = path, got, allowed, hint
        names = _names(allowed)
        parts = [f"{path}: got {_show(got)}"]
        if names is not None:
            near = nearest(str(got), names, count=1)
            parts.append(f"allowed: {', '.join(names)}" + (f" (did you mean {near[0]!r}?)" if near else ""))
        elif allowed is not None:
            parts.append(f"allowed: {allowed}")
        super().__init__("; ".join(parts) + (f". {hint}" if hint else "."))


class DataError(UnsmashError):
    """Images are missing, unreadable, too few, or not what the loader was told."""


class ContaminationError(DataError):
    """Sets that must be disjoint share images, found by content. Carries the count and a few examples."""

    def __init__(self, message: str, *, count: int, examples: tuple[str, ...] = ()) -> None:
        self.count, self.examples = count, examples
        super().__init__(message)


class CutError(UnsmashError):
    """The model cannot be cut at the named layer. The sentence says why and which names would do."""


class ThreatError(UnsmashError):
    """An attack asked its view for something that the threat does not grant."""


class TrainingError(UnsmashError):
    """A training went to NaN or infinity. The sentence has the step and the likely cause."""

    exit_code = 4


class Alarm(UnsmashError):  # noqa: N818  it says what happened, and that nothing went wrong
    """The device's guard believes that the server does not train the task, and takes no further part."""

    exit_code = 4


class BoundError(UnsmashError):
    """An attack did better than what is proven possible. The number is not printed; the run fails as a bug."""

    exit_code = 4


class RecordError(UnsmashError):
    """A run folder or run record cannot be read, or was written by an unknown version."""


class DependencyError(UnsmashError):
    """An optional package is missing. The sentence has the command that installs it."""


def nearest(word: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names most like `word`, best first; empty when nothing is close."""
    return difflib.get_close_matches(word, list(names), n=count, cutoff=0.55)


def _names(allowed: object) -> list[str] | None:
    if isinstance(allowed, str) or not isinstance(allowed, Iterable):
        return None
    return [str(name) for name in allowed]


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"
