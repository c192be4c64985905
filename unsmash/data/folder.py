"""Your own images: a folder or a zip of them, whose sub-folders are the classes."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.data import _reading
from unsmash.data._tree import SUFFIXES, Tree, open_tree
from unsmash.data.base import Data, Pool, Pools
from unsmash.errors import DataError
from unsmash.lab import Lab

FLAT = "all"
"""The one class of a folder without sub-folders"""

LARGEST = 128
"""Longest side up to which images that are all of one size keep it"""

USUAL = 64
"""Side that images of different or larger sizes are brought to"""


class Folder(Data):
    """Images in a folder or a zip; sub-folders are classes, and without any there is one class. Nothing is unpacked."""

    kind: Literal["folder"] = "folder"
    noun: ClassVar = ("image", "images")

    path: Path
    """Folder or zip of images, seen from where the command runs: png, jpg, bmp, webp, gif, tif"""

    shadow_path: Path | None = None
    """Folder or zip with the adversary's images; none: the adversary's are drawn from `path` too"""

    duplicates: Literal["stop", "drop"] = "stop"
    """What an image in two sets means: `stop` refuses the data, `drop` keeps it in the first set and says so"""

    size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Shorter side in pixels, the centre is then cropped square; none: the images' own size if all have one of at most
    128, else 64"""

    colour: Literal["auto", "grey", "rgb"] = "auto"
    """`auto` is grey where every image is grey, else colour"""

    most: int = Field(default=20_000, ge=10, le=1_000_000)
    """Images decoded at most; of a larger folder this many are taken at random, always the same ones"""

    def pools(self, root: Path) -> Pools:
        """All images of the folder, and of the adversary's folder where there is one."""
        remarks: Counter[str] = Counter()
        with ExitStack() as stack:
            trees = [stack.enter_context(open_tree(path.expanduser())) for path in self._paths()]
            labels = [_classes_of(tree) for tree in trees]
            chosen = [self._sample(tree) for tree in trees]
            size, resized = self._size(trees, chosen)
            mode = "L" if self.colour == "grey" else "RGB"
            pixels = [
                _reading.pictures(tree, names, mode=mode, size=size, remarks=remarks)
                for tree, names in zip(trees, chosen, strict=True)
            ]
        if self.colour == "auto" and all(map(_is_grey, pixels)):
            pixels = [part[:, :1].contiguous() for part in pixels]
        classes = tuple(sorted(set(labels[0].values())))
        pools = [
            Pool(
                pixels=part,
                labels=torch.tensor([classes.index(of[name]) if of[name] in classes else -1 for name in names]),
                names=[tree.title(name) for name in names],
            )
            for part, of, names, tree in zip(pixels, labels, chosen, trees, strict=True)
        ]
        c, h, w = pixels[0].shape[1:]
        shadow = f"; shadow from {trees[1].path}" if len(trees) > 1 else ""
        return Pools(
            classes=classes,
            source=f"{len(pools[0]):,} images of {trees[0].path} ({h}×{w} {'grey' if c == 1 else 'colour'}, {resized})"
            + shadow,
            common=pools[0],
            shadow=pools[1] if len(pools) > 1 else None,
            notes=tuple(f"Images {text} ({count:,})" for text, count in sorted(remarks.items()) if count)
            + _left_out(trees, chosen),
        )

    def _paths(self) -> list[Path]:
        return [self.path] if self.shadow_path is None else [self.path, self.shadow_path]

    def _sample(self, tree: Tree) -> list[str]:
        order = torch.randperm(len(tree.names), generator=Lab(seed=0, path="data").generator("folder"))
        return [tree.names[place] for place in sorted(order[: self.most].tolist())]

    def _size(self, trees: list[Tree], chosen: list[list[str]]) -> tuple[int | None, str]:
        """Side to resize to (None: as they are), and how to say it."""
        if self.size is None:
            found = {
                _reading.measure(tree.read(name), tree.title(name))
                for tree, names in zip(trees, chosen, strict=True)
                for name in names
            }
            if len(found) == 1 and max(max(found)) <= LARGEST:
                return None, "their own size"
        size = self.size or USUAL
        return size, f"shorter side resized to {size}, the centre cropped square"


def _classes_of(tree: Tree) -> dict[str, str]:
    """Class of each image: its top folder, below outer folders that hold everything.

    Raises:
        DataError: there is no image, or some lie beside the classes' folders.
    """
    if not tree.names:
        ignored = f" ({tree.ignored:,} other files)" if tree.ignored else ""
        known = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise DataError(f"{tree.path}: holds no images{ignored}; known are {known}.")
    parts = {name: tuple(name.split("/")) for name in tree.names}
    while len({path[0] for path in parts.values()}) == 1 and all(len(path) > 2 for path in parts.values()):
        parts = {name: path[1:] for name, path in parts.items()}
    loose = [name for name, path in parts.items() if len(path) == 1]
    if loose and len(loose) < len(parts):
        folders = sorted({path[0] for path in parts.values() if len(path) > 1})
        raise DataError(
            f"{tree.path}: {len(loose):,} images, {loose[0]} first, lie beside the folders {', '.join(folders[:5])}. "
            "Put each into the folder of its class, or all into one folder."
        )
    return {name: path[0] if len(path) > 1 else FLAT for name, path in parts.items()}


def _is_grey(pixels: Tensor) -> bool:
    return bool((pixels[:, :1] == pixels).all())


def _left_out(trees: list[Tree], chosen: list[list[str]]) -> tuple[str, ...]:
    notes = []
    for tree, names in zip(trees, chosen, strict=True):
        if tree.ignored:
            notes.append(f"Files of {tree.path} that are no images were left out ({tree.ignored:,})")
        if len(names) < len(tree.names):
            notes.append(f"Of the {len(tree.names):,} images of {tree.path}, {len(names):,} were taken at random")
    return tuple(notes)
