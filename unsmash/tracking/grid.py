"""Images in rows and columns as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LEAST, GAP = 32, 2
"""Least side of an image and the white between two, in pixels: small images are enlarged by whole steps"""


def grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """One row of the picture for each array.

    Args:
        rows: uint8 [n, c, h, w], all of one shape. Three channels are colour; of any other number the first is grey.

    Returns:
        uint8 [height, width] or [height, width, 3].
    """
    count, _, height, width = rows[0].shape
    scale = max(1, math.ceil(LEAST / max(height, width)))
    high, wide = height * scale + GAP, width * scale + GAP
    tiles = [[_drawn(image).repeat(scale, 0).repeat(scale, 1) for image in row] for row in rows]
    shape = (len(rows) * high + GAP, count * wide + GAP, *tiles[0][0].shape[2:])
    out = np.full(shape, 255, dtype=np.uint8)
    for down, row in enumerate(tiles):
        for across, tile in enumerate(row):
            top, left = down * high + GAP, across * wide + GAP
            out[top : top + high - GAP, left : left + wide - GAP] = tile
    return out


def _drawn(image: np.ndarray) -> np.ndarray:
    return image.transpose(1, 2, 0) if len(image) == 3 else image[0]
