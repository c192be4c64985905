"""The table of runs: every figure of every record once, under the settings it was measured with."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
import sweeps
from builders import attack, run, share, threat
from commandline import Tell

import unsmash
from unsmash.errors import RecordError
from unsmash.records import Card, Failure, Run, Utility
from unsmash.store import RUN, Store, write_record
from unsmash.studies import FOLDER, RECORD
from unsmash.table import FIXED
from unsmash.varied import flat, varied


def measured(name: str, scale: float | None, **changes: Any) -> Run:
    defences = [] if scale is None else [{"kind": "laplace", "scale": scale, "when": "always"}]
    plain = {"data": {"kind": "digits"}, "at": "fc", "train": {"epochs": 2}, "defences": defences, "seed": 3}
    results = [attack("ridge", 40), attack("decoder", 70, card=Card(strong=False)), attack("chance", 1, role="floor")]
    made = replace(
        run(results, threats=(threat(),)),
        id=name,
        seed=3,
        experiment=plain,
        utility=Utility(share(80, metric="accuracy"), 0.1, 2, share(90, metric="accuracy")),
        seconds={"total": 2.0},
    )
    return replace(made, **changes)


def put(root: Path, *runs: Run) -> Path:
    for made in runs:
        with Store(root).writing(made.id) as folder:
            write_record(folder / RUN, made)
    return root


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return put(tmp_path / "runs", measured("a1", None), measured("b1", 0.5), measured("c1", 2.0))


def test_every_figure_of_every_record_once(three: Path) -> None:
    table = unsmash.runs(three)
    records = {one.id: one for one in Store(three).runs()}
    found = table[table.attack != ""]
    assert len(found) == sum(len(result.scores) for one in records.values() for result in one.results)
    for row in found.itertuples():
        score = records[row.run].result(row.attack).scores[row.metric]
        assert (row.value, row.low, row.high, row.n, row.unit) == (
            score.mean, score.low, score.high, score.n, score.unit,
        )  # fmt: skip
    assert not table.duplicated(["run", "threat", "attack", "metric"]).any()
    cards = found[found.metric == "identification"].set_index(["run", "attack"])
    assert not cards.loc[("a1", "decoder"), "valid"]
    assert cards.loc[("a1", "ridge"), "valid"] == records["a1"].result("ridge").card.valid
    assert pandas.isna(cards.loc[("a1", "chance"), "valid"])


def test_costs_have_rows_of_their_own(three: Path) -> None:
    table = unsmash.runs(three)
    costs = table[(table.run == "b1") & (table.role == "cost")].set_index("metric").value
    split = Store(three).load("b1").split
    assert split is not None
    assert costs.to_dict() == {
        "accuracy": 0.8, "undefended_accuracy": 0.9, "bytes_sent": split.bytes_sent, "device_macs": split.device_macs,
        "seconds": 2.0,
    }  # fmt: skip


def test_what_differs_is_a_column_and_what_does_not_is_none(three: Path) -> None:
    table = unsmash.runs(three)
    assert "defences.0.scale" in table
    assert not {"train.epochs", "defences.0.when", "at", "seed.1"} & set(table)
    scales = table.groupby("run")["defences.0.scale"].first()
    assert math.isnan(scales["a1"])
    assert (scales["b1"], scales["c1"]) == (0.5, 2.0)
    assert list(table.columns[: len(FIXED)]) == list(FIXED)


def test_what_did_not_finish_is_a_row_with_its_sentence(three: Path) -> None:
    failed = measured("d1", 9.0, results=(), utility=None, split=None, seconds={})
    put(three, replace(failed, failure=Failure("TrainingError", "loss is NaN", "victim")))
    put(three, measured("e1", 8.0, results=(replace(attack("ridge"), scores={}, failure="out of memory"),)))
    table = unsmash.runs(three)
    assert table[table.run == "d1"].failure.tolist() == ["loss is NaN"]
    assert table[(table.run == "e1") & (table.attack == "ridge")].failure.tolist() == ["out of memory"]


def test_only_some_runs_and_no_such_run(three: Path) -> None:
    assert set(unsmash.runs(three, only=["a", "c1"]).run) == {"a1", "c1"}
    with pytest.raises(RecordError, match="no run 'zz'"):
        unsmash.runs(three, only=["zz"])
    assert unsmash.runs(three / "nowhere").empty


@pytest.mark.parametrize("by", ["name", "id", "beginning", "folder", "file"])
def test_a_study_by_name_id_or_folder(tmp_path: Path, by: str) -> None:
    entries = sweeps.entries(sweeps.ROWS[:3])
    record = sweeps.study(entries)
    put(tmp_path, *(one for entry in entries for one in entry.runs), measured("other", 1.0))
    folder = tmp_path / FOLDER / record.id
    folder.mkdir(parents=True)
    write_record(folder / RECORD, record)
    said = {"name": record.name, "id": record.id, "beginning": record.id[:4], "folder": str(folder),
            "file": str(folder / RECORD)}[by]  # fmt: skip
    table = unsmash.runs(tmp_path, study=said)
    assert set(zip(table.run, table.variant, strict=True)) == {(e.runs[0].id, e.name) for e in entries}
    with pytest.raises(RecordError, match=f"there are.*{record.id}"):
        unsmash.runs(tmp_path, study="another")


def test_a_study_without_its_runs_says_so(tmp_path: Path) -> None:
    record = sweeps.two()
    folder = tmp_path / FOLDER / record.id
    folder.mkdir(parents=True)
    write_record(folder / RECORD, record)
    with pytest.raises(RecordError, match="2 runs of the study"):
        unsmash.runs(tmp_path, study=record.id)


def test_export_writes_the_same_table(three: Path, tell: Tell, tmp_path: Path) -> None:
    said = tell("export", "--out", str(three), "--to", "sub/table.csv")
    assert said.code == 0
    with open(tmp_path / "sub/table.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = unsmash.runs(three)
    assert f"{len(rows)} rows" in said.out
    assert [float(row["value"]) for row in rows] == table.value.tolist()
    assert tell("export", "b1", "--out", str(three), "--to", "one.csv").code == 0
    assert set(pandas.read_csv("one.csv").run) == {"b1"}
    assert tell("export", str(three / "a1"), str(three / "c1"), "--to", "two.csv").code == 0
    assert set(pandas.read_csv("two.csv").run) == {"a1", "c1"}
    assert tell("export", str(three), "--to", "all.csv").code == 0
    assert len(pandas.read_csv("all.csv")) == len(rows)
    assert not list(tmp_path.glob("**/.*.csv.*"))


def test_export_says_what_is_wrong_in_one_sentence(three: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tell("export", "--out", str(three), "--to", "table.xls")
    assert (said.code, "ends with .csv or .parquet" in said.err) == (2, True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = tell("export", "--out", str(three), "--to", "table.parquet")
    assert (said.code, "pip install pyarrow" in said.err, "Traceback" in said.err) == (2, True, False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    said = tell("export", "--out", str(three), "--to", "table.csv")
    assert (said.code, "pip install pandas" in said.err) == (2, True)


def test_parquet_reads_back(three: Path, tell: Tell) -> None:
    pytest.importorskip("pyarrow")
    assert tell("export", "--out", str(three), "--to", "table.parquet").code == 0
    pandas.testing.assert_frame_equal(pandas.read_parquet("table.parquet"), unsmash.runs(three))


def test_reading_runs_needs_no_torch(three: Path) -> None:
    code = f"import sys, unsmash; unsmash.runs({str(three)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_paths_reach_every_setting() -> None:
    plain = {"a": 1, "b": {"c": [2, {"d": None}]}, "e": [], "seed": 4}
    assert flat(plain) == {"a": 1, "b.c.0": 2, "b.c.1.d": None}
    assert varied([{"a": 1, "b": True}, {"a": 1, "b": 1}, {"c": 2}]) == ["b"]
