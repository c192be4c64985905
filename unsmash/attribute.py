"""An attribute: a question about an image that somebody may want answered, whether or not the task is about it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Attribute:
    """A question with a few answers, and what the answers are for two sets of images."""

    name: str
    answers: tuple[str, ...]
    victims: Tensor
    """Which answer each victim has [n]; −1 where nobody knows"""
    shadow: Tensor
    """The same for the adversary's own images [m]"""
    task: bool = False
    """The network was trained to answer it; otherwise it has no business in what is sent"""


@dataclass(frozen=True, eq=False)
class Known:
    """What an adversary knows of an attribute: of its own images only."""

    name: str
    answers: tuple[str, ...]
    shadow: Tensor
    """[m]; −1 where it does not know"""
