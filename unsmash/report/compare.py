"""Two studies on one page: what changed, row by row, with both fronts on one chart."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup, escape

from unsmash.frontier_record import Frontier, Row, Share, found
from unsmash.report.frontier_chart import axes
from unsmash.report.frontier_sheet import PHONE, WIDE, Labels, Scales, Sheet
from unsmash.report.frontier_table import WORDS
from unsmash.report.page_parts import ComparePage, Setting
from unsmash.report.parts import Fact, Section
from unsmash.report.words import MINUS, bold_count, listed, percent, plural, points, span, spell, whole
from unsmash.study_difference import Difference, Pair, Said

COLUMNS = ("Identified, first", "Identified, second", "Difference", "Accuracy", "Difference", "Bytes", "Verdict")
NOTES: dict[Said, str] = {
    "higher": "higher, intervals apart",
    "lower": "lower, intervals apart",
    "not shown": "intervals overlap: none shown",
    "unknown": "",
}


def compose(difference: Difference) -> ComparePage:
    """Everything the page will say."""
    first, second = difference.first, difference.second
    shown = [pair for pair in difference.pairs if pair.identified in ("higher", "lower")]
    known = sum(pair.identified != "unknown" for pair in difference.pairs)
    what = f"{_name(first)} and {_name(second)}"
    return ComparePage(
        word="inconclusive",
        pill=f"{whole(len(shown))} of {whole(known)} differ",
        title=f"{what} · unsmash compare",
        crumb=f"Compare · {what}",
        run_id=f"{first.id} {second.id}",
        headline=bold_count(headline(difference)),
        lines=(*(f"**Beware:** {line}" for line in difference.warnings), *_lines(difference)),
        facts=tuple(_facts(difference)),
        columns=COLUMNS,
        settings=rows(difference),
        reproduce=Section(
            "Two stored studies",
            entries=(("First", f"{_name(first)}, `{first.id}`"), ("Second", f"{_name(second)}, `{second.id}`"),
                     ("Budgets", f"`{first.budget}`, `{second.budget}`")),
            command=f"unsmash compare {first.id} {second.id}",
        ),
        records=(),
    )  # fmt: skip


def headline(difference: Difference) -> str:
    """How many settings are shown to give away another share."""
    pairs = difference.pairs
    if not pairs:
        return "The two studies have no setting in common."
    up = sum(pair.identified == "higher" for pair in pairs)
    down = sum(pair.identified == "lower" for pair in pairs)
    known = sum(pair.identified != "unknown" for pair in pairs)
    if not known:
        return "No setting of the two can be compared: in one or the other nothing counts."
    if not up + down:
        return f"No difference is shown: in all {spell(known)} settings the intervals overlap."
    parts = [f"{spell(count)} more" * (way == "up") + f"{spell(count)} less" * (way == "down")
             for count, way in ((up, "up"), (down, "down")) if count]  # fmt: skip
    return f"In the second study {listed(_give(part) for part in parts)}, of {plural(known, ('setting', 'settings'))}."


def _give(part: str) -> str:
    count, way = part.split(" ")
    return f"{count} {'gives' if count == 'one' else 'give'} away {way}"


def rows(difference: Difference) -> tuple[Setting, ...]:
    """A line for each setting of either study."""
    alone = [*((row, "only in the first") for row in difference.vanished),
             *((row, "only in the second") for row in difference.new)]  # fmt: skip
    return (
        *(_line(pair) for pair in difference.pairs),
        *(_alone(row, note, difference) for row, note in alone),
    )


def _line(pair: Pair) -> Setting:
    one, other = pair.first, pair.second
    assert one is not None
    assert other is not None
    cells = (
        _cell(pair.share[0]),
        _cell(pair.share[1]),
        (_moved(*pair.share), NOTES[pair.identified] or "not counted"),
        _cell(other.accuracy),
        (_moved(one.accuracy, other.accuracy), NOTES[pair.accuracy]),
        _bytes(one, other),
        (WORDS[other.word], "" if one.word == other.word else f"was {WORDS[one.word][2:]}"),
    )
    return Setting(pair.name, "", _failure(one, other), cells, other.word)


def _alone(row: Row, note: str, difference: Difference) -> Setting:
    second = row in difference.new
    reached = found(row, (difference.second if second else difference.first).chosen)
    cell = _cell(reached.share if reached else None)
    sides = (("–", ""), cell) if second else (cell, ("–", ""))
    sent = "–" if row.bytes_sent is None else whole(row.bytes_sent)
    cells = (*sides, ("–", ""), _cell(row.accuracy), ("–", ""), (sent, ""), (WORDS[row.word], ""))
    return Setting(row.name, "", note, cells, row.word)


def _cell(share: Share | None) -> tuple[str, str]:
    return ("–", "") if share is None else (percent(share.mean), span(share.low, share.high))


def _moved(one: Share | None, other: Share | None) -> str:
    return "–" if one is None or other is None else points(other.mean - one.mean)


def _bytes(one: Row, other: Row) -> tuple[str, str]:
    if one.bytes_sent is None or other.bytes_sent is None:
        return "–", ""
    moved = other.bytes_sent - one.bytes_sent
    sign = "+" if moved > 0 else MINUS
    return whole(other.bytes_sent), f"{sign}{whole(abs(moved))}" if moved else "the same"


def _failure(one: Row, other: Row) -> str:
    failed = [(which, row.failure.message) for which, row in (("first", one), ("second", other)) if row.failure]
    return "; ".join(f"did not finish in the {which}: {message}" for which, message in failed)


def _lines(difference: Difference) -> Iterator[str]:
    changed = [pair for pair in difference.pairs if pair.first and pair.second and pair.first.word != pair.second.word]
    if changed:
        told = listed(f"{pair.name} ({pair.first.word} → {pair.second.word})"  # type: ignore[union-attr]
                      for pair in changed[:4])  # fmt: skip
        yield f"**Another verdict:** {told}{f' and {len(changed) - 4} more' if len(changed) > 4 else ''}."
    for rows_, where in ((difference.vanished, "first"), (difference.new, "second")):
        if rows_:
            yield f"Only in the {where}: {listed(row.name for row in rows_[:6])}{' …' if len(rows_) > 6 else ''}."
    yield "A difference counts where the two 95 % intervals do not overlap; where they do, it may be chance."


def _facts(difference: Difference) -> list[Fact]:
    pairs = difference.pairs
    return [
        Fact("In both", whole(len(pairs)), "matched by name, else by experiment"),
        Fact("Only in the first", whole(len(difference.vanished)), _name(difference.first)),
        Fact("Only in the second", whole(len(difference.new)), _name(difference.second)),
        Fact("Another verdict", whole(sum(p.first.word != p.second.word for p in pairs if p.first and p.second)),
             "of those in both"),
    ]  # fmt: skip


def drawings(difference: Difference, label: str) -> tuple[Markup, ...]:
    """Both fronts on one chart, for a page and for a phone; empty where nothing can be drawn."""
    drawn = tuple(_chart(difference, sheet, label) for sheet in (WIDE, PHONE))
    return drawn if all(drawn) else ()


def _chart(difference: Difference, sheet: Sheet, label: str) -> Markup:
    """The first hollow, the second filled; a line from the one to the other, fronts ringed and named."""
    sides = (difference.first, difference.second)
    spots = [[(row, point) for row in one.rows if (point := _point(one, row))] for one in sides]
    every = [point for side in spots for _, point in side]
    if not every:
        return Markup("")
    best, worst = max(a for a, _ in every), min(a for a, _ in every)
    most = 0.25 if max(share for _, share in every) < 0.2 else 1.0
    scales = Scales(sheet, best, min(worst, best - 0.02), most)
    labels = Labels(sheet, [(0, 0, sheet.wide / 2, 20)])
    parts = list(axes(difference.second, scales))
    places = [{row.name: (scales.x(a), scales.y(s)) for row, (a, s) in side} for side in spots]
    for pair in difference.pairs:
        ends = [side.get(row.name) for side, row in zip(places, (pair.first, pair.second), strict=True) if row]
        if len(ends) == 2 and ends[0] and ends[1]:
            (x, y), (u, v) = ends[0], ends[1]
            parts.append(f'<line class="stem" x1="{x:.1f}" y1="{y:.1f}" x2="{u:.1f}" y2="{v:.1f}"/>')
    for side, (one, kind) in enumerate(zip(sides, ("was", "now"), strict=True)):
        for row, (accuracy, share) in spots[side]:
            x, y = scales.x(accuracy), scales.y(share)
            ids = ", ".join(row.runs)
            told = f"{row.name} in {_name(one)}: {percent(share)} identified, accuracy {percent(accuracy)}; {ids}"
            parts.append(
                f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="6"><title>{escape(told)}</title></circle>'
            )
            if row.front:
                parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="10"/>')
            labels.block(x, y, 7)
    named: set[str] = set()
    for row, (accuracy, share) in (spot for side in reversed(spots) for spot in side if spot[0].front):
        if row.name in named:
            continue  # the line from the one to the other says which it is
        named.add(row.name)
        text = row.name if len(row.name) <= sheet.longest else f"{row.name[: sheet.longest - 1]}…"
        labels.write(scales.x(accuracy), scales.y(share), text, "b", away=14)
    name = "dk" if sheet is WIDE else "ph"
    return Markup(
        f'<svg class="fr {name}" viewBox="0 0 {sheet.wide:g} {sheet.high:g}" role="img" aria-label="{escape(label)}"'
        f' font-size="{sheet.letters}">{"".join(parts)}{"".join(labels.written)}</svg>'
    )


def _point(frontier: Frontier, row: Row) -> tuple[float, float] | None:
    reached = found(row, frontier.chosen)
    return None if row.accuracy is None or reached is None else (row.accuracy.mean, reached.share.mean)


def _name(frontier: Frontier) -> str:
    return frontier.name or frontier.id
