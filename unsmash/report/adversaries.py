"""The verdict's table and the squares: who was judged, what they found, and the colour each is drawn in throughout."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from unsmash.records import Run, ThreatRecord
from unsmash.report.evidence import HEADLINE, Evidence, allowed, seen, share
from unsmash.report.parts import Adversary, Share, Squares
from unsmash.report.words import bare, lower_first, percent, plural, span, spell, whole
from unsmash.verdicts import AdversaryVerdict

MOST_SQUARES = 500


def tones(evidence: Evidence) -> dict[str, str]:
    """A colour class for each adversary: orange over the limit, blue under it, grey undecided, hollow if not asked."""
    used: dict[str, int] = {}
    colours = {}
    for threat in evidence.run.threats:
        entry = evidence.judged(threat.name)
        word = entry.word if entry is not None else evidence.verdict.word
        family = {"leaks": "leak", "passes": "pass", "inconclusive": "unsure"}[word]
        family = family if evidence.is_asked(threat) else "shown"
        depth = used.get(family, 0)
        used[family] = depth + 1
        colours[threat.name] = f"{family}{min(depth, 3)}"
    return colours


def adversaries(evidence: Evidence) -> tuple[Adversary, ...]:
    """One line for each adversary of the run, weakest first."""
    colours = tones(evidence)
    return tuple(_adversary(evidence, threat, colours[threat.name]) for threat in evidence.run.threats)


def _adversary(evidence: Evidence, threat: ThreatRecord, tone: str) -> Adversary:
    entry, best = evidence.judged(threat.name), evidence.best(threat.name)
    found = None if best is None else share(best)
    if entry is not None and entry.attack and entry.n:
        found = entry.count / entry.n
    remark, state = _remark(entry, found) if evidence.is_asked(threat) else ("not in your budget; shown", "info")
    return Adversary(
        name=threat.name,
        title=threat.title,
        note="" if best is None else _note(evidence, entry, best.title),
        tone=tone,
        asked=evidence.is_asked(threat),
        share=found,
        value="not counted" if found is None else percent(found),
        limit=entry.limit if entry is not None and entry.limit is not None else evidence.limit,
        remark=remark,
        state=state,  # type: ignore[arg-type]
    )


def _note(evidence: Evidence, entry: AdversaryVerdict | None, title: str) -> str:
    """The attack that did it, and the union over attacks with its own chance level (it is no single attacker)."""
    if entry is None or entry.attacks < 2 or entry.union <= entry.count:
        return title
    return (
        f"{title}; at least one of {spell(entry.attacks)} attacks finds {whole(entry.union)} of {whole(entry.n)}"
        f" (by chance {entry.attacks})"
    )


def _remark(entry: AdversaryVerdict | None, found: float | None) -> tuple[str, str]:
    if entry is None:
        return "not judged", "info"
    if entry.limit is None:
        return "no limit in your budget", "info"
    if entry.word == "leaks":
        times = found / entry.limit if found and entry.limit else 0.0
        return (f"✕ {times:.0f} times over" if times >= 1.5 else "✕ over your limit"), "over"
    if entry.word == "passes":
        return f"✓ at most {whole(entry.high * entry.n)} of {whole(entry.n)}", "under"
    return ("? no attack counts" if found is None else f"? {span(entry.low, entry.high)}"), "unsure"


def squares(evidence: Evidence) -> Squares | None:
    """Every victim once, given to the weakest adversary that finds it; several seeds are averaged."""
    if not evidence.n or not evidence.run.threats:
        return None
    attacks = {threat.name: best.name for threat in evidence.run.threats if (best := evidence.best(threat.name))}
    n = evidence.n
    reached = [_reach(run, attacks, n) for run in evidence.runs]
    threats = [threat for threat in evidence.run.threats if threat.name in attacks]
    upto = [round(sum(run[index] for run in reached) / len(reached)) for index in range(len(threats))]
    counts = [high - low for low, high in zip([0, *upto], upto, strict=False)]
    colours = tones(evidence)
    shares = [
        Share(colours[threat.name], count, _label(threat, place))
        for place, (threat, count) in enumerate(zip(threats, counts, strict=True))
    ]
    shares.append(Share("never", n - sum(counts), "never" if threats else "no attack counts"))
    limit = None if evidence.limit is None else allowed(evidence.limit, n)
    each = f"Each square is one private {evidence.nouns[0]}"
    if n > MOST_SQUARES:
        each = f"{MOST_SQUARES} squares stand for {plural(n, evidence.nouns)}"
    story = ", ".join(f"{whole(entry.count)} {entry.label}" for entry in shares)
    bound = "" if limit is None else f" The limit is {whole(limit)}, outlined from the first square."
    return Squares(tuple(shares), n, limit, each, f"{plural(n, evidence.nouns)} as squares: {story}.{bound}")


def _label(threat: ThreatRecord, place: int) -> str:
    """What one adversary adds, in the few words that fit beside the squares."""
    messages, several = seen(threat), threat.queries > 1 or threat.frames > 1
    if "candidates" in threat.grants:
        listed = "only with the candidate list" if place else "identified with the candidate list"
        return f"with the list and {messages}" if several else listed
    if "training" in threat.grants:
        return "by a server that took part in the training"
    if "weights" in threat.grants:
        return f"with the model's weights and {messages}"
    if "server" in threat.grants and "queries" not in threat.grants:
        return f"with the server half and {messages}"
    if several:
        return f"after {messages}"
    return f"identified from {messages}" if place == 0 else f"by one who {lower_first(threat.title)}"


def _reach(run: Run, attacks: Mapping[str, str], n: int) -> list[int]:
    """Victims found by the first adversary, by the first two, by the first three and so on."""
    names = {result.name: result for result in run.results}
    found: set[int] = set()
    reach = []
    for attack in attacks.values():
        score = names[attack].scores.get(HEADLINE) if attack in names else None
        if score is not None and len(score.values) == n:
            found |= {victim for victim, value in enumerate(score.values) if value >= 0.5}
            reach.append(len(found))
        else:
            reach.append(round(score.mean * n) if score is not None else 0)
    return list(accumulate(reach, max))


def limit_column(evidence: Evidence) -> str:
    """Heading over the remarks."""
    limits = {entry.limit for entry in evidence.verdict.adversaries if entry.limit is not None}
    return f"Against your limit of {bare(limits.pop())}" if len(limits) == 1 else "Against your limit"
