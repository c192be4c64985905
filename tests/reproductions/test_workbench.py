"""Steps are made once, under a key of what they depend on, and what is loaded is what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unsmash.errors import TrainingError
from unsmash.events import Event
from unsmash.lab import Lab
from unsmash.reproductions.workbench import Made, Workbench


def bench(tmp_path: Path, **lab: Any) -> Workbench:
    return Workbench("paper", Lab(**lab), tmp_path, tmp_path / "cache")


def draw(lab: Lab) -> Made:
    return Made({"drawn": torch.rand((), generator=lab.generator("x")).item()}, {"a": torch.arange(3)})


def never(lab: Lab) -> Made:
    raise AssertionError("it was kept")


def test_a_step_is_made_once_and_comes_back_whole(tmp_path: Path) -> None:
    told: list[Event] = []
    first = bench(tmp_path).once("one", {"n": 3}, draw)
    again = bench(tmp_path, sink=told.append).once("one", {"n": 3}, never)
    assert again.figures == first.figures
    assert torch.equal(again.arrays["a"], first.arrays["a"])
    assert set(again.arrays) == {"a"}
    assert told[-1].text == "kept from before"


def test_other_settings_seeds_steps_and_papers_are_other_steps(tmp_path: Path) -> None:
    def key(paper: str = "paper", step: str = "one", n: int = 3, seed: int = 0) -> Any:
        one = Workbench(paper, Lab(seed=seed), tmp_path, tmp_path / "cache")
        return one.once(step, {"n": n}, draw).figures["drawn"]

    base = key()
    assert key() == base
    assert len({base, key("other"), key(step="two"), key(seed=1)}) == 4  # random streams are named after them
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 4
    key(n=4)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 5


def test_a_step_without_arrays_is_kept_too(tmp_path: Path) -> None:
    bench(tmp_path).once("one", {}, lambda lab: Made({"a": [1, None, "x"]}))
    assert bench(tmp_path).once("one", {}, never) == Made({"a": [1, None, "x"]})


def test_what_failed_is_not_kept(tmp_path: Path) -> None:
    def fail(lab: Lab) -> Made:
        raise TrainingError("not finite")

    with pytest.raises(TrainingError):
        bench(tmp_path).once("one", {}, fail)
    with pytest.raises(ValueError, match="JSON"):
        bench(tmp_path).once("one", {}, lambda lab: Made({"a": float("nan")}))
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert bench(tmp_path).once("one", {}, draw).figures


def test_work_is_counted_whenever_it_was_done(tmp_path: Path) -> None:
    one = bench(tmp_path)
    one.once("one", {}, draw)
    other = bench(tmp_path)
    other.once("one", {}, never)
    assert other.seconds == one.seconds > 0


def test_a_kept_network_is_the_one_that_was_trained(tmp_path: Path) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))

    def train(net: nn.Module, lab: Lab) -> dict[str, Any]:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.copy_(torch.rand(parameter.shape, generator=lab.generator("w")))
        net.train()(torch.rand(8, 2, generator=lab.generator("x")))
        return {"passes": 1}

    def fail(net: nn.Module, lab: Lab) -> dict[str, Any]:
        raise AssertionError("it was kept")

    trained, told = bench(tmp_path).network("net", {}, net(), train)
    again, also = bench(tmp_path).network("net", {}, net(), fail)
    assert told == also == {"passes": 1}
    assert not again.training
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
