"""Pixels and smashed data drawn as small pictures that travel inside the page as data URIs."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from PIL import Image

LONGEST = 128
"""Pixels; a tile is shown at 66, so larger images only make the file heavy"""
MOST_CELLS = 4096
"""Numbers of a flat message drawn; the longest prefix is shown when there are more"""
MAPS = 16
"""Feature maps drawn, the most active first"""
MAP_SIDE = 32
"""Cells a side of one map; larger ones are thinned, not averaged: averaging would hide the noise"""

STRIP = 128
"""Cells of a line where a flat message is drawn as a strip"""

_GREYS = 16
_STEPS = 31
"""Colours on either side of zero; more would only make PNG files of noise larger"""
_BLUE, _PAPER, _ORANGE = (11, 92, 143), (250, 248, 244), (168, 54, 10)


def picture(pixels: np.ndarray) -> str:
    """An image as a data URI: PNG when small or grey, JPEG at quality 85 when it is a colour photograph.

    Args:
        pixels: uint8 [c,h,w]; one channel is grey, three are colour, of any other number the first is drawn.
    """
    channels, height, width = pixels.shape
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0) if channels == 3 else pixels[0]))
    if max(height, width) > LONGEST:
        factor = LONGEST / max(height, width)
        image = image.resize((max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.BOX)
    return _uri(image, jpeg=channels == 3 and height * width > 48 * 48)


def cells(sent: np.ndarray) -> np.ndarray:
    """What one victim sends as one sheet of cells; NaN where a cell is only spacing.

    Args:
        sent: float [d] drawn row by row on a near-square grid, or [maps,h,w] drawn as tiles of the chosen maps.
    """
    if sent.ndim == 3 and sent.shape[1] * sent.shape[2] > 1:
        return _sheet(sent)
    flat = sent.reshape(-1)[:MOST_CELLS]
    width = _width(flat.size)
    grid = np.full(math.ceil(flat.size / width) * width, np.nan, dtype=np.float32)
    grid[: flat.size] = flat
    return grid.reshape(-1, width)


def busiest(sent: np.ndarray) -> np.ndarray:
    """The maps drawn for every victim alike: the most active over all of them, in their own order.

    Args:
        sent: float [p,maps,h,w].

    Returns:
        At most 16 of the maps, [p,≤16,h,w].
    """
    activity = np.abs(sent).mean(axis=(0, 2, 3))
    chosen = np.sort(np.argsort(-activity, kind="stable")[:MAPS])
    return sent[:, chosen]


def diverging(sheet: np.ndarray, scale: float) -> str:
    """Cells as a data URI: blue below zero, orange above, fixed at ±3 standard deviations of the release."""
    reach = 3 * scale if scale > 0 else 1.0
    level = np.clip(np.nan_to_num(sheet, nan=0.0) / reach, -1, 1)
    index = np.rint(level * _STEPS).astype(np.int16) + _STEPS
    index[np.isnan(sheet)] = 2 * _STEPS + 1
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(_palette())
    return _uri(image, jpeg=False, gap=2 * _STEPS + 1)


def greys(sheet: np.ndarray) -> str:
    """Levels 0 to 255 as a data URI, black to white in sixteen steps: more would only make the file larger.

    Args:
        sheet: float [rows, columns]; NaN is see-through spacing.
    """
    gap = np.isnan(sheet)
    index = np.rint(np.nan_to_num(sheet) / 255 * (_GREYS - 1)).astype(np.uint8)
    index[gap] = _GREYS
    image = Image.fromarray(index)
    image.putpalette([level for step in range(_GREYS + 1) for level in [round(255 * min(step / (_GREYS - 1), 1))] * 3])
    return _uri(image, jpeg=False, gap=_GREYS)


def strip(levels: np.ndarray) -> np.ndarray:
    """Numbers without neighbours as lines of at most 128 cells, each cell four high; NaN where the last line ends.

    Args:
        levels: [d].
    """
    wide = min(levels.size, STRIP)
    sheet = np.full(math.ceil(levels.size / wide) * wide, np.nan, dtype=np.float32)
    sheet[: levels.size] = levels
    return sheet.reshape(-1, wide).repeat(4, axis=0)


def smooth(sent: np.ndarray) -> bool:
    """Neighbouring cells of the maps go together, as in a picture; flat messages have no neighbours.

    Args:
        sent: float [p,d] or [p,maps,h,w].
    """
    if sent.ndim != 4 or sent.shape[2] < 4 or sent.shape[3] < 4:
        return False
    left, right = sent[..., :-1].ravel(), sent[..., 1:].ravel()
    if left.std() == 0 or right.std() == 0:
        return False
    return bool(np.corrcoef(left, right)[0, 1] > 0.3)


def icon() -> str:
    """The page's icon: two bars, ink and orange-red."""
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    pixels[0:13, 0:7] = (28, 27, 25, 255)
    pixels[3:16, 9:16] = (168, 54, 10, 255)
    return _uri(Image.fromarray(pixels), jpeg=False)


def _sheet(maps: np.ndarray) -> np.ndarray:
    step = max(1, math.ceil(max(maps.shape[1:]) / MAP_SIDE))
    maps = maps[:MAPS, ::step, ::step]
    count, height, width = maps.shape
    columns = math.ceil(math.sqrt(count))
    lines = math.ceil(count / columns)
    sheet = np.full((lines * (height + 1) - 1, columns * (width + 1) - 1), np.nan, dtype=np.float32)
    for index, tile in enumerate(maps):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _width(count: int) -> int:
    """Columns for so many cells: an exact rectangle if a near-square one exists, else the square that holds them."""
    root = math.ceil(math.sqrt(count))
    return next((width for width in range(root, 2 * root) if count % width == 0 and width <= 2 * count / width), root)


def _palette() -> list[int]:
    below, paper, above = (np.asarray(colour, dtype=np.float64) for colour in (_BLUE, _PAPER, _ORANGE))
    ramp = np.linspace(0, 1, _STEPS + 1)[:, None]
    down, up = paper + (below - paper) * ramp[::-1], paper + (above - paper) * ramp[1:]
    colours = np.concatenate([down, up, [[250, 248, 244]]])
    return [int(value) for value in np.rint(colours).ravel()]


def _uri(image: Image.Image, *, jpeg: bool, gap: int | None = None) -> str:
    target = io.BytesIO()
    if jpeg:
        image.convert("RGB").save(target, "JPEG", quality=85)
    elif gap is not None:
        image.save(target, "PNG", optimize=True, transparency=gap)
    else:
        image.save(target, "PNG", optimize=True)
    return f"data:image/{'jpeg' if jpeg else 'png'};base64,{base64.b64encode(target.getvalue()).decode()}"
