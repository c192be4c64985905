"""The command line as tests call it: as a process of its own, or in this one by the fixture `tell`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Said(NamedTuple):
    code: int
    out: str
    err: str


Tell = Callable[..., Said]


def process(*words: str, cwd: Path) -> Said:
    done = subprocess.run([sys.executable, "-m", "unsmash.cli", *words], capture_output=True, text=True, cwd=cwd)
    return Said(done.returncode, done.stdout, done.stderr)
