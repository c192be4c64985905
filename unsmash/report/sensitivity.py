"""Which setting matters, for the frontier's page: a bar for each setting that varies, and the finding in words."""

from __future__ import annotations

from unsmash.frontier_record import Frontier
from unsmash.report.page_parts import Bar, Bars
from unsmash.report.words import listed, plural, points
from unsmash.sensitivity import DEFENCES, Effect, effects

NAMES = {"at": "the cut", DEFENCES: "the defence", "model.kind": "the network", "data.kind": "the data"}


def sensitivity(frontier: Frontier) -> Bars | None:
    """The bars; None where no setting varies alone."""
    made = effects(frontier)
    if not made:
        return None
    longest = max(max(one.identified, one.accuracy or 0.0) for one in made)
    return Bars(_finding(frontier, made), _lede(frontier, made), tuple(_bar(one, longest or 1.0) for one in made))


def name(frontier: Frontier, path: str) -> str:
    """A setting in words: `the cut`, `scale of laplace`, else its path."""
    if path in NAMES:
        return NAMES[path]
    parts = path.split(".")
    if parts[0] == DEFENCES and len(parts) == 3:
        rows = (row for row in frontier.rows if path in row.settings and int(parts[1]) < len(row.defences))
        kinds = {str(row.defences[int(parts[1])].get("kind")) for row in rows}
        return f"{parts[2]} of {kinds.pop()}" if len(kinds) == 1 else path
    return path


def _finding(frontier: Frontier, made: tuple[Effect, ...]) -> str:
    first = made[0]
    if not first.clear:
        return "No setting is shown to matter: the intervals of its values overlap"
    said = name(frontier, first.path)
    told = f"{said[:1].upper()}{said[1:]} matters most: with all else held it moves what is identified by"
    return f"{told} {_unsigned(first.identified)}"


def _lede(frontier: Frontier, made: tuple[Effect, ...]) -> str:
    left = sum(row.failure is None and bool(row.doubt) for row in frontier.rows)
    told = (
        "For each setting, the largest less the smallest figure over its values with all others held, averaged over"
        " the combinations that exist."
    )
    quiet = [name(frontier, one.path) for one in made if not one.clear]
    if quiet and made[0].clear:
        told += f" Not shown to matter, since intervals overlap: {listed(quiet)}."
    if frontier.chosen == "identification" and left:
        told += f" {plural(left, ('setting is', 'settings are'))} left out, whose attacks proved nothing."
    if any(one.path == DEFENCES for one in made):
        told += " The defence stands for its kind and all its settings together."
    return told


def _bar(one: Effect, longest: float) -> Bar:
    values = listed(_short(value) for value in one.values) if len(one.values) <= 6 and one.path != DEFENCES else ""
    note = f"{values or f'{len(one.values)} values'}; {plural(one.combinations, ('combination', 'combinations'))}"
    accuracy = "not measured" if one.accuracy is None else _unsigned(one.accuracy)
    return Bar(
        one.path,
        note,
        (_unsigned(one.identified), one.identified / longest),
        (accuracy, (one.accuracy or 0.0) / longest),
        one.clear,
    )


def _unsigned(share: float) -> str:
    return points(share).lstrip("+±")


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
