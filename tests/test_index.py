"""The index of runs: it says what the folders say, whatever becomes of it, and whoever else reads and writes."""

from __future__ import annotations

import os
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from builders import attack, run
from small import TINY

import unsmash
from unsmash import index
from unsmash.errors import RecordError
from unsmash.index import FEW, FILE, summaries
from unsmash.judge import judge
from unsmash.plain import dumps
from unsmash.records import Failure, Run
from unsmash.run_reading import load_figures, load_run
from unsmash.store import RUN, VERDICT, Store, write_record
from unsmash.summary import Summary, summarise

MANY = FEW + 4


def measured(number: int, hits: int = 20) -> Run:
    plain = {"data": {"kind": "digits"}, "at": "fc", "defences": [{"kind": "laplace", "scale": number}], "seed": 0}
    return replace(run([attack("ridge", hits)]), id=f"{number:012x}", experiment=plain)


def put(store: Store, made: Run) -> None:
    with store.writing(made.id) as folder:
        write_record(folder / RUN, made)


@pytest.fixture
def many(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for number in range(MANY):
        put(store, measured(number))
    return store


def truth(store: Store) -> list[Summary]:
    """By reading every record whole."""
    return [summarise(one, judge([one], one.budget).word) for one in store.runs()]


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    read: list[int] = []
    real = index.load_figures

    def counted(text: str) -> Run:
        read.append(1)
        return real(text)

    monkeypatch.setattr(index, "load_figures", counted)
    return read


def test_says_what_the_folders_say_with_and_without_an_index(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert summaries(many) == truth(many)
    read = count_reads(monkeypatch)
    assert summaries(many) == truth(many)
    assert not read


def test_what_changed_is_read_anew_and_nothing_else(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    summaries(many)
    read = count_reads(monkeypatch)
    put(many, measured(2, hits=90))
    put(many, measured(MANY))
    write_record(many.folder(f"{5:012x}") / VERDICT, judge([measured(5)], "identification>0.9"))
    found = {one.id: one for one in summaries(many)}
    assert len(read) == 3
    assert found[f"{2:012x}"].identification == 0.9
    assert len(found) == MANY + 1
    assert found[f"{5:012x}"].verdict == judge([measured(5)], "identification>0.9").word != found[f"{4:012x}"].verdict
    many.folder(f"{7:012x}").rename(many.root / ".gone")
    assert len(summaries(many)) == MANY


def test_a_summary_that_was_written_with_its_run_is_taken_while_nothing_is_newer(
    many: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = truth(many)
    for one in many.runs():
        index.remember(many, one, judge([one], one.budget).word)
    read = count_reads(monkeypatch)
    assert summaries(many) == before
    assert not read
    (many.root / FILE).unlink()
    late = many.folder(f"{5:012x}") / VERDICT
    write_record(late, judge([measured(5)], "identification>0.9"))
    ahead = (late.parent / index.SUMMARY).stat().st_mtime_ns + 1
    os.utime(late, ns=(ahead, ahead))
    (many.folder(f"{6:012x}") / index.SUMMARY).write_text("0\n[]", encoding="utf-8")  # of another version
    (many.folder(f"{7:012x}") / index.SUMMARY).write_text("1\nhalf", encoding="utf-8")
    found = {one.id: one for one in summaries(many)}
    assert len(read) == 3
    assert found[f"{5:012x}"].verdict == judge([measured(5)], "identification>0.9").word
    assert found[f"{6:012x}"] == before[6]


@pytest.mark.usefixtures("short_recogniser")
def test_an_audit_writes_a_summary_for_each_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attacks = ["ridge", "gallery"]
    unsmash.audit(data=TINY, model="shallow_net", train={"epochs": 1}, attacks=attacks, seeds=2, out=tmp_path)
    read = count_reads(monkeypatch)
    found = summaries(Store(tmp_path))
    assert not read
    assert [one.seed for one in found] == [0, 1]
    for folder in Store(tmp_path).folders():
        (folder / index.SUMMARY).unlink()
    assert summaries(Store(tmp_path)) == found


@pytest.mark.parametrize("bytes_", [b"", b"no database", b"SQLite format 3\0" + bytes(200)])
def test_a_damaged_index_costs_time_only(many: Store, bytes_: bytes) -> None:
    (many.root / FILE).write_bytes(bytes_)
    assert summaries(many) == truth(many)
    with sqlite3.connect(many.root / FILE) as opened:
        assert opened.execute("SELECT count(*) FROM summaries").fetchone() == (MANY,)


def test_an_index_of_another_version_is_made_anew(many: Store) -> None:
    summaries(many)
    with sqlite3.connect(many.root / FILE) as opened:
        opened.execute(f"PRAGMA user_version = {index.VERSION + 1}")
        opened.execute("UPDATE summaries SET summary = '[]'")
    assert summaries(many) == truth(many)


def test_few_runs_get_no_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, measured(1))
    assert len(summaries(store)) == 1
    assert not (tmp_path / FILE).exists()
    assert summaries(Store(tmp_path / "nowhere")) == []


def test_a_folder_that_cannot_be_written_is_still_read(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(index, "_fill", refuse)
    assert summaries(many) == truth(many)
    assert not (many.root / FILE).exists()
    assert not list(many.root.glob(".index*"))


def test_several_at_once_all_see_every_run(many: Store) -> None:
    wanted, seen = truth(many), []

    def look() -> None:
        for _ in range(4):
            seen.append(summaries(many) == wanted)
            (many.root / FILE).unlink(missing_ok=True)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 16
    assert not list(many.root.glob(".index*"))


def test_a_record_that_cannot_be_read_is_named(many: Store) -> None:
    summaries(many)
    file = many.folder(f"{3:012x}") / RUN
    file.write_text(file.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    with pytest.raises(RecordError, match=f"{3:012x}"):
        summaries(many)


def test_the_short_reading_agrees_with_the_whole_one() -> None:
    made = measured(1)
    whole, short = load_run(dumps(made)), load_figures(dumps(made))
    assert summarise(short, "leaks") == summarise(whole, "leaks")
    assert whole.result("ridge").scores["identification"].values
    assert not short.result("ridge").scores["identification"].values
    with pytest.raises(RecordError, match="version"):
        load_figures(dumps(replace(made, version=99)))


def test_a_failed_run_keeps_its_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, replace(measured(1), results=(), failure=Failure("TrainingError", "loss is NaN", "victim")))
    (found,) = summaries(store)
    assert found.verdict == "failed"
    assert "loss is NaN" in found.figures[0]
    assert os.listdir(tmp_path) == [found.id]
