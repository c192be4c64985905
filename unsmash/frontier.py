"""The frontier of a study: run records of its variants, made into one record. Knows no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unsmash import budget as budgets
from unsmash import judge
from unsmash.frontier_record import (
    About,
    Ceiling,
    Chosen,
    Curve,
    Frontier,
    LabelOnly,
    Reached,
    Row,
    Share,
    front,
    price,
)
from unsmash.records import Failure, Run, ThreatRecord
from unsmash.varied import flat, varied
from unsmash.verdicts import Verdict, Word

LABEL_ONLY = "label_only"
"""Name of the result that says what sending the answer alone gives away"""


@dataclass(frozen=True)
class Entry:
    """One variant as it came back: its runs, one a seed, or what stopped it."""

    name: str
    experiment: dict[str, Any]
    """The experiment as YAML would have it"""
    runs: tuple[Run, ...] = ()
    report: str = ""
    failure: Failure | None = None
    seconds: float = 0.0
    row: Row | None = None
    """Its row, where that was made when it came back"""


def settled(entry: Entry, budget: str) -> Entry:
    """The entry with its row made, and of its runs only what a frontier needs beside rows.

    A record holds a number for every victim, 2 MB in memory: of a thousand runs nobody can keep that.
    """
    return replace(entry, row=row(entry, budget), runs=tuple(_slim(run) for run in entry.runs))


def _slim(run: Run) -> Run:
    kept = [result for result in run.results if result.name == LABEL_ONLY]
    bare = [
        replace(one, ranks=(), scores={name: replace(score, values=()) for name, score in one.scores.items()})
        for one in kept
    ]
    utility = run.utility
    if utility is not None:
        scores = (utility.accuracy, utility.undefended_accuracy)
        accuracy, undefended = (replace(one, values=()) if one else None for one in scores)
        utility = replace(utility, accuracy=accuracy, undefended_accuracy=undefended, questions={})
    return Run(
        run.id, {"defences": run.experiment.get("defences", ())}, run.seed, data=run.data, split=run.split,
        utility=utility, results=tuple(bare), failure=run.failure, environment=run.environment, started=run.started,
    )  # fmt: skip


def frontier(
    entries: Sequence[Entry],
    *,
    id: str,
    name: str,
    budget: str,
    seeds: Sequence[int],
    defences: Sequence[About] = (),
    command: str = "",
) -> Frontier:
    """The record of a study whose variants came back so."""
    terms = [term for group in budgets.parse(budget) for term in group]
    chosen = _chosen(terms)
    settings = [flat(entry.experiment) for entry in entries]
    paths = varied(settings)
    rows = [
        replace(entry.row or row(entry, budget), settings={path: one[path] for path in paths if path in one})
        for entry, one in zip(entries, settings, strict=True)
    ]
    best = front(rows, chosen)
    rows = [replace(row, front=place in best) for place, row in enumerate(rows)]
    order = sorted(range(len(rows)), key=lambda place: (price(rows[place]), place))
    curves = _curves([entries[place] for place in order])
    runs = [run for entry in entries for run in entry.runs if not run.failure]
    first = runs[0] if runs else None
    return Frontier(
        id=id,
        name=name,
        rows=tuple(rows[place] for place in order),
        budget=budget,
        chosen=chosen,
        limit=_least(term.limit for term in terms if term.metric == "identification" and term.upper),
        gallery_limit=_least(term.limit for term in terms if term.metric == "gallery_identification" and term.upper),
        least_accuracy=max((t.limit for t in terms if t.metric == "accuracy" and not t.upper), default=None),
        label=_label_only(runs),
        curves=curves,
        defences=tuple(defences),
        seeds=tuple(seeds),
        n=first.data.sizes.get("victims", 0) if first and first.data else 0,
        noun=first.data.noun if first and first.data else ("image", "images"),
        data=_shared(run.data.kind for run in runs if run.data),
        model=_shared(f"{run.split.model} cut after {run.split.at}" for run in runs if run.split)
        or _shared(run.split.model for run in runs if run.split),
        fingerprint=_shared(run.data.fingerprint for run in runs if run.data),
        environment=dict(first.environment) if first else None,
        started=min((run.started for run in runs), default=""),
        command=command,
    )


def _chosen(terms: Sequence[budgets.Comparison]) -> Chosen:
    metrics = {term.metric for term in terms}
    return (
        "gallery_identification" if metrics & set(budgets.LEAKAGE) == {"gallery_identification"} else "identification"
    )


def row(entry: Entry, budget: str) -> Row:
    """One variant's row, judged against a budget; whether it is on the front is left open."""
    defences = tuple(dict(defence) for defence in entry.experiment.get("defences", ()))
    base = Row(entry.name, "failed", defences, tuple(run.id for run in entry.runs), entry.report, seconds=entry.seconds)
    base = replace(base, experiment=_digest(entry.experiment))
    runs = [run for run in entry.runs if run.failure is None]
    failure = entry.failure or next((run.failure for run in entry.runs if run.failure), None)
    if failure is not None or not runs:
        failure = failure or Failure("RecordError", "it has no run", "start")
        return replace(base, failure=failure, reason=failure.message)
    verdict = judge.judge(runs, budget)
    asked = [threat for threat in runs[0].threats if threat.asked and "candidates" not in threat.grants]
    open_ = [threat for threat in runs[0].threats if "candidates" not in threat.grants]
    lists = [threat for threat in runs[0].threats if "candidates" in threat.grants]
    accuracy = judge.accuracy(runs)
    bare = _undefended(runs)
    split = runs[0].split
    return replace(
        base,
        word=verdict.word,
        good=verdict.word == "passes" and verdict.exit_code == 0,
        reason="; ".join(verdict.reasons),
        doubt="" if verdict.word == "leaks" else _doubt(runs, asked or open_, verdict),
        accuracy=None if accuracy is None else _share(accuracy),
        undefended=bare,
        lost=None if accuracy is None or bare is None else bare - accuracy.mean,
        attack=_strongest(runs, asked or open_),
        gallery=_strongest(runs, [threat for threat in lists if _messages(threat) == 1]),
        repeats=_strongest(runs, [threat for threat in open_ if _messages(threat) > 1]),
        ceiling=_ceiling(runs),
        stochastic=bool(split and split.stochastic),
        bytes_sent=split.bytes_sent if split else None,
        device_macs=split.device_macs if split else None,
        seconds=sum(run.seconds.get("total", 0.0) for run in runs) or entry.seconds,
    )


def _doubt(runs: Sequence[Run], threats: Sequence[ThreatRecord], verdict: Verdict) -> str:
    """Why a low share would not mean that little can be found: an attack that stayed below showed no strength."""
    words: dict[str, Word] = {one.threat: one.word for one in verdict.adversaries}
    doubts = [judge.doubt(runs, threat.name) for threat in threats if words.get(threat.name) != "leaks"]
    return next((doubt for doubt in doubts if doubt), "")


def _strongest(runs: Sequence[Run], threats: Sequence[ThreatRecord]) -> Reached | None:
    """The strongest valid attack of these adversaries, pooled over the seeds."""
    best: Reached | None = None
    for threat in threats:
        one = judge.strongest(runs, judge.valid(runs, threat.name), "identification")
        if one is not None and (best is None or one.mean > best.share.mean):
            best = Reached(_share(one), runs[0].result(one.name).title, threat.title, _messages(threat), one.name)
    return best


def _messages(threat: ThreatRecord) -> int:
    return max(threat.queries, threat.frames)


def _share(pooled: judge.Strongest) -> Share:
    return Share(pooled.mean, pooled.low, pooled.high, pooled.n)


def _undefended(runs: Sequence[Run]) -> float | None:
    """Mean accuracy of the same network trained alike without defence; its own where it has none."""
    scores = [(run.utility.undefended_accuracy or run.utility.accuracy) if run.utility else None for run in runs]
    known = [score.mean for score in scores if score is not None]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def _ceiling(runs: Sequence[Run]) -> Ceiling | None:
    """The lowest ceiling of each seed's release, and of those the highest: it holds for every seed."""
    lowest = []
    for run in runs:
        shares = [
            Ceiling(bound.value, bound.title, bound.covers, bound.premises)
            for bound in run.bounds
            if bound.unit == "share" and bound.name.startswith("ceiling") and bound.value is not None
        ]
        lowest.append(min(shares, key=lambda ceiling: ceiling.value, default=None))
    known = [ceiling for ceiling in lowest if ceiling is not None]
    return max(known, key=lambda ceiling: ceiling.value) if known and len(known) == len(lowest) else None


def _label_only(runs: Sequence[Run]) -> LabelOnly | None:
    """The best network that was trained without a defence, sending its answer alone."""
    able = [run for run in runs if run.utility and run.data and len(run.data.classes) > 1]
    bare = {run.id: run.utility.undefended_accuracy or run.utility.accuracy for run in able if run.utility}
    able = [run for run in able if bare[run.id] is not None]
    measured = [run for run in able if any(result.name == LABEL_ONLY for result in run.results)]
    if not able:
        return None
    best = max(
        measured or able, key=lambda run: (getattr(bare[run.id], "mean", 0.0), not run.experiment.get("defences"))
    )
    score, data = bare[best.id], best.data
    assert score is not None
    assert data is not None
    accuracy = Share(score.mean, score.low, score.high, score.n)
    macs = best.split.whole_macs or None if best.split else None
    share = best.result(LABEL_ONLY).mean("identification") if measured else None
    least = len(data.classes) / max(data.sizes.get("victims", 0), len(data.classes))
    return LabelOnly(least if share is None else share, accuracy, macs, share is not None)


def _curves(entries: Sequence[Entry]) -> tuple[Curve, ...]:
    """Every set of rows that are the same but for one number of one defence."""
    groups: dict[str, list[tuple[float, int]]] = {}
    titles: dict[str, str] = {}
    for place, entry in enumerate(entries):
        if entry.failure is not None or any(run.failure for run in entry.runs):
            continue
        for index, defence in enumerate(entry.experiment.get("defences", ())):
            for setting, value in defence.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                key = _blanked(entry.experiment, index, setting)
                titles[key] = f"{_stack(entry.experiment['defences'])}: {setting}"
                groups.setdefault(key, []).append((float(value), place))
    return tuple(
        Curve(titles[key], tuple(place for _, place in sorted(members)), tuple(value for value, _ in sorted(members)))
        for key, members in groups.items()
        if len({value for value, _ in members}) > 1
    )


def _blanked(experiment: dict[str, Any], index: int, setting: str) -> str:
    """Everything about an experiment but one setting of one defence and the seed."""
    defences = [dict(defence) for defence in experiment["defences"]]
    defences[index][setting] = None
    rest = {key: value for key, value in experiment.items() if key not in ("defences", "seed")}
    return json.dumps([rest, defences, index, setting], sort_keys=True)


def _digest(experiment: dict[str, Any]) -> str:
    """What an experiment is known by, whatever its seed."""
    plain = {key: value for key, value in experiment.items() if key != "seed"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def _stack(defences: Iterable[dict[str, Any]]) -> str:
    names = [str(one.get("kind")) + (", inference" if one.get("when") == "inference" else "") for one in defences]
    return " + ".join(names)


def _shared(values: Iterable[str]) -> str:
    """What all agree on; empty where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else ""


def _least(values: Iterable[float]) -> float | None:
    return min(values, default=None)
