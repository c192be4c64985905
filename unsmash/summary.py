"""A stored run in short: what lists and tables show of it, without the numbers of single victims. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unsmash.records import Result, Run, Score
from unsmash.varied import flat

FIGURE = (
    "threat",
    "attack",
    "role",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "unit",
    "valid",
    "strong",
    "failure",
)
"""What each figure of a summary says, in order"""

Figure = tuple[Any, ...]


@dataclass(frozen=True)
class Summary:
    """One run in short."""

    id: str
    verdict: str
    """leaks, passes, inconclusive or failed"""
    data: str
    model: str
    at: str
    defences: list[str]
    """Labels in order"""
    seed: int
    identification: float | None
    """What the strongest attack identified, as a share"""
    attack: str | None
    """Name of that attack's result"""
    accuracy: float | None
    seconds: float | None
    started: str
    settings: dict[str, Any]
    """Every setting by its dotted path"""
    figures: list[Figure]
    """One for each result and metric, and for what the run costs; `FIGURE` names the parts"""


def summarise(run: Run, verdict: str) -> Summary:
    """A run in short; `verdict` is the word that was said of it."""
    attacks = [result for result in run.of_role("attack") if "identification" in result.scores]
    best = max(attacks, key=lambda result: result.scores["identification"].mean, default=None)
    split = run.split
    return Summary(
        id=run.id,
        verdict="failed" if run.failure else verdict,
        data=run.experiment.get("data", {}).get("kind", ""),
        model=split.model if split else run.experiment.get("model", {}).get("kind", ""),
        at=run.experiment.get("at", ""),
        defences=list(split.defences) if split else [],
        seed=run.seed,
        identification=best.scores["identification"].mean if best else None,
        attack=best.name if best else None,
        accuracy=run.utility.accuracy.mean if run.utility and run.utility.accuracy else None,
        seconds=run.seconds.get("total"),
        started=run.started,
        settings=flat(run.experiment),
        figures=[*_failed(run), *_costs(run), *(figure for result in run.results for figure in _result(result))],
    )


def _failed(run: Run) -> list[Figure]:
    """A run that did not finish has one line that says so: a table that leaves it out would hide it."""
    if run.failure is None:
        return []
    return [("", "", "run", "", None, None, None, None, "", None, None, run.failure.message)]


def _costs(run: Run) -> list[Figure]:
    """What the run costs: accuracy with and without the defence, bytes, work on the device, time."""
    made: list[Figure] = []
    if run.utility is not None:
        scores = {"accuracy": run.utility.accuracy, "undefended_accuracy": run.utility.undefended_accuracy}
        made += [_line("", "", "cost", name, score) for name, score in scores.items() if score is not None]
    if run.split is not None:
        numbers = (("bytes_sent", run.split.bytes_sent, "bytes"), ("device_macs", run.split.device_macs, "MACs"))
        made += [("", "", "cost", name, value, None, None, None, unit, None, None, "") for name, value, unit in numbers]
    if "total" in run.seconds:
        made.append(("", "", "cost", "seconds", run.seconds["total"], None, None, None, "s", None, None, ""))
    return made


def _result(result: Result) -> list[Figure]:
    if result.failure:
        return [(result.threat, result.name, result.role, "", None, None, None, None, "", False, None, result.failure)]
    card = (result.card.valid, result.card.strong) if result.role == "attack" else (None, None)
    return [_line(result.threat, result.name, result.role, name, score, *card) for name, score in result.scores.items()]


def _line(
    threat: str,
    attack: str,
    role: str,
    metric: str,
    score: Score,
    valid: bool | None = None,
    strong: bool | None = None,
) -> Figure:
    return (threat, attack, role, metric, score.mean, score.low, score.high, score.n, score.unit, valid, strong, "")
