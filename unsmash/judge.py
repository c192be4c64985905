"""The verdict: leaks, passes or inconclusive, for each adversary asked for, by intervals and strength cards.

Runs are the seeds of one experiment. An adversary's figure is that of its strongest single valid attack. It leaks when
the interval's lower end is over the limit; it passes when the upper end is not and every attack's strength card is
good; anything else is inconclusive, never a pass. Knows records only, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unsmash import budget as budgets
from unsmash.budget import Comparison
from unsmash.metrics.intervals import bootstrap, share_interval
from unsmash.records import ClassResult, Result, Run, Score, ThreatRecord
from unsmash.verdicts import AdversaryVerdict, Verdict, Word

EXIT = {"passes": 0, "leaks": 1, "inconclusive": 3}
WORDS: dict[bool | None, Word] = {True: "leaks", False: "passes", None: "inconclusive"}
DOWN = ("mse",)
"""Metrics where less means more leakage"""

ARRIVED = 0.9
"""Confidence of the audited network below which a class attack has not shown what the network keeps of a class"""


@dataclass(frozen=True)
class Strongest:
    """A metric pooled over seeds, mostly that of the strongest valid attack."""

    name: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Finding:
    """One comparison's value with its reason."""

    value: bool | None
    text: str
    reason: str = ""


def judge(runs: Sequence[Run], budget: str = budgets.DEFAULT) -> Verdict:
    """Judge the runs (one a seed) of one experiment against a budget.

    Raises:
        ConfigError: the budget cannot be read.
    """
    terms = budgets.parse(budget)
    broken = [run.failure for run in runs if run.failure]
    if broken:
        reason = f"the run failed in {broken[0].stage}: {broken[0].message}"
        return Verdict("inconclusive", f"No verdict: {reason}", (reason,), (), budget, EXIT["inconclusive"], len(runs))
    findings = {term: _finding(runs, term) for group in terms for term in group}
    whole = budgets.evaluate(terms, lambda term: findings[term].value)
    leakage = tuple(tuple(t for t in group if t.metric in budgets.LEAKAGE + budgets.CLASSES) for group in terms)
    leakage = tuple(group for group in leakage if group)
    leak = budgets.evaluate(leakage, lambda term: findings[term].value) if leakage else whole
    adversaries = tuple(_adversary(runs, threat, _limit(terms, threat)) for threat in runs[0].threats)
    reasons = tuple(finding.reason for finding in findings.values() if finding.reason)
    word = WORDS[leak]
    sentence = _sentence(runs[0], word, adversaries, findings, reasons)
    told = tuple(finding.text for finding in findings.values())
    return Verdict(word, sentence, reasons, adversaries, budget, EXIT[WORDS[whole]], len(runs), told)


def strongest(runs: Sequence[Run], names: Sequence[str], metric: str) -> Strongest | None:
    """The strongest of those results on a metric; None where none of them measured it."""
    pooled = [pool(runs, name, metric) for name in names]
    found = [one for one in pooled if one is not None]
    if not found:
        return None
    return (min if metric in DOWN else max)(found, key=lambda one: one.mean)


def pool(runs: Sequence[Run], name: str, metric: str) -> Strongest | None:
    """A result's metric over all seeds, with its 95 % interval."""
    return _pooled(name, [run.result(name).scores.get(metric) for run in runs], metric)


def _pooled(name: str, scores: Sequence[Score | None], metric: str) -> Strongest | None:
    kept = [score for score in scores if score is not None]
    if not kept or len(kept) != len(scores):
        return None
    if len(kept) == 1:
        score = kept[0]
        return Strongest(name, score.mean, score.low, score.high, score.n)
    values = [score.values for score in kept]
    low, high = share_interval(values) if metric in budgets.SHARES else bootstrap(values)
    return Strongest(name, sum(score.mean for score in kept) / len(kept), low, high, kept[0].n)


def valid(runs: Sequence[Run], threat: str) -> list[str]:
    """Names of the attacks under a threat that count: valid in every seed. A ceiling counts as its threat's attack."""
    return [name for name in _names(runs, threat) if all(_counts(run.result(name)) for run in runs)]


def accuracy(runs: Sequence[Run]) -> Strongest | None:
    """The task's accuracy over all seeds; None where it was not measured."""
    scores = [run.utility.accuracy for run in runs if run.utility and run.utility.accuracy]
    if not scores:
        return None
    low, high = scores[0].low, scores[0].high
    if len(scores) > 1:
        low, high = share_interval([score.values for score in scores])
    return Strongest("accuracy", sum(score.mean for score in scores) / len(scores), low, high, scores[0].n)


def _names(runs: Sequence[Run], threat: str) -> list[str]:
    return [result.name for result in runs[0].results if result.threat == threat and result.role != "floor"]


def _counts(result: Result) -> bool:
    return result.card.valid and not result.failure


def doubt(runs: Sequence[Run], threat: str) -> str:
    """Why a low number of this adversary would not mean a pass; empty when every card is good."""
    results = [run.result(name) for run in runs for name in _names(runs, threat)]
    serious = [result for result in results if not result.card.exhibit]
    if results and not serious:
        return "only attacks kept as published were tried, and their failing proves nothing"
    aware = [result for result in serious if result.settings.get("aware") is not False]
    if serious and not aware:
        return "only attacks that do not know the defence were tried"
    failed = {result.title for result in serious if result.failure}
    if failed:
        return f"{len(failed)} {'attack' if len(failed) == 1 else 'attacks'} did not finish"
    weak = [result for result in aware if not result.card.good]
    if any(result.card.strong is False for result in weak):
        return "the attack failed even where it should succeed"
    if any(result.card.collapsed for result in weak):
        return "an attack gave every victim nearly the same guess"
    if any(result.card.beats_ridge is False for result in weak):
        return "a learned attack did worse than the closed-form one"
    return "the attacks were not tried where they should succeed" if weak else ""


def _finding(runs: Sequence[Run], term: Comparison) -> Finding:
    if term.metric in budgets.COST:
        return _cost(runs, term)
    if term.metric in budgets.CLASSES:
        return _of_classes(runs, term)
    gallery = term.metric == "gallery_identification"
    metric = "identification" if gallery else term.metric
    threats = [t for t in runs[0].threats if ("candidates" in t.grants) == gallery and (t.asked or gallery)]
    found = [_against(runs, threat, term, metric) for threat in threats]
    if not found:
        return Finding(None, f"{term}: not measured", f"{term.metric} was not measured here")
    values = [finding.value for finding in found]
    value = True if True in values else (None if None in values else False)
    return next(finding for finding in found if finding.value == value)


def _against(runs: Sequence[Run], threat: ThreatRecord, term: Comparison, metric: str) -> Finding:
    names = valid(runs, threat.name)
    best = strongest(runs, names, metric)
    if best is None:
        reason = doubt(runs, threat.name) or f"no valid attack measured {metric}"
        return Finding(None, f"{term}: no valid attack", reason)
    value = term.over(best.low, best.high)
    weak_attack_matters = term.upper != (metric in DOWN)
    if value is False and weak_attack_matters:
        # a pass needs every interval below the limit, that of an attack with a lower mean but a wider one too
        pooled = [one for one in (pool(runs, name, metric) for name in names) if one is not None]
        reaching = [one for one in pooled if term.over(one.low, one.high) is not False]
        value, best = (None, reaching[0]) if reaching else (value, best)
    text = f"{term}: {best.mean:.3g} by {best.name} (95 % interval {best.low:.3g} to {best.high:.3g}, n = {best.n})"
    if value is False and weak_attack_matters and (weak := doubt(runs, threat.name)):
        return Finding(None, text, weak)
    if value is None:
        return Finding(None, text, _too_close(best, term, metric, runs[0]))
    return Finding(value, text)


def _too_close(best: Strongest, term: Comparison, metric: str, run: Run) -> str:
    noun = run.data.noun[1] if run.data else "images"
    if metric == "identification":
        count, most = f"{round(best.mean * best.n)} of {best.n}", math.floor(term.limit * best.n + 1e-9)
        return f"{count} is too close to your limit of {most}: more {noun} or seeds are needed"
    return f"{metric} {best.mean:.3g} is too close to your limit of {term.limit:g}: more {noun} or seeds are needed"


def _cost(runs: Sequence[Run], term: Comparison) -> Finding:
    if term.metric == "accuracy":
        found = accuracy(runs)
        if found is None:
            return Finding(None, f"{term}: not measured", "accuracy was not measured: the data has no classes")
        value = term.over(found.low, found.high)
        reason = "" if value is False else f"accuracy {found.mean:.3g} against your limit of {term.limit:g}"
        return Finding(value, f"{term}: {found.mean:.3g} (95 % interval {found.low:.3g} to {found.high:.3g})", reason)
    if term.metric == "bytes":
        measured = float(runs[0].split.bytes_sent) if runs[0].split else math.nan
    else:
        measured = runs[0].latency_ms[0] if runs[0].latency_ms else math.nan
    value = None if math.isnan(measured) else term.holds(measured)
    reason = "" if value is False else f"{term.metric} {measured:.3g} against your limit of {term.limit:g}"
    return Finding(value, f"{term}: {measured:.3g}", reason)


def _of_classes(runs: Sequence[Run], term: Comparison) -> Finding:
    """What the network gives away of its classes, by the strongest class attack, whatever adversary holds it.

    A low figure means something only where the network itself was brought to be sure of what it shows.
    """
    attacks = [run.classes.attacks if run.classes else () for run in runs]
    names = [result.name for result in attacks[0]]
    found = {name: [next((r for r in each if r.name == name), None) for each in attacks] for name in names}
    scores = {name: [r.scores.get(term.metric) if r else None for r in each] for name, each in found.items()}
    pooled = [_pooled(name, each, term.metric) for name, each in scores.items()]
    known = [one for one in pooled if one is not None]
    if not known:
        return Finding(None, f"{term}: not measured", f"{term.metric} was not measured here: it takes a class attack")
    best = max(known, key=lambda one: one.mean)
    value = term.over(best.low, best.high)
    text = f"{term}: {best.mean:.3g} by {best.name} (95 % interval {best.low:.3g} to {best.high:.3g}, n = {best.n})"
    if value is False and term.upper and not all(map(_arrived, found[best.name])):
        return Finding(None, text, f"{best.name} did not make the network sure of every class")
    if value is None:
        return Finding(None, text, f"{term.metric} {best.mean:.3g} is too close to your limit of {term.limit:g}")
    return Finding(value, text)


def _arrived(result: ClassResult | None) -> bool:
    return result is not None and all(one.confidence >= ARRIVED for one in result.prototypes)


def _limit(terms: budgets.Terms, threat: ThreatRecord) -> float | None:
    """The largest share allowed to this adversary, if the budget has one."""
    gallery = "candidates" in threat.grants
    metric = "gallery_identification" if gallery else "identification"
    if not gallery and not threat.asked:
        return None
    limits = [term.limit for group in terms for term in group if term.metric == metric and term.upper]
    return min(limits) if limits else None


def _adversary(runs: Sequence[Run], threat: ThreatRecord, limit: float | None) -> AdversaryVerdict:
    names = valid(runs, threat.name)
    best = strongest(runs, names, "identification")
    n = runs[0].data.sizes["victims"] if runs[0].data else 0
    if best is None:
        reason = doubt(runs, threat.name) or "no attack of this adversary is valid"
        return AdversaryVerdict(threat.name, "inconclusive", "", 0, n, 0.0, 1.0, limit, reason=reason)
    hits = [runs[0].result(name).scores["identification"].values for name in names]
    union = sum(1 for victim in zip(*hits, strict=True) if max(victim) >= 0.5)
    word: Word = "inconclusive"
    reason = ""
    if limit is not None:
        finding = _against(runs, threat, Comparison("identification", ">", limit), "identification")
        word, reason = WORDS[finding.value], finding.reason
    count = best.mean * best.n
    return AdversaryVerdict(
        threat.name, word, best.name, count, best.n, best.low, best.high, limit, union, len(names), reason
    )


def _sentence(
    run: Run,
    word: Word,
    adversaries: Sequence[AdversaryVerdict],
    findings: dict[Comparison, Finding],
    reasons: Sequence[str],
) -> str:
    noun = run.data.noun[1] if run.data else "images"
    subjects = {threat.name: threat.subject for threat in run.threats}
    judged = [one for one in adversaries if one.limit is not None]
    if word == "inconclusive":
        return f"No verdict: {reasons[0] if reasons else 'too little was measured'}."
    over = [one for one in judged if one.word == "leaks"]
    if word == "leaks" and over:
        one = over[0]
        return f"{subjects[one.threat]} pick out {_of(one)} private {noun}. Your limit is {_most(one)}."
    if word == "leaks":
        term = next(term for term, finding in findings.items() if finding.value is True)
        return f"Over your limit: {findings[term].text}."
    if judged:
        one = max(judged, key=lambda one: one.count)
        return f"The strongest attacker tried picks out {_of(one)} private {noun}. Your limit is {_most(one)}."
    return f"Within your limits: {'; '.join(finding.text for finding in findings.values())}."


def _of(one: AdversaryVerdict) -> str:
    return f"{round(one.count)} of {one.n}"


def _most(one: AdversaryVerdict) -> int:
    return math.floor((one.limit or 0) * one.n + 1e-9)
