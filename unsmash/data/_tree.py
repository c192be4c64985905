"""The image files below a folder or in a zip, which is read in place: nothing is ever extracted to disk."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from unsmash.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
MEGABYTES = 200
"""Largest file that is read, in a zip as its unpacked size"""

BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError),
    *(NotImplementedError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile, Image.DecompressionBombError),
)
"""What a damaged or hostile file makes zipfile and Pillow raise"""


@dataclass(frozen=True)
class Tree:
    """The image files below a folder or in a zip."""

    path: Path
    names: tuple[str, ...]
    """Path of each image below `path`, with forward slashes, sorted"""
    ignored: int
    """Files that are no images"""
    _read: Callable[[str], bytes]

    def title(self, name: str) -> str:
        """The image's name for messages."""
        return f"{self.path}/{name}"

    def read(self, name: str) -> bytes:
        """The file's bytes.

        Raises:
            DataError: it cannot be read, is empty, or is too large.
        """
        try:
            data = self._read(name)
        except BROKEN as error:
            raise DataError(f"{self.title(name)}: cannot be read ({cause(error)}).") from error
        if not data:
            raise DataError(f"{self.title(name)}: the file is empty (0 bytes). Delete it or replace it.")
        return data


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """The images below a folder or in a zip, hidden files left out.

    Raises:
        DataError: there is no such path, or it is neither folder nor zip.
    """
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        yield _tree(path, [file.relative_to(path).as_posix() for file in files], lambda name: _limited(path / name))
        return
    if not path.exists():
        raise DataError(f"{path}: no such folder or zip (looked from {Path.cwd()}).")
    try:
        archive = zipfile.ZipFile(path)
    except BROKEN as error:
        wanted = "a folder of images, or a zip of one"
        raise DataError(f"{path}: is neither a folder nor a readable zip ({cause(error)}); give {wanted}.") from error
    with archive:
        packed = [info for info in archive.infolist() if not info.is_dir()]
        members = {info.filename.replace("\\", "/").lstrip("/"): info for info in packed}
        yield _tree(path, list(members), lambda name: _unpacked(archive, members[name]))


def _tree(path: Path, names: list[str], read: Callable[[str], bytes]) -> Tree:
    shown = [name for name in names if not any(_hidden(part) for part in PurePosixPath(name).parts)]
    images = sorted(name for name in shown if PurePosixPath(name).suffix.lower() in SUFFIXES)
    return Tree(path, tuple(images), len(shown) - len(images), read)


def _hidden(part: str) -> bool:
    return part.startswith((".", "__MACOSX")) or part in ("Thumbs.db", "desktop.ini")


def _limited(path: Path) -> bytes:
    if path.stat().st_size > MEGABYTES * 1_000_000:
        raise ValueError(f"{path.stat().st_size / 1e6:,.0f} MB; at most {MEGABYTES} MB are read")
    return path.read_bytes()


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > MEGABYTES * 1_000_000:
        raise ValueError(f"{member.file_size / 1e6:,.0f} MB unpacked; at most {MEGABYTES} MB are read")
    return archive.read(member)  # zipfile reads no more than the size it declares


def cause(error: BaseException) -> str:
    """What went wrong with a file, in few words."""
    text = str(error).split("\n")[0].rstrip(".")
    return "not the content of an image" if isinstance(error, Image.UnidentifiedImageError) else text or repr(error)
