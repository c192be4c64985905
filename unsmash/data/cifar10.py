"""CIFAR-10: small photographs of ten kinds of things."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from unsmash.data._download import FAILURES, fetching
from unsmash.data.base import Count, Data, Pool, Pools
from unsmash.errors import DataError

CLASSES = ("aeroplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "lorry")


class Cifar10(Data):
    """CIFAR-10, 32×32 colour: the sets that train come from its training part, the held-out ones from its test part."""

    kind: Literal["cifar10"] = "cifar10"
    noun: ClassVar = ("photo", "photos")
    tiny: ClassVar = {"train": 80, "shadow": 80, "validator": 40, "val": 20, "victims": 20}

    train: Count = 4000
    """Images of the training part that train the target"""

    shadow: Count = 3000
    """Images of the training part that are the adversary's own"""

    validator: Count = 2000
    """Images of the training part that train the independent recogniser"""

    val: Count = 1000
    """Images of the test part for the target's accuracy"""

    victims: Count = 500
    """Images of the test part that are attacked"""

    def pools(self, root: Path) -> Pools:
        """The subset `cifar10/cifar10_subset.npz` where it is there, else torchvision's whole set."""
        subset = root / "cifar10" / "cifar10_subset.npz"
        if subset.exists():
            parts, source = _subset(subset), f"{subset.name}, a part of CIFAR-10"
        else:
            parts, source = _whole(root), "CIFAR-10"
        target, victims = (
            Pool(
                pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
                labels=torch.from_numpy(labels).to(torch.int64),
                names=[f"CIFAR-10 {name} {index}" for index in range(len(pixels))],
            )
            for name, (pixels, labels) in parts.items()
        )
        return Pools(
            classes=CLASSES,
            source=f"{source} (32×32 colour): train, shadow and validator from its training part, val and victims from "
            "its test part",
            target=target,
            victims=victims,
            val_from="victims",
        )


def _subset(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            parts = {name: (arrays[f"x_{name}"], arrays[f"y_{name}"]) for name in ("train", "test")}
    except (*FAILURES, KeyError) as error:
        raise DataError(
            f"{file}: not the arrays x_train, y_train, x_test, y_test that are expected ({error})."
        ) from error
    for pixels, labels in parts.values():
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 32, 32, 3):
            raise DataError(f"{file}: images must be uint8 [n,32,32,3], not {pixels.dtype} {pixels.shape}.")
    return parts


def _whole(root: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    from torchvision.datasets import CIFAR10

    parts = {}
    for name in ("train", "test"):
        with fetching("CIFAR-10", root / "cifar-10-batches-py"):
            # torchvision unpickles only files whose digest is the one it knows
            try:
                images = CIFAR10(root, train=name == "train", download=False)
            except RuntimeError:
                images = CIFAR10(root, train=name == "train", download=True)
        parts[name] = (images.data, np.asarray(images.targets))
    return parts
