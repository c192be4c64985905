"""The page as an artefact: one file, whole, quiet, the same every time, closed to what a record might smuggle in."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import page
import pytest
import sample

from unsmash.errors import RecordError
from unsmash.records import Run
from unsmash.report import render, summarise, write
from unsmash.run_reading import load_run
from unsmash.verdicts import Verdict

Case = tuple[list[Run], Verdict]
CASES: list[Callable[[], Case]] = [
    sample.leaks, sample.passes, sample.inconclusive, sample.failed, sample.seeds, sample.contaminated, sample.proved,
    sample.half_proved, sample.trained_privately,
]  # fmt: skip
FORBIDDEN = re.compile(r"\b(safe|safely|safety|secure|guaranteed|anonymous|score|risk level)\b", re.IGNORECASE)


def pictured(case: Callable[[], Case], folder: Path, *, images: bool = True) -> str:
    runs, verdict = case()
    if runs[0].failure is None:
        sample.save_pictures(folder, runs[0])
    return render(summarise(runs, verdict, folder, images=images))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_one_whole_file_that_loads_nothing(case: Callable[[], Case], tmp_path: Path) -> None:
    html = pictured(case, tmp_path)
    tree = page.read(html)
    assert html.startswith("<!doctype html>")
    assert "http:" not in html
    assert "https:" not in html
    assert len(html.encode()) < 3_000_000
    for element in tree.all("*"):
        for name in ("src", "href"):
            address = element.attributes.get(name, "#")
            assert address.startswith(("data:image/", "#")), address
        assert not [name for name in element.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", html)
    scripts = tree.all("script")
    assert scripts
    assert {script.attributes["type"] for script in scripts} == {"application/json"}
    policy = next(meta for meta in tree.all("meta") if meta.attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.attributes["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_verdict_stands_in_title_and_only_heading(case: Callable[[], Case], tmp_path: Path) -> None:
    verdict = case()[1]
    tree = page.read(pictured(case, tmp_path))
    assert tree.one("h1").text == verdict.sentence
    assert tree.one("title").text.lower().startswith(verdict.word)
    assert tree.one("span", class_="word").text.lower().endswith(verdict.word)
    counts = re.findall(r"\d+ of \d+", verdict.sentence)
    assert [bold.text for bold in tree.one("h1").all("b")] == counts[:1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_same_run_gives_same_bytes(case: Callable[[], Case], tmp_path: Path) -> None:
    assert pictured(case, tmp_path) == pictured(case, tmp_path)


@pytest.mark.parametrize("images", [True, False], ids=["pictures", "no pictures"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_never_says_what_no_audit_can_know(case: Callable[[], Case], images: bool, tmp_path: Path) -> None:
    text = page.visible(page.read(pictured(case, tmp_path, images=images)))
    assert len(text) > 300
    assert not FORBIDDEN.findall(text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_every_link_inside_the_page_has_its_target(case: Callable[[], Case], tmp_path: Path) -> None:
    tree = page.read(pictured(case, tmp_path))
    ids = [element.attributes["id"] for element in tree.all("*") if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    links = {link.attributes["href"].removeprefix("#") for link in tree.all("a")}
    assert "verdict" in links
    assert links <= set(ids)
    named = [
        element.attributes["aria-labelledby"] for element in tree.all("*") if "aria-labelledby" in element.attributes
    ]
    assert set(named) <= set(ids)


def test_every_picture_says_what_it_is(tmp_path: Path) -> None:
    tree = page.read(pictured(sample.leaks, tmp_path))
    images = tree.all("img")
    assert len(images) == 12 * 5
    assert len({image.attributes["alt"] for image in images}) == len(images)
    for image in images:
        assert re.search(r"victim \d+", image.attributes["alt"])
    for drawing in tree.all("svg"):
        assert drawing.attributes.get("aria-hidden") == "true" or len(drawing.attributes["aria-label"]) > 40


def test_the_file_is_the_data(tmp_path: Path) -> None:
    runs, verdict = sample.seeds()
    tree = page.read(pictured(sample.seeds, tmp_path))
    embedded = {script.attributes["id"]: script.raw for script in tree.all("script")}
    assert load_run(embedded["run"]) == runs[0]
    assert load_run(embedded["run-3"]).result("decoder").mean("identification") == 192 / 500
    assert json.loads(embedded["judgement"])["sentence"] == verdict.sentence


def test_a_large_record_leaves_single_victims_out_but_keeps_the_numbers() -> None:
    many = sample.run(sample.results(decoder=3000, repeat=7000, gallery=9000, n=20_000), n=20_000)
    html = render(summarise([many], sample.verdict("leaks", [many]), None))
    embedded = load_run(page.read(html).one("script", id="run").raw)
    assert len(html) < 3_000_000
    assert embedded.result("decoder").mean("identification") == 3000 / 20_000
    assert embedded.result("decoder").scores["identification"].values == ()


def test_names_from_a_record_stay_text(tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)> **b** {{ 7*7 }} ]]> <!--"
    runs, verdict = sample.leaks()
    one = runs[0]
    assert one.data is not None
    assert one.split is not None
    one = replace(
        one,
        id=nasty,
        command=nasty,
        environment={nasty: nasty},
        notes=(nasty,),
        data=replace(one.data, source=nasty, kind=nasty, noun=(nasty, nasty), contamination=3,
                     contamination_examples=(nasty,)),
        split=replace(one.split, at=nasty, defences=(nasty,)),
        pictures=replace(one.pictures, labels=(nasty,) * 12, rule=nasty),
        threats=tuple(replace(threat, title=nasty, can=(nasty,)) for threat in one.threats),
        results=tuple(replace(entry, title=nasty, summary=nasty) for entry in one.results),
    )  # fmt: skip
    sample.save_pictures(tmp_path, one)
    verdict = replace(verdict, sentence=nasty, reasons=(nasty,), terms=(f"accuracy {nasty}",))
    html = render(summarise([one], verdict, tmp_path))
    tree = page.read(html)
    assert {script.attributes.get("type") for script in tree.all("script")} == {"application/json"}
    assert all(image.attributes["src"].startswith("data:") for image in tree.all("img"))
    assert not [element for element in tree.all("*") if "onerror" in element.attributes]
    assert "49" not in tree.one("h1").text
    assert all("<" not in script.raw for script in tree.all("script"))
    assert load_run(tree.one("script", id="run").raw) == one


def test_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, verdict = sample.leaks()
    target = tmp_path / "deep" / "report.html"
    assert write(runs, verdict, None, target) == target
    before = target.read_text(encoding="utf-8")
    assert before == render(summarise(runs, verdict, None))
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(*sample.passes(), None, target)
    assert target.read_text(encoding="utf-8") == before
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


def test_no_run_is_an_error() -> None:
    with pytest.raises(RecordError, match="at least one"):
        summarise([], sample.leaks()[1], None)


def test_reports_need_no_torch() -> None:
    code = "import sys, unsmash.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_icon_is_a_picture(tmp_path: Path) -> None:
    link = page.read(pictured(sample.leaks, tmp_path)).one("link")
    assert base64.b64decode(link.attributes["href"].split(",")[1]).startswith(b"\x89PNG")
