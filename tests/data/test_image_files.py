import contextlib
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unsmash.data import _tree
from unsmash.data._reading import measure, picture
from unsmash.data._tree import open_tree
from unsmash.errors import DataError

Png = Callable[..., bytes]

GREY = np.arange(0, 240, 4, dtype=np.uint8).reshape(6, 10)


def claims(data: bytes, width: int, height: int) -> bytes:
    """A PNG whose header claims another size."""
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def test_plain_images_are_read_as_they_are(png: Png) -> None:
    colour = np.stack([GREY, GREY[::-1], 255 - GREY])
    assert (picture(png(Image.fromarray(GREY)), "x", mode="L") == GREY).all()
    assert (picture(png(Image.fromarray(colour.transpose(1, 2, 0))), "x") == colour).all()
    assert (picture(png(Image.fromarray(colour.transpose(1, 2, 0)), "WEBP", lossless=True), "x") == colour).all()
    assert (picture(png(Image.fromarray(GREY > 100)), "x", mode="L") == 255 * (GREY > 100)).all()


def test_sixteen_bits_are_scaled_not_clipped(png: Png) -> None:
    remarks: Counter[str] = Counter()
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    for form in ("PNG", "TIFF"):
        assert (picture(png(deep, form), "x", mode="L", remarks=remarks) == GREY).all()
    assert remarks["of 16 bits: scaled to 8"] == 2


def test_transparency_is_laid_on_white(png: Png) -> None:
    remarks: Counter[str] = Counter()
    for alpha, seen in ((255, 40), (0, 255), (127, 148)):
        for mode, colour in (("LA", (40, alpha)), ("RGBA", (40, 40, 40, alpha))):
            pixels = picture(png(Image.new(mode, (3, 3), colour)), "x", remarks=remarks)
            assert abs(pixels.astype(int) - seen).max() <= 1
    assert remarks["with transparency: laid on white"] == 6


def test_palettes_and_cmyk_become_rgb(png: Png) -> None:
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert picture(png(red.convert("P", palette=Image.Palette.ADAPTIVE)), "x")[:, 0, 0].tolist() == [255, 0, 0]
    remarks: Counter[str] = Counter()
    cmyk = picture(png(red.convert("CMYK"), "JPEG", quality=100), "x", remarks=remarks)[:, 0, 0].astype(int)
    assert abs(cmyk - [255, 0, 0]).max() < 12
    assert remarks["in CMYK: converted to RGB"] == 1


def test_a_transparent_palette_is_laid_on_white(png: Png) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30])
    assert picture(png(image, "GIF", transparency=0), "x").min() == 255


def test_the_first_frame_of_an_animation_is_taken(png: Png) -> None:
    remarks: Counter[str] = Counter()
    first, second = Image.new("L", (8, 8), 30), Image.new("L", (8, 8), 200)
    data = png(first, "GIF", save_all=True, append_images=[second])
    assert abs(picture(data, "x", mode="L", remarks=remarks).astype(int) - 30).max() <= 1
    assert remarks["animated: the first frame was taken"] == 1


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_cameras_orientation_is_applied(png: Png, turn: int) -> None:
    as_seen = Image.fromarray(GREY)
    undo = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}  # PIL's transpositions that store what is seen
    stored = as_seen
    for step in undo.get(turn, []):
        stored = stored.transpose(Image.Transpose(step))
    exif = Image.Exif()
    exif[0x0112] = turn
    data = png(stored, "PNG", exif=exif)
    assert measure(data, "x") == GREY.shape
    assert (picture(data, "x", mode="L") == GREY).all()


def test_resizing_keeps_the_centre_square(png: Png) -> None:
    wide = np.zeros((20, 60), dtype=np.uint8)
    wide[:, 20:40] = 200
    assert picture(png(Image.fromarray(wide)), "x", mode="L", size=10)[:, :, 2:-2].min() == 200
    assert picture(png(Image.fromarray(wide)), "x", size=10).shape == (3, 10, 10)


BAD = {
    "noise": (lambda png: b"no image at all", "x.png: is damaged or no image (not the content of an image)"),
    "cut off": (
        lambda png: png(Image.effect_noise((64, 64), 60))[:1500],
        "x.png: is damaged or no image (image file is",
    ),
    "postscript": (lambda png: png(Image.new("L", (8, 8)), "EPS"), "x.png: is damaged or no image"),
    "large": (
        lambda png: claims(png(Image.new("1", (8, 8))), 10_100, 10_000),
        "x.png: 10100×10000 pixels; at most 100",
    ),
    "bomb": (
        lambda png: claims(png(Image.new("1", (8, 8))), 60_000, 60_000),
        "x.png: far more pixels; at most 100 meg",
    ),
    "floats": (lambda png: png(Image.new("F", (8, 8)), "TIFF"), "x.png: its pixels are floating-point numbers"),
    "32 bits": (lambda png: png(Image.new("I", (8, 8), 70_000), "TIFF"), "x.png: pixel values beyond 16 bits"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_get_one_sentence_with_their_name(case: str, png: Png) -> None:
    make, sentence = BAD[case]
    with pytest.raises(DataError) as caught:
        picture(make(png), "x.png")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_any_damage_is_an_image_or_a_sentence(png: Png) -> None:
    """Bytes flipped anywhere never come out as another exception."""
    rng = np.random.default_rng(0)
    picture_ = Image.effect_noise((24, 24), 60)
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        whole = png(picture_, form)
        for _ in range(40):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), 4):
                data[place] = rng.integers(0, 256)
            with contextlib.suppress(DataError):
                assert picture(bytes(data), "x", size=16).shape == (3, 16, 16)


def test_hidden_files_are_no_files_and_others_are_counted(tmp_path: Path, png: Png) -> None:
    for name in ("b/2.PNG", "a/1.jpeg", ".hidden/3.png", "a/.4.png", "__MACOSX/a/._1.png", "readme.txt", "Thumbs.db"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(Image.fromarray(GREY)))
    with open_tree(tmp_path) as tree:
        assert tree.names == ("a/1.jpeg", "b/2.PNG")
        assert tree.ignored == 1


def test_members_that_climb_out_of_a_zip_are_left_out(tmp_path: Path, png: Png) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for name in ("../../evil.png", "/etc/1.png", "a\\2.png", "a/3.png"):
            out.writestr(name, png(Image.fromarray(GREY)))
    before = set(tmp_path.parent.rglob("*.png"))
    with open_tree(archive) as tree:
        assert tree.names == ("a/2.png", "a/3.png", "etc/1.png")
        assert (picture(tree.read("a/2.png"), "x", mode="L") == GREY).all()
    assert set(tmp_path.parent.rglob("*.png")) == before


def test_members_beyond_the_limit_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tree, "MEGABYTES", 1)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.png", bytes(3_000_000))
    (tmp_path / "large.png").write_bytes(bytes(3_000_000))
    with (
        open_tree(archive) as tree,
        pytest.raises(DataError, match=r"bomb\.zip/a\.png: cannot be read \(3 MB unpacked"),
    ):
        tree.read("a.png")
    with (
        open_tree(tmp_path) as tree,
        pytest.raises(DataError, match=r"large\.png: cannot be read \(3 MB; at most 1 MB"),
    ):
        tree.read("large.png")


def test_a_zip_that_lies_about_a_members_size_is_not_unpacked_further(tmp_path: Path) -> None:
    archive = tmp_path / "lie.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.png", bytes(5_000_000))
    true, false = struct.pack("<I", 5_000_000), struct.pack("<I", 1000)
    archive.write_bytes(archive.read_bytes().replace(true, false))
    with open_tree(archive) as tree, pytest.raises(DataError, match=r"a\.png: cannot be read \(Bad CRC"):
        tree.read("a.png")
