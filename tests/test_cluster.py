"""A study on a real Ray cluster: the same bits as here, and a killed worker costs a second try and nothing else."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import TINY
from torch import nn

from unsmash import cluster
from unsmash.errors import ConfigError, DependencyError
from unsmash.events import Event
from unsmash.store import Store
from unsmash.sweeping import Sweep, conduct

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: unsmash[ray]")

STUDY: dict[str, Any] = {
    "data": TINY,
    "model": "shallow_net",
    "train": {"epochs": 1},
    "attacks": ["ridge", "gallery"],
    "sweep": {"defences": [[], [{"kind": "laplace", "scale": 0.1, "when": "inference"}]]},
    "variants": [{"name": "gaussian", "defences": [{"kind": "gaussian", "sigma": 0.5}]}],
}


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of a cluster of two cores that listens on this machine, stopped afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tests = str(Path(__file__).parent)
    paths = os.pathsep.join([str(Path(tests).parent), os.environ.get("PYTHONPATH", "")])
    words = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    words += [f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    process = subprocess.Popen(
        words, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(120):
            with socket.socket() as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def figures(found: Sweep) -> dict[str, tuple[Any, ...]]:
    return {row.name: (row.runs, row.word, row.attack, row.accuracy) for row in found.frontier.rows}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The study in this process."""
    return conduct(STUDY, out=tmp_path_factory.mktemp("here") / "runs", workers=1)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["one folder", "a depot"])
def test_a_cluster_gives_the_same_runs_to_the_last_bit(shared: bool, head: str, here: Sweep, tmp_path: Path) -> None:
    depot = "" if shared else (tmp_path / "depot").as_uri()
    events: list[Event] = []
    found = conduct(STUDY, out=tmp_path / "runs", on=head, depot=depot, progress=events.append)
    assert figures(found) == figures(here)
    mine, other = Store(here.folder.parent.parent), Store(tmp_path / "runs")
    for row in found.frontier.rows:
        for name in row.runs:
            assert other.load(name).digest() == mine.load(name).digest()
    assert {event.stage for event in events if event.kind == "end"} >= set(figures(here))
    again: list[Event] = []
    conduct(STUDY, out=tmp_path / "runs", on=head, depot=depot, progress=again.append)
    told = [event.text for event in again if event.kind == "end" and event.stage in figures(here)]
    assert len(told) == 3
    assert all(text.startswith("known") for text in told)


DEADLY = """
import os, pathlib, signal
from torch import nn

def make(classes):
    here = pathlib.Path(__file__).parent
    if str(os.getpid()) != (here / "first").read_text() and not (here / "killed").exists():
        (here / "killed").write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, classes))
"""
"""A model whose first build in a worker's process kills that process"""


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_is_tried_again_and_the_study_is_whole(head: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DEADLY, encoding="utf-8")
    (tmp_path / "first").write_text(str(os.getpid()), encoding="utf-8")
    own = {"kind": "own", "path": str(tmp_path / "mine.py"), "factory": "make"}
    raw = STUDY | {"variants": [{"name": "deadly", "model": own, "at": "2"}]}
    found = conduct(raw, out=tmp_path / "runs", trusted=True, on=head)
    assert (tmp_path / "killed").exists()
    assert not [row.name for row in found.frontier.rows if row.failure]
    assert {row.name for row in found.frontier.rows} >= {"deadly", "no defence"}


@needs_ray
def test_an_address_without_a_cluster_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refused(**_: Any) -> None:
        raise ConnectionError("nobody answers\nand more")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(ConfigError, match="never starts its own") as told:
        conduct(STUDY, out=tmp_path, on="127.0.0.1:1")
    assert "and more" not in str(told.value)


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r"unsmash\[ray\]"):
        conduct(STUDY, out=tmp_path, on="auto")


def test_a_module_of_ones_own_cannot_be_sent(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10))
    raw = STUDY | {"at": "2"}
    with pytest.raises(ConfigError, match="every machine has"):
        conduct(raw, out=tmp_path, on="auto", module=net)


def test_what_travels_is_text() -> None:
    assert cluster._carry_out.__annotations__ == {
        "plain": "str", "depot": "str", "threads": "int", "queue": "Any", "return": "str",
    }  # fmt: skip
