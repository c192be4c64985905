"""Forty experiments over four victims, by one worker and by two: `python benchmarks/workers.py [repeats]`.

Both ways in turn, each in an empty store. Printed: wall time and the ratio; how many networks were trained (counted in
the runs' own event logs); whether both stores hold the same bits; how long it takes until the first job really begins
(images, the check of every variant, the processes' start: once, however long the study is); and what scheduling costs,
which is the workers' time after that outside their jobs (waiting, the last job alone, the frontier's page) as a share
of the time inside. One worker has as many threads as each of two; the figure with both cores for one stands beside it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import unsmash
from unsmash.events import Event
from unsmash.store import Store

STUDY: dict[str, Any] = {
    "data": {"kind": "mnist5k", "train": 600, "shadow": 600, "validator": 200, "val": 100, "victims": 60},
    "attacks": ["lookalike", "ridge", {"kind": "decoder", "size": "small", "epochs": 4, "copies": 1}, "gallery"],
    "sweep": {
        "model": ["splitnn", "shallow_net"],
        "train.epochs": [2, 4],
        "defences": [
            [], *([{"kind": "laplace", "scale": scale, "when": "inference"}] for scale in (0.25, 0.5, 1.0, 2.0, 4.0)),
            *([{"kind": "gaussian", "sigma": sigma, "when": "inference"}] for sigma in (0.5, 1.0, 2.0, 4.0)),
        ],
    },
}  # fmt: skip
ALONE, BOTH, TWO = "one worker, one thread", "one worker, two threads", "two workers"
WAYS = {ALONE: (1, 1), BOTH: (1, 2), TWO: (2, 1)}
"""Workers, and threads of each"""

VARIANTS, VICTIMS = 40, 4
RATIO, SHARE = 1.7, 0.03
"""What is asked: two workers against one of as many threads, and the workers' time outside their jobs"""


def main(repeats: int = 3) -> int:
    """0 where nothing is trained twice, the bits agree, and the overhead is small."""
    took: dict[str, list[float]] = {name: [] for name in WAYS}
    over: dict[str, list[float]] = {name: [] for name in WAYS}
    bits: dict[str, set[str]] = {name: set() for name in WAYS}
    trained: set[int] = set()
    for _ in range(repeats):
        for name, (workers, threads) in WAYS.items():
            one = once(workers, threads)
            took[name].append(one.seconds)
            over[name].append(workers * (one.seconds - one.starting) / one.inside - 1)
            bits[name].add(one.digests)
            trained.add(one.trained)
            told = f"{one.starting:.1f} s to start, then {over[name][-1]:.1%} outside the jobs"
            print(f"{name}: {one.seconds:.0f} s, {told}, {one.trained} trained", flush=True)
    ratios = [one / two for one, two in zip(took[ALONE], took[TWO], strict=True)]
    same = len(bits[ALONE] | bits[TWO]) == 1
    print(f"{VARIANTS} experiments over {VICTIMS} victims, two workers against one of as many threads: ", end="")
    print(f"{', '.join(f'{ratio:.2f}' for ratio in ratios)} times; trained: {sorted(trained)}; same bits: {same}")
    both = [one / two for one, two in zip(took[BOTH], took[TWO], strict=True)]
    print(f"against one that has both cores for its threads: {', '.join(f'{ratio:.2f}' for ratio in both)} times")
    middle = {name: statistics.median(shares) for name, shares in over.items()}
    print("; ".join(f"{name}: {share:.1%} outside the jobs" for name, share in middle.items()))
    return 0 if trained == {VICTIMS} and same and min(ratios) >= RATIO and max(middle.values()) <= SHARE else 1


@dataclass(frozen=True)
class Once:
    """What one carrying out took and made."""

    seconds: float
    starting: float
    """Until the first job really begins"""
    inside: float
    """Seconds in jobs, of all workers together"""
    trained: int
    digests: str


def once(workers: int, threads: int) -> Once:
    """The study in an empty store."""
    torch.set_num_threads(workers * threads)
    inside: list[float] = []
    begins: list[float] = []

    def hear(event: Event) -> None:
        inside.append(event.data.get("seconds", 0.0) if event.kind == "end" else 0.0)
        if event.kind == "tick" and event.text.endswith("victim"):  # the first stage of a job
            begins.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        found = unsmash.sweep(out=folder, workers=workers, progress=hear, **STUDY)
        seconds = time.perf_counter() - begun
        runs = Store(Path(folder)).runs()
        assert len(runs) == len(found.frontier.rows) == VARIANTS
        digests = json.dumps(sorted((run.id, run.digest()) for run in runs))
        trained = sum(trainings(Path(folder) / run.id) for run in runs)
        return Once(seconds, begins[0] - begun, sum(inside), trained, digests)


def trainings(folder: Path) -> int:
    """How many networks a run trained, by its own log: each begins with one first pass."""
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [Event(**json.loads(line)) for line in lines]
    return sum((event.kind, event.stage, event.step) == ("epoch", "train", 1) for event in events)


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:2])))
