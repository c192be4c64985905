"""Runs handed to every tracker that was asked for; what one misses is a warning, told once, and is tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType

from unsmash.errors import ConfigError
from unsmash.events import Event, Sink, silent
from unsmash.store import Store
from unsmash.tracking.base import Ending, Group, Tracker, stored

KINDS = ("mlflow", "tensorboard")
"""One module of this package each, with `connect(place, out, group)`"""

PATIENCE = 2
"""Refusals in a row after which a tracker is left alone for now"""

Work = Callable[[Tracker], None]


class Mirror:
    """Hands stored runs to trackers. Nothing here raises because of one.

    Used as a context: when it ends, what a tracker missed is tried once more, and a run that failed goes there too.
    """

    def __init__(self, trackers: Sequence[Tracker], store: Store, sink: Sink = silent) -> None:
        self.store, self.sink = store, sink
        self.waiting: list[tuple[Tracker, list[Work]]] = [(tracker, []) for tracker in trackers]
        self.warned: set[str] = set()
        self.folder: Path | None = None

    def add(self, runs: Sequence[str], name: str = "") -> None:
        """Mirror the runs of one experiment, one a seed; the first one's folder holds verdict and report."""
        if not self.waiting or not runs:
            return
        for one in stored(self.store, runs, name):
            for tracker, works in self.waiting:
                works.append(lambda tracker, one=one: tracker.add(one))  # type: ignore[misc]
                self._feed(tracker, works)

    def finished(self, folder: Path) -> None:
        """A sweep is done; `folder` holds its own files."""
        self.folder = folder

    def __enter__(self) -> Mirror:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = str(getattr(error, "run", ""))
        if failed and self.store.has(failed):
            self.add([failed])
        ending: Ending = "finished" if error is None else "failed" if isinstance(error, Exception) else "stopped"
        for tracker, works in self.waiting:
            works.append(lambda tracker: tracker.close(self.folder, ending))
            self._feed(tracker, works)

    def _feed(self, tracker: Tracker, works: list[Work]) -> None:
        """Hand over what waits, in order; after two refusals in a row the rest waits for another time.

        One alone may be about that run, and must not keep the others back.
        """
        refused = 0
        for work in list(works):
            try:
                work(tracker)
            except Exception as error:
                self._warn(tracker, error)
                refused += 1
                if refused == PATIENCE:
                    return
            else:
                refused = 0
                works.remove(work)

    def _warn(self, tracker: Tracker, error: Exception) -> None:
        if tracker.where in self.warned:
            return
        self.warned.add(tracker.where)
        first = (str(error).strip().splitlines() or ["no message"])[0][:200].rstrip(".")
        told = f"{tracker.where} did not take the runs ({type(error).__name__}: {first}); they are stored, and the "
        told += "same command sends what is missing there"
        self.sink(Event("warning", "tracking", told))


def opened(
    track: str | Sequence[str], store: Store, sink: Sink = silent, *, name: str = "", sweep: str = "",
    images: bool = True,
) -> Mirror:  # fmt: skip
    """The mirror of a call, from `KIND[:PLACE]` words. Nothing is contacted before there is something to send.

    Raises:
        ConfigError: no such tracker, or a place it cannot use.
        DependencyError: its package is not installed.
    """
    group = Group(name, sweep, images)
    words = [track] if isinstance(track, str) else list(track)
    return Mirror([_tracker(word, store.root, group) for word in dict.fromkeys(words)], store, sink)


def _tracker(word: str, out: Path, group: Group) -> Tracker:
    kind, _, place = word.strip().partition(":")
    if kind not in KINDS:
        hint = "Write for example --track mlflow or --track tensorboard:FOLDER"
        raise ConfigError("track", got=kind, allowed=KINDS, hint=hint)
    module = import_module(f"unsmash.tracking.{kind}")
    tracker: Tracker = module.connect(place.strip(), out, group)
    return tracker
