"""What the defence costs: accuracy, bytes and time, each beside the figure that gives it meaning."""

from __future__ import annotations

import math

from unsmash.report.evidence import Evidence, share
from unsmash.report.parts import Fact, Section
from unsmash.report.words import THIN, decimal, listed, milliseconds, percent, plural, points, span, spell, whole


def facts(evidence: Evidence) -> tuple[Fact, ...]:
    """The four figures under the verdict."""
    return tuple(fact for fact in (_accuracy(evidence), _sent(evidence), _time(evidence), _sure(evidence)) if fact)


def _accuracy(evidence: Evidence) -> Fact:
    utility = evidence.run.utility
    if utility is None or utility.accuracy is None:
        return Fact("Accuracy", "not measured", "the data has no classes")
    note = f"of {whole(utility.accuracy.n)} held-out {evidence.nouns[1]}"
    if utility.undefended_accuracy is not None:
        note = f"{points(utility.accuracy.mean - utility.undefended_accuracy.mean)} against no defence, {note}"
    return Fact("Accuracy", percent(utility.accuracy.mean), note)


def _sent(evidence: Evidence) -> Fact | None:
    split = evidence.run.split
    if split is None:
        return None
    ratio = split.bytes_sent / split.bytes_input if split.bytes_input else 0.0
    if ratio >= 1.05:
        note = f"{decimal(ratio, 1)} times the {evidence.nouns[0]} itself ({whole(split.bytes_input)})"
    elif ratio > 0.95:
        note = f"as much as the {evidence.nouns[0]} itself ({whole(split.bytes_input)})"
    else:
        note = f"{percent(ratio)} of the {evidence.nouns[0]} itself ({whole(split.bytes_input)})"
    return Fact(f"Sent per {evidence.nouns[0]}", plural(split.bytes_sent, ("byte", "bytes")), note)


def _time(evidence: Evidence) -> Fact:
    latency = evidence.run.latency_ms
    if not latency:
        return Fact("Time on the device", "not measured", "this record holds no latency")
    note = f"{milliseconds(latency[1])} at the 95th percentile" if len(latency) > 1 else "median"
    return Fact("Time on the device", milliseconds(latency[0]), note)


def _sure(evidence: Evidence) -> Fact | None:
    lead, seeds = evidence.lead(), evidence.verdict.seeds
    if lead is None or not lead.attack or not lead.n:
        return Fact("How sure", "not counted", "no valid attack, so no interval")
    luck = "one seed" if seeds == 1 else f"{spell(seeds)} seeds"
    note = f"95{THIN}% interval over {whole(lead.n)} {evidence.nouns[1]}; {luck}"
    return Fact("How sure", span(lead.low, lead.high), note)


def cost(evidence: Evidence) -> Section:
    """The same figures with what explains them, and what the budget asked of each."""
    utility, split = evidence.run.utility, evidence.run.split
    cards = []
    if utility is not None and utility.accuracy is not None:
        cards.append(
            Fact("Accuracy", percent(utility.accuracy.mean), _accuracy_text(evidence), _terms(evidence, "accuracy"))
        )
    if split is not None:
        cards.append(Fact("Bytes sent", whole(split.bytes_sent), _bytes_text(evidence), _terms(evidence, "bytes")))
    if evidence.run.latency_ms:
        value = milliseconds(evidence.run.latency_ms[0])
        cards.append(Fact("Time", value, _time_text(evidence), _terms(evidence, "latency")))
    return Section(heading(evidence), tuple(cards))


def _terms(evidence: Evidence, metric: str) -> tuple[str, ...]:
    return tuple(term for term in evidence.verdict.terms if term.startswith(metric))


def _accuracy_text(evidence: Evidence) -> str:
    utility = evidence.run.utility
    assert utility is not None
    assert utility.accuracy is not None
    accuracy, before = utility.accuracy, utility.undefended_accuracy
    held = f"of {whole(accuracy.n)} held-out {evidence.nouns[1]} ({span(accuracy.low, accuracy.high)})"
    without = "This run has no defence, so nothing is lost to one."
    if before is not None:
        without = f"{percent(before.mean)} without the defence: {points(accuracy.mean - before.mean)}."
    return f"{held}. {without} Always naming the commonest class gives {percent(utility.chance)}."


def _bytes_text(evidence: Evidence) -> str:
    split = evidence.run.split
    assert split is not None
    numbers = [math.prod(shape) for shape in split.shapes]
    total = sum(numbers)
    each = split.bytes_sent / total if total else 0.0
    made = f"{listed(whole(number) for number in numbers)} numbers"
    if each == int(each) and each > 0:
        made += f" of {int(each)} {'byte' if each == 1 else 'bytes'}"
    elif split.defences:
        made += " reach the defence"
    text = f"{made}. The raw {evidence.nouns[0]} is {whole(split.bytes_input)} bytes; its label is 1."
    label = evidence.label_only()
    if label is not None:
        text += f" Sending only the label identifies {percent(share(label))} of {whole(evidence.n)}."
    return text


def _time_text(evidence: Evidence) -> str:
    run, split = evidence.run, evidence.run.split
    parts = [f"device half, one {evidence.nouns[0]}, median"]
    if len(run.latency_ms) > 1:
        parts[0] += f" (95th percentile {milliseconds(run.latency_ms[1])})"
    if split is not None and split.device_macs:
        whole_net = f" ({percent(split.device_macs / split.whole_macs)} of the network's)" if split.whole_macs else ""
        parts.append(
            f"{whole(split.device_macs)} multiply-adds{whole_net} and {whole(split.device_parameters)} weights there"
        )
    return ". ".join([*parts, "No network in this figure."])


def heading(evidence: Evidence) -> str:
    """Accuracy and bytes in one finding."""
    utility, split = evidence.run.utility, evidence.run.split
    size = ""
    if split is not None and split.bytes_input:
        ratio = split.bytes_sent / split.bytes_input
        size = "larger than" if ratio > 1.05 else "smaller than" if ratio < 0.95 else "as large as"
    message = f"the message is {size} the picture" if size else ""
    if utility is None or utility.accuracy is None or utility.undefended_accuracy is None:
        defended = split is not None and split.defences
        return f"{'Defended' if defended else 'No defence'}: {message}" if message else "What this setting costs"
    lost = utility.undefended_accuracy.mean - utility.accuracy.mean
    if lost <= 0.01 + 1e-9:
        opening = "Cheap in accuracy"
        if size == "larger than":
            return f"{opening}, dear in bytes: {message}"
        return f"{opening}; {message}" if size else opening
    opening = f"It costs {points(lost).lstrip('+')} of accuracy"
    return f"{opening}, and {message}" if size else opening
