"""The artefact of a class attack: a tarball with one picture a class, a table of confidences, and all as one sheet.

It has the name and the inner paths that NIST Dioptra's model-inversion example documents. The same record and images
give the same bytes. Pictures are the pixels as they are, [0, 1] to [0, 255], where that example stretches each image
to its own range. Knows no torch.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image

from unsmash.records import ClassResult, Prototype, Run
from unsmash.store import write_bytes

ARRAY = "class/"
"""How the prototypes' arrays are called among a run's: `class/` and the result's name"""

TABLE, SHEET = "confidence.csv", "grid.png"
TILE = 56
"""Least side of an image in the sheet, in pixels: small ones are enlarged by whole steps"""


def save(run: Run, arrays: Mapping[str, np.ndarray], folder: Path) -> tuple[Path, ...]:
    """Write the tarball of each class attack that finished, whole or not at all; which were written."""
    written = []
    for result in run.classes.attacks if run.classes else ():
        images = arrays.get(f"{ARRAY}{result.name}")
        if images is not None and len(images) == len(result.prototypes):
            file = folder / file_name(result.name)
            write_bytes(file, pack(result, images))
            written.append(file)
    return tuple(written)


def file_name(attack: str) -> str:
    """The tarball's name: `testing_adversarial_miface.tar.gz` for the attack `miface`."""
    return f"testing_adversarial_{_plain(attack)}.tar.gz"


def pack(result: ClassResult, images: np.ndarray) -> bytes:
    """The tarball's bytes.

    Args:
        result: the attack with a prototype a class.
        images: float [classes, c, h, w] in [0, 1].
    """
    pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    names = _folders([one.label for one in result.prototypes])
    files = [(f"{name}/adv_inferred{name}.png", _png(_drawn(one))) for name, one in zip(names, pixels, strict=True)]
    files += [(TABLE, table(result.prototypes).encode()), (SHEET, _png(sheet(pixels)))]
    target = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, content in files:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime, entry.mode = len(content), 0, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def table(prototypes: Sequence[Prototype]) -> str:
    """A line a class with everything known of it, as CSV; what was not measured is left empty."""
    target = io.StringIO()
    columns = [field.name for field in fields(Prototype)]
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(columns)
    for one in prototypes:
        cells = [getattr(one, name) for name in columns]
        writer.writerow(["" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells])
    return target.getvalue()


def sheet(pixels: np.ndarray) -> np.ndarray:
    """All images on one near-square sheet, white between them: uint8 [classes, c, h, w] → [height, width(, 3)]."""
    count, _, height, width = pixels.shape
    columns = math.ceil(math.sqrt(count))
    scale = max(1, math.ceil(TILE / max(height, width)))
    tiles = [_drawn(one).repeat(scale, 0).repeat(scale, 1) for one in pixels]
    high, wide = height * scale + 2, width * scale + 2
    shape = (math.ceil(count / columns) * high + 2, columns * wide + 2, *tiles[0].shape[2:])
    out = np.full(shape, 255, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * high + 2, index % columns * wide + 2
        out[top : top + height * scale, left : left + width * scale] = tile
    return out


def _drawn(image: np.ndarray) -> np.ndarray:
    """Three channels are colour; of any other number the first is drawn in grey."""
    return np.ascontiguousarray(image.transpose(1, 2, 0) if len(image) == 3 else image[0])


def _png(pixels: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def _folders(labels: Sequence[str]) -> list[str]:
    """Class names as folders: what no path may hold is replaced, and those that then collide are numbered."""
    names = [_plain(label) for label in labels]
    return [
        name if names.count(name) == 1 and name.strip("._") else f"{index}_{name}" for index, name in enumerate(names)
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)
