"""One stream of progress events, and the sinks that show or store it.

Library code emits; it never prints. A sink is any callable that takes an `Event`: `JsonLines` appends to a run's
`events.jsonl`, `Console` draws a bar with an estimate on standard error, `Fan` hands each event to several sinks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

Kind = Literal["start", "tick", "end", "fail", "note", "finding", "warning", "epoch"]


@dataclass(frozen=True)
class Event:
    """One thing that happened: a stage started, advanced or ended, or something worth saying was found."""

    kind: Kind
    stage: str
    """Name of the stage, such as `train` or `decoder`"""
    text: str = ""
    """One sentence for people"""
    step: int = 0
    """Steps done so far, counted in the stage's own unit"""
    total: int = 0
    """Steps in all; 0 when unknown"""
    at: float = field(default_factory=time.time)
    """Seconds since the epoch"""
    data: dict[str, Any] = field(default_factory=dict)
    """Figures for machines"""


Sink = Callable[[Event], None]


def silent(event: Event) -> None:
    """The sink that drops everything."""


class Fan:
    """Hands every event to each of several sinks."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self.sinks = tuple(sinks)

    def __call__(self, event: Event) -> None:
        """Pass the event on."""
        for sink in self.sinks:
            sink(event)


class JsonLines:
    """Appends each event as one JSON line to a file; lines are flushed, so a killed run keeps what it had."""

    def __init__(self, path: Path) -> None:
        torn = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self.file: IO[str] = path.open("a", encoding="utf-8")
        self.file.write("\n" if torn else "")

    def __call__(self, event: Event) -> None:
        """Write one line."""
        self.file.write(json.dumps(asdict(event), ensure_ascii=False) + "\n")
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Console:
    """Draws each stage as a line with a bar and the time left; quiet stages under two seconds leave one line only."""

    def __init__(self) -> None:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.terminal = Terminal(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("  {task.description:<26}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.terminal,
            transient=True,
        )
        self.tasks: dict[str, TaskID] = {}
        self.started: dict[str, float] = {}

    def heading(self, text: str) -> None:
        """Print the line that stands above the stages."""
        self.terminal.print(text, markup=False, style="bold", soft_wrap=True)

    def __enter__(self) -> Console:
        self.progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "start":
            self.started[event.stage] = event.at
            self.tasks[event.stage] = self.progress.add_task(event.text or event.stage, total=event.total or None)
        elif event.kind == "tick" and self.tasks:
            # a stage's work may count under a name of its own (`train` in `victim`): it moves the innermost bar
            stage = event.stage if event.stage in self.tasks else list(self.tasks)[-1]
            said = event.text or None  # what a long stage is at just now
            self.progress.update(self.tasks[stage], completed=event.step, total=event.total or None, description=said)
        elif event.kind == "end":
            self._finish(event, "✓", "green")
        elif event.kind == "fail":
            self._finish(event, "✗", "red")
        elif event.kind == "warning":
            self._line(("!", "yellow"), f" {event.text}")
        elif event.kind in ("note", "finding"):
            self._line(event.text)

    def _finish(self, event: Event, mark: str, colour: str) -> None:
        if event.stage in self.tasks:
            self.progress.remove_task(self.tasks.pop(event.stage))
        took = event.at - self.started.pop(event.stage, event.at)
        self._line((mark, colour), f" {event.stage:<26}", (f"{took:6.1f} s", "dim"), f"  {event.text}")

    def _line(self, *parts: str | tuple[str, str]) -> None:
        # one call a line: what stands before a line's end is overdrawn by the bars
        from rich.text import Text

        self.progress.console.print(Text.assemble("  ", *parts), soft_wrap=True)


def read(path: Path) -> Iterator[Event]:
    """The events of a run's `events.jsonl`; a half-written last line is left out."""
    for line in path.read_bytes().split(b"\n"):  # str.splitlines would also split inside a text, at U+2028 and others
        try:
            yield Event(**json.loads(line))
        except (ValueError, TypeError):
            continue
