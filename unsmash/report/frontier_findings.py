"""The frontier's sentences: each says what the numbers say, and falls back to less where they carry less."""

from __future__ import annotations

import math

from unsmash.frontier_record import Frontier, LabelOnly, Reached, Row, found, price
from unsmash.report.evidence import allowed
from unsmash.report.words import compact, listed, percent, plural, points, spell, whole

ONLY_LABEL = "Send only the label"


def headline(frontier: Frontier) -> str:
    """The cheapest that is good enough, else how far the sweep is from there."""
    best, bar, rows = cheapest(frontier), _affordable(frontier), finished(frontier)
    all_leak = bool(rows) and all(row.word == "leaks" for row in rows)
    if bar is not None and (best is None or (0.0, bar.bytes_sent, bar.device_macs or math.inf) < price(best)[1:]):
        told = f"{ONLY_LABEL}: {count_of(frontier, bar.share)} {frontier.noun[1]} identified, at no loss of accuracy."
        return f"Every setting leaks. {told}" if all_leak else told
    if best is not None:
        name = f"{_capital(best.name)} is good enough" if best.defences else "No defence is needed"
        return f"{name}: {_found(frontier, best)} identified, {_price(best)}."
    if not rows:
        return "No setting finished: nothing was measured that could be compared."
    least = _least(frontier)
    if all_leak:
        every = "The only setting leaks" if len(rows) == 1 else "Every setting leaks"
        most = "it gives away" if len(rows) == 1 else f"the least, {least.name}, gives away" if least else ""
    else:
        every = "No setting is shown to be good enough"
        most = f"the nearest, {least.name}, gives away" if least else ""
    told = f": {most} {_found(frontier, least)}" if least else ""
    limit = _limit(frontier)
    return f"{every}{told}." + ("" if limit is None else f" Your limit is {whole(allowed(limit, frontier.n))}.")


def lines(frontier: Frontier) -> tuple[str, ...]:
    """What follows from the headline, in a few short paragraphs."""
    best, bar, said = cheapest(frontier), frontier.label, headline(frontier)
    good = [row for row in frontier.rows if row.good]
    told = []
    if best is not None and said.startswith(ONLY_LABEL):
        price_told = f"{_found(frontier, best)}, {_price(best)}"
        told.append(
            f"Of the settings swept, the cheapest within your {_bound(frontier)} is **{best.name}**: {price_told}."
        )
    elif best is not None and len(good) > 1:
        many = f"{spell(len(good))} settings within your {_bound(frontier)}"
        told.append(f"It is the cheapest of {many}: by accuracy lost, then bytes, then work on the device.")
    if best is not None:
        told.append(_against_list(frontier, best))
    if bar is not None and bar.accuracy is not None:
        told.append(_whole_network(bar) if ONLY_LABEL in said else _measure(frontier, bar, best))
    lost = [row.name for row in frontier.rows if row.failure is not None]
    if lost:
        more = [f"{spell(len(lost) - 3)} more"] if len(lost) > 4 else []
        names = listed([*(lost[:3] if more else lost), *more])
        told.append(f"**{plural(len(lost), ('setting', 'settings'))} did not finish:** {names}.")
    if best is not None:
        seeds = ", with more seeds" if len(frontier.seeds) < 3 else ""
        told.append(f"**Audit next:** {best.name}, by its own report{seeds}. A sweep finds candidates and clears none.")
    return tuple(line for line in told if line)


def chart_heading(frontier: Frontier) -> str:
    """How many stay within the budget, and how many of those against a candidate list too."""
    rows = finished(frontier)
    if _limit(frontier) is None or len(rows) < 2:
        return "What each setting costs, and what it gives away"
    low = [row for row in rows if row.word == "passes"]
    if not low:
        shown = "stays" if all(row.word == "leaks" for row in rows) else "is shown to stay"
        return f"No setting {shown} within your limit"
    first = f"{_capital(spell(len(low)))} of {spell(len(rows))} settings stay{'s' * (len(low) == 1)} within your limit"
    if frontier.chosen != "identification" or any(row.gallery is None for row in low):
        return first
    held = sum(row.gallery is not None and row.gallery.share.high <= (frontier.limit or 0.0) for row in low)
    if held == len(low):
        return f"{first}, against a candidate list too"
    if held:
        return f"{first}; {spell(held)} of them against a candidate list too"
    return f"{first}; against a candidate list {'it does not' if len(low) == 1 else 'none of them does'}"


def cheapest(frontier: Frontier) -> Row | None:
    """The first row, by price, that is within the whole budget."""
    return next((row for row in frontier.rows if row.good), None)


def finished(frontier: Frontier) -> list[Row]:
    """Rows with something measured."""
    return [row for row in frontier.rows if row.failure is None]


def share_of(reached: Reached | None) -> str:
    """What was found, as a count."""
    if reached is None:
        return "an unknown share"
    return f"{whole(reached.share.mean * reached.share.n)} of {whole(reached.share.n)}"


def count_of(frontier: Frontier, share: float) -> str:
    """A share as a count of the victims."""
    return f"{whole(share * frontier.n)} of {whole(frontier.n)}"


def _affordable(frontier: Frontier) -> LabelOnly | None:
    """Sending only the label, where that is within the budget."""
    bar = frontier.label
    limits = [limit for limit in (frontier.limit, frontier.gallery_limit) if limit is not None]
    if bar is None or bar.accuracy is None or not limits or bar.share > min(limits):
        return None
    least = frontier.least_accuracy
    return bar if least is None or bar.accuracy.mean >= least else None


def _least(frontier: Frontier) -> Row | None:
    """The row that gives away least, among those whose number can be believed if there are any."""
    rows = [row for row in finished(frontier) if found(row, frontier.chosen) is not None]
    rows = [row for row in rows if not row.doubt] or rows

    def share(row: Row) -> float:
        reached = found(row, frontier.chosen)
        return 1.0 if reached is None else reached.share.mean

    return min(rows, key=share, default=None)


def _against_list(frontier: Frontier, best: Row) -> str:
    """What the same setting gives away to one who holds the candidates, and what is proved."""
    told = []
    if best.gallery is not None and frontier.chosen == "identification":
        told.append(f"Held against a candidate list it gives away **{share_of(best.gallery)}**")
    ceiling = frontier.ceiling(best)
    if ceiling is not None:
        told.append(f"no attacker gets beyond {count_of(frontier, ceiling)} on average, proven")
    return f"{_capital('; '.join(told))}." if told else ""


def _measure(frontier: Frontier, bar: LabelOnly, best: Row | None) -> str:
    """The bar, beside the setting that is to clear it."""
    assert bar.accuracy is not None
    told = f"Sending only the label gives away {count_of(frontier, bar.share)} at accuracy {percent(bar.accuracy.mean)}"
    if best is not None and best.device_macs and bar.device_macs and best.device_macs < 0.9 * bar.device_macs:
        told += f", for {compact(bar.device_macs)} multiply-adds on the device against {compact(best.device_macs)}"
    return f"{told}: the bar that every defence must justify itself against."


def _whole_network(bar: LabelOnly) -> str:
    macs = f", {compact(bar.device_macs)} multiply-adds," if bar.device_macs else ""
    return f"Then the whole network{macs} runs on the device, and its answer is all that anyone sees."


def _price(row: Row) -> str:
    """What a row costs in accuracy."""
    if not row.defences and row.accuracy is not None:
        return f"at accuracy {percent(row.accuracy.mean)}"
    if row.lost is None:
        return "at an accuracy that was not measured"
    tenths = round(row.lost, 3)
    return f"for {points(tenths).lstrip('+')} of accuracy" if tenths > 0 else "at no loss of accuracy"


def _found(frontier: Frontier, row: Row) -> str:
    return f"{share_of(found(row, frontier.chosen))} {frontier.noun[1]}"


def _limit(frontier: Frontier) -> float | None:
    return frontier.limit if frontier.chosen == "identification" else frontier.gallery_limit


def _bound(frontier: Frontier) -> str:
    limit = _limit(frontier)
    return "budget" if limit is None else f"limit of {whole(allowed(limit, frontier.n))}"


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
