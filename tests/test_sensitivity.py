"""Which setting matters: against ranges worked out by hand from the rows, and what the page says of it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import page
import pytest
import sweeps
from test_table import put

from unsmash import guesses
from unsmash.frontier import Entry
from unsmash.frontier_record import Frontier, Row, load
from unsmash.plain import dumps
from unsmash.records import Card, Pictures, Run
from unsmash.report import render_frontier
from unsmash.sensitivity import effects, groups, paths
from unsmash.store import PICTURES

HITS = {
    ("pool", None): 480,
    ("pool", 1.0): 300,
    ("pool", 4.0): 60,
    ("fc", None): 470,
    ("fc", 1.0): 200,
    ("fc", 4.0): 40,
}
RIGHT = {None: 96.0, 1.0: 94.0, 4.0: 80.0}


def entries(**more: Any) -> list[Entry]:
    """Two cuts × no defence and two strengths of noise."""
    made = []
    for number, ((at, scale), hits) in enumerate(HITS.items()):
        defences = [] if scale is None else [{"kind": "laplace", "scale": scale}]
        (one,) = sweeps.runs(number, defences, RIGHT[scale], hits, 490, 0, 2000, **more)
        one = replace(one, experiment=one.experiment | {"at": at})
        made.append(Entry(f"{at} {scale}", one.experiment, (one,)))
    return made


def grid(**more: Any) -> Frontier:
    return sweeps.study(entries(**more))


def share(frontier: Frontier, name: str) -> float:
    (row,) = (row for row in frontier.rows if row.name == name)
    assert row.attack is not None
    return row.attack.share.mean


def test_each_effect_is_the_mean_range_with_the_rest_held() -> None:
    frontier = grid()
    found = {one.path: one for one in effects(frontier)}
    assert set(found) == {"defences", "defences.0.scale", "at"}
    by_cut = [[share(frontier, f"{at} {scale}") for scale in (None, 1.0, 4.0)] for at in ("pool", "fc")]
    by_scale = list(zip(*by_cut, strict=True))
    assert found["defences"].identified == pytest.approx(np.mean([max(one) - min(one) for one in by_cut]))
    assert found["defences.0.scale"].identified == pytest.approx(np.mean([abs(one[1] - one[2]) for one in by_cut]))
    assert found["at"].identified == pytest.approx(np.mean([abs(a - b) for a, b in by_scale]))
    assert found["defences"].accuracy == pytest.approx(0.16, abs=1e-3)
    assert found["at"].accuracy == 0
    assert (found["at"].combinations, found["defences"].combinations) == (3, 2)
    sizes = [one.identified for one in effects(frontier)]
    assert sizes == sorted(sizes, reverse=True)


def test_rows_that_differ_in_two_settings_are_no_evidence() -> None:
    kept = [one for one in entries() if one.name in ("pool 1.0", "fc 4.0")]
    assert effects(sweeps.study(kept)) == ()


def test_what_proved_nothing_is_left_out() -> None:
    weak = Card(strong=False, evidence=("Identifies 3 % on the undefended cut.",))
    mixed = [one if one.name != "fc 4.0" else two for one, two in zip(entries(), entries(card=weak), strict=True)]
    frontier = sweeps.study(mixed)
    (row,) = (row for row in frontier.rows if row.name == "fc 4.0")
    assert row.doubt or row.attack is None
    scale = next(one for one in effects(frontier) if one.path == "defences.0.scale")
    assert scale.combinations == 1


def test_small_differences_are_not_said_to_matter() -> None:
    same: list[Any] = [(f"laplace {scale}", [{"kind": "laplace", "scale": scale}], 95.0, hits, 490, 0, 2000, {})
            for scale, hits in ((1.0, 100), (1.1, 104))]  # fmt: skip
    frontier = sweeps.study(sweeps.entries(same))
    (one,) = effects(frontier)
    assert not one.clear
    text = page.read(render_frontier(frontier)).text
    assert "No setting is shown to matter" in text
    assert "intervals overlap" in text


def test_the_page_says_the_largest_effect_in_words() -> None:
    root = page.read(render_frontier(grid()))
    heading = root.one("h2", id="matters-h").text
    first = effects(grid())[0]
    assert first.path == "defences"
    assert heading.startswith("The defence matters most")
    assert f"{100 * first.identified:.1f} points" in heading
    (table,) = root.all("table", class_="bars")
    assert [row.one("code").text for row in table.one("tbody").all("tr")] == [one.path for one in effects(grid())]


def test_settings_that_vary_are_kept_in_the_record_and_old_records_read() -> None:
    frontier = grid()
    assert load(dumps(frontier)) == frontier
    assert {path for row in frontier.rows for path in row.settings} == {"at", "defences.0.scale"}
    assert len({row.experiment for row in frontier.rows}) == 6
    old = replace(frontier, rows=tuple(replace(row, settings={}, experiment="") for row in frontier.rows))
    assert "matters-h" not in render_frontier(old)


def test_groups_hold_rows_that_differ_in_one_setting_only() -> None:
    rows = [
        Row(f"{a}{b}", "leaks", settings={"a": a, "b": b}, experiment=f"{a}{b}")
        for a, b in itertools.product((1, 2), (3, 4, 5))
    ]
    for path, other, size in (("a", "b", 2), ("b", "a", 3)):
        for group in groups(rows, path):
            assert len(group) == size
            assert len({row.settings[other] for row in group}) == 1
    assert paths(replace(grid(), rows=tuple(rows))) == ["a", "b"]


def test_guesses_along_a_number_are_those_of_the_same_victims(tmp_path: Path) -> None:
    frontier = sweeps.study(stored(tmp_path))
    root = page.read(render_frontier(frontier, tmp_path))
    (strip,) = root.all("div", class_="strip")
    lines = strip.all("div", class_="line")
    assert [line.one("b").text for line in lines] == ["Original", "scale 1", "scale 4"]
    for line in lines:
        alts = [image.attributes["alt"] for image in line.all("img")]
        seen = [re.search(r"[Vv]ictim (\d+)", alt) for alt in alts]
        assert [found and found[1] for found in seen] == ["3", "5", "7", "2"]
    assert "4 private originals" in root.text
    hidden = page.read(render_frontier(frontier, tmp_path, images=False))
    assert not hidden.one("section", id="see").all("img")
    assert "private originals" not in hidden.text
    assert not page.read(render_frontier(frontier)).all("section", id="see")


def stored(root: Path) -> list[Entry]:
    """The noisy runs at one cut, with pictures and guesses; the second pictured other victims than the first."""
    made = []
    for entry, victims in zip([one for one in entries() if one.name in ("pool 1.0", "pool 4.0")],
                              ((3, 5, 7, 2), (9, 8, 6, 4)), strict=True):  # fmt: skip
        groups_ = ("worst", "worst", "typical", "least")
        index = Pictures(victims, groups_, ("",) * 4, "a rule", shown=("decoder",))
        one = replace(entry.runs[0], pictures=index)
        put(root, one)
        keep(root / one.id, one)
        made.append(replace(entry, runs=(one,)))
    return made


def keep(folder: Path, run: Run) -> None:
    generator = np.random.default_rng(0)
    guess = generator.random((sweeps.N, 1, 4, 4)).astype(np.float32)
    guesses.save(folder, {result.name: guess for result in run.results})
    guesses.write(folder / PICTURES, {"original": np.zeros((4, 1, 4, 4), np.uint8)})
