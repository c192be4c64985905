"""How a training went, pass by pass: what a training tells the lab, heard by a sink and kept as rows.

A training sends an event of the kind `epoch` after each pass; a `Listener` among the sinks of its lab hears them. What
is not listened to is not recorded. Knows no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from unsmash.events import Event

MOST = 200
"""Rows kept of a curve; a longer one is thinned evenly, its last and its best row kept"""

TARGET = "victim"
"""Name of the audited network's own curve"""


@dataclass(frozen=True)
class Epoch:
    """Where a training stood after so many passes."""

    number: int
    """Passes done; 0 before the first"""
    train: float | None
    """Mean loss over the pass's batches, as they were trained on; None before the first, or where it was not finite"""
    held: float | None
    """Loss on images held out; None where there are none"""


@dataclass(frozen=True)
class Curve:
    """One training, one row a pass."""

    name: str
    """`victim`, or the result whose attack was trained"""
    stage: str
    """What was trained, as the progress names it"""
    loss: str
    """What the numbers are"""
    rows: tuple[Epoch, ...]
    selects: bool = False
    """The weights of the pass with the least held-out loss were kept; otherwise the last ones"""

    @property
    def best(self) -> Epoch | None:
        """The row of the least loss on held-out images; None where none was measured."""
        measured = [row for row in self.rows if row.held is not None]
        return min(measured, key=lambda row: row.held or 0.0, default=None)


@dataclass
class Listener:
    """A sink that keeps the passes it hears of, under one name."""

    name: str
    curves: list[Curve] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Add a row; a pass that does not follow the last one begins another curve."""
        if event.kind != "epoch":
            return
        row = Epoch(event.step, _finite(event.data.get("train")), _finite(event.data.get("held")))
        last = self.curves[-1] if self.curves else None
        if last is None or last.stage != event.stage or row.number <= last.rows[-1].number:
            loss, selects = str(event.data.get("loss", "")), bool(event.data.get("selects", False))
            self.curves.append(Curve(self.name, event.stage, loss, (row,), selects))
        else:
            self.curves[-1] = replace(last, rows=(*last.rows, row))


def thinned(curves: Iterable[Curve]) -> tuple[Curve, ...]:
    """Curves of at most `MOST` rows each."""
    return tuple(_thinned(curve) for curve in curves)


def _thinned(curve: Curve) -> Curve:
    count = len(curve.rows)
    if count <= MOST:
        return curve
    kept = {round(place * (count - 1) / (MOST - 2)) for place in range(MOST - 1)}
    rows = [row for place, row in enumerate(curve.rows) if place in kept or row is curve.best]
    return replace(curve, rows=tuple(rows))


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
