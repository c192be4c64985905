"""A sweep under way: what has come back so far, and the line that tells it with the time left."""

from __future__ import annotations

import threading
from typing import Any

from unsmash.events import Event, Sink
from unsmash.execute import Job, Outcome, bar
from unsmash.frontier import Entry, settled
from unsmash.frontier_record import Row
from unsmash.report.words import duration, percent, whole
from unsmash.store import REPORT, Store
from unsmash.variants import Plan


class Entries:
    """What has come back so far, and the line that tells it."""

    def __init__(self, plan: Plan, store: Store, sink: Sink) -> None:
        self.plan, self.store, self.sink = plan, store, sink
        self.lock = threading.Lock()
        self.active: set[str] = set()
        self.found: dict[str, Entry] = {}
        self.measured: list[float] = []

    def begin(self, job: Job) -> None:
        """A job starts."""
        with self.lock:
            self.active.add(job.name)
            self.sink(Event("start", job.name))

    def tell(self, name: str, event: Event) -> None:
        """Something happened in a job: it moves the job's bar; only warnings are worth a line."""
        with self.lock:
            shown = bar(name, event)
            if shown is not None and (shown.kind == "warning" or name in self.active):
                self.sink(shown)

    def take(self, outcome: Outcome, slots: int) -> None:
        """A job has come to its end; so many run at a time."""
        variant = next(one for one in self.plan.variants if one.name == outcome.name)
        runs = tuple(self.store.load(name) for name in outcome.runs)
        page = self.store.folder(runs[0].id) / REPORT if runs else None
        href = f"../../{runs[0].id}/{REPORT}" if page and page.is_file() else ""
        plain = variant.study.experiment.model_dump(mode="json")
        entry = settled(Entry(variant.name, plain, runs, href, outcome.failure, outcome.seconds), self.plan.budget)
        assert entry.row is not None
        self.found[variant.name] = entry
        self.measured += [] if outcome.known else [outcome.seconds]
        with self.lock:
            self.active.discard(variant.name)
            kind: Any = "fail" if outcome.failure else "end"
            text = f"{_say(entry.row, outcome)}; {self._left(slots)}"
            told = {"runs": list(outcome.runs), "known": outcome.known, "seconds": outcome.seconds}
            self.sink(Event(kind, variant.name, text, data=told))

    def _left(self, slots: int) -> str:
        """How many are done, and how long the others will take if they take as long as these."""
        done, total = len(self.found), len(self.plan.variants)
        if done == total or not self.measured:
            return f"{done} of {total}"
        each = sum(self.measured) / len(self.measured)
        return f"{done} of {total}, about {duration(each * (total - done) / min(slots, total - done))} left"

    def ordered(self) -> list[Entry]:
        """Every entry, in the study's order."""
        return [self.found[variant.name] for variant in self.plan.variants]


def _say(made: Row, outcome: Outcome) -> str:
    """A row in a few words."""
    if made.failure is not None:
        return f"failed in {made.failure.stage}: {made.failure.message.rstrip('.')}"
    parts = ["known" if outcome.known else "", made.word]
    if made.attack is not None:
        parts.append(f"{whole(made.attack.share.mean * made.attack.share.n)} of {whole(made.attack.share.n)}")
    if made.accuracy is not None:
        parts.append(f"accuracy {percent(made.accuracy.mean)}")
    return ", ".join(part for part in parts if part)
