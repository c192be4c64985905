"""The record of an advice: what was tried, what it cost to find out, what was chosen and how its re-test went.

One versioned document, plain data, ↔ JSON, that the page and the command line's table read. Knows no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from unsmash.errors import RecordError
from unsmash.frontier_record import Ceiling, Reached, Row, Share
from unsmash.plain import build
from unsmash.records import Failure

VERSION = 1
"""Raised when the record's meaning changes; `load` refuses what it does not know"""

State = Literal["measured", "pruned", "failed"]
Stage = Literal["accuracy", "price", "proofs", "candidate list", "cheap attacks", "audit"]


@dataclass(frozen=True)
class Demand:
    """What a configuration must meet."""

    budget: str
    """The allowed side, as it was given"""
    fail_if: str
    """Its mirror, which runs are judged by"""
    max_loss: float | None = None
    """Most accuracy that may be lost against the undefended network trained alike, as a share"""
    certified: float | None = None
    """Most that may be identified by proof, as a share"""


@dataclass(frozen=True)
class Trial:
    """One configuration tried on the images of the search. Only a measured one has a row, and with it a verdict."""

    number: int
    name: str
    state: State
    stage: Stage
    """How far it was measured"""
    experiment: dict[str, Any]
    """Cut, defences and training"""
    reason: str = ""
    """Why it went no further"""
    missed: str = ""
    """What of the demand it did not meet: a term of the budget as --fail-if has it, `max-loss` or `certified`"""
    accuracy: Share | None = None
    undefended: float | None = None
    lost: float | None = None
    bytes_sent: int | None = None
    device_macs: int | None = None
    ceiling: Ceiling | None = None
    gallery: Reached | None = None
    attack: Reached | None = None
    """The strongest attack that was tried on it; of a pruned trial no more than a part of what an audit tries"""
    meets: bool = False
    """The whole demand, on the images of the search"""
    broken: tuple[str, ...] = ()
    """Every part of the demand that a measured trial does not meet, or not surely"""
    unsure: bool = False
    """Missed by no more than certainty: more seeds may show that it meets the demand"""
    row: Row | None = None
    seconds: float = 0.0
    failure: Failure | None = None


@dataclass(frozen=True)
class Retest:
    """A choice measured anew: other seeds, victims that took no part in the search, every attack."""

    trial: int
    row: Row
    holds: bool
    reason: str = ""
    """What it did not meet"""
    attacks: tuple[str, ...] = ()
    """Titles of the attacks that were tried"""
    latency_ms: tuple[float, ...] = ()
    """Of the device half, median and 95th percentile"""


@dataclass(frozen=True)
class Relaxed:
    """What would do if one part of the demand were given up or made weaker."""

    part: str
    """`max-loss`, `certified`, or a term of the budget as --fail-if has it"""
    said: str
    """The part as the user gave it"""
    without: int
    """Trials that would do without it"""
    value: float | None = None
    """Where it would have to lie for the nearest of them, where it is one number"""
    trial: int | None = None
    """The nearest of them"""


@dataclass(frozen=True)
class Advice:
    """What the advisor found."""

    id: str
    demand: Demand
    trials: tuple[Trial, ...]
    retests: tuple[Retest, ...] = ()
    relaxed: tuple[Relaxed, ...] = ()
    """Where nothing meets the demand: each part given up in turn"""
    seeds: tuple[int, ...] = ()
    """Of the re-test; none of them took part in the search"""
    seed: int = 0
    """Of the search"""
    cuts: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    n: int = 0
    """Victims of the re-test, who are also the candidates"""
    noun: tuple[str, str] = ("image", "images")
    data: str = ""
    model: str = ""
    whole_bytes: int | None = None
    """What the undefended network sends at the chosen cut"""
    fingerprint: str = ""
    environment: dict[str, str] | None = None
    started: str = ""
    seconds: float = 0.0
    """All trials and re-tests added up"""
    command: str = ""
    version: int = VERSION

    @property
    def chosen(self) -> Retest | None:
        """The re-test that holds."""
        return next((one for one in self.retests if one.holds), None)

    def trial(self, number: int) -> Trial:
        """The trial of that number."""
        return next(one for one in self.trials if one.number == number)


COARSE = 0.01
"""Share of accuracy that prices are told apart by"""


def price(trial: Trial) -> tuple[float, ...]:
    """What trials are sorted by: accuracy lost in whole points, bytes, multiply-adds, then the first tried.

    A few hundred images cannot tell less, and a gain is luck: a dear defence must not win by either.
    """
    lost = math.inf if trial.lost is None else round(max(0.0, trial.lost) / COARSE) * COARSE
    sent = math.inf if trial.bytes_sent is None else trial.bytes_sent
    return (lost, sent, math.inf if trial.device_macs is None else trial.device_macs, trial.number)


def candidates(trials: Iterable[Trial]) -> list[Trial]:
    """Those that meet the demand on the search's images, cheapest first. A pruned trial is never among them."""
    return sorted((one for one in trials if one.state == "measured" and one.meets), key=price)


MOST = 3
"""Choices that are re-tested: the more, the more the best of them owes to luck"""


def choices(trials: Iterable[Trial]) -> list[Trial]:
    """What a re-test takes, in order: those that meet the demand, then those of which one seed could not tell."""
    every = list(trials)
    unsure = [one for one in every if one.state == "measured" and one.unsure and not one.meets]
    return candidates(every) + sorted(unsure, key=price)


def load(text: str) -> Advice:
    """Read an advice.

    Raises:
        RecordError: not JSON, not an advice, or written by a version this one does not know.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise RecordError(f"the advice is not JSON ({error}); was the file edited or cut short?") from None
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        version = raw.get("version") if isinstance(raw, dict) else None
        raise RecordError(f"the advice has version {version!r}; this unsmash reads version {VERSION}")
    return build(Advice, raw)
