"""The frontier's page: it says what the record's numbers say, is one whole file, and draws every setting once."""

from __future__ import annotations

import doctest
import itertools
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import page
import pytest
import sweeps
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash.frontier_record import Frontier, Reached, Row, Share, load, price
from unsmash.report import render_frontier
from unsmash.report.frontier_chart import chart
from unsmash.report.frontier_findings import chart_heading, headline, lines
from unsmash.report.frontier_sheet import PHONE, WIDE, Labels, Scales, Sheet
from unsmash.report.frontier_table import COLUMNS

CASES: list[Callable[[], Frontier]] = [
    sweeps.fifteen, sweeps.seeds, sweeps.two, sweeps.twenty, sweeps.all_failing, sweeps.all_leaking,
]  # fmt: skip
FORBIDDEN = re.compile(r"\b(safe|safely|safety|secure|guaranteed|anonymous|score|risk level)\b", re.IGNORECASE)


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def made(request: pytest.FixtureRequest) -> Frontier:
    frontier: Frontier = request.param()
    return frontier


def tree(frontier: Frontier) -> page.Element:
    return page.read(render_frontier(frontier))


def pill(root: page.Element) -> str:
    """The words beside the sign."""
    return str(root.one("span", class_="word").content[-1])


def label(text: str) -> str:
    return text.replace("\u202f", " ")


# -- the page as an artefact ------------------------------------------------------------------------------------------


def test_one_whole_file_that_loads_nothing(made: Frontier) -> None:
    html = render_frontier(made)
    root = page.read(html)
    assert html.startswith("<!doctype html>")
    assert "http:" not in html
    assert "https:" not in html
    assert len(html.encode()) < 500_000
    addresses = [element.attributes[name] for element in root.all("*") for name in ("src", "href")
                 if name in element.attributes]  # fmt: skip
    own = {row.report for row in made.rows if row.report}
    assert all(address.startswith(("data:image/", "#")) or address in own for address in addresses)
    assert own <= set(addresses)
    assert not [name for element in root.all("*") for name in element.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", html)
    assert {script.attributes["type"] for script in root.all("script")} == {"application/json"}
    policy = next(meta for meta in root.all("meta") if meta.attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.attributes["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_same_record_gives_same_bytes(made: Frontier) -> None:
    assert render_frontier(made) == render_frontier(made)
    assert render_frontier(load(page.read(render_frontier(made)).one("script", id="frontier").raw)) == render_frontier(
        made
    )


def test_the_file_is_the_data(made: Frontier) -> None:
    assert load(tree(made).one("script", id="frontier").raw) == made


def test_never_says_what_no_sweep_can_know(made: Frontier) -> None:
    text = page.visible(tree(made))
    assert len(text) > 300
    assert not FORBIDDEN.findall(text)


def test_every_link_inside_the_page_has_its_target(made: Frontier) -> None:
    root = tree(made)
    ids = [element.attributes["id"] for element in root.all("*") if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    links = {link.attributes["href"] for link in root.all("a") if link.attributes["href"].startswith("#")}
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert {"#verdict", "#settings"} <= links


def test_the_finding_stands_in_the_only_heading_and_in_the_title(made: Frontier) -> None:
    root = tree(made)
    assert root.one("h1").text == label(headline(made))
    assert root.one("head").one("title").text.startswith(pill(root))
    assert root.one("body").attributes["class"] in ("leaks", "passes", "inconclusive")


def test_names_from_a_record_stay_text() -> None:
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)> **b** {{ 7*7 }} ]]> <!--"
    made = sweeps.fifteen()
    rows = tuple(
        replace(
            row, name=f"{nasty} {place}", reason=nasty, runs=(nasty,), report=f"../../{nasty}",
            failure=row.failure and replace(row.failure, message=nasty, error=nasty, stage=nasty),
            attack=row.attack and replace(row.attack, attack=nasty, threat=nasty),
        )
        for place, row in enumerate(made.rows)
    )  # fmt: skip
    made = replace(
        made, rows=rows, name=nasty, noun=(nasty, nasty), data=nasty, model=nasty, command=nasty, budget=nasty,
        defences=tuple(replace(one, kind=nasty, protects=nasty, source=nasty) for one in made.defences),
        curves=tuple(replace(curve, title=nasty) for curve in made.curves), environment={nasty: nasty},
    )  # fmt: skip
    html = render_frontier(made)
    root = page.read(html)
    assert {script.attributes.get("type") for script in root.all("script")} == {"application/json"}
    assert not root.all("img")
    assert not [element for element in root.all("*") if "onerror" in element.attributes]
    assert "49" not in root.one("h1").text
    assert load(root.one("script", id="frontier").raw) == made


def test_pages_need_no_torch() -> None:
    code = "import sys, unsmash.frontier, unsmash.report.frontier; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "module", ["frontier", "frontier_chart", "frontier_findings", "frontier_sheet", "frontier_table", "words"]
)
def test_doctests_hold(module: str) -> None:
    assert doctest.testmod(import_module(f"unsmash.report.{module}")).failed == 0


# -- the table --------------------------------------------------------------------------------------------------------


def test_the_table_has_every_setting_and_the_label_by_price(made: Frontier) -> None:
    body = tree(made).one("table", class_="fr-t").one("tbody")
    names = [row.one("th").content[0] for row in body.all("tr")]
    shown = [name if isinstance(name, str) else name.text for name in names]
    expected = [row.name for row in made.rows]
    assert [name for name in shown if name != "Send only the label"] == expected
    assert ("Send only the label" in shown) is (made.label is not None)
    assert len(body.all("tr", class_="label")) == (made.label is not None)
    if made.label is not None:
        place = shown.index("Send only the label")
        key = (0.0, 0.0, made.label.bytes_sent, made.label.device_macs or math.inf)
        assert all(price(row) <= key for row in made.rows[:place])
        assert all(price(row) >= key for row in made.rows[place:])


def test_the_tables_figures_are_the_records(made: Frontier) -> None:
    body = tree(made).one("table", class_="fr-t").one("tbody")
    lines = [line for line in body.all("tr") if "label" not in line.attributes["class"].split()]
    for row, line in zip(made.rows, lines, strict=True):
        cells = {cell.attributes["data-name"]: cell.text for cell in line.all("td")}
        assert tuple(cells) == COLUMNS
        for name, reached in (
            ("Strongest attack", row.attack),
            ("With the list", row.gallery),
            ("Repeats", row.repeats),
        ):
            if reached is not None:
                assert float(cells[name].split(" %")[0]) == pytest.approx(100 * reached.share.mean, abs=0.051)
        if row.accuracy is not None and row.lost is not None:
            assert float(cells["Accuracy"].split(" %")[0]) == pytest.approx(100 * row.accuracy.mean, abs=0.051)
            assert float(cells["Lost, points"].replace("−", "-")) == pytest.approx(100 * row.lost, abs=0.051)
            assert cells["Bytes"] == f"{row.bytes_sent:,}"
        if made.ceiling(row) is not None:
            assert cells["Proven at most"].startswith("≤ ")
        word = {"leaks": "✕ leaks", "passes": "✓ passes", "inconclusive": "? no verdict", "failed": "! failed"}[
            row.word
        ]
        assert cells["Verdict"] == (word if row.good or row.word != "passes" else "✕ too dear")
        assert row.word in line.attributes["class"].split()
        assert bool(line.all("i", class_="on")) is row.front


def test_failures_and_doubts_say_why() -> None:
    text = page.visible(tree(sweeps.fifteen()))
    assert "did not finish, in victim: loss is NaN at step 210; try a lower rate (TrainingError)" in text
    assert "the attack failed even where it should succeed" in text
    assert "Only in the table: 1 setting without both numbers." in text
    assert "A hollow mark alone: no attack of that setting counts." in text


def test_what_passes_but_costs_too_much_is_not_called_good() -> None:
    made = sweeps.study(
        sweeps.entries([sweeps.ROWS[0], sweeps.ROWS[11]]), budget="identification>0.05 or accuracy<0.98"
    )
    assert [row.word for row in made.rows] == ["leaks", "passes"]
    assert not any(row.good for row in made.rows)
    root = tree(made)
    assert "✕ too dear" in page.visible(root)
    assert pill(root) == "None of 2 shown to be within the budget"


# -- the sentences ----------------------------------------------------------------------------------------------------


def test_the_cheapest_that_is_good_enough_leads() -> None:
    made = sweeps.fifteen()
    best = next(row for row in made.rows if row.good)
    assert best.name == "label"
    assert headline(made) == "Label is good enough: 9 of 500 images identified, at no loss of accuracy."
    told = " ".join(lines(made))
    assert "the cheapest of four settings within your limit of 25" in told
    assert "it gives away **10 of 500**; no attacker gets beyond 10 of 500 on average, proven." in told
    assert "Sending only the label gives away 10 of 500 at accuracy 97.9 %" in label(told)
    assert "**1 setting did not finish:** DP-SGD, noise 9." in told
    assert "**Audit next:** label, by its own report, with more seeds." in told


def test_only_the_label_leads_where_it_is_cheapest() -> None:
    made = sweeps.study(sweeps.entries([sweeps.ROWS[0], sweeps.ROWS[11]]))
    assert headline(made) == "Send only the label: 10 of 500 images identified, at no loss of accuracy."
    told = " ".join(lines(made))
    assert (
        "the cheapest within your limit of 25 is **bottleneck 16 + CEM + Gaussian 0.25**: 11 of 500 images, for 0.4"
        in told
    )
    assert "the whole network, 9.9 M multiply-adds, runs on the device" in label(told)
    leaking = sweeps.all_leaking()
    assert headline(leaking).startswith("Every setting leaks. Send only the label: 10 of 500")
    assert tree(leaking).one("body").attributes["class"] == "leaks"


HEADLINES: dict[str, tuple[list[int], str, str]] = {
    "every one leaks": (
        [4, 5], "identification>0.01",
        "Every setting leaks: the least, Laplace 1.0, gives away 181 of 500 images. Your limit is 5.",
    ),
    "the only one leaks": ([5], "identification>0.01",
                           "The only setting leaks: it gives away 181 of 500 images. Your limit is 5."),
    "too close": (
        [5, 11], "identification>0.018",
        "No setting is shown to be good enough: the nearest, bottleneck 16 + CEM + Gaussian 0.25, gives away 11 of 500"
        " images. Your limit is 9.",
    ),
    "another metric": ([5], "ssim>0.9",
                       "Laplace 1.0 is good enough: 181 of 500 images identified, for 0.6 points of accuracy."),
    "no defence needed": ([0], "ssim>0.9", "No defence is needed: 488 of 500 images identified, at accuracy 96.0 %."),
    "the list": ([11, 13], "gallery_identification>0.1",
                 "Label is good enough: 10 of 500 images identified, at no loss of accuracy."),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADLINES)
def test_headlines(case: str) -> None:
    chosen, budget, told = HEADLINES[case]
    made = sweeps.study(sweeps.entries([sweeps.ROWS[place] for place in chosen]), budget=budget)
    assert label(headline(made)) == told
    assert tree(made).one("h1").text == told


def test_nothing_finished_has_no_chart_and_no_numbers() -> None:
    made = sweeps.all_failing()
    assert headline(made).startswith("No setting finished")
    root = tree(made)
    assert not root.all("svg", class_="dk")
    assert "0 images" not in page.visible(root)


@pytest.mark.parametrize(("rows", "budget", "told"), [
    ([0, 5], "identification>0.05", "No setting stays within your limit"),
    ([0, 11], "identification>0.022", "No setting is shown to stay within your limit"),
    ([0, 13], "identification>0.05", "One of two settings stays within your limit, against a candidate list too"),
    ([0, 11], "identification>0.05",
     "One of two settings stays within your limit; against a candidate list it does not"),
    ([0, 11, 14], "identification>0.05",
     "Two of three settings stay within your limit; against a candidate list none of them does"),
    ([11, 13], "identification>0.05",
     "Two of two settings stay within your limit; one of them against a candidate list too"),
    ([0, 13], "ssim>0.9", "What each setting costs, and what it gives away"),
    ([13], "identification>0.05", "What each setting costs, and what it gives away"),
])  # fmt: skip
def test_the_charts_heading_counts(rows: list[int], budget: str, told: str) -> None:
    made = sweeps.study(sweeps.entries([sweeps.ROWS[place] for place in rows]), budget=budget)
    assert chart_heading(made) == told


def test_each_kind_of_defence_is_explained_once() -> None:
    made = sweeps.fifteen()
    section = tree(made).one("section", id="methods")
    assert [heading.text for heading in section.all("h3")] == [one.kind for one in made.defences]
    assert section.text.count("It does not hide the symbol itself.") == len(made.defences)
    assert "Warner 1965" in section.text


# -- the drawing ------------------------------------------------------------------------------------------------------


def drawn(made: Frontier, sheet: Sheet = WIDE) -> page.Element:
    return page.read(str(chart(made, sheet, "A sentence that says what is to be seen here."))).one("svg")


def centre(mark: page.Element) -> tuple[float, float]:
    if "cx" in mark.attributes:
        return float(mark.attributes["cx"]), float(mark.attributes["cy"])
    found = re.fullmatch(r"translate\((.+),(.+)\)", mark.attributes["transform"])
    assert found
    return float(found[1]), float(found[2])


def marks(svg: page.Element) -> dict[str, tuple[float, float]]:
    """Filled marks by the name in their title."""
    return {mark.one("title").raw.split(":")[0]: centre(mark) for mark in svg.all("g", class_="mk")}


@pytest.mark.parametrize("sheet", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_setting_is_drawn_once(made: Frontier, sheet: Sheet) -> None:
    rows = [row for row in made.rows if row.accuracy is not None]
    if not rows:
        assert str(chart(made, sheet, "nothing")) == ""
        return
    svg = drawn(made, sheet)
    assert set(marks(svg)) == {row.name for row in rows if row.attack is not None}
    assert len(svg.all("g", class_="mk")) == len(marks(svg))
    assert len(svg.all("circle", class_="list")) == sum(row.gallery is not None for row in rows)
    assert len(svg.all("path", class_="cap")) == sum(made.ceiling(row) is not None for row in rows)
    assert len(svg.all("circle", class_="ring")) == sum(row.front for row in rows)
    assert len(svg.all("polyline", class_="curve")) == len(made.curves)
    assert len(svg.all("path", class_="star")) == 1
    assert len(svg.attributes["aria-label"]) > 40
    circles = [mark for mark in svg.all("circle") if "cx" in mark.attributes]
    for x, y in [*marks(svg).values(), *map(centre, circles)]:
        assert sheet.left - 1 <= x <= sheet.right + 1
        assert 0 <= y <= sheet.bottom + 1


@pytest.mark.parametrize("sheet", [WIDE, PHONE], ids=["wide", "phone"])
def test_better_is_further_right_and_lower(made: Frontier, sheet: Sheet) -> None:
    rows = {row.name: row for row in made.rows}
    if not any(row.accuracy for row in made.rows):
        return
    for (one, first), (other, second) in itertools.permutations(marks(drawn(made, sheet)).items(), 2):
        a, b = rows[one], rows[other]
        assert a.accuracy is not None
        assert b.accuracy is not None
        assert a.attack is not None
        assert b.attack is not None
        assert a.accuracy.mean <= b.accuracy.mean or first[0] >= second[0] - 0.06
        assert a.attack.share.mean <= b.attack.share.mean or first[1] <= second[1] + 0.06


def test_what_is_over_the_limit_stands_over_its_line() -> None:
    made = sweeps.fifteen()
    svg = drawn(made)
    line = next(one for one in svg.all("line", class_="lim") if one.attributes["y1"] == one.attributes["y2"])
    for row in made.rows:
        if row.name in marks(svg) and row.attack is not None and made.limit is not None:
            over = marks(svg)[row.name][1] < float(line.attributes["y1"])
            assert over is (row.attack.share.mean > made.limit)
    goal = svg.one("rect", class_="goal")
    assert float(goal.attributes["y"]) == float(line.attributes["y1"])
    least = next(one for one in svg.all("line", class_="lim") if one.attributes["x1"] == one.attributes["x2"])
    assert float(goal.attributes["x"]) == float(least.attributes["x1"])
    assert "your limit, 5 % at accuracy 90 % or more" in label(svg.text)


def test_curves_run_through_their_settings_in_order() -> None:
    made = sweeps.twenty()
    svg = drawn(made)
    (curve,) = made.curves
    points = [tuple(map(float, point.split(","))) for point in svg.one("polyline").attributes["points"].split()]
    assert points == [marks(svg)[made.rows[place].name] for place in curve.rows]
    assert list(curve.values) == sorted(curve.values)
    texts = [text.raw for text in svg.all("text", class_="halo")]
    assert any(text.startswith("laplace, inference: scale ") for text in texts)
    assert "1.51" in texts


def test_a_setting_that_cannot_be_placed_is_not_drawn() -> None:
    made = sweeps.two()
    bare = replace(made, rows=tuple(replace(row, accuracy=None) for row in made.rows))
    assert str(chart(bare, WIDE, "nothing")) == ""
    assert "svg" not in {element.tag for element in tree(bare).one("main").all("figure")}


def test_what_counts_for_nothing_is_dashed_and_not_filled() -> None:
    made = sweeps.two()
    doubted = replace(made, rows=tuple(replace(row, doubt="weak", front=False) for row in made.rows))
    svg = drawn(doubted)
    assert not svg.all("g", class_="mk")
    assert len(svg.all("g", class_="doubt")) == 2
    assert "not counted: weak" in svg.text


def test_everything_low_is_drawn_larger() -> None:
    def low(share: float) -> Frontier:
        row = Row(
            "a", "passes", accuracy=Share(0.9, 0.9, 0.9, 500), attack=Reached(Share(share, share, share, 500), "", "")
        )
        return Frontier("5eed", "", (row,), "identification>0.05", "identification", limit=0.05, n=500)

    ticks = [[text.text for text in drawn(low(share)).all("text", class_="tx")] for share in (0.1, 0.3)]
    assert "25 %" in ticks[0]
    assert "100 %" in ticks[1]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0, 1), st.sampled_from([WIDE, PHONE]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_scales_keep_the_order_and_stay_on_the_sheet(values: list[float], best: float, sheet: Sheet) -> None:
    scales = Scales(sheet, best, best - 0.5, 1.0)
    accuracies = sorted(best - 0.5 * value for value in values)
    placed = [scales.x(accuracy) for accuracy in accuracies]
    assert placed == sorted(placed)
    assert all(sheet.left <= x <= sheet.right for x in placed)
    shares = [scales.y(value) for value in sorted(values)]
    assert shares == sorted(shares, reverse=True)
    assert all(sheet.top <= y <= sheet.bottom for y in shares)


@given(st.lists(st.tuples(st.floats(60, 1000), st.floats(45, 430)), min_size=1, max_size=25), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_names_never_cover_marks_or_each_other(places: list[tuple[float, float]], data: st.DataObject) -> None:
    labels = Labels(WIDE)
    for x, y in places:
        labels.block(x, y, 7)
    count = len(labels.taken)
    for x, y in places:
        labels.write(x, y, data.draw(st.text("abc ", min_size=1, max_size=20)))
    written = labels.taken[count:]
    assert len(labels.written) == len(written)
    for place, box in enumerate(written):
        assert box[0] >= 0
        assert box[2] <= WIDE.wide
        for other in (*labels.taken[:count], *written[:place]):
            assert box[0] >= other[2] or box[2] <= other[0] or box[1] >= other[3] or box[3] <= other[1]


BOX = st.tuples(st.floats(-30, 900), st.floats(-30, 400), st.floats(0, 300), st.floats(0, 60))


@given(st.lists(BOX, max_size=30), BOX)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_a_box_covers_is_the_area_that_it_shares_with_every_other(
    taken: list[tuple[float, ...]], one: tuple[float, ...]
) -> None:
    def box(left: float, top: float, wide: float, high: float) -> tuple[float, float, float, float]:
        return left, top, left + wide, top + high

    labels, mine = Labels(WIDE), box(*one)
    area = 0.0
    for other in dict.fromkeys(box(*each) for each in taken):
        labels.take(other)
        labels.take(other)  # what stands there twice is covered once
        wide = min(mine[2], other[2]) - max(mine[0], other[0])
        high = min(mine[3], other[3]) - max(mine[1], other[1])
        area += max(wide, 0) * max(high, 0)
    assert labels._covers(mine) == pytest.approx(area)
    assert (labels._covers(mine, all_of_it=False) > 0) == (labels._covers(mine) > 0)


def test_names_that_matter_are_written_even_where_it_is_crowded() -> None:
    made = sweeps.twenty()
    for sheet in (WIDE, PHONE):
        texts = [text.raw for text in drawn(made, sheet).all("text", class_="halo")]
        assert {"no defence", "label", "only the label"} <= set(texts)
        assert len(texts) == len(set(texts))
