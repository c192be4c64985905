"""A training that an adversary takes part in or looks on: how it ends, and what a server has of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unsmash.split.model import SplitModel
from unsmash.split.parties import Server, Watch
from unsmash.split.shield import Smashed


@dataclass(frozen=True)
class Outcome:
    """How a training ended that an adversary took part in or looked on."""

    model: SplitModel
    """As it was at the end, in eval mode"""
    alarm: str = ""
    """Why the device's guard ended it; empty where nobody objected"""


@dataclass(frozen=True)
class Session:
    """What a server has after a training that it took part in: what the device half then sends of the victims."""

    release: Smashed
    """Of the victims, by the device half as this training left it, alarm or not; a tuple of tensors [n, …]"""
    alarm: str = ""
    """Why the device took no further part; empty where nobody objected"""


Rehearse = Callable[[Server | None, Watch | None, int | None], Outcome]
"""The training from its beginning, with another server, a watch on the device, or for another number of steps"""
