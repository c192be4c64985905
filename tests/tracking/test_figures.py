"""What trackers are told of a run: all of it, under names they take."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import Any

import builders
import kept
import pytest

from unsmash.events import Event
from unsmash.judge import judge
from unsmash.tracking import figures

NAME = re.compile(r"^[/\w.\- :]{1,250}$")
"""What MLflow takes as the name of a parameter or metric"""


def accepted(name: str) -> bool:
    return bool(NAME.match(name)) and posixpath.normpath(name) == name and not name.startswith(("/", ".."))


def at(plain: Any, path: str) -> Any:
    for step in path.split("."):
        plain = plain[int(step)] if isinstance(plain, list | tuple) else plain[step]
    return plain


def test_parameters_are_every_setting_under_the_path_that_set_takes() -> None:
    plain = {
        "data": {"kind": "digits", "train": 120},
        "at": "0",
        "defences": [{"kind": "laplace", "scale": 1.5}, {"kind": "clip", "ends": [0, 1]}],
        "threats": [{"name": "query", "grants": ["queries", "shadow"], "asked": True}],
        "train": {"epochs": None},
    }
    found = figures.parameters(kept.run(experiment=plain, split=None))
    assert found.pop("defences") == "laplace + clip"
    said = {"true": True, "null": None, "[0, 1]": [0, 1], "queries, shadow": ["queries", "shadow"], "1.5": 1.5}
    for path, value in found.items():
        assert at(plain, path) in (said.get(value, value), int(value) if value.isdigit() else value)
        assert accepted(path)
    leaves = {"data.kind", "data.train", "at", "defences.0.kind", "defences.0.scale", "defences.1.kind"}
    leaves |= {"defences.1.ends", "threats.0.name", "threats.0.grants", "threats.0.asked", "train.epochs"}
    assert set(found) == leaves


def test_no_defence_is_said() -> None:
    assert figures.parameters(kept.run(experiment={"defences": []}, split=None)) == {"defences": "none"}


def test_metrics_hold_every_score_with_both_ends() -> None:
    run = kept.run()
    found = figures.metrics(run)
    assert run.classes is not None
    results: list[tuple[str, Any]] = [(result.name, result) for result in run.results]
    results += [(f"classes/{result.name}", result) for result in run.classes.results]
    for name, result in results:
        for metric, score in result.scores.items():
            assert found[f"{name}/{metric}"] == score.mean
            assert found[f"{name}/{metric}_low"] == score.low
            assert found[f"{name}/{metric}_high"] == score.high
    assert run.utility is not None
    assert run.utility.accuracy is not None
    assert found["accuracy_low"] == run.utility.accuracy.low
    assert found["bounds/ceiling_messages"] == 0.1
    assert not [name for name in found if "epsilon" in name]  # no finite value: nothing to draw
    assert (found["latency_ms/median"], found["latency_ms/p95"]) == run.latency_ms
    assert found["seconds/total"] == run.seconds["total"]
    assert all(accepted(name) for name in found)


def test_an_attack_that_proves_nothing_is_marked() -> None:
    weak = builders.attack("decoder", 0, card=replace(builders.STRONG, collapsed=True))
    found = figures.metrics(builders.run([weak, builders.attack("ridge", 3), builders.attack("broken", failure="no")]))
    assert (found["decoder/valid"], found["ridge/valid"], found["broken/valid"]) == (0.0, 1.0, 0.0)
    assert "broken/identification" not in found


def test_names_that_would_be_one_are_told_apart() -> None:
    run = builders.run([builders.attack("decoder@repeat", 1), builders.attack("decoder_at_repeat", 9)])
    found = figures.metrics(run)
    shares = [value for name, value in found.items() if re.fullmatch(r"decoder_at_repeat/identification(_2)?", name)]
    assert shares == [0.01, 0.09]


@pytest.mark.parametrize("name", ["a@b(c=1, d)/x", "/", "..", "a//b/", "ünï/ß", "x" * 300, "a/../b", "|", "\n"])
def test_clean_names_are_taken_and_stay(name: str) -> None:
    assert accepted(figures.clean(name))
    assert figures.clean(figures.clean(name)) == figures.clean(name)


def test_the_judgement_is_each_adversarys_share_and_limit() -> None:
    threats = (builders.threat(), builders.threat("gallery", asked=False, candidates=True))
    run = builders.run([builders.attack("ridge", 7), builders.attack("list", 9, threat="gallery")], threats)
    found = figures.judgement(judge([run], "identification>0.05"))
    assert found["adversary/query/identified"] == pytest.approx(0.07)
    assert found["adversary/query/limit"] == 0.05
    assert found["adversary/gallery/identified"] == pytest.approx(0.09)
    assert "adversary/gallery/limit" not in found
    assert figures.judgement(None) == {}


def test_progress_is_drawn_by_step_under_the_stage_it_is_part_of() -> None:
    points = figures.steps(Event(**event) for event in kept.EVENTS)  # type: ignore[arg-type]
    series: dict[str, list[figures.Point]] = {}
    for point in points:
        series.setdefault(point.name, []).append(point)
    assert set(series) == {"progress/victim/train", "progress/victim/train_2", "victim/loss"}
    first = series["progress/victim/train"]
    assert len(first) <= figures.POINTS
    assert [first[0].step, first[-1].step] == [1, 200]
    assert all(point.value == point.step / 200 and point.at == 100.0 + point.step for point in first)
    assert [point.step for point in first] == sorted({point.step for point in first})
    assert [(point.value, point.step) for point in series["progress/victim/train_2"]] == [(0.25, 1)]
    assert [(point.value, point.step) for point in series["victim/loss"]] == [(0.25, 4)]
