"""What to audit next, when no sweep has been run: advice, labelled as such, never a promise that it is enough."""

from __future__ import annotations

import re

from unsmash.report.evidence import Evidence
from unsmash.report.parts import Section, Suggestion
from unsmash.report.words import spell, whole

LAPLACE = re.compile(r"laplace:scale=(\d+(?:\.\d+)?)")


def audits(evidence: Evidence) -> Section:
    """Up to three commands, the likeliest to change the verdict first."""
    found = suggestions(evidence)
    count = f"{spell(len(found)).capitalize()} {'audit' if len(found) == 1 else 'audits'}"
    lede = (
        "Audit next; none of these is known to be enough until it has been audited itself. A sweep over many settings"
        " would place each by accuracy lost and share identified."
    )
    return Section(f"{count} to run next: no sweep has compared settings yet", lines=(lede,), suggestions=found)


def suggestions(evidence: Evidence) -> tuple[Suggestion, ...]:
    """What would teach most, by verdict."""
    if evidence.verdict.word == "leaks":
        return (_noise(evidence), *_deeper(evidence))
    if evidence.verdict.word == "passes":
        return (_seeds(evidence), *_shallower(evidence))
    return (_seeds(evidence), _noise(evidence))


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
