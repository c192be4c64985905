"""The record of a frontier: what each variant of a study costs, what it gives away, and what is proved about it.

One versioned document, plain data, ↔ JSON, that the page and the command line's table read. Knows no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from unsmash.errors import RecordError
from unsmash.plain import build
from unsmash.records import Failure

VERSION = 1
"""Raised when the record's meaning changes; `load` refuses what it does not know"""

Outcome = Literal["leaks", "passes", "inconclusive", "failed"]
Chosen = Literal["identification", "gallery_identification"]

FINE = 3
"""Digits of an accuracy, as a share, that prices are told apart by: a tenth of a point"""


@dataclass(frozen=True)
class Share:
    """A share pooled over seeds, with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Reached:
    """What the strongest valid attack of some adversaries found."""

    share: Share
    attack: str
    """Title of the attack"""
    threat: str
    """Title of the adversary"""
    messages: int = 1
    """Releases of one image, or moved frames of it, that it sees"""
    name: str = ""
    """Name of the attack's result in the runs"""


@dataclass(frozen=True)
class Ceiling:
    """The lowest proven ceiling of what any attacker identifies from one message."""

    value: float
    title: str
    covers: str = ""
    premises: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One variant: its price, what it gives away, and the verdict."""

    name: str
    word: Outcome
    defences: tuple[dict[str, Any], ...] = ()
    """Settings of each defence, in order"""
    runs: tuple[str, ...] = ()
    """Run ids, one a seed"""
    report: str = ""
    """Address of its own report, as seen from the frontier's folder; empty where there is none"""
    good: bool = False
    """Within the whole budget"""
    reason: str = ""
    """Why there is no verdict"""
    doubt: str = ""
    """Why what was found must not be read as little; empty where it can be believed"""
    accuracy: Share | None = None
    undefended: float | None = None
    """Accuracy of the same network trained alike without defence"""
    lost: float | None = None
    """Accuracy lost to the defence, as a share; below zero where it gained"""
    attack: Reached | None = None
    """The strongest valid attack of the adversaries asked about"""
    gallery: Reached | None = None
    """Whoever holds the candidates and the weights"""
    repeats: Reached | None = None
    """The strongest valid attack on several messages of one image"""
    ceiling: Ceiling | None = None
    stochastic: bool = False
    """Sends something else each time: repeats can tell more"""
    bytes_sent: int | None = None
    device_macs: int | None = None
    seconds: float = 0.0
    front: bool = False
    """No other row that counts is as accurate and identified as little, and better in one of the two"""
    failure: Failure | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """What differs between the study's rows, by dotted path"""
    experiment: str = ""
    """Digest of the experiment without its seed: the same in every study that has it"""


@dataclass(frozen=True)
class LabelOnly:
    """The bar of every defence: the whole network on the device, which sends its answer and nothing else."""

    share: float
    accuracy: Share | None
    device_macs: int | None
    measured: bool
    """Held against the candidate list in a run; else the least possible, from the number of classes"""
    bytes_sent: int = 1


@dataclass(frozen=True)
class Curve:
    """Rows that differ in one number of one defence, in that number's order."""

    title: str
    """The defence and the setting: `laplace, inference: scale`"""
    rows: tuple[int, ...]
    """Places in the frontier's rows"""
    values: tuple[float, ...]


@dataclass(frozen=True)
class About:
    """What is known of a kind of defence, for those who choose."""

    kind: str
    summary: str
    protects: str = ""
    guarantee: str = ""
    cost: str = ""
    source: str = ""


@dataclass(frozen=True)
class Frontier:
    """All variants of one study, cheapest first."""

    id: str
    name: str
    rows: tuple[Row, ...]
    budget: str
    chosen: Chosen
    """What the front is about: the strongest attack in the budget, or whoever holds the candidates"""
    limit: float | None = None
    """Largest share of identified victims that the budget allows"""
    gallery_limit: float | None = None
    least_accuracy: float | None = None
    label: LabelOnly | None = None
    curves: tuple[Curve, ...] = ()
    defences: tuple[About, ...] = ()
    seeds: tuple[int, ...] = (0,)
    n: int = 0
    """Victims, who are also the candidates"""
    noun: tuple[str, str] = ("image", "images")
    data: str = ""
    model: str = ""
    """Network and cut, where all rows share them"""
    fingerprint: str = ""
    environment: dict[str, str] | None = None
    started: str = ""
    command: str = ""
    version: int = VERSION

    def ceiling(self, row: Row) -> float | None:
        """A row's proven ceiling where it forbids anything: at least half a victim."""
        useful = row.ceiling is not None and row.ceiling.value * self.n <= self.n - 0.5
        return row.ceiling.value if row.ceiling is not None and useful else None


def price(row: Row) -> tuple[float, ...]:
    """What rows are sorted by: failed last, then accuracy lost in tenths of a point, bytes, multiply-adds."""
    lost = math.inf if row.lost is None else round(row.lost, FINE) + 0.0
    sent = math.inf if row.bytes_sent is None else row.bytes_sent
    return (float(row.failure is not None), lost, sent, math.inf if row.device_macs is None else row.device_macs)


def front(rows: Sequence[Row], chosen: Chosen) -> set[int]:
    """Places of the rows that no other row beats: none is as accurate and identified as little, and better in one."""
    points = [(place, *point) for place, row in enumerate(rows) if (point := _point(row, chosen)) is not None]
    return {
        place
        for place, accuracy, share in points
        if not any(a >= accuracy and s <= share and (a > accuracy or s < share) for _, a, s in points)
    }


def found(row: Row, chosen: Chosen) -> Reached | None:
    """What the front holds against a row's accuracy."""
    return row.attack if chosen == "identification" else row.gallery


def load(text: str) -> Frontier:
    """Read a frontier record.

    Raises:
        RecordError: not JSON, not a frontier, or written by a version this one does not know.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise RecordError(f"the frontier record is not JSON ({error}); was the file edited or cut short?") from None
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        version = raw.get("version") if isinstance(raw, dict) else None
        raise RecordError(f"the frontier record has version {version!r}; this unsmash reads version {VERSION}")
    return build(Frontier, raw)


def _point(row: Row, chosen: Chosen) -> tuple[float, float] | None:
    """Accuracy and share identified, where both can be believed."""
    reached = found(row, chosen)
    if row.accuracy is None or reached is None or (row.doubt and chosen == "identification"):
        return None
    return row.accuracy.mean, reached.share.mean
