"""Carrying out jobs: each once, none beside another that is making what it needs, and what fails is data."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import TINY

from unsmash import auditing, execute
from unsmash.data.digits import Digits
from unsmash.errors import ConfigError, TrainingError
from unsmash.events import Event, silent
from unsmash.execute import Here, Job, Made, Outcome, carry_out, work
from unsmash.lab import Lab
from unsmash.records import Failure
from unsmash.store import Store

PLAIN = {"data": TINY, "model": "shallow_net", "train": {"epochs": 1}, "attacks": ["ridge", "gallery"], "seeds": [0, 1]}


def job(name: str, rests: str = "") -> Job:
    return Job(name, {}, {}, (frozenset(rests),))


@dataclass
class Bench:
    """An executor whose jobs end when the test says so: the last one started first, unless another order is given."""

    pick: Callable[[list[Job]], int] = lambda running: -1
    breaks: Callable[[Job, int], bool] = lambda job, tries: False
    running: dict[str, tuple[Job, Future[Outcome]]] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    together: list[set[str]] = field(default_factory=list)
    """Who ran beside whom, at each start"""
    made: set[str] = field(default_factory=set)

    def submit(self, job: Job) -> Future[Outcome]:
        for other, _ in self.running.values():
            assert not job.rests & other.rests - self.made, f"{job.name} and {other.name} both make what they rest on"
        future: Future[Outcome] = Future()
        self.running[job.name] = (job, future)
        self.started.append(job.name)
        self.together.append(set(self.running))
        return future

    def stop(self) -> None:
        self.running.clear()

    def step(self, *_: Any, **__: Any) -> None:
        """One job ends, and if it breaks its process all the others of the pool end with it."""
        names = list(self.running)
        job, future = self.running.pop(names[self.pick([self.running[name][0] for name in names])])
        if self.breaks(job, self.started.count(job.name)):
            for broken in (future, *(other for _, other in self.running.values())):
                broken.set_exception(BrokenExecutor("killed"))
            self.running.clear()
        else:
            self.made |= job.rests
            future.set_result(Outcome(job.name))


def carried(
    jobs: list[Job], bench: Bench, slots: int, monkeypatch: pytest.MonkeyPatch, begun: Callable[[Job], object] = repr
) -> list[Outcome]:
    real = execute.wait

    def wait(futures: Any, **how: Any) -> Any:
        bench.step()
        return real(futures, **how)

    monkeypatch.setattr(execute, "wait", wait)
    return list(carry_out(jobs, bench, slots, begun))


# -- in which order ---------------------------------------------------------------------------------------------------


@given(
    st.lists(st.text("abc", max_size=2), max_size=7),
    st.integers(1, 4),
    st.lists(st.integers(0, 9), min_size=7, max_size=7),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_job_once_and_no_training_made_twice_at_a_time(rests: list[str], slots: int, order: list[int]) -> None:
    jobs = [job(str(number), text) for number, text in enumerate(rests)]
    picks = iter(order)
    bench = Bench(pick=lambda running: next(picks) % len(running))
    with pytest.MonkeyPatch.context() as patch:
        done = [outcome.name for outcome in carried(jobs, bench, slots, patch)]
    assert sorted(done) == sorted(bench.started) == [one.name for one in jobs]
    assert all(len(running) <= slots for running in bench.together)


def test_what_others_rest_on_runs_alone_and_then_they_run_together(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    jobs = [job("none", "u"), job("late", "u"), job("later", "u"), job("apart", "v")]
    carried(jobs, bench, 3, monkeypatch)
    assert bench.together[:2] == [{"none"}, {"none", "apart"}]
    assert {"late", "later"} <= bench.together[-1]


def test_what_rests_on_a_training_starts_when_it_is_made_not_when_its_job_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job("first", {}, {}, (frozenset("u"), frozenset("v"))), job("after u", "u"), job("after v", "v")]
    made, bench, looks = Made(jobs), Bench(), list[set[str]]()

    def wait(futures: Any, timeout: float | None = None, **how: Any) -> Any:
        looks.append(set(bench.running))
        if timeout is None:  # nobody is held back
            bench.step()
        else:  # one run more of the first job has its victim; the second is known from before
            made.hear("first", Event("end", "victim") if len(looks) == 1 else Event("note", "store"))
            bench.made |= made.now()
        return execute_wait(futures, timeout=timeout and 0, **how)

    execute_wait = execute.wait
    monkeypatch.setattr(execute, "wait", wait)
    done = [one.name for one in carry_out(jobs, bench, 3, lambda _: None, made)]
    assert looks[:3] == [{"first"}, {"first", "after u"}, {"first", "after u", "after v"}]
    assert sorted(done) == ["after u", "after v", "first"]


def test_other_events_make_nothing() -> None:
    made = Made([job("a", "u")])
    for event in (Event("start", "victim"), Event("fail", "victim"), Event("end", "recogniser"), Event("note", "data")):
        made.hear("a", event)
    made.hear("b", Event("end", "victim"))
    assert not made.now()


def test_each_start_is_announced_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    bench = Bench()
    carried([job("a"), job("b")], bench, 1, monkeypatch, lambda one: told.append(f"{one.name} {len(bench.started)}"))
    assert told == ["a 0", "b 1"]


# -- processes that die -----------------------------------------------------------------------------------------------


def test_neighbours_of_a_killed_job_are_tried_again_and_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(pick=lambda running: 0, breaks=lambda job, tries: job.name == "b")
    outcomes = {one.name: one for one in carried([job("a"), job("b"), job("c"), job("d")], bench, 3, monkeypatch)}
    assert set(outcomes) == set("abcd")
    assert [name for name, one in outcomes.items() if one.failure] == ["b"]
    failure = outcomes["b"].failure
    assert failure is not None
    assert "--workers" in failure.message
    assert bench.started.count("b") == 2
    second = [place for place, name in enumerate(bench.started) if name == "b"][1]
    assert bench.together[second] == {"b"}  # alone, so that it is known who it was


def test_a_job_killed_once_may_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(breaks=lambda job, tries: tries == 1)
    outcomes = carried([job("a"), job("b")], bench, 2, monkeypatch)
    assert [one.failure for one in outcomes] == [None, None]


# -- one job ----------------------------------------------------------------------------------------------------------


def real_job(out: Path, **changes: Any) -> Job:
    return Job("row", PLAIN | changes, {"out": str(out), "root": None, "device": "cpu"})


@pytest.mark.usefixtures("short_recogniser")
def test_a_job_is_an_audit_and_knows_what_it_found_in_the_store(tmp_path: Path) -> None:
    splits = Digits.model_validate(TINY).load(Path())
    events: list[Event] = []
    first = work(real_job(tmp_path), events.append, splits)
    assert first.failure is None
    assert not first.known
    assert len(first.runs) == 2
    assert [run.id for run in Store(tmp_path).runs()] == list(first.runs)
    assert [run.seed for run in Store(tmp_path).runs()] == [0, 1]
    assert "data" not in [event.stage for event in events]  # it was handed the images
    again = work(real_job(tmp_path), silent, splits)
    assert again.known
    assert again.runs == first.runs
    other = work(real_job(tmp_path, seeds=[0, 1, 2]), silent, None)
    assert not other.known
    assert other.runs[:2] == first.runs


def test_what_stops_a_job_is_its_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = Digits.model_validate(TINY).load(Path())

    def fail(error: Exception) -> Outcome:
        def measure(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(auditing, "measure", measure)
        return work(real_job(tmp_path), silent, splits)

    stopped = fail(TrainingError("NaN at step 3"))
    assert stopped.failure == Failure("TrainingError", "NaN at step 3", "start")
    (stored,) = stopped.runs
    assert Store(tmp_path).load(stored).failure == stopped.failure
    mistake = fail(ConfigError("at", got="x", allowed="y"))
    assert mistake.failure is not None
    assert mistake.failure.error == "ConfigError"
    assert mistake.runs == ()
    bug = fail(KeyError("z"))
    assert bug.failure == Failure("KeyError", f"'z' ({Path(__file__).name}, line {_line()})", "start")
    assert bug.runs == ()


def _line() -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, text in enumerate(lines, start=1) if text.strip() == "raise error")


def test_a_study_that_cannot_be_read_is_an_outcome_too(tmp_path: Path) -> None:
    outcome = work(Job("row", {"data": "digts"}, {"out": str(tmp_path)}), silent, None)
    assert outcome.failure is not None
    assert "digits" in outcome.failure.message


def test_here_gives_the_outcome_at_once_and_tells_under_the_jobs_name(tmp_path: Path) -> None:
    told: list[tuple[str, Event]] = []
    splits = Digits.model_validate(TINY).load(Path())
    here = Here(lambda name, event: told.append((name, event)), lambda job: splits)
    future = here.submit(real_job(tmp_path, model="no_such"))
    assert future.done()
    assert future.result().failure is not None
    here.stop()
    assert not told


# -- how many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cores", "device", "workers"), [
    (1, "cpu", 1), (2, "cpu", 1), (3, "cpu", 1), (4, "cpu", 2), (16, "cpu", 8), (16, "cuda", 1), (8, "mps", 1),
])  # fmt: skip
def test_usual_workers(cores: int, device: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "cores", lambda: cores)
    assert execute.usual_workers(device) == workers


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= execute.cores() <= (os.cpu_count() or 1)


def test_paths_travel_as_text() -> None:
    given_ = Job("a", {}, {"out": "runs", "root": None, "device": "cpu"}).given()
    assert given_ == {"out": Path("runs"), "root": None, "device": "cpu"}
    assert Lab().device.type == "cpu"
