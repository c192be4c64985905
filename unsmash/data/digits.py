"""The 8×8 digits that come with scikit-learn: the smallest real data, for trials and tests."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

from unsmash.data._ink import INKS, ink
from unsmash.data.base import Count, Data, Pool, Pools


class Digits(Data):
    """1,797 handwritten digits of UCI, 8×8 grey with 17 levels: loads at once, trains in seconds."""

    kind: Literal["digits"] = "digits"
    usual_model: ClassVar = "splitnn"
    noun: ClassVar = ("digit", "digits")
    tiny: ClassVar = {"train": 80, "shadow": 80, "validator": 40, "val": 20, "victims": 20}

    train: Count = 700
    """Images that train the target"""

    shadow: Count = 500
    """Images of the adversary's own"""

    validator: Count = 250
    """Images that train the independent recogniser"""

    val: Count = 140
    """Held-out images for the target's accuracy"""

    victims: Count = 200
    """Held-out images that are attacked"""

    def pools(self, root: Path) -> Pools:
        """All of scikit-learn's digits."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        pixels = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)
        pool = Pool(
            pixels=pixels,
            labels=torch.from_numpy(bunch.target).to(torch.int64),
            names=[f"scikit-learn digit {index}" for index in range(len(bunch.target))],
            peak=16,
            traits={"ink": ink(pixels)},
        )
        return Pools(
            classes=tuple("0123456789"),
            source="1,797 handwritten digits of the UCI repository, as packaged by scikit-learn (8×8 grey, 17 levels)",
            common=pool,
            traits={"ink": INKS},
        )
