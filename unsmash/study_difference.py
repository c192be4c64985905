"""Two studies held against each other: rows of the same name or experiment, and how far their figures differ.

A difference counts only where the two 95 % intervals do not overlap. That is stricter than a test at that level, so a
difference said to be shown is one. Knows no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from unsmash.frontier_record import Frontier, Row, Share, found

Said = Literal["higher", "lower", "not shown", "unknown"]


@dataclass(frozen=True)
class Pair:
    """One setting in both studies, or in one alone."""

    name: str
    first: Row | None
    second: Row | None
    share: tuple[Share | None, Share | None] = (None, None)
    """What is identified, in each"""

    @property
    def identified(self) -> Said:
        """The second against the first."""
        doubtful = any(row is not None and row.doubt for row in (self.first, self.second))
        return "unknown" if doubtful else said(*self.share)

    @property
    def accuracy(self) -> Said:
        """The second against the first."""
        return said(*(row.accuracy if row is not None else None for row in (self.first, self.second)))


@dataclass(frozen=True)
class Difference:
    """Two studies, row by row."""

    first: Frontier
    second: Frontier
    pairs: tuple[Pair, ...]
    """In both: by the first's order"""
    vanished: tuple[Row, ...]
    """Only in the first"""
    new: tuple[Row, ...]
    warnings: tuple[str, ...]
    """Why the two are not wholly comparable, one sentence each"""


def said(first: Share | None, second: Share | None) -> Said:
    """How the second stands to the first.

    >>> said(Share(0.2, 0.1, 0.3, 50), Share(0.4, 0.31, 0.5, 50))
    'higher'
    """
    if first is None or second is None:
        return "unknown"
    if second.low > first.high:
        return "higher"
    return "lower" if second.high < first.low else "not shown"


def difference(first: Frontier, second: Frontier) -> Difference:
    """The second study against the first: rows go together by name, those left by experiment."""
    left = {row.name: row for row in second.rows}
    matched = {row.name: left.pop(row.name) for row in first.rows if row.name in left}
    known = {row.experiment: row for row in left.values() if row.experiment}
    for row in first.rows:
        if row.name not in matched and row.experiment in known:
            matched[row.name] = left.pop(known.pop(row.experiment).name)
    pairs = [_pair(first, row, second, matched[row.name]) for row in first.rows if row.name in matched]
    vanished = [row for row in first.rows if row.name not in matched]
    new = [row for row in second.rows if row.name in left]
    return Difference(first, second, tuple(pairs), tuple(vanished), tuple(new), tuple(_warnings(first, second)))


def summary(found: Difference) -> dict[str, Any]:
    """A difference as one JSON document: figures of the first study, then of the second."""

    def both(one: Pair) -> dict[str, Any]:
        rows = (one.first, one.second)
        return {
            "name": one.name,
            "verdict": [row.word if row else None for row in rows],
            "identification": [asdict(share) if share else None for share in one.share],
            "accuracy": [asdict(row.accuracy) if row and row.accuracy else None for row in rows],
            "identified": one.identified,
            "accurate": one.accuracy,
        }

    return {
        "studies": [found.first.id, found.second.id],
        "both": [both(one) for one in found.pairs],
        "only_first": [row.name for row in found.vanished],
        "only_second": [row.name for row in found.new],
        "warnings": list(found.warnings),
    }


def _pair(first: Frontier, one: Row, second: Frontier, other: Row) -> Pair:
    reached = found(one, first.chosen), found(other, second.chosen)
    name = one.name if one.name == other.name else f"{one.name} → {other.name}"
    shares = reached[0].share if reached[0] else None, reached[1].share if reached[1] else None
    return Pair(name, one, other, shares)


def _warnings(first: Frontier, second: Frontier) -> list[str]:
    told = []
    if first.fingerprint != second.fingerprint:
        told.append("The two studies saw different images: their shares are of different victims.")
    if first.n != second.n:
        told.append(f"Identified means picked out of {first.n} in the first and of {second.n} in the second.")
    if first.budget != second.budget:
        told.append(f"The budgets differ: `{first.budget}` and `{second.budget}`; so a verdict may change by itself.")
    if first.chosen != second.chosen:
        told.append("One is judged by its strongest attack, the other by who holds the candidates.")
    if first.seeds != second.seeds:
        told.append(f"The first has {len(first.seeds)} and the second {len(second.seeds)} seeds, or other ones.")
    return told
