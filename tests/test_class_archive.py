"""The tarball of a class attack: readable, the same twice, nothing outside its own folders."""

from __future__ import annotations

import csv
import dataclasses
import io
import tarfile
from pathlib import Path

import builders
import numpy as np
import pytest
from PIL import Image
from small import pictures

from unsmash import class_archive
from unsmash.records import ClassResult, Run

DONE = builders.class_record().attacks[0]


def images(channels: int = 1) -> np.ndarray:
    found: np.ndarray = pictures((channels, 9, 12), 10)[0].numpy()
    return found


def renamed(*labels: str) -> ClassResult:
    rows = tuple(dataclasses.replace(DONE.prototypes[0], label=label) for label in labels)
    return dataclasses.replace(DONE, prototypes=rows)


def opened(content: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_one_picture_a_class_to_the_last_grey_level(channels: int) -> None:
    files = opened(class_archive.pack(renamed(*"0123456789"), images(channels)))
    assert set(files) == {f"{i}/adv_inferred{i}.png" for i in range(10)} | {"confidence.csv", "grid.png"}
    for i in range(10):
        pixels = np.asarray(Image.open(io.BytesIO(files[f"{i}/adv_inferred{i}.png"])), dtype=float) / 255
        wanted = images(channels)[i].transpose(1, 2, 0) if channels == 3 else images(1)[i, 0]
        assert np.abs(pixels - wanted).max() <= 0.5 / 255 + 1e-6


def test_the_table_has_a_line_a_class() -> None:
    rows = list(csv.DictReader(io.StringIO(class_archive.table(DONE.prototypes))))
    assert [row["label"] for row in rows] == [one.label for one in DONE.prototypes]
    assert [float(row["confidence"]) for row in rows] == [one.confidence for one in DONE.prototypes]
    unknown = dataclasses.replace(DONE.prototypes[0], read=None, label='a "b", c')
    (row,) = csv.DictReader(io.StringIO(class_archive.table([unknown])))
    assert (row["read"], row["label"]) == ("", unknown.label)


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (10, 1), (7, 3)])
def test_the_sheet_holds_every_image_whole(count: int, channels: int) -> None:
    pixels = np.arange(count * channels * 20, dtype=np.uint8).reshape(count, channels, 4, 5)
    sheet = class_archive.sheet(pixels)
    step = -(-class_archive.TILE // 5)
    columns = int(np.ceil(np.sqrt(count)))
    for i in range(count):
        top, left = i // columns * (4 * step + 2) + 2, i % columns * (5 * step + 2) + 2
        tile = sheet[top : top + 4 * step : step, left : left + 5 * step : step]
        assert np.array_equal(tile, pixels[i].transpose(1, 2, 0) if channels == 3 else pixels[i, 0])


def test_the_same_record_and_images_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = class_archive.pack(DONE, images())
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert class_archive.pack(DONE, images()) == first
    assert class_archive.pack(DONE, 1 - images()) != first


def test_names_of_classes_lead_nowhere() -> None:
    bad = ("../../etc", "/root/x", "..", ".", "", "a b", "a_b", "cat", "Öl", "x\ny")
    names = set(opened(class_archive.pack(renamed(*bad), images())))
    assert len(names) == len(bad) + 2
    for name in names - {"confidence.csv", "grid.png"}:
        folder, file = name.split("/")
        assert folder not in ("", ".", "..")
        assert file == f"adv_inferred{folder}.png"
        assert name.isprintable()
    assert "cat/adv_inferredcat.png" in names


def test_it_lies_beside_the_record_under_the_documented_name(tmp_path: Path) -> None:
    run: Run = builders.run(classes=builders.class_record())
    (file,) = class_archive.save(run, {"class/miface": images(), "guess/miface": images()}, tmp_path)
    assert file.name == "testing_adversarial_miface.tar.gz"
    assert file.read_bytes() == class_archive.pack(DONE, images())
    assert list(tmp_path.iterdir()) == [file]
    assert class_archive.file_name("miface(start=grey)@own") == "testing_adversarial_miface_start_grey_own.tar.gz"


def test_a_broken_attack_leaves_no_tarball(tmp_path: Path) -> None:
    broken = builders.run(classes=builders.class_record(failure="MemoryError: no message"))
    assert not class_archive.save(broken, {}, tmp_path)
    assert not class_archive.save(builders.run(), {"class/miface": images()}, tmp_path)
    assert not list(tmp_path.iterdir())
