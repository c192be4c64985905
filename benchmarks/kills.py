"""Kill anything, lose nothing: `python benchmarks/kills.py [kills [seed]]`.

A study is carried out by two processes and killed (SIGKILL) at random moments: the whole group, the first process
alone, or one worker. It is started again until it ends by itself. Then every run must be there once, be whole, and hold
the same bits as in a study that nobody disturbed, and nothing half-written may lie about.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

from unsmash.store import Store

STUDY = {
    "data": {"kind": "digits", "train": 300, "shadow": 300, "validator": 100, "val": 100, "victims": 100},
    "model": "shallow_net",
    "train": {"epochs": 20},
    "attacks": ["ridge", {"kind": "decoder", "size": "small", "epochs": 3, "copies": 1}, "gallery"],
    "seeds": 2,
    "sweep": {"defences": [[], ["laplace"], ["gaussian"], ["nopeek"], [{"kind": "dropout", "rate": 0.3}]]},
}
WORKERS = 2


def main(kills: int = 20, seed: int = 0) -> int:
    """0 when nothing was lost, doubled or changed."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
        begun = time.perf_counter()
        finish(start(place, "calm"))
        calm = time.perf_counter() - begun
        done: Counter[str] = Counter()
        while sum(done.values()) < kills:
            process = start(place, "killed")
            try:
                process.wait(draw.uniform(0, calm))
            except subprocess.TimeoutExpired:
                done[kill(process, draw)] += 1
            else:  # it finished before the blow: the next one has a new study to fell
                forget(place / "killed", draw)
        finish(start(place, "killed"))
        return told(place, calm, done)


def start(place: Path, out: str) -> subprocess.Popen[bytes]:
    """The study as a user starts it, in a process group of its own."""
    words = [sys.executable, "-m", "unsmash.cli", "sweep", "study.yaml", "--workers", str(WORKERS), "--out", out]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, cwd=place, stdout=quiet, stderr=quiet, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end."""
    if process.wait() != 0:
        raise SystemExit(f"the study ended with code {process.returncode}")


def kill(process: subprocess.Popen[bytes], draw: random.Random) -> str:
    """A blow at the group, at the first process, or at one of its workers; what is left of it ends before the next."""
    whom = draw.choice(["group", "first", "worker"])
    workers = children(process.pid)
    if whom == "worker" and workers:
        os.kill(draw.choice(workers), signal.SIGKILL)
        process.wait()
        return "worker"
    if whom == "first":
        process.kill()
        process.wait()
        while any(alive(pid) for pid in workers):
            time.sleep(0.05)
        return "first"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return "group"


def forget(out: Path, draw: random.Random) -> None:
    """Take some finished runs away, so that there is work again."""
    import shutil

    folders = Store(out).folders()
    for folder in draw.sample(folders, max(1, len(folders) // 2)):
        shutil.rmtree(folder)
    shutil.rmtree(out / "cache", ignore_errors=True)


def told(place: Path, calm: float, done: Counter[str]) -> int:
    """Compare the two stores and print the finding."""
    one = {run.id: run for run in Store(place / "calm").runs()}
    other = {run.id: run for run in Store(place / "killed").runs()}
    lost, more = sorted(set(one) - set(other)), sorted(set(other) - set(one))
    changed = [name for name in one if name in other and one[name].digest() != other[name].digest()]
    failed = [name for name, run in other.items() if run.failure]
    litter = [
        file for file in (place / "killed").rglob("*") if ".unfinished" in file.name or file.name.endswith(".partial")
    ]
    blows = ", ".join(f"{count} {whom}" for whom, count in sorted(done.items()))
    print(f"{sum(done.values())} kills ({blows}) over a study of {len(one)} runs that takes {calm:.0f} s undisturbed")
    found = {"lost": lost, "beyond the study": more, "changed": changed, "failed": failed, "litter": litter}
    print(", ".join(f"{name} {len(ones)}" for name, ones in found.items()))
    for file in litter[:5]:
        print("  ", file.relative_to(place))
    return 1 if lost or more or changed or failed or litter else 0


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def alive(pid: int) -> bool:
    """True until it has ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:3])))
