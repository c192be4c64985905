"""Can this be trusted, and where it ends: each check with one sentence of evidence, each edge in one line."""

from __future__ import annotations

from unsmash.records import Result
from unsmash.report.evidence import HEADLINE, PROVEN, Evidence, counted, seen, share, unaware
from unsmash.report.parts import Check, Section
from unsmash.report.proofs_said import why_nothing
from unsmash.report.words import decimal, listed, lower_first, no_more, percent, plural, spell, whole


def trust(evidence: Evidence) -> Section:
    """The checks, under a heading that says what they add up to."""
    checks = [strong(evidence), collapsed(evidence), separate(evidence), consistent(evidence), seeds(evidence)]
    lost = [result for result in evidence.results if result.failure]
    if lost:
        text = " ".join(f"{result.title}: {result.failure.rstrip('.')}." for result in lost)
        checks.append(Check("✕", "Finished", text))
    return Section(_heading(evidence, checks), checks=tuple(checks))


def _heading(evidence: Evidence, checks: list[Check]) -> str:
    marks = {check.name: check.mark for check in checks}
    if evidence.verdict.word == "inconclusive" or "✕" in (marks["Separate"], marks["Consistent"], marks["Strong"]):
        return "This verdict cannot be trusted yet"
    if marks["Strong"] == "✓":
        return "The attacks were strong enough for the verdict to count"
    return "What speaks for this verdict, and what is still open"


def _key(evidence: Evidence) -> list[Result]:
    """Attacks that the verdict rests on: the strongest of each adversary asked about."""
    return [best for threat in evidence.asked if (best := evidence.best(threat.name)) is not None]


def strong(evidence: Evidence) -> Check:
    """A weak attack makes any defence look good; an attack that is over the limit has shown its strength."""
    key = _key(evidence)
    weak = [
        result
        for result in evidence.results
        if result.role == "attack"
        and not result.failure
        and not unaware(result)
        and (result.card.strong is False or result.card.beats_ridge is False)
    ]
    aside = f" Not counted: {listed(result.title for result in weak)}." if weak else ""
    proofs = " ".join(dict.fromkeys(line for result in key for line in result.card.evidence))
    if not key:
        return Check("✕", "Strong", f"No attack of an adversary in your budget gave a number that counts.{aside}")
    if evidence.verdict.word == "leaks":
        return Check("✓", "Strong", f"{proofs or 'What is over your limit was reached with the defence on.'}{aside}")
    if weak:
        faults = " ".join(dict.fromkeys(line for result in weak for line in result.card.evidence))
        reason = faults or "It fails where it should succeed, or does worse than ridge."
        return Check("✕", "Strong", f"{listed(result.title for result in weak)}, not counted: {reason}")
    if all(result.card.good for result in key):
        text = proofs or "Each succeeds on the undefended shallow cut."
        return Check("✓", "Strong", f"{text} A weak attacker would make any defence look good.{aside}")
    missing = listed(result.title for result in key if not result.card.good)
    return Check(
        "?", "Strong", f"{proofs} No control shows that {missing} would succeed without the defence.{aside}".strip()
    )


def collapsed(evidence: Evidence) -> Check:
    """Guesses that hardly differ between victims say nothing about the defence."""
    attacks = [result for result in evidence.results if result.role == "attack" and not result.card.exhibit]
    same = [result for result in attacks if result.card.collapsed]
    if same:
        names = listed(result.title for result in same)
        return Check("✕", "Not collapsed", f"{names}: nearly the same guess for every victim; not counted.")
    return Check("✓", "Not collapsed", "Guesses of every attack differ between victims.")


def separate(evidence: Evidence) -> Check:
    """The same image in training and among the victims flatters the attacker."""
    data = evidence.run.data
    if data is None:
        return Check("?", "Separate", "The record does not say which images were used.")
    twins = ""
    if data.near_duplicates:
        examples = f" ({listed(data.near_examples[:3])})" if data.near_examples else ""
        twins = (
            f" {plural(data.near_duplicates, ('victim has', 'victims have'))} a near twin in a set that the target"
            f" or the adversary trains on{examples}."
        )
    if data.contamination:
        examples = f" ({listed(data.contamination_examples[:3])})" if data.contamination_examples else ""
        text = (
            f"{plural(data.contamination, ('image stands', 'images stand'))} in two sets that must be apart{examples}."
        )
        return Check("✕", "Separate", text + twins)
    dropped = (
        f" {plural(data.repeats_dropped, ('repeat was', 'repeats were'))} dropped." if data.repeats_dropped else ""
    )
    text = f"No image is shared between training, attacker and victims, by content hash.{dropped}{twins}"
    return Check("?" if data.near_duplicates else "✓", "Separate", text)


def consistent(evidence: Evidence) -> Check:
    """No attack may do better than the best that is possible for its adversary, and no list better than a proof."""
    above, best = [], {}
    for result in (*evidence.attacks, *_lists(evidence)):
        threat = evidence.threat(result.threat)
        held = [] if threat is None else evidence.limits(threat)
        if result.role == "ceiling":
            held = [limit for limit in held if limit[0] == PROVEN]
        if threat is None or not held:
            continue
        name, most, upper = min(held, key=lambda limit: limit[1])
        best[seen(threat)] = f"{name}, {percent(most)} of {whole(evidence.n)} from {seen(threat)}"
        if result.scores[HEADLINE].low > upper:
            above.append(result.title)
    if not best:
        return Check("?", "Consistent", "No ceiling was measured or proven to hold the attacks against.")
    told = "; ".join(best.values())
    if above:
        return Check("✕", "Consistent", f"{listed(above)} exceed the best possible ({told}). One of the two is wrong.")
    return Check("✓", "Consistent", f"No attack exceeds the best possible for its adversary: {told}.")


def _lists(evidence: Evidence) -> list[Result]:
    return [entry for entry in evidence.results if entry.role == "ceiling" and counted(entry)]


def seeds(evidence: Evidence) -> Check:
    """One seed leaves the luck of training out of the interval."""
    count, lead = evidence.verdict.seeds, evidence.lead()
    if count == 1:
        end = "."
        if evidence.verdict.word == "leaks" and lead and lead.limit is not None and lead.low > 2 * lead.limit:
            end = "; a leak this large does not need them."
        text = (
            "The interval covers the choice of images, not the luck of training. Three seeds or more are wanted for"
            " a pass"
        )
        return Check("?", "One seed", text + end)
    each = []
    for run in evidence.runs:
        score = next((entry.scores.get(HEADLINE) for entry in run.results if lead and entry.name == lead.attack), None)
        if score is not None:
            each.append(f"{whole(score.mean * score.n)}")
    found = f": {listed(each)} of {whole(evidence.n)} identified by the same attack" if each else ""
    name = f"{spell(count).capitalize()} seeds"
    return Check("✓" if count >= 3 else "?", name, f"Target and attacker were trained {spell(count)} times{found}.")


def edges(evidence: Evidence) -> Section:
    """What this report does not show, in at most six lines."""
    one, many = evidence.nouns
    n, split = evidence.n, evidence.run.split
    at = f"the cut after `{split.at}`" if split is not None else "this cut"
    training = f"It covers the {one} at inference, not who was in the training data."
    if split is not None and any(
        "dp-sgd" in name.lower().replace("_", "-") or "dpsgd" in name.lower() for name in split.defences
    ):
        training += " DP-SGD, chosen here, protects training records, not what is sent."
    lines = (
        "A stronger attacker may do better. Measured shares are what was reached, not the most that can be.",
        _proof(evidence),
        f"Identified means picked out of {whole(n)}. Among {whole(n * 10)} the share falls, among {whole(n / 10)} it"
        " rises.",
        f"It covers these {many} and {at}. Other {many}, or another layer, need their own audit.",
        training,
        _attributes(evidence),
    )
    return Section("A pass is never a proof, and this report has edges", lines=lines)


def _proof(evidence: Evidence) -> str:
    best = evidence.ceiling(1)
    if best is not None and best.value is not None:
        most = f"at most {no_more(best.value * evidence.n)} of {whole(evidence.n)}"
        return f"Proven is one thing about attackers: {most} on average, whoever attacks. All else is measured."
    why = why_nothing(evidence)
    return f"Nothing is proven here about who can be identified{': ' if why else ''}{lower_first(why)}."


def _attributes(evidence: Evidence) -> str:
    line = "Attributes such as the label are not counted"
    best = max(evidence.attacks, key=share, default=None)
    seen = best.mean("recognition") if best is not None else None
    if best is None or seen is None:
        return f"{line}: reading them is often the task itself."
    return (
        f"{line}: an independent validator reads the right class from {percent(seen)} of {whole(evidence.n)} guesses."
    )


def dependence(evidence: Evidence) -> str:
    """Distance correlation of input and release, as a sentence; empty when it was not measured."""
    score = evidence.run.dependence.get("dcor")
    if score is None:
        return ""
    told = f"Distance correlation of input and release: {decimal(score.mean, 3)}, bias-corrected"
    field = evidence.run.dependence.get("dcor_compat")
    other = f"; {decimal(field.mean, 3)} in the field's squared form, for comparison only" if field else ""
    return f"{told}{other}, over {whole(score.n)} {evidence.nouns[1]}."
