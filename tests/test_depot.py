"""Runs and victims by URL: brought whole or not at all, never twice, and a failed run gives way to a better one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unsmash.depot import Depot
from unsmash.errors import ConfigError, RecordError
from unsmash.plain import dumps
from unsmash.records import Failure, Run
from unsmash.store import RUN, Store


def stored(store: Store, name: str, failure: Failure | None = None, mark: str = "") -> None:
    with store.writing(name) as folder:
        (folder / "events.jsonl").write_text(mark, encoding="utf-8")
        (folder / RUN).write_text(dumps(Run(name, {}, 0, failure=failure)), encoding="utf-8")


def victim(store: Store, name: str, content: bytes) -> None:
    (store.cache / "victims").mkdir(parents=True, exist_ok=True)
    (store.cache / "victims" / name).write_bytes(content)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return (tmp_path / "depot").as_uri()


def test_what_one_machine_puts_another_has(url: str, tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    stored(here, "5eed", mark="a line")
    victim(here, "abc.safetensors", b"weights")
    for name in ("eye.safetensors", ".eye.1-2.partial"):
        (here.cache / "recognisers").mkdir(exist_ok=True)
        (here.cache / "recognisers" / name).write_bytes(b"seen")
    Depot(url).put(here, ["5eed"])
    Depot(url).fetch(there, ["5eed", "not there"])
    assert [file.name for file in (there.cache / "recognisers").iterdir()] == ["eye.safetensors"]
    assert there.load("5eed") == here.load("5eed")
    assert (there.folder("5eed") / "events.jsonl").read_text() == "a line"
    assert (there.cache / "victims" / "abc.safetensors").read_bytes() == b"weights"
    assert [folder.name for folder in there.folders()] == ["5eed"]


def test_a_run_without_its_record_is_not_there(url: str, tmp_path: Path) -> None:
    half = tmp_path / "depot" / "5eed"
    half.mkdir(parents=True)
    (half / "events.jsonl").write_text("begun", encoding="utf-8")
    store = Store(tmp_path / "here")
    Depot(url).fetch(store, ["5eed"])
    assert not Depot(url).has("5eed")
    assert store.folders() == []
    stored(store, "5eed", mark="whole")
    Depot(url).put(store, ["5eed"])
    assert Depot(url).has("5eed")


def test_the_record_is_written_last(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, depot, order = Store(tmp_path / "here"), Depot(url), list[str]()
    stored(store, "5eed")
    real = depot.files.mv

    def move(one: str, other: str) -> None:
        order.append(Path(other).name)
        real(one, other)

    monkeypatch.setattr(depot.files, "mv", move)
    depot.put(store, ["5eed"])
    assert order == ["events.jsonl", RUN]


def test_a_finished_run_is_never_replaced_and_a_failed_one_is(url: str, tmp_path: Path) -> None:
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    stored(first, "bad", Failure("TrainingError", "not finite", "victim"))
    stored(first, "good", mark="first")
    Depot(url).put(first, ["bad", "good"])
    stored(second, "bad")
    stored(second, "good", mark="second")
    Depot(url).put(second, ["bad", "good"])
    assert not Depot(url).failed("bad")
    assert (tmp_path / "depot" / "good" / "events.jsonl").read_text() == "first"


def test_nothing_of_work_in_progress_travels(url: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "here")
    stored(store, "5eed")
    (store.folder("5eed") / ".run.json.123").write_text("half", encoding="utf-8")
    victim(store, ".abc.partial", b"half")
    Depot(url).put(store, ["5eed"])
    assert not [file for file in (tmp_path / "depot").rglob("*") if file.name.startswith(".")]


def test_a_url_that_nothing_reads_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="a URL that fsspec knows"):
        Depot("nowhere://bucket")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    store = Store(tmp_path / "here")
    stored(store, "5eed")
    with pytest.raises(RecordError, match="cannot be used"):
        Depot((tmp_path / "file" / "depot").as_uri()).put(store, ["5eed"])


def test_a_record_that_is_no_json_is_one_sentence(url: str, tmp_path: Path) -> None:
    torn = tmp_path / "depot" / "5eed"
    torn.mkdir(parents=True)
    (torn / RUN).write_text(json.dumps([])[:1], encoding="utf-8")
    with pytest.raises(RecordError, match="cannot be used"):
        Depot(url).failed("5eed")
