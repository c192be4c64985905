"""The record of a scan: what each cut of one undefended network sends, costs and gives away.

One versioned document, plain data, ↔ JSON, that the page and the command line's table read. Knows no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

from unsmash import budget as budgets
from unsmash.errors import RecordError
from unsmash.plain import build, dumps, not_json
from unsmash.records import Pictures, Result, Run, Score, ThreatRecord, Utility
from unsmash.subject import DataRecord, SplitRecord
from unsmash.verdicts import Word

VERSION = 1
"""Raised when the record's meaning changes; `load` refuses what it does not know"""


@dataclass(frozen=True)
class Cut:
    """One place to cut: what crosses there, what the device must do, and what was made of it."""

    name: str
    also: tuple[str, ...]
    """Other layers whose return is the same cut"""
    shape: tuple[int, ...]
    """Of the tensor that crosses, for one image"""
    bytes_raw: int
    """Sent for an image, as the network computes it"""
    bytes_quantised: int
    """The same in 8 bits a number, between the image's own smallest and largest"""
    bytes_compressed: float
    """Those deflated, mean over the victims"""
    device_macs: int
    device_parameters: int
    latency_ms: tuple[float, ...]
    """Median and 95th percentile of the device half for one image, where the scan ran"""
    images: int
    """Of the adversary's own that the attacks learned from"""
    results: tuple[Result, ...]
    """Attacks, then whoever holds the candidates; without a number for each victim, ranks excepted"""
    quantised: Score
    """What one who holds the candidates tells by the 8-bit codes alone"""
    dependence: float
    """Bias-corrected distance correlation of image and what is sent"""
    scale: float = 0.0
    """Standard deviation of the numbers that cross"""
    control: bool = False
    """Was not asked about: measured to see whether the attacks succeed where they should"""
    word: Word = "inconclusive"
    """Leakage against the budget"""
    good: bool = False
    """Within the whole budget"""
    reasons: tuple[str, ...] = ()
    """Why there is no verdict, or which limit is broken"""
    seconds: float = 0.0

    @property
    def numbers(self) -> int:
        """How many numbers cross for an image."""
        return math.prod(self.shape)

    def result(self, name: str) -> Result | None:
        """The result of that name."""
        return next((result for result in self.results if result.name == name), None)


@dataclass(frozen=True)
class Scan:
    """All cuts of one network, in the order it runs."""

    id: str
    experiment: dict[str, Any]
    """Data, model, training and seed, as a study would have them"""
    seed: int
    model: str
    data: DataRecord
    cuts: tuple[Cut, ...]
    threats: tuple[ThreatRecord, ...]
    floors: tuple[Result, ...]
    """Pure chance, the average image, and the whole network on the device that sends its label alone"""
    utility: Utility
    """Of the network; where it is cut changes nothing"""
    whole_macs: int
    whole_parameters: int
    left_out: tuple[str, ...] = ()
    """Cuts that were not measured, for there are many"""
    notes: tuple[str, ...] = ()
    pictures: Pictures = field(default_factory=Pictures)
    """The same victims for every cut; `guess/CUT/ATTACK` has what an attack made of them behind a cut"""
    budget: str = budgets.DEFAULT
    quick: bool = False
    started: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    flags: tuple[str, ...] = ()
    """Data, model and training as the command line takes them"""
    version: int = VERSION

    @property
    def n(self) -> int:
        """Victims, who are also the candidates."""
        return self.data.sizes["victims"]

    @property
    def bytes_input(self) -> int:
        """Of the raw image in 8 bits."""
        return math.prod(self.data.input_shape)

    @property
    def asked(self) -> tuple[Cut, ...]:
        """The cuts that may be recommended."""
        return tuple(cut for cut in self.cuts if not cut.control)

    def floor(self, name: str) -> Result | None:
        """The floor of that name."""
        return next((result for result in self.floors if result.name == name), None)

    def run(self, cut: Cut) -> Run:
        """One cut as a run record, as far as a scan measures it: what a judge of runs reads."""
        split = SplitRecord(
            self.model, cut.name, (cut.shape,), cut.bytes_raw, self.bytes_input, cut.device_parameters,
            self.whole_parameters - cut.device_parameters, cut.device_macs, whole_macs=self.whole_macs,
        )  # fmt: skip
        return Run(
            self.id, self.experiment | {"at": cut.name}, self.seed, self.data, split, self.utility, self.threats,
            (*self.floors, *cut.results), budget=self.budget, latency_ms=cut.latency_ms,
        )  # fmt: skip

    def digest(self) -> str:
        """Hash of everything measured, without times, machine and command: what must be the same when scanned again."""
        cuts = tuple(replace(cut, latency_ms=(), seconds=0.0) for cut in self.cuts)
        blank = replace(self, cuts=cuts, started="", seconds={}, environment={}, command="")
        return hashlib.sha256(dumps(blank).encode()).hexdigest()


def load(text: str) -> Scan:
    """Read a scan record.

    Raises:
        RecordError: not JSON, not a scan, or written by a version this one does not know.
    """
    try:
        raw = json.loads(text, parse_constant=not_json)
    except ValueError as error:
        raise RecordError(f"the scan record is not JSON ({error}); was the file edited or cut short?") from None
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        version = raw.get("version") if isinstance(raw, dict) else None
        raise RecordError(f"the scan record has version {version!r}; this unsmash reads version {VERSION}")
    return build(Scan, raw)
