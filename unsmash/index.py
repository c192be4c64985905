"""Summaries of all stored runs, read fast: `runs/index.db` remembers them, and the run folders stay the truth.

The index is made of nothing but the folders. Each run is written with its summary beside the record, which counts while
it is the newest of record, verdict and summary; where it is not, record and verdict are read. In the index a summary
counts while size and time of the run's record and verdict are what they were; others are read anew. The file is never
written in place: a new one takes its place as a whole, so that several processes may list the same folder at once. One
that is damaged, of another version, or in a folder that cannot be written costs time and changes nothing. No torch.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import astuple, fields
from pathlib import Path

from unsmash.errors import RecordError
from unsmash.judge import judge
from unsmash.records import Run
from unsmash.run_reading import load_figures
from unsmash.store import RUN, VERDICT, Store, write_text
from unsmash.summary import Summary, summarise

FILE = "index.db"
SUMMARY = "summary.json"
VERSION = 1
"""Raised when a summary's meaning changes; an index of another version is made anew"""
FEW = 32
"""Runs that are read as fast without an index"""

_NAMES = tuple(field.name for field in fields(Summary))


def summaries(store: Store) -> list[Summary]:
    """Every complete run in short, oldest first.

    Raises:
        RecordError: a record cannot be read.
    """
    folders = store.folders()
    known = _read(store.root / FILE) if len(folders) > FEW else {}
    found: dict[str, tuple[str, Summary]] = {}
    for folder in folders:
        stamp = _stamp(folder)
        held = known.get(folder.name)
        summary = held[1] if held is not None and held[0] == stamp else _summary(store, folder)
        found[folder.name] = (stamp, summary)
    if len(folders) > FEW and found != known:
        _write(store.root / FILE, found)
    return [summary for _, summary in found.values()]


def remember(store: Store, run: Run, word: str) -> None:
    """Write a run's summary beside its record; `word` is the verdict's."""
    write_text(store.folder(run.id) / SUMMARY, f"{VERSION}\n{_text(summarise(run, word))}\n")


def _kept(folder: Path) -> Summary | None:
    """The summary that was written with a run; None where something is newer, or it cannot be read."""
    try:
        written = (folder / SUMMARY).stat().st_mtime_ns
        newest = max((folder / name).stat().st_mtime_ns for name in (RUN, VERDICT) if (folder / name).is_file())
        if written < newest:
            return None
        version, _, text = (folder / SUMMARY).read_text(encoding="utf-8").partition("\n")
        return _restored(text) if version == str(VERSION) else None
    except (OSError, ValueError, TypeError):
        return None


def _stamp(folder: Path) -> str:
    """Size and time of what a summary is made of."""
    parts = []
    for name in (RUN, VERDICT):
        with suppress(FileNotFoundError):
            told = (folder / name).stat()
            parts.append(f"{name} {told.st_size} {told.st_mtime_ns} {told.st_ino}")
    return ", ".join(parts)


def _summary(store: Store, folder: Path) -> Summary:
    """A run in short, from its folder."""
    if (kept := _kept(folder)) is not None:
        return kept
    file = folder / RUN
    try:
        run = load_figures(file.read_text(encoding="utf-8"))
    except RecordError as error:
        raise RecordError(f"{file}: {error}") from None
    if run.failure is not None:
        return summarise(run, "failed")
    verdict = store.verdict(folder.name)
    return summarise(run, verdict.word if verdict else judge([store.load(folder.name)], run.budget).word)


def _read(file: Path) -> dict[str, tuple[str, Summary]]:
    """What an index holds; nothing where there is none that can be used."""
    if not file.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            if opened.execute("PRAGMA user_version").fetchone() != (VERSION,):
                return {}
            rows = opened.execute("SELECT run, stamp, summary FROM summaries").fetchall()
            return {run: (stamp, _restored(text)) for run, stamp, text in rows}
    except (sqlite3.Error, ValueError, TypeError):
        return {}


def _restored(text: str) -> Summary:
    values = dict(zip(_NAMES, json.loads(text), strict=True))
    return Summary(**(values | {"figures": [tuple(figure) for figure in values["figures"]]}))


def _write(file: Path, found: dict[str, tuple[str, Summary]]) -> None:
    """Put a new index in the old one's place; a folder that cannot be written is left without."""
    part = file.with_name(f".{FILE}.{os.getpid()}.{threading.get_ident()}.part")
    with suppress(OSError, sqlite3.Error):
        try:
            _fill(part, ((run, stamp, _text(summary)) for run, (stamp, summary) in found.items()))
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)


def _text(summary: Summary) -> str:
    return json.dumps(astuple(summary), ensure_ascii=False)


def _fill(part: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    with closing(sqlite3.connect(part)) as opened, opened:
        opened.execute("PRAGMA journal_mode = OFF")  # nobody reads the file before it is whole
        opened.execute(f"PRAGMA user_version = {VERSION}")
        opened.execute("CREATE TABLE summaries (run TEXT PRIMARY KEY, stamp TEXT NOT NULL, summary TEXT NOT NULL)")
        opened.executemany("INSERT INTO summaries VALUES (?, ?, ?)", rows)
