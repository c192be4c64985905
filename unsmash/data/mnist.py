"""MNIST: 60,000 handwritten digits to train on and 10,000 to test with, as its makers split them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from unsmash.data._download import fetching
from unsmash.data.base import Count, Data, Pool, Pools


class Mnist(Data):
    """MNIST, 28×28 grey: the sets that train come from its training file, the held-out ones from its test file."""

    kind: Literal["mnist"] = "mnist"
    usual_model: ClassVar = "splitnn"
    noun: ClassVar = ("digit", "digits")
    tiny: ClassVar = {"train": 80, "shadow": 80, "validator": 40, "val": 20, "victims": 20}

    train: Count = 10_000
    """Images of the training file that train the target"""

    shadow: Count = 5000
    """Images of the training file that are the adversary's own"""

    validator: Count = 5000
    """Images of the training file that train the independent recogniser"""

    val: Count = 1000
    """Images of the test file for the target's accuracy"""

    victims: Count = 500
    """Images of the test file that are attacked"""

    def pools(self, root: Path) -> Pools:
        """Both files from torchvision's layout, `MNIST/raw` below the root."""
        return Pools(
            classes=tuple("0123456789"),
            source="MNIST (28×28 grey): train, shadow and validator from its training file, val and victims from its "
            "test file",
            target=_part(root, train=True),
            victims=_part(root, train=False),
            val_from="victims",
        )


def _part(root: Path, *, train: bool) -> Pool:
    from torchvision.datasets import MNIST

    with fetching("MNIST", root / "MNIST" / "raw"):
        try:
            images = MNIST(root, train=train, download=False)
        except RuntimeError:  # torchvision's word for files that are not there
            images = MNIST(root, train=train, download=True)
    name = "train" if train else "test"
    return Pool(images.data.unsqueeze(1), images.targets, [f"MNIST {name} {index}" for index in range(len(images))])
