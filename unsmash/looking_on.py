"""Reading along in the training on the device's side of the wire: what is sent, what comes back, and never a label."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from unsmash.split.parties import Onlooker
from unsmash.split.shield import Smashed


class Reader(Protocol):
    """Who reads along in the training on the device's side of the wire. It is shown no label and can change nothing."""

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> object:
        """Take what was sent for training images `rows` [n] and the gradient that came back, a copy of each."""
        ...


class Along(Onlooker):
    """Shows a reader copies of what crosses; the labels, which a guard needs to see, pass by it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> bool:
        """Whatever the reader makes of it, the training goes on."""
        copies = [tuple(part.detach().clone() for part in parts) for parts in (release, gradient)]
        self.reader.returned(rows.clone(), *copies)
        return True
