import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from unsmash.data import Images, Splits
from unsmash.data.folder import Folder
from unsmash.errors import ContaminationError, DataError

Photos = Callable[..., Path]
Png = Callable[..., bytes]

ALL = ("train", "shadow", "validator", "val", "victims")


def load(path: Path, **settings: object) -> Splits:
    return Folder.model_validate({"path": path, **settings}).load(Path("unused"))


def named(images: Images) -> tuple[Sequence[str], list[int]]:
    return images.names, images.labels.tolist()


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def test_sub_folders_are_classes(tmp_path: Path, photos: Photos) -> None:
    for name in ("set/cat", "set/dog/old", "set/dog/young"):
        photos(name, 40, seed=len(name))
    splits = load(tmp_path / "set")
    assert splits.classes == ("cat", "dog")
    assert splits.input_shape == (3, 16, 16)
    assert 116 <= sum(splits.report.sizes.values()) <= 120
    assert splits.report.sizes["victims"] == 20
    for images in (getattr(splits, name) for name in ALL):
        dogs = torch.tensor(["/dog/" in name for name in images.names])
        assert torch.equal(images.labels, dogs.long())
        assert 0 <= images.pixels.min() < images.pixels.max() <= 1


def test_folder_and_zip_are_the_same(tmp_path: Path, photos: Photos) -> None:
    for name in ("set/a", "set/b"):
        photos(name, 40, seed=ord(name[-1]))
    assert load(tmp_path / "set").report.fingerprint == load(zipped(tmp_path / "set")).report.fingerprint


def test_outer_folders_are_looked_through(tmp_path: Path, photos: Photos) -> None:
    for name in ("outer/set/a", "outer/set/b"):
        photos(name, 40, seed=ord(name[-1]))
    assert load(tmp_path / "outer").classes == ("a", "b")


def test_a_flat_folder_has_one_class_and_says_so(tmp_path: Path, photos: Photos) -> None:
    splits = load(photos("set", 60))
    assert splits.classes == ("all",)
    assert "One class only" in splits.report.notes[-1]


def test_names_say_where_an_image_lies(photos: Photos) -> None:
    splits = load(photos("set", 60))
    name = splits.victims.names[0]
    with Image.open(name) as image:
        assert image.getpixel((3, 2)) == tuple((splits.victims.pixels[0, :, 2, 3] * 255).round().int().tolist())


@pytest.mark.parametrize(
    ("colour", "mode", "channels"), [("auto", "L", 1), ("auto", "RGB", 3), ("grey", "RGB", 1), ("rgb", "L", 3)]
)
def test_colour(photos: Photos, colour: str, mode: str, channels: int) -> None:
    assert load(photos("set", 60, mode=mode), colour=colour).input_shape[0] == channels


def test_one_coloured_image_makes_all_colour(tmp_path: Path, photos: Photos) -> None:
    photos("set/a", 60, mode="L")
    photos("set/b", 30, mode="RGB")
    assert load(tmp_path / "set").input_shape[0] == 3


@pytest.mark.parametrize(
    ("sides", "size", "side"), [((20, 20), None, 20), ((20, 30), None, 64), ((200, 200), None, 64), ((20, 30), 12, 12)]
)
def test_size(tmp_path: Path, photos: Photos, sides: tuple[int, int], size: int | None, side: int) -> None:
    for index, own in enumerate(sides):
        photos(f"set/{index}", 30, side=own, seed=index)
    splits = load(tmp_path / "set", size=size)
    assert splits.input_shape == (3, side, side)
    assert ("resized" in splits.report.source) == (side not in sides or sides[0] != sides[1])


def test_the_adversarys_own_folder_is_the_only_source_of_shadow(tmp_path: Path, photos: Photos) -> None:
    photos("own/cat", 60)
    photos("theirs/cat", 30, seed=2)
    photos("theirs/bird", 30, seed=3)
    splits = load(tmp_path / "own", shadow_path=tmp_path / "theirs")
    assert all("/theirs/" in name for name in splits.shadow.names)
    labels = {name.split("/")[-2]: label for name, label in zip(*named(splits.shadow), strict=True)}
    assert labels == {"cat": 0, "bird": -1}
    assert len(splits.shadow) == 60
    assert not any("/theirs/" in name for other in ALL if other != "shadow" for name in getattr(splits, other).names)


def test_an_image_in_both_folders_stops(tmp_path: Path, photos: Photos) -> None:
    shutil.copytree(photos("own", 60), tmp_path / "theirs")
    with pytest.raises(ContaminationError, match="60 images stand in two sets") as caught:
        load(tmp_path / "own", shadow_path=tmp_path / "theirs")
    assert caught.value.count == 60
    with pytest.raises(DataError, match="part shadow: 0 images"):
        load(tmp_path / "own", shadow_path=tmp_path / "theirs", duplicates="drop")


def test_the_same_image_in_two_formats_is_found(tmp_path: Path, photos: Photos) -> None:
    folder = photos("set", 60)
    for file in sorted(folder.glob("*.png")):
        with Image.open(file) as image:
            image.save(file.with_suffix(".bmp"))
    with pytest.raises(ContaminationError, match=r"\.(bmp|png) \("):
        load(folder)
    assert load(folder, duplicates="drop").report.repeats_dropped == 60


def test_what_was_converted_or_left_out_is_noted(tmp_path: Path, photos: Photos, png: Png) -> None:
    folder = photos("set", 60)
    (folder / "notes.txt").write_text("x")
    (folder / "clear.png").write_bytes(png(Image.new("RGBA", (16, 16), (0, 0, 0, 9))))
    notes = load(folder, most=61).report.notes
    assert "Images with transparency: laid on white (1)" in notes
    assert f"Files of {folder} that are no images were left out (1)" in notes
    assert any("20 were taken at random" in note for note in load(folder, most=20, victims=5).report.notes)


def broken(tmp_path: Path, photos: Photos) -> dict[str, tuple[Path, str]]:
    """Folders that cannot be used, and how the sentence about each begins."""
    empty, text, odd, mixed, cut, zero = (
        tmp_path / name for name in ("empty", "text", "odd.zip", "mixed", "cut", "zero")
    )
    empty.mkdir()
    text.mkdir()
    (text / "a.txt").write_text("x")
    odd.write_text("no zip")
    photos("mixed/cat", 30)
    photos("mixed", 2)
    photos("cut", 30)
    (cut / "007.png").write_bytes((cut / "007.png").read_bytes()[:200])
    photos("zero", 30)
    (zero / "003.png").write_bytes(b"")
    return {
        "no such path": (tmp_path / "none", f"{tmp_path}/none: no such folder or zip"),
        "empty": (empty, f"{empty}: holds no images; known are bmp, gif,"),
        "no images": (text, f"{text}: holds no images (1 other files)"),
        "no zip": (odd, f"{odd}: is neither a folder nor a readable zip (File is not a zip file)"),
        "an image": (cut / "001.png", f"{cut}/001.png: is neither a folder nor a readable zip"),
        "loose images": (mixed, f"{mixed}: 2 images, 000.png first, lie beside the folders cat."),
        "damaged": (cut, f"{cut}/007.png: is damaged or no image"),
        "empty file": (zero, f"{zero}/003.png: the file is empty (0 bytes)"),
        "one image": (photos("one", 1), "folder: 1 image, but the sets want 24"),
    }


CASES = (
    "no such path",
    "empty",
    "no images",
    "no zip",
    "an image",
    "loose images",
    "damaged",
    "empty file",
    "one image",
)


@pytest.mark.parametrize("case", CASES)
def test_bad_folders_get_one_sentence(tmp_path: Path, photos: Photos, case: str) -> None:
    path, sentence = broken(tmp_path, photos)[case]
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(sentence), str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_an_encrypted_zip_gets_a_sentence(tmp_path: Path, photos: Photos) -> None:
    archive = zipped(photos("set", 60))
    data = bytearray(archive.read_bytes())
    for place in range(len(data)):
        if data[place : place + 4] == b"PK\x01\x02":
            data[place + 8] |= 1  # the flag that says a member is encrypted
        elif data[place : place + 4] == b"PK\x03\x04":
            data[place + 6] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"set\.zip/000\.png: cannot be read .*password required"):
        load(archive)


def test_relative_paths_are_seen_from_where_the_command_runs(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos("set", 60).parent)
    splits = load(Path("set"))
    assert splits.victims.names[0].startswith("set/")
