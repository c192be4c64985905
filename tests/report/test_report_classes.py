"""What the page says of a network's classes: apart from the reconstructions, with the floors beside every figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import builders
import numpy as np
import page
import pytest
import sample
from safetensors.numpy import save_file

from unsmash.records import ClassRecord, Prototype
from unsmash.report import render, summarise
from unsmash.report.classes import MOST


def read(record: ClassRecord | None, folder: Path | None = None, *, images: bool = True) -> page.Element:
    runs, verdict = sample.leaks()
    return page.read(render(summarise([replace(runs[0], classes=record)], verdict, folder, images=images)))


def section(tree: page.Element) -> page.Element:
    return tree.one("section", id="classes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Stored prototypes: class k is as bright as k."""
    arrays = np.repeat(np.arange(10, dtype=np.float32) / 10, 64).reshape(10, 1, 8, 8)
    save_file({"class/miface": arrays}, str(tmp_path / "pictures.safetensors"))
    return tmp_path


def test_without_a_class_attack_there_is_no_such_section() -> None:
    tree = read(None)
    assert "classes" not in {part.attributes.get("id") for part in tree.all("section")}
    assert not [link for link in tree.all("a") if link.attributes["href"] == "#classes"]


def test_one_picture_a_class_with_the_confidence_under_it(folder: Path) -> None:
    part = section(read(builders.class_record(8), folder))
    assert len(part.all("img")) == 10
    figures = part.all("figure", class_="proto")
    assert [figure.one("figcaption").text for figure in figures] == [f"kind {i}" for i in range(10)]
    assert all("99.5 %" in figure.one("small").text for figure in figures)
    assert [figure.one("small").text.endswith("not read as it") for figure in figures] == [False] * 8 + [True] * 2
    assert len({image.attributes["src"] for image in part.all("img")}) == 10


def test_it_says_that_it_is_no_reconstruction_and_holds_floors_beside_it(folder: Path) -> None:
    tree = read(builders.class_record(8), folder)
    part = section(tree)
    assert "None of them is a" in part.text
    assert "that was sent, or a reconstruction of one" in part.text
    assert "holds both halves" in part.text
    assert "reads 8 of 10 as their class; chance: 1" in part.text
    assert "8 of 10" in part.one("h2").text
    assert "class mean" in part.text
    assert "One start was flat." in part.text
    assert "testing_adversarial_miface.tar.gz" in part.text
    assert [link for link in tree.one("nav").all("a") if link.attributes["href"] == "#classes"]


def test_nothing_else_on_the_page_changes(folder: Path) -> None:
    plain, more = read(None, folder), read(builders.class_record(8), folder)
    apart = ("classes", "repro")  # the last one prints the record's digest
    texts = [[part.text for part in tree.all("section") if part.attributes.get("id") not in apart]
             for tree in (plain, more)]  # fmt: skip
    assert texts[0] == texts[1]
    for name in ("axis", "numbers", "see", "who", "trust"):
        assert "miface" not in more.one("section", id=name).text
        assert "prototype" not in more.one("section", id=name).text.lower()


def test_without_pictures_the_figures_stay(folder: Path) -> None:
    for tree in (read(builders.class_record(), folder, images=False), read(builders.class_record(), None)):
        part = section(tree)
        assert not part.all("img")
        assert len(part.all("figure", class_="proto")) == 10
        assert "99.5 %" in part.text
    (folder / "pictures.safetensors").write_bytes(b"no pictures")
    assert not section(read(builders.class_record(), folder)).all("img")


def test_pictures_of_another_record_are_not_shown(folder: Path) -> None:
    assert not section(read(builders.class_record(n=9), folder)).all("img")


def test_an_attack_that_did_not_finish_says_why() -> None:
    part = section(read(builders.class_record(failure="MemoryError: no message")))
    assert "did not finish" in part.one("h2").text
    assert "MemoryError: no message" in part.text


def test_many_classes_are_cut_short_and_counted() -> None:
    part = section(read(builders.class_record(50, n=62)))
    assert len(part.all("figure", class_="proto")) == MOST
    assert f"The first {MOST} of 62 classes" in part.text


def test_nobody_to_judge_and_no_victims_leave_their_lines_out() -> None:
    record = builders.class_record()
    bare = tuple(Prototype(one.label, 0.5, 0.1, 3, "done") for one in record.attacks[0].prototypes)
    results = tuple(replace(one, prototypes=bare[: len(one.prototypes)], scores={}) for one in record.results)
    part = section(read(replace(record, results=results)))
    assert "10 images made from the network alone" in part.one("h2").text
    assert [name.text for name in part.all("dt")] == ["Audited network", "Note"]


def test_names_of_classes_stay_text() -> None:
    record = builders.class_record()
    sly = tuple(replace(one, label="<b>x</b>") for one in record.attacks[0].prototypes)
    part = section(read(replace(record, results=(replace(record.attacks[0], prototypes=sly),))))
    assert part.all("figcaption")[0].raw == "<b>x</b>"
