"""`unsmash attack`, `score` and `challenge` as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commandline import Said, Tell, process
from PIL import Image
from safetensors.numpy import load_file, save_file
from sklearn.datasets import load_digits
from small import TINY

from unsmash.store import Store

EXAMPLE = Path(__file__).parent.parent / "examples" / "attack_challenge.py"
SMALL = "digits:" + ",".join(f"{name}={value}" for name, value in TINY.items() if name != "kind")
AUDIT = ("audit", "--data", SMALL, "--model", "shallow_net", "--set", "train.epochs=2", "--json")
ATTACKS = ("--attack", "ridge", "--attack", "gallery")


def audited(tell: Tell, *words: str) -> str:
    """The id of a run made just now."""
    said = tell(*AUDIT, *ATTACKS, *words)
    assert said.code == 0, said.err
    name: str = json.loads(said.out)["id"]
    return name


def sentence(said: Said) -> str:
    """The one sentence of a mistake."""
    assert said.code == 2, said
    assert "Traceback" not in said.err
    assert not said.out
    (line,) = [line for line in said.err.splitlines() if line.startswith("unsmash: ")]
    return line


def test_attack_says_what_was_reused_and_gives_an_audits_run(tell: Tell, tmp_path: Path) -> None:
    name = audited(tell)
    said = tell("attack", name[:5], "--attack", "lookalike", "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert f"taken from run {name}: ridge, gallery" in said.err
    assert set(document["attacks"]) == {"ridge", "lookalike"}
    assert (tmp_path / document["report"]).is_file()
    assert tell("show", document["id"][:6], "--json").code == 0
    whole = tell(*AUDIT, *ATTACKS, "--attack", "lookalike", "--out", "elsewhere")
    figures = ("id", "attacks", "floors", "verdict", "gallery_identification")
    assert {key: document[key] for key in figures} == {key: json.loads(whole.out)[key] for key in figures}
    stored = json.loads(tell("show", document["id"], "--json").out)
    assert stored["command"] == f"unsmash attack {name[:5]} --attack lookalike --json"

    plain = tell("attack", f"runs/{name}", "--attack", "ridge")
    assert plain.code == 0
    assert f"run {name} has all of that already" in plain.err
    assert f"runs/{name}/report.html" in plain.out
    assert tell("attack", name, "--attack", "ridge", "--fail-if", "identification>0.05").code == 1
    assert len(Store(tmp_path / "runs").folders()) == 2


def test_attack_adds_the_adversaries_it_is_asked_for(tell: Tell) -> None:
    name = audited(tell, "--defence", "gaussian:sigma=0.4")
    said = tell("attack", name, "--queries", "8", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)["attacks"]
    assert set(found) == {"ridge", "ridge@repeat"}
    assert found["ridge@repeat"]["identification"] > found["ridge"]["identification"]
    again = tell("attack", name, "--queries", "8", "--again", "--json")
    assert "taken from" not in again.err
    assert json.loads(again.out)["attacks"] == found


def test_score_prints_each_attack_and_metric_with_interval_floor_and_range(tell: Tell) -> None:
    name = audited(tell)
    said = tell("score", name[:6], "--metric", "ssim", "--metric", "mae")
    assert said.code == 0, said.err
    for word in ("ridge", "ssim", "mae", "95 % interval", "floor", "data range", "[0, 1]", "class_mean", "40"):
        assert word in said.out
    assert "40 private digits" in said.out
    document = json.loads(tell("score", name, "--json").out)
    rows = {(row["attack"], row["metric"]): row for row in document["scores"]}
    stored = json.loads(tell("show", name, "--json").out)
    for result in stored["results"]:
        for metric, value in result["scores"].items() if result["role"] != "floor" else ():
            row = rows.pop((result["name"], metric))
            assert {key: row[key] for key in value} == value
            assert row["recorded"] == row["mean"]
    assert not rows


def test_a_challenge_is_made_attacked_and_scored(tell: Tell, tmp_path: Path) -> None:
    name = audited(tell)
    said = tell("challenge", name[:6], "--out", "challenge")
    assert said.code == 0, said.err
    assert "releases.safetensors" in said.out
    assert "challenge" in said.out
    words = [sys.executable, str(EXAMPLE), "challenge", "guesses.safetensors"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    scored = tell("score", name, "--guesses", "guesses.safetensors", "--json")
    assert scored.code == 0, scored.err
    rows = {row["metric"]: row["mean"] for row in json.loads(scored.out)["scores"]}
    ours = {row["metric"]: row["mean"] for row in json.loads(tell("score", name, "--json").out)["scores"]
            if row["attack"] == "ridge"}  # fmt: skip
    assert rows["identification"] == pytest.approx(ours["identification"], abs=0.1)
    assert "strongest attack, ridge" in tell("score", name, "--guesses", "guesses.safetensors").out
    document = json.loads(tell("challenge", name, "--out", "listed", "--candidates", "--json").out)
    assert "candidates.safetensors" in document["files"]
    assert "new or empty" in sentence(tell("challenge", name, "--out", "listed"))


MISUSES: dict[str, tuple[tuple[str, ...], str]] = {
    "attack: unknown run": (("attack", "0123", "--attack", "ridge"), "no run '0123' in runs: there are"),
    "attack: nothing": (("attack", "RUN"), "--attack: got 'nothing'"),
    "attack: unknown kind": (("attack", "RUN", "--attack", "rigde"), "did you mean 'ridge'"),
    "attack: unknown setting": (("attack", "RUN", "--attack", "ridge:imges=9"), "did you mean 'images'"),
    "attack: no key=value": (("attack", "RUN", "--attack", "ridge:images"), "key=value"),
    "attack: no messages": (("attack", "RUN", "--attack", "ridge", "--queries", "0"), "--queries"),
    "attack: too many messages": (("attack", "RUN", "--queries", "5000"), "4096"),
    "attack: too many frames": (("attack", "RUN", "--frames", "5000"), "1024"),
    "audit: too many messages": (("audit", "--data", "digits", "--queries", "5000"), "4096"),
    "attack: bad budget": (("attack", "RUN", "--attack", "ridge", "--fail-if", "ssm>1"), "did you mean 'ssim'"),
    "attack: a model nobody asked for": (
        ("attack", "RUN", "--attack", "lookalike", "--model", "x.py:f"),
        "shallow_net",
    ),
    "attack: unknown device": (("attack", "RUN", "--attack", "lookalike", "--device", "abacus"), "abacus"),
    "score: unknown run": (("score", "0123"), "no run '0123'"),
    "score: unknown metric": (("score", "RUN", "--metric", "sism"), "did you mean 'ssim'"),
    "score: too small": (("score", "RUN", "--metric", "vif"), "41×41"),
    "score: no file": (("score", "RUN", "--guesses", "nowhere.safetensors"), "nowhere.safetensors"),
    "challenge: unknown run": (("challenge", "0123", "--out", "x"), "no run '0123'"),
    "challenge: nowhere": (("challenge", "RUN"), "--out"),
    "challenge: unknown threat": (("challenge", "RUN", "--out", "x", "--threat", "qery"), "did you mean 'query'"),
    "challenge: no draws": (("challenge", "RUN", "--out", "x", "--draws", "0"), "--draws"),
}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of runs with one in it; not to be changed."""
    folder = tmp_path_factory.mktemp("known")
    said = process(*AUDIT, *ATTACKS, cwd=folder)
    assert said.code == 0, said.err
    return folder, json.loads(said.out)["id"]


@pytest.mark.parametrize("case", MISUSES)
def test_misuse_is_one_sentence(
    case: str, tell: Tell, known: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, told = MISUSES[case]
    folder, name = known
    monkeypatch.chdir(folder)
    assert told in sentence(tell(*(name if word == "RUN" else word for word in words)))
    assert [one.name for one in Store(folder / "runs").folders()] == [name]
    assert not (folder / "x").exists()


FACTORY = """
import torch
from torch import nn

def make():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 10))
    draw = torch.Generator().manual_seed(5)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw)
    return net
"""


def test_code_of_ones_own_is_asked_for_again(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    own = ("--model", "mine.py:make")
    said = tell("audit", "--data", SMALL, *own, "--at", "1", *ATTACKS, "--json")
    assert said.code == 0, said.err
    name = json.loads(said.out)["id"]
    for words in (("attack", name, "--attack", "lookalike"), ("challenge", name, "--out", "x")):
        assert "Write --model mine.py:make" in sentence(tell(*words))
    assert tell("score", name, "--metric", "mae").code == 0  # scoring takes no model
    assert "taken from run" in tell("attack", name, "--attack", "lookalike", *own).err
    assert tell("challenge", name, "--out", "challenge", *own).code == 0
    (tmp_path / "mine.py").write_text(FACTORY.replace("manual_seed(5)", "manual_seed(6)"))
    assert "its weights" in sentence(tell("attack", name, "--attack", "lookalike", *own))


def test_images_that_changed_since_are_told(tell: Tell, tmp_path: Path) -> None:
    bunch = load_digits()
    for index in range(150):
        place = tmp_path / "images" / str(bunch.target[index])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((bunch.images[index] * 15.9).astype("uint8")).save(place / f"{index}.png")
    words = ("--data", "folder:path=images", "--model", "shallow_net", *ATTACKS, "--set", "train.epochs=1", "--json")
    name = json.loads(tell("audit", *words).out)["id"]
    (tmp_path / "images" / "0" / "0.png").unlink()
    for again in (("attack", name, "--attack", "lookalike"), ("score", name), ("challenge", name, "--out", "x")):
        assert f"not the images of run {name}" in sentence(tell(*again))
    (tmp_path / "images").rename(tmp_path / "moved")
    assert "images" in sentence(tell("score", name))


def test_guesses_of_a_run_are_kept_whole(known: tuple[Path, str], tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, name = known
    monkeypatch.chdir(folder)
    arrays = load_file(str(folder / "runs" / name / "guesses.safetensors"))
    assert {key: array.dtype.name for key, array in arrays.items()} == {"ridge": "float32", "gallery": "float64"}
    save_file({"guess": arrays["ridge"] - np.float32(0.5)}, str(folder / "off.safetensors"))
    assert "Undo your normalisation" in sentence(tell("score", name, "--guesses", "off.safetensors"))
