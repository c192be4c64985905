"""Challenge folders: what they hold is what was sent, and never a victim; an outsider's attack on one is scored."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from small import TINY
from torch import nn

from unsmash.auditing import Audit, audit
from unsmash.challenging import challenge
from unsmash.data.base import Splits
from unsmash.errors import ConfigError
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.rescoring import score
from unsmash.threat import standing
from unsmash.victim import Victim, prepare
from unsmash.view import make_scene, observe

pytestmark = pytest.mark.usefixtures("short_recogniser")

EXAMPLE = Path(__file__).parent.parent / "examples" / "attack_challenge.py"
N, M = 40, 160
"""Victims and shadow images of `TINY`"""
SIGMA = 0.08
PLAIN: dict[str, Any] = {"attacks": ["ridge", "gallery"], "train": {"epochs": 2}, "data": TINY, "model": "shallow_net"}
NOISY = PLAIN | {"defences": [{"kind": "gaussian", "sigma": SIGMA}]}
REPEATED = NOISY | {"threats": [threat.model_dump(mode="json") for threat in standing(3)]}


def made(out: Path, settings: dict[str, Any]) -> Audit:
    return audit(out=out, **settings)


def victim_of(found: Audit, digits: Splits) -> Victim:
    """The run's network, from its own cache."""
    experiment = study(found.runs[0].experiment).experiment
    return prepare(experiment, digits, Lab(seed=experiment.seed), found.folder.parent / "cache")


def everything(folder: Path) -> dict[str, np.ndarray]:
    """All tensors of all files, by file and name."""
    files = sorted(folder.glob("*.safetensors"))
    return {f"{file.stem}/{name}": array for file in files for name, array in load_file(str(file)).items()}


def images_in(arrays: dict[str, np.ndarray], like: tuple[int, ...]) -> set[bytes]:
    """Hashes of every stretch of numbers in any tensor that is as long as an image, whatever its shape and scale."""
    size, found = int(np.prod(like)), set()
    for array in arrays.values():
        rows = array.reshape(len(array), -1) if array.size else array
        for row in rows:
            for start in range(0, row.size - size + 1, size):
                found.add(image_hash(row[start : start + size]))
    return found


def image_hash(image: np.ndarray) -> bytes:
    """The same for an image as floats in [0, 1] and as whole grey values."""
    flat = np.asarray(image, dtype=np.float64).ravel()
    peak = 16 if flat.max(initial=0) <= 1 else 1
    return hashlib.sha256(np.rint(flat * peak).astype(np.int32).tobytes()).digest()


@pytest.mark.parametrize("settings", [PLAIN, NOISY, REPEATED], ids=["plain", "noisy", "repeated"])
def test_no_victim_is_in_the_folder(settings: dict[str, Any], digits: Splits, tmp_path: Path) -> None:
    found = made(tmp_path / "runs", settings)
    folder = tmp_path / "challenge"
    challenge(found.folder, folder, threat="repeat" if settings is REPEATED else None)
    assert {file.name for file in folder.iterdir()} == {
        "releases.safetensors", "shadow.safetensors", "manifest.json", "README.md",
    }  # fmt: skip
    victims = digits.victims.pixels.numpy()
    private = {image_hash(image) for image in victims}
    seen = images_in(everything(folder), victims.shape[1:])
    assert {image_hash(image) for image in digits.shadow.pixels.numpy()} <= seen  # the search does find images
    assert not private & seen
    for file in folder.iterdir():
        content = file.read_bytes()
        for image in victims:
            grey = np.rint(image * 16).astype(np.uint8)
            for form in (
                image,
                image.astype(np.float64),
                image.astype(np.float16),
                grey,
                (image * 255).astype(np.uint8),
            ):
                assert form.tobytes() not in content
        assert digits.victims.labels.numpy().tobytes() not in content
        assert digits.victims.labels.numpy().astype(np.uint8).tobytes() not in content
    told = (folder / "manifest.json").read_text() + (folder / "README.md").read_text()
    run = found.runs[0]
    assert run.data is not None
    for secret in (run.data.fingerprint, run.data.source, "shallow_net", "seed", *digits.victims.names[:3]):
        assert secret not in told


def test_candidates_are_there_when_asked_for_and_in_no_order(digits: Splits, tmp_path: Path) -> None:
    found = made(tmp_path / "runs", PLAIN)
    manifest = challenge(found.folder, tmp_path / "challenge", candidates=True)
    listed = everything(tmp_path / "challenge")["candidates/image"]
    victims = digits.victims.pixels.numpy()
    assert sorted(map(image_hash, listed)) == sorted(map(image_hash, victims))
    places = [[image_hash(image) for image in victims].index(image_hash(image)) for image in listed]
    assert sum(place == index for index, place in enumerate(places)) < N / 4
    assert manifest["adversary"]["holds"] == ["queries", "shadow", "candidates"]


def test_victims_among_shared_shadow_images_are_left_out(tmp_path: Path) -> None:
    """Where somebody allowed shared images, the adversary's copy of a victim is not handed out."""
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    folder = tmp_path / "images"
    for index in range(120):
        place = folder / str(bunch.target[index])
        place.mkdir(parents=True, exist_ok=True)
        for copy in range(2 if index < 60 else 1):
            Image.fromarray((bunch.images[index] * 15).astype("uint8")).save(place / f"{index}_{copy}.png")
    data = {"kind": "folder", "path": str(folder), "duplicates": "stop"}
    found = audit(
        data=data, model="shallow_net", attacks=["ridge"], train={"epochs": 1}, out=tmp_path / "runs",
        allow_contamination=True,
    )  # fmt: skip
    run = found.runs[0]
    assert run.data is not None
    assert run.data.contamination > 0
    challenge(found.folder, tmp_path / "challenge")
    from unsmash.data.folder import Folder

    splits = Folder.model_validate(data).load(tmp_path, allow_contamination=True)
    private = {image.numpy().tobytes() for image in splits.victims.pixels}
    assert private & {image.numpy().tobytes() for image in splits.shadow.pixels}  # the case is one
    handed = everything(tmp_path / "challenge")
    assert not private & {image.tobytes() for image in handed["shadow/image"]}
    assert len(handed["shadow/image"]) == len(handed["shadow/label"]) == len(handed["shadow/release"])


def test_the_manifest_is_true_of_the_files(tmp_path: Path) -> None:
    found = made(tmp_path / "runs", REPEATED)
    folder = tmp_path / "challenge"
    given = challenge(found.folder, folder, threat="repeat", draws=5)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == given
    assert set(manifest["files"]) == {file.name for file in folder.iterdir()} - {"manifest.json"}
    arrays = everything(folder)
    for name, file in manifest["files"].items():
        assert file["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for key, told in file.get("tensors", {}).items():
            array = arrays[f"{Path(name).stem}/{key}"]
            assert (told["shape"], told["dtype"]) == (list(array.shape), str(array.dtype))
            assert told["range"] == [array.min(), array.max()]
            assert told["meaning"] in (folder / "README.md").read_text()
    assert arrays["releases/release"].shape[:2] == (N, 3)
    assert arrays["shadow/release"].shape[:2] == (M, 5)
    assert (manifest["format"], manifest["run"], manifest["victims"]) == (1, found.runs[0].id, N)
    assert manifest["hand_in"]["shape"] == [N, 1, 8, 8]
    assert manifest["adversary"]["releases_of_each_victim"] == 3
    assert manifest["adversary"]["releases_of_each_shadow_image"] == 5
    assert manifest["adversary"]["granted_but_not_in_this_folder"] == []
    assert manifest["defence"][0]["settings"]["sigma"] == SIGMA
    assert str(SIGMA) in (folder / "README.md").read_text()
    assert all(file.stat().st_mode & 0o044 for file in folder.iterdir())  # others may read what is handed out


def test_an_undefended_release_is_what_the_device_half_computes(digits: Splits, tmp_path: Path) -> None:
    found = made(tmp_path / "runs", PLAIN)
    manifest = challenge(found.folder, tmp_path / "challenge", draws=7)
    arrays, model = everything(tmp_path / "challenge"), victim_of(found, digits).model
    with torch.no_grad():
        for images, name in ((digits.victims.pixels, "releases/release"), (digits.shadow.pixels, "shadow/release")):
            assert arrays[name].shape[1] == 1  # a second draw would be the same
            assert np.allclose(arrays[name][:, 0], model.smash(images)[0].numpy(), atol=1e-6)
    assert (arrays["shadow/image"] == digits.shadow.pixels.numpy()).all()
    assert (arrays["shadow/label"] == digits.shadow.labels.numpy()).all()
    assert manifest["random"] is False


class TwoTensors(nn.Module):
    """What crosses at `mid` are two tensors: its own maps, and those of a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.mid, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(8, 10)
        draw = torch.Generator().manual_seed(5)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=draw)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        early = torch.tanh(self.early(x))
        return self.fc(torch.cat([self.mid(early).mean((2, 3)), early.mean((2, 3))], 1))


def test_several_tensors_are_numbered(digits: Splits, tmp_path: Path) -> None:
    found = audit(data=TINY, model=TwoTensors(), at="mid", attacks=["ridge"], out=tmp_path / "runs")
    challenge(found.folder, tmp_path / "challenge", model=TwoTensors())
    arrays, net = everything(tmp_path / "challenge"), TwoTensors()
    with torch.no_grad():
        early = torch.tanh(net.early(digits.victims.pixels))
        expected = {early.numpy().shape: early.numpy(), (N, 4, 4, 4): net.mid(early).numpy()}
    sent = [arrays[f"releases/release.{index}"][:, 0] for index in range(2)]
    assert {one.shape for one in sent} == expected.keys()
    assert all(np.allclose(one, expected[one.shape], atol=1e-5) for one in sent)
    assert {name for name in arrays if name.startswith("shadow/release")} == {
        "shadow/release.0", "shadow/release.1",
    }  # fmt: skip
    words = [sys.executable, "-c", ALONE, str(EXAMPLE), "challenge", "guesses.safetensors"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    (row,) = score(found.folder, ["mse"], guesses=tmp_path / "guesses.safetensors").rows
    assert row.score.mean == pytest.approx(found.runs[0].result("ridge").scores["mse"].mean, rel=0.1)


def test_noise_has_the_defences_law_and_a_secret_seed(digits: Splits, tmp_path: Path) -> None:
    found = made(tmp_path / "runs", REPEATED)
    model = victim_of(found, digits).model
    folders = {"one": {}, "other": {}, "first": {"noise": 5}, "second": {"noise": 5}}
    for name, options in folders.items():
        challenge(found.folder, tmp_path / name, threat="repeat", **options)  # type: ignore[arg-type]
    sent = {name: everything(tmp_path / name) for name in folders}
    with torch.no_grad():
        means = {
            "releases/release": model.smash(digits.victims.pixels)[0].numpy(),
            "shadow/release": model.smash(digits.shadow.pixels)[0].numpy(),
        }
    for key, mean in means.items():
        noise = sent["one"][key] - mean[:, None]
        assert abs(noise.mean()) < 4 * SIGMA / noise.size**0.5
        assert noise.std() == pytest.approx(SIGMA, rel=4 / (2 * noise.size) ** 0.5)
        assert len(np.unique(noise[:, :, 0])) == noise[:, :, 0].size  # fresh in every draw
        assert (sent["one"][key] != sent["other"][key]).mean() > 0.99
        assert (sent["first"][key] == sent["second"][key]).all()
    # the run's own noise, which anybody with this code can draw again, is not in there
    splits, lab = digits, Lab(seed=found.runs[0].seed)
    scene = make_scene(splits.victims.pixels, splits.victims.labels, splits.shadow.pixels, splits.shadow.labels, 10,
                       lab.at("scene"))  # fmt: skip
    for release in observe(model, scene, standing(3)[1], lab).repeats:
        assert (release[0].numpy()[:, None] != sent["one"]["releases/release"]).mean() > 0.99


def test_draws_by_a_key_of_the_device_are_drawn_anew(digits: Splits, tmp_path: Path) -> None:
    memoised = [{"kind": "gaussian", "sigma": SIGMA, "memoise": True}]
    found = made(tmp_path / "runs", REPEATED | {"defences": memoised})
    challenge(found.folder, tmp_path / "challenge", threat="repeat")
    sent = everything(tmp_path / "challenge")["releases/release"]
    assert sent.shape[:2] == (N, 1)  # repeats of one image would be the same
    model = victim_of(found, digits).model
    with torch.no_grad():
        own = model.release(digits.victims.pixels)[0].numpy()
        again = model.release(digits.victims.pixels)[0].numpy()
    assert (own == again).all()
    assert (own != sent[:, 0]).mean() > 0.99
    assert np.std(sent[:, 0] - own) == pytest.approx(2**0.5 * SIGMA, rel=0.1)  # the same law


ALONE = """
import runpy, sys

class Absent:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "torchvision", "torchmetrics", "unsmash"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("settings", [PLAIN, NOISY, REPEATED], ids=["plain", "noisy", "repeated"])
def test_an_outsiders_ridge_agrees_with_ours(settings: dict[str, Any], tmp_path: Path) -> None:
    """Without torch and this package, on what the folder holds."""
    found = made(tmp_path / "runs", settings)
    name = "repeat" if settings is REPEATED else "query"
    challenge(found.folder, tmp_path / "challenge", threat=name, draws=12, noise=1)
    words = [sys.executable, "-W", "error", "-c", ALONE, str(EXAMPLE), "challenge", "guesses.safetensors"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"unsmash score {found.runs[0].id} --guesses guesses.safetensors" in done.stdout
    theirs = {
        row.score.metric: row.score
        for row in score(found.folder, ["identification", "mse"], guesses=tmp_path / "guesses.safetensors").rows
    }
    ridges = [one for one in found.runs[0].results if one.kind == "ridge" and one.threat == name]
    ours = ridges[0].scores
    assert theirs["mse"].mean == pytest.approx(ours["mse"].mean, rel=0.1)
    share, error = ours["identification"].mean, (0.25 / N) ** 0.5
    assert theirs["identification"].mean == pytest.approx(share, abs=2 * error if share < 1 else 0.03)
    assert theirs["identification"].low > 1 / N  # far from guessing


def test_a_folder_in_use_and_a_threat_of_no_run_are_told(tmp_path: Path) -> None:
    found = made(tmp_path / "runs", PLAIN)
    (tmp_path / "mine").mkdir()
    challenge(found.folder, tmp_path / "mine")  # empty is fine
    before = {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()}
    with pytest.raises(ConfigError, match="new or empty"):
        challenge(found.folder, tmp_path / "mine")
    assert {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()} == before
    with pytest.raises(ConfigError, match="did you mean 'query'"):
        challenge(found.folder, tmp_path / "other", threat="qery")
    assert not (tmp_path / "other").exists()


def test_a_listing_adversary_gets_no_images_unless_asked(tmp_path: Path) -> None:
    found = made(tmp_path / "runs", PLAIN)
    manifest = challenge(found.folder, tmp_path / "challenge", threat="gallery")
    assert {file.name for file in (tmp_path / "challenge").iterdir()} == {
        "releases.safetensors", "manifest.json", "README.md",
    }  # fmt: skip
    assert manifest["adversary"]["granted_but_not_in_this_folder"] == ["weights", "candidates"]
    assert "leaves out, too: weights, candidates" in (tmp_path / "challenge" / "README.md").read_text()


def test_moved_frames_are_no_challenge(tmp_path: Path) -> None:
    burst = [threat.model_dump(mode="json") for threat in standing(1, 4)]
    found = made(tmp_path / "runs", PLAIN | {"threats": burst})
    with pytest.raises(ConfigError, match="Moved frames are images of their own"):
        challenge(found.folder, tmp_path / "challenge", threat="gallery_burst")
