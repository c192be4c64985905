"""A challenge: what an outsider needs to attack a run's victims without this code. What `unsmash challenge` calls.

The folder holds the victims' releases, the adversary's own images with their releases, and a manifest that says what
all of it is. The victims' images and labels stay behind, and so does whatever they could be found by: the data set's
settings, from which anybody could draw the same victims, and the seed of the noise. The releases are sent anew, with
noise from a secret seed, for the run's own noise could be computed again and taken off.
"""

from __future__ import annotations

import copy
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unsmash import guesses
from unsmash.auditing import working_device
from unsmash.challenge_text import MANIFEST, README, describe, read_me
from unsmash.errors import ConfigError
from unsmash.events import Sink, silent
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.reopening import Reopened, reopen
from unsmash.split import Smashed, SplitModel
from unsmash.split.drawn import DrawnShield, device_key
from unsmash.store import Store, write_text
from unsmash.threat import Grant, Threat
from unsmash.victim import prepare
from unsmash.view import Scene, View, make_scene, observe

if TYPE_CHECKING:
    from torch import nn

DRAWS = 4
"""Releases of each shadow image, where the defence is random and nobody says how many"""

Files = dict[str, dict[str, np.ndarray]]


def challenge(
    run: str | Path,
    target: str | Path,
    *,
    threat: str | None = None,
    draws: int | None = None,
    candidates: bool = False,
    model: str | Mapping[str, Any] | nn.Module | None = None,
    out: str | Path = "runs",
    root: Path | None = None,
    device: str = "auto",
    noise: int | None = None,
    progress: Sink = silent,
) -> dict[str, Any]:
    """Write a challenge folder, whole or not at all, and give its manifest.

    Args:
        run: its id, a beginning of it that no other run in `out` shares, or its folder.
        target: the folder to write; new or empty.
        threat: name of the run's adversary in whose place the outsider stands; else the first.
        draws: releases of each shadow image; 1 where two releases of an image never differ.
        candidates: adds the victims' images, in an order that tells nothing.
        model: your own model again, where the run was made with one.
        out: the folder of runs.
        root: where data sets lie; else UNSMASH_DATA.
        device: where the device half runs.
        noise: seed of the releases' noise; else a secret one. Who knows it can take the noise off.
        progress: takes events.

    Raises:
        UnsmashError: no such run or threat, other images, or a folder that is not empty.
    """
    folder = Path(target)
    _require_empty(folder)
    lab = Lab(device=working_device(device), sink=progress)
    opened = reopen(run, Path(out), lab, model=model, root=root)
    lab = replace(lab, seed=opened.experiment.seed)
    if opened.changed:
        lab.emit("warning", "run", f"the victims' network may differ from run {opened.run.id}'s: {opened.changed}")
    place = _threat(opened.experiment, threat)
    with lab.stage("victim") as told:
        victim = prepare(opened.experiment, opened.splits, lab, opened.store.cache, module=opened.module)
        told["say"] = "from the cache" if victim.cached else ""
    with lab.stage("challenge") as told:
        sender = _Sender(victim.model, place, replace(lab, seed=secrets.randbits(128) if noise is None else noise))
        files = sender.files(_scene(opened, lab), draws, candidates=candidates)
        manifest = _write(folder, files, opened, place, sender, candidates=candidates)
        told["say"] = f"{len(files) + 2} files"
    return manifest


def tell(manifest: Mapping[str, Any], folder: Path) -> None:
    """What was written, in a few lines."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for name, file in manifest["files"].items():
        if "tensors" not in file:
            continue
        shapes = ", ".join(f"{tensor} {'×'.join(map(str, t['shape']))}" for tensor, t in file["tensors"].items())
        console.print(f"  {name:<24}{shapes}", markup=False)
    console.print(
        f"Challenge: {folder}  (run {manifest['run']}, adversary {manifest['adversary']['name']})", markup=False
    )


@dataclass
class _Sender:
    """Sends images over the cut again, as the adversary of one threat sees it."""

    model: SplitModel
    threat: Threat
    lab: Lab
    """With the seed of the noise"""
    draws: int = 0
    """Releases of each shadow image that were sent; 0 where the threat grants no queries"""
    repeats: int = 1
    """Releases of each victim"""

    def files(self, scene: Scene, draws: int | None, *, candidates: bool) -> Files:
        """Every file's tensors by name."""
        model = copy.deepcopy(self.model)
        self._new_keys(model)
        view = observe(model, scene, self.threat, self.lab.at("challenge/victims"))
        self.repeats = len(view.repeats)
        found: Files = {"releases.safetensors": _tensors(_side_by_side(view.repeats))}
        if Grant.SHADOW in self.threat.grants:
            found["shadow.safetensors"] = self._shadow(model, scene, draws)
        if candidates:
            digests = _digests(scene.victims)
            order = sorted(range(len(digests)), key=digests.__getitem__)  # the images' own order, not the victims'
            found["candidates.safetensors"] = {"image": scene.victims[order].numpy()}
        return found

    def _new_keys(self, model: SplitModel) -> None:
        """Devices that draw by a key get another one: the run's follows from its seed, which anybody may guess."""
        for index, layer in enumerate(model.shield.modules()):
            if isinstance(layer, DrawnShield) and layer.key:
                layer.key = device_key(self.lab.at(f"challenge/key/{index}"), memoise=True)

    def _shadow(self, model: SplitModel, scene: Scene, draws: int | None) -> dict[str, np.ndarray]:
        found = {"image": scene.shadow.numpy(), "label": scene.shadow_labels.numpy()}
        if Grant.QUERIES not in self.threat.grants:
            return found
        one = self.threat.model_copy(update={"queries": 1})
        view: View = observe(model, scene, one, self.lab.at("challenge/shadow"))
        self.draws = (draws or max(DRAWS, self.threat.queries)) if view.stochastic else 1
        oracle = view.oracle(view.shadow)
        with self.lab.at("challenge/shadow").seeded("queries"):
            return found | _tensors(_side_by_side([oracle.ask() for _ in range(self.draws)]))


def _scene(opened: Reopened, lab: Lab) -> Scene:
    """The run's scene; of the shadow images, where sharing was allowed, those that are no victim's."""
    victims, shadow = opened.splits.victims, opened.splits.shadow
    private = set(_digests(victims.pixels))
    keep = torch.tensor([digest not in private for digest in _digests(shadow.pixels)])
    return make_scene(
        victims.pixels, victims.labels, shadow.pixels[keep], shadow.labels[keep], len(opened.splits.classes),
        lab.at("scene"),
    )  # fmt: skip


def _threat(experiment: Experiment, name: str | None) -> Threat:
    """The adversary of that name, or the first.

    Raises:
        ConfigError: the run has none of that name, or it sees moved frames of the victims.
    """
    named = {threat.name: threat for threat in experiment.threats}
    if name is not None and name not in named:
        raise ConfigError("--threat", got=name, allowed=list(named))
    threat = experiment.threats[0] if name is None else named[name]
    if threat.frames > 1:
        allowed = "an adversary who sees messages of one image"
        hint = "Moved frames are images of their own, and a challenge names the victims by their place"
        raise ConfigError("--threat", got=threat.name, allowed=allowed, hint=hint)
    return threat


def _require_empty(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError("--out", got=str(folder), allowed="a folder that is new or empty")


def _side_by_side(releases: Sequence[Smashed]) -> Smashed:
    """Several releases of the same images, as tensors [n, releases, …]."""
    return tuple(torch.stack(parts, 1) for parts in zip(*releases, strict=True))


def _tensors(release: Smashed) -> dict[str, np.ndarray]:
    """`release` where one tensor crosses, `release.0`, `release.1`, … where several do."""
    names = ["release"] if len(release) == 1 else [f"release.{index}" for index in range(len(release))]
    return {name: part.detach().cpu().contiguous().numpy() for name, part in zip(names, release, strict=True)}


def _digests(images: Tensor) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images.contiguous().numpy()]


def _write(
    folder: Path, files: Files, opened: Reopened, threat: Threat, sender: _Sender, *, candidates: bool
) -> dict[str, Any]:
    """The folder, under a temporary name until it is complete."""
    with Store(folder.absolute().parent).writing(folder.absolute().name) as work:
        for name, tensors in files.items():
            guesses.write(work / name, tensors)
        manifest = describe(
            opened.run, opened.experiment, threat, files, draws=sender.draws, repeats=sender.repeats,
            candidates=candidates, version=metadata.version("unsmash"),
        )  # fmt: skip
        write_text(work / README, read_me(manifest))
        for name in (*files, README):
            listed = manifest["files"].setdefault(name, {})
            listed["sha256"] = hashlib.sha256((work / name).read_bytes()).hexdigest()
        write_text(work / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
    return manifest
