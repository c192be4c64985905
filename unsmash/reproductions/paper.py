"""Published numbers, one YAML file a paper: each with its source, its conditions and what ours may differ by.

title: …            citation: …          source: repository and commit, or arXiv number
tables:
  models:
    title: …        about: on what it was measured       source: file or table it stands in
    columns: {accuracy: {title: Accuracy, unit: "%", digits: 2, within: 0.5}}
    rows:
      - {name: "noise 0.5, NoPeek 0.1", at: {noise: 0.5, nopeek: 0.1}, figures: {accuracy: 97.52}}
    incomparable: {accuracy: why ours cannot be held against these}      # for a column; in a row for its cells
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from unsmash.reproductions.record import Cell, Column, Measure, Row, Table

FOLDER = Path(__file__).parent / "papers"


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PublishedColumn(_Plain):
    """A published quantity."""

    title: str
    unit: str = ""
    digits: int = 2
    within: float | None = Field(None, ge=0)


class PublishedRow(_Plain):
    """A published setting: where it stands in the experiment, and its figures; null where none was given."""

    name: str
    at: dict[str, float | int | str | bool] = {}
    figures: dict[str, float | None] = {}
    incomparable: dict[str, str] = {}
    note: str = ""


class PublishedTable(_Plain):
    """A published table."""

    title: str
    about: str
    source: str
    columns: dict[str, PublishedColumn]
    rows: list[PublishedRow]
    incomparable: dict[str, str] = {}

    @model_validator(mode="after")
    def _known_columns(self) -> PublishedTable:
        for row in self.rows:
            for name in (*row.figures, *row.incomparable):
                if name not in self.columns:
                    raise ValueError(f"row {row.name!r} has a figure {name!r} that is no column")
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("two rows have the same name")
        return self

    def at(self, **settings: Any) -> PublishedRow | None:
        """The row with these settings; None where nothing was published for them."""
        return next((row for row in self.rows if row.at == settings), None)

    def table(
        self,
        name: str,
        ours: Mapping[str, Mapping[str, Measure | None]],
        right: Mapping[str, Mapping[str, Measure | None]] | None = None,
        *,
        reasons: tuple[str, ...] = (),
        incomparable: str = "",
    ) -> Table:
        """The published figures with ours: by row name, then column; rows of ours that were not published come last.

        `incomparable` is why none of ours can be held against the published, such as a smaller run.
        """
        right = right or {}
        known = {row.name: row for row in self.rows}
        names = [*known, *(one for one in dict.fromkeys([*ours, *right]) if one not in known)]
        rows = []
        for one in names:
            row = known.get(one) or PublishedRow(name=one)
            cells = tuple(
                Cell(
                    column, row.figures.get(column), ours.get(one, {}).get(column), right.get(one, {}).get(column),
                    row.incomparable.get(column) or self.incomparable.get(column, "") or incomparable,
                )
                for column in self.columns
            )  # fmt: skip
            rows.append(Row(one, cells, row.note))
        columns = tuple(Column(key, **value.model_dump()) for key, value in self.columns.items())
        return Table(name, self.title, self.about, self.source, columns, tuple(rows), reasons)


class Paper(_Plain):
    """What a paper published."""

    title: str
    citation: str
    source: str
    tables: dict[str, PublishedTable]


@cache
def paper(name: str) -> Paper:
    """The published numbers of that reproduction."""
    return Paper.model_validate(yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))
