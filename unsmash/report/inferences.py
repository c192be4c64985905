"""What was found out besides pictures: labels from the gradients of the training, attributes from what was sent."""

from __future__ import annotations

from collections.abc import Sequence

from unsmash.records import InferenceRecord, InferenceResult
from unsmash.report.evidence import Evidence
from unsmash.report.parts import Found, Inferences
from unsmash.report.words import bare, decimal, listed, lower_first, percent, plural, span, spell, whole

SHOWN = 4
"""Passes whose figures are told: the first, the last, and some between"""


def inferences(evidence: Evidence) -> Inferences | None:
    """The section, told from the first run; None where nobody asked."""
    record = evidence.run.inferences
    if record is None or not record.attacks:
        return None
    seed = f" Seed {evidence.run.seed}, the first of {spell(len(evidence.runs))}." if len(evidence.runs) > 1 else ""
    return Inferences(
        heading(record, evidence.nouns),
        _lede(record, evidence.nouns) + seed,
        tuple(_line(one) for one in record.results),
        _notes(record),
    )


def heading(record: InferenceRecord, nouns: tuple[str, str]) -> str:
    """The finding: the most that was found out of labels, and of an attribute that is not the task's."""
    parts = []
    labels = _best([one for one in record.attacks if one.secret == "labels"])
    if labels is not None:
        parts.append(f"the gradients of the training {_labels_told(labels)}")
    asked = [one for one in record.attacks if one.secret == "attribute"]
    attribute = _best([one for one in asked if not one.task] or asked)
    if attribute is not None:
        score = attribute.scores["inferred"]
        count = f"{whole(score.mean * score.n)} of {whole(score.n)}"
        told = f"tells the {attribute.of} of {count} {nouns[1]}"
        parts.append(f"what is sent {told}, {_beyond(record, attribute)}")
    text = "; ".join(parts) or "nothing was found out: no attack on labels or attributes finished"
    return text[:1].upper() + text[1:]


def _labels_told(one: InferenceResult) -> str:
    if not _above(one):
        return f"tell no more of the labels than chance ({lower_first(one.title)})"
    key = _key(one)
    if key == "leak_auc":
        return f"tell {one.of} with an AUC of {decimal(one.scores[key].mean, 3)}"
    score = one.scores[key]
    return f"tell {whole(score.mean * score.n)} of {whole(score.n)} training labels"


def _beyond(record: InferenceRecord, one: InferenceResult) -> str:
    """What the share is to be held against: the true label, where it tells more than chance."""
    floor = next((other for other in record.results if other.name == f"{one.name}/label"), None)
    chance, known = one.chance["inferred"], floor.scores["inferred"].mean if floor else 0.0
    n = one.scores["inferred"].n
    if known > chance:
        return f"where the label alone tells {whole(known * n)}"
    return f"where chance is {whole(chance * n)}"


def _best(results: Sequence[InferenceResult]) -> InferenceResult | None:
    """The one that goes farthest from its chance to certainty."""
    done = [one for one in results if one.scores]

    def way(one: InferenceResult) -> float:
        key = _key(one)
        return (one.scores[key].mean - one.chance[key]) / max(1 - one.chance[key], 1e-9)

    return max(done, key=way, default=None)


def _key(one: InferenceResult) -> str:
    return "inferred" if "inferred" in one.scores else "leak_auc"


def _above(one: InferenceResult) -> bool:
    key = _key(one)
    return one.scores[key].low > one.chance[key]


def _lede(record: InferenceRecord, nouns: tuple[str, str]) -> str:
    kinds = {one.secret for one in record.attacks}
    who = listed([f"someone who {lower_first(threat.title)}" for threat in record.threats], "or")
    told = [f"Inferred by {who}."]
    if "labels" in kinds:
        told.append(
            "Labels: those of the **training** images. The server half's owner keeps them; who is on the device's side"
            " holds the images and reads what comes back."
        )
    if "attribute" in kinds:
        told.append(f"Attributes: questions about each **private {nouns[0]}**, answered from what was sent of it.")
    told.append("The mark on a bar is chance. None of this is a picture, and none of it enters the verdict.")
    return " ".join(told)


def _line(one: InferenceResult) -> Found:
    if one.failure:
        return Found(one.title, one.of, None, "–", None, f"Did not finish: {one.failure}", "shown0")
    if not one.scores:
        return Found(one.title, one.of, None, "–", None, " ".join(one.notes), "shown0")
    key = _key(one)
    score, chance = one.scores[key], one.chance[key]
    value = percent(score.mean) if key == "inferred" else decimal(score.mean, 3)
    note = one.of + (" (the task)" if one.task and one.secret == "attribute" else "")
    tone = "shown1" if one.role != "attack" else "leak0" if _above(one) else "shown0"
    return Found(one.title, note, score.mean, value, chance, _remark(one, key), tone)


def _remark(one: InferenceResult, key: str) -> str:
    score, chance = one.scores[key], one.chance[key]
    if key == "inferred":
        count = f"{whole(score.mean * score.n)} of {whole(score.n)}"
        told = [f"{count}, {span(score.low, score.high)}; chance {bare(round(chance, 3))}"]
    else:
        told = [f"AUC, {decimal(score.low, 3)} to {decimal(score.high, 3)}; chance {decimal(chance, 1)}"]
    if key != "leak_auc" and "leak_auc" in one.scores:
        told.append(f"leak AUC {decimal(one.scores['leak_auc'].mean, 3)}")
    if "balanced" in one.scores:
        balanced = one.scores["balanced"]
        told.append(f"balanced {percent(balanced.mean)}, chance {bare(round(one.chance['balanced'], 3))}")
    if one.card.strong is False:
        told.append("weak: " + lower_first(one.card.evidence[-1]) if one.card.evidence else "weak")
    return "; ".join(told).rstrip(".")


def _notes(record: InferenceRecord) -> tuple[str, ...]:
    told = [f"{one.title}: {_course(one)}" for one in record.attacks if len(one.course.get("pass", ())) > 1]
    seen = [f"{one.title}: {note}" for one in record.attacks for note in one.notes if one.scores]
    cards = [f"{one.title}, {one.of}: {text}" for one in record.attacks for text in one.card.evidence]
    return tuple(dict.fromkeys([*told, *seen, *cards]))


def _course(one: InferenceResult) -> str:
    """How it went over the training, by single passes."""
    key = _key(one)
    passes, values = one.course["pass"], one.course.get(key, ())
    steps = sorted({round(place * (len(passes) - 1) / (SHOWN - 1)) for place in range(SHOWN)})
    figures = [f"{percent(values[at]) if key == 'inferred' else decimal(values[at], 3)} in pass {whole(passes[at])}"
               for at in steps]  # fmt: skip
    what = "of the labels" if key == "inferred" else "AUC"
    return f"by one pass alone, {listed(figures)} ({what}; {plural(len(passes), ('pass', 'passes'))})."
