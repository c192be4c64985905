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
        return (_noise(evidence), _deeper(evidence))
    if evidence.verdict.word == "passes":
        return (_seed(evidence), _shallower(evidence))
    return (_seed(evidence), _noise(evidence))


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
    return Suggestion("the same cut with Laplace noise 1.0", why, f"{command} --defence laplace:scale=1.0")


def _deeper(evidence: Evidence) -> Suggestion:
    split = evidence.run.split
    macs = f" (now {whole(split.device_macs)} multiply-adds)" if split is not None and split.device_macs else ""
    why = f"Later layers keep less of the {evidence.nouns[0]}; the device computes more{macs}."
    return Suggestion("a deeper cut", why, _at(evidence, "LATER_LAYER"))


def _shallower(evidence: Evidence) -> Suggestion:
    why = "If that passes as well, the device can do less work for the same verdict."
    return Suggestion("a shallower cut", why, _at(evidence, "EARLIER_LAYER"))


def _seed(evidence: Evidence) -> Suggestion:
    used = [run.seed for run in evidence.runs]
    seed = max(used) + 1
    why = "Another seed trains another target and another attacker; three or more are wanted for a pass."
    command = re.sub(r"\s--seed[ =]\d+", "", _command(evidence))
    return Suggestion("the same setting with another seed", why, f"{command} --seed {seed}")


def _at(evidence: Evidence, layer: str) -> str:
    return f"{re.sub(r' --at[ =][^ ]+', '', _command(evidence))} --at {layer}"


def _command(evidence: Evidence) -> str:
    return evidence.run.command or "unsmash audit experiment.yaml"
