"""From an advice to its page: everything it will say, as plain data."""

from __future__ import annotations

from unsmash import budget as budgets
from unsmash.advice_record import Advice, Trial, candidates
from unsmash.frontier_record import Frontier, Row
from unsmash.plain import dumps
from unsmash.report.advice_findings import headline, lines
from unsmash.report.advice_table import COLUMNS, REACHED, ended, measured
from unsmash.report.page_parts import AdvicePage
from unsmash.report.parts import Fact, Section
from unsmash.report.words import bold_count, duration, listed, percent, plural, spell, whole
from unsmash.verdicts import Word


def compose(advice: Advice) -> AdvicePage:
    """Everything the page will say."""
    word, pill = _outcome(advice)
    what = ", ".join(part for part in (advice.data, advice.model) if part)
    good = len(candidates(advice.trials))
    return AdvicePage(
        word=word,
        pill=pill,
        title=f"{pill} · {what} · unsmash advise",
        crumb=f"Advice · {what}",
        run_id=advice.id,
        headline=bold_count(headline(advice)),
        lines=lines(advice),
        facts=tuple(_facts(advice)),
        chart=Section(
            f"{_capital(spell(good))} of {spell(len(advice.trials))} met the demand",
            lines=tuple(_notes(advice)),
            entries=tuple(_legend(advice)),
        ),
        columns=COLUMNS,
        measured=measured(advice),
        ended=ended(advice),
        retests=tuple(_retest(advice, number) for number in range(len(advice.retests))),
        edges=_edges(advice),
        reproduce=_reproduce(advice),
        records=(("advice", dumps(advice)),),
    )  # fmt: skip


def drawn(advice: Advice) -> Frontier:
    """The trials as the frontier's chart takes them: the advice ringed, what was measured in part never counted."""
    terms = [term for group in budgets.parse(advice.demand.fail_if) for term in group]
    limits = {name: [t.limit for t in terms if t.metric == name] for name in ("identification", "accuracy")}
    shares = limits["identification"]
    return Frontier(
        id=advice.id,
        name="advice",
        rows=tuple(_row(trial, advice) for trial in advice.trials),
        budget=advice.demand.fail_if,
        chosen="identification",
        limit=min(shares, default=None),
        least_accuracy=max(limits["accuracy"], default=None),
        seeds=(advice.seed,),
        n=advice.n,
        noun=advice.noun,
    )


def _row(trial: Trial, advice: Advice) -> Row:
    chosen = advice.chosen is not None and advice.chosen.trial == trial.number
    if trial.row is not None:
        word = trial.row.word if trial.meets or trial.row.word != "passes" else "inconclusive"
        return Row(**{**vars(trial.row), "front": chosen, "word": word})
    return Row(
        trial.name, "inconclusive", tuple(trial.experiment.get("defences", ())), accuracy=trial.accuracy,
        undefended=trial.undefended, lost=trial.lost, attack=trial.attack, gallery=trial.gallery,
        doubt=f"measured to {REACHED[trial.stage]} only",
    )  # fmt: skip


def _outcome(advice: Advice) -> tuple[Word, str]:
    if advice.chosen is not None:
        return "passes", "An advice that held in its re-test"
    if advice.retests:
        return "leaks", "No choice held in the re-test"
    return "inconclusive", "Nothing meets the demand"


def _facts(advice: Advice) -> list[Fact]:
    """The figures under the headline."""
    demand, states = advice.demand, [one.state for one in advice.trials]
    limits = [demand.budget]
    limits += [f"at most {percent(demand.max_loss)} accuracy lost"] if demand.max_loss is not None else []
    limits += [f"at most {percent(demand.certified)} proven"] if demand.certified is not None else []
    told = f"{whole(states.count('measured'))} whole, {whole(states.count('pruned'))} ended early"
    cuts = plural(len(advice.cuts), ("cut", "cuts"))
    return [
        Fact("Asked for", limits[0], "; ".join(limits[1:])),
        Fact("Tried", whole(len(states)), told),
        Fact("Out of", cuts, plural(len(advice.recipes), ("recipe of defences", "recipes of defences"))),
        Fact("Re-tested", whole(len(advice.retests)), f"{plural(len(advice.seeds), ('seed', 'seeds'))} each"),
    ]


def _legend(advice: Advice) -> list[tuple[str, str]]:
    rows = [_row(one, advice) for one in advice.trials]
    words = {row.word for row in rows if row.accuracy and row.attack and not row.doubt}
    marks = [
        ("leaks", "over your limit", "leaks" in words),
        ("passes", "meets the demand", "passes" in words),
        ("inconclusive", "does not meet it, or not surely", "inconclusive" in words),
        ("doubt", "measured in part, not counted", any(row.doubt and row.attack for row in rows)),
        ("gallery", "the same when the attacker holds the candidates and the model", any(row.gallery for row in rows)),
    ]
    return [(kind, text) for kind, text, present in marks if present]


def _notes(advice: Advice) -> list[str]:
    notes = ["Ringed: the advice."] if advice.chosen is not None else []
    notes.append("All points are from the search's images; the re-test has its own, and its figures stand above.")
    hidden = sum(one.accuracy is None or (one.attack is None and one.gallery is None) for one in advice.trials)
    if hidden:
        notes.append(f"Only in the tables: {plural(hidden, ('trial', 'trials'))} that ended before any attack.")
    return notes


def _retest(advice: Advice, number: int) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    """Name, address of its report, what came of it, and its figures."""
    one = advice.retests[number]
    row, word = one.row, "It holds." if one.holds else f"It does not hold: {one.reason.rstrip('.')}."
    figures = []
    if row.accuracy is not None:
        figures.append(("Accuracy", percent(row.accuracy.mean)))
    for name, reached in (
        ("Strongest attack", row.attack),
        ("Sixteen messages", row.repeats),
        ("The list", row.gallery),
    ):
        if reached is not None:
            count = f"{whole(reached.share.mean * reached.share.n)} of {whole(reached.share.n)}"
            figures.append((name, f"{count} by {reached.attack}"))
    figures.append(("Attacks", listed(one.attacks) or "none finished"))
    return advice.trial(one.trial).name, row.report, word, tuple(figures)


def _edges(advice: Advice) -> Section:
    told = (
        "The search chose by the images that it measured; only the re-test's figures may be quoted.",
        "Up to three choices are re-tested, and the first that holds is taken: the third owes more to luck.",
        "A stronger attacker may do better. Measured shares are what was reached; only what is proven is a limit.",
        f"Identified means picked out of {whole(advice.n)}. With more candidates the share falls, with fewer it rises.",
        "Outside these cuts, recipes and ranges something cheaper may lie.",
    )
    return Section("An advice is as good as its re-test", lines=told)


def _reproduce(advice: Advice) -> Section:
    entries = (
        ("Advice", f"`{advice.id}`; the same command goes on with it, `--trials` counts those that are known"),
        ("Allowed", f"`{advice.demand.budget}`; as a gate `--fail-if '{advice.demand.fail_if}'`"),
        ("Data", f"{advice.data}, fingerprint `{advice.fingerprint}`"),
        ("Model", advice.model),
        ("Cuts", listed(f"`{cut}`" for cut in advice.cuts)),
        ("Recipes", listed(advice.recipes)),
        ("Seeds", f"{advice.seed} in the search; {listed(map(str, advice.seeds))} in the re-test"),
        ("Software and machine", ", ".join(f"{name} {value}" for name, value in (advice.environment or {}).items())),
        ("Started", advice.started),
        ("Took", f"{duration(advice.seconds)}, all trials and re-tests added up"),
    )
    kept = tuple((name, text) for name, text in entries if text)
    return Section("Same command, same machine kind, same numbers", entries=kept, command=advice.command)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
