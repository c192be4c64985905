"""Omniglot: letters of many alphabets, drawn by hand; target and adversary have different alphabets."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field

from unsmash.data import _reading
from unsmash.data._download import fetch, fetching
from unsmash.data._tree import open_tree
from unsmash.data.base import Count, Data, Pool, Pools

URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"


class Omniglot(Data):
    """Omniglot letters, black ink on white: tell 20 alphabets apart; adversary and victims have other alphabets.

    The two official background sets overlap: they share 1,000 identical images of the Greek and Latin alphabets.
    """

    kind: Literal["omniglot"] = "omniglot"
    usual_model: ClassVar = "omniglot_cnn"
    noun: ClassVar = ("letter", "letters")
    tiny: ClassVar = {
        "train": 80,
        "shadow": 80,
        "validator": 40,
        "val": 20,
        "victims": 20,
        "size": 28,
        "duplicates": "drop",
    }

    train: Count = 8000
    """Letters of `images_evaluation` that train the target"""

    shadow: Count = 2500
    """Letters of `images_background_small1`, the adversary's own"""

    validator: Count = 3000
    """Letters of `images_evaluation` that train the independent recogniser"""

    val: Count = 1000
    """Letters of `images_evaluation` for the target's accuracy"""

    victims: Count = 500
    """Letters of `images_background_small2` that are attacked"""

    duplicates: Literal["stop", "drop"] = "stop"
    """What an image in two sets means: `stop` refuses the data, `drop` keeps it in the first set and says so"""

    size: int = Field(default=105, ge=8, le=105)
    """Side of the images in pixels; 105 is the original"""

    def pools(self, root: Path) -> Pools:
        """The three official zips below `omniglot-py`, read in place."""
        target, classes = self._part(root, "images_evaluation")
        resized = "" if self.size == 105 else f", resized to {self.size}×{self.size}"
        return Pools(
            classes=classes,
            source="Omniglot (105×105, black ink on white" + resized + "): train, val and validator from "
            "images_evaluation, shadow from images_background_small1, victims from images_background_small2",
            target=target,
            shadow=_unlabelled(self._part(root, "images_background_small1")[0]),
            victims=_unlabelled(self._part(root, "images_background_small2")[0]),
        )

    def _part(self, root: Path, name: str) -> tuple[Pool, tuple[str, ...]]:
        """All letters of a zip, labelled by alphabet, and the alphabets."""
        file = root / "omniglot-py" / f"{name}.zip"
        if not file.exists():
            with fetching(f"Omniglot's {name}", file.parent):
                fetch(f"{URL}/{name}.zip", file)
        size = None if self.size == 105 else self.size
        with open_tree(file) as tree:
            letters = _reading.pictures(tree, tree.names, mode="L", size=size)
            alphabets = [path.split("/")[1] for path in tree.names]
        classes = tuple(sorted(set(alphabets)))
        labels = torch.tensor([classes.index(alphabet) for alphabet in alphabets])
        return Pool(letters, labels, tree.names), classes


def _unlabelled(pool: Pool) -> Pool:
    return Pool(pool.pixels, torch.full_like(pool.labels, -1), pool.names)
