"""What a challenge folder says of itself: its manifest and its README. Data and words, nothing is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unsmash.component import Component
from unsmash.experiment import Experiment
from unsmash.guesses import HANDED_IN
from unsmash.records import Run
from unsmash.threat import Grant, Threat

FORMAT = 1
"""Raised when the folder's layout changes"""

MANIFEST, README, HAND_IN = "manifest.json", "README.md", "guesses.safetensors"

MEANING = {
    ("releases.safetensors", "release"): "What the device sent for each victim: [victims, releases, …]",
    ("shadow.safetensors", "image"): "The adversary's own images, none of them a victim's: [images, c, h, w] in [0, 1]",
    ("shadow.safetensors", "label"): "Their classes as places in `classes`; −1 where unknown",
    ("shadow.safetensors", "release"): "What the device sent for each of them: [images, draws, …]",
    ("candidates.safetensors", "image"): "The victims' images in no order: [victims, c, h, w] in [0, 1]",
}

CARRIED = (Grant.QUERIES, Grant.SHADOW)
"""Grants that a folder can hand over; candidates are given on demand"""


def describe(
    run: Run,
    experiment: Experiment,
    threat: Threat,
    files: Mapping[str, Mapping[str, np.ndarray]],
    *,
    draws: int,
    repeats: int,
    candidates: bool,
    version: str,
) -> dict[str, Any]:
    """The manifest, all but the files' hashes."""
    assert run.data is not None
    adversary = threat.record(run.data.sizes["victims"])
    carried = [grant for grant in threat.grants if grant in CARRIED]
    shape = [run.data.sizes["victims"], *run.data.input_shape]
    return {
        "format": FORMAT,
        "made_with": f"unsmash {version}",
        "run": run.id,
        "victims": shape[0],
        "input_shape": shape[1:],
        "data_range": [0, 1],
        "noun": list(run.data.noun),
        "classes": list(run.data.classes),
        "adversary": {
            "name": adversary.name,
            "title": adversary.title,
            "can": list(adversary.can),
            "cannot": list(adversary.cannot),
            "releases_of_each_victim": repeats,
            "releases_of_each_shadow_image": draws,
            "holds": [str(grant) for grant in carried] + (["candidates"] if candidates else []),
            "granted_but_not_in_this_folder": [
                str(grant)
                for grant in threat.grants
                if grant not in CARRIED and not (grant is Grant.CANDIDATES and candidates)
            ],
        },
        "defence": [_defence(one) for one in experiment.defences],
        "random": bool(run.split and run.split.stochastic),
        "files": {
            name: {"tensors": {key: _tensor(name, key, array) for key, array in tensors.items()}}
            for name, tensors in files.items()
        },
        "hand_in": {
            "file": HAND_IN,
            "tensor": HANDED_IN,
            "shape": shape,
            "dtype": "float32",
            "range": [0, 1],
            "order": "row i is the reconstruction of the victim whose releases are row i",
            "scored_by": f"unsmash score {run.id} --guesses {HAND_IN}",
        },
    }


def _defence(one: Component) -> dict[str, Any]:
    """A defence in words, with every setting: its law is known to every adversary."""
    words = {name: str(getattr(one, name, "")) for name in ("protects", "guarantee", "source")}
    return {"kind": one.kind, "summary": type(one).summary(), **words, "settings": one.model_dump(mode="json")}


def _tensor(file: str, name: str, array: np.ndarray) -> dict[str, Any]:
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "range": [float(array.min()), float(array.max())] if array.size else [],
        "meaning": MEANING[file, name.partition(".")[0]],
    }


def read_me(manifest: Mapping[str, Any]) -> str:
    """The README, in Markdown."""
    adversary, hand_in = manifest["adversary"], manifest["hand_in"]
    one, many = manifest["noun"]
    c, h, w = manifest["input_shape"]
    lines = [
        f"# Reconstruct {manifest['victims']} private {many}",
        "",
        f"A neural network is split between a device and a server. The device has sent what it computes from "
        f"{manifest['victims']} private {many} ({c}×{h}×{w}); this folder holds what it sent, not the {many}. Say what "
        "they looked like.",
        "",
        "## What you have",
        "",
        "| file | tensor | shape | what |",
        "|---|---|---|---|",
    ]
    for name, file in manifest["files"].items():
        lines += [
            f"| `{name}` | `{key}` | {'×'.join(map(str, tensor['shape']))} {tensor['dtype']} | {tensor['meaning']} |"
            for key, tensor in file["tensors"].items()
        ]
    lines += ["", "Whoever attacks may " + "; ".join(adversary["can"]) + ".", ""]
    if adversary["releases_of_each_shadow_image"]:
        lines += [
            "You cannot run the device half yourself; the releases of the shadow images stand for it. Whoever made "
            "this folder can make one with more of them (`--draws`), where the defence is random.",
            "",
        ]
    missing = adversary["granted_but_not_in_this_folder"]
    if missing:
        lines += [f"The adversary of the run holds what this folder leaves out, too: {', '.join(missing)}.", ""]
    lines += ["## What stands in the way", ""]
    lines += [
        f"- **{one['kind']}**: {one['summary']} {one['protects']} Proven: {one['guarantee']}. Settings: "
        + (
            ", ".join(
                f"{key} = {value}" for key, value in one["settings"].items() if key != "kind" and value is not None
            )
            or "none"
        )
        + "."
        for one in manifest["defence"]
    ] or ["Nothing: the activations are sent as they are."]
    lines += [
        "",
        "## How to hand in",
        "",
        f"Write `{hand_in['file']}` with one tensor `{hand_in['tensor']}`, {hand_in['dtype']} "
        f"{'×'.join(map(str, hand_in['shape']))} in [0, 1]; {hand_in['order']}. Whoever holds the run scores it:",
        "",
        "```",
        hand_in["scored_by"],
        "```",
        "",
        f"It counts how many guesses match their own {one} better than any of the other {manifest['victims'] - 1}, and "
        "how alike they are pixel by pixel. `manifest.json` has all of this for programs, and the hash of every file.",
        "",
    ]
    return "\n".join(lines)
