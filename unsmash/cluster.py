"""Variants carried out on a Ray cluster that the user runs: the jobs, futures and outcomes are those of processes here.

unsmash connects to a cluster and never starts one: Ray listens on every interface and runs whatever it is sent, so who
opens one decides how it is closed (`RAY_AUTH_MODE=token`, `RAY_USE_TLS=1`, a private network). What travels is plain
text: a job as JSON to the worker, its outcome as JSON back. The runs themselves go through the store: a folder that all
machines share, or a depot by URL.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import asdict, dataclass, replace
from typing import Any

from unsmash.depot import Depot, local_store
from unsmash.errors import ConfigError, DependencyError, UnsmashError
from unsmash.events import Event
from unsmash.execute import Job, Outcome, Tell, work
from unsmash.plain import build
from unsmash.records import Failure

PAUSE = 0.25
"""Seconds between two looks at what workers have told"""


@dataclass
class Cluster:
    """Carries out each job as one Ray task, in a process of its own on whichever machine is free.

    Raises:
        ConfigError: there is no cluster at that address. DependencyError: Ray is not installed.
    """

    tell: Tell
    address: str
    """auto (the cluster of this machine), ray://host:port, or host:port"""
    processors: float = 1
    """Cores that a job takes, and threads that it may use"""
    accelerators: float = 0
    """GPUs that a job takes; a part of one lets several share it"""
    depot: str = ""
    """URL under which runs and trained victims are exchanged; empty where all machines share the store's folder"""

    def __post_init__(self) -> None:
        ray = _ray()
        if not ray.is_initialized():
            _connect(ray, self.address)
        self._work: Any = ray.remote(_carry_out)
        from ray.util.queue import Queue

        self.queue = Queue(actor_options={"num_cpus": 0})
        self.open = True
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.running: set[Any] = set()

    @property
    def slots(self) -> int:
        """Jobs that the cluster has room for at once."""
        has = _ray().cluster_resources()
        room = [has.get("CPU", 0) / self.processors if self.processors else float("inf")]
        room += [has.get("GPU", 0) / self.accelerators] if self.accelerators else []
        return max(1, int(min(room)))

    def submit(self, job: Job) -> Future[Outcome]:
        """Start a job as soon as the cluster has room for it."""
        plain = json.dumps({"name": job.name, "study": job.study, "options": job.options, "ids": list(job.ids)})
        # no retries of Ray's own: whose process died is tried again by who carries out the jobs, and told so
        task = self._work.options(
            name=f"unsmash {job.name}", num_cpus=self.processors, num_gpus=self.accelerators, max_retries=0
        )
        ref = task.remote(plain, self.depot, max(1, int(self.processors)), self.queue)
        self.running.add(ref)
        outcome: Future[Outcome] = Future()
        ref.future().add_done_callback(lambda done: self._take(ref, done, outcome))
        return outcome

    def stop(self) -> None:
        """Cancel what is running and leave the cluster as it was."""
        ray = _ray()
        for ref in list(self.running):
            with contextlib.suppress(Exception):
                ray.cancel(ref, force=True)
        self.open = False
        self.listener.join()
        with contextlib.suppress(Exception):
            self.queue.shutdown(force=True)
        ray.shutdown()

    def _take(self, ref: Any, done: Future[str], outcome: Future[Outcome]) -> None:
        """What a task has come to: its outcome, or the death of its process."""
        self.running.discard(ref)
        try:
            outcome.set_result(build(Outcome, json.loads(done.result())))
        except Exception as error:
            outcome.set_exception(BrokenExecutor(_died(error)))

    def _listen(self) -> None:
        from ray.util.queue import Empty

        while self.open:
            try:
                name, event = json.loads(self.queue.get(timeout=PAUSE))
            except Empty:
                continue
            except Exception:  # the cluster went away: every job says so itself
                return
            self.tell(name, Event(**event))


def _connect(ray: Any, address: str) -> None:
    hint = "Start one with `ray start --head --node-ip-address=127.0.0.1` or name another; unsmash never starts its own"
    hint += ". One that asks for a token or for TLS wants RAY_AUTH_TOKEN_PATH or RAY_USE_TLS here too"
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="unsmash")
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            "on", got=address, allowed="the address of a Ray cluster that runs", hint=f"{hint} ({first})"
        ) from None


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise DependencyError("--on needs Ray: pip install 'unsmash[ray]'") from None
    return ray


def _died(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# -- in a worker's process ---------------------------------------------------------------------------------------------


def _carry_out(plain: str, depot: str, threads: int, queue: Any) -> str:
    """One job, text in and text out. With a depot its runs are made in a folder of this machine and then put there."""
    import torch

    torch.set_num_threads(threads)
    given = json.loads(plain)
    job = Job(given["name"], given["study"], given["options"], ids=tuple(given["ids"]))

    def sink(event: Event) -> None:
        with contextlib.suppress(Exception):  # who started this may be gone: the work is worth finishing
            queue.put_nowait(json.dumps([job.name, asdict(event)]))

    outcome = work(job, sink, None) if not depot else _through(Depot(depot), job, sink)
    return json.dumps(asdict(outcome))


def _through(depot: Depot, job: Job, sink: Callable[[Event], None]) -> Outcome:
    here = local_store(depot.url)
    try:
        depot.fetch(here, job.ids)
        outcome = work(replace(job, options=job.options | {"out": str(here.root)}), sink, None)
        depot.put(here, outcome.runs)
    except UnsmashError as error:
        return Outcome(job.name, failure=Failure(type(error).__name__, str(error), "store"))
    return outcome
