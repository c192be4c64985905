"""The runs of one experiment as one body of evidence: seeds joined, and each adversary's strongest attack looked up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from unsmash.records import Bound, Card, Result, Run, Score, ThreatRecord
from unsmash.report.words import spell
from unsmash.verdicts import AdversaryVerdict, Verdict

HEADLINE = "identification"

PROVEN = "proven"
"""Name of a proof among what an adversary cannot exceed"""

LOWER = (
    *("converse", "van_trees_scalar", "van_trees_matrix", "gallery_mmse"),
    *("unbiased", "smallest_cell", "epsilon_at_least"),
)
"""Bounds that say `no less than`; all others say `no more than`"""


@dataclass(frozen=True)
class Evidence:
    """Finished runs (one a seed), the verdict on them, and their results joined over seeds."""

    runs: tuple[Run, ...]
    verdict: Verdict
    results: tuple[Result, ...]

    @property
    def run(self) -> Run:
        """The first run: pictures, victims and settings are told from it."""
        return self.runs[0]

    @property
    def n(self) -> int:
        """Victims, which are also the candidates."""
        judged = [entry.n for entry in self.verdict.adversaries if entry.n]
        scores = [result.scores[HEADLINE].n for result in self.results if HEADLINE in result.scores]
        sizes = self.run.data.sizes.get("victims", 0) if self.run.data else 0
        return (judged + scores + [sizes])[0]

    @property
    def nouns(self) -> tuple[str, str]:
        """What one victim is called, and several."""
        return self.run.data.noun if self.run.data else ("image", "images")

    @property
    def limit(self) -> float | None:
        """The strictest share allowed to any adversary asked about."""
        limits = [entry.limit for entry in self.verdict.adversaries if entry.limit is not None]
        return min(limits, default=None)

    @property
    def asked(self) -> tuple[ThreatRecord, ...]:
        """Adversaries that the verdict is about."""
        return tuple(threat for threat in self.run.threats if self.is_asked(threat))

    @property
    def unasked(self) -> tuple[ThreatRecord, ...]:
        """Adversaries that were measured and only shown."""
        return tuple(threat for threat in self.run.threats if not self.is_asked(threat))

    @property
    def attacks(self) -> tuple[Result, ...]:
        """Attacks that finished and whose number counts."""
        return tuple(result for result in self.results if result.role == "attack" and counted(result))

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Proofs that hold for every seed: each as weak as its weakest seed has it."""
        each = [
            [bound for run in self.runs for bound in run.bounds if bound.name == one.name] for one in self.run.bounds
        ]
        return tuple(_weakest(same) for same in each if len(same) == len(self.runs))

    def ceiling(self, queries: int) -> Bound | None:
        """The lowest proven ceiling for so many messages that limits anything; None where there is none."""
        found = [bound for bound in self.bounds if is_ceiling(bound) and bound.queries == queries]
        useful = [bound for bound in found if bound.value is not None and at_most(bound.value, self.n) < self.n]
        return min(useful, key=lambda bound: bound.value or 0.0, default=None)

    def converse(self) -> Bound | None:
        """What the accuracy itself gives away, if it was worked out."""
        return next((bound for bound in self.bounds if bound.name == "converse" and bound.value), None)

    def label_only(self) -> Result | None:
        """The device sends its answer and nothing else: measured, else the average image of the true class."""
        rows = [entry for kind in ("label_only", "class_mean") for entry in self.results if entry.kind == kind]
        return next((entry for entry in rows if counted(entry)), None)

    def threat(self, name: str) -> ThreatRecord | None:
        """The adversary of that name."""
        return next((threat for threat in self.run.threats if threat.name == name), None)

    def limits(self, threat: ThreatRecord) -> tuple[tuple[str, float, float], ...]:
        """What this adversary cannot exceed: name, share and its upper end. None is known for moved frames, nor for who
        took part in the training: another device half sends to them.

        Exact candidate lists and proofs for as many messages or more, since fewer messages tell less.
        """
        if threat.frames > 1 or "training" in threat.grants:
            return ()
        lists = [entry for entry in self.results if entry.role == "ceiling" and counted(entry) and entry.card.strong]
        found = []
        for entry in lists:
            other = self.threat(entry.threat)
            if other is not None and other.frames == 1 and other.queries >= threat.queries:
                score = entry.scores[HEADLINE]
                found.append((entry.title, score.mean, score.high))
        for queries in sorted({bound.queries for bound in self.bounds}):
            proof = self.ceiling(queries)
            if queries >= threat.queries and proof is not None and proof.value is not None:
                found.append((PROVEN, proof.value, proof.value))
        return tuple(found)

    def is_asked(self, threat: ThreatRecord) -> bool:
        """The verdict is about this adversary: the run asked for it, or the budget has a limit for it."""
        entry = self.judged(threat.name)
        return threat.asked or (entry is not None and entry.limit is not None)

    def judged(self, threat: str) -> AdversaryVerdict | None:
        """The verdict against one adversary, if there is one."""
        return next((entry for entry in self.verdict.adversaries if entry.threat == threat), None)

    def best(self, threat: str) -> Result | None:
        """One adversary's strongest valid attack: the one the verdict names, else the highest."""
        entry = self.judged(threat)
        mine = [result for result in self.results if result.threat == threat and counted(result)]
        if entry is not None:
            return next((result for result in mine if result.name == entry.attack), None)
        return max(mine, key=share, default=None)

    def lead(self) -> AdversaryVerdict | None:
        """Whom the headline is about: the weakest that is over when it leaks, the strongest tried when it passes."""
        asked = {threat.name for threat in self.asked}
        entries = [entry for entry in self.verdict.adversaries if entry.threat in asked]
        if self.verdict.word == "passes":
            return max(entries, key=lambda entry: entry.count, default=None)
        return next((entry for entry in entries if entry.word == self.verdict.word), entries[0] if entries else None)


def gather(runs: Sequence[Run], verdict: Verdict) -> Evidence:
    """Join finished runs over their seeds, in the order of the first."""
    names = list(dict.fromkeys(result.name for run in runs for result in run.results))
    joined = [_join([result for run in runs for result in run.results if result.name == name]) for name in names]
    if len(runs) > 1:
        joined = [_as_judged(result, verdict) for result in joined]
    return Evidence(tuple(runs), verdict, tuple(joined))


def counted(result: Result) -> bool:
    """The result has a number, and its strength card lets it count."""
    return not result.failure and HEADLINE in result.scores and result.card.valid


def is_ceiling(bound: Bound) -> bool:
    """It says how many can be identified at most."""
    return bound.name.startswith("ceiling") and bound.unit == "share"


def unaware(result: Result) -> bool:
    """An attack that was trained as if there were no defence: its low number says nothing of the defence."""
    return result.settings.get("aware") is False


def seen(threat: ThreatRecord) -> str:
    """What an adversary sees of one image."""
    if threat.frames > 1:
        return f"{spell(threat.frames)} moved frames"
    return "one message" if threat.queries == 1 else f"{spell(threat.queries)} messages"


def share(result: Result) -> float:
    """Share identified; 0 where it was not measured."""
    return result.mean(HEADLINE) or 0.0


def allowed(limit: float, n: int) -> int:
    """The most victims a limit lets be found.

    >>> allowed(0.05, 500), allowed(0.07, 100)
    (25, 7)
    """
    return math.floor(limit * n + 1e-9)


def at_most(share: float, n: int) -> int:
    """The whole number of victims that a proven share does not exceed.

    >>> at_most(0.02, 500), at_most(0.0201, 500)
    (10, 11)
    """
    return math.ceil(share * n - 1e-6)


def _weakest(bounds: Sequence[Bound]) -> Bound:
    """The one of several seeds that all of them have; without a value where one of them has none."""
    known = [bound for bound in bounds if bound.value is not None]
    if len(known) < len(bounds):
        return next(bound for bound in bounds if bound.value is None)
    base = bounds[0].name.partition("@")[0]
    return (min if base in LOWER else max)(known, key=lambda bound: bound.value or 0.0)


def _join(results: Sequence[Result]) -> Result:
    done = [result for result in results if not result.failure]
    if len(results) == 1 or not done:
        return results[0]
    first = done[0]
    scores = {
        name: _join_scores([result.scores[name] for result in done if name in result.scores]) for name in first.scores
    }
    strong = [result.card.strong for result in done]
    ridge = [result.card.beats_ridge for result in done]
    lost = len(results) - len(done)
    evidence = first.card.evidence + ((f"Did not finish for {lost} of {len(results)} seeds.",) if lost else ())
    card = Card(
        strong=False if False in strong else None if None in strong else True,
        collapsed=any(result.card.collapsed for result in done),
        beats_ridge=False if False in ridge else None if None in ridge else True,
        evidence=evidence,
        exhibit=first.card.exhibit,
    )
    notes = tuple(dict.fromkeys(note for result in done for note in result.notes))
    return replace(first, scores=scores, card=card, notes=notes)


def _as_judged(result: Result, verdict: Verdict) -> Result:
    """The verdict's own interval for the attack it names, so that no page shows two for one thing."""
    for entry in verdict.adversaries:
        score = result.scores.get(HEADLINE)
        if entry.attack == result.name and entry.threat == result.threat and score is not None:
            return replace(result, scores={**result.scores, HEADLINE: replace(score, low=entry.low, high=entry.high)})
    return result


def _join_scores(scores: Sequence[Score]) -> Score:
    """Mean over seeds, between the lowest and the highest end of the seeds' intervals: wide rather than flattering."""
    if len(scores) == 1:
        return scores[0]
    mean = sum(score.mean for score in scores) / len(scores)
    return replace(
        scores[0],
        mean=mean,
        low=min(score.low for score in scores),
        high=max(score.high for score in scores),
        method=f"mean of {len(scores)} seeds, widest ends",
    )
