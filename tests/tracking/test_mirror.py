"""A tracker may be away, come back, or choke on one run; nothing else suffers."""

from __future__ import annotations

import sys
from pathlib import Path

import kept
import pytest

from unsmash.errors import ConfigError, DependencyError, TrainingError
from unsmash.events import Event
from unsmash.records import Failure
from unsmash.store import Store
from unsmash.tracking import Mirror, opened
from unsmash.tracking.base import Ending, Stored


class Moody:
    """A tracker that takes runs while it is up, but never those in `chokes`."""

    where = "moody"

    def __init__(self, *, up: bool = True, chokes: tuple[str, ...] = ()) -> None:
        self.up, self.chokes = up, chokes
        self.got: list[str] = []
        self.asked = 0
        self.ending: Ending | None = None

    def add(self, one: Stored) -> None:
        self.asked += 1
        if not self.up or one.run.id in self.chokes:
            raise OSError("no route\nto host")
        self.got.append(one.run.id)

    def close(self, folder: Path | None, ending: Ending) -> None:
        if not self.up:
            raise OSError("no route")
        self.ending = ending


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = kept.store(tmp_path)
    for number in range(5):
        kept.keep(store, kept.run(id=f"run{number}"))
    return store


def test_a_tracker_that_is_away_is_told_of_once_and_asked_little(store: Store) -> None:
    heard: list[Event] = []
    tracker = Moody(up=False)
    with Mirror([tracker], store, heard.append) as mirror:
        for number in range(5):
            mirror.add([f"run{number}"])
    assert [event.kind for event in heard] == ["warning"]
    assert "moody" in heard[0].text
    assert "no route" in heard[0].text
    assert "\n" not in heard[0].text
    assert tracker.got == []
    assert tracker.asked <= 2 * 6  # each costs a time-out


def test_what_was_missed_goes_there_when_it_is_back(store: Store) -> None:
    tracker = Moody(up=False)
    with Mirror([tracker], store) as mirror:
        mirror.add(["run0"])
        mirror.add(["run1"])
        tracker.up = True
        mirror.add(["run2"])
        assert tracker.got == ["run0", "run1", "run2"]
    assert tracker.ending == "finished"
    assert tracker.got == ["run0", "run1", "run2"]


def test_one_run_that_it_cannot_take_keeps_no_other_back(store: Store) -> None:
    tracker, other = Moody(chokes=("run1",)), Moody()
    with Mirror([tracker, other], store) as mirror:
        for number in range(4):
            mirror.add([f"run{number}"])
    assert tracker.got == ["run0", "run2", "run3"]
    assert tracker.ending == "finished"
    assert other.got == ["run0", "run1", "run2", "run3"]


def test_a_run_that_failed_is_mirrored_and_its_error_goes_on(store: Store) -> None:
    broken = kept.run(id="broken", failure=Failure("TrainingError", "NaN at step 3", "victim"))
    kept.keep(store, broken)
    tracker, error = Moody(), TrainingError("NaN at step 3")
    error.run = "broken"  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="NaN"), Mirror([tracker], store):
        raise error
    assert (tracker.got, tracker.ending) == (["broken"], "failed")


def test_an_interrupt_is_no_failure(store: Store) -> None:
    tracker = Moody()
    with pytest.raises(KeyboardInterrupt), Mirror([tracker], store):
        raise KeyboardInterrupt
    assert (tracker.got, tracker.ending) == ([], "stopped")


def test_seeds_go_together_each_as_a_run(store: Store) -> None:
    seen: list[Stored] = []
    tracker = Moody()
    tracker.add = seen.append  # type: ignore[assignment,method-assign]
    names = kept.keep(store, kept.run(id="first"), kept.run(id="second", seed=1))
    with Mirror([tracker], store) as mirror:
        mirror.add(names, "noise")
    assert [one.name for one in seen] == ["noise, seed 0", "noise, seed 1"]
    assert {one.shared for one in seen} == {store.folder("first")}
    assert {one.verdict for one in seen} == {store.verdict("first")}
    assert len({one.record for one in seen}) == 2


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("mflow", "did you mean 'mlflow'"),
        ("", "mlflow, tensorboard"),
        ("mlflow:folder/of/mine", "sqlite:///"),
        ("mlflow:http://me:secret@host", "without a password"),
        ("tensorboard:{file}", "a folder"),
    ],
)
def test_a_place_that_cannot_be_is_told_before_anything_is_measured(word: str, told: str, tmp_path: Path) -> None:
    if word.startswith("mlflow"):
        pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    if word.startswith("tensorboard"):
        pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match=r"^track: ") as raised:
        opened(word.format(file=file), Store(tmp_path))
    assert told in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("kind", ["mlflow", "tensorboard"])
def test_a_missing_package_is_named_with_its_extra(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == kind]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(DependencyError, match=rf"unsmash\[{kind}\]"):
        opened([kind], Store(tmp_path))
