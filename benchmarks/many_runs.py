"""A thousand finished runs listed, tabled and reported: `python benchmarks/many_runs.py [runs]`.

One real audit is copied under other ids and scales of noise. Printed: processor and wall seconds of the first list,
which makes the index, and of the next; of the data frame of every figure; of a study's page over all of them; and how
much memory the study's process holds for each run that has come back.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import unsmash
from unsmash import shelf
from unsmash.frontier import Entry, frontier, settled
from unsmash.report import render_frontier
from unsmash.store import RUN, Store

ONE: dict[str, Any] = {
    "data": "mnist5k", "train": {"epochs": 1}, "attacks": ["lookalike", "ridge", "gallery"],
    "defences": [{"kind": "laplace", "scale": 1.0, "when": "inference"}],
}  # fmt: skip
BUDGET = "identification>0.05"


def main(count: int = 1000) -> int:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "runs"
        known = unsmash.audit(out=Path(place) / "one", **ONE)
        for number in range(count):
            copy(known.folder, out, number)
        first, told = timed(lambda: shelf.rows(out))
        print(f"first list of {len(first)} runs: {told}")
        print(f"next list: {timed(lambda: shelf.rows(out))[1]}")
        table, told = timed(lambda: unsmash.runs(out))
        print(f"data frame of {len(table)} rows: {told}")
        before = resident()
        entries, told = timed(lambda: [entry(Store(out), folder.name) for folder in Store(out).folders()])
        print(f"{count} runs come back: {told}; {(resident() - before) / count:.3f} MB a run are held")
        made = frontier(entries, id="5eed", name="many", budget=BUDGET, seeds=(0,))
        page, told = timed(lambda: render_frontier(made))
        print(f"the study's page, {len(page) / 1e6:.1f} MB: {told}")
    return 0


def copy(folder: Path, out: Path, number: int) -> None:
    """The run under another id, as if its noise had another scale."""
    name = f"{number:012x}"
    shutil.copytree(folder, out / name)
    raw = json.loads((folder / RUN).read_text(encoding="utf-8"))
    raw["id"] = name
    raw["experiment"]["defences"][0]["scale"] = 0.1 + number / 1000
    (out / name / RUN).write_text(json.dumps(raw), encoding="utf-8")


def entry(store: Store, name: str) -> Entry:
    """A run as a study's process takes it back and keeps it."""
    run = store.load(name)
    return settled(Entry(name, run.experiment, (run,)), BUDGET)


def timed(work: Callable[[], Any]) -> tuple[Any, str]:
    """What it gives, and how long it took."""
    wall, processor = time.perf_counter(), time.process_time()
    made = work()
    return made, f"{time.perf_counter() - wall:.2f} s ({time.process_time() - processor:.2f} s of a processor)"


def resident() -> float:
    """Memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:2])))
