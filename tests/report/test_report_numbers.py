"""What the page says is what the record holds: every count, share, rank and square is read back and compared."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import page
import pytest
import sample

from unsmash.records import Card, Run
from unsmash.report import render, summarise
from unsmash.verdicts import Verdict


def read(runs: list[Run], verdict: Verdict, folder: Path | None = None) -> page.Element:
    return page.read(render(summarise(runs, verdict, folder)))


def number(text: str) -> float:
    match = re.match(r"[≤ ]*(-?[\d,]+(?:\.\d+)?)", text.replace("−", "-"))
    assert match, text
    return float(match[1].replace(",", ""))


def test_table_of_all_numbers_equals_the_record() -> None:
    runs, verdict = sample.leaks()
    table = read(runs, verdict).one("section", id="numbers")
    columns = {
        "Identified": ("identification", 100, 0.05), "Identified by features": ("feature_identification", 100, 0.05),
        "Recognised": ("recognition", 100, 0.05), "SSIM": ("ssim", 1, 5e-4), "PSNR, dB": ("psnr", 1, 0.05),
        "MSE": ("mse", 1, 5e-5),
    }  # fmt: skip
    rows = table.one("tbody").all("tr")
    assert len(rows) == len(runs[0].results)
    for row, result in zip(rows, runs[0].results, strict=True):
        assert row.one("th").text.startswith(result.title)
        cells = {cell.attributes["data-name"]: cell.text for cell in row.all("td")}
        assert set(cells) == set(columns)
        for name, (metric, factor, digit) in columns.items():
            mean = result.mean(metric)
            if mean is None:
                assert cells[name] == "–"
            else:
                assert number(cells[name]) == pytest.approx(mean * factor, abs=digit * 1.001)
        score = result.scores["identification"]
        low, high = re.findall(r"\(([\d.]+)–([\d.]+)\)", cells["Identified"])[0]
        assert float(low) == pytest.approx(score.low * 100, abs=0.51)
        assert float(high) == pytest.approx(score.high * 100, abs=0.51)
    caption = table.one("caption").text
    assert "N = 500 images" in caption
    assert "[0, 1]" in caption
    assert "0.410" in caption


def test_adversary_table_equals_the_verdict() -> None:
    runs, verdict = sample.leaks()
    rows = read(runs, verdict).one("table", class_="adv").one("tbody").all("tr")
    assert len(rows) == len(verdict.adversaries) == 3
    for row, threat, entry in zip(rows, runs[0].threats, verdict.adversaries, strict=True):
        share = entry.count / entry.n
        assert row.one("th").text.startswith(threat.title)
        assert number(row.one("td", class_="n").text) == pytest.approx(share * 100, abs=0.051)
        style = row.one("span", class_="bar").one("i").attributes["style"]
        assert number(style.removeprefix("width:")) == pytest.approx(share * 100, abs=0.051)
        assert row.one("u").attributes["style"] == "left:5%"
    assert [row.one("td", class_="x").text for row in rows] == [
        "✕ 7 times over", "✕ 19 times over", "not in your budget; shown",
    ]  # fmt: skip
    assert "aside" in rows[2].attributes["class"]


def test_union_over_attacks_stands_beside_the_headline_with_its_chance() -> None:
    runs, verdict = sample.leaks()
    entry = replace(verdict.adversaries[0], union=292, attacks=3)
    verdict = replace(verdict, adversaries=(entry, *verdict.adversaries[1:]))
    row = read(runs, verdict).one("table", class_="adv").one("tbody").all("tr")[0]
    assert "three attacks finds 292 of 500 (by chance 3)" in row.text


def test_axis_marks_stand_where_the_shares_are() -> None:
    runs, verdict = sample.leaks()
    chart = read(runs, verdict).one("table", class_="ax").one("tbody")
    by_title = {row.one("th").text: row for row in chart.all("tr") if row.all("i", class_="m")}
    assert len(by_title) == len(runs[0].results) + 1
    for result in runs[0].results:
        row = next(row for title, row in by_title.items() if title.startswith(result.title))
        mean = result.scores["identification"].mean * 100
        assert number(row.one("i", class_="m").attributes["style"].removeprefix("left:")) == pytest.approx(
            mean, abs=0.05
        )
        assert number(row.one("td", class_="val").text) == pytest.approx(mean, abs=0.051)
        assert row.one("i", class_="lim").attributes["style"] == "left:5%"
    chance = next(row for title, row in by_title.items() if title.startswith("Pure chance"))
    assert chance.one("td", class_="val").text == "0.2 %"
    best = [row.one("th").text for row in chart.all("tr", class_="best")]
    assert len(best) == 2
    assert best[0].startswith("Residual decoder")
    assert best[1].startswith("Decoder on the median message")


def test_axis_is_cut_when_everything_is_low() -> None:
    runs = [sample.run(sample.results(decoder=9, repeat=13, gallery=60))]
    chart = read(runs, sample.verdict("passes", runs)).one("section", id="axis")
    ticks = [tick.text for tick in chart.one("span", class_="scale").all("span")][:5]
    assert ticks == ["0", "6.25", "12.5", "18.75", "25 %"]
    row = next(row for row in chart.all("tr") if row.text.startswith("With the candidates"))
    assert number(row.one("i", class_="m").attributes["style"].removeprefix("left:")) == pytest.approx(
        60 / 500 / 0.25 * 100
    )
    assert "ends at 25" in chart.text


def test_invalid_and_failed_attacks_are_drawn_as_not_counted() -> None:
    runs, verdict = sample.inconclusive()
    tree = read(runs, verdict)
    chart = tree.one("table", class_="ax")
    broken = next(row for row in chart.all("tr") if row.text.startswith("Residual decoder"))
    assert broken.all("i", class_="invalid")
    assert "not counted" in broken.one("td", class_="val").text
    assert "Every guess is the same empty page" in broken.text
    lost = next(row for row in chart.all("tr") if row.text.startswith("Nearest look-alike"))
    assert not lost.all("i", class_="m")
    assert "Ran out of memory after 12 of 500 victims" in lost.text
    assert "Ran out of memory" in tree.one("section", id="trust").text
    sound = next(row for row in chart.all("tr") if row.text.startswith("Ridge"))
    assert not sound.all("i", class_="invalid")


def test_gallery_tells_found_and_rank_of_each_pictured_victim(tmp_path: Path) -> None:
    runs, verdict = sample.leaks()
    one = runs[0]
    tree = read(runs, verdict, sample.save_pictures(tmp_path, one))
    columns = tree.one("section", id="see").all("figure", class_="victim")
    assert len(columns) == 12
    for column, victim in zip(columns, one.pictures.victims, strict=True):
        tags = [tile.one("span", class_="tag").text for tile in column.all("div", class_="tile")][2:]
        expected = []
        for name in one.pictures.shown:
            result = one.result(name)
            found = result.scores["identification"].values[victim] >= 0.5
            expected.append("● found" if found else f"rank {result.ranks[victim]}")
        assert tags == expected
        assert len(column.all("div", class_="hit")) == expected.count("● found")
    assert "This page shows 12 private originals" in tree.one("section", id="see").text


def test_facts_equal_the_record() -> None:
    runs, verdict = sample.leaks()
    facts = {
        fact.one("dt").text: fact.one("dd").text for fact in read(runs, verdict).one("dl", class_="facts").all("div")
    }
    assert facts["Accuracy"] == "95.4 % −0.6 points against no defence, of 500 held-out images"
    assert facts["Sent per image"] == "2,000 bytes 2.6 times the image itself (784)"
    assert facts["Time on the device"] == "0.84 ms 1.0 ms at the 95th percentile"
    assert facts["How sure"] == "32–41 % 95 % interval over 500 images; one seed"


def test_several_seeds_are_averaged_and_named() -> None:
    runs, verdict = sample.seeds()
    tree = read(runs, verdict)
    mean = (181 + 170 + 192) / 3 / 500
    row = next(row for row in tree.one("section", id="numbers").all("tr") if row.text.startswith("Residual decoder"))
    assert number(row.all("td")[0].text) == pytest.approx(mean * 100, abs=0.051)
    assert "181, 170 and 192 of 500" in tree.one("section", id="trust").text
    assert "three seeds" in tree.one("dl", class_="facts").text
    seeds = dict(zip([name.text for name in tree.one("dl", class_="pairs").all("dt")],
                     [text.text for text in tree.one("dl", class_="pairs").all("dd")], strict=True))  # fmt: skip
    assert seeds["Seeds"] == "0, 1, 2"


def test_a_seed_that_failed_is_said_and_the_rest_reported() -> None:
    runs, _ = sample.seeds()
    broken = sample.failed()[0][0]
    tree = read([*runs[:2], broken], sample.verdict("leaks", runs[:2]))
    assert "Seed 3 did not finish, in stage train: loss is NaN at step 210" in tree.one("section", id="verdict").text
    assert tree.one("table", class_="adv")


def test_card_of_joined_seeds_is_as_weak_as_its_weakest_seed() -> None:
    runs, verdict = sample.seeds()
    weak = replace(runs[2], results=tuple(replace(entry, card=Card(strong=False)) if entry.name == "ridge" else entry
                                          for entry in runs[2].results))  # fmt: skip
    chart = read([*runs[:2], weak], verdict).one("table", class_="ax")
    row = next(row for row in chart.all("tr") if row.text.startswith("Ridge"))
    assert row.all("i", class_="invalid")
