"""Published figures with ours: what is judged, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from unsmash import reproducing
from unsmash.errors import RecordError
from unsmash.plain import dumps
from unsmash.reproductions.paper import PublishedTable
from unsmash.reproductions.record import Cell, Column, Measure, Reproduced, near

COLUMN = Column("a", "Accuracy", "%", 2, 0.5)
RAW = {
    "title": "Models", "about": "on five images", "source": "a table",
    "columns": {"a": {"title": "Accuracy", "unit": "%", "within": 0.5}, "d": {"title": "Dependence", "digits": 3}},
    "rows": [
        {"name": "plain", "at": {"noise": 0}, "figures": {"a": 98.0, "d": 0.8}},
        {"name": "noisy", "at": {"noise": 1}, "figures": {"a": 97.0, "d": None}, "incomparable": {"a": "other data"}},
    ],
}  # fmt: skip


def table() -> PublishedTable:
    return PublishedTable.model_validate(RAW)


@pytest.mark.parametrize(("cell", "column", "judged"), [
    (Cell("a", 98.0, Measure(97.5)), COLUMN, True),
    (Cell("a", 98.0, Measure(97.49)), COLUMN, False),
    (Cell("a", 98.0, Measure(98.6)), COLUMN, False),
    (Cell("a", 98.0), COLUMN, None),
    (Cell("a", None, Measure(97.5)), COLUMN, None),
    (Cell("a", 98.0, Measure(97.5), incomparable="other data"), COLUMN, None),
    (Cell("a", 98.0, Measure(97.5)), Column("a", "Accuracy"), None),
    (Cell("a", 98.0, right=Measure(98.0)), COLUMN, None),
])  # fmt: skip
def test_ours_is_judged_where_both_are_there_and_alike(cell: Cell, column: Column, judged: bool | None) -> None:
    assert near(cell, column) is judged


def test_a_table_has_every_published_row_and_then_ours() -> None:
    ours = {"more": {"a": Measure(1.0)}, "plain": {"a": Measure(97.9)}}
    right = {"plain": {"d": Measure(0.5)}, "other": {"d": Measure(0.4)}}
    made = table().table("models", ours, right, reasons=("because",))
    assert [row.name for row in made.rows] == ["plain", "noisy", "more", "other"]
    plain = {cell.column: cell for cell in made.rows[0].cells}
    assert (plain["a"].published, plain["a"].ours, plain["a"].right) == (98.0, Measure(97.9), None)
    assert plain["d"].right == Measure(0.5)
    assert [cell.incomparable for cell in made.rows[1].cells] == ["other data", ""]
    assert made.judged() == [True]


def test_a_smaller_run_is_held_against_nothing() -> None:
    made = table().table("models", {"plain": {"a": Measure(97.9)}}, incomparable="smaller than published")
    assert made.judged() == []
    assert made.rows[1].cells[0].incomparable == "other data"  # the reason of the figure's own comes first


def test_a_row_is_found_by_its_settings() -> None:
    assert table().at(noise=1) is not None
    assert table().at(noise=2) is None


@pytest.mark.parametrize("rows", [
    [{"name": "x", "figures": {"no_such": 1.0}}],
    [{"name": "x", "incomparable": {"no_such": "why"}}],
    [{"name": "x"}, {"name": "x"}],
])  # fmt: skip
def test_a_file_of_figures_that_does_not_fit_together_is_refused(rows: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        PublishedTable.model_validate(RAW | {"rows": rows})


def test_a_record_comes_back_and_counts_what_it_reproduced(tmp_path: Path) -> None:
    one = table().table("models", {"plain": {"a": Measure(90.0, 89.0, 91.0, 50)}})
    made = Reproduced("x", "X", "who", "where", "found", ("one",), (one,), seconds=1.5)
    file = tmp_path / "record.json"
    file.write_text(dumps(made), encoding="utf-8")
    assert reproducing.read(file) == made
    assert made.tally() == (0, 1)
    file.write_text("{", encoding="utf-8")
    with pytest.raises(RecordError, match=r"record\.json"):
        reproducing.read(file)
