"""Real data, where this machine has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unsmash.data import data_root
from unsmash.lab import Lab
from unsmash.reproductions.workbench import Workbench


@pytest.fixture
def root() -> Path:
    """The folder of data sets."""
    if "UNSMASH_DATA" not in os.environ:
        pytest.skip("UNSMASH_DATA names no folder with the real data")
    return data_root()


@pytest.fixture
def bench(root: Path, tmp_path: Path) -> Workbench:
    """An empty place to work in, on real data."""
    return Workbench("test", Lab(), root, tmp_path)
