"""From a run's record to what every tracker takes: flat settings, flat figures, and figures by step."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unsmash.events import Event
from unsmash.records import ClassResult, Result, Run, Score
from unsmash.verdicts import Verdict

POINTS = 40
"""Most points of one series: ticks come ten times a second"""


@dataclass(frozen=True)
class Point:
    """One figure of a series."""

    name: str
    value: float
    step: int
    at: float
    """Seconds since the epoch"""


def parameters(run: Run) -> dict[str, str]:
    """Every setting of the experiment under the path that `--set` takes: `train.epochs`, `attacks.2.size`.

    `defences` alone names them all, so that runs can be told apart in one column.
    """
    named = run.split.defences if run.split is not None else ()
    named = named or tuple(str(one.get("kind", "")) for one in run.experiment.get("defences", ()))
    flat = dict(_leaves(run.experiment, ""))
    return _unique({"defences": " + ".join(named) or "none"} | {path: _said(value) for path, value in flat.items()})


def metrics(run: Run) -> dict[str, float]:
    """Every figure of a run: `decoder/ssim` with `decoder/ssim_low` and `_high`, costs, bounds, and wall times.

    `decoder/valid` is 0 where the attack's low numbers mean nothing; one that did not finish has no figures.
    """
    found: dict[str, float] = {}
    for result in run.results:
        found |= _result(result, result.name)
    for inverted in run.classes.results if run.classes else ():
        found |= _result(inverted, f"classes/{inverted.name}")
    if run.utility is not None:
        scores = {"accuracy": run.utility.accuracy, "undefended_accuracy": run.utility.undefended_accuracy}
        scores |= {f"accuracy/{name}": score for name, score in run.utility.questions.items()}
        scores |= {f"undefended_accuracy/{name}": score for name, score in run.utility.undefended_questions.items()}
        for name, score in scores.items():
            found |= _score(name, score)
    found |= {f"bounds/{bound.name}": bound.value for bound in run.bounds if bound.value is not None}
    for name, score in run.dependence.items():
        found |= _score(f"dependence/{name}", score)
    found |= _score("recogniser", run.recogniser)
    if run.split is not None:
        found |= {name: float(getattr(run.split, name)) for name in ("bytes_sent", "device_macs", "device_parameters")}
    if run.latency_ms:
        found |= dict(zip(("latency_ms/median", "latency_ms/p95"), run.latency_ms, strict=False))
    found |= {f"seconds/{name}": value for name, value in run.seconds.items()}
    return _unique({name: value for name, value in found.items() if math.isfinite(value)})


def judgement(verdict: Verdict | None) -> dict[str, float]:
    """What the verdict says of each adversary: the share its strongest attack identifies, and the limit."""
    found: dict[str, float] = {}
    for one in verdict.adversaries if verdict is not None else ():
        if one.attack:
            share = {"identified": one.count / max(one.n, 1), "identified_low": one.low, "identified_high": one.high}
            found |= {f"adversary/{one.threat}/{name}": value for name, value in share.items()}
        if one.limit is not None:
            found[f"adversary/{one.threat}/limit"] = one.limit
    return _unique(found)


def steps(happened: Iterable[Event]) -> list[Point]:
    """Figures by step: how far each stage was and when, and whatever numbers an event carries.

    A stage that works under a name of its own stands under the stage it is part of: `progress/victim/train`.
    """
    series: dict[str, list[Point]] = {}
    inside: list[str] = []
    rounds: dict[str, tuple[int, int]] = {}
    for event in happened:
        if event.kind == "start":
            inside.append(event.stage)
        elif event.kind in ("end", "fail") and event.stage in inside:
            del inside[inside.index(event.stage) :]
        path = "/".join(dict.fromkeys([*inside, event.stage]))
        if event.kind == "tick" and event.total:
            number, last = rounds.get(path, (1, 0))
            number += event.step <= last  # the same work, begun again
            rounds[path] = (number, event.step)
            name = f"progress/{path}" + (f"_{number}" if number > 1 else "")
            series.setdefault(name, []).append(Point(name, event.step / event.total, event.step, event.at))
        for key, value in event.data.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                series.setdefault(f"{path}/{key}", []).append(Point(f"{path}/{key}", value, event.step, event.at))
    names = _unique({name: name for name in series})
    cleaned = dict(zip(series, names, strict=True))
    return [
        Point(cleaned[point.name], point.value, point.step, point.at)
        for points in series.values()
        for point in _thinned(points)
    ]


def began(run: Run) -> float | None:
    """When a run was started, in seconds since the epoch; None where that is not known."""
    return datetime.datetime.fromisoformat(run.started).timestamp() if run.started else None


def clean(name: str) -> str:
    """A name that every tracker takes: letters, digits, and `_ - . /`; no empty part.

    >>> clean("decoder@repeat/identification"), clean("ridge(images=40)/ssim"), clean("../a//b")
    ('decoder_at_repeat/identification', 'ridge_images_40/ssim', '_/a/_/b')
    """
    parts = [re.sub(r"[^\w.-]+", "_", part.replace("@", "_at_")).rstrip("_") for part in name.split("/")]
    return "/".join("_" if part.strip("._") == "" else part for part in parts)[:200]


def _result(result: Result | ClassResult, name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric, score in result.scores.items():
        found |= _score(f"{name}/{metric}", score)
    if isinstance(result, Result) and result.role != "floor":
        found[f"{name}/valid"] = float(result.card.valid and not result.failure)
    return found


def _score(name: str, score: Score | None) -> dict[str, float]:
    return {} if score is None else {name: score.mean, f"{name}_low": score.low, f"{name}_high": score.high}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{index}")
    elif not (path == "defences" and not value):
        yield path, value


def _said(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _thinned(points: list[Point]) -> list[Point]:
    """The first and the last, and evenly spread ones between."""
    if len(points) <= POINTS:
        return points
    return [points[round(index * (len(points) - 1) / (POINTS - 1))] for index in range(POINTS)]


def _unique(named: Mapping[str, Any]) -> dict[str, Any]:
    """Names made clean; those that then collide are numbered."""
    out: dict[str, Any] = {}
    for name, value in named.items():
        first, number = clean(name), 2
        key = first
        while key in out:
            key, number = f"{first}_{number}", number + 1
        out[key] = value
    return out
