"""What a tracker is given, and what it must be able to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

from unsmash import events
from unsmash.class_archive import file_name
from unsmash.events import Event
from unsmash.records import Run
from unsmash.store import REPORT, RUN, VERDICT, Store
from unsmash.verdicts import Verdict

Ending = Literal["finished", "failed", "stopped"]
"""How an audit or a sweep came to its end"""


@dataclass(frozen=True)
class Group:
    """What the runs of one call belong to."""

    name: str = ""
    """The study's name; empty where it has none"""
    sweep: str = ""
    """Id of the sweep; empty for an audit"""
    images: bool = True
    """Pictures may go to the tracker"""


@dataclass(frozen=True)
class Stored:
    """One run as it lies in the store, with the verdict it had part in."""

    run: Run
    verdict: Verdict | None
    """Of all seeds together; None for a run that failed"""
    folder: Path
    """The run's own"""
    shared: Path
    """Of the first seed's run, where verdict and report lie"""
    name: str
    """Of the variant, else made of what was audited"""

    @cached_property
    def record(self) -> str:
        """Digest of the record as it lies there: another measurement of the same experiment has another."""
        return hashlib.sha256((self.folder / RUN).read_bytes()).hexdigest()[:16]

    @cached_property
    def judged(self) -> str:
        """Digest of the verdict: another budget has another."""
        plain = None if self.verdict is None else asdict(self.verdict)
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def word(self) -> str:
        """The verdict in one word; `failed` where the run did not finish."""
        if self.run.failure is not None:
            return "failed"
        return self.verdict.word if self.verdict is not None else "not judged"

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, or what stopped the run."""
        if self.run.failure is not None:
            return f"Failed in {self.run.failure.stage}: {self.run.failure.message}"
        return self.verdict.sentence if self.verdict is not None else ""

    def happened(self) -> Iterable[Event]:
        """What happened while it was measured."""
        file = self.folder / "events.jsonl"
        return events.read(file) if file.is_file() else ()

    def files(self, *, images: bool) -> list[Path]:
        """What goes along with the figures; without images, none of the network's classes."""
        archives = [file_name(result.name) for result in self.run.classes.attacks] if self.run.classes else []
        own = [RUN, "experiment.yaml", *(archives if images else [])]
        wanted = [*(self.folder / name for name in own), *self.judgement()]
        return [file for file in wanted if file.is_file()]

    def judgement(self) -> list[Path]:
        """Verdict and report: what changes when the same run is judged again."""
        return [file for name in (VERDICT, REPORT) if (file := self.shared / name).is_file()]


class Tracker(Protocol):
    """Where runs are mirrored. Each method may raise whatever its library raises."""

    where: str
    """Its place, in words that may stand in a warning"""

    def add(self, one: Stored) -> None:
        """Mirror a run. One that is there already is not made again; a new verdict on it is."""
        ...

    def close(self, folder: Path | None, ending: Ending) -> None:
        """The call is over; `folder` holds a sweep's own files."""
        ...


def stored(store: Store, runs: Iterable[str], name: str = "") -> list[Stored]:
    """The runs of one experiment, one a seed, as they lie in the store."""
    names = list(runs)
    shared = store.folder(names[0])
    verdict = store.verdict(names[0])
    found = []
    for one in names:
        run = store.load(one)
        judged = None if run.failure is not None else verdict
        called = f"{name}{f', seed {run.seed}' if len(names) > 1 else ''}" if name else label(run)
        found.append(Stored(run, judged, store.folder(one), shared, called))
    return found


def label(run: Run) -> str:
    """What was audited, in a few words: `digits, splitnn at code, laplace(scale=1.0), seed 0`."""
    data = run.experiment.get("data", {}).get("kind", "")
    model = run.split.model if run.split is not None else run.experiment.get("model", {}).get("kind", "")
    named = run.split.defences if run.split is not None else _kinds(run)
    parts = [data, f"{model} at {run.experiment.get('at') or '?'}", " + ".join(named) or "no defence"]
    return ", ".join([part for part in parts if part] + [f"seed {run.seed}"])


def _kinds(run: Run) -> list[str]:
    return [str(one.get("kind", "")) for one in run.experiment.get("defences", ())]
