"""Handwritten letters for an adversary without digits: EMNIST's where its files are, else a stand-in that is named.

EMNIST's files hold every image with rows and columns exchanged. The published code did not turn them back, so its
adversary learned from letters that lie on their side, mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from unsmash.data._reading import pictures
from unsmash.data._tree import open_tree
from unsmash.data.mnist import Mnist
from unsmash.errors import DataError
from unsmash.lab import Lab

Source = Literal["emnist", "omniglot", "digits"]

PEN = 7
"""Width in pixels that Omniglot's one-pen strokes of about three are thickened by, so that they are as wide as EMNIST's
once the 105 × 105 page is brought to 28 × 28"""

FIRST_DIGIT = 40_000
"""Where in MNIST's training file the digits begin that stand in for letters"""


@dataclass(frozen=True)
class Letters:
    """An adversary's images, light on dark as MNIST's digits are."""

    images: Tensor
    """[n, 1, 28, 28] in [0, 1], upright"""
    source: Source
    told: str
    """What they are, for a table"""
    substitute: str
    """What stands in for what; empty where they are EMNIST's"""

    def as_in_the_file(self) -> Tensor:
        """With rows and columns exchanged, as the published code saw them. Digits it saw as they are."""
        return self.images if self.source == "digits" else self.images.transpose(2, 3).contiguous()


def found(root: Path) -> Source:
    """The best that is there."""
    if (root / "EMNIST" / "raw" / "emnist-letters-train-images-idx3-ubyte").is_file():
        return "emnist"
    return "omniglot" if (root / "omniglot-py" / "images_evaluation.zip").is_file() else "digits"


def letters(root: Path, source: Source, count: int, *, test: bool = False) -> Letters:
    """The first `count` of them; `test` takes those of the test file, which are others.

    Raises:
        DataError: there are fewer, or a file cannot be read.
    """
    if source == "emnist":
        images, told, why = _emnist(root, test), "EMNIST letters", ""
    elif source == "omniglot":
        images, told = _omniglot(root, count, test), "Omniglot characters"
        why = (
            "EMNIST's letters are not in the data root; characters of Omniglot's 20 evaluation alphabets, thickened "
            "and brought to 28×28, stand in for them"
        )
    else:
        images, told = _digits(root, test), "MNIST digits"
        why = f"neither EMNIST nor Omniglot is in the data root; MNIST's training digits from {FIRST_DIGIT:,} stand in"
    if len(images) < count:
        raise DataError(f"{told}: {len(images):,} images, {count:,} are wanted; set smaller numbers of shadow images.")
    return Letters(images[:count].contiguous(), source, told, why)


def _emnist(root: Path, test: bool) -> Tensor:
    from torchvision.datasets import EMNIST

    try:
        pixels = EMNIST(root, split="letters", train=not test, download=False).data
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{root / 'EMNIST' / 'raw'}: EMNIST's letters cannot be read ({error}).") from error
    return pixels[:, None].transpose(2, 3).float() / 255


def _omniglot(root: Path, count: int, test: bool) -> Tensor:
    """As many as are wanted, drawn without regard to alphabet or writer: the file is sorted by both."""
    with open_tree(root / "omniglot-py" / "images_evaluation.zip") as tree:
        order = torch.randperm(len(tree.names), generator=Lab(path="letters").generator("order")).tolist()
        half = len(order) // 2
        chosen = (order[half:] if test else order[:half])[:count]
        pages = pictures(tree, [tree.names[place] for place in chosen], mode="L")
    return torch.cat([_written(part.float() / 255) for part in pages.split(500)])


def _written(pages: Tensor) -> Tensor:
    """White pages with black ink [n, 1, 105, 105] as light ink on dark [n, 1, 28, 28]."""
    ink = nn.functional.max_pool2d(1 - pages, PEN, stride=1, padding=PEN // 2)
    small = nn.functional.interpolate(ink, size=(28, 28), mode="bilinear", antialias=True, align_corners=False)
    return small.clamp(0, 1)


def _digits(root: Path, test: bool) -> Tensor:
    pool = Mnist().pools(root).target
    assert pool is not None
    half = (len(pool) + FIRST_DIGIT) // 2
    return (pool.pixels[half:] if test else pool.pixels[FIRST_DIGIT:half]).float() / 255
