"""Every floor, attack and ceiling on one axis: what guessing reaches, what was reached, what can be reached."""

from __future__ import annotations

import math
from dataclasses import replace

from unsmash.records import Result
from unsmash.report.adversaries import tones
from unsmash.report.evidence import HEADLINE, Evidence, counted, seen, share, unaware
from unsmash.report.parts import Axis, Group, Mark, Row
from unsmash.report.proofs import NAMES
from unsmash.report.proofs_said import why_nothing
from unsmash.report.words import THIN, bare, lower_first, percent, span, spell, whole


def axis(evidence: Evidence) -> Axis:
    """The chart's groups from the least to the most that is known."""
    groups = [_floors(evidence)]
    colours = tones(evidence)
    for threat in evidence.run.threats:
        attacks = [entry for entry in evidence.results if entry.role == "attack" and entry.threat == threat.name]
        if attacks:
            best = evidence.best(threat.name)
            rows = tuple(_row(entry, colours[threat.name], best=entry is best) for entry in attacks)
            groups.append(
                Group(
                    threat.title, "in your budget" if evidence.is_asked(threat) else "not in your budget; shown", rows
                )
            )
    ceilings = [_ceiling(evidence, entry, colours) for entry in evidence.results if entry.role == "ceiling"]
    rows = (*_converse(evidence), *ceilings, *_proven(evidence))
    if rows:
        groups.append(Group("Best anyone could do", "measured or proven; average over the victims", rows))
    reached = [row.high or row.share or 0.0 for group in groups for row in group.rows]
    top = 0.25 if max([*reached, evidence.limit or 0.0]) < 0.20 else 1.0
    lede = (
        f"Share of {whole(evidence.n)} private {evidence.nouns[1]} whose guess points to the right one. Thin bars are"
        f" 95{THIN}% intervals{'' if len(evidence.runs) == 1 else ', the widest ends over the seeds'}."
    )
    if top < 1:
        lede += " The axis ends at 25: everything, ceilings too, lies below 20."
    return Axis(heading(evidence), lede, top, evidence.limit, tuple(groups))


def _floors(evidence: Evidence) -> Group:
    floors = [result for result in evidence.results if result.role == "floor"]
    rows = [_row(result, "floor", best=False) for result in floors]
    if not any("chance" in (result.kind, result.name) for result in floors) and evidence.n:
        chance = 1 / evidence.n
        rows.insert(
            0, Row("Pure chance", f"one in {whole(evidence.n)}", "floor", "floor", percent(chance), share=chance)
        )
    return Group("Without the message", "floors: what guessing alone reaches", tuple(rows))


def _converse(evidence: Evidence) -> tuple[Row, ...]:
    """What the answer itself gives away: a proof from below."""
    least = evidence.converse()
    if least is None or least.value is None:
        return ()
    note = "proven: read the class off the answer, name any candidate of that class"
    return (Row(least.title, note, "least", "bound", f"≥ {percent(least.value)}", share=least.value),)


def _ceiling(evidence: Evidence, result: Result, colours: dict[str, str]) -> Row:
    """A candidate list, with what it sees; one without the release's exact law is no ceiling, and says so."""
    row, threat = _row(result, colours.get(result.threat, "shown0"), best=False), evidence.threat(result.threat)
    if threat is None or row.mark != "ceiling":
        return row
    exact = "exactly the most that can be had from it" if result.card.strong else "approximate, so no ceiling"
    return replace(row, note=f"{seen(threat)}, the model and the list: {exact}")


def _proven(evidence: Evidence) -> tuple[Row, ...]:
    """The lowest proven ceiling for one message and for each other number; a proof of nothing keeps its row."""
    rows = []
    for queries in sorted({bound.queries for bound in evidence.bounds}):
        proof = evidence.ceiling(queries)
        messages = "one message" if queries == 1 else f"{spell(queries)} messages"
        if proof is None or proof.value is None:
            why = lower_first(why_nothing(evidence).partition(": ")[0]) if queries == 1 else ""
            note = f"{messages}: nothing limits it{f' ({why})' if why else ''}"
            rows.append(Row("Proven ceiling", note, "proven", "bound", "none"))
        else:
            by = NAMES.get(proof.name.partition("@")[0], ("", lower_first(proof.title)))[1]
            note = f"{messages}, whoever attacks: {by}"
            rows.append(Row("Proven ceiling", note, "proven", "bound", f"≤ {percent(proof.value)}", share=proof.value))
    return tuple(rows)


def _row(result: Result, tone: str, *, best: bool) -> Row:
    score = result.scores.get(HEADLINE)
    if result.failure or score is None:
        note = " ".join([f"did not finish: {result.failure or 'no number'}", *result.notes])
        return Row(result.title, note, "failed", tone, "not counted")
    mark: Mark = "ceiling" if result.role == "ceiling" else "floor" if result.role == "floor" else "attack"
    note = result.summary.rstrip(".")
    if unaware(result):
        note = "unaware: trained as if there were no defence, so a low share says nothing"
    if not result.card.valid:
        mark, note = "invalid", f"not counted: {_fault(result)}"
    if result.notes:
        note = " ".join([f"{note.rstrip('.')}.", *result.notes])
    flat = score.high - score.low < 5e-4
    return Row(
        result.title,
        note,
        mark,
        tone,
        percent(score.mean),
        "" if flat else span(score.low, score.high, ""),
        score.mean,
        score.low,
        score.high,
        best,
    )


def _fault(result: Result) -> str:
    if result.card.evidence:
        return result.card.evidence[0]
    if result.card.collapsed:
        return "nearly the same guess for every victim"
    return "fails even where it should succeed" if result.card.strong is False else "a larger error than ridge"


def heading(evidence: Evidence) -> str:
    """The strongest sentence about all attacks that the numbers carry."""
    attacks = evidence.attacks
    neutral = f"What each attack reaches, between guessing and the best that is possible, of {whole(evidence.n)}"
    if not attacks or not evidence.n:
        return neutral
    floors = [share(result) for result in evidence.results if result.role == "floor" and counted(result)]
    weakest = min(share(result) for result in attacks)
    times = math.floor(weakest / max([*floors, 1 / evidence.n]) + 1e-9)
    if evidence.limit is not None and all(result.scores[HEADLINE].high <= evidence.limit for result in attacks):
        return f"No attack goes beyond your limit of {bare(evidence.limit)} of {whole(evidence.n)} {evidence.nouns[1]}"
    if times < 2:
        return neutral
    left_out = any(result.role == "attack" and not counted(result) for result in evidence.results)
    every = "Every attack that counts" if left_out else "Every attack"
    first = f"{every} beats guessing by {spell(times)} times or more"
    return f"{first}, and stays below what is possible" if _below(evidence, attacks) else first


def _below(evidence: Evidence, attacks: tuple[Result, ...]) -> bool:
    """No attack exceeds what its adversary can reach; what can be had from one message can be had from several."""
    single = [most for threat in evidence.run.threats for _, most, _ in evidence.limits(threat)]
    for result in attacks:
        threat = evidence.threat(result.threat)
        held = [most for _, most, _ in evidence.limits(threat)] if threat is not None else []
        if not single or share(result) > min(held or single):
            return False
    return True
