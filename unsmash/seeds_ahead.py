"""Seeds of one experiment measured side by side: each run goes to the store, where an audit of all of them finds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unsmash import execute
from unsmash.events import Event, Sink
from unsmash.execute import Job, Processes
from unsmash.experiment import Study
from unsmash.variants import trainings


def measure(study: Study, workers: int, options: Mapping[str, Any], progress: Sink) -> None:
    """Measure each seed of a study in a process of its own, so many at a time; with one worker there is nothing to do.

    `options` are those of `auditing.conduct`, as plain data. What fails here says so when the audit meets it again.
    """
    if min(workers, len(study.seeds)) < 2:
        return
    plain = study.experiment.model_dump(mode="json") | {"fail_if": study.fail_if, "name": study.name}
    jobs = [
        Job(f"seed {seed}", plain | {"seeds": [seed]}, dict(options), (needed,))
        for seed, needed in zip(study.seeds, trainings(study), strict=True)
    ]
    slots = min(workers, len(jobs))

    def tell(name: str, event: Event) -> None:
        if (shown := execute.bar(name, event)) is not None:
            progress(shown)

    executor = Processes(tell, slots, threads=execute.threads_of(slots))
    try:
        for outcome in execute.carry_out(jobs, executor, slots, lambda job: progress(Event("start", job.name))):
            failed = outcome.failure
            progress(Event("fail" if failed else "end", outcome.name, failed.message if failed else "measured"))
    finally:
        executor.stop()
