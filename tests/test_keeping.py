"""Made once and kept: whole or not at all, by one process at a time, and by another where the first one dies."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import filelock
import pytest
import torch

from unsmash import keeping
from unsmash.events import Event
from unsmash.lab import Lab


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    state = {"a": torch.arange(6).reshape(2, 3).T, "b": torch.tensor(0.5, dtype=torch.float64)}
    keeping.save(tmp_path / "deep" / "x.safetensors", state, {"said": "ä"})
    found, told = keeping.load(tmp_path / "deep" / "x.safetensors")
    assert told == {"said": "ä"}
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["x.safetensors"]


def test_what_somebody_killed_had_half_written_is_cleared(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    for name in (".x.123-4.partial", ".other.123-4.partial"):
        (tmp_path / name).write_text("half")
    with keeping.alone(file, Lab(), "it"):
        pass
    assert not (tmp_path / ".x.123-4.partial").exists()
    assert (tmp_path / ".other.123-4.partial").exists()  # another's, who may be writing it now


def test_without_a_file_nothing_is_held(tmp_path: Path) -> None:
    with keeping.alone(None, Lab(), "it"), keeping.alone(None, Lab(), "it"):
        assert not list(tmp_path.iterdir())


def test_where_the_disk_has_no_locks_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def none(*_: object, **__: object) -> Iterator[None]:
        raise NotImplementedError
        yield

    monkeypatch.setattr(filelock.FileLock, "acquire", none)
    (tmp_path / ".x.9-9.partial").write_text("another may be writing it")
    with keeping.alone(tmp_path / "x.safetensors", Lab(), "it"):
        assert (tmp_path / ".x.9-9.partial").exists()


def test_what_is_raised_while_it_is_held_is_passed_on_and_lets_go(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    for error in (OSError("disk full"), NotImplementedError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)), keeping.alone(file, Lab(), "it"):
            raise error
    with keeping.alone(file, Lab(), "it"):
        pass


def hold(file: Path, made: SimpleQueue[str], die: bool) -> None:
    """Make a file as a process of its own would, or begin to and hang until it is killed."""
    with keeping.alone(file, Lab(), "it"):
        if file.is_file():
            made.put("found")
        elif die:
            made.put("begun")
            time.sleep(60)
        else:
            time.sleep(0.2)
            keeping.save(file, {"a": torch.zeros(1)}, {})
            made.put("made")


def test_many_processes_make_it_once(tmp_path: Path) -> None:
    context = get_context("fork")
    made: SimpleQueue[str] = context.SimpleQueue()
    others = [context.Process(target=hold, args=(tmp_path / "x.safetensors", made, False)) for _ in range(4)]
    for one in others:
        one.start()
    for one in others:
        one.join(60)
    assert sorted(made.get() for _ in others) == ["found"] * 3 + ["made"]


def test_another_makes_it_where_its_maker_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PATIENCE", 0.01)
    context = get_context("fork")
    made: SimpleQueue[str] = context.SimpleQueue()
    file, told = tmp_path / "x.safetensors", list[Event]()
    first = context.Process(target=hold, args=(file, made, True))
    first.start()
    assert made.get() == "begun"
    assert first.pid is not None
    threading.Timer(0.2, os.kill, (first.pid, signal.SIGKILL)).start()
    with keeping.alone(file, Lab(sink=told.append), "the same network"):
        assert [event.text for event in told] == ["another process is making the same network: waiting for it"]
        assert not file.is_file()
    first.join()
