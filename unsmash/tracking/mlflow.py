"""Runs in MLflow: on a server, or in a SQLite file and a folder beside the runs.

One MLflow experiment a study; a sweep's runs stand under a parent run of their own. Each run is found again by the tags
`unsmash.run` and `unsmash.record`, so it is there once, however often it is taken from the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from unsmash import frontier_record
from unsmash.errors import ConfigError, DependencyError
from unsmash.report.frontier_findings import headline
from unsmash.tracking import figures
from unsmash.tracking.base import Ending, Group, Stored

DEFAULT = "unsmash"
"""The MLflow experiment of studies without a name"""

RUN, RECORD, JUDGED, SWEEP = "unsmash.run", "unsmash.record", "unsmash.judged", "unsmash.sweep"
PARENT, NAME, NOTE = "mlflow.parentRunId", "mlflow.runName", "mlflow.note.content"
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tells its page to show runs and figures first, not prompts and traces"""
STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
VALUE, TAG, BATCH = 500, 5000, 100
"""Longest value of a parameter and of a tag, and parameters at a time: what older servers take too"""

ALWAYS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # nothing of ours is a pickle, and nothing may be read as one
    "MLFLOW_DISABLE_TELEMETRY": "true",  # what is audited is nobody else's business
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output is for --json
}
UNLESS_SET = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that is away must not hold up an audit: MLflow itself would try for minutes"""


def connect(place: str, out: Path, group: Group) -> MLflow:
    """A tracker at that URI; without one at `MLFLOW_TRACKING_URI`, else in `OUT/mlflow.db` and `OUT/mlruns`.

    Raises:
        ConfigError: the place is no URI, or holds a password.
        DependencyError: mlflow is not installed.
    """
    with _settled():
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            sentence = 'track: mlflow is not installed here. Install it with: pip install "unsmash[mlflow]"'
            raise DependencyError(sentence) from error
    place = place or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not place:
        base = out.resolve()
        return MLflow(MlflowClient, f"sqlite:///{base / 'mlflow.db'}", group, (base / "mlruns").as_uri())
    parts = urlsplit(place)
    if not parts.scheme and not place.startswith("databricks"):
        hint = "For a file of your own: --track mlflow:sqlite:///PATH.db"
        raise ConfigError("track", got=f"mlflow:{place}", allowed="a tracking URI, http://HOST:PORT", hint=hint)
    if parts.password:
        hint = "The command is stored with the run. Use MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise ConfigError("track", got="mlflow:…", allowed="a tracking URI without a password", hint=hint)
    return MLflow(MlflowClient, place, group)


class MLflow:
    """Mirrors runs to one tracking URI. Uses a client of its own: what the caller logs elsewhere is left alone."""

    def __init__(self, make: Any, uri: str, group: Group, artifacts: str | None = None) -> None:
        self.make, self.uri, self.group, self.artifacts = make, uri, group, artifacts
        self.where = f"mlflow at {uri}"
        self.known: dict[str, str] = {}

    def add(self, one: Stored) -> None:
        """Mirror a run, once; where it is known its verdict is renewed and it comes under this sweep."""
        with _settled():
            client, experiment = self._client(), self._experiment()
            parent = self._parent() if self.group.sweep else ""
            found = self._found(experiment, one)
            if found is None:
                self._make(client, experiment, one, parent)
                return
            if parent and found.data.tags.get(PARENT) != parent:
                client.set_tag(found.info.run_id, PARENT, parent)
            if found.data.tags.get(JUDGED) != one.judged:
                self._judge(client, found.info.run_id, one)

    def close(self, folder: Path | None, ending: Ending) -> None:
        """End a sweep's parent run, with the frontier where there is one."""
        if not self.group.sweep or (ending != "finished" and "parent" not in self.known):
            return
        with _settled():
            client, parent = self._client(), self._parent()
            for file in sorted(folder.iterdir()) if folder is not None else ():
                client.log_artifact(parent, str(file))
                if file.name == "frontier.json":
                    self._tell_sweep(client, parent, frontier_record.load(file.read_text(encoding="utf-8")))
            client.set_terminated(parent, STATUS[ending])

    def _client(self) -> Any:
        if self.uri.startswith("sqlite:"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return self.make(tracking_uri=self.uri)

    def _experiment(self) -> str:
        """Id of the MLflow experiment, made where it is not there."""
        if "experiment" not in self.known:
            client, name = self._client(), self.group.name[:200] or DEFAULT
            found = client.get_experiment_by_name(name)
            if found is None:
                with contextlib.suppress(Exception):  # another process may just have made it; what else is wrong is
                    client.create_experiment(name, self.artifacts, tags=KIND)  # told by the next line
                found = client.get_experiment_by_name(name)
            if found is None:
                raise RuntimeError(f"the experiment {name!r} cannot be made there")
            self.known["experiment"] = found.experiment_id
        return self.known["experiment"]

    def _parent(self) -> str:
        """Id of the sweep's own run, made where it is not there."""
        if "parent" not in self.known:
            client, experiment = self._client(), self._experiment()
            found = client.search_runs([experiment], f"tags.`{SWEEP}` = '{self.group.sweep}'")
            if not found:
                called = f"sweep {self.group.name or self.group.sweep}"
                tags = {SWEEP: self.group.sweep, NAME: called, "mlflow.source.name": "unsmash sweep"}
                found = [client.create_run(experiment, tags=tags)]
            self.known["parent"] = found[0].info.run_id
        return self.known["parent"]

    def _found(self, experiment: str, one: Stored) -> Any:
        """The same measurement where it is there whole; what was left half-made there is removed."""
        client = self._client()
        for run in client.search_runs([experiment], f"tags.`{RUN}` = '{one.run.id}'"):
            record = run.data.tags.get(RECORD)
            if record == one.record:
                return run
            if record is None:
                client.delete_run(run.info.run_id)
        return None

    def _make(self, client: Any, experiment: str, one: Stored, parent: str) -> None:
        from mlflow.entities import Metric, Param

        run, began = one.run, figures.began(one.run)
        tags = {RUN: run.id, NAME: one.name, "mlflow.source.name": "unsmash"}
        tags |= {PARENT: parent} if parent else {}
        tags |= {"unsmash.digest": run.digest(), "unsmash.fingerprint": run.data.fingerprint if run.data else ""}
        tags |= {f"unsmash.environment.{figures.clean(name)}": value for name, value in run.environment.items()}
        tags = {name: value[:TAG] for name, value in tags.items() if value}
        start = None if began is None else round(began * 1000)
        made = client.create_run(experiment, start_time=start, tags=tags).info.run_id
        params = [Param(name, value[:VALUE]) for name, value in figures.parameters(run).items()]
        for place in range(0, len(params), BATCH):
            client.log_batch(made, params=params[place : place + BATCH])
        ended = None if start is None else start + round(1000 * run.seconds.get("total", 0.0))
        points = [Metric(name, value, ended or 0, 0) for name, value in figures.metrics(run).items()]
        points += [Metric(point.name, point.value, round(point.at * 1000), point.step)
                   for point in figures.steps(one.happened())]  # fmt: skip
        for place in range(0, len(points), 5 * BATCH):
            client.log_batch(made, metrics=points[place : place + 5 * BATCH])
        kept = one.judgement()
        for file in one.files(images=self.group.images):
            if file not in kept:
                client.log_artifact(made, str(file))
        self._judge(client, made, one)
        client.set_terminated(made, "FAILED" if run.failure is not None else "FINISHED", end_time=ended)
        client.set_tag(made, RECORD, one.record)  # last: without it the run is not whole

    def _judge(self, client: Any, made: str, one: Stored) -> None:
        """Write the verdict, over an older one where there is one."""
        for name, share in figures.judgement(one.verdict).items():
            client.log_metric(made, name, share)
        for file in one.judgement():
            client.log_artifact(made, str(file))
        tags = {"verdict": one.word, "sentence": one.sentence, NOTE: f"**{one.word.capitalize()}.** {one.sentence}"}
        if one.verdict is not None:
            tags |= {"budget": one.verdict.budget, "exit_code": str(one.verdict.exit_code)}
        for name, value in (tags | {JUDGED: one.judged}).items():
            client.set_tag(made, name, value[:TAG])

    def _tell_sweep(self, client: Any, parent: str, frontier: frontier_record.Frontier) -> None:
        good = sum(row.good for row in frontier.rows)
        tags = {"verdict": f"{good} of {len(frontier.rows)} good enough", "sentence": headline(frontier)}
        tags |= {"budget": frontier.budget, NOTE: headline(frontier)}
        for name, value in tags.items():
            client.set_tag(parent, name, value[:TAG])


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """MLflow without pickles, telemetry, chatter and long waits; afterwards the caller's settings stand again."""
    before = {name: os.environ.get(name) for name in (*ALWAYS, *UNLESS_SET)}
    levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic", "urllib3")}
    os.environ.update(ALWAYS | {name: value for name, value in UNLESS_SET.items() if before[name] is None})
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own use of old interfaces is no business of whoever audits
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
