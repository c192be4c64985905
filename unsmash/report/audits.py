"""What to audit next, when no sweep has been run: advice, labelled as such, never a promise that it is enough."""

from __future__ import annotations

import re

from unsmash.records import Score
from unsmash.report.evidence import Evidence, share
from unsmash.report.parts import Section, Suggestion
from unsmash.report.words import percent, spell, whole

LAPLACE = re.compile(r"laplace:scale=(\d+(?:\.\d+)?)")
DEFENCE = re.compile(r"\s--defence[ =]('[^']*'|\S+)")
CODEBOOK = "codebook"


def audits(evidence: Evidence) -> Section:
    """Up to three commands, the likeliest to change the verdict first."""
    found = suggestions(evidence)
    count = f"{spell(len(found)).capitalize()} {'audit' if len(found) == 1 else 'audits'}"
    lede = (
        "Audit next; none of these is known to be enough until it has been audited itself. `unsmash sweep STUDY.yaml`"
        " audits many settings and places each by accuracy lost and share identified."
    )
    return Section(f"{count} to run next", lines=(lede,), suggestions=found)


def suggestions(evidence: Evidence) -> tuple[Suggestion, ...]:
    """What would teach most, by verdict."""
    word = evidence.verdict.word
    if word == "passes":
        return (_seeds(evidence), *_shallower(evidence))
    sent = _symbols(evidence)
    if sent:
        found = (*(_coarser(evidence) if sent == "label" else _answer(evidence)), _seeds(evidence))
        return found if word == "leaks" else found[::-1]
    if word == "leaks":
        return (*_answer(evidence), _noise(evidence), *_deeper(evidence))
    return (*_answer(evidence), _seeds(evidence), _noise(evidence))


def _symbols(evidence: Evidence) -> str:
    """What a codebook sends here already: label, levels or prototypes; empty without one."""
    asked = evidence.run.experiment.get("defences") or ()
    for one in asked:
        if isinstance(one, dict) and one.get("kind") == CODEBOOK:
            return str(one.get("symbols", "label"))
    armed = evidence.run.split.armed if evidence.run.split is not None else ()
    return "label" if any(one.kind == CODEBOOK for one in armed) else ""


def _answer(evidence: Evidence) -> tuple[Suggestion, ...]:
    """The device answers and sends its answer alone: what every other defence must beat."""
    data, utility = evidence.run.data, evidence.run.utility
    if data is None or len(data.classes) < 2 or utility is None or utility.accuracy is None:
        return ()
    command = f"{DEFENCE.sub('', _command(evidence))} --defence {CODEBOOK}"
    head = f"`{CODEBOOK}` lets a small head after the cut answer on the device."
    why = " ".join([head, *_proof(evidence), _whole(evidence, utility.undefended_accuracy or utility.accuracy)])
    return (Suggestion("send only the answer", why, command),)


def _proof(evidence: Evidence) -> list[str]:
    """What sending one of K answers proves: K/N, for any number of messages."""
    classes = len(evidence.run.data.classes) if evidence.run.data is not None else 0
    if classes >= evidence.n:
        return []
    k, n = whole(classes), whole(evidence.n)
    return [f"Proven then: at most {k} of {n} on average, whoever attacks and however often (W/N = {k}/{n})."]


def _whole(evidence: Evidence, accuracy: Score) -> str:
    """How good the whole network's answer is, what it gives away, what it takes; said to be too much where it is."""
    row, split = evidence.label_only(), evidence.run.split
    told = f"The whole network's answer is right for {percent(accuracy.mean)} of {whole(accuracy.n)}"
    over = row is not None and evidence.limit is not None and share(row) > evidence.limit
    if row is not None:
        told += f" and {'by itself ' if over else ''}identifies {percent(share(row))} of {whole(evidence.n)}"
    if over:
        return f"{told}, over your limit: nothing this useful stays under it, only a coarser question would."
    if split is None or not split.whole_macs or not split.device_macs:
        return f"{told}."
    part = percent(min(split.device_macs / split.whole_macs, 1.0))
    return (
        f"{told}; it takes {whole(split.whole_macs)} multiply-adds, of which the device does"
        f" {whole(split.device_macs)} already ({part})."
    )


def _coarser(evidence: Evidence) -> tuple[Suggestion, ...]:
    """Where symbols alone are sent, only a coarser question sends less."""
    least = evidence.converse()
    if least is None or least.value is None:
        return ()
    why = (
        f"Whatever is as accurate as this gives away {percent(least.value)} of {whole(evidence.n)} at least: only fewer"
        " classes, or fewer symbols, give away less."
    )
    return (Suggestion("a coarser question", why, ""),)


def _noise(evidence: Evidence) -> Suggestion:
    command = _command(evidence)
    scales = LAPLACE.findall(command)
    why = "Noise adds no bytes; sixteen messages of the same image average much of it out, so audit those as well."
    if scales:
        scale = f"{float(scales[-1]) * 2:g}"
        return Suggestion(
            f"the same cut with Laplace noise {scale}, twice as much",
            why,
            LAPLACE.sub(f"laplace:scale={scale}", command),
        )
    # as strong as the message itself: a scale of 1 means nothing where the numbers sent are hundreds
    scale = f"{evidence.run.pictures.sent_scale:.1g}"
    return Suggestion(f"the same cut with Laplace noise {scale}", why, f"{command} --defence laplace:scale={scale}")


def _deeper(evidence: Evidence) -> tuple[Suggestion, ...]:
    split = evidence.run.split
    if split is None or not split.later:
        return ()
    macs = f" (now {whole(split.device_macs)} multiply-adds)" if split.device_macs else ""
    why = f"Later layers keep less of the {evidence.nouns[0]}; the device computes more{macs}."
    return (Suggestion(f"a deeper cut, after {split.later}", why, _at(evidence, split.later)),)


def _shallower(evidence: Evidence) -> tuple[Suggestion, ...]:
    split = evidence.run.split
    if split is None or not split.earlier:
        return ()
    why = "If that passes as well, the device can do less work for the same verdict."
    return (Suggestion(f"a shallower cut, after {split.earlier}", why, _at(evidence, split.earlier)),)


def _seeds(evidence: Evidence) -> Suggestion:
    count = max(3, 2 * len(evidence.runs))
    why = "Each seed trains another target and other attackers; three or more are wanted for a pass."
    command = re.sub(r"\s--seeds[ =]\d+", "", _command(evidence))
    return Suggestion(f"the same setting with {spell(count)} seeds", why, f"{command} --seeds {count}")


def _at(evidence: Evidence, layer: str) -> str:
    return f"{re.sub(r' --at[ =][^ ]+', '', _command(evidence))} --at {layer}"


def _command(evidence: Evidence) -> str:
    return evidence.run.command or "unsmash audit experiment.yaml"
