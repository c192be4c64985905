"""From a frontier record to its page: everything it will say, as plain data."""

from __future__ import annotations

from pathlib import Path

from unsmash.frontier_record import Frontier, found
from unsmash.plain import dumps
from unsmash.report.defences import COSTS
from unsmash.report.frontier_findings import chart_heading, count_of, finished, headline, lines, share_of
from unsmash.report.frontier_strips import strips
from unsmash.report.frontier_table import COLUMNS, caption, settings
from unsmash.report.page_parts import FrontierPage
from unsmash.report.parts import Fact, Section, Shielding
from unsmash.report.sensitivity import sensitivity
from unsmash.report.words import THIN, bold_count, duration, listed, percent, plural, spell, whole
from unsmash.verdicts import Word

KINDS = (("passes", "pass"), ("leaks", "leak"), ("inconclusive", "without a verdict"), ("failed", "did not finish"))


def compose(frontier: Frontier, home: Path | None = None, *, images: bool = True) -> FrontierPage:
    """Everything the page will say; guesses come from the folder of runs, unless pictures are left out."""
    word, pill = _outcome(frontier)
    return FrontierPage(
        word=word,
        pill=pill,
        title=f"{pill} · {_what(frontier, '')} · unsmash sweep",
        crumb=f"Sweep · {_what(frontier, '`')}",
        run_id=frontier.id,
        headline=bold_count(headline(frontier)),
        lines=lines(frontier),
        facts=tuple(_facts(frontier)),
        chart=Section(chart_heading(frontier), lines=tuple(_notes(frontier)), entries=tuple(_legend(frontier))),
        columns=COLUMNS,
        settings=settings(frontier),
        caption=caption(frontier),
        sensitivity=sensitivity(frontier),
        strips=strips(frontier, home, images=images),
        methods=tuple(_method(frontier, place) for place in range(len(frontier.defences))),
        edges=_edges(frontier),
        reproduce=_reproduce(frontier),
        records=(("frontier", dumps(frontier)),),
    )


def _outcome(frontier: Frontier) -> tuple[Word, str]:
    """The page's colour, and the words beside its sign."""
    good, total, rows = sum(row.good for row in frontier.rows), len(frontier.rows), finished(frontier)
    if good:
        return "passes", f"{whole(good)} of {whole(total)} within the budget"
    if rows and all(row.word == "leaks" for row in rows):
        return "leaks", f"None of {whole(total)} within the budget"
    return "inconclusive", f"None of {whole(total)} shown to be within the budget" if rows else "Nothing finished"


def _what(frontier: Frontier, mark: str) -> str:
    """What was swept, in a few words."""
    network, cut, layer = frontier.model.partition(" cut after ")
    model = f"{network}{cut}{mark}{layer}{mark}" if cut else network
    return ", ".join(part for part in (frontier.name, frontier.data, model) if part) or frontier.id


def _facts(frontier: Frontier) -> list[Fact]:
    """The four figures under the headline."""
    counts = [(sum(row.word == word for row in frontier.rows), text) for word, text in KINDS]
    told = listed(f"{whole(count)} {text}" for count, text in counts if count)
    facts = [Fact("Settings swept", whole(len(frontier.rows)), told)]
    bare = next((row for row in frontier.rows if not row.defences and found(row, frontier.chosen)), None)
    if bare is not None:
        accuracy = f"accuracy {percent(bare.accuracy.mean)}" if bare.accuracy else "accuracy not measured"
        facts.append(Fact("No defence", share_of(found(bare, frontier.chosen)), f"identified, {accuracy}"))
    bar = frontier.label
    if bar is not None and bar.accuracy is not None:
        how = "by one who holds the list" if bar.measured else "computed, not measured"
        note = f"{how}; accuracy {percent(bar.accuracy.mean)}"
        facts.append(Fact("Only the label", count_of(frontier, bar.share), note))
    if frontier.n:
        sure = "one seed" if len(frontier.seeds) == 1 else f"{spell(len(frontier.seeds))} seeds"
        note = f"each setting; 95{THIN}% intervals over {plural(frontier.n, frontier.noun)}"
        facts.append(Fact("How sure", sure, note))
    return facts


def _legend(frontier: Frontier) -> list[tuple[str, str]]:
    """The marks that are drawn, and what each stands for."""
    rows = [row for row in finished(frontier) if row.accuracy is not None]
    drawn = {row.word for row in rows if row.attack is not None and not row.doubt}
    marks = [
        ("leaks", "over your limit" if frontier.limit is not None else "over your budget", "leaks" in drawn),
        ("passes", "within it", "passes" in drawn),
        ("inconclusive", "no verdict", "inconclusive" in drawn),
        ("doubt", "not counted", any(row.doubt and row.attack is not None for row in rows)),
        (
            "gallery",
            "the same setting when the attacker holds the candidates and the model",
            any(row.gallery is not None for row in rows),
        ),
        ("ceiling", "what nobody gets beyond, proven", any(frontier.ceiling(row) is not None for row in rows)),
        ("label", "only the label sent", frontier.label is not None and frontier.label.accuracy is not None),
    ]
    return [(kind, text) for kind, text, present in marks if present]


def _notes(frontier: Frontier) -> list[str]:
    """The sentences under the drawing."""
    whom = "the strongest attack in your budget" if frontier.chosen == "identification" else "whoever holds the list"
    notes = [f"On the front: nothing else is as accurate and gives away as little to {whom}, and is better in one."]
    if len(frontier.seeds) > 1:
        notes.append("Bars are intervals over victims and seeds.")
    else:
        notes.append("Upright bars are intervals over victims; with one seed the luck of training is not in them.")
    if frontier.curves:
        notes.append("Faint lines join settings that differ in one number, which stands at their points.")
    if any(row.attack is None and row.gallery is not None for row in finished(frontier)):
        notes.append("A hollow mark alone: no attack of that setting counts.")
    hidden = [row for row in frontier.rows if row.accuracy is None or (row.attack is None and row.gallery is None)]
    if hidden:
        notes.append(f"Only in the table: {plural(len(hidden), ('setting', 'settings'))} without both numbers.")
    return notes


def _method(frontier: Frontier, place: int) -> Shielding:
    about = frontier.defences[place]
    protects, _, exposes = about.protects.partition(". ")
    facts = (("Proven", about.guarantee), ("Costs", COSTS.get(about.cost, about.cost)), ("Source", about.source))
    told = tuple((name, text) for name, text in facts if text)
    first = protects.rstrip(".") or about.summary.rstrip(".")
    return Shielding(about.kind, f"{first}." if first else "", exposes, told)


def _edges(frontier: Frontier) -> Section:
    """What a sweep does not show."""
    many = frontier.noun[1]
    among = f"out of {whole(frontier.n)}" if frontier.n else "out of the candidates"
    told = (
        "The cheapest of many that pass is partly the luckiest: audit it again with other seeds before it is used.",
        "A stronger attacker may do better. Measured shares are what was reached; only what is proven is a limit.",
        f"Identified means picked {among}. With more candidates the share falls, with fewer it rises.",
        f"It covers these {many} and {frontier.model or 'these networks'}. Others need their own sweep.",
        "Accuracy lost is against the same network trained alike: whatever trains longer has a baseline of its own.",
    )
    return Section("A sweep finds candidates and clears none", lines=told)


def _reproduce(frontier: Frontier) -> Section:
    entries = (
        ("Study", f"`{frontier.id}`; `study.yaml` beside this page measures it again"),
        ("Budget", f"`{frontier.budget}`"),
        ("Data", f"{frontier.data}, fingerprint `{frontier.fingerprint}`" if frontier.fingerprint else frontier.data),
        ("Model", frontier.model),
        ("Seed" if len(frontier.seeds) == 1 else "Seeds", ", ".join(map(str, frontier.seeds))),
        ("Runs", ", ".join(f"`{run}`" for row in frontier.rows for run in row.runs)),
        ("Software and machine", ", ".join(f"{name} {value}" for name, value in (frontier.environment or {}).items())),
        ("Started", frontier.started),
        ("Took", f"{duration(sum(row.seconds for row in frontier.rows))}, all settings added up"),
    )
    kept = tuple((name, text) for name, text in entries if text)
    return Section("Same study, same machine kind, same numbers", entries=kept, command=frontier.command)
