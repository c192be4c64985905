"""The defences of the run: what each protects and what it does not, in its own two sentences, and what was noted."""

from __future__ import annotations

from unsmash.report.evidence import Evidence
from unsmash.report.parts import Defences, Shielding
from unsmash.report.words import spell
from unsmash.subject import DefenceRecord

COSTS = {
    "free": "nothing beside the training that happens anyway",
    "training": "makes the training longer",
    "minutes": "a training of its own, of minutes",
}
"""Each cost class in words"""

WHEN = {"always": "in training and at inference", "inference": "at inference, on the trained model"}


def defences(evidence: Evidence) -> Defences | None:
    """The section; None where the run has no defence that says what it is."""
    split = evidence.run.split
    if split is None or not split.armed:
        return None
    notes = tuple(f"{note.rstrip('.')}." for note in split.notes)
    return Defences(_heading(split.armed), tuple(map(_shielding, split.armed)), notes)


def _heading(armed: tuple[DefenceRecord, ...]) -> str:
    if len(armed) == 1:
        return f"What {armed[0].label} hides, and what it does not"
    return f"What {spell(len(armed))} defences hide, and what they do not"


def _shielding(armed: DefenceRecord) -> Shielding:
    protects, _, exposes = armed.protects.partition(". ")
    facts = (
        ("Proven", armed.guarantee),
        ("Acts", WHEN.get(armed.when, armed.when)),
        ("Costs", COSTS.get(armed.cost, armed.cost)),
        ("Source", armed.source),
    )
    told = tuple((name, text) for name, text in facts if text)
    return Shielding(armed.label, f"{protects.rstrip('.')}." if protects else "", exposes, told)
