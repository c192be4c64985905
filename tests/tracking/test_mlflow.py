"""What MLflow holds after runs were mirrored: embedded here, and on a real server at the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kept
import pytest
from small import TINY

from unsmash.auditing import audit
from unsmash.errors import TrainingError
from unsmash.events import Event
from unsmash.records import Failure
from unsmash.store import Store
from unsmash.sweeping import sweep
from unsmash.tracking import figures, opened

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mlflow: Any = pytest.importorskip("mlflow", reason="the extra mlflow (729 MB) is not installed")

ATTACKS = [{"kind": "ridge"}, {"kind": "gallery"}]
SMALL: dict[str, Any] = {"data": TINY, "model": "shallow_net", "train": {"epochs": 2}, "attacks": ATTACKS}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about itself; ours are tested in a process of their own
        yield


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return kept.store(tmp_path)


def client(store: Store) -> Any:
    return mlflow.MlflowClient(f"sqlite:///{store.root.resolve() / 'mlflow.db'}")


def runs(at: Any, experiment: str = "unsmash") -> list[Any]:
    found = at.get_experiment_by_name(experiment)
    return list(at.search_runs([found.experiment_id])) if found else []


def artefacts(at: Any, run: Any) -> set[str]:
    return {entry.path for entry in at.list_artifacts(run.info.run_id)}


def test_embedded_all_lies_beside_the_runs(store: Store, tmp_path: Path) -> None:
    run = kept.run()
    with opened("mlflow", store) as mirror:
        mirror.add(kept.keep(store, run))
    at = client(store)
    (found,) = runs(at)
    assert found.info.status == "FINISHED"
    assert found.data.params == figures.parameters(run)
    wanted = figures.metrics(run) | figures.judgement(store.verdict(run.id))
    assert {name: found.data.metrics[name] for name in wanted} == pytest.approx(wanted)
    assert found.data.metrics["progress/victim/train"] == 1.0
    history = at.get_metric_history(found.info.run_id, "progress/victim/train")
    assert {(point.step, point.value) for point in history} <= {(step, step / 200) for step in range(1, 201)}
    assert found.data.tags["unsmash.run"] == run.id
    assert found.data.tags["verdict"] == store.verdict(run.id).word  # type: ignore[union-attr]
    assert artefacts(at, found) == {"run.json", "verdict.json", "experiment.yaml", "report.html"}
    copy = at.download_artifacts(found.info.run_id, "run.json", str(tmp_path))
    assert Path(copy).read_bytes() == (store.folder(run.id) / "run.json").read_bytes()
    assert found.info.artifact_uri.startswith((store.root.resolve() / "mlruns").as_uri())
    assert {file.name for file in tmp_path.iterdir()} == {"runs", "run.json"}  # nothing beside


def test_a_run_is_mirrored_once_and_judged_anew(store: Store) -> None:
    run, seen = kept.run(), []
    for budget in ("identification>0.05", "identification>0.05", "identification>0.5"):
        with opened("mlflow", store) as mirror:
            mirror.add(kept.keep(store, run, budget=budget))
        at = client(store)
        (found,) = runs(at)
        assert found.data.tags["budget"] == budget
        assert found.data.tags["verdict"] == store.verdict(run.id).word  # type: ignore[union-attr]
        report = Path(at.download_artifacts(found.info.run_id, "report.html")).read_text()
        assert budget in report
        assert found.data.metrics["adversary/query/limit"] == float(budget.split(">")[1])
        seen.append((found.info.run_id, len(at.get_metric_history(found.info.run_id, "decoder/identification"))))
    assert len(set(seen)) == 1


def test_measured_again_it_is_another_run(store: Store, tmp_path: Path) -> None:
    run = kept.run()
    other = Store(tmp_path / "other")
    kept.keep(other, kept.run(seconds={"total": 9.0}))
    for place in (store, other):
        with opened(f"mlflow:sqlite:///{tmp_path}/shared.db", place) as mirror:
            mirror.add(kept.keep(place, run))
    assert len(runs(mlflow.MlflowClient(f"sqlite:///{tmp_path}/shared.db"))) == 2


def test_what_was_cut_off_half_way_is_made_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names, heard = kept.keep(store, kept.run()), list[Event]()
    with monkeypatch.context() as broken:

        def lost(*_: Any) -> None:
            raise ConnectionError("the line went dead")

        broken.setattr(mlflow.MlflowClient, "log_artifact", lost)
        with opened("mlflow", store, heard.append) as mirror:
            mirror.add(names)
    assert [event.kind for event in heard] == ["warning"]
    assert "the line went dead" in heard[0].text
    with opened("mlflow", store) as mirror:
        mirror.add(names)
    (found,) = runs(client(store))
    assert found.info.status == "FINISHED"
    assert "run.json" in artefacts(client(store), found)


def test_a_run_that_failed_is_one_that_failed_there_too(store: Store) -> None:
    broken = kept.run(failure=Failure("TrainingError", "NaN at step 3", "victim"), results=(), started="")
    error = TrainingError("NaN at step 3")
    (error.run,) = kept.keep(store, broken)  # type: ignore[attr-defined]
    with pytest.raises(TrainingError), opened("mlflow", store):
        raise error
    (found,) = runs(client(store))
    assert (found.info.status, found.data.tags["verdict"]) == ("FAILED", "failed")
    assert "NaN at step 3" in found.data.tags["sentence"]


@pytest.mark.usefixtures("short_recogniser")
def test_a_sweep_is_a_parent_with_its_runs_and_takes_in_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    alone = audit(**SMALL, out=out, track="mlflow", name="mine")
    several: list[Any] = [[], [{"kind": "gaussian", "sigma": 40.0}]]
    swept = [sweep(**SMALL, out=out, sweep={"defences": several}, track=["mlflow"], name="mine") for _ in range(2)]
    at = client(Store(out))
    found = runs(at, "mine")
    (parent,) = [run for run in found if "unsmash.sweep" in run.data.tags]
    children = {run.data.tags["unsmash.run"]: run for run in found if run is not parent}
    assert len(children) == len(found) - 1 == 2
    assert alone.runs[0].id in children
    assert set(children) == {run for row in swept[0].frontier.rows for run in row.runs}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert parent.data.tags["unsmash.sweep"] == swept[1].frontier.id
    assert parent.info.status == "FINISHED"
    assert {"frontier.html", "frontier.json", "study.yaml"} <= artefacts(at, parent)


@pytest.mark.usefixtures("short_recogniser")
def test_the_callers_own_mlflow_is_left_alone(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: mlflow.set_tracking_uri(None))
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/own.db")
    with mlflow.start_run() as own:
        before = {name: value for name, value in os.environ.items() if "MLFLOW" in name}
        audit(**SMALL, out=tmp_path / "runs", track=[f"mlflow:sqlite:///{tmp_path}/ours.db"])
        assert mlflow.active_run().info.run_id == own.info.run_id
        assert {name: value for name, value in os.environ.items() if "MLFLOW" in name} == before
    assert mlflow.get_tracking_uri().endswith("own.db")
    assert mlflow.MlflowClient().get_run(own.info.run_id).data.params == {}
    assert len(runs(mlflow.MlflowClient(f"sqlite:///{tmp_path}/ours.db"))) == 1


def test_without_a_place_the_callers_own_uri_is_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"sqlite:///{store.root.parent}/team.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own)
    with opened("mlflow", store) as mirror:
        mirror.add(kept.keep(store, kept.run()))
    assert len(runs(mlflow.MlflowClient(own))) == 1
    assert not (store.root / "mlflow.db").exists()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    data = "digits:" + ",".join(f"{name}={value}" for name, value in TINY.items() if name != "kind")
    small = ["--data", data, "--model", "shallow_net", "--attack", "ridge", "--set", "train.epochs=1", "--json"]
    line = [sys.executable, "-m", "unsmash.cli", "audit", *small, *words]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=300)


@pytest.mark.slow
def test_a_server_that_is_not_there_costs_one_warning(tmp_path: Path) -> None:
    said = command("--track", f"mlflow:http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["verdict"]  # one document and nothing else
    assert said.stderr.count("did not take the runs") == 1
    assert "Traceback" not in said.stderr
    assert "WARNING" not in said.stderr
    assert len(Store(tmp_path / "runs").folders()) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real tracking server on loopback, with SQLite and no pickles."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    places = [f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "artefacts")]
    line = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", *places]  # fmt: skip
    safe = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    safe["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with (tmp_path / "server.log").open("w") as log:
        child = subprocess.Popen(
            line, stdout=log, stderr=log, env=os.environ | safe, start_new_session=True, cwd=tmp_path
        )
    try:
        deadline = time.monotonic() + 180
        while not _answers(f"{address}/health"):
            assert child.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.slow
def test_a_real_server_has_the_run_its_figures_and_its_files(server: str, tmp_path: Path) -> None:
    for _ in range(2):  # measured, then taken from the store
        said = command("--track", f"mlflow:{server}", "--fail-if", "identification>0.05", cwd=tmp_path)
        assert "did not take" not in said.stderr
        document = json.loads(said.stdout)
        assert said.returncode == document["exit_code"]
    body = json.dumps({"experiment_ids": [experiment(server)]}).encode()
    (found,) = call(server, "runs/search", body)["runs"]
    tags = {tag["key"]: tag["value"] for tag in found["data"]["tags"]}
    assert (tags["unsmash.run"], tags["verdict"]) == (document["id"], document["verdict"])
    metrics = {metric["key"]: metric["value"] for metric in found["data"]["metrics"]}
    assert metrics["ridge/identification"] == document["attacks"]["ridge"]["identification"]
    assert metrics["ridge/ssim"] == pytest.approx(document["attacks"]["ridge"]["ssim"])
    params = {param["key"]: param["value"] for param in found["data"]["params"]}
    assert params["train.epochs"] == "1"
    listed = call(server, f"artifacts/list?run_id={found['info']['run_id']}")["files"]
    sizes = {entry["path"]: int(entry["file_size"]) for entry in listed}
    folder = tmp_path / "runs" / document["id"]
    for name in ("run.json", "verdict.json", "experiment.yaml", "report.html"):
        assert sizes[name] == (folder / name).stat().st_size
    assert not (tmp_path / "mlruns").exists()


def experiment(server: str) -> str:
    found = call(server, "experiments/get-by-name?experiment_name=unsmash")
    return str(found["experiment"]["experiment_id"])


def call(server: str, path: str, body: bytes | None = None) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server}/api/2.0/mlflow/{path}", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
