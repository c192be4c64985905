"""Variants carried out side by side: plain jobs in, run ids or a failure out; the store holds the runs.

The interface is that of concurrent.futures: whatever has `submit(job)` and gives back a future can carry out jobs.
`Here` does it at once in this process, `Processes` in spawned ones. No two jobs that rest on the same training run at
the same time before it is made, so that no worker stands idle at the lock which lets each training happen once.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, parent_process
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from unsmash import auditing
from unsmash import experiment as experiments
from unsmash.data.base import Splits
from unsmash.errors import UnsmashError
from unsmash.events import Event, Sink
from unsmash.lab import Lab
from unsmash.records import Failure

if TYPE_CHECKING:
    from torch import nn

PAUSE = 0.1
"""Seconds between two looks at whether a training that others wait for is made"""

Tell = Callable[[str, Event], None]
"""Takes a job's name and something that happened in it"""


@dataclass(frozen=True)
class Job:
    """One variant to carry out, as plain data that any process can be sent."""

    name: str
    study: dict[str, Any]
    """The experiment with its seeds and budget, as `experiment.study` reads it"""
    options: dict[str, Any]
    """Where and how, as `auditing.conduct` takes it"""
    trainings: tuple[frozenset[str], ...] = ()
    """Trainings it rests on, by name, for each seed in the order of its runs"""
    ids: tuple[str, ...] = ()
    """The runs it makes, where that is known beforehand"""

    @property
    def rests(self) -> frozenset[str]:
        """Trainings that any of its runs rests on."""
        return frozenset[str]().union(*self.trainings)

    def given(self) -> dict[str, Any]:
        """The options with paths as paths."""
        places = {name: Path(self.options[name]) for name in ("out", "root") if self.options.get(name)}
        return self.options | places


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    name: str
    runs: tuple[str, ...] = ()
    """Run ids, one a seed; of a failed job the failed run, if one was stored"""
    failure: Failure | None = None
    seconds: float = 0.0
    known: bool = False
    """Every run was taken from the store"""


class Executor(Protocol):
    """Where jobs are carried out."""

    def submit(self, job: Job) -> Future[Outcome]:
        """Start a job; an executor whose process died gets a new one here."""
        ...

    def stop(self) -> None:
        """Stop what is running and wait until nothing of it is left half-written."""
        ...


def bar(name: str, event: Event) -> Event | None:
    """What happened in a job as it is shown beside others: its bar moves, only warnings are worth a line."""
    if event.kind == "warning":
        return replace(event, text=f"{name}: {event.text}")
    if event.kind in ("start", "tick"):
        text = f"{name} · {event.stage}" if event.kind == "start" else ""
        return Event("tick", name, text, event.step, event.total or 100, at=event.at)
    return None


class Made:
    """Which trainings have been made, as the jobs tell it: what rests on one need not wait for its job's attacks."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.steps = {job.name: list(job.trainings) for job in jobs}
        self.names = set[str]()
        self.lock = threading.Lock()

    def hear(self, name: str, event: Event) -> None:
        """A run has its victim, or is known: its trainings are made."""
        if (event.kind, event.stage) in (("end", "victim"), ("note", "store")):
            with self.lock:
                self.names |= self.steps[name].pop(0) if self.steps.get(name) else set()

    def add(self, job: Job) -> None:
        """A job has come to its end: nobody makes its trainings any more."""
        with self.lock:
            self.names |= job.rests

    def now(self) -> set[str]:
        """Those made so far."""
        with self.lock:
            return set(self.names)


def carry_out(
    jobs: Sequence[Job], executor: Executor, slots: int, begun: Callable[[Job], object], made: Made | None = None
) -> Iterator[Outcome]:
    """Carry out all jobs, as many at a time as there are slots, and give each one's outcome when it is there.

    A job whose process died may have been the one that was killed or its neighbour: each is tried again alone. `made`
    is told what happens in the jobs, where somebody tells it; without it a training is made when its job has ended.
    """
    waiting, running = list(jobs), dict[Future[Outcome], Job]()
    suspects: list[Job] = []
    tried: set[str] = set()
    made = made or Made(jobs)
    while waiting or running or suspects:
        for job in _next(waiting, suspects, list(running.values()), made.now(), slots):
            begun(job)
            running[executor.submit(job)] = job
        held_back = PAUSE if waiting and len(running) < slots and not suspects else None
        for future in wait(running, timeout=held_back, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            try:
                outcome = future.result()
            except BrokenExecutor:
                if job.name not in tried:
                    tried.add(job.name)
                    suspects.append(job)
                    continue
                told = "its process died, twice; was memory short? With fewer --workers each has more"
                outcome = Outcome(job.name, failure=Failure("BrokenExecutor", told, "start"))
            made.add(job)
            yield outcome


def _next(waiting: list[Job], suspects: list[Job], running: list[Job], made: set[str], slots: int) -> Iterator[Job]:
    """Jobs to start now, taken out of their lists: none that rests on a training which another is just making."""
    if suspects:
        if not running:
            yield suspects.pop(0)
        return
    busy = set[str]().union(*(job.rests - made for job in running))
    for job in list(waiting):
        if len(running) >= slots:
            return
        if not job.rests & busy:
            waiting.remove(job)
            running.append(job)
            busy |= job.rests - made
            yield job


def work(job: Job, sink: Sink, splits: Splits | None, module: nn.Module | None = None) -> Outcome:
    """Carry out one job; whatever stops it is its outcome."""
    started, taken = time.perf_counter(), itertools.count()

    def told(event: Event) -> None:
        if (event.kind, event.stage) == ("note", "store"):
            next(taken)
        sink(event)

    runs: tuple[str, ...] = ()
    failure = None
    try:
        study = experiments.study(job.study, trusted=True)
        found = auditing.conduct(study, progress=told, splits=splits, module=module, **job.given())
        runs = tuple(run.id for run in found.runs)
    except UnsmashError as error:
        stored = getattr(error, "run", "")
        runs = (stored,) if stored else ()
        failure = Failure(type(error).__name__, str(error), getattr(error, "stage", "start"))
    except Exception as error:
        failure = Failure(type(error).__name__, _unforeseen(error), "start")
    known = bool(runs) and next(taken) == len(runs)
    return Outcome(job.name, runs, failure, time.perf_counter() - started, known)


def _unforeseen(error: Exception) -> str:
    """An error that nobody raised on purpose: its first line, and where it came from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})" if trace else ""
    return (str(error).splitlines() or ["no message"])[0] + place


@dataclass
class Here:
    """Carries out each job at once, in this process."""

    tell: Tell
    load: Callable[[Job], Splits]
    """The images of a job"""
    module: nn.Module | None = None

    def submit(self, job: Job) -> Future[Outcome]:
        """The job's outcome, already there."""
        future: Future[Outcome] = Future()
        future.set_result(work(job, lambda event: self.tell(job.name, event), self.load(job), self.module))
        return future

    def stop(self) -> None:
        """Nothing is left running here."""


@dataclass
class Processes:
    """Carries out jobs in spawned processes. What happens in them comes back through one queue and is told here."""

    tell: Tell
    workers: int
    threads: int
    """Of torch, in each process"""
    known: set[int] = field(default_factory=set)
    """Process ids of the workers"""

    def __post_init__(self) -> None:
        self._start()

    def submit(self, job: Job) -> Future[Outcome]:
        """Start a job in the next free process."""
        try:
            return self.pool.submit(_work, job)
        except BrokenExecutor:
            self._end()
            self._start()
            return self.pool.submit(_work, job)

    def stop(self) -> None:
        """Interrupt the jobs, and wait until they have cleared away what they had begun."""
        for pid in self.known:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        self._end()

    def _start(self) -> None:
        context = get_context("spawn")
        self.queue: SimpleQueue[Any] = context.SimpleQueue()
        self.listener = threading.Thread(target=self._listen, args=(self.queue,), daemon=True)
        self.listener.start()
        self.pool = ProcessPoolExecutor(
            self.workers, mp_context=context, initializer=_begin, initargs=(self.queue, self.threads)
        )

    def _end(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.queue.put(None)
        self.listener.join()
        self.known.clear()

    def _listen(self, queue: SimpleQueue[Any]) -> None:
        while (message := queue.get()) is not None:
            if isinstance(message, int):
                self.known.add(message)
            else:
                self.tell(*message)


# -- in a spawned process ----------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    """What a spawned process keeps between jobs."""

    queue: SimpleQueue[Any]
    splits: dict[str, Splits] = field(default_factory=dict)
    busy: bool = False

    def __call__(self, job: Job) -> Outcome:
        def sink(event: Event) -> None:
            self.queue.put((job.name, event))

        warnings.showwarning = lambda message, *_: sink(Event("warning", "python", str(message)))
        self.busy = True
        try:
            return work(job, sink, self._images(job, sink))
        finally:
            self.busy = False

    def _images(self, job: Job, sink: Sink) -> Splits | None:
        """A job's images, read once by each process; where that fails, the job itself says why."""
        data = experiments.study(job.study, trusted=True).experiment.data
        key = data.model_dump_json()
        try:
            if key not in self.splits:
                given = job.given()
                options = {name: given[name] for name in ("root", "allow_contamination") if name in given}
                self.splits = {key: auditing.load(data, Lab(sink=sink), **options)}
        except UnsmashError:
            return None
        return self.splits[key]

    def interrupt(self, *_: object) -> None:
        """Stop the job at hand, once; a process without one is stopped by its pool."""
        if self.busy:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise KeyboardInterrupt


_worker: _Worker | None = None


def _begin(queue: SimpleQueue[Any], threads: int) -> None:
    global _worker
    import torch

    _worker = _Worker(queue)
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process decides
    signal.signal(signal.SIGTERM, _worker.interrupt)
    threading.Thread(target=_follow, daemon=True).start()
    queue.put(os.getpid())


def _follow() -> None:
    """End with the process that started this one, even where that one was killed."""
    first = parent_process()
    if first is not None:
        first.join()
        os._exit(1)


def _work(job: Job) -> Outcome:
    assert _worker is not None
    return _worker(job)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_workers(device: str) -> int:
    """Processes where nobody says how many: half the cores, one on a small machine or where all would share one GPU."""
    return cores() // 2 if device == "cpu" and cores() > 2 else 1


def threads_of(workers: int) -> int:
    """Of each process, so that together they have no more than this one may use."""
    import torch

    return max(1, min(torch.get_num_threads(), cores()) // workers)
