"""The sentences of the Omniglot reproduction follow its figures, whichever way these fall."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unsmash.reproductions.omniglot_drawings import charts, sheets
from unsmash.reproductions.omniglot_tables import ALIKE, ATTACKS, PUBLISHED, RIGHT, START, Measured, tables
from unsmash.reproductions.omniglot_words import findings, headline, strongest
from unsmash.reproductions.paper import paper
from unsmash.reproductions.record import Measure
from unsmash.reproductions.systems.omniglot import CHANGED, Omniglot
from unsmash.reproductions.workbench import Made

NOISES = (0.7, 0.3)


def made(identified: float, *, error: float = 0.06, ssim: float = 0.55, collapsed: bool = False) -> Made:
    part = {
        "mse": [error, error - 0.001, error + 0.001, 100],
        "ssim": [ssim, ssim - 0.01, ssim + 0.01, 100],
        "identified": [identified, identified - 2, identified + 2, 500],
    }
    figures: dict[str, Any] = {"parts": dict.fromkeys(("all", "clean", "leaked"), part), "collapsed": collapsed}
    figures |= {"errors": [0.5, 0.05], "small1": [error, error, error, 50]}
    return Made(figures, {name: torch.zeros(2, 1, 4, 4) for name in ("first", "pairs")})


def run(private: float = 30.0, alike: float = 20.0, *, blank: float = 0.7, collapsed: bool = False) -> Measured:
    under = {"first": ["Latin, leaked", "Tagalog"], "pairs": ["Latin, leaked", "Tagalog"]}
    shown = Made({"under": under, "candidates": 500, "counts": {"all": 30, "clean": 20, "leaked": 10}}, made(0).arrays)
    shared = {"tests": 3120, "shared": 1000, "clean": 2120, "alphabets": {"Greek": 480, "Latin": 520}, "with_target": 0}
    got = Measured(paper("omniglot"), shown, shared)
    row = {"train": [80.0, 79.0, 81.0, 100], "val": [71.0, 69.0, 73.0, 100]}
    got.passes = {name: [{"pass": number, **row} for number in (1, 2)] for name in (PUBLISHED, RIGHT)}
    guesses = ("blank page", "best constant", "mean image", "32 principal components")
    got.floors = {name: made(0.2, ssim=blank) for name in guesses}
    targets = {PUBLISHED: 21.0, RIGHT: 22.0, ALIKE: alike, START: 40.0, "noise 0.7": private, "noise 0.3": private}
    for target, best in targets.items():
        got.attacks[target] = {kind: made(best if kind == "decoder" else best - 5) for kind in ATTACKS}
        got.attacks[target]["omniglot_decoder"] = made(1.0, collapsed=collapsed)
    got.standing = {name: row for name in targets if name not in (PUBLISHED, RIGHT, START)}
    got.epsilons = {noise: {"published": 4.0, "poisson": 4.4, "shuffled": 46.0} for noise in NOISES}
    return got


def sentence(got: Measured, word: str) -> str:
    found = [one for one in findings(got) if word in one]
    assert len(found) == 1
    return found[0]


def test_the_headline_tells_what_was_measured() -> None:
    told = headline(run())
    assert "**22.0\u202f%**" in told
    assert "1,000 of the 3,120" in told


@pytest.mark.parametrize(
    ("private", "said"), [(30.0, "more at"), (21.0, "as much, within"), (17.0, "as much, within"), (10.0, "less at")]
)
def test_private_targets_are_compared_beyond_the_intervals(private: float, said: str) -> None:
    told = sentence(run(private, alike=20.0), "the private ones give")
    assert f"the private ones give {said}" in told
    assert f"{private:.1f}\u202f%" in told


@pytest.mark.parametrize(("private", "protects"), [(10.0, False), (2.5, False), (1.0, True)])
def test_dp_sgd_is_said_to_protect_nobody_only_where_more_than_chance_is_identified(
    private: float, protects: bool
) -> None:
    told = sentence(run(private), "the private ones give")
    assert ("does not protect" in told) == (not protects)
    assert ("No more than chance" in told) == protects


@pytest.mark.parametrize(("blank", "wrong"), [(0.7, True), (0.4, False)])
def test_ssim_is_blamed_only_where_it_ranks_wrongly(blank: float, wrong: bool) -> None:
    got = run(blank=blank)
    assert ("wrong way round" in sentence(got, "blank page scores")) == wrong
    got.attacks[PUBLISHED]["ridge"] = made(0.2)  # as much as a blank page: nothing is ranked
    assert "wrong way round" not in sentence(got, "blank page scores")


def test_a_decoder_that_gave_one_guess_is_named_and_no_other() -> None:
    assert any("one and the same guess" in one for one in findings(run(collapsed=True)))
    assert not any("one and the same guess" in one for one in findings(run()))


def test_the_strongest_attack_is_the_one_that_identifies_most() -> None:
    assert strongest(run(), RIGHT) == "decoder"


def test_without_private_targets_nothing_is_said_of_them() -> None:
    got = run()
    got.epsilons, got.standing = {}, {}
    got.attacks = {name: got.attacks[name] for name in (PUBLISHED, RIGHT)}
    assert not any("DP-SGD" in one for one in findings(got))
    assert {"privacy", "private_attacks"}.isdisjoint(table.id for table in tables(got))
    assert all(len(sheet.lines) == len({name for name, _ in sheet.lines}) for sheet in sheets(got)[0])


def test_tables_put_each_figure_in_its_row() -> None:
    got = run()
    found = {table.id: table for table in tables(got)}
    rows = {row.name: {cell.column: cell for cell in row.cells} for row in found["private_attacks"].rows}
    assert set(rows) == {PUBLISHED, RIGHT, ALIKE, START, "noise 0.7", "noise 0.5", "noise 0.3"}
    assert rows["noise 0.7"]["decoder_identified"].right == Measure(30.0, 28.0, 32.0, 500)
    assert rows["noise 0.5"]["decoder_identified"].ours is None  # was not asked for
    epsilon = next(row for row in found["privacy"].rows if row.name == "noise 0.7").cells[0]
    assert (epsilon.published, epsilon.ours, epsilon.right) == (4.0, Measure(4.0), Measure(4.4))
    assert found["accuracy"].judged() == [
        False,
        False,
        False,
        False,
    ]  # 80 and 71 % after the first passes are not those
    got.incomparable = CHANGED
    assert not any(table.judged() for table in tables(got))


def test_pictures_and_curves_are_all_there() -> None:
    got = run()
    made_of, pictures = sheets(got)
    assert set(pictures) == {f"{sheet.id}/{place}" for sheet in made_of for place in range(len(sheet.lines))}
    for chart in charts(got):
        assert set(chart.published) <= {name for name, _ in chart.lines}
        for _, points in chart.lines:
            assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_only_the_published_sizes_are_held_against_published_figures() -> None:
    assert Omniglot()._as_published()
    assert Omniglot(leg=2)._as_published()
    assert not Omniglot(passes=9)._as_published()
    assert not Omniglot().small()._as_published()  # type: ignore[attr-defined]
