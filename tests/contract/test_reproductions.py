"""What every reproduction keeps: published figures with their source, a quick form, and a run that fills its tables."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from unsmash import reproducing
from unsmash.lab import Lab
from unsmash.report import render_reproduction
from unsmash.report.reproduction_document import document
from unsmash.reproductions.paper import FOLDER, paper
from unsmash.reproductions.systems.base import Reproduction
from unsmash.reproductions.workbench import Workbench

KINDS = reproducing.names()
every = pytest.mark.parametrize(("name", "cls"), KINDS.items(), ids=list(KINDS))


@every
def test_its_published_figures_have_a_source_and_conditions(name: str, cls: type[Reproduction]) -> None:
    published = paper(name)
    assert published.citation
    assert published.source
    for table in published.tables.values():
        assert table.source, table.title
        assert len(table.about) > 20, table.title
        figures = [figure for row in table.rows for figure in row.figures.values()]
        assert figures, table.title


def test_no_file_of_figures_is_without_its_reproduction() -> None:
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(KINDS)


@every
def test_every_setting_has_help_and_the_quick_form_is_another(name: str, cls: type[Reproduction]) -> None:
    silent = [one for one, field in cls.model_fields.items() if one != "kind" and not (field.description or "").strip()]
    assert not silent
    full, quick = reproducing.chosen(name, {}, quick=False), reproducing.chosen(name, {}, quick=True)
    assert quick != full or not cls.model_fields.keys() - {"kind"}


@every
def test_its_tiny_form_runs_and_fills_its_tables(
    name: str, cls: type[Reproduction], tmp_path: Path, short_recogniser: None
) -> None:
    if "UNSMASH_DATA" not in os.environ:
        pytest.skip("UNSMASH_DATA names no folder with the real data")
    made = reproducing.chosen(name, cls.tiny, quick=True)
    done = reproducing.conduct(made, quick=True, out=tmp_path)
    record = done.record
    assert record.quick
    assert record.headline
    assert record.findings
    assert not any(table.judged() for table in record.tables), "the quick form is held against published figures"
    for table in record.tables:
        measured = [cell for row in table.rows for cell in row.cells if cell.ours or cell.right]
        assert measured, table.title
        figures = [one.value for cell in measured for one in (cell.ours, cell.right) if one is not None]
        assert np.isfinite(figures).all(), table.title
    html = done.report.read_text(encoding="utf-8")
    assert "http:" not in html
    assert "https:" not in html
    for sheet in record.sheets:
        assert html.count("<img") >= len(sheet.lines)
    assert reproducing.read(done.folder / reproducing.RECORD) == record
    assert render_reproduction(record, done.folder) == html
    assert f"## {name}" in document([record], {})
    before = Workbench.once
    steps: list[str] = []

    def once(self: Workbench, step: str, settings: object, make: object) -> object:
        def never(lab: Lab) -> None:
            raise AssertionError(f"step {step} was not kept")

        steps.append(step)
        return before(self, step, settings, never)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workbench, "once", once)
        again = reproducing.conduct(made, quick=True, out=tmp_path).record
    assert steps, "it keeps no step, so a long run that is killed begins anew"
    assert (again.tables, again.headline, again.charts) == (record.tables, record.headline, record.charts)
