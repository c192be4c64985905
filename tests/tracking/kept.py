"""Stored runs that were not measured: what the tests of trackers are fed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import builders
import numpy as np

from unsmash.auditing import save_pictures
from unsmash.judge import judge
from unsmash.records import Pictures, Run
from unsmash.store import PICTURES, REPORT, RUN, VERDICT, Store, write_record, write_text

EVENTS = [
    {"kind": "start", "stage": "victim", "at": 100.0},
    *({"kind": "tick", "stage": "train", "step": step, "total": 200, "at": 100.0 + step} for step in range(1, 201)),
    {"kind": "tick", "stage": "train", "step": 1, "total": 4, "at": 400.0},
    {"kind": "end", "stage": "victim", "step": 4, "at": 401.0, "data": {"loss": 0.25, "why": "done", "ok": True}},
]


def run(**changes: Any) -> Run:
    """A finished run with a value in every field."""
    whole = builders.full_run()
    shown = Pictures((3, 1), ("worst", "least"), ("zero", "one"), "by rank", 1.25, ("decoder",))
    return dataclasses.replace(whole, **({"failure": None, "pictures": shown} | changes))


def keep(store: Store, *runs: Run, budget: str = "identification>0.05") -> list[str]:
    """Put runs of one experiment into the store, as an audit does."""
    for one in runs:
        if store.has(one.id):
            continue
        with store.writing(one.id) as folder:
            write_record(folder / RUN, one)
            write_text(folder / "experiment.yaml", json.dumps(one.experiment))
            write_text(folder / "events.jsonl", "".join(json.dumps(event) + "\n" for event in EVENTS))
            white = np.full((2, 1, 8, 8), 255, np.uint8)
            save_pictures(folder / PICTURES, {"original": white, "guess/decoder": white // 3})
    first = store.folder(runs[0].id)
    if runs[0].failure is None:
        write_record(first / VERDICT, judge(runs, budget))
        write_text(first / REPORT, f"<!doctype html><p>{budget}")
    return [one.id for one in runs]


def store(folder: Path) -> Store:
    """An empty store."""
    return Store(folder / "runs")
