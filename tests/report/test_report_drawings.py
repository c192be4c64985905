"""Squares and tiles: as many as there are victims, outlined where the limit is, and the pixels that were stored."""

from __future__ import annotations

import base64
import doctest
import io
import re
from collections.abc import Callable
from importlib import import_module

import numpy as np
import page
import pytest
import sample
from PIL import Image

from unsmash.records import Run
from unsmash.report import drawings, render, summarise, tiles
from unsmash.report.parts import Share, Squares
from unsmash.verdicts import Verdict


def squares_of(runs: list[Run], verdict: Verdict) -> page.Element:
    return page.read(render(summarise(runs, verdict, None))).one("figure", class_="squares")


def area(path: str) -> float:
    """Squares inside an outline: its corners followed, by the shoelace formula."""
    x = y = 0.0
    corners = []
    for command, first, second in re.findall(r"([MHV])(\d+)(?: (\d+))?", path):
        x = float(first) if command in "MH" else x
        y = float(second) if command == "M" else float(first) if command == "V" else y
        corners.append((x, y))
    turned = [*corners[1:], corners[0]]
    return abs(sum(a * d - b * c for (a, b), (c, d) in zip(corners, turned, strict=True))) / 2 / drawings.PITCH**2


@pytest.mark.parametrize("case", [sample.leaks, sample.passes, sample.inconclusive, sample.seeds])
def test_one_square_for_each_victim(case: Callable[[], tuple[list[Run], Verdict]]) -> None:
    assert len(squares_of(*case()).all("rect")) == 500


def test_squares_are_given_to_the_weakest_adversary_that_finds_them() -> None:
    runs, verdict = sample.leaks()
    one = runs[0]
    first, second, third = (
        {index for index, value in enumerate(one.result(name).scores["identification"].values) if value}
        for name in ("decoder", "decoder@repeat", "gallery")
    )
    figure = squares_of(runs, verdict)
    expected = [len(first), len(second - first), len(third - second - first), 500 - len(first | second | third)]
    assert [len(group.all("rect")) for group in figure.all("g")] == expected
    assert [int(bold.text.lstrip("+")) for bold in figure.one("ul").all("b")] == expected


def test_sets_that_do_not_nest_are_counted_once() -> None:
    found = [sample.result("ridge", "Ridge", 100), sample.result("pool", "Pool", 50, threat="repeat", offset=80)]
    runs = [sample.run(found)]
    counts = [len(group.all("rect")) for group in squares_of(runs, sample.verdict("leaks", runs)).all("g")]
    assert counts == [100, 30, 370]


def test_many_victims_share_squares_and_the_page_says_so() -> None:
    runs = [sample.run(sample.results(decoder=600, repeat=900, gallery=1000, n=2000), n=2000)]
    figure = squares_of(runs, sample.verdict("leaks", runs))
    assert [len(group.all("rect")) for group in figure.all("g")] == [150, 75, 25, 250]
    assert "500 squares stand for 2,000 images" in figure.text
    assert area(figure.one("path").attributes["d"]) == 25
    assert "your limit: 100" in figure.text


@pytest.mark.parametrize(
    ("limit", "n"), [(0, 500), (1, 500), (24, 500), (25, 500), (26, 500), (60, 500), (500, 500), (3, 40)]
)
def test_outline_holds_exactly_the_limit(limit: int, n: int) -> None:
    drawn = drawings.waffle(Squares((Share("never", n, "never"),), n, limit, "", ""))
    path = re.search(r'<path class="limit" d="([^"]+)"', drawn)
    assert path
    assert area(path[1]) == limit


def test_no_limit_no_outline() -> None:
    assert "limit" not in drawings.waffle(Squares((Share("never", 500, "never"),), 500, None, "", ""))


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_grey_pixels_travel_unchanged() -> None:
    pixels = sample.digits()[3]
    uri = tiles.picture(pixels)
    assert uri.startswith("data:image/png")
    np.testing.assert_array_equal(np.asarray(decoded(uri)), pixels[0])


def test_colour_photographs_are_jpeg_and_small_ones_exact() -> None:
    large = sample.colour()[0][0]
    assert tiles.picture(large).startswith("data:image/jpeg")
    near = np.asarray(decoded(tiles.picture(large)), dtype=float).transpose(2, 0, 1)
    assert np.abs(near - large).mean() < 12
    small = np.ascontiguousarray(large[:, :20, :30])
    np.testing.assert_array_equal(np.asarray(decoded(tiles.picture(small))).transpose(2, 0, 1), small)


def test_large_images_are_reduced() -> None:
    assert decoded(tiles.picture(np.zeros((1, 300, 600), np.uint8))).size == (128, 64)


def test_every_number_sent_is_a_cell() -> None:
    sheet = tiles.cells(np.arange(500, dtype=np.float32))
    assert sheet.shape == (20, 25)
    np.testing.assert_array_equal(sheet.ravel(), np.arange(500))
    odd = tiles.cells(np.arange(7, dtype=np.float32))
    assert np.isfinite(odd).sum() == 7


def test_maps_are_tiles_of_the_most_active() -> None:
    maps = np.zeros((3, 20, 8, 8), np.float32)
    maps[:, 4:] = 1 + np.arange(16)[None, :, None, None]
    chosen = tiles.busiest(maps)
    assert chosen.shape == (3, 16, 8, 8)
    assert chosen.min() == 1
    sheet = tiles.cells(chosen[0])
    assert sheet.shape == (4 * 9 - 1, 4 * 9 - 1)
    assert np.isfinite(sheet).sum() == 16 * 64


def test_blue_below_zero_orange_above_at_a_fixed_scale() -> None:
    image = decoded(tiles.diverging(np.array([[-9.0, -1.5, 0.0, 1.5, 3.0, 30.0]]), 1.0)).convert("RGB")
    red, _, blue = np.asarray(image)[0].astype(int).T
    assert list(blue[:2] > red[:2]) == [True, True]
    assert list(red[3:] > blue[3:]) == [True, True, True]
    assert blue[0] < 255 > red[5]
    np.testing.assert_array_equal(np.asarray(image)[0, 4], np.asarray(image)[0, 5])
    np.testing.assert_array_equal(np.asarray(image)[0, 2], [250, 248, 244])


def test_maps_that_resemble_pictures_are_told_from_noise() -> None:
    maps = sample.colour()[1]
    noise = np.random.default_rng(1).normal(size=maps.shape)
    assert tiles.smooth(maps)
    assert not tiles.smooth(noise)


@pytest.mark.parametrize("name", ["words", "drawings", "render", "evidence"])
def test_documented_examples_hold(name: str) -> None:
    outcome = doctest.testmod(import_module(f"unsmash.report.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
