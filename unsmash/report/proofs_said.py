"""What is proven, in plain words: the heading, what it means, and why it is an average. Says only what numbers say."""

from __future__ import annotations

from unsmash.records import Bound
from unsmash.report.evidence import Evidence
from unsmash.report.words import lower_first, no_less, no_more, percent, power, spell, tally, whole

ERRORS = ("van_trees_scalar", "van_trees_matrix")
TRAINING = "training_epsilon"


def heading(evidence: Evidence) -> str:
    """The proven share as a count, or why there is none."""
    one = evidence.ceiling(1)
    if one is None:
        return _nothing(evidence)
    first = f"At most {_count(evidence, one)} of {whole(evidence.n)} on average"
    most = max(bound.queries for bound in evidence.bounds)
    if most == 1:
        moved = " from one message" if _frames(evidence) > 1 else ""
        return f"{first}{moved}, whoever attacks"
    many = evidence.ceiling(most)
    if many is None:
        return f"{first} from one message; from {spell(most)}, nothing is limited"
    if _count(evidence, many) == _count(evidence, one):
        return f"{first}, whoever attacks, and from {spell(most)} messages as from one"
    return f"{first}, whoever attacks; at most {_count(evidence, many)} from {spell(most)} messages"


def _frames(evidence: Evidence) -> int:
    return max((threat.frames for threat in evidence.run.threats), default=1)


def _count(evidence: Evidence, ceiling: Bound) -> str:
    return no_more((ceiling.value or 0.0) * evidence.n)


def _nothing(evidence: Evidence) -> str:
    bounds = {bound.name: bound for bound in evidence.bounds}
    if not bounds:
        return "Nothing is proven: this record holds no bound"
    finite = [name for name in ("epsilon", "messages") if name in bounds and bounds[name].value is not None]
    if finite:
        return f"What is proven is too little to limit anyone among {whole(evidence.n)}"
    about = any(bounds[name].value is not None for name in (*ERRORS, TRAINING) if name in bounds)
    what = " about who can be identified" if about else ""
    why = why_nothing(evidence)
    return f"Nothing finite is proven{what}{': ' if why else ''}{lower_first(why.partition(': ')[0])}"


def why_nothing(evidence: Evidence) -> str:
    """Why no ceiling limits anything, without a full stop; empty where the record does not say."""
    bounds = {bound.name: bound for bound in evidence.bounds}
    if any(bounds[name].value is not None for name in ("epsilon", "messages") if name in bounds):
        return f"What is proven is too little to limit anyone among {whole(evidence.n)}"
    reasons = [bounds[name].reason for name in ("epsilon", "messages") if name in bounds]
    return next((reason.rstrip(".") for reason in reasons if reason), "")


def plainly(evidence: Evidence) -> tuple[str, ...]:
    """Paragraphs: who can be found at most, and what that promises to a single victim; or why nothing is limited."""
    best = evidence.ceiling(1)
    if not evidence.bounds:
        return ("Shares in this report are what was tried and reached, not the most that can be.",)
    if best is None:
        return (_unlimited(evidence),)
    say = {"ceiling_messages": _by_messages, "ceiling_epsilon": _by_epsilon}.get(best.name, _by_noise)
    return (" ".join([say(evidence, best), *_repeats(evidence, best), *_least(evidence)]), _single(evidence, best))


def _by_messages(evidence: Evidence, best: Bound) -> str:
    count, n = _count(evidence, best), whole(evidence.n)
    return (
        f"At most {count} different messages can be told apart, whoever looks and whatever they know. A message points"
        f" to one candidate, so at most {count} of the {n} can ever be the one that is pointed to. A longer list does"
        " not raise that count."
    )


def _by_noise(evidence: Evidence, best: Bound) -> str:
    return (
        f"What is sent is held to a fixed size and blurred by noise. Among {whole(evidence.n)} candidates, each equally"
        f" likely, no attacker and no method names the right one for more than {_count(evidence, best)} on average."
    )


def _by_epsilon(evidence: Evidence, best: Bound) -> str:
    return (
        "Whatever is sent, any other image would have sent it nearly as readily: e^ε times less often at most. So"
        f" whoever starts with {whole(evidence.n)} equally likely candidates never becomes more than"
        f" {percent(best.value or 0.0)} sure of one."
    )


def _repeats(evidence: Evidence, best: Bound) -> list[str]:
    told = []
    for k in sorted({bound.queries for bound in evidence.bounds} - {1}):
        many = evidence.ceiling(k)
        if many is None:
            told.append(f"For {spell(k)} messages of one image there is no such limit.")
        elif _count(evidence, many) == _count(evidence, best):
            told.append(f"{spell(k).capitalize()} messages of one image tell no more than one.")
        else:
            told.append(f"With {spell(k)} messages of one image it is {_count(evidence, many)}.")
    if (frames := _frames(evidence)) > 1:
        told.append(f"None of this covers {spell(frames)} moved frames, each of which is an image of its own.")
    return told


def _least(evidence: Evidence) -> list[str]:
    least = evidence.converse()
    if least is None:
        return []
    return [
        f"The answer that the server gives already points to {no_less((least.value or 0.0) * evidence.n)} of"
        f" {whole(evidence.n)}: what anyone can reach lies between the two."
    ]


def _single(evidence: Evidence, best: Bound) -> str:
    """Why W/N is an average, and what is known of the victim that is worst off."""
    bounds = {bound.name: bound for bound in evidence.bounds if bound.value is not None}
    if best.name == "ceiling_epsilon":
        return "**It holds for each single victim**, not only on average, as long as the candidates are equally likely."
    told = ["**It is an average:** it limits how many are found among all, each as likely as the others."]
    each, epsilon = bounds.get("ceiling_epsilon"), bounds.get("epsilon")
    if each is not None:
        told.append(f"For each single victim the limit is that of ε: nobody becomes more than {_sure(each)} sure.")
    else:
        alone = "an image that alone has its message is found every time"
        odd = alone if best.name == "ceiling_messages" else "an image unlike the others may be found far more often"
        figure = "∞" if epsilon is None else tally(epsilon.value or 0.0)
        told.append(
            f"It promises nothing to one of them: {odd}. A promise to each would take a small ε with δ = 0; here ε is"
            f" {figure}."
        )
    cell, worst = bounds.get("smallest_cell"), bounds.get("worst_posterior")
    if cell is not None:
        rarest = f"The rarest message here is shared by {whole(cell.value or 0.0)} victims."
        told.append(rarest if (cell.value or 0.0) > 1 else "Here a victim has a message of its own.")
    if worst is not None:
        told.append(f"Of the most exposed victim one can be {_sure(worst)} sure after one message.")
    return " ".join(told)


def _sure(bound: Bound) -> str:
    return "all but" if (bound.value or 0.0) > 0.9995 else percent(bound.value or 0.0)


def _unlimited(evidence: Evidence) -> str:
    bounds, n = {bound.name: bound for bound in evidence.bounds}, whole(evidence.n)
    messages, epsilon = bounds.get("messages"), bounds.get("epsilon")
    told = []
    if messages is not None and messages.value is not None:
        told.append(
            f"Up to {power(messages.value)} messages could be told apart, more than the {n} candidates: each could have"
            " its own."
        )
    if epsilon is not None and epsilon.value is not None:
        told.append(f"An ε of {tally(epsilon.value)} lets one message settle whose it is.")
    return " ".join(
        [
            *(told or [f"Nothing rules out that somebody tells all {n} apart."]),
            "Shares in this report are what was tried and reached. A proof needs few different messages, as the defence"
            " `codebook` sends, or noise on something that is clipped to a fixed size.",
        ]
    )
