"""Two studies held against each other: matched rows, differences that intervals show, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import page
import pytest
import sweeps
from commandline import Tell
from hypothesis import given
from hypothesis import strategies as st

from unsmash.frontier_record import Frontier, Share
from unsmash.report import render_comparison
from unsmash.report.compare import headline
from unsmash.store import write_record
from unsmash.studies import FOLDER, RECORD
from unsmash.study_difference import difference, said

ROWS = sweeps.ROWS[:6]
ENDS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


def first() -> Frontier:
    return sweeps.study(sweeps.entries(ROWS), id="aaaa00000000", name="one")


def second() -> Frontier:
    """The same without NoPeek 0.1, Laplace 1.0 found far less, one renamed, one more."""
    name, defences, accuracy, _, listed, repeats, sent, more = ROWS[5]
    rows = [ROWS[0], ROWS[2], ROWS[3], ("noise, half", *ROWS[4][1:]),
            (name, defences, accuracy, 60, listed, repeats, sent + 10, more), sweeps.ROWS[9]]  # fmt: skip
    return sweeps.study(sweeps.entries(rows), id="bbbb00000000", name="two")


def test_rows_go_together_by_name_else_by_experiment() -> None:
    found = difference(first(), second())
    matched = {(pair.first.name, pair.second.name) for pair in found.pairs if pair.first and pair.second}
    assert ("Laplace 0.5", "noise, half") in matched
    assert {(name, name) for name in ("no defence", "NoPeek 0.5", "NoPeek 5", "Laplace 1.0")} < matched
    assert [row.name for row in found.vanished] == ["NoPeek 0.1"]
    assert [row.name for row in found.new] == ["adversarial 5"]


def test_a_study_does_not_differ_from_itself() -> None:
    found = difference(first(), first())
    assert len(found.pairs) == len(ROWS)
    assert (found.vanished, found.new, found.warnings) == ((), (), ())
    assert {pair.identified for pair in found.pairs} == {"not shown"}
    assert headline(found).startswith("No difference is shown")


def test_the_other_way_round_says_the_opposite() -> None:
    opposite = {"higher": "lower", "lower": "higher", "not shown": "not shown", "unknown": "unknown"}
    there, back = difference(first(), second()), difference(second(), first())
    ways = {frozenset((pair.first.name, pair.second.name)): pair.identified
            for pair in back.pairs if pair.first and pair.second}  # fmt: skip
    for pair in there.pairs:
        assert pair.first
        assert pair.second
        assert ways[frozenset((pair.first.name, pair.second.name))] == opposite[pair.identified]
    assert {row.name for row in back.new} == {row.name for row in there.vanished}


@given(ENDS, ENDS)
def test_a_difference_is_shown_where_the_intervals_share_no_point(one: list[float], other: list[float]) -> None:
    a, b = (Share(sum(ends) / 2, ends[0], ends[1], 50) for ends in (one, other))
    apart = one[1] < other[0] or other[1] < one[0]
    assert (said(a, b) in ("higher", "lower")) == apart
    assert said(a, None) == "unknown"


def test_what_an_attack_that_proved_nothing_found_is_no_difference() -> None:
    weak = second()
    weak = replace(weak, rows=tuple(replace(row, doubt="it failed where it should succeed") for row in weak.rows))
    assert {pair.identified for pair in difference(first(), weak).pairs} == {"unknown"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fingerprint": "another"}, "different images"),
        ({"budget": "identification>0.5"}, "budgets differ"),
        ({"n": 7}, "out of 500 in the first and of 7"),
        ({"seeds": (0, 1)}, "2 seeds"),
    ],
)
def test_what_makes_two_studies_another_measurement_is_one_sentence(change: dict[str, object], sentence: str) -> None:
    found = difference(first(), replace(first(), **change))  # type: ignore[arg-type]
    assert [sentence in line for line in found.warnings] == [True]
    assert sentence in page.read(render_comparison(found)).text


def test_the_page_is_one_whole_file_with_every_row_and_both_fronts() -> None:
    found = difference(first(), second())
    html = render_comparison(found)
    root = page.read(html)
    assert "http:" not in html
    assert "https:" not in html
    assert not root.all("script")
    names = [row.one("th").text for row in root.one("table").one("tbody").all("tr")]
    assert len(names) == 7
    assert any("Laplace 0.5 → noise, half" in name for name in names)
    for drawing in root.all("svg", class_="fr"):
        assert len(drawing.all("circle", class_="was")) == len(drawing.all("circle", class_="now")) == 6
        rings = sum(row.front for one in (found.first, found.second) for row in one.rows)
        assert len(drawing.all("circle", class_="ring")) == rings
    assert render_comparison(found) == html


def test_nothing_in_common_and_nothing_at_all() -> None:
    other = sweeps.study(sweeps.entries(sweeps.ROWS[9:11]))
    assert "no setting in common" in headline(difference(first(), other))
    render_comparison(difference(sweeps.all_failing(), sweeps.all_failing()))
    render_comparison(difference(sweeps.all_failing(), first()))


def test_the_command_compares_by_id_and_name(tell: Tell, tmp_path: Path) -> None:
    for one in (first(), second()):
        folder = tmp_path / "runs" / FOLDER / one.id
        folder.mkdir(parents=True)
        write_record(folder / RECORD, one)
    done = tell("compare", "one", "bbbb", "--to", "sub/page.html")
    assert done.code == 0
    assert headline(difference(first(), second())) in " ".join(done.out.split())
    assert (tmp_path / "sub/page.html").read_text(encoding="utf-8") == render_comparison(difference(first(), second()))
    plain = json.loads(tell("compare", "one", "bbbb", "--json").out)
    found = difference(first(), second())
    assert plain["sentence"] == headline(found)
    assert plain["studies"] == [found.first.id, found.second.id]
    assert [row["name"] for row in plain["both"]] == [pair.name for pair in found.pairs]
    for row, pair in zip(plain["both"], found.pairs, strict=True):
        assert (row["identified"], row["accurate"]) == (pair.identified, pair.accuracy)
        assert [share and share["mean"] for share in row["identification"]] == [one and one.mean for one in pair.share]
    assert plain["only_first"] == [row.name for row in found.vanished]
    assert plain["only_second"] == [row.name for row in found.new]
    lost = tell("compare", "one", "nothing")
    assert (lost.code, "no study 'nothing'" in lost.err) == (2, True)
