"""Further attacks on a stored run: what is taken from it is, bit for bit, what a whole audit would measure."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from small import TINY
from torch import Tensor, nn

from unsmash import guesses
from unsmash.attacks.base import Attack
from unsmash.attacks.gallery import Gallery
from unsmash.attacks.lookalike import Lookalike
from unsmash.attacks.miface import Miface
from unsmash.attacks.ridge import Ridge
from unsmash.auditing import Audit, audit
from unsmash.errors import ConfigError, RecordError
from unsmash.events import Event
from unsmash.experiment import study
from unsmash.extending import attack, extended
from unsmash.store import GUESSES, PICTURES, Store
from unsmash.threat import standing

pytestmark = pytest.mark.usefixtures("short_recogniser")

FIRST = ["ridge", "gallery"]
MORE: list[Any] = ["lookalike", "posterior", {"kind": "decoder", "size": "small", "epochs": 1, "copies": 0}]
NOISE = {"kind": "gaussian", "sigma": 0.4}
DROWNED = {"kind": "gaussian", "sigma": 40.0}


def first(out: Path, **settings: Any) -> Audit:
    raw: dict[str, Any] = {"train": {"epochs": 2}, "attacks": FIRST, "model": "shallow_net"}
    return audit(data=TINY, out=out, **(raw | settings))


def kept(found: Audit) -> dict[str, np.ndarray]:
    return load_file(str(found.folder / GUESSES))


def broken(self: Attack, *_: object) -> Tensor:
    raise RuntimeError("it ran")


def same(one: Audit, other: Audit) -> None:
    """The same run to the last bit: record, guesses and pictures."""
    assert one.runs[0].id == other.runs[0].id
    assert one.runs[0].digest() == other.runs[0].digest()
    assert (one.verdict, one.runs[0].classes) == (other.verdict, other.runs[0].classes)
    for file in (GUESSES, PICTURES):
        mine, theirs = load_file(str(one.folder / file)), load_file(str(other.folder / file))
        assert mine.keys() == theirs.keys()
        assert all(mine[name].dtype == theirs[name].dtype for name in mine)
        assert all((mine[name] == theirs[name]).all() for name in mine)


@pytest.mark.parametrize("defences", [[], [NOISE], [DROWNED]], ids=["plain", "noise", "drowned"])
def test_it_is_what_an_audit_of_everything_gives(defences: list[Any], tmp_path: Path) -> None:
    old = first(tmp_path / "a", defences=defences)
    events: list[Event] = []
    new = attack(old.runs[0].id[:6], MORE, queries=3, out=tmp_path / "a", progress=events.append)
    threats = [threat.model_dump(mode="json") for threat in standing(3)]
    whole = first(tmp_path / "b", defences=defences, attacks=[*FIRST, *MORE], threats=threats)
    same(new, whole)
    assert new.runs[0].id != old.runs[0].id
    assert new.report.is_file()
    assert Store(tmp_path / "a").load(old.runs[0].id) == old.runs[0]  # the old run stays as it was
    (told,) = [event.text for event in events if event.text.startswith("taken from run")]
    assert told == f"taken from run {old.runs[0].id}: ridge, gallery"
    assert [event for event in events if event.stage == "victim" and "from the cache" in event.text]


@pytest.mark.parametrize("defences", [[], [DROWNED]], ids=["leaking", "controlled"])
def test_what_the_run_has_is_not_attacked_again(
    defences: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is its control: attacks that cannot run any more keep their results and their strength cards."""
    old = first(tmp_path, defences=defences, attacks=["ridge", "gallery"], fail_if="identification>0.5").runs[0]
    control = [one.card for one in old.of_role("attack")]
    assert all(card.strong for card in control)
    monkeypatch.setattr(Ridge, "run", broken)
    monkeypatch.setattr(Gallery, "run", broken)
    monkeypatch.setattr("unsmash.proofs._likelihood", lambda view, lab: None)  # asks the candidate list itself
    new = attack(old.id, ["lookalike"], out=tmp_path).runs[0]
    for name in ("ridge", "gallery"):
        assert new.result(name) == old.result(name)
    assert new.result("lookalike").scores


def test_class_attacks_are_taken_with_their_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = {"kind": "miface", "max_iter": 5}
    old = first(tmp_path / "a", attacks=["ridge", faces])
    whole = first(tmp_path / "b", attacks=["ridge", faces, "lookalike"])
    monkeypatch.setattr(Miface, "invert", broken)
    same(attack(old.folder, ["lookalike"]), whole)


def test_a_result_that_would_be_named_otherwise_is_measured_anew(tmp_path: Path) -> None:
    """Random streams are named after results: two attacks of a kind are told apart by their settings."""
    small = {"kind": "ridge", "images": 100}
    old = first(tmp_path / "a", attacks=[small, "gallery"], defences=[NOISE])
    events: list[Event] = []
    new = attack(old.runs[0].id, ["ridge"], out=tmp_path / "a", progress=events.append)
    assert {one.name for one in new.runs[0].of_role("attack")} == {"ridge(images=100)", "ridge"}
    assert any(event.text == f"taken from run {old.runs[0].id}: gallery" for event in events)
    same(new, first(tmp_path / "b", attacks=[small, "gallery", "ridge"], defences=[NOISE]))


def test_kept_guesses_are_the_ones_that_were_scored(tmp_path: Path) -> None:
    found = first(tmp_path, attacks=["ridge", "gallery", "lookalike"], defences=[NOISE])
    arrays, n = kept(found), TINY["victims"]
    assert set(arrays) == {"ridge", "gallery", "lookalike"}
    assert arrays["gallery"].shape == (n, n)
    pictures = load_file(str(found.folder / PICTURES))
    places = list(found.runs[0].pictures.victims)
    for name in ("ridge", "lookalike"):
        assert arrays[name].dtype == np.float32
        assert arrays[name].shape == (n, 1, 8, 8)
        assert arrays[name].min() >= 0
        assert arrays[name].max() <= 1
        assert (np.rint(arrays[name][places] * 255) == pictures[f"guess/{name}"]).all()


Change = Callable[[Path], str]


def elsewhere(folder: Path) -> str:
    raw = json.loads((folder / "run.json").read_text())
    raw["environment"]["torch"] = "1.0"
    (folder / "run.json").write_text(json.dumps(raw))
    return f"torch was 1.0, is {torch.__version__.partition('+')[0]}"


def emptied(folder: Path) -> str:
    (folder / GUESSES).unlink()
    return "it keeps no guesses"


def torn(folder: Path) -> str:
    (folder / GUESSES).write_bytes((folder / GUESSES).read_bytes()[:200])
    return "cannot be read"


def edited(folder: Path) -> str:
    arrays = load_file(str(folder / GUESSES))
    arrays["ridge"][0] = 1 - arrays["ridge"][0]
    save_file(arrays, str(folder / GUESSES))
    return "do not give its figures"


@pytest.mark.parametrize("change", [elsewhere, emptied, torn, edited], ids=lambda change: change.__name__)
def test_what_cannot_be_trusted_is_measured_anew_and_told(change: Change, tmp_path: Path) -> None:
    old = first(tmp_path / "a")
    told = change(old.folder)
    events: list[Event] = []
    new = attack(old.folder, ["lookalike"], progress=events.append)
    same(new, first(tmp_path / "b", attacks=[*FIRST, "lookalike"]))
    assert [event for event in events if told in event.text], [event.text for event in events]
    assert not [event for event in events if event.text.endswith("ridge, gallery")]


def test_another_revision_of_a_component_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = first(tmp_path)
    monkeypatch.setattr(Ridge, "revision", 99)
    events: list[Event] = []
    attack(old.folder, ["lookalike"], progress=events.append)
    assert [event for event in events if "nothing is taken" in event.text and "components have changed" in event.text]


def test_what_is_there_already_is_told_and_nothing_is_measured(tmp_path: Path) -> None:
    old = first(tmp_path)
    before = old.report.read_bytes()
    events: list[Event] = []
    found = attack(old.folder, ["ridge", {"kind": "gallery"}], progress=events.append)
    assert (found.runs, found.verdict, found.report) == (old.runs, old.verdict, old.report)
    assert old.report.read_bytes() == before
    assert not [event for event in events if event.stage in ("victim", "recogniser", "ridge")]
    assert [event for event in events if "has all of that already" in event.text]
    assert len(Store(tmp_path).folders()) == 1
    strict = attack(old.folder, ["ridge"], fail_if="ssim>0.999999")
    assert (strict.verdict.budget, strict.verdict.word) == ("ssim>0.999999", "passes")
    assert old.report.read_bytes() == before
    old.report.unlink()
    assert attack(old.folder, ["ridge"]).report.read_bytes()


def test_what_has_nothing_to_add_is_told(tmp_path: Path) -> None:
    old = first(tmp_path)
    events: list[Event] = []
    attack(old.folder, ["posterior", "lookalike"], progress=events.append)
    told = [event.text for event in events if event.kind == "note" and "not run" in event.text]
    assert told == ["posterior was not run: it adds something only where the defence draws noise"]


def test_the_adversaries_stand_where_an_audit_puts_them() -> None:
    plain = study({"data": TINY, "model": "shallow_net", "attacks": FIRST}).experiment
    raw = {"data": TINY, "model": "shallow_net", "attacks": [*FIRST, "hybrid", "miface"]}
    white = study(raw).experiment
    kinds = {kind: next(one for one in white.attacks if one.kind == kind) for kind in ("hybrid", "miface")}
    assert extended(plain, [*kinds.values()]) == white
    assert extended(plain, [kinds["hybrid"], kinds["hybrid"]]).attacks == (*plain.attacks, kinds["hybrid"])
    assert extended(plain, [], 16).threats == standing(16)
    assert extended(plain, [], None, 8).threats == standing(1, 8)
    assert extended(extended(plain, [], 16), [], 16) == extended(plain, [], 16)
    names = [threat.name for threat in extended(extended(plain, [], 16), [], 4).threats]
    assert names == ["query", "repeat", "repeat_4", "gallery", "gallery_repeat", "gallery_repeat_4"]


class Mine(nn.Module):
    """A user's own network."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.early, self.fc = nn.Conv2d(1, 3, 3), nn.Linear(108, 10)
        draw = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=draw)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.early(x).flatten(1))


def test_a_model_of_ones_own_is_asked_for_again_and_must_be_the_same(tmp_path: Path) -> None:
    old = first(tmp_path / "a", model=Mine(1), at="early", train={})
    with pytest.raises(ConfigError, match="code is never taken from a stored run"):
        attack(old.folder, ["lookalike"])
    with pytest.raises(ConfigError, match=f"the model of run {old.runs[0].id}: its weights"):
        attack(old.folder, ["lookalike"], model=Mine(2))
    assert len(Store(tmp_path / "a").folders()) == 1
    new = attack(old.folder, ["lookalike"], model=Mine(1))
    same(new, first(tmp_path / "b", model=Mine(1), at="early", train={}, attacks=[*FIRST, "lookalike"]))
    plain = first(tmp_path / "a")
    with pytest.raises(ConfigError, match="was made with shallow_net"):
        attack(plain.folder, ["lookalike"], model=Mine(1))


def test_wrong_runs_are_errors_of_ours(tmp_path: Path) -> None:
    old = first(tmp_path)
    with pytest.raises(RecordError, match=f"no run 'nothing' in .*: there are {old.runs[0].id}"):
        attack("nothing", ["lookalike"], out=tmp_path)
    shutil.copytree(old.folder, tmp_path / f"{old.runs[0].id[:4]}00000000")
    with pytest.raises(RecordError, match="begins 2 runs"):
        attack(old.runs[0].id[:4], ["lookalike"], out=tmp_path)
    with pytest.raises(ConfigError, match="--attack"):
        attack(old.folder)
    with pytest.raises(ConfigError, match=r"queries: got 5000; allowed: .*4096"):
        attack(old.folder, queries=5000)
    with pytest.raises(ConfigError, match="did you mean 'ridge'"):
        attack(old.folder, ["rigde"])
    (old.folder / GUESSES).unlink()
    with pytest.raises(RecordError, match="keeps no guesses"):
        guesses.load(old.folder)


def test_a_guess_is_looked_up_by_everything_that_decides_it(tmp_path: Path) -> None:
    from unsmash.earlier import Earlier

    found = first(tmp_path)
    known = Earlier(found.runs[0], kept(found), {})
    query = standing()[0]
    assert known.has(Ridge(), "ridge", query)  # type: ignore[call-arg]
    assert not known.has(Ridge(images=300), "ridge", query)  # type: ignore[call-arg]
    assert not known.has(Ridge(), "ridge@repeat", query)  # type: ignore[call-arg]
    assert not known.has(Lookalike(), "lookalike", query)  # type: ignore[call-arg]
    assert not known.has(Ridge(), "ridge", query.model_copy(update={"queries": 2}))  # type: ignore[call-arg]
    assert not known.has(Ridge(), "ridge", standing()[1])  # type: ignore[call-arg]
