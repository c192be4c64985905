"""Each cut of a scan against a budget, by the same judge as an audit, and the earliest cut that may be tried.

What a deeper cut sends is computed from what a shallower one sends. Where the deeper one gives more away, the shallower
one's low share is the attacks' weakness; so a cut is put forward only where all deeper ones stay within the limit too.
Knows records only, no torch.
"""

from __future__ import annotations

from dataclasses import replace

from unsmash import budget as budgets
from unsmash.judge import judge
from unsmash.records import Result
from unsmash.scan_record import Cut, Scan

CONTROL_SHARE = 0.5
"""Identification that an attack must reach at the shallowest cut for its low shares elsewhere to mean anything"""


def judged(scan: Scan, budget: str) -> Scan:
    """The scan with every cut's strength cards and verdict for this budget.

    Raises:
        ConfigError: the budget cannot be read.
    """
    limit = identification_limit(budget)
    cuts = [replace(cut, results=tuple(_carded(result, cut, scan, limit) for result in cut.results))
            for cut in scan.cuts]  # fmt: skip
    told = replace(scan, cuts=tuple(cuts), budget=budget)
    return replace(told, cuts=tuple(_verdict(cut, told) for cut in told.cuts))


def identification_limit(budget: str) -> float | None:
    """The smallest share of identified victims that the budget forbids an outsider to exceed."""
    terms = [term for group in budgets.parse(budget) for term in group]
    return min((term.limit for term in terms if term.metric == "identification" and term.upper), default=None)


def knee(scan: Scan) -> Cut | None:
    """The earliest cut within the whole budget behind which no deeper cut leaks or is without a verdict."""
    found: Cut | None = None
    for cut in reversed(scan.asked):
        if cut.word != "passes":
            break
        found = cut if cut.good else found
    return found


def doubted(scan: Scan) -> tuple[Cut, ...]:
    """Cuts within the budget that a deeper cut shows to be no better than itself."""
    asked = scan.asked
    over = [place for place, cut in enumerate(asked) if cut.word != "passes"]
    last = max(over, default=-1)
    return tuple(cut for cut in asked[: last + 1] if cut.good)


def strongest(cut: Cut) -> Result | None:
    """The attack that identifies most, of several the one with the likest guesses, among those that count; where none
    counts, among those that finished.
    """
    done = [result for result in cut.results if result.role == "attack" and not result.failure]
    valid = [result for result in done if result.card.valid]
    return max(valid or done, key=lambda one: (one.scores["identification"].mean, one.mean("ssim") or 0), default=None)


def exit_code(scan: Scan) -> int:
    """What a gate should return: 0 where a cut may be tried, 1 where all are over the budget, else 3."""
    if knee(scan) is not None:
        return 0
    return 1 if all(cut.word == "leaks" or (cut.word == "passes" and not cut.good) for cut in scan.asked) else 3


def _carded(result: Result, cut: Cut, scan: Scan, limit: float | None) -> Result:
    """The result with `strong` filled in: over the limit itself, or at the shallowest cut."""
    if result.role != "attack" or result.failure:
        return result
    told = [line for line in result.card.evidence if not line.startswith("Control: ")]
    score, control = result.scores["identification"], scan.cuts[0].result(result.name)
    if limit is not None and score.low > limit:
        strong, why = True, f"identifies {score.mean:.0%} here itself"
    elif control is None or control.failure:
        strong, why = False, f"did not finish at {scan.cuts[0].name!r}"
    else:
        share = control.scores["identification"].mean
        strong = share >= CONTROL_SHARE
        why = f"identifies {share:.0%} at the shallowest cut scanned, {scan.cuts[0].name!r}"
        why += "" if strong else f"; at least {CONTROL_SHARE:.0%} is asked of it"
    return replace(result, card=replace(result.card, strong=strong, evidence=(*told, f"Control: {why}.")))


def _verdict(cut: Cut, scan: Scan) -> Cut:
    found = judge([scan.run(cut)], scan.budget)
    return replace(cut, word=found.word, good=found.exit_code == 0, reasons=found.reasons)
