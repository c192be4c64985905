"""A scan's sentences: where to cut, and what each figure says; less where the numbers carry less."""

from __future__ import annotations

import shlex

from unsmash.records import Result, Score
from unsmash.report.evidence import allowed
from unsmash.report.scan_table import times
from unsmash.report.words import compact, listed, percent, plural, spell, whole
from unsmash.scan_record import Cut, Scan
from unsmash.scan_verdict import doubted, identification_limit, knee, strongest


def recommendation(scan: Scan) -> str:
    """Where to cut, in one sentence: the next audit, never a clearance."""
    best, cuts = knee(scan), scan.asked
    if best is not None:
        leak = f"{found(strongest(best))} {scan.data.noun[1]} identified by the best attack of this scan"
        return f"Audit next, cut after {best.name}: {leak}, {_price(scan, best)}."
    least = nearest(scan)
    if least is None:
        return "No cut can be recommended: no attack finished at any of them."
    named = f"{found(strongest(least))} {scan.data.noun[1]} identified after {least.name}"
    if all(cut.word == "leaks" for cut in cuts):
        every = "The only cut leaks" if len(cuts) == 1 else f"Every cut leaks, all {spell(len(cuts))}"
        the_best = "" if len(cuts) == 1 else ", the least of them"
        return f"{every}: {named}{the_best},{_limit(scan)}; a defence is needed."
    if any(cut.word == "passes" for cut in cuts) and not doubted(scan):
        return f"No cut is within the whole budget: the least is {named}; {_reasons(least)}."
    return f"No cut is shown to stay within your limit: the least is {named}{_limit(scan)}; {_reasons(least)}."


def lines(scan: Scan) -> tuple[str, ...]:
    """What must be read with the recommendation, in a few short sentences."""
    best, told = knee(scan), []
    if best is not None:
        earlier = [cut for cut in scan.asked if cut is not best][:1]
        first = scan.asked[0]
        if earlier and first is not best:
            told.append(
                f"It is the earliest such cut of {spell(len(scan.asked))}. After {first.name}, the shallowest, "
                f"{found(strongest(first))} are identified."
            )
    passed_over = doubted(scan)
    if passed_over:
        names = listed(cut.name for cut in passed_over)
        one = len(passed_over) == 1
        told.append(
            f"**{names}** {'stays' if one else 'stay'} within the limit too, but a deeper cut does not, and what a "
            f"deeper cut sends is computed from what {'it sends' if one else 'they send'}: the attacks are weak there."
        )
    listed_one = candidate_list(scan)
    if listed_one:
        told.append(listed_one)
    label = scan.floor("label_only")
    if label is not None and scan.utility.accuracy is not None:
        share = label.scores["identification"]
        told.append(
            f"The whole network on the device, sending its label alone, gives away {whole(share.mean * share.n)} of "
            f"{whole(share.n)} to whoever holds the list, for {compact(scan.whole_macs)} multiply-adds and one byte."
        )
    told.append(
        "Two short attacks, one seed, no defence: a scan points at what to audit and clears nothing. "
        f"**Next:** `{command(scan)}`"
    )
    return tuple(told)


def candidate_list(scan: Scan) -> str:
    """What whoever holds the candidates and the model finds, and whether 8 bits stop them."""
    shares = [(cut, one.scores["identification"]) for cut in scan.cuts
              if (one := cut.result("gallery")) is not None and not one.failure]  # fmt: skip
    if not shares:
        return ""
    whole_list = [cut for cut, score in shares if score.mean == 1.0]
    if len(whole_list) == len(shares):
        first = f"Whoever holds the list of candidates and the model finds all {whole(scan.n)} at every cut"
    else:
        other = min(shares, key=lambda pair: pair[1].mean)
        first = f"Whoever holds the list of candidates and the model finds {_count(other[1])} after {other[0].name}, "
        first += "where some send the same, and no fewer at any other cut"
    least = min((cut.quantised for cut in scan.cuts), key=lambda score: score.mean)
    at_least = "just as many" if least.mean == 1.0 else f"at least {_count(least)}"
    return f"{first}; from 8 bits a number, {at_least}: fewer bits send less and hide no one."


def command(scan: Scan) -> str:
    """The audit that comes next, as one would type it."""
    cut = knee(scan) or nearest(scan)
    words = ["unsmash", "audit", *scan.flags]
    if cut is not None:
        words += ["--at", cut.name]
    if knee(scan) is None:
        # as `unsmash audit` suggests itself: the answer alone, else noise as strong as the message
        noise = f"laplace:scale={cut.scale:.1g}" if cut is not None and cut.scale > 0 else "laplace"
        words += ["--defence", "codebook" if scan.floor("label_only") is not None else noise]
    if scan.budget != "identification>0.05":
        words += ["--fail-if", scan.budget]
    return shlex.join(words)


def nearest(scan: Scan) -> Cut | None:
    """The cut whose best attack identifies least; of several, the one whose guesses are least like the truth."""
    cuts = [(best, cut) for cut in scan.asked if (best := strongest(cut)) is not None]
    least = min(cuts, key=lambda one: (one[0].scores["identification"].mean, one[0].mean("ssim") or 0.0), default=None)
    return least[1] if least is not None else None


def found(result: Result | None) -> str:
    """What an attack identified, as a count."""
    return "an unknown number" if result is None else _count(result.scores["identification"])


def chart_heading(scan: Scan) -> str:
    """How the share falls with depth, as far as it does."""
    first, last = strongest(scan.cuts[0]), strongest(scan.cuts[-1])
    if first is None or last is None or len(scan.cuts) < 2:
        return "What each cut gives away, and what it sends"
    return (
        f"From {found(first)} after {scan.cuts[0].name} to {found(last)} after {scan.cuts[-1].name}: "
        f"{plural(len(scan.cuts), ('cut', 'cuts'))} in the order the network runs"
    )


def _price(scan: Scan, cut: Cut) -> str:
    sent = f"{whole(cut.bytes_raw)} bytes an image ({times(cut, scan)} times the picture's)"
    return f"{sent}, {percent(cut.device_macs / max(scan.whole_macs, 1))} of the network's work on the device"


def _limit(scan: Scan) -> str:
    limit = identification_limit(scan.budget)
    return "" if limit is None else f" against your limit of {whole(allowed(limit, scan.n))}"


def _reasons(cut: Cut) -> str:
    return "; ".join(cut.reasons).rstrip(".") or f"{cut.name} {cut.word}"


def _count(score: Score) -> str:
    return f"{whole(score.mean * score.n)} of {whole(score.n)}"
