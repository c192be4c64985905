"""Pools of images, the five sets drawn from them, and the report of what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from unsmash.attribute import Attribute

SETS = ("train", "shadow", "validator", "val", "victims")
"""All sets; a repeat stays in the first of them that has it"""


@dataclass(frozen=True, eq=False)
class Pool:
    """Images that sets are drawn from, as they were read.

    Pixels are uint8 [n,c,h,w], 0 black and `peak` white; labels int64 [n], -1 where the class is unknown; names say
    where each image came from. Traits are what else is known of each, by name: int64 [n], -1 where it is not.
    """

    pixels: Tensor
    labels: Tensor
    names: Sequence[str]
    peak: int = 255
    traits: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != torch.uint8:
            raise TypeError(f"a pool's pixels are uint8 [n,c,h,w], not {self.pixels.dtype} {tuple(self.pixels.shape)}")
        if not len(self.pixels) == len(self.labels) == len(self.names):
            raise ValueError(f"{len(self.pixels)} images, {len(self.labels)} labels and {len(self.names)} names")

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: Tensor) -> Pool:
        """The pool of the images at these places."""
        return replace(
            self,
            pixels=self.pixels[index],
            labels=self.labels[index],
            names=[self.names[place] for place in index.tolist()],
            traits={name: values[index] for name, values in self.traits.items()},
        )


@dataclass(frozen=True)
class Question:
    """One of several questions that a class answers at once: class 7 of `digit × ink` may be digit 2, ink heavy."""

    name: str
    answers: tuple[str, ...]
    of_class: tuple[int, ...]
    """Which answer each class gives"""

    def of(self, labels: Tensor) -> Tensor:
        """The answers for labels [n]; −1 where the label is."""
        return torch.where(labels < 0, labels, torch.tensor(self.of_class)[labels.clamp(min=0)])


@dataclass(frozen=True, eq=False)
class Pools:
    """What a data set has: one common pool, or parts that its makers keep apart, or both.

    A set whose part is given is drawn from that part only; the others from `target`, or `common` where there is none.
    """

    classes: tuple[str, ...]
    source: str
    """One sentence: where the images came from, what was resized"""
    common: Pool | None = None
    target: Pool | None = None
    shadow: Pool | None = None
    victims: Pool | None = None
    val_from: Literal["target", "victims"] = "target"
    """Part that the val set is drawn from: `victims` where the makers have a test part"""
    notes: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    """Where the classes answer several questions at once: each of them"""
    traits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the images tell that the task is not about: the answers of each trait that the parts have"""

    def parts(self) -> dict[str, Pool]:
        """The pools there are, by name; a repeat stays in the first of them that has it."""
        named = {"common": self.common, "target": self.target, "shadow": self.shadow, "victims": self.victims}
        return {name: pool for name, pool in named.items() if pool is not None}

    def part_of(self, set_name: str) -> str:
        """Name of the part that a set is drawn from."""
        wanted = {"shadow": "shadow", "victims": "victims", "val": self.val_from}.get(set_name, "target")
        return next(name for name in (wanted, "target", "common") if name in self.parts())


@dataclass(frozen=True, eq=False)
class Images:
    """A set of images: pixels float32 [n,c,h,w] in [0,1], labels int64 [n] (-1 unknown), names for messages."""

    pixels: Tensor
    labels: Tensor
    names: Sequence[str]
    traits: Mapping[str, Tensor] = field(default_factory=dict)
    """What else is known of each image, by name: int64 [n], -1 where it is not"""

    @classmethod
    def of(cls, pool: Pool) -> Images:
        """The pool's images as floats in [0,1]."""
        return cls(
            pool.pixels.to(torch.float32).div_(pool.peak), pool.labels.to(torch.int64), tuple(pool.names), pool.traits
        )

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class SplitReport:
    """What was drawn and what was found in it; plain values, ready for JSON."""

    source: str
    """One sentence: where the images came from, what was resized"""
    sizes: dict[str, int]
    """Images by set"""
    fingerprint: str
    """Digest of every set's pixels and labels, in order"""
    contamination: int = 0
    """Images found in two sets or parts that must be disjoint; above 0 only when that was allowed"""
    contamination_examples: tuple[str, ...] = ()
    repeats_dropped: int = 0
    """Images left out because an identical one stands elsewhere"""
    near_duplicates: int = 0
    """Victims with a near twin in train, shadow or validator: root-mean-square pixel difference below 0.018; identical
    ones, where they were allowed, count too"""
    near_examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Splits:
    """The five sets of one experiment, disjoint by content unless the report says otherwise."""

    train: Images
    """Trains the target"""
    val: Images
    """Held out: the target's accuracy"""
    shadow: Images
    """The adversary's own images"""
    validator: Images
    """Trains the independent recogniser of the guesses"""
    victims: Images
    """Held out and attacked"""
    classes: tuple[str, ...]
    noun: tuple[str, str]
    """Singular and plural of what an image shows: `("face", "faces")`"""
    report: SplitReport
    questions: tuple[Question, ...] = ()
    """Where the classes answer several questions at once: each of them"""
    traits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the images tell that the task is not about: the answers of each trait that the sets have"""

    def attributes(self) -> tuple[Attribute, ...]:
        """All that may be asked of an image: each question of the task, or its class, and each trait."""
        whole = Question("class", self.classes, tuple(range(len(self.classes))))
        asked = [
            Attribute(one.name, one.answers, one.of(self.victims.labels), one.of(self.shadow.labels), task=True)
            for one in self.questions or (whole,)
        ]
        unknown = [torch.full_like(one.labels, -1) for one in (self.victims, self.shadow)]
        told = [
            Attribute(
                name, answers, self.victims.traits.get(name, unknown[0]), self.shadow.traits.get(name, unknown[1])
            )
            for name, answers in self.traits.items()
        ]
        return (*asked, *told)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """[c, h, w] of one image."""
        c, h, w = self.train.pixels.shape[1:]
        return c, h, w
