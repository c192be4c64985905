"""The page and the document of a reproduction say the same three figures, and mark what is reproduced."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page import read as parse
from safetensors.numpy import save_file

from unsmash.plain import build
from unsmash.report import render_reproduction
from unsmash.report.line_chart import lines
from unsmash.report.reproduction_document import document
from unsmash.report.words import MINUS
from unsmash.reproductions.record import Cell, Chart, Column, Measure, Reproduced, Row, Sheet, Table

TABLE = Table(
    "models", "Models", "Five images, data range [0, 1].", "table 2",
    (Column("a", "Accuracy", "%", 1, 0.5), Column("d", "Dependence", "", 3)),
    (
        Row("plain", (Cell("a", 98.0, Measure(97.8, 97.0, 98.4, 500)), Cell("d", 0.8, Measure(0.81), Measure(0.4)))),
        Row("noisy | loud", (Cell("a", 97.0, Measure(90.25)), Cell("d", None, None, Measure(0.1)))),
        Row("letters", (Cell("a", 95.0, Measure(94.0), None, "letters could not be had"), Cell("d"))),
    ),
    ("Squared distances are no distance correlation.",),
)  # fmt: skip
OURS, PUBLISHED = ((0.0, 98.0), (1.0, 97.5)), ((0.0, 98.1), (1.0, 97.2))
CHART = Chart(
    "Noise", "after training", "scale", "accuracy, %", (("ours", OURS), ("published", PUBLISHED)), ("published",)
)


def record(**changes: object) -> Reproduced:
    plain = {
        "name": "demo",
        "title": "A demo <b>",
        "citation": "Who 2020",
        "source": "code at abc",
        "headline": "The attack saw what was never sent: **0.95** against 0.41",
        "findings": ("`noise` was not attacked",),
        "tables": (TABLE,),
        "sheets": (Sheet("faces", "Faces", "the first two", (("Original", ""), ("Guess", "ours"))),),
        "charts": (CHART,),
        "substitutes": ("Digits for letters.",),
        "seconds": 90.0,
        "command": "unsmash reproduce demo",
        "environment": {"machine": "a machine", "torch": "2"},
    }
    return Reproduced(**plain | changes)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.linspace(0, 1, 2 * 16, dtype=np.float32).reshape(2, 1, 4, 4)
    save_file({"faces/0": pixels, "faces/1": 1 - pixels}, str(tmp_path / "pictures.safetensors"))
    return tmp_path


def test_the_page_holds_every_figure_and_marks_what_is_reproduced(folder: Path) -> None:
    html = render_reproduction(record(), folder)
    root = parse(html)
    body = root.one("table").one("tbody")
    plain, noisy, letters = ([cell.text for cell in row.all("td")] for row in body.all("tr"))
    assert plain[0] == "98.0"
    assert "97.8" in plain[1]
    assert f"{MINUS}0.2" in plain[1]
    assert (plain[2], plain[4]) == ("0.800", "0.400")
    assert "90.2" in noisy[1]
    assert "not comparable" in letters[0]
    classes = [[cell.attributes["class"] for cell in row.all("td")][1] for row in body.all("tr")]
    assert [name.strip() for name in classes] == ["near", "off", "open"]
    assert "1 of 2" in html
    assert "letters could not be had" in html
    assert "Squared distances" in html
    assert "Digits for letters." in html
    assert "<b>0.95</b>" in html
    assert "A demo &lt;b&gt;" in html
    assert len(root.all("img")) == 4
    assert "http:" not in html
    assert "https:" not in html
    assert render_reproduction(record(), folder) == html


def test_the_record_lies_in_the_page(folder: Path) -> None:
    script = next(one for one in parse(render_reproduction(record(), folder)).all("script"))
    assert build(Reproduced, json.loads(script.text)) == record()


def test_without_pictures_it_says_so(folder: Path, tmp_path: Path) -> None:
    for html in (render_reproduction(record(), folder, images=False), render_reproduction(record(), tmp_path / "no")):
        assert not parse(html).all("img")
        assert "ictures" in html
    (folder / "pictures.safetensors").write_bytes(b"damaged")
    assert "cannot be read" in render_reproduction(record(), folder)


def test_pictures_stand_under_their_table_and_at_the_end_where_there_is_none(folder: Path) -> None:
    second = replace(TABLE, id="second")
    sheet = record().sheets[0]

    def order(after: str) -> list[str]:
        made = record(
            tables=(TABLE, second), sheets=(replace(sheet, after=after),), charts=(replace(CHART, after=after),)
        )
        root = parse(render_reproduction(made, folder))
        named = {"table-models-h": "models", "table-second-h": "second", "see-faces-h": "faces"}
        return [named.get(one.attributes.get("id", ""), "chart") for one in root.all("h2")][1:-2]

    assert order("models") == ["models", "chart", "faces", "second"]
    assert order("") == order("no such table") == ["models", "second", "chart", "faces"]


def test_a_quick_form_says_so_first() -> None:
    assert "quick form" in render_reproduction(record(quick=True))
    assert "quick form" not in render_reproduction(record())


def test_the_document_says_the_same_and_names_what_is_missing() -> None:
    text = document([record()], {"other": "needs a | GPU"})
    assert "| 98.0 → 97.8 [" in text
    assert f"{MINUS}0.2] ✓" in text
    assert "97.0 → 90.2 [" in text
    assert "✗" in text
    assert "0.400" in text
    assert "noisy \\| loud" in text
    assert "| `other` | **not run**: needs a \\| GPU |" in text
    assert "1 of 2 figures reproduced" in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| plain")}
    heads = {line.count("|") for line in text.splitlines() if line.startswith("| | Accuracy")}
    assert widths == heads
    assert document([record()], {"other": "needs a | GPU"}) == text


def test_a_chart_draws_each_point_where_it_belongs() -> None:
    drawn = str(lines(CHART))
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 4
    assert "ours: 97.5 at 1" in drawn
    assert drawn.count('class="l1 published"') == 3
    paths = re.findall(r'points="([^"]+)"', drawn)
    (first, last), _ = ([tuple(map(float, point.split(","))) for point in path.split()] for path in paths)
    assert first[0] < last[0]
    assert first[1] < last[1]  # what is less stands lower, and y grows downwards
    names = [float(y) for y in re.findall(r'class="name l\d" x="[\d.]+" y="([\d.]+)"', drawn)]
    assert abs(names[0] - names[1]) >= 16
    assert str(lines(Chart("none", "", "x", "y", (("a", ()),)))) == ""
    assert "<polyline" in str(lines(Chart("flat", "", "x", "y", (("a", ((1.0, 2.0),)),))))
