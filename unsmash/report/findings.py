"""The sentences around the verdict: title, crumb, what follows from it, and what must be known beside it."""

from __future__ import annotations

from collections.abc import Sequence

from unsmash.records import Run
from unsmash.report.audits import suggestions
from unsmash.report.evidence import Evidence
from unsmash.report.parts import Suggestion
from unsmash.report.who import untried
from unsmash.report.words import listed, lower_first, plural, spell, whole
from unsmash.verdicts import Verdict


def title(evidence: Evidence) -> str:
    """The page's title: the verdict's word first, so that a row of browser tabs can be read."""
    return f"{evidence.verdict.word.capitalize()} · {_setting(evidence.run, mark='')} · unsmash audit"


def crumb(run: Run) -> str:
    """What was audited, beside the logo."""
    return f"Audit · {_setting(run, mark='`')}"


def _setting(run: Run, mark: str) -> str:
    parts = [run.data.kind if run.data is not None else run.id]
    if run.split is not None:
        parts += [f"{run.split.model} cut after {mark}{run.split.at}{mark}", listed(run.split.defences) or "no defence"]
    return ", ".join(parts)


def lines(evidence: Evidence) -> tuple[str, ...]:
    """What follows from the verdict, in two or three short paragraphs."""
    verdict = evidence.verdict
    first = suggestions(evidence)[0]
    spoken = {"leaks": _leaks, "passes": _passes, "inconclusive": _inconclusive}[verdict.word](evidence, first)
    told = _reasons(verdict)
    ordered = [*spoken, *told] if verdict.word == "inconclusive" else [*told, *spoken]
    return tuple(line for line in ordered if line)


def _reasons(verdict: Verdict) -> list[str]:
    """Reasons that the sentence itself does not already say; a broken accuracy or byte limit is one."""
    said = verdict.sentence.lower()
    told = [
        f"{reason[:1].upper()}{reason[1:].rstrip('.')}."
        for reason in verdict.reasons
        if reason.rstrip(".").lower() not in said
    ]
    if told and verdict.word == "passes" and verdict.exit_code:
        told[0] = f"**The leakage is within your budget, the rest is not:** {told[0]}"
    return told


def _leaks(evidence: Evidence, first: Suggestion) -> list[str]:
    lead, more = evidence.lead(), []
    for threat in evidence.asked:
        entry = evidence.judged(threat.name)
        if entry is None or not entry.attack or (lead is not None and threat.name == lead.threat):
            continue
        more.append(f"{threat.subject} pick out **{whole(entry.count)} of {whole(entry.n)}**.")
    return [" ".join(more), f"**Do not ship this setting.** Audit next: {first.title}. {first.why}"]


def _passes(evidence: Evidence, first: Suggestion) -> list[str]:
    lead = evidence.lead()
    tried = listed(lower_first(threat.title) for threat in evidence.asked)
    count = len([result for result in evidence.attacks if result.threat in {threat.name for threat in evidence.asked}])
    worst = f" Worst case in the interval: {whole(lead.high * lead.n)} of {whole(lead.n)}." if lead is not None else ""
    shown = listed(lower_first(threat.title) for threat in evidence.unasked)
    out = f" **Measured, not judged:** an adversary who {shown}." if shown else ""
    missing = untried(evidence)
    never = f" **Not tried:** {listed(missing)}." if missing else ""
    attacks = f"{spell(count)} {'attack' if count == 1 else 'attacks'}"
    return [
        f"Tried: an adversary who {tried}, {attacks}.{worst}{out}{never}",
        f"Audit next: {first.title}. {first.why}",
    ]


def _inconclusive(evidence: Evidence, first: Suggestion) -> list[str]:
    own = [
        f"{entry.reason[:1].upper()}{entry.reason[1:].rstrip('.')}."
        for entry in evidence.verdict.adversaries
        if entry.reason and entry.reason.rstrip(".").lower() not in evidence.verdict.sentence.lower()
    ]
    why = "A low share from an attack that does not work says nothing; a share near the limit needs more to tell."
    return [" ".join(dict.fromkeys(own)), why, f"**Do next:** {first.title}. {first.why}"]


def warnings(runs: Sequence[Run], verdict: Verdict) -> tuple[str, ...]:
    """What must be read with the verdict: images in two sets, seeds that did not finish."""
    found = []
    shared = max((run.data.contamination for run in runs if run.data is not None), default=0)
    if shared:
        found.append(
            f"**{plural(shared, ('image stands', 'images stand'))} in two sets that must be apart:** these numbers may"
            " flatter the attacker; allowed by `--allow-contamination`."
        )
    for run in runs:
        if run.failure is None or (len(runs) == 1 and run.failure.message in verdict.sentence):
            continue
        seed = f"Seed {run.seed} did" if len(runs) > 1 else "The run did"
        text = f"{run.failure.message.rstrip('.')} ({run.failure.error})"
        found.append(f"**{seed} not finish, in stage {run.failure.stage}:** {text}.")
    return tuple(found)
