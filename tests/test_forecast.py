"""What a study would do is what it then does; parts of a study add up to the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small import TINY

from unsmash import forecast, pipeline, victim
from unsmash.data.base import Splits
from unsmash.errors import ConfigError, UnsmashError
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.store import Store
from unsmash.sweeping import conduct, preview

STUDY: dict[str, Any] = {
    "data": TINY,
    "model": "shallow_net",
    "train": {"epochs": 2},
    "attacks": ["ridge", "gallery"],
    "sweep": {"defences": [[], [{"kind": "laplace", "scale": 0.1, "when": "inference"}]]},
    "variants": [{"name": "noisy", "defences": [{"kind": "gaussian", "sigma": 0.5}]}],
}
NAMES = ("no defence", "laplace 0.1, inference", "noisy")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts trainings."""
    counted: list[int] = []
    real = victim.train

    def train(model: Any, images: Any, labels: Any, plan: Any, lab: Any, held: Any) -> None:
        counted.append(plan.epochs)
        real(model, images, labels, plan, lab, held)

    monkeypatch.setattr(victim, "train", train)
    monkeypatch.setattr("unsmash.recogniser.STEPS", 12)
    return counted


def test_it_names_what_is_new_and_counts_the_trainings_that_will_be_made(tmp_path: Path, trained: list[int]) -> None:
    told = preview(STUDY, out=tmp_path)
    assert (told.known, told.new, told.runs) == ((), NAMES, 3)
    assert told.seconds is not None
    assert told.seconds > 0
    assert Store(tmp_path).folders() == []  # a look leaves nothing behind
    trained.clear()
    conduct(STUDY, out=tmp_path, workers=1)
    assert len(trained) == told.trainings == 2
    after = preview(STUDY, out=tmp_path)
    assert (after.known, after.new, after.runs, after.trainings, after.seconds) == (NAMES, (), 0, 0, None)
    more = preview(STUDY | {"seeds": 2}, out=tmp_path)
    assert (more.known, more.runs, more.trainings) == ((), 3, 2)


@pytest.mark.usefixtures("short_recogniser")
def test_a_limit_leaves_the_rest_for_later_and_the_parts_make_the_whole(tmp_path: Path) -> None:
    first = conduct(STUDY, out=tmp_path, workers=1, limit=1)
    assert ([row.name for row in first.frontier.rows], first.left) == (["no defence"], 2)
    second = conduct(STUDY, out=tmp_path, workers=1, limit=1)
    assert (len(second.frontier.rows), second.left) == (2, 1)
    whole = conduct(STUDY, out=tmp_path, workers=1)
    assert (len(whole.frontier.rows), whole.left) == (3, 0)
    apart = conduct(STUDY, out=tmp_path / "apart", workers=1)
    assert {row.name: row.runs for row in whole.frontier.rows} == {row.name: row.runs for row in apart.frontier.rows}
    assert whole.frontier.id == apart.frontier.id


@pytest.mark.usefixtures("short_recogniser")
def test_only_takes_the_variants_whose_names_match(tmp_path: Path) -> None:
    found = conduct(STUDY, out=tmp_path, workers=1, only=["laplace*", "no def?nce"])
    assert {row.name for row in found.frontier.rows} == set(NAMES[:2])
    with pytest.raises(ConfigError, match="allowed: no defence, laplace"):
        conduct(STUDY, out=tmp_path, only=["nothing*"])


def test_nothing_at_all_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        conduct(STUDY, out=tmp_path, workers=1, limit=0)


def test_time_grows_with_what_each_stage_uses(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    one = study({"data": TINY, "model": "shallow_net", "attacks": ["ridge", "rmle"]}).experiment
    took = {"victim": 10.0, "ridge": 1.0, "rmle": 100.0, "recogniser": 7.0, "control of ridge": 2.0, "total": 999.0}
    monkeypatch.setattr(forecast, "FEW", {"train": 30, "val": 10, "shadow": 40, "validator": 40, "victims": 20})

    def run(experiment: Any, splits: Splits, *_: Any, **__: Any) -> Any:
        assert experiment.train.epochs == 1
        assert (len(splits.train), len(splits.shadow), len(splits.victims)) == (30, 40, 20)
        return type("Measured", (), {"run": type("Run", (), {"seconds": took})})

    monkeypatch.setattr(pipeline, "run", run)
    training, rest = forecast.probe(one, digits, Lab())
    assert training == pytest.approx(10 / 30)
    shadow, victims = len(digits.shadow) / 40, len(digits.victims) / 20
    assert rest == pytest.approx(7 + 3 * shadow + 100 * victims)


def test_a_probe_that_fails_leaves_the_time_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> Any:
        raise UnsmashError("not today")

    monkeypatch.setattr(pipeline, "run", run)
    told = preview(STUDY, out=tmp_path)
    assert told.seconds is None
    assert told.runs == 3
