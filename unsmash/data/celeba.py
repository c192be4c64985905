"""CelebA: two hundred thousand photographs of well-known people's faces, with forty attributes each."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import torch
from pydantic import Field

from unsmash.data import _reading
from unsmash.data._download import FAILURES, fetching
from unsmash.data._tree import open_tree
from unsmash.data.base import SETS, Count, Data, Pool, Pools
from unsmash.errors import ConfigError, DataError
from unsmash.lab import Lab

SPARE = 1.02
"""Faces decoded for each that is wanted, in case some are repeats"""

SHARE = 4000
"""Faces taken into account for a set that names no count: decoding all takes minutes"""


class Celeba(Data):
    """Aligned faces in colour: has the face the attribute or not."""

    kind: Literal["celeba"] = "celeba"
    noun: ClassVar = ("face", "faces")
    tiny: ClassVar = {"train": 80, "shadow": 80, "validator": 40, "val": 20, "victims": 20, "size": 32}

    train: Count = 10_000
    """Faces that train the target"""

    shadow: Count = 5000
    """Faces of the adversary's own"""

    validator: Count = 3000
    """Faces that train the independent recogniser"""

    val: Count = 1000
    """Held-out faces for the target's accuracy"""

    victims: Count = 500
    """Held-out faces that are attacked"""

    attribute: str = "Smiling"
    """Attribute to recognise, by its name in `list_attr_celeba.txt`"""

    size: int = Field(default=64, ge=8, le=178)
    """Side of the images in pixels"""

    def pools(self, root: Path) -> Pools:
        """From torchvision's layout below `celeba`, images in a folder or in their zip; decodes what may be drawn."""
        place, table = _where(root)
        labels = _labels(table, self.attribute)
        with open_tree(place) as tree:
            there = [name for name in tree.names if PurePosixPath(name).name in labels]
            if not there:
                raise DataError(f"{place}: none of its {len(tree.names):,} images is listed in {table}.")
            order = torch.randperm(len(there), generator=Lab(seed=0, path="data").generator("faces"))
            wanted = sum(getattr(self, name) or SHARE for name in SETS) * SPARE
            names = [there[index] for index in order[: int(wanted + 20)].tolist()]
            pixels = _reading.pictures(tree, names, size=self.size)
        return Pools(
            classes=(f"not {self.attribute}", self.attribute),
            source=f"CelebA, aligned and cropped (shorter side resized to {self.size}, the centre cropped square, "
            f"colour): the attribute {self.attribute}",
            common=Pool(
                pixels=pixels,
                labels=torch.tensor([labels[PurePosixPath(name).name] for name in names]),
                names=names,
            ),
        )


def _where(root: Path) -> tuple[Path, Path]:
    """The images and the attributes' table; torchvision downloads them where they are not."""
    folder = root / "celeba"
    table = folder / "list_attr_celeba.txt"
    places = [folder / "img_align_celeba", folder / "img_align_celeba.zip", *sorted(folder.glob("*.zip"))]
    there = [place for place in places if place.exists()]
    if there and table.exists():
        return there[0], table
    with fetching("CelebA", folder):
        from torchvision.datasets import CelebA

        CelebA(root, download=True)
    return places[0], table


def _labels(table: Path, attribute: str) -> dict[str, int]:
    """1 or 0 by file name: the face has the attribute or has it not."""
    try:
        _, heading, *rows = table.read_text().splitlines()
        names = heading.split()
        column = names.index(attribute) + 1 if attribute in names else None
        if column is None:
            raise ConfigError("data.attribute", got=attribute, allowed=names)
        cells = [row.split() for row in rows if row.strip()]
        return {row[0]: int(row[column] == "1") for row in cells}
    except (*FAILURES, IndexError) as error:
        raise DataError(f"{table}: not CelebA's table of attributes ({error}).") from error
