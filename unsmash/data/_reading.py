"""Image files to pixels; what is wrong with one is a sentence with its name.

Only formats of images are opened, whatever a file calls itself, and the size is limited before anything is decoded.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from unsmash.data._tree import BROKEN, Tree, cause
from unsmash.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
MEGAPIXELS = 100
"""Largest image that is decoded"""

ORIENTATION = 0x0112
"""EXIF tag that says how the camera was held; 5 to 8 swap width and height"""


def pictures(tree: Tree, names: Sequence[str], **how: Any) -> Tensor:
    """Decode these images of a tree to one uint8 tensor [n,c,h,w]; keywords as in `picture`.

    Raises:
        DataError: one cannot be read, or they have different shapes.
    """
    decoded = [picture(tree.read(name), tree.title(name), **how) for name in names]
    for name, pixels in zip(names, decoded, strict=True):
        if pixels.shape != decoded[0].shape:
            first = f"{decoded[0].shape[1]}×{decoded[0].shape[2]}"
            raise DataError(
                f"{tree.title(name)}: {pixels.shape[1]}×{pixels.shape[2]} pixels, the others {first}; set size."
            )
    return torch.from_numpy(np.stack(decoded))


def measure(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of an image as it is meant to be seen, from its header.

    Raises:
        DataError: it is no image, or too large.
    """
    with _opened(data, name) as image:
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def picture(
    data: bytes,
    name: str,
    *,
    mode: str = "RGB",
    size: int | None = None,
    crop: float = 1.0,
    remarks: Counter[str] | None = None,
) -> np.ndarray:
    """Decode one image to uint8 [c,h,w]: c is 3 for mode RGB and 1 for L.

    `size` resizes the shorter side to it and crops the centre to a square; `crop` first takes that share of the frame
    about its centre. The camera's orientation is applied. Transparency is laid on white; 16 bits are scaled to 8; of an
    animation the first frame is taken: `remarks` counts these.

    Raises:
        DataError: the image is damaged, too large, or of a kind that has no plain meaning in 8 bits.
    """
    remarks = Counter() if remarks is None else remarks
    with _opened(data, name) as image:
        remarks["animated: the first frame was taken"] += bool(getattr(image, "is_animated", False))
        if size is not None and crop == 1.0:
            image.draft(None, (4 * size, 4 * size))  # lets JPEG decode a photo of many megapixels at a smaller scale
        seen = ImageOps.exif_transpose(image)
        plain = _eight_bits(seen, name, remarks).convert(mode)
        if crop < 1.0:
            left, top = (round(side * (1 - crop) / 2) for side in plain.size)
            plain = plain.crop((left, top, plain.width - left, plain.height - top))
        if size is not None and plain.size != (size, size):
            plain = ImageOps.fit(plain, (size, size), method=Image.Resampling.BICUBIC)
        pixels = np.asarray(plain)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _eight_bits(image: Image.Image, name: str, remarks: Counter[str]) -> Image.Image:
    """The same image in a mode of 8 bits a channel without transparency."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{name}: pixel values beyond 16 bits; save it with 8 or 16 bits a channel.")
        remarks["of 16 bits: scaled to 8"] += 1
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if image.mode == "F":
        raise DataError(f"{name}: its pixels are floating-point numbers, whose range is unknown; save it with 8 bits.")
    if image.has_transparency_data:
        remarks["with transparency: laid on white"] += 1
        solid = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid).convert("RGB")
    if image.mode == "CMYK":
        remarks["in CMYK: converted to RGB"] += 1
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF: the pixels count
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MEGAPIXELS * 1_000_000:
                    raise _too_large(name, f"{image.width}×{image.height} pixels", f"{MEGAPIXELS} megapixels")
                yield image
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far more pixels", f"{MEGAPIXELS} megapixels") from error
    except BROKEN as error:
        raise DataError(f"{name}: is damaged or no image ({cause(error)}). Delete it or replace it.") from error


def _too_large(name: str, got: str, limit: str) -> DataError:
    return DataError(f"{name}: {got}; at most {limit} are decoded. Save it smaller.")
