import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unsmash.data import data_root


@pytest.fixture(scope="session")
def root() -> Path:
    if "UNSMASH_DATA" not in os.environ:
        pytest.skip("UNSMASH_DATA names no folder with the real data")
    return data_root()


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of distinct random images: `photos("cats/a", 12, mode="L")`."""

    def make(name: str, count: int, *, mode: str = "RGB", side: int = 16, seed: int = 0, suffix: str = "png") -> Path:
        rng = np.random.default_rng([seed, count, side])
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            noise = rng.integers(0, 256, (side, side) if mode == "L" else (side, side, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{index:03}.{suffix}")
        return folder

    return make


@pytest.fixture
def png() -> Callable[..., bytes]:
    """The bytes of an image file: `png(Image)`, `png(Image, "TIFF")`."""

    def make(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        return buffer.getvalue()

    return make
