"""The command line as a user meets it: words, files, exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from commandline import Said, Tell, process
from PIL import Image
from sklearn.datasets import load_digits
from small import TINY

from unsmash import cli
from unsmash.data.base import Splits
from unsmash.errors import TrainingError
from unsmash.run_reading import load_run
from unsmash.store import Store

SMALL = "digits:" + ",".join(f"{name}={value}" for name, value in TINY.items() if name != "kind")
ATTACKS = ("--attack", "ridge", "--attack", "gallery")
FAST = ("audit", "--data", SMALL, "--model", "shallow_net", *ATTACKS, "--set", "train.epochs=2")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real `unsmash audit --data digits --quick --json`, made once for all workers; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "quick_audit"
    with (folder.parent / "quick_audit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "said.json").is_file():
            folder.mkdir(exist_ok=True)
            said = process("audit", "--data", "digits", "--quick", "--json", cwd=folder)
            (folder / "said.json").write_text(json.dumps(said))
    return folder


@pytest.fixture
def quick(shared: Path) -> Said:
    return Said(*json.loads((shared / "said.json").read_text()))


def test_a_quick_audit_prints_one_json_document(quick: Said, shared: Path) -> None:
    assert quick.code == 0, quick.err
    document = json.loads(quick.out)  # one document and nothing else
    assert quick.out.strip().startswith("{")
    assert set(document["id"]) <= set("0123456789abcdef")
    assert len(document["id"]) == 12
    assert document["verdict"] in ("leaks", "passes", "inconclusive")
    assert 0 < document["accuracy"] <= 1
    assert set(document["floors"]) == {"chance", "label_only", "mean_image", "random_image", "class_mean"}
    assert document["floors"]["chance"]["identification"] == pytest.approx(1 / document["victims"])
    assert set(document["attacks"]) == {"lookalike", "ridge", "class_ridge", "decoder"}
    for figures in document["attacks"].values():
        assert {"identification", "ssim", "psnr", "mse", "valid"} <= set(figures)
        assert figures["mse"] > 0
        assert figures["valid"] is True
    best = max(figures["identification"] for figures in document["attacks"].values())
    assert 0 < best <= document["gallery_identification"] <= 1
    assert document["contamination"] == 0
    assert document["seconds"] > 0
    assert (shared / document["report"]).is_file()
    assert document["verdict"] == "leaks"
    assert document["exit_code"] == 1  # what a gate would return; without --fail-if the command itself returns 0


def test_progress_goes_to_standard_error(quick: Said) -> None:
    for stage in ("data", "victim", "recogniser", "lookalike", "ridge", "decoder", "gallery", "report"):
        assert stage in quick.err
    assert "Traceback" not in quick.err
    assert "Warning" not in quick.err


def test_the_run_folder_is_whole(quick: Said, shared: Path) -> None:
    folder = shared / "runs" / json.loads(quick.out)["id"]
    files = {"experiment.yaml", "run.json", "verdict.json", "events.jsonl", "report.html"}
    files |= {"pictures.safetensors", "guesses.safetensors", "summary.json"}
    assert {file.name for file in folder.iterdir()} == files
    run = load_run((folder / "run.json").read_text())
    assert run.command == "unsmash audit --data digits --quick --json"
    assert sum(1 for line in (folder / "events.jsonl").read_text().splitlines() if json.loads(line)) > 10


def test_the_same_audit_is_taken_from_the_store_at_once(quick: Said, shared: Path) -> None:
    again = process("audit", "--data", "digits", "--quick", "--json", cwd=shared)
    assert again.code == 0, again.err
    assert json.loads(again.out) == json.loads(quick.out)
    assert "is known" in again.err
    assert "decoder" not in again.err
    assert "recogniser" not in again.err


def test_ls_show_and_report_work_on_a_stored_run(
    quick: Said, shared: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(shared)
    document = json.loads(quick.out)
    name = document["id"]

    listed = tell("ls", "--json")
    assert listed.code == 0
    (row,) = json.loads(listed.out)
    assert (row["id"], row["verdict"], row["data"], row["at"]) == (name, "leaks", "digits", "code")
    assert row["accuracy"] == document["accuracy"]
    assert row["identification"] == max(f["identification"] for f in document["attacks"].values())
    table = tell("ls")
    assert table.code == 0
    assert name[:6] in table.out
    assert "leaks" in table.out

    shown = tell("show", name, "--json")
    assert shown.code == 0
    assert load_run(shown.out) == Store(shared / "runs").load(name)
    told = tell("show", name)
    assert told.code == 0
    assert document["sentence"].split(".")[0] in " ".join(told.out.split())
    assert all(attack in told.out for attack in ("lookalike", "ridge", "decoder", "gallery"))
    assert tell("show", f"runs/{name}", "--json").out == shown.out

    target = tmp_path / "again.html"
    written = tell("report", name, "--to", str(target))
    assert written.code == 0
    assert written.out.strip() == str(target)
    assert target.read_text().startswith("<!doctype html>") or "<html" in target.read_text()


def test_a_report_can_be_judged_by_another_budget(
    quick: Said, shared: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(shared)
    target = tmp_path / "other.html"
    assert tell("report", json.loads(quick.out)["id"], "--fail-if", "accuracy<0.99", "--to", str(target)).code == 0
    assert "accuracy" in target.read_text()


def test_a_report_without_images_holds_none(
    quick: Said, shared: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(shared)
    name = json.loads(quick.out)["id"]
    sizes = []
    for words in ((), ("--no-images",)):
        target = tmp_path / f"{len(words)}.html"
        assert tell("report", name, "--to", str(target), *words).code == 0
        sizes.append(target.read_text().count('src="data:image'))
    assert sizes[0] > sizes[1] == 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("attacks",),
        ("attack",),
        ("decoder",),
        ("data",),
        ("defences",),
        ("defence",),
        ("model",),
        ("models",),
        ("reproduction",),
    ],
)
def test_kinds_describes_components(tell: Tell, words: tuple[str, ...]) -> None:
    from unsmash import reproducing
    from unsmash.component import discover
    from unsmash.experiment import FAMILIES

    rows = json.loads(tell("kinds", *words, "--json").out)
    text = tell("kinds", *words)
    assert text.code == 0
    every = {(family, kind) for family, (package, base) in FAMILIES.items() for kind in discover(package, base)}
    every |= {("reproductions", name) for name in reproducing.names()}
    plural = {"attack": "attacks", "defence": "defences", "models": "model", "reproduction": "reproductions"}
    wanted = {plural.get(word, word) for word in words}
    assert {(row["family"], row["kind"]) for row in rows} == {pair for pair in every if not words or wanted & {*pair}}
    for row in rows:
        assert row["summary"]
        assert row["kind"] in text.out
        for field in row["settings"] if words else ():
            assert field["name"] in text.out


@pytest.mark.parametrize("words", [("defence",), ("codebook",)])
def test_kinds_tells_of_each_defence_what_it_is_worth(tell: Tell, words: tuple[str, ...]) -> None:
    from unsmash.component import discover
    from unsmash.defences.base import Defence

    rows, text = json.loads(tell("kinds", *words, "--json").out), tell("kinds", *words).out
    classes = discover("unsmash.defences", Defence)
    assert rows
    for row in rows:
        cls = classes[row["kind"]]
        said = {"source": cls.source, "guarantee": cls.guarantee, "cost": cls.cost, "protects": cls.protects}
        assert {name: row[name] for name in said} == said
        for name, value in said.items():
            assert f"{name}: {value}" in text


def test_kinds_keeps_one_line_for_each_and_says_what_defences_prove_and_cost(tell: Tell) -> None:
    rows, lines = json.loads(tell("kinds", "--json").out), tell("kinds").out.splitlines()
    said = [line for line in lines if line.startswith("  ")]
    assert len(said) == len(rows)
    for row, line in zip(rows, said, strict=True):
        assert line.split()[0] == row["kind"]
        assert row["summary"] in line
        proved = f"Proved: {row['guarantee']}. Cost: {row['cost']}." if row["family"] == "defences" else ""
        assert line.endswith(proved or row["summary"])


def test_cuts_lists_places_with_their_sizes(tell: Tell) -> None:
    said = tell("cuts", "splitnn", "--json")
    assert said.code == 0
    rows = {row["at"]: row for row in json.loads(said.out)}
    assert rows["code"]["shapes"] == [[500]]
    assert rows["code"]["bytes"] == 2000
    assert rows["code"]["device_parameters"] == 4_627_316
    # 28 → 26 → 24, pooled to 12: multiply-adds by hand
    assert rows["code"]["device_macs"] == 26 * 26 * 32 * 9 + 24 * 24 * 64 * 32 * 9 + 9216 * 500
    table = tell("cuts", "splitnn")
    assert table.code == 0
    assert "conv1" in table.out


def test_cuts_where_several_tensors_cross_are_listed_on_request(tell: Tell) -> None:
    words = ("cuts", "small_resnet", "--shape", "3×32×32", "--classes", "4", "--json")
    single, every = json.loads(tell(*words).out), json.loads(tell(*words, "--all").out)
    assert all(row["tensors"] == 1 for row in single)
    assert [row for row in every if row["tensors"] > 1]
    assert [row["at"] for row in every if row["tensors"] == 1] == [row["at"] for row in single]


MISUSES: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown command": (("adit",), "adit"),
    "unknown option": (("audit", "--dta", "digits"), "--dta"),
    "unknown data": (("audit", "--data", "digit"), "did you mean 'digits'"),
    "unknown model": (("audit", "--data", "digits", "--model", "spiltnn"), "did you mean 'splitnn'"),
    "unknown attack": (("audit", "--data", "digits", "--attack", "rigde"), "did you mean 'ridge'"),
    "unknown defence": (("audit", "--data", "digits", "--defence", "laplce"), "did you mean 'laplace'"),
    "unknown setting": (("audit", "--data", "digits", "--defence", "laplace:scal=1"), "did you mean 'scale'"),
    "setting out of range": (("audit", "--data", "digits", "--defence", "laplace:scale=-1"), "defences.0.scale"),
    "no key=value": (("audit", "--data", "digits:train"), "key=value"),
    "bad layer": (("audit", "--data", SMALL, "--at", "cod", "--set", "train.epochs=0"), "code"),
    "bad --set": (("audit", "--data", "digits", "--set", "train.epoch=2"), "epochs"),
    "--set without =": (("audit", "--data", "digits", "--set", "train.epochs"), "path=value"),
    "--set of no number": (("audit", "--data", "digits", "--set", "train.epochs=many"), "train.epochs"),
    "--set beyond the attacks": (("audit", "--data", "digits", "--set", "attacks.9.size=large"), "from 0 to"),
    "missing study": (("audit", "no_such.yaml"), "no_such.yaml"),
    "missing model file": (("audit", "--data", SMALL, "--model", "no_such.py:make", "--at", "x"), "no_such.py"),
    "model file without factory": (("audit", "--data", SMALL, "--model", "no_such.py"), "path.py:factory"),
    "missing folder": (("audit", "--data", "folder:path=nowhere"), "nowhere"),
    "bad budget": (("audit", "--data", "digits", "--fail-if", "identifcation>0.1"), "did you mean 'identification'"),
    "budget that is no comparison": (("audit", "--data", "digits", "--fail-if", "ssim is high"), "METRIC > NUMBER"),
    "budget over one": (("audit", "--data", "digits", "--fail-if", "identification>5"), "a share from 0 to 1"),
    "no seeds": (("audit", "--data", "digits", "--seeds", "0"), "--seeds"),
    "no messages": (("audit", "--data", "digits", "--queries", "0"), "--queries"),
    "no frames": (("audit", "--data", "digits", "--frames", "0"), "--frames"),
    "seeds that are no number": (("audit", "--data", "digits", "--seeds", "few"), "--seeds"),
    "unknown device": (("audit", "--data", "digits", "--device", "abacus"), "abacus"),
    "show unknown run": (("show", "0123456789ab"), "0123456789ab"),
    "report unknown run": (("report", "0123456789ab"), "0123456789ab"),
    "report of nothing": (("report",), "runs"),
    "unknown kind": (("kinds", "decoderr"), "did you mean 'decoder'"),
    "shape that is none": (("cuts", "splitnn", "--shape", "nonsense"), "channels×height×width"),
    "shape too small": (("cuts", "splitnn", "--shape", "1x3x3"), "at least 6×6"),
    "one class": (("cuts", "splitnn", "--classes", "1"), "--classes"),
    "cuts of an unknown model": (("cuts", "spiltnn"), "did you mean 'splitnn'"),
    "sweep of nothing": (("sweep",), "study"),
    "sweep of no file": (("sweep", "no_such.yaml"), "no_such.yaml"),
    "no workers": (("sweep", "no_such.yaml", "--workers", "0"), "--workers"),
}


@pytest.mark.parametrize("case", MISUSES)
def test_misuse_is_one_sentence_and_exit_code_2(case: str, tell: Tell, tmp_path: Path) -> None:
    words, told = MISUSES[case]
    said = tell(*words)
    assert said.code == 2, said
    last = said.err.strip().splitlines()[-1]
    assert last.startswith("unsmash: ")
    assert told in last
    assert len([line for line in said.err.splitlines() if line.startswith("unsmash: ")]) == 1
    assert "Traceback" not in said.err
    assert not said.out
    assert not Store(tmp_path / "runs").folders()


def test_misuse_of_the_real_command_is_the_same(tmp_path: Path) -> None:
    said = process("audit", "--dta", "digits", cwd=tmp_path)
    assert said.code == 2
    assert said.err.startswith("unsmash: ")
    assert said.err.count("\n") == 1
    assert not said.out


def test_code_in_a_study_file_is_refused(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit('it ran')\n")
    (tmp_path / "study.yaml").write_text("data: digits\nmodel: {kind: own, path: mine.py, factory: make}\nat: fc\n")
    said = tell("audit", "study.yaml")
    assert said.code == 2
    assert "Code is never named in a file" in said.err


def test_a_study_file_and_flags_make_one_experiment(tell: Tell, tmp_path: Path) -> None:
    raw = {"data": TINY, "model": "shallow_net", "train": {"epochs": 9}, "attacks": ["ridge"]}
    (tmp_path / "study.yaml").write_text(json.dumps(raw))
    said = tell("audit", "study.yaml", "--set", "train.epochs=1", "--at", "fc1", "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert document["experiment"]["train"]["epochs"] == 1
    assert document["experiment"]["at"] == "fc1"
    assert list(document["attacks"]) == ["ridge"]


VARIED = {
    "data": TINY,
    "model": "shallow_net",
    "train": {"epochs": 9},
    "attacks": ["ridge", "gallery"],
    "sweep": {"defences": [[], [{"kind": "gaussian", "sigma": 40.0}]]},
    "variants": [{"name": "mine [b]", "train.epochs": 2}],
}


def test_a_sweep_prints_its_table_and_where_the_page_lies(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(json.dumps(VARIED))
    words = ("sweep", "study.yaml", "--set", "train.epochs=1", "--workers", "1", "--no-images")
    said = tell(*words, "--fail-if", "identification>0.5", "--json")
    assert said.code == 0, said.err  # one variant is within the budget
    document = json.loads(said.out)
    rows = {row["name"]: row for row in document["rows"]}
    assert set(rows) == {"no defence", "gaussian 40", "mine [b]"}
    assert [rows[name]["word"] for name in ("no defence", "gaussian 40", "mine [b]")] == ["leaks", "passes", "leaks"]
    stored = {name: json.loads(tell("show", row["runs"][0], "--json").out) for name, row in rows.items()}
    # a variant's own settings stand; --set holds for those that have none
    assert {name: run["experiment"]["train"]["epochs"] for name, run in stored.items()} == {
        "no defence": 1, "gaussian 40": 1, "mine [b]": 2,
    }  # fmt: skip
    assert "3 of 3" in said.err
    assert "Traceback" not in said.err
    page = tmp_path / document["report"]
    assert page.read_text().startswith("<!doctype html>")
    assert document["command"] == f"unsmash {' '.join(words)} --fail-if 'identification>0.5' --json"
    assert 'src="data:image' not in (tmp_path / "runs" / rows["mine [b]"]["runs"][0] / "report.html").read_text()

    again = tell(*words, "--fail-if", "identification>0.5")
    assert again.code == 0
    assert again.err.count("known, ") == 3
    assert "mine [b]" in again.out
    assert "Send only the label: " in again.out  # it costs less than the noise that is good enough
    assert str(page.relative_to(tmp_path)) in again.out
    strict = tell(*words, "--fail-if", "identification>0.0001", "--json")
    assert strict.code == json.loads(strict.out)["exit_code"] != 0
    assert tell(*words, "--json").code == 0  # without --fail-if the finding is told, not returned


def test_a_sweep_of_which_nothing_finished_leaves_with_4(
    tell: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: Any, **__: Any) -> None:
        raise TrainingError("the loss is not finite")

    monkeypatch.setattr("unsmash.auditing.measure", measure)
    (tmp_path / "study.yaml").write_text(json.dumps(VARIED))
    said = tell("sweep", "study.yaml", "--workers", "1")
    assert said.code == 4
    assert "No setting finished" in said.out
    assert said.out.count("failed in start: the loss is not finite") == 3


def test_an_audit_of_a_study_of_several_names_the_sweep_and_the_other_way_round(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "several.yaml").write_text(json.dumps(VARIED))
    (tmp_path / "single.yaml").write_text(json.dumps({"data": TINY}))
    for words, told in ((("audit", "several.yaml"), "`unsmash sweep"), (("sweep", "single.yaml"), "`unsmash audit`")):
        said = tell(*words)
        assert said.code == 2
        (line,) = [line for line in said.err.splitlines() if line.startswith("unsmash: ")]
        assert told in line
        assert not said.out
    assert not Store(tmp_path / "runs").folders()


SAFE = ("--defence", "gaussian:sigma=40")


def test_exit_codes_with_and_without_a_gate(tell: Tell) -> None:
    leaking = tell(*FAST, "--json")
    assert leaking.code == 0  # without --fail-if the verdict is told, not returned
    assert json.loads(leaking.out)["verdict"] == "leaks"
    assert tell(*FAST, "--fail-if", "identification>0.05").code == 1
    # an interval around what was measured cannot be on one side of it
    noisy = (*FAST, "--defence", "gaussian:sigma=0.5")
    share = json.loads(tell(*noisy, "--json").out)["attacks"]["ridge"]["identification"]
    assert 0 < share < 1
    unsure = tell(*noisy, "--fail-if", f"identification>{share}", "--json")
    assert unsure.code == 3
    assert json.loads(unsure.out)["verdict"] == "inconclusive"
    safe = tell(*FAST, *SAFE, "--fail-if", "identification>0.5", "--json")
    assert safe.code == 0
    assert json.loads(safe.out)["verdict"] == "passes"


def test_a_gate_may_ask_for_accuracy_as_well(tell: Tell) -> None:
    said = tell(*FAST, *SAFE, "--fail-if", "identification>0.5 or accuracy<0.99", "--json")
    document = json.loads(said.out)
    assert document["verdict"] == "passes"  # nothing leaks; but the gate closes, for the model is useless
    assert said.code == document["exit_code"] == 1


def test_a_plain_audit_says_the_verdict_in_words(tell: Tell) -> None:
    said = tell(*FAST)
    assert said.out.strip().startswith("Leaks.")
    assert "report.html" in said.out


def test_a_failing_run_leaves_with_4_and_is_listed_as_failed(tell: Tell, tmp_path: Path) -> None:
    """As data: what stopped it can be read later, and the next call measures anew."""
    nan = "net.fc.bias.data.fill_(float('nan'))\n    return net"
    (tmp_path / "mine.py").write_text(FACTORY.replace("return net", nan))
    words = ("audit", "--data", SMALL, "--model", "mine.py:make", "--at", "early", *ATTACKS, "--set", "train.epochs=1")
    for _ in range(2):
        said = tell(*words)
        assert said.code == 4, said
        assert "not finite" in said.err.strip().splitlines()[-1]
        assert "Traceback" not in said.err
        assert not said.out
    (row,) = json.loads(tell("ls", "--json").out)
    assert row["verdict"] == "failed"
    assert tell("ls").code == 0
    assert "not finite" in " ".join(tell("show", row["id"]).out.split())


FACTORY = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.early, self.mid, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(8, 10)

    def forward(self, x):
        early = torch.tanh(self.early(x))
        return self.fc(torch.cat([self.mid(early).mean((2, 3)), early.mean((2, 3))], 1))

def make(classes):
    assert classes == 10
    net = Mine()
    draw = torch.Generator().manual_seed(5)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw)
    return net
"""


def test_a_model_of_ones_own_is_taken_with_its_weights_and_notes(tell: Tell, tmp_path: Path, digits: Splits) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    said = tell("audit", "--data", SMALL, "--model", "mine.py:make", "--at", "mid", *ATTACKS, "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    scope: dict[str, Any] = {}
    exec(FACTORY, scope)
    net = scope["make"](10)
    images = torch.cat([digits.victims.pixels, digits.val.pixels])
    labels = torch.cat([digits.victims.labels, digits.val.labels])
    assert document["accuracy"] == pytest.approx((net(images).argmax(1) == labels).double().mean().item())
    run = json.loads(tell("show", document["id"], "--json").out)
    assert run["utility"]["trained_epochs"] == 0
    assert run["split"]["shapes"] == [[4, 4, 4], [4, 6, 6]] or sorted(run["split"]["shapes"]) == [[4], [4, 4, 4]]
    assert any("2 tensors cross at 'mid'" in note for note in run["split"]["notes"])
    # the weights are part of the run: another factory is another run
    (tmp_path / "mine.py").write_text(FACTORY.replace("manual_seed(5)", "manual_seed(6)"))
    other = tell("audit", "--data", SMALL, "--model", "mine.py:make", "--at", "mid", *ATTACKS, "--json")
    assert json.loads(other.out)["id"] != document["id"]


def test_a_model_of_ones_own_without_a_layer_is_told_its_layers(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    said = tell("audit", "--data", SMALL, "--model", "mine.py:make")
    assert said.code == 2
    assert "--at LAYER" in said.err
    assert "early" in said.err


def write_images(folder: Path, count: int = 200) -> None:
    bunch = load_digits()
    for index in range(count):
        place = folder / "abcdefghij"[bunch.target[index]]
        place.mkdir(parents=True, exist_ok=True)
        pixels = (bunch.images[index] * 15.9).astype("uint8")
        Image.fromarray(pixels).resize((12, 12), Image.Resampling.NEAREST).save(place / f"{index}.png")


def test_a_folder_of_images_is_audited(tell: Tell, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    words = ("--model", "shallow_net", *ATTACKS, "--set", "train.epochs=2", "--json")
    said = tell("audit", "--data", "folder:path=images", *words)
    assert said.code == 0, said.err
    document = json.loads(said.out)
    run = load_run(tell("show", document["id"], "--json").out)
    assert run.data is not None
    assert run.data.input_shape == (1, 12, 12)
    assert run.data.classes == tuple("abcdefghij")
    assert sum(run.data.sizes.values()) <= 200
    assert document["attacks"]["ridge"]["identification"] > document["floors"]["chance"]["identification"]
    # elsewhere on disk the same images are the same run
    (tmp_path / "images").rename(tmp_path / "moved")
    again = tell("audit", "--data", "folder:path=moved", *words)
    assert json.loads(again.out)["id"] == document["id"]
    assert "is known" in again.err


def test_images_in_two_sets_stop_the_audit_unless_allowed(tell: Tell, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    for index, file in enumerate(sorted((tmp_path / "images").rglob("*.png"))[:30]):
        (file.parent / f"copy{index}.png").write_bytes(file.read_bytes())
    words = ("audit", "--data", "folder:path=images", "--model", "shallow_net", *ATTACKS, "--json")
    said = tell(*words)
    assert said.code == 2
    assert "--allow-contamination" in said.err
    allowed = tell(*words, "--allow-contamination")
    assert allowed.code == 0, allowed.err
    assert json.loads(allowed.out)["contamination"] > 0
    assert "two sets" in allowed.err


def test_measuring_again_gives_the_same_numbers(tell: Tell) -> None:
    first, again = json.loads(tell(*FAST, "--json").out), json.loads(tell(*FAST, "--again", "--json").out)
    assert again["seconds"] != first["seconds"]
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in first.items() if k != "seconds"}
    assert len(json.loads(tell("ls", "--json").out)) == 1


def commands() -> Iterator[tuple[str, Any]]:
    group = typer.main.get_command(cli.app)
    yield "", group
    yield from group.commands.items()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_and_option_has_help(name: str, command: Any) -> None:
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_help_needs_no_torch() -> None:
    """Nor do the commands that only read."""
    for words in (
        ["--help"],
        ["audit", "--help"],
        ["attack", "--help"],
        ["score", "--help"],
        ["ls"],
        ["show", "nothing"],
    ):
        script = (
            "import sys\nfrom unsmash.cli import main\n"
            f"sys.argv = ['unsmash', *{words}]\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "heavy = {'torch', 'torchvision', 'torchmetrics', 'sklearn', 'scipy', 'numpy'} & set(sys.modules)\n"
            "sys.exit(','.join(sorted(heavy - ({'numpy'} if sys.argv[1] in ('ls', 'show') else set()))) or 0)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)
        assert done.stdout or words[0] == "show"


def started(out: Path) -> subprocess.Popen[str]:
    """An audit that trains for a long time, seen to be at work."""
    words = [sys.executable, "-m", "unsmash.cli", *FAST, "--set", "train.epochs=10000", "--out", str(out)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not [events for events in out.glob(".*/events.jsonl") if '"tick"' in events.read_text()]:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return child


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_stopped_audit_leaves_nothing_half_readable(kind: signal.Signals, tell: Tell, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    child = started(out)
    child.send_signal(kind)
    said, error = child.communicate(timeout=60)
    assert not said
    if kind == signal.SIGINT:
        assert child.returncode == 130
        assert error.strip().splitlines()[-1].startswith("unsmash: stopped")
        assert "Traceback" not in error
        assert not list(out.glob(".*"))
    assert json.loads(tell("ls", "--json").out) == []
    assert "No runs" in tell("ls").out
    after = tell(*FAST, "--json")
    assert after.code == 0, after.err
    assert [row["id"] for row in json.loads(tell("ls", "--json").out)] == [json.loads(after.out)["id"]]
    assert not list(out.glob(".*"))  # what the killed one left is swept
