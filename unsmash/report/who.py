"""Whom the verdict is about: what the judged adversaries may do, what they may not, and who else was measured."""

from __future__ import annotations

from unsmash.report.evidence import Evidence, share
from unsmash.report.parts import Who
from unsmash.report.words import listed, lower_first, percent, spell, whole

STANDING = {
    "query": "one message",
    "shifted": "an adversary with images of another kind only",
    "white": "the model's weights",
    "repeat": "sixteen messages of the same image",
    "gallery": "a candidate list",
}
"""The standing threats by the start of their names, for saying which were not tried"""


def who(evidence: Evidence) -> Who:
    """Two lists: *can* is what any judged adversary can, *cannot* what none of them can."""
    asked, shown = evidence.asked, evidence.unasked
    can: list[tuple[str, str]] = []
    for threat in asked:
        for item in threat.can:
            if item not in [text for text, _ in can]:
                can.append((item, "" if threat is asked[0] else f"only the one who {lower_first(threat.title)}"))
    out = {item for item in (asked[0].cannot if asked else ()) if all(item in threat.cannot for threat in asked)}
    cannot = [(item, "") for item in (asked[0].cannot if asked else ()) if item in out]
    return Who(_heading(evidence), tuple(can), tuple(cannot), tuple(_shown(evidence, threat.name) for threat in shown))


def _heading(evidence: Evidence) -> str:
    count = len(evidence.asked)
    if evidence.verdict.word == "inconclusive" or not count:
        return "Who was to be judged, and what they may do"
    if count == 1:
        return "The verdict holds for this adversary and no stronger one"
    return f"The verdict holds for these {spell(count)} adversaries and no stronger one"


def _shown(evidence: Evidence, name: str) -> str:
    threat = next(threat for threat in evidence.unasked if threat.name == name)
    held = {item for other in evidence.asked for item in other.can}
    more = [item for item in threat.can if item not in held]
    best = evidence.best(name)
    found = "No number of it counts." if best is None else f"Found: {percent(share(best))} of {whole(evidence.n)}."
    can = f", and can {listed(more)}" if more else ""
    return f"Measured, not judged: one who {lower_first(threat.title)}{can}. {found}"


def decision(evidence: Evidence) -> str:
    """The line above the signatures of a printed report."""
    rests = listed(f"one who {lower_first(threat.title)}" for threat in evidence.asked)
    text = f"**Decision.** It rests on {rests or 'no adversary'}, who knows the defence"
    beyond = listed((f"one who {lower_first(threat.title)}" for threat in evidence.unasked), "or")
    return f"{text}; not on {beyond}." if beyond else f"{text}."


def untried(evidence: Evidence) -> tuple[str, ...]:
    """Standing threats that no attack of this run stood for."""
    names = [threat.name for threat in evidence.run.threats]
    stochastic = evidence.run.split is None or evidence.run.split.stochastic
    missing = [
        text
        for start, text in STANDING.items()
        if not any(name.startswith(start) for name in names) and (stochastic or start != "repeat")
    ]
    moved = any(threat.frames > 1 for threat in evidence.run.threats)
    return (*missing, *(() if moved else ("a burst of slightly moved frames",)))
