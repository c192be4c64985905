"""The advice's sentences: what was found, what it costs, how sure it is; or what stands in the way."""

from __future__ import annotations

from unsmash.advice_record import MOST, Advice, Relaxed, Retest, candidates, choices
from unsmash.frontier_record import Reached
from unsmash.report.words import compact, listed, milliseconds, percent, plural, points, span, spell, whole

ORDER = ("first", "second", "third")


def headline(advice: Advice) -> str:
    """What was found, what it costs and how sure it is, in one sentence; or that nothing meets the demand."""
    chosen = advice.chosen
    if chosen is not None:
        row = chosen.row
        cost = "at an accuracy that was not measured"
        if row.accuracy is not None and row.lost is not None:
            lost = round(row.lost, 3)
            told = "no loss of accuracy" if lost <= 0 else f"a loss of {points(lost).lstrip('+')}"
            cost = f"at {told} ({percent(row.accuracy.mean)}, {span(row.accuracy.low, row.accuracy.high)})"
        return (
            f"{_capital(_name(advice, chosen))}: {_count(row.attack)} {advice.noun[1]} identified, {cost}, re-tested"
            f" on {_fresh(advice)}."
        )
    if advice.retests:
        many = len(advice.retests)
        waiting = min(MOST, len(choices(advice.trials))) - many
        if waiting > 0:
            failed = "the first choice" if many == 1 else f"the first {spell(many)} choices"
            return f"No advice yet: {failed} failed the re-test, and there was no time for the next."
        failed = "the one choice" if many == 1 else f"all {spell(many)} choices"
        return f"No advice: {failed} failed the re-test."
    met = len(candidates(advice.trials))
    if met:
        return f"No advice yet: {spell(met)} met the demand, and none was re-tested."
    return f"Nothing meets the demand: none of {plural(len(advice.trials), ('configuration', 'configurations'))} tried."


def lines(advice: Advice) -> tuple[str, ...]:
    """What follows from the headline, in a few short paragraphs."""
    told = []
    chosen = advice.chosen
    if chosen is not None:
        told += [_cost(advice, chosen), _sure(advice, chosen)]
    told += [_failed(advice, number, one) for number, one in enumerate(advice.retests) if not one.holds]
    if chosen is None:
        told += [_relaxed(advice, one) for one in advice.relaxed]
        if advice.relaxed and not any(one.without for one in advice.relaxed) and not advice.retests:
            told.append("No part of the demand alone stands in the way: everything measured whole misses several.")
    told.append(_tried(advice))
    return tuple(line for line in told if line)


def _cost(advice: Advice, one: Retest) -> str:
    """Bytes, work and time."""
    row, parts = one.row, []
    if row.bytes_sent is not None:
        parts.append(f"**{plural(row.bytes_sent, ('byte', 'bytes'))}** a sample")
    if row.device_macs is not None:
        parts.append(f"{compact(row.device_macs)} multiply-adds on the device")
    if one.latency_ms:
        parts.append(f"{milliseconds(one.latency_ms[0])} there on this machine")
    told = f"It costs {listed(parts)}. " if parts else ""
    if row.undefended is not None:
        told += f"The same network trained alike without defence has accuracy {percent(row.undefended)}. "
    if row.gallery is not None:
        told += f"Whoever holds the candidates and the weights picks out {_count(row.gallery)}. "
    if row.ceiling is not None and row.ceiling.value < 1:
        told += f"Proven: nobody picks out more than {percent(row.ceiling.value)} on average from one message."
    return told.strip()


def _sure(advice: Advice, one: Retest) -> str:
    """How the re-test was made, and how much of it is selection."""
    number = [each.trial for each in advice.retests].index(one.trial)
    attacks = plural(len(one.attacks), ("attack", "attacks"))
    many = "some of which see sixteen messages of one image" if one.row.repeats else "each on one message"
    many = many if one.row.stochastic else "each on one message, since all messages of one image are alike"
    told = f"**How sure:** {attacks}, {many}, on {_fresh(advice)}."
    reached = one.row.attack
    if reached is not None:
        ends = span(reached.share.low, reached.share.high)
        told += f" The strongest, {reached.attack}, found {_count(reached)} (95 % interval {ends})."
    good = len(candidates(advice.trials))
    told += f" It is the {ORDER[number]} choice of {spell(good)} that met the demand on the search's images"
    if advice.trial(one.trial).unsure:
        told = (
            told.rpartition(" It is")[0] + f" It is the {ORDER[number]} choice: what one seed of the search could not"
        )
        told += " tell for certain the re-test could"
    told += f"; {spell(number)} before it failed the re-test, so some luck is in this one." if number else "."
    return told


def _failed(advice: Advice, number: int, one: Retest) -> str:
    name = advice.trial(one.trial).name
    return f"**The {ORDER[number]} choice failed its re-test:** {name}. {_capital(one.reason)}."


def _relaxed(advice: Advice, one: Relaxed) -> str:
    """What giving up one part of the demand would bring."""
    if not one.without:
        return f"Without {one.said} nothing that was measured would do."
    told = f"**Without {one.said} {spell(one.without)} would do.**"
    if one.trial is not None:
        name = advice.trial(one.trial).name
        told += f" {_weaker(one)} would be enough for {name}." if one.value is not None else f" The cheapest: {name}."
    return told


def _weaker(one: Relaxed) -> str:
    if one.said.startswith("--"):
        return f"`{one.said.split()[0]} {one.value:g}`"
    metric = one.said.rstrip("0123456789.eE+-")
    return f"`{metric}{one.value:g}`"


def _tried(advice: Advice) -> str:
    """How many were tried, and how far."""
    states = [one.state for one in advice.trials]
    met = len(candidates(advice.trials))
    parts = [f"{spell(states.count('measured'))} measured whole, of which {spell(met)} met the demand"]
    if states.count("pruned"):
        parts.append(f"{spell(states.count('pruned'))} ended early by a cheaper step")
    if states.count("failed"):
        parts.append(f"{spell(states.count('failed'))} failed")
    many = plural(len(states), ("configuration", "configurations"))
    return f"{_capital(many)} tried: {listed(parts)}."


def _fresh(advice: Advice) -> str:
    seeds = plural(len(advice.seeds), ("fresh seed", "fresh seeds"))
    return f"{plural(advice.n, advice.noun)} that took no part in the search, with {seeds}"


def _name(advice: Advice, one: Retest) -> str:
    return advice.trial(one.trial).name


def _count(reached: Reached | None) -> str:
    if reached is None:
        return "an unknown share of"
    return f"{whole(reached.share.mean * reached.share.n)} of {whole(reached.share.n)}"


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".")
