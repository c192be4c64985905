"""What is proven: how many can be identified at most, whom each statement binds, what it rests on, and what it is not.

Statements that bind every attacker come first and apart from those about these victims, about unbiased attackers, and
about training records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from unsmash.records import Bound
from unsmash.report.evidence import Evidence, is_ceiling
from unsmash.report.parts import Apart, Proofs, Scope, Statement
from unsmash.report.proofs_said import ERRORS, TRAINING, heading, plainly
from unsmash.report.words import decimal, lower_first, no_less, no_more, percent, power, spell, tally, whole

NAMES = {
    "converse": ("Identified, at least", "no release this useful identifies less"),
    "ceiling_messages": ("Identified, at most", "by counting messages"),
    "ceiling_gaussian": ("Identified, at most", "by the noise against the clip"),
    "ceiling_epsilon": ("Identified, at most", "by ε, for each single victim as well"),
    "messages": ("Messages that can be told apart, at most", "W, and log₂ W in bits"),
    "epsilon": ("Local ε", "any image makes a message at most e^ε times as likely as another image does"),
    "van_trees_scalar": ("Squared error of a guess, at least", "van Trees' inequality, scalar form"),
    "van_trees_matrix": ("Squared error of a guess, at least", "van Trees' inequality, matrix form"),
    "gallery_mmse": ("Squared error of a guess, at least", "with these candidates in hand, exactly"),
    "worst_posterior": ("Certainty about the most exposed victim", ""),
    "smallest_cell": ("Victims that share the rarest message", ""),
    "epsilon_at_least": ("Local ε, at least", "a smaller one is disproved by the strongest attack"),
    "dfil": ("Fisher information leakage, dFIL", ""),
    "unbiased": ("Squared error of an unbiased guess, at least", "1/dFIL, or the error of always guessing the average"),
}
"""Title and note of each statement by its bound's name; bounds of other names keep their own title"""

FACTS = {
    "values": "Counted: the values that can be sent at all",
    "box": "Counted: each number stays in an interval, and noise blurs it",
    "ball": "Counted: what is sent stays in a ball, and noise blurs it",
    "hull": "Counted: what is sent stays between the corners of a simplex, and noise blurs it",
    "epsilon": "Counted: by ε, since any answer may be another one",
}
"""How messages were counted, in words"""

ANYONE = ("converse", "messages", "epsilon")
HERE = ("gallery_mmse", "worst_posterior", "smallest_cell", "epsilon_at_least")
UNBIASED = ("dfil", "unbiased")

SQUARED = "squared error a pixel"


def proofs(evidence: Evidence) -> Proofs:
    """The section: its finding, what it means in plain words, and every statement by whom it binds."""
    bounds = evidence.bounds
    queries = sorted({bound.queries for bound in bounds})
    shared = _shared(bounds)
    scopes = [
        Scope(title, note, statements, faint=faint)
        for title, note, wanted, faint in _groups(evidence)
        if (statements := _statements(evidence, wanted, queries, shared))
    ]
    return Proofs(
        heading(evidence),
        plainly(evidence),
        tuple(shared),
        tuple(_column(k) for k in queries) if scopes else (),
        tuple(scopes),
        _training(bounds),
        _note(evidence),
    )


def _groups(evidence: Evidence) -> tuple[tuple[str, str, Callable[[str], bool], bool], ...]:
    """Title and note of each group of statements, which names belong to it, and whether it is set back."""
    known = {*ANYONE, *ERRORS, *HERE, *UNBIASED, TRAINING}
    these = f"these {whole(evidence.n)} {evidence.nouns[1]}"
    return (
        ("Whoever attacks", "whatever the attacker knows or computes", _of_anyone, False),
        ("How near any guess can come", "in squared error, for a stated prior", lambda name: name in ERRORS, False),
        ("Other statements", "", lambda name: name not in known and not _of_anyone(name), False),
        (f"Of {these} only", "computed or measured here; no promise for others", lambda name: name in HERE, False),
        ("Unbiased attackers only", "real attackers are biased and do better: this stops none of them",
         lambda name: name in UNBIASED, True),
    )  # fmt: skip


def _of_anyone(name: str) -> bool:
    return name in ANYONE or name.startswith("ceiling")


def _statements(
    evidence: Evidence, wanted: Callable[[str], bool], queries: Sequence[int], shared: Sequence[str]
) -> tuple[Statement, ...]:
    rows: dict[str, list[Bound]] = {}
    for bound in evidence.bounds:
        if wanted(_base(bound)):
            rows.setdefault(_base(bound), []).append(bound)
    best = evidence.ceiling(1)
    ordered = sorted(rows.values(), key=lambda row: _rank(row[0]))
    return tuple(_statement(evidence, row, queries, shared, best) for row in ordered)


def _rank(bound: Bound) -> tuple[int, float]:
    """Ceilings from the lowest, then what they follow from, then the converse."""
    order = ("messages", "epsilon", "converse")
    if is_ceiling(bound):
        return (0, bound.value if bound.value is not None else math.inf)
    return (1 + order.index(_base(bound)) if bound.name in order else 1, 0.0)


def _statement(
    evidence: Evidence, row: Sequence[Bound], queries: Sequence[int], shared: Sequence[str], best: Bound | None
) -> Statement:
    first = min(row, key=lambda bound: bound.queries)
    title, note = NAMES.get(_base(first), (first.title, ""))
    if is_ceiling(first) and _base(first) not in NAMES:
        title, note = "Identified, at most", first.title
    by_queries = {bound.queries: bound for bound in row}
    values = tuple(_value(evidence, by_queries[k]) if k in by_queries else ("", "") for k in queries)
    return Statement(title, note, values, first.covers, _because(evidence, row, shared), best=first == best)


def _because(evidence: Evidence, row: Sequence[Bound], shared: Sequence[str]) -> tuple[str, ...]:
    """What a row rests on beyond what all do; what holds for several messages alone says so."""
    told: list[str] = []
    for bound in sorted(row, key=lambda one: one.queries):
        texts = [_fact(text) for text in bound.premises if _bare(text) not in shared]
        texts += [_bare(bound.reason)] if bound.value is None and bound.reason else []
        new = [text for text in (*texts, *_idle(bound, evidence.n)) if text not in told]
        first = bound.queries == 1 or not told
        told += new if first else [f"{_column(bound.queries)}: {lower_first(text)}" for text in new]
    return tuple(dict.fromkeys(told))


def _idle(bound: Bound, n: int) -> list[str]:
    """Said of a finite figure that is too large to limit anyone."""
    if bound.value is None or n < 2:
        return []
    if _base(bound) == "messages" and bound.value >= math.log2(n):
        return [f"More than the {whole(n)} candidates: each could have its own"]
    if _base(bound) == "epsilon" and bound.value > math.log(2000 * (n - 1)):
        return [f"Too large to limit anyone among {whole(n)}"]
    return []


def _value(evidence: Evidence, bound: Bound) -> tuple[str, str]:
    """The figure and what stands small beside it; over seeds that differ, both ends."""
    same = [other for run in evidence.runs for other in run.bounds if other.name == bound.name]
    if bound.value is None:
        return "∞" if bound.unit in ("ε", "bits") else "none", ""
    ends = sorted({other.value for other in same if other.value is not None})
    low, high, n, base = ends[0], ends[-1], evidence.n, _base(bound)

    def both(form: Callable[[float], str]) -> str:
        return form(low) if form(low) == form(high) else f"{form(low)}–{form(high)}"

    if is_ceiling(bound) or base == "converse":
        count = no_more if is_ceiling(bound) else no_less
        return f"{both(lambda share: count(share * n))} of {whole(n)}", _percents(low, high)
    if bound.unit == "share":
        return _percents(low, high), ""
    if bound.unit == "bits":
        return both(power), f"{both(lambda bits: decimal(bits, 1))} bits"
    if bound.unit == SQUARED:
        return both(_error), f"≈ {both(lambda error: whole(255 * error**0.5))} of 255 levels"
    shown = both(tally) + (f" ± {bound.error:.1g}" if bound.error else "")
    return shown, "" if bound.unit in ("ε", "victims") else bound.unit


def _percents(low: float, high: float) -> str:
    first, last = percent(low), percent(high)
    return last if first == last else f"{first[:-2]}–{last}"


def _error(value: float) -> str:
    return f"{value:#.2g}" if value >= 1e-4 else "< 0.0001"


def _shared(bounds: Sequence[Bound]) -> list[str]:
    """Premises of every finite statement that binds anyone: said once, above the table."""
    finite = [bound for bound in bounds if _of_anyone(_base(bound)) and bound.value is not None and bound.premises]
    each = [[_bare(text) for text in bound.premises] for bound in finite if bound.name != "converse"]
    return [text for text in each[0] if all(text in other for other in each)] if len(each) > 1 else []


def _fact(text: str) -> str:
    return FACTS.get(text.partition("Counted by: ")[2], _bare(text))


def _bare(text: str) -> str:
    return text.rstrip(".")


def _column(queries: int) -> str:
    return "One message" if queries == 1 else f"{spell(queries).capitalize()} messages"


def _base(bound: Bound) -> str:
    return bound.name.partition("@")[0]


# -- what must not be mistaken for it ---------------------------------------------------------------------------------


def _training(bounds: Sequence[Bound]) -> Apart | None:
    """What is proven about training records, in words that keep it away from what is sent; None without DP-SGD."""
    found = next((bound for bound in bounds if _base(bound) == TRAINING), None)
    if found is None:
        return None
    figure = "∞" if found.value is None else tally(found.value)
    told = (
        "It limits what the trained weights tell of one **training record**. An image that the device sends afterwards"
        " is another matter: what that gives away stands in the shares above, and this ε says nothing about it."
    )
    why = found.premises if found.value is not None else (found.reason,)
    heading = f"The training ε of {figure} does not protect what is sent"
    return Apart(heading, told, tuple(_bare(text) for text in why if text))


def _note(evidence: Evidence) -> str:
    if len(evidence.runs) == 1:
        return ""
    return (
        f"{spell(len(evidence.runs)).capitalize()} seeds: where a figure differs between them both ends are given; the"
        " heading, the text and the chart take the weaker one, which holds for all."
    )
