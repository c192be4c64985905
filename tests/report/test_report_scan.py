"""The scan's page: it says what the record's numbers say, is one whole file, and draws every cut once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import page
import pytest
import scans
from safetensors.numpy import save_file

from unsmash.plain import dumps
from unsmash.report import render_scan
from unsmash.report.scan_chart import PHONE, WIDE, Paper, chart, x_of, y_of
from unsmash.report.scan_table import COLUMNS
from unsmash.scan_record import Scan, load
from unsmash.scan_verdict import knee, strongest

FORBIDDEN = re.compile(r"\b(safe|safely|safety|secure|guaranteed|anonymous|score|risk level)\b", re.IGNORECASE)


def bare() -> Scan:
    """No labels, no victims pictured, odd names, one cut."""
    cut = scans.cut(0, 450, 500, name="features.0.<b>&very.long.name.of.a.layer", also=("x<y",))
    base = scans.scan([cut])
    return replace(base, floors=base.floors[:2], utility=replace(base.utility, accuracy=None),
                   pictures=type(base.pictures)())  # fmt: skip


def falls() -> Scan:
    return scans.falling(500, 480, 300, 60, 9, 5, left_out=("relu", "bn1"), notes=("A note.",))


def twelve() -> Scan:
    return scans.falling(*range(500, 20, -40))


def all_leak() -> Scan:
    return scans.falling(500, 400, 300)


def undecided() -> Scan:
    failed = replace(scans.result("decoder", 0), failure="RuntimeError: no memory", scores={}, ranks=())
    deep = scans.cut(1, 24, 24)
    return scans.scan([scans.cut(0, 400, 500, control=True), replace(deep, results=(failed, *deep.results[::2]))])


CASES: list[Callable[[], Scan]] = [falls, twelve, all_leak, undecided, bare]


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def made(request: pytest.FixtureRequest) -> Scan:
    scan: Scan = request.param()
    return scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of the four victims of a synthetic scan, behind six cuts."""
    draw = np.random.default_rng(0)
    arrays = {"original": draw.integers(0, 255, (4, 3, 16, 16), dtype=np.uint8)}
    for place in range(6):
        for attack in ("ridge", "decoder"):
            arrays[f"guess/layer{place}/{attack}"] = draw.integers(0, 255, (4, 3, 16, 16), dtype=np.uint8)
    save_file(arrays, str(tmp_path / "pictures.safetensors"))
    return tmp_path


def test_one_whole_file_that_loads_nothing(made: Scan, folder: Path) -> None:
    html = render_scan(made, folder)
    root = page.read(html)
    assert html.startswith("<!doctype html>")
    assert not re.search(r"https?:|url\(|@import", html)
    assert len(html.encode()) < 1_000_000
    addresses = [element.attributes[name] for element in root.all("*") for name in ("src", "href")
                 if name in element.attributes]  # fmt: skip
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not [name for element in root.all("*") for name in element.attributes if name.startswith("on")]
    assert {script.attributes["type"] for script in root.all("script")} == {"application/json"}
    ids = [element.attributes["id"] for element in root.all("*") if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    inner = {address[1:] for address in addresses if address.startswith("#")}
    assert inner <= set(ids)
    assert all(image.attributes["alt"] for image in root.all("img"))


def test_the_record_lies_in_the_page_and_gives_the_same_bytes(made: Scan, folder: Path) -> None:
    html = render_scan(made, folder)
    again = load(page.read(html).one("script", id="scan").raw)
    assert again == made
    assert dumps(again) == dumps(made)
    assert render_scan(again, folder) == html


def test_no_word_claims_more_than_a_scan_can(made: Scan) -> None:
    said = page.visible(page.read(render_scan(made)))
    assert not FORBIDDEN.search(said)
    assert "clears nothing" in said
    root = page.read(render_scan(made))
    assert "passes" not in root.one("body").attributes["class"].split()


def test_the_table_has_every_cut_and_every_column(made: Scan) -> None:
    table = page.read(render_scan(made)).one("table", class_="sc-t")
    assert [cell.text for cell in table.one("thead").all("th")] == ["Cut after", *COLUMNS]
    lines = table.one("tbody").all("tr")
    assert len(lines) == len(made.cuts)
    for cut, line in zip(made.cuts, lines, strict=True):
        told = {cell.attributes["data-name"]: cell.text for cell in line.all("td")}
        assert line.one("th").text.startswith(cut.name)
        assert told["Bytes"].startswith(f"{cut.bytes_raw:,}")
        assert told["8 bits"] == f"{cut.bytes_quantised:,}"
        assert told["Sends"] == "×".join(map(str, cut.shape))
        ridge = cut.result("ridge")
        if ridge is not None and not ridge.failure:
            shown = float(told["Ridge"].split(" %")[0])
            assert shown == pytest.approx(100 * ridge.scores["identification"].mean, abs=0.05)


def test_the_cut_to_audit_is_marked_once_and_only_where_there_is_one(made: Scan) -> None:
    root, best = page.read(render_scan(made)), knee(made)
    marks = [line.one("th").text for line in root.all("tr", class_="front")]
    rings = root.all("circle", class_="ring")
    assert len(marks) == (best is not None)
    assert len(rings) == 2 * (best is not None)  # one drawing for a page, one for a phone
    if best is not None:
        assert marks[0].startswith(best.name)
        assert best.name in root.one("h1").text


@pytest.mark.parametrize("paper", [WIDE, PHONE], ids=["wide", "phone"])
def test_marks_stand_where_their_numbers_are(made: Scan, paper: Paper) -> None:
    drawn = page.read(str(chart(made, paper, "what is drawn")))
    assert drawn.one("svg").attributes["aria-label"] == "what is drawn"
    spots = {(round(float(x)), round(float(y)))
             for mark in [*drawn.all("g", class_="mk"), *drawn.all("g", class_="doubt")]
             for x, y in [re.findall(r"[\d.]+", mark.attributes["transform"])]}  # fmt: skip
    for place, cut in enumerate(made.cuts):
        best = strongest(cut)
        assert best is not None
        x, y = x_of(paper, place, len(made.cuts)), y_of(paper, best.scores["identification"].mean)
        assert any(abs(x - a) <= 1 and abs(y - b) <= 1 for a, b in spots), cut.name
    for part in drawn.all("rect"):
        top, high = float(part.attributes["y"]), float(part.attributes["height"])
        assert paper.upper - 0.1 <= top
        assert high >= 0
        assert top + high == pytest.approx(paper.lower, abs=0.2)
    places = [float(x) for line in drawn.all("line") for x in (line.attributes["x1"], line.attributes["x2"])]
    assert min(places) >= 0
    assert max(places) <= paper.wide
    assert len(drawn.all("rect", class_="raw")) == len(made.cuts)


def test_the_drawings_axes_are_true_to_order() -> None:
    shares = [0, 0.01, 0.2, 0.7, 1]
    heights = [y_of(WIDE, share) for share in shares]
    assert heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (WIDE.middle, WIDE.top)
    steps = [x_of(WIDE, place, 5) for place in range(5)]
    assert steps == sorted(steps)
    assert WIDE.left < steps[0] < steps[-1] < WIDE.right


def test_the_same_victims_are_shown_at_every_cut(folder: Path) -> None:
    made = falls()
    strip = page.read(render_scan(made, folder)).one("div", class_="strip")
    lines = strip.all("div", class_="line")
    assert len(lines) == 1 + len(made.cuts)
    for cut, line in zip(made.cuts, lines[1:], strict=True):
        tiles = line.all("div", class_="tile")
        best = strongest(cut)
        assert best is not None
        assert [("hit" in tile.attributes["class"].split()) for tile in tiles] == [
            best.ranks[victim] == 1 for victim in made.pictures.victims
        ]
        assert all(tile.one("img").attributes["src"].startswith("data:image/") for tile in tiles)
        assert [("found" in tile.text) for tile in tiles] == [best.ranks[v] == 1 for v in made.pictures.victims]


def test_without_pictures_the_ranks_stay(folder: Path, tmp_path: Path) -> None:
    for html in (render_scan(falls(), folder, images=False), render_scan(falls(), None)):
        root = page.read(html)
        assert not root.all("img")
        assert len(root.all("div", class_="bare")) == 4 * 6
        assert "ranks" in root.one("section", id="see").text
    (folder / "pictures.safetensors").write_bytes(b"broken")
    assert not page.read(render_scan(falls(), folder)).all("img")


def test_names_are_text_and_never_markup() -> None:
    html = render_scan(bare())
    assert "<b>&very" not in html
    assert "features.0.<b>&very" in page.read(html).one("table", class_="sc-t").text


def test_what_was_left_out_and_noted_is_told() -> None:
    said = page.visible(page.read(render_scan(falls())))
    assert "2 cuts left out" in said
    assert "A note." in said
    control = page.visible(page.read(render_scan(undecided())))
    assert "layer0 was not asked about" in control
