"""Curves and the way from image to guess: drawn where the numbers say, told as they are, small, left out on demand."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import page
import pytest
import sample
from PIL import Image
from safetensors.numpy import load_file, save_file

from unsmash.curves import Curve, Epoch
from unsmash.feature_record import FeatureMaps, Sheet
from unsmash.records import Run
from unsmash.report import render, summarise, tiles
from unsmash.report.curve_chart import BOTTOM, LEFT, RIGHT, TOP, chart
from unsmash.report.picture_parts import Plot


def plot(train: Sequence[float], held: Sequence[float] = (), kept: int | None = None) -> Plot:
    return Plot("Decoder", "It fell.", "Squared error", tuple(enumerate(train, 1)), tuple(enumerate(held)), kept)


def lines(drawing: str) -> dict[str, list[tuple[float, float]]]:
    found = re.findall(r'<polyline class="(\w+)" points="([^"]+)"', drawing)
    return {kind: [(float(x), float(y)) for x, y in (pair.split(",") for pair in path.split())] for kind, path in found}


def ticks(drawing: str) -> dict[float, float]:
    """What stands at the left of each grid line, and its height."""
    rows = re.findall(r'y1="([\d.]+)" y2="[\d.]+"/><text [^>]*>([^<]+)</text>', drawing)
    return {float(text): float(y) for y, text in rows}


@pytest.mark.parametrize("losses", [[0.5, 0.3, 0.25], [2.3, 2.2, 2.1, 2.0], [1e-4, 9e-5], [140.0, 90, 77], [0.7, 0.7]])
def test_a_loss_stands_where_the_axis_says(losses: list[float]) -> None:
    drawing = chart(plot(losses))
    marks, points = ticks(drawing), lines(drawing)["train"]
    assert 0 in marks
    assert 2 <= len(marks) <= 6
    top, unit = max(marks), (BOTTOM - TOP) / max(marks)
    assert top >= max(losses)
    for (_, y), loss in zip(points, losses, strict=True):
        assert y == pytest.approx(BOTTOM - loss * unit, abs=0.06)
    assert [x for x, _ in points] == pytest.approx(np.linspace(LEFT, RIGHT, len(losses)), abs=0.06)


def test_losses_of_many_sizes_stand_on_a_logarithm_and_that_is_said() -> None:
    losses = [50.0, 1.0, 0.02]
    drawing = chart(plot(losses))
    heights = [y for _, y in lines(drawing)["train"]]
    assert (heights[1] - heights[0]) / (heights[2] - heights[1]) == pytest.approx(np.log(50) / np.log(50), abs=0.01)
    assert "log, pass" in drawing
    assert "log" not in chart(plot([5.0, 1.0]))
    assert all(TOP - 1 <= y <= BOTTOM + 1 for y in heights)


def test_a_loss_below_zero_stays_on_the_sheet() -> None:
    drawing = chart(plot([0.5, -0.5, -1.2]))
    assert all(TOP - 0.1 <= y <= BOTTOM + 0.1 for _, y in lines(drawing)["train"])
    assert min(ticks(drawing)) <= -1.2


def test_both_lines_are_named_apart_and_the_kept_pass_is_marked() -> None:
    drawing = chart(plot([0.4, 0.30], [0.5, 0.4, 0.301], kept=2))
    names = re.findall(r'class="name" x="[^"]+" y="([\d.]+)">([a-z ]+)<', drawing)
    assert {name for _, name in names} == {"training", "held out"}
    heights = [float(y) for y, _ in names]
    assert abs(heights[0] - heights[1]) >= 12.9
    (x, y) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawing)[0]
    assert (float(x), float(y)) == lines(drawing)["held"][2]
    assert "<circle" not in chart(plot([0.4, 0.3], [0.5, 0.4]))
    assert chart(plot([])) == ""


def test_a_title_stays_text() -> None:
    drawing = chart(replace(plot([1.0, 0.5]), title='"><script>', finding="<b>"))
    assert "<script>" not in drawing
    assert "<b>" not in drawing


def curve(name: str, held: Sequence[float | None], *, selects: bool = True, train: float = 0.2) -> Curve:
    stage = "train" if name == "victim" else "decoder"
    rows = tuple(Epoch(n, None if n == 0 else train, value) for n, value in enumerate(held))
    return Curve(name, stage, "squared error a pixel", rows, selects)


LEVEL, FALLS, TURNS = (0.5, 0.3, 0.299), (0.5, 0.4, 0.3), (0.5, 0.2, 0.4)


def told(*curves: Curve, seeds: int = 1) -> tuple[str, list[str], page.Element]:
    runs, verdict = sample.seeds() if seeds > 1 else sample.leaks()
    runs = [replace(runs[0], curves=curves), *runs[1:]]
    tree = page.read(render(summarise(runs, verdict, None)))
    part = tree.one("div", class_="lrn")
    return part.one("h3").text, [figure.one("p").text for figure in part.all("figure")], part


@pytest.mark.parametrize(("held", "heading", "finding"), [
    (LEVEL, "The attack gained no more than 2 % in its last pass", "0.5 before the first pass, 0.299 after 2"),
    (FALLS, "One attack was still improving when its training ended", "Still falling at the end."),
    (TURNS, "The attack gained no more than 2 %", "Least after pass 1: 0.2. Those weights attack."),
])  # fmt: skip
def test_the_heading_and_the_finding_follow_the_numbers(held: tuple[float, ...], heading: str, finding: str) -> None:
    found, texts, _ = told(curve("victim", LEVEL, selects=False), curve("decoder", held))
    assert found.startswith(heading)
    assert finding in texts[1]
    assert "Those weights" not in texts[0]


def test_published_attacks_are_drawn_but_no_reason_to_train_longer() -> None:
    runs, verdict = sample.leaks()
    results = tuple(
        replace(entry, card=replace(entry.card, exhibit=True)) if entry.name == "decoder" else entry
        for entry in runs[0].results
    )
    one = replace(runs[0], results=results, curves=(curve("decoder", FALLS),))
    part = page.read(render(summarise([one], verdict, None))).one("div", class_="lrn")
    assert part.one("h3").text == "How the training went, pass by pass"
    assert "Still falling" in part.text


def test_without_held_out_images_that_is_said() -> None:
    rows = (Epoch(1, 0.9, None), Epoch(2, 0.6, None))
    _, texts, part = told(Curve("decoder", "decoder", "squared error", rows))
    assert texts == ["On the images trained on 0.6 after 2 passes; none were held out."]
    assert "held" not in lines(str(chart(plot([0.9, 0.6]))))
    assert part.one("svg").attributes["aria-label"].startswith("Residual decoder")


def test_a_name_of_no_result_and_several_seeds_are_told_plainly() -> None:
    _, _, part = told(curve("gone", LEVEL), seeds=3)
    assert part.one("figure").one("b").text == "gone"
    assert "Seed 0, the first of three" in part.text


@pytest.mark.parametrize(
    "curves", [(), (Curve("decoder", "decoder", "", (Epoch(1, 0.5, None),)),)], ids=["none", "one pass"]
)
def test_without_a_curve_the_page_has_no_such_part(curves: tuple[Curve, ...]) -> None:
    runs, verdict = sample.leaks()
    tree = page.read(render(summarise([replace(runs[0], curves=curves)], verdict, None)))
    assert not tree.all("div", class_="lrn")
    assert not tree.all("div", class_="jrn")


PLACES = (0, 1, 6, 9)


def crossed(folder: Path, *, flat: bool = False, defended: bool = True) -> Run:
    """A run with what crossed, its arrays written to the folder."""
    one = sample.leaks()[0][0]
    sample.save_pictures(folder, one)
    noise = np.random.default_rng(3)
    shape = (4, 300) if flat else (4, 5, 9, 9)
    sheets, arrays = [], load_file(folder / "pictures.safetensors")
    for name in ("smashed", "release") if defended else ("release",):
        count = 1 if flat else 5
        low, high = tuple(-1.0 - n for n in range(count)), tuple(2.0 + n for n in range(count))
        whole, channels = ((300,), ()) if flat else ((40, 9, 9), (0, 3, 7, 20, 39))
        sheets.append(Sheet(name, whole, channels, low, high))  # type: ignore[arg-type]
        arrays[f"maps/{name}"] = noise.integers(0, 256, shape).astype(np.uint8)
    save_file(arrays, folder / "pictures.safetensors")
    return replace(one, maps=FeatureMaps(PLACES, tuple(sheets)))


def rendered(one: Run, folder: Path | None, *, images: bool = True) -> page.Element:
    return page.read(render(summarise([one], sample.leaks()[1], folder, images=images)))


@pytest.mark.parametrize("flat", [False, True], ids=["maps", "strip"])
@pytest.mark.parametrize("defended", [False, True])
def test_each_victim_goes_from_its_image_through_what_is_sent_to_every_attack(
    flat: bool, defended: bool, tmp_path: Path
) -> None:
    one = crossed(tmp_path, flat=flat, defended=defended)
    part = rendered(one, tmp_path).one("div", class_="jrn")
    attacks = [entry.title for entry in one.results if entry.name in one.pictures.shown and entry.role == "attack"]
    assert attacks
    ways = part.all("section", class_="way")
    assert [way.one("h4").text.split(",")[0] for way in ways] == [
        f"#{one.pictures.victims[place]:03d}" for place in PLACES
    ]
    crossing = ["Smashed data", "Sent"] if defended else ["Smashed data, sent as it is"]
    for way in ways:
        captions = [stop.one("figcaption").text for stop in way.all("figure")]
        for caption, wanted in zip(captions, ["Original", *crossing, *attacks], strict=True):
            assert caption.startswith(wanted)
    alts = [image.attributes["alt"] for image in part.all("img")]
    assert len(set(alts)) == len(alts)
    table = part.all("table")
    if flat:
        assert not table
        assert "from −1 to 2" in part.one("p", class_="lede").text
    else:
        rows = [[cell.text for cell in row.all("*") if cell.tag in ("th", "td")] for row in table[0].all("tr")]
        assert [row[0] for row in rows] == ["Map", "1", "4", "8", "21", "40"]
        assert rows[2][1:] == ["−2 to 3"] * (2 if defended else 1)


def test_hits_are_marked_as_in_the_gallery(tmp_path: Path) -> None:
    one = crossed(tmp_path)
    tree = rendered(one, tmp_path)
    for row, place in enumerate(PLACES):
        victim = tree.one("section", id="see").all("figure", class_="victim")[place]
        above = [bool("hit" in tile.attributes["class"].split()) for tile in victim.all("div", class_="tile")]
        below = [bool("hit" in tile.attributes["class"].split())
                 for tile in tree.all("section", class_="way")[row].all("div", class_="tile")]  # fmt: skip
        guesses = sum(one.result(name).role == "attack" for name in one.pictures.shown)
        assert above[-guesses:] == below[-guesses:]


@pytest.mark.parametrize("spoil", ["no images", "no folder", "no array", "another count", "no record"])
def test_what_cannot_be_drawn_is_left_out(spoil: str, tmp_path: Path) -> None:
    one = crossed(tmp_path)
    arrays = load_file(tmp_path / "pictures.safetensors")
    if spoil == "no array":
        del arrays["maps/release"]
    if spoil == "another count":
        arrays["maps/release"] = arrays["maps/release"][:3].copy()
    save_file(arrays, tmp_path / "pictures.safetensors")
    one = replace(one, maps=FeatureMaps()) if spoil == "no record" else one
    tree = rendered(one, None if spoil == "no folder" else tmp_path, images=spoil != "no images")
    assert not tree.all("div", class_="jrn")


def test_the_first_screen_and_the_contents_are_as_without_them(tmp_path: Path) -> None:
    one = crossed(tmp_path)
    html = [render(summarise([run], sample.leaks()[1], tmp_path)) for run in
            (replace(one, maps=FeatureMaps()), replace(one, curves=(curve("decoder", LEVEL),)))]  # fmt: skip
    first, second = (text[text.index("<body") : text.index('<section class="sec" id="see"')] for text in html)
    assert first == second


def test_the_parts_stay_small(tmp_path: Path) -> None:
    """Noise, which no file format makes smaller, on sixteen maps of the largest side, and five long curves."""
    one = sample.leaks()[0][0]
    sample.save_pictures(tmp_path, one)
    arrays, noise = load_file(tmp_path / "pictures.safetensors"), np.random.default_rng(1)
    sheets = []
    for name in ("smashed", "release"):
        arrays[f"maps/{name}"] = noise.integers(0, 256, (4, 16, 32, 32)).astype(np.uint8)
        sheets.append(Sheet(name, (64, 32, 32), tuple(range(16)), (-1.123456,) * 16, (1.98765,) * 16))  # type: ignore[arg-type]
    save_file(arrays, tmp_path / "pictures.safetensors")
    long = tuple(1 / (n + 1.37) for n in range(40))
    full = replace(one, maps=FeatureMaps(PLACES, tuple(sheets)), curves=tuple(curve("decoder", long) for _ in range(5)))
    sizes = [len(render(summarise([run], sample.leaks()[1], tmp_path)).encode()) for run in (one, full)]
    assert sizes[1] - sizes[0] < 150_000


def test_levels_come_back_from_their_picture() -> None:
    sheet = np.array([[0, 17, 255], [np.nan, 128, 34]], dtype=np.float32)
    image = Image.open(io.BytesIO(base64.b64decode(tiles.greys(sheet).split(",")[1]))).convert("RGBA")
    pixels = np.asarray(image)
    assert pixels[1, 0, 3] == 0
    solid = ~np.isnan(sheet)
    assert (pixels[solid][:, 3] == 255).all()
    assert np.abs(pixels[solid][:, 0].astype(int) - sheet[solid]).max() <= 8.5
    assert (pixels[..., 0] == pixels[..., 1]).all()


@pytest.mark.parametrize("count", [1, 5, 128, 129, 500, 2048])
def test_a_strip_holds_every_number_in_order(count: int) -> None:
    numbers = np.arange(count, dtype=np.float32)
    strip = tiles.strip(numbers)
    assert strip.shape[1] == min(count, tiles.STRIP)
    once = strip[::4].ravel()
    assert np.array_equal(once[~np.isnan(once)], numbers)
    assert np.array_equal(strip[0::4], strip[3::4], equal_nan=True)
