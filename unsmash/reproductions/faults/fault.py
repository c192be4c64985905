"""What showing a fault comes to, and how measurements become its figures and words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from unsmash import scoring
from unsmash.errors import UnsmashError
from unsmash.metrics.intervals import bootstrap
from unsmash.records import Result, Score
from unsmash.reproductions.paper import paper
from unsmash.reproductions.record import Chart, Measure, Sheet, Table

NAME = "findings"
"""The file of published figures that all of them draw on"""

Figures = dict[str, list[float]]
"""By quantity: value, both ends of its interval and n; or the value alone. Shares in per cent. Plain, so it is kept"""

Rows = Mapping[str, Mapping[str, Measure | None]]


@dataclass(frozen=True)
class Fault:
    """A fault of published evaluations, as it was found in this run."""

    name: str
    """In few words"""
    shown: bool | None
    """The figures bear it out, beyond their intervals where they have some; None: it could not be tried"""
    sentence: str
    """What was measured: every number is one of this run, unless it is said to be published"""
    tables: tuple[Table, ...]
    brief: str = ""
    """A clause for the headline"""
    sheets: tuple[Sheet, ...] = ()
    charts: tuple[Chart, ...] = ()
    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    """[n, c, h, w] in [0, 1] by `<sheet>/<line>`"""
    substitutes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        """Id of its last table, under which its pictures stand."""
        return self.tables[-1].id if self.tables else ""


def figures(result: Result, names: Iterable[str]) -> Figures:
    """These scores of an attack, shares in per cent.

    Raises:
        UnsmashError: the attack did not finish.
    """
    if result.failure:
        raise UnsmashError(f"{result.title} did not finish: {result.failure}")
    return {name: plain(result.scores[name]) for name in names}


def plain(score: Score) -> list[float]:
    """A score as it is kept."""
    factor = 100 if score.unit == "share" else 1
    ends = [score.mean] if score.method.startswith("none") else [score.mean, score.low, score.high, score.n]
    return [factor * one for one in ends[:3]] + ends[3:]


def share(hits: Tensor) -> list[float]:
    """A share of cases [n], 0 or 1 each, with Wilson's interval, in per cent."""
    return plain(scoring.share_score("share", hits.double()))


def mean(values: Sequence[float]) -> list[float]:
    """A mean with its bootstrap interval."""
    return [sum(values) / len(values), *bootstrap(list(values)), len(values)]


def measures(found: Mapping[str, Sequence[float]]) -> dict[str, Measure]:
    """Kept figures as a table's cells."""
    return {name: Measure(one[0]) if len(one) < 4 else _measure(*one) for name, one in found.items()}


def _measure(value: float, low: float, high: float, n: float) -> Measure:
    return Measure(value, low, high, int(n))


def table(name: str, ours: Rows, right: Rows | None = None, *reasons: str) -> Table:
    """The published figures of that table with these beside them."""
    return paper(NAME).tables[name].table(name, ours, right, reasons=reasons)


def published(name: str, row: str, column: str) -> float:
    """A published figure."""
    rows = {one.name: one for one in paper(NAME).tables[name].rows}
    found = rows[row].figures[column]
    if found is None:
        raise KeyError(f"{name}, {row}: no {column} was published")
    return found


def turn(before: Sequence[float], after: Sequence[float]) -> int:
    """−1 or 1 where the second figure lies below or above the first beyond both intervals, else 0.

    >>> turn([95.0, 93.0, 97.0, 500], [40.0, 36.0, 44.0, 500]), turn([0.5], [0.5])
    (-1, 0)
    """
    low, high = _ends(before), _ends(after)
    return int(high[0] > low[1]) - int(high[1] < low[0])


def _ends(figure: Sequence[float]) -> tuple[float, float]:
    return (figure[1], figure[2]) if len(figure) > 2 else (figure[0], figure[0])


def percent(figure: Sequence[float]) -> str:
    """A share as it is written in a sentence.

    >>> percent([36.24, 32.0, 40.1, 500])
    '36.2 %'
    """
    return f"{figure[0]:.1f} %"
