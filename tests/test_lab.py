"""The lab: named streams, the global random state left as it was, and progress that reaches its end."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash.events import Event
from unsmash.lab import TICK_SECONDS, Lab, pick_device


def draw(lab: Lab, name: str) -> list[float]:
    return torch.rand(4, generator=lab.generator(name)).tolist()


@given(st.permutations(["a", "b", "c/d", "e", "a/b"]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_stream_does_not_depend_on_what_was_drawn_before(names: list[str]) -> None:
    lab = Lab(seed=3)
    fresh = {name: draw(Lab(seed=3), name) for name in sorted(names)}
    assert {name: draw(lab, name) for name in names} == fresh


def test_streams_differ_by_seed_path_and_name() -> None:
    labs = [Lab(seed=seed).at(path) for seed in (0, 1, 2**31) for path in ("train", "attack", "attack/decoder")]
    streams = {lab.stream(name) for lab in labs for name in ("x", "y")}
    assert len(streams) == 2 * len(labs)
    assert all(0 <= stream < 2**63 for stream in streams)
    assert Lab(seed=10, path="1").stream("x") != Lab(seed=1, path="01").stream("x")


def test_a_stream_is_the_same_in_another_process() -> None:
    code = "from unsmash.lab import Lab; print(Lab(seed=7).at('train').at('init').stream('weights'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "12"},
        timeout=120,
    )
    assert int(found.stdout) == Lab(seed=7).at("train").at("init").stream("weights")


def test_going_deeper_twice_is_going_deeper_once_by_both_names() -> None:
    assert Lab(seed=1).at("a").at("b").stream("x") == Lab(seed=1).at("a/b").stream("x")


def test_seeded_code_draws_the_named_stream_and_puts_the_global_state_back() -> None:
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    lab = Lab(seed=4)
    with lab.seeded("init"):
        first = torch.rand(3)
        with lab.seeded("inner"):
            torch.rand(5)
        second = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(1234)
    with lab.seeded("init"):
        assert torch.equal(torch.rand(3), first)
        assert torch.equal(torch.rand(3), second)


def test_seeded_code_that_raises_puts_the_global_state_back() -> None:
    before = torch.random.get_rng_state()

    def fails() -> None:
        with Lab().seeded("init"):
            torch.rand(3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_making_generators_leaves_the_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    torch.rand(3, generator=Lab().generator("x"))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("given_total", [None, 250])
def test_track_yields_every_step_and_tells_the_last(given_total: int | None) -> None:
    events: list[Event] = []
    lab = Lab(sink=events.append)
    steps = range(250) if given_total is None else iter(range(250))
    assert list(lab.track(steps, "train", given_total)) == list(range(250))
    assert all((event.kind, event.stage, event.total) == ("tick", "train", 250) for event in events)
    assert events[-1].step == 250
    counts = [event.step for event in events]
    assert counts == sorted(set(counts))


def test_track_tells_at_most_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**6))
    monkeypatch.setattr("unsmash.lab.time.monotonic", lambda: 50 + next(now) * TICK_SECONDS / 20)
    events: list[Event] = []
    list(Lab(sink=events.append).track(range(1000), "train"))
    assert 1000 / 25 < len(events) < 1000 / 20 + 3


def test_track_of_nothing_tells_nothing() -> None:
    events: list[Event] = []
    assert list(Lab(sink=events.append).track([], "train")) == []
    assert events == []


def test_a_stage_tells_its_start_and_how_it_ended() -> None:
    events: list[Event] = []
    lab = Lab(sink=events.append)
    with lab.stage("train", "Training") as told:
        told["say"], told["accuracy"] = "done", 0.5
    with pytest.raises(RuntimeError), lab.stage("attack"):
        raise RuntimeError
    assert [(event.kind, event.stage, event.text) for event in events] == [
        ("start", "train", "Training"), ("end", "train", "done"), ("start", "attack", "attack"), ("fail", "attack", ""),
    ]  # fmt: skip
    assert events[1].data == {"accuracy": 0.5}


def test_the_device_is_the_one_named() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("meta").type == "meta"
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


LIGHT = ("cli", "errors", "records", "judge", "store", "budget", "settings", "shelf", "events", "report")


def test_what_reads_records_imports_no_torch() -> None:
    code = f"""
import importlib, sys
for name in {LIGHT!r}:
    importlib.import_module("unsmash." + name)
    heavy = [m for m in ("torch", "torchvision", "torchmetrics", "sklearn", "skimage") if m in sys.modules]
    print(name, *heavy)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.split("\n") == [*LIGHT, ""]
