"""The record of a judgement: the word, the sentence, and each adversary's part in it. Plain data, ↔ JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["leaks", "passes", "inconclusive"]


@dataclass(frozen=True)
class AdversaryVerdict:
    """The verdict against one adversary."""

    threat: str
    word: Word
    attack: str
    """Name of its strongest valid attack; empty when none is valid"""
    count: float
    """Victims identified by it"""
    n: int
    low: float
    high: float
    limit: float | None
    """Largest share allowed; None when this adversary is not asked about"""
    union: int = 0
    """Victims exposed to at least one of its valid attacks"""
    attacks: int = 0
    """How many attacks that union is over"""
    reason: str = ""
    """Why it is inconclusive"""


@dataclass(frozen=True)
class Verdict:
    """The judgement of one or several runs (seeds) of one experiment against a budget."""

    word: Word
    sentence: str
    reasons: tuple[str, ...]
    adversaries: tuple[AdversaryVerdict, ...]
    budget: str
    exit_code: int
    """0 passes, 1 leaks, 3 inconclusive: what a gate should return"""
    seeds: int = 1
    terms: tuple[str, ...] = ()
    """Each comparison of the budget with what was measured"""
