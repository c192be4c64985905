"""What a gate tells of an audit, a sweep or a scan: one case each of adversaries, variants or cuts.

An inconclusive case is a failure: whoever shows JUnit counts what is skipped as good, and a share that nobody could
measure is not. Skipped is only what was not asked about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unsmash.frontier_record import Frontier, Row
from unsmash.judge import EXIT
from unsmash.records import Run
from unsmash.report.words import percent, whole
from unsmash.scan_record import Cut, Scan
from unsmash.scan_verdict import doubted, strongest
from unsmash.verdicts import AdversaryVerdict, Verdict

Outcome = Literal["passed", "failure", "error", "skipped"]


@dataclass(frozen=True)
class Case:
    """One thing that passes, or does not."""

    name: str
    outcome: Outcome
    kind: str = ""
    """Why it did not pass: leaks, inconclusive, over budget, the error's name, or not asked"""
    message: str = ""
    """One sentence; empty where it passed"""
    text: str = ""
    """What else is known of it"""
    seconds: float = 0.0


@dataclass(frozen=True)
class Suite:
    """The cases of one call."""

    name: str
    """audit, sweep or scan"""
    about: str
    """What was measured, in a few words"""
    cases: tuple[Case, ...]
    properties: tuple[tuple[str, str], ...] = ()
    started: str = ""
    """ISO time, UTC; empty where it is not known"""
    seconds: float = 0.0

    def count(self, outcome: Outcome) -> int:
        """How many cases came out so."""
        return sum(case.outcome == outcome for case in self.cases)


def of_audit(runs: Sequence[Run], verdict: Verdict) -> Suite:
    """A case for each adversary, and one for the whole budget, which is what the exit code follows."""
    run = runs[0]
    cases = [_adversary(one, verdict, runs) for one in verdict.adversaries]
    cases.append(_whole(verdict))
    facts = {"verdict": verdict.word, "sentence": verdict.sentence, "budget": verdict.budget,
             "exit_code": str(verdict.exit_code), "runs": " ".join(one.id for one in runs)}  # fmt: skip
    seconds = sum(one.seconds.get("total", 0.0) for one in runs)
    return Suite("audit", audited(run), tuple(cases), tuple(facts.items()), run.started, seconds)


def of_sweep(frontier: Frontier, exit_code: int) -> Suite:
    """A case for each variant. The gate is open where one of them passes, so a sweep that does may have failures."""
    cases = tuple(_variant(row) for row in frontier.rows)
    facts = {"id": frontier.id, "budget": frontier.budget, "exit_code": str(exit_code)}
    about = f"{frontier.name or 'sweep'}: {len(frontier.rows)} variants"
    return Suite(
        "sweep", about, cases, tuple(facts.items()), frontier.started, sum(row.seconds for row in frontier.rows)
    )


def of_scan(scan: Scan, exit_code: int) -> Suite:
    """A case for each cut. The gate is open where one may be tried, so a scan that points at one may have failures."""
    weak = {cut.name for cut in doubted(scan)}
    cases = tuple(_cut(cut, weak=cut.name in weak) for cut in scan.cuts)
    facts = {"id": scan.id, "budget": scan.budget, "exit_code": str(exit_code)}
    about = f"{scan.model} on {scan.data.kind}: {len(scan.asked)} cuts"
    return Suite("scan", about, cases, tuple(facts.items()), scan.started, scan.seconds.get("total", 0.0))


def of_error(command: str, error: Exception) -> Suite:
    """What stopped a call, as its only case: a gate without a file would look as if there had been nothing to tell."""
    stage = str(getattr(error, "stage", "")) or "start"
    message = " ".join(str(error).split()) or "no message"
    case = Case(f"{command} finishes", "error", type(error).__name__, message, f"in stage {stage}")
    return Suite(command, f"{command} did not finish", (case,), (("stage", stage),))


def audited(run: Run) -> str:
    """What was audited, in a few words."""
    data = run.data.kind if run.data is not None else run.experiment.get("data", {}).get("kind", "")
    if run.split is None:
        return f"run {run.id} on {data}"
    return f"{run.split.model} cut at {run.split.at} on {data}, {' + '.join(run.split.defences) or 'no defence'}"


def found(one: AdversaryVerdict) -> str:
    """What the strongest attack of an adversary identifies, in one sentence."""
    if not one.attack:
        return f"No attack of it counts: {one.reason or 'none was tried'}."
    share = f"{whole(one.count)} of {whole(one.n)} identified by {one.attack}"
    ends = f"95 % interval {percent(one.low)} to {percent(one.high)}"
    return f"{share} ({ends})" + ("." if one.limit is None else f"; the limit is {percent(one.limit)}.")


def _adversary(one: AdversaryVerdict, verdict: Verdict, runs: Sequence[Run]) -> Case:
    run = runs[0]
    threat = next(threat for threat in run.threats if threat.name == one.threat)
    mine = [result.name for result in run.results if result.threat == one.threat]
    seconds = sum(each.seconds.get(result, 0.0) for each in runs for result in mine)
    name, said = f"{one.threat}: {threat.title}", found(one)
    if one.limit is None:
        return Case(name, "skipped", "not asked", f"Measured, not judged: {said}", seconds=seconds)
    if one.word == "passes":
        return Case(name, "passed", text=said, seconds=seconds)
    if verdict.exit_code == 0:
        told = f"Over its own limit or not known to be within it; the budget as a whole allows that: {said}"
        return Case(name, "skipped", one.word, told, seconds=seconds)
    message = f"No verdict: {_end(one.reason)}"
    if one.word == "leaks":
        noun = run.data.noun[1] if run.data is not None else "images"
        most = math.floor(one.limit * one.n + 1e-9)
        message = f"{threat.subject} pick out {round(one.count)} of {one.n} private {noun}. Your limit is {most}."
    return Case(name, "failure", one.word, message, said, seconds)


def _whole(verdict: Verdict) -> Case:
    """What the exit code follows: limits on accuracy, bytes or likeness have no adversary of their own."""
    name, text = f"whole budget: {verdict.budget}", "\n".join([*verdict.terms, *verdict.reasons])
    if verdict.exit_code == 0:
        return Case(name, "passed", text=text)
    if verdict.exit_code == EXIT[verdict.word]:
        return Case(name, "failure", verdict.word, verdict.sentence, text)
    reasons = _end("; ".join(verdict.reasons))
    if verdict.exit_code == EXIT["leaks"]:
        return Case(name, "failure", "over budget", f"Over the budget: {reasons}", text)
    return Case(name, "failure", "inconclusive", f"No verdict on the whole budget: {reasons}", text)


def _variant(row: Row) -> Case:
    runs = f"runs {' '.join(row.runs)}" if row.runs else ""
    if row.failure is not None:
        told = f"Failed in {row.failure.stage}: {row.failure.message}"
        return Case(row.name, "error", row.failure.error, told, runs, row.seconds)
    said = "No attack counts."
    if row.attack is not None:
        share = row.attack.share
        said = f"{whole(share.mean * share.n)} of {whole(share.n)} identified by {row.attack.attack}"
        said += f" ({row.attack.threat})."
    text = "\n".join(part for part in (said, row.reason, row.doubt, runs) if part)
    if row.word == "passes" and row.good:
        return Case(row.name, "passed", text=text, seconds=row.seconds)
    if row.word == "inconclusive":
        return Case(row.name, "failure", row.word, f"No verdict: {_end(row.reason or row.doubt)}", text, row.seconds)
    if row.word == "leaks":
        return Case(row.name, "failure", row.word, said, text, row.seconds)
    return Case(row.name, "failure", "over budget", f"Over the budget: {_end(row.reason)}", text, row.seconds)


def _cut(cut: Cut, *, weak: bool) -> Case:
    best = strongest(cut)
    said = "No attack finished."
    if best is not None:
        share = best.scores["identification"]
        said = f"{whole(share.mean * share.n)} of {whole(share.n)} identified by {best.title}."
    text = "\n".join([said, *cut.reasons])
    if cut.control:
        return Case(cut.name, "skipped", "not asked", f"Measured as a control: {said}", seconds=cut.seconds)
    if cut.word == "inconclusive":
        return Case(cut.name, "failure", cut.word, f"No verdict: {_end('; '.join(cut.reasons))}", text, cut.seconds)
    if cut.word == "leaks":
        return Case(cut.name, "failure", cut.word, said, text, cut.seconds)
    if not cut.good:
        told = f"Over the budget: {_end('; '.join(cut.reasons))}"
        return Case(cut.name, "failure", "over budget", told, text, cut.seconds)
    if weak:
        told = "No verdict: a deeper cut gives more away, so the attacks are weak here."
        return Case(cut.name, "failure", "inconclusive", told, text, cut.seconds)
    return Case(cut.name, "passed", text=text, seconds=cut.seconds)


def _end(reason: str) -> str:
    return f"{reason.rstrip('.') or 'no reason is known'}."
