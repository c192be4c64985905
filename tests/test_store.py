"""The store: a run is there whole or not at all, whatever happens to its writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import builders
import pytest

from unsmash.errors import ConfigError, RecordError
from unsmash.store import RUN, VERDICT, Store, write_record, write_text
from unsmash.verdicts import Verdict

WRITER = """
import os, signal, sys
from pathlib import Path
from unsmash.store import Store
with Store(Path(sys.argv[1])).writing(sys.argv[2]) as work:
    (work / "run.json").write_text("{half")
    (work / "deep").mkdir()
    (work / "deep" / "file").write_text("x")
    print(work, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def save(store: Store, run_id: str = "0123456789ab", seed: int = 0) -> Path:
    with store.writing(run_id) as work:
        write_record(work / RUN, replace(builders.full_run(), id=run_id, seed=seed))
    return store.folder(run_id)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_there_and_reads_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "runs")
    folder = save(store)
    assert store.has("0123456789ab")
    assert store.load("0123456789ab") == replace(builders.full_run(), id="0123456789ab")
    assert store.folders() == [folder]
    assert names(store.root) == ["0123456789ab"]


def test_a_killed_writer_leaves_nothing_that_is_listed_and_the_next_writer_cleans_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, "aaaaaaaaaaaa")
    killed = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), "bbbbbbbbbbbb"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    left = Path(killed.stdout.strip())
    assert (left / "deep" / "file").is_file()  # it was killed in the middle of writing
    assert [run.id for run in store.runs()] == ["aaaaaaaaaaaa"]
    assert not store.has("bbbbbbbbbbbb")
    with store.writing("cccccccccccc"):
        assert not left.exists()
    assert [folder.name for folder in store.folders()] == ["aaaaaaaaaaaa"]  # the last one wrote no record


def test_a_killed_writer_leaves_the_run_it_wanted_to_replace(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, "bbbbbbbbbbbb", seed=7)
    subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), "bbbbbbbbbbbb"], capture_output=True, check=False, timeout=60
    )
    assert [run.seed for run in store.runs()] == [7]


def test_a_writer_at_work_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writing("aaaaaaaaaaaa") as work:
        (work / "file").write_text("x")
        save(store, "bbbbbbbbbbbb")
        assert (work / "file").is_file()
        mine = work.with_name(work.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-"))
        mine.mkdir()  # of another process, and alive
        save(store, "cccccccccccc")
        assert mine.is_dir()


def test_dotted_folders_of_the_user_are_left_alone(tmp_path: Path) -> None:
    """`--out .` puts runs where anything may lie."""
    mine = tmp_path / ".venv-999999999-old"
    mine.mkdir()
    save(Store(tmp_path))
    assert mine.is_dir()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    store = Store(tmp_path)

    def interrupted() -> None:
        with store.writing("aaaaaaaaaaaa") as work:
            (work / RUN).write_text("{")
            raise error

    with pytest.raises(error):
        interrupted()
    assert names(tmp_path) == []
    save(store, "aaaaaaaaaaaa", seed=3)
    with pytest.raises(error):
        interrupted()
    assert names(tmp_path) == ["aaaaaaaaaaaa"]
    assert store.load("aaaaaaaaaaaa").seed == 3


def test_the_old_run_is_readable_until_the_new_one_is_complete(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = save(store, seed=1)
    (folder / "leftover").write_text("x")
    with store.writing(folder.name) as work:
        write_record(work / RUN, replace(builders.full_run(), id=folder.name, seed=2))
        assert [run.seed for run in store.runs()] == [1]
    assert [run.seed for run in store.runs()] == [2]
    assert names(folder) == [RUN]  # nothing of the old run among the new one's files
    assert names(tmp_path) == [folder.name]


def test_runs_are_listed_oldest_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for age, name in enumerate(["cccccccccccc", "aaaaaaaaaaaa", "bbbbbbbbbbbb"]):
        file = save(store, name) / RUN
        os.utime(file, (1000 + age, 1000 + age))
    (tmp_path / "cache" / "x").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    assert [run.id for run in store.runs()] == ["cccccccccccc", "aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    assert Store(tmp_path / "nowhere").runs() == []


def test_no_such_run_names_the_nearest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RecordError) as caught:
        store.load("abc")
    assert str(caught.value) == f"no run 'abc' in {tmp_path}: there are none yet; `unsmash audit` makes one"
    save(store, "0123456789ab")
    save(store, "ffffffffffff")
    with pytest.raises(RecordError, match=r"^no run '0123456789ac' in .*: there are 0123456789ab$"):
        store.load("0123456789ac")
    with pytest.raises(RecordError, match=r": there are 0123456789ab, ffffffffffff$"):
        store.load("zzz")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = save(store) / RUN
    file.write_text(file.read_text()[:100])
    with pytest.raises(RecordError) as caught:
        store.load("0123456789ab")
    assert str(caught.value).startswith(f"{file}: the run record is not JSON")


def test_verdicts_are_kept_with_their_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = save(store)
    assert store.verdict(folder.name) is None
    verdict = Verdict("passes", "It passes.", (), (), "identification>0.05", 0)
    write_record(folder / VERDICT, verdict)
    assert store.verdict(folder.name) == verdict
    (folder / VERDICT).write_text("{")
    with pytest.raises(RecordError, match=r"verdict\.json is not JSON"):
        store.verdict(folder.name)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        ConfigError, match=r"^out: got '.*file/runs'; allowed: a folder that can be written\. Not a directory"
    ):
        save(Store(tmp_path / "file" / "runs"))


def test_text_is_replaced_whole_and_leaves_no_other_file(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_text(file, "old ≤")
    write_text(file, "new ≥")
    assert file.read_text(encoding="utf-8") == "new ≥"
    assert names(tmp_path) == ["page.html"]
    with pytest.raises(ValueError, match="JSON"):
        write_record(file, replace(builders.full_run(), seconds={"total": float("nan")}))
    assert file.read_text(encoding="utf-8") == "new ≥"
