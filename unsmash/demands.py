"""Whether runs meet a demand, part by part; and which part is the expensive one where nothing does. Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unsmash import budget as budgets
from unsmash import judge
from unsmash.advice_record import Demand, Relaxed, Trial, price
from unsmash.errors import ConfigError
from unsmash.frontier_record import Row
from unsmash.records import Run
from unsmash.report.words import percent

LOSS, CERTIFIED = "max-loss", "certified"


def demand(budget: str, max_loss: float | None = None, certified: float | None = None) -> Demand:
    """What must be met, checked.

    Raises:
        ConfigError: the budget cannot be read, limits no leakage, or a share lies outside 0 to 1.
    """
    fail_if = budgets.forbidden(budget)
    metrics = {term.metric for group in budgets.parse(fail_if) for term in group}
    if not metrics & set(budgets.LEAKAGE):
        hint = "Without one the network as it is would always do"
        allowed = f"at least one limit on what leaks: {', '.join(budgets.LEAKAGE)}"
        raise ConfigError("budget", got=budget, allowed=allowed, hint=hint)
    if of_classes := metrics & set(budgets.CLASSES):
        hint = "What a network keeps of its classes is measured by `unsmash audit --attack miface`"
        raise ConfigError("budget", got=min(of_classes), allowed=(*budgets.LEAKAGE, *budgets.COST), hint=hint)
    for name, value in ((LOSS, max_loss), (CERTIFIED, certified)):
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(name, got=value, allowed="a share from 0 to 1, such as 0.02")
    return Demand(budget, fail_if, max_loss, certified)


def parts(demand: Demand) -> dict[str, str]:
    """Each part of a demand: its name, and how the user said it. A budget's parts are the terms that break it."""
    told = {_text(group): _allowed(group) for group in _groups(demand)}
    if demand.max_loss is not None:
        told[LOSS] = f"--max-loss {demand.max_loss:g}"
    if demand.certified is not None:
        told[CERTIFIED] = f"--certified {demand.certified:g}"
    return told


def broken(demand: Demand, runs: Sequence[Run], row: Row) -> tuple[str, ...]:
    """The parts that runs do not meet, or not surely: a budget's term counts as met only where it is judged so."""
    if row.failure is not None:
        return tuple(parts(demand))
    terms = [_text(group) for group in _groups(demand) if judge.judge(runs, _text(group)).exit_code != 0]
    if demand.max_loss is not None and (row.lost is None or row.lost > demand.max_loss + 1e-9):
        terms.append(LOSS)
    if demand.certified is not None and (row.ceiling is None or row.ceiling.value > demand.certified + 1e-9):
        terms.append(CERTIFIED)
    return tuple(terms)


def unsure(runs: Sequence[Run], missed: Sequence[str]) -> bool:
    """Whether the parts that were missed were missed by certainty alone: neither met nor broken by these runs."""
    terms = [part for part in missed if part not in (LOSS, CERTIFIED)]
    inconclusive = judge.EXIT["inconclusive"]
    return len(terms) == len(missed) > 0 and all(judge.judge(runs, one).exit_code == inconclusive for one in terms)


def said(demand: Demand, missed: Sequence[str], row: Row) -> str:
    """What was not met, with the figure that shows it."""
    return "; ".join(_shortfall(demand, part, row) for part in missed)


def relaxed(demand: Demand, trials: Sequence[Trial]) -> tuple[Relaxed, ...]:
    """Each part of the demand given up in turn, on the trials that were measured whole: what would then do.

    The part that would help most comes first.
    """
    whole = [one for one in trials if one.state == "measured"]
    found = []
    for part, told in parts(demand).items():
        would = sorted((one for one in whole if set(one.broken) == {part}), key=price)
        values = [(value, price(one), one.number) for one in would if (value := _needed(part, one)) is not None]
        nearest = min(values, default=None)
        number = nearest[2] if nearest else would[0].number if would else None
        found.append(Relaxed(part, told, len(would), nearest[0] if nearest else None, number))
    return tuple(sorted(found, key=lambda one: -one.without))


def _needed(part: str, trial: Trial) -> float | None:
    """Where a part would have to lie for a trial, rounded so that it holds."""
    if part == LOSS:
        return None if trial.lost is None else math.ceil(trial.lost * 1000 - 1e-6) / 1000
    if part == CERTIFIED:
        return None if trial.ceiling is None else math.ceil(trial.ceiling.value * 1000 - 1e-6) / 1000
    terms = budgets.parse(part)[0]
    row, term = trial.row, terms[0]
    if len(terms) > 1 or row is None:
        return None
    if term.metric == "identification":
        return None if row.attack is None or row.doubt else math.ceil(row.attack.share.high * 1000) / 1000
    if term.metric == "gallery_identification":
        return None if row.gallery is None else math.ceil(row.gallery.share.high * 1000) / 1000
    if term.metric == "accuracy":
        return None if row.accuracy is None else math.floor(row.accuracy.low * 1000) / 1000
    return float(row.bytes_sent) if term.metric == "bytes" and row.bytes_sent is not None else None


def _shortfall(demand: Demand, part: str, row: Row) -> str:
    if part == LOSS:
        return f"accuracy lost {'is unknown' if row.lost is None else percent(row.lost)}, {parts(demand)[part]}"
    if part == CERTIFIED:
        proven = "nothing is proven" if row.ceiling is None else f"proven is {percent(row.ceiling.value)}"
        return f"{proven}, {parts(demand)[part]}"
    return row.reason or row.doubt or f"not {parts(demand)[part]}"


def _groups(demand: Demand) -> budgets.Terms:
    return budgets.parse(demand.fail_if)


def _text(group: Sequence[budgets.Comparison]) -> str:
    return " and ".join(map(str, group))


def _allowed(group: Sequence[budgets.Comparison]) -> str:
    """The side that is allowed: a group breaks the budget where all its terms hold."""
    return " or ".join(f"{t.metric}{budgets.OPPOSITE[t.operator]}{t.limit:g}" for t in group)
