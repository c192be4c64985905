"""Audits from Python, of a user's own module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import TINY
from torch import nn

from unsmash.auditing import Audit, audit, summary
from unsmash.data.base import Splits
from unsmash.errors import ConfigError, CutError
from unsmash.events import Event
from unsmash.lab import Lab
from unsmash.split import SplitModel
from unsmash.split.train import Training, train
from unsmash.store import Store

ATTACKS = [{"kind": "ridge"}, {"kind": "gallery"}]


class Mine(nn.Module):
    """What a user has: not sequential, with dropout and BatchNorm, in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(216, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.features(x).flatten(1)))


@pytest.fixture
def mine(digits: Splits) -> Mine:
    with Lab().seeded("init"):
        net = Mine()
    train(SplitModel(net, nn.Identity()), digits.train.pixels, digits.train.labels, Training(epochs=8), Lab())
    return net


def made(net: nn.Module, out: Path, **settings: Any) -> Audit:
    return audit(data=TINY, model=net, at="features", out=out, attacks=ATTACKS, **settings)


@pytest.mark.usefixtures("short_recogniser")
def test_a_module_is_audited_with_the_weights_it_has(mine: Mine, digits: Splits, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    mine.train()
    found = made(mine, tmp_path)
    assert mine.training  # left as it was
    assert all(torch.equal(before[name], tensor) for name, tensor in mine.state_dict().items())
    run = found.runs[0]
    assert run.utility is not None
    assert run.utility.accuracy is not None
    assert run.utility.trained_epochs == 0
    mine.eval()
    images = torch.cat([digits.victims.pixels, digits.val.pixels])
    labels = torch.cat([digits.victims.labels, digits.val.labels])
    assert run.utility.accuracy.mean == pytest.approx((mine(images).argmax(1) == labels).double().mean().item())
    assert run.split is not None
    assert run.split.shapes == ((6, 6, 6),)
    assert run.split.device_parameters == 6 * 9 + 6 + 12
    assert found.report.is_file()
    assert found.verdict.word == "leaks"  # six maps of an 8 × 8 image, undefended


@pytest.mark.usefixtures("short_recogniser")
def test_the_same_module_is_known_and_a_changed_one_is_not(mine: Mine, tmp_path: Path) -> None:
    events: list[Event] = []
    first = made(mine, tmp_path)
    again = made(mine, tmp_path, progress=events.append)
    assert again.runs == first.runs
    assert not [event for event in events if event.stage == "ridge"]
    with torch.no_grad():
        mine.head.bias[0] += 1e-3
    assert made(mine, tmp_path).runs[0].id != first.runs[0].id
    assert len(Store(tmp_path).folders()) == 2


@pytest.mark.usefixtures("short_recogniser")
def test_several_seeds_give_a_run_each_and_one_verdict(tmp_path: Path) -> None:
    settings: Any = {"train": {"epochs": 1}, "defences": [{"kind": "laplace", "scale": 0.2}], "seeds": 2}
    found = audit(data=TINY, model="shallow_net", out=tmp_path, attacks=ATTACKS, **settings)
    assert [run.seed for run in found.runs] == [0, 1]
    assert found.verdict.seeds == 2
    assert found.runs[0].id != found.runs[1].id
    assert summary(found)["ids"] == [run.id for run in found.runs]
    accuracies = [run.utility.accuracy.mean for run in found.runs if run.utility and run.utility.accuracy]
    assert summary(found)["accuracy"] == pytest.approx(sum(accuracies) / 2)


@pytest.mark.usefixtures("short_recogniser")
def test_progress_tells_every_stage_and_closes_it(tmp_path: Path) -> None:
    events: list[Event] = []
    audit(data=TINY, model="shallow_net", out=tmp_path, attacks=ATTACKS, train={"epochs": 1}, progress=events.append)
    opened = [event.stage for event in events if event.kind == "start"]
    assert opened == [event.stage for event in events if event.kind == "end"]
    assert {"data", "victim", "recogniser", "ridge", "gallery", "report"} <= set(opened)


@pytest.mark.usefixtures("short_recogniser")
def test_an_audit_leaves_torch_as_the_caller_had_it(tmp_path: Path) -> None:
    def settings() -> tuple[Any, ...]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.random.get_rng_state().tolist(),
        )

    before, during = settings(), []
    audit(
        data=TINY,
        model="shallow_net",
        out=tmp_path,
        attacks=ATTACKS,
        train={"epochs": 1},
        progress=lambda event: during.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert all(during)
    assert settings() == before


def test_mistakes_are_errors_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no_such_option"):
        audit(data=TINY, model="shallow_net", out=tmp_path, no_such_option=1)
    with pytest.raises(ConfigError, match="at: got"):
        audit(data=TINY, model=Mine(), out=tmp_path)
    with pytest.raises(CutError, match="features"):
        audit(data=TINY, model=Mine(), at="feature", out=tmp_path)
    assert not Store(tmp_path).folders()


def test_a_module_that_does_not_fit_the_images_is_told(tmp_path: Path) -> None:
    wrong = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 10))
    with pytest.raises(CutError) as caught:
        audit(data=TINY, model=wrong, at="0", out=tmp_path)
    assert "\n" not in str(caught.value)
