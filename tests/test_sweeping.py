"""Sweeps of real studies: every variant audited once, one page, and the same figures however many processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small import TINY
from torch import nn

import unsmash
from unsmash import auditing, execute, frontier_record, judge, sweeping, variants, victim
from unsmash.errors import ConfigError, TrainingError, UnsmashError
from unsmash.events import Console, Event
from unsmash.experiment import read_yaml
from unsmash.store import Store
from unsmash.sweeping import Sweep, conduct

GALLERY = {"name": "gallery", "grants": ["weights", "candidates"], "asked": False}
STUDY: dict[str, Any] = {
    "name": "a study",
    "data": TINY,
    "model": "shallow_net",
    "train": {"epochs": 2},
    "attacks": ["ridge", "gallery"],
    "threats": [{"name": "query"}, GALLERY],
    "sweep": {
        "defences": [
            [{"kind": "gaussian", "sigma": 0.5}],
            [{"kind": "laplace", "scale": 0.1, "when": "inference"}],
            [{"kind": "laplace", "scale": 0.4, "when": "inference"}],
        ]
    },
    "variants": [{"name": "none"}, {"name": "longer", "train.epochs": 3}],
}
NAMES = ["gaussian 0.5", "laplace 0.1, inference", "laplace 0.4, inference", "none", "longer"]


def swept(out: Path, **changes: Any) -> Sweep:
    options = {name: changes.pop(name) for name in list(changes) if name in ("workers", "progress", "again", "images")}
    return conduct(STUDY | changes, out=out, **({"workers": 1} | options))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, list[Event], list[int]]:
    """One sweep in this process, what it told, and the epochs of each training; not to be changed."""
    events: list[Event] = []
    trained: list[int] = []
    real = victim.train

    def train(model: Any, images: Any, labels: Any, plan: Any, lab: Any, held: Any) -> None:
        trained.append(plan.epochs)
        real(model, images, labels, plan, lab, held)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(victim, "train", train)
        patch.setattr("unsmash.recogniser.STEPS", 12)
        found = swept(tmp_path_factory.mktemp("sweep") / "runs", progress=events.append)
    return found, events, trained


def store(found: Sweep) -> Store:
    return Store(found.folder.parent.parent)


def test_every_variant_is_a_run_and_a_row(once: tuple[Sweep, list[Event], list[int]]) -> None:
    found = once[0]
    assert {row.name for row in found.frontier.rows} == set(NAMES)
    assert {run.id for run in store(found).runs()} == {row.runs[0] for row in found.frontier.rows}
    assert len(store(found).folders()) == 5  # the frontiers' folder is no run
    for row in found.frontier.rows:
        run = store(found).load(row.runs[0])
        assert run.experiment["defences"] == list(row.defences)
        attack = run.result("ridge").scores["identification"]
        assert row.attack is not None
        assert (row.attack.share.mean, row.attack.share.low, row.attack.share.high) == (
            attack.mean,
            attack.low,
            attack.high,
        )
        assert row.gallery is not None
        assert row.gallery.share.mean == run.result("gallery").mean("identification")
        assert run.utility is not None
        assert run.utility.accuracy is not None
        assert row.accuracy is not None
        assert row.accuracy.mean == run.utility.accuracy.mean
        verdict = store(found).verdict(run.id)
        assert verdict is not None
        assert row.word == verdict.word == judge.judge([run], "identification>0.05").word
        assert row.seconds == run.seconds["total"]


def test_accuracy_lost_is_against_the_network_trained_alike(once: tuple[Sweep, list[Event], list[int]]) -> None:
    rows = {row.name: row for row in once[0].frontier.rows}
    bare = rows["none"].accuracy
    assert bare is not None
    for name in NAMES[:3]:
        accuracy = rows[name].accuracy
        assert accuracy is not None
        assert rows[name].undefended == bare.mean
        assert rows[name].lost == pytest.approx(bare.mean - accuracy.mean)
    assert rows["none"].lost == rows["longer"].lost == 0.0


def test_shared_victims_are_trained_once(once: tuple[Sweep, list[Event], list[int]]) -> None:
    # the undefended one, which three others rest on; the longer one; and the one with noise in its training
    assert once[2] == [2, 3, 2]


def test_each_variant_is_told_in_one_line_with_the_time_left(once: tuple[Sweep, list[Event], list[int]]) -> None:
    events = once[1]
    ends = [event for event in events if event.kind == "end" and event.stage in NAMES]
    assert [event.stage for event in ends] == ["none", "longer", *NAMES[1:3], NAMES[0]]
    assert [event.stage for event in events if event.kind == "start" and event.stage in NAMES] == [
        e.stage for e in ends
    ]
    for number, event in enumerate(ends, start=1):
        assert f"; {number} of 5" in event.text
        assert ("left" in event.text) is (number < 5)
        assert "accuracy" in event.text
        assert event.data["runs"]
    others = {event.stage for event in events if event.kind in ("end", "fail")} - set(NAMES)
    assert others == {"data", "variants", "frontier"}  # what happens inside a variant is not told line by line
    assert not [event for event in events if event.kind == "note" and event.stage != "data"]
    assert any(event.text == "none · victim" for event in events if event.kind == "tick")


def test_the_frontiers_folder_holds_page_record_and_study(once: tuple[Sweep, list[Event], list[int]]) -> None:
    found = once[0]
    plan = variants.plan(STUDY)
    assert found.folder == store(found).root / "frontiers" / plan.id
    assert sorted(file.name for file in found.folder.iterdir()) == ["frontier.html", "frontier.json", "study.yaml"]
    assert frontier_record.load((found.folder / "frontier.json").read_text(encoding="utf-8")) == found.frontier
    again = variants.plan(read_yaml(found.folder / "study.yaml"))
    assert again.id == plan.id
    assert [one.study.experiment for one in again.variants] == [one.study.experiment for one in plan.variants]
    assert not list(found.folder.parent.glob(".*"))


def test_each_row_leads_to_its_own_report(once: tuple[Sweep, list[Event], list[int]]) -> None:
    found = once[0]
    html = found.report.read_text(encoding="utf-8")
    for row in found.frontier.rows:
        assert (found.folder / row.report).resolve() == store(found).folder(row.runs[0]).resolve() / "report.html"
        assert (found.folder / row.report).is_file()
        assert f'href="{row.report}"' in html
        own = (found.folder / row.report).read_text(encoding="utf-8")
        assert "unsmash audit experiment.yaml" in own


def test_each_run_can_be_measured_again_by_itself(once: tuple[Sweep, list[Event], list[int]]) -> None:
    found = once[0]
    name = found.frontier.rows[0].runs[0]
    raw = read_yaml(store(found).folder(name) / "experiment.yaml")
    alone = auditing.conduct(auditing.experiments.study(raw), out=store(found).root)
    assert alone.runs[0].id == name
    assert alone.runs[0] == store(found).load(name)


def test_what_is_used_is_explained(once: tuple[Sweep, list[Event], list[int]]) -> None:
    about = {one.kind: one for one in once[0].frontier.defences}
    assert set(about) == {"gaussian", "laplace"}
    assert all(one.protects and one.source and one.cost and one.guarantee for one in about.values())


def test_a_repeated_sweep_takes_all_from_the_store_and_writes_the_same_page(
    once: tuple[Sweep, list[Event], list[int]],
) -> None:
    found, events = once[0], list[Event]()
    before = {file.name: file.read_bytes() for file in found.folder.iterdir()}
    again = swept(store(found).root, progress=events.append)
    assert again.frontier == found.frontier
    assert {file.name: file.read_bytes() for file in found.folder.iterdir()} == before
    ends = [event for event in events if event.kind == "end" and event.stage in NAMES]
    assert all(event.text.startswith("known, ") and event.data["known"] for event in ends)
    assert "left" not in " ".join(event.text for event in ends)


@pytest.mark.usefixtures("short_recogniser")
def test_a_wider_study_measures_only_what_is_new(once: tuple[Sweep, list[Event], list[int]]) -> None:
    found, events = once[0], list[Event]()
    sweep = {"defences": [*STUDY["sweep"]["defences"], [{"kind": "laplace", "scale": 0.8, "when": "inference"}]]}
    wider = swept(store(found).root, sweep=sweep, progress=events.append, fail_if="identification>0.05 or bytes>5")
    assert wider.frontier.id != found.frontier.id
    assert found.report.is_file()
    known = {event.stage: event.data["known"] for event in events if event.kind == "end" and "known" in event.data}
    new = "laplace 0.8, inference"
    assert not known.pop(new)
    assert all(known.values()) or all(
        row.word != "leaks" for row in wider.frontier.rows if not known.get(row.name, True)
    )
    rows = {row.name: row for row in wider.frontier.rows}
    for row in found.frontier.rows:
        assert rows[row.name].attack == row.attack
    (curve,) = wider.frontier.curves
    assert curve.values == (0.1, 0.4, 0.8)


@pytest.mark.slow
def test_two_processes_give_the_same_ids_and_figures(
    once: tuple[Sweep, list[Event], list[int]], tmp_path: Path
) -> None:
    """The whole recogniser trains in both: a spawned process knows no patches of this one."""
    alone = swept(tmp_path / "one")
    events: list[Event] = []
    both = swept(tmp_path / "two", workers=2, progress=events.append)
    assert both.frontier.id == alone.frontier.id == once[0].frontier.id
    assert not list((tmp_path / "two").glob(".*"))
    first, second = Store(tmp_path / "one"), Store(tmp_path / "two")
    assert {run.id for run in first.runs()} == {run.id for run in second.runs()}
    for run in first.runs():
        assert second.load(run.id).digest() == run.digest()
    keys = [sorted(file.name for file in (folder.cache / "victims").iterdir()) for folder in (first, second)]
    assert keys[0] == keys[1]
    for one, other in zip(alone.frontier.rows, both.frontier.rows, strict=True):
        assert (one.name, one.attack, one.gallery, one.accuracy, one.word) == (
            other.name, other.attack, other.gallery, other.accuracy, other.word,
        )  # fmt: skip
    ends = [event.stage for event in events if event.kind == "end" and event.stage in NAMES]
    assert sorted(ends) == sorted(NAMES)
    assert ends[0] in ("none", "longer")
    made = [run.id for run in second.runs() if any(one["stage"] == "train" for one in _events(second, run.id))]
    assert len(made) == 3  # each training once: of those who share one, only the first has made it
    assert any(event.kind == "tick" and event.text == "none · victim" for event in events)


def _events(runs: Store, name: str) -> list[dict[str, Any]]:
    lines = (runs.folder(name) / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


# -- what can go wrong ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_recogniser")
def test_a_failed_variant_is_stored_and_shown_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = auditing.measure

    def measure(experiment: Any, *given: Any, **more: Any) -> Any:
        if any(defence.kind == "gaussian" for defence in experiment.defences):
            raise TrainingError("the loss is not finite at step 7 <b>")
        return real(experiment, *given, **more)

    monkeypatch.setattr(auditing, "measure", measure)
    events: list[Event] = []
    few: dict[str, Any] = {"sweep": {"defences": STUDY["sweep"]["defences"][:1]}, "variants": [{"name": "none"}]}
    found = swept(tmp_path, progress=events.append, **few)
    rows = {row.name: row for row in found.frontier.rows}
    assert found.frontier.rows[-1].name == "gaussian 0.5"
    failed = rows.pop("gaussian 0.5")
    assert failed.word == "failed"
    assert failed.failure is not None
    assert all(row.failure is None for row in rows.values())
    stored = Store(tmp_path).load(failed.runs[0])
    assert stored.failure == failed.failure
    assert failed.report == ""
    html = found.report.read_text(encoding="utf-8")
    assert "the loss is not finite at step 7 &lt;b&gt;" in html
    (told,) = [event for event in events if event.kind == "fail"]
    assert "not finite" in told.text
    # next time it is tried again
    monkeypatch.setattr(auditing, "measure", real)
    assert all(row.failure is None for row in swept(tmp_path, **few).frontier.rows)


def test_a_layer_that_is_not_there_is_told_before_anything_trains(tmp_path: Path) -> None:
    with pytest.raises(UnsmashError, match=r"at hiden: .*hidden"):
        swept(tmp_path, variants=[{"name": "none"}, {"at": "hiden"}])
    with pytest.raises(ConfigError, match=r"sweep\.defences\.0\.0\.kind"):
        swept(tmp_path, sweep={"defences": [["gausian"]]})
    colour = {"kind": "folder", "path": str(tmp_path / "nowhere")}
    with pytest.raises(UnsmashError, match="nowhere"):
        swept(tmp_path, variants=[{"name": "none"}, {"data": colour}])
    assert not Store(tmp_path).folders()
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.usefixtures("short_recogniser")
def test_an_interrupt_keeps_what_is_finished_and_nothing_half_written(tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if event.kind == "tick" and event.stage == "longer":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path, progress=stop)
    assert len(Store(tmp_path).folders()) == 1
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "frontiers").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_stops_all_processes_and_leaves_nothing_behind(workers: str, tmp_path: Path) -> None:
    study = STUDY | {
        "train": {"epochs": 20_000 // 2},
        "variants": [{"name": "none"}, {"name": "batch", "train.batch": 32}],
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    words = [sys.executable, "-m", "unsmash.cli", "sweep", "study.yaml", "--workers", workers]
    child = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    runs = tmp_path / "runs"
    while len([file for file in runs.glob(".*/events.jsonl") if '"tick"' in file.read_text()]) < int(workers):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pids = children(child.pid)
    assert len(pids) >= (2 if workers == "2" else 0)
    child.send_signal(signal.SIGINT)
    said, error = child.communicate(timeout=60)
    assert child.returncode == 130
    assert not said
    assert error.strip().splitlines()[-1].startswith("unsmash: stopped")
    assert "Traceback" not in error
    assert not list(runs.glob(".*"))
    while [pid for pid in pids if alive(pid)]:  # what only tidies up ends a moment after its parent
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    study = STUDY | {"train": {"epochs": 10_000}, "variants": [{"name": "none"}, {"name": "batch", "train.batch": 32}]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    words = [sys.executable, "-m", "unsmash.cli", "sweep", "study.yaml", "--workers", "2"]
    child = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(list((tmp_path / "runs").glob(".*/events.jsonl"))) < 2:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pids = children(child.pid)
    child.kill()
    child.wait()
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


DEADLY = """
import multiprocessing, os, signal
from torch import nn

def make(classes):
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, classes))
"""


@pytest.mark.slow
def test_a_killed_process_costs_its_own_variant_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DEADLY, encoding="utf-8")
    deadly = {
        "name": "deadly",
        "model": {"kind": "own", "path": str(tmp_path / "mine.py"), "factory": "make"},
        "at": "2",
    }
    raw = STUDY | {"sweep": {"train.epochs": [1]}, "variants": [deadly, {"name": "none"}]}
    found = conduct(raw, out=tmp_path / "runs", trusted=True, workers=2)
    rows = {row.name: row for row in found.frontier.rows}
    assert [name for name, row in rows.items() if row.failure] == ["deadly"]
    failure = rows["deadly"].failure
    assert failure is not None
    assert "its process died, twice" in failure.message
    assert set(rows) == {"deadly", "none", "epochs 1"}
    assert found.report.is_file()


def children(pid: int) -> list[int]:
    """Processes that a process has started; where the system does not tell, none."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        return []
    return [int(word) for task in tasks.iterdir() for word in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_busy_terminal_shows_bars_for_what_runs_and_a_line_for_what_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Console() as console:
        for name in ("a", "b"):
            console(Event("start", name))
        console(Event("tick", "a", "a · victim", 3, 10))
        assert [task.description for task in console.progress.tasks] == ["a · victim", "b"]
        console(Event("end", "a", "passes; 1 of 2, about 3 s left"))
        console(Event("tick", "b", "", 5, 10))
        assert [(task.description, task.completed) for task in console.progress.tasks] == [("b", 5)]
        console(Event("fail", "b", "failed in victim: NaN; 2 of 2"))
    told = capsys.readouterr().err
    assert "about 3 s left" in told
    assert "failed in victim: NaN" in told


# -- from Python ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_recogniser")
def test_a_module_of_ones_own_is_swept_in_this_process(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    found = unsmash.sweep(
        data=TINY, model=mine, at="2", out=tmp_path, attacks=["ridge", "gallery"], workers=2,
        sweep={"defences": [[], ["laplace:scale=0.2,when=inference"]]}, variants=[{"name": "early", "at": "1"}],
    )  # fmt: skip
    assert [row.name for row in found.frontier.rows if not row.defences] == ["no defence", "early"]
    assert {row.name for row in found.frontier.rows} == {"no defence", "early", "laplace 0.2, inference"}
    assert all(row.failure is None for row in found.frontier.rows)
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())
    assert found.report.is_file()
    assert isinstance(found, unsmash.Sweep)
    assert callable(unsmash.sweep)  # still the function, now that its module is imported


@pytest.mark.usefixtures("short_recogniser")
def test_several_seeds_are_one_row(tmp_path: Path) -> None:
    found = unsmash.sweep(
        data=TINY, model="shallow_net", train={"epochs": 1}, attacks=["ridge", "gallery"], seeds=2, out=tmp_path,
        variants=[{"name": "none"}], fail_if="identification>0.9",
    )  # fmt: skip
    (row,) = found.frontier.rows
    assert len(row.runs) == 2
    assert found.frontier.seeds == (0, 1)
    runs = [Store(tmp_path).load(name) for name in row.runs]
    assert row.attack is not None
    assert row.attack.share.mean == pytest.approx(
        sum(run.result("ridge").mean("identification") or 0 for run in runs) / 2
    )
    assert "--seeds 2" in (tmp_path / row.runs[0] / "report.html").read_text(encoding="utf-8")


def test_mistakes_in_python_are_errors_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sweep, variants or both"):
        unsmash.sweep(data=TINY, out=tmp_path)
    with pytest.raises(ConfigError, match="no_such"):
        unsmash.sweep(data=TINY, out=tmp_path, no_such=1, sweep={"at": ["fc1"]})


@pytest.mark.parametrize(("words", "code"), [
    ("passes leaks", 0), ("leaks leaks", 1), ("leaks inconclusive", 3), ("failed leaks", 3), ("failed", 3),
])  # fmt: skip
def test_a_gate_opens_where_one_variant_is_good_enough(words: str, code: int, tmp_path: Path) -> None:
    rows = tuple(frontier_record.Row(word, word, good=word == "passes") for word in words.split())  # type: ignore[arg-type]
    made = frontier_record.Frontier("5eed", "", rows, "identification>0.05", "identification")
    assert Sweep(made, tmp_path).exit_code == code


def test_workers_are_as_many_as_asked_and_never_more_than_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "cores", lambda: 8)
    assert sweeping.workers_for(None, 20, "cpu", None) == 4
    assert sweeping.workers_for(None, 3, "cpu", None) == 3
    assert sweeping.workers_for(6, 20, "cpu", None) == 6
    assert sweeping.workers_for(6, 20, "cpu", nn.Identity()) == 1
    assert sweeping.workers_for(None, 20, "cuda", None) == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [execute.threads_of(workers) for workers in (1, 2, 3, 8, 16)] == [8, 4, 2, 1, 1]
    assert os.cpu_count()
