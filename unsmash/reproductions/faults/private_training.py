"""DP-SGD taken for a protection of what is sent: it protects the training's records, and inputs may leak more.

A noisily trained device half stays near its random start, and a random projection of an image is easier to undo than a
trained one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from unsmash.attacks.decoder import Decoder
from unsmash.attacks.mean_image import MeanImage
from unsmash.attacks.ridge import Ridge
from unsmash.defences.dpsgd import DpSgdShield, Spent
from unsmash.errors import DependencyError
from unsmash.lab import Lab
from unsmash.reproductions.faults.fault import Fault, Figures, measures, percent, table, turn
from unsmash.reproductions.faults.ground import DIGITS, Ground, learned
from unsmash.reproductions.record import Measure, Sheet
from unsmash.reproductions.workbench import Made
from unsmash.split import SplitModel
from unsmash.split.clipping import opacus
from unsmash.threat import Grant, Threat
from unsmash.view import granted, observe

DPSGD: dict[str, Any] = {"kind": "dpsgd", "noise": 1.0, "delta": 1e-4}
NETWORKS = {"plain": "No defence", "private": "DP-SGD, noise 1.0", "fresh": "Never trained"}
NEEDS = (*DIGITS, "private_train", "private_passes")
ATTACKS = (*NEEDS, "decoder_images", "decoder_passes")


def show(ground: Ground) -> Fault:
    """The same network trained with and without DP-SGD, and not at all, under the same attacks."""
    left_out = _missing()
    names = [name for name in NETWORKS if name != "private" or not left_out]
    trained = {
        name: ground.step(f"private training: {name}", NEEDS, partial(_trained, ground, name), **_told(name))
        for name in names
    }
    steps = {
        name: ground.step(
            f"private training: attacks, {name}", ATTACKS, partial(_attacked, ground, name), **_told(name)
        )
        for name in names
    }
    kept: dict[str, dict[str, Figures]] = {name: step.figures for name, step in steps.items()}
    ours = {NETWORKS[name]: measures(trained[name].figures) for name in names}
    right: dict[str, dict[str, Measure]] = {}
    for name in names:
        right[NETWORKS[name]] = measures(_leak(kept[name]["decoder"]))
        right[f"{NETWORKS[name]}, ridge"] = measures(_leak(kept[name]["ridge"]))
    right["floor: average digit"] = measures(_leak(kept["plain"]["mean_image"]))
    lines = (("Original", ""), *((NETWORKS[name], _note(kept[name]["decoder"])) for name in names))
    pictures = [steps["plain"].arrays["truth"], *(steps[name].arrays["decoder"] for name in names)]
    private = kept.get("private")
    return Fault(
        name="DP-SGD does not protect inputs",
        shown=None if private is None else turn(kept["plain"]["decoder"]["ssim"], private["decoder"]["ssim"]) >= 0,
        sentence=_sentence(kept, {name: one.figures for name, one in trained.items()}),
        brief=_brief(kept),
        tables=(table("private", ours, right, WHAT, WHY),),
        sheets=(Sheet("private", "What our decoder makes of one message", "One digit of each class.", lines),),
        pictures={f"private/{place}": images for place, images in enumerate(pictures)},
        left_out=(left_out,) if left_out else (),
    )


WHAT = (
    "The study gives ε and accuracy for DP-SGD as a remedy for the inversion of what is sent, and pictures, but no "
    "figure of leakage; those are here. ε is of the training records and by an exact accountant with Poisson sampling; "
    "the published one is for another n, another sampling and a network whose BatchNorm mixes records."
)
WHY = "Attacked are held-out digits that trained nothing: DP-SGD promises nothing about them."


def _missing() -> str:
    """Why private training cannot be tried here; empty where it can."""
    try:
        opacus("validators")
    except DependencyError as error:
        return f"DP-SGD was not tried: {error}"
    return ""


def _told(name: str) -> dict[str, Any]:
    return {"defence": DPSGD if name == "private" else None, "trained": name != "fresh"}


def _leak(found: Figures) -> Figures:
    return {name: found[name] for name in ("identification", "ssim")}


def _note(found: Figures) -> str:
    return f"SSIM {found['ssim'][0]:.3f}, {percent(found['identification'])} identified"


def _brief(kept: dict[str, dict[str, Figures]]) -> str:
    if "private" not in kept:
        return ""
    before, after = (kept[name]["decoder"]["ssim"][0] for name in ("plain", "private"))
    return f"DP-SGD moves the SSIM of reconstructions from {before:.2f} to {after:.2f}"


def _sentence(kept: dict[str, dict[str, Figures]], told: dict[str, Figures]) -> str:
    begin = "**DP-SGD does not protect what is sent.** "
    plain, fresh = kept["plain"]["decoder"], kept["fresh"]["decoder"]
    if "private" not in kept:
        return begin + (
            f"Not tried here, for opacus is missing; without defence our decoder identifies "
            f"{percent(plain['identification'])} at SSIM {plain['ssim'][0]:.3f}."
        )
    private = kept["private"]["decoder"]
    verdict = {1: "it leaks more", 0: "it leaks as much, within the intervals", -1: "it leaks less here"}
    return begin + (
        f"Trained with ε = {told['private']['epsilon'][0]:.1f} (accuracy {percent(told['private']['accuracy'])} for "
        f"{percent(told['plain']['accuracy'])}), the network's messages give our decoder SSIM {private['ssim'][0]:.3f} "
        f"and {percent(private['identification'])} of {private['identification'][3]:.0f} victims, against "
        f"{plain['ssim'][0]:.3f} and {percent(plain['identification'])} without it: "
        f"{verdict[turn(plain['ssim'], private['ssim'])]}. A network that was never trained gives "
        f"{fresh['ssim'][0]:.3f} and {percent(fresh['identification'])}."
    )


def _network(ground: Ground, name: str) -> SplitModel:
    passes = 0 if name == "fresh" else ground.sizes.private_passes
    return ground.fewer.network("splitnn", passes, *([DPSGD] if name == "private" else []))


def _trained(ground: Ground, name: str, lab: Lab) -> Made:
    """Train it; gives its accuracy in per cent and, where it has one, its ε."""
    model = _network(ground, name)
    spent = [layer.spent for layer in model.shield.modules() if isinstance(layer, DpSgdShield)]
    epsilon = {"epsilon": [Spent(*spent[0].tolist()).epsilon]} if spent else {}
    return Made({"accuracy": ground.fewer.accuracy(model)} | epsilon)


def _attacked(ground: Ground, name: str, lab: Lab) -> Made:
    subject, sizes = ground.fewer, ground.sizes
    view = observe(_network(ground, name), subject.scene, Threat(), lab)
    attacks = (Ridge(images=sizes.decoder_images), Decoder(**learned(sizes)))
    found: dict[str, tuple[Figures, Tensor]] = {one.kind: subject.score(one, view, lab) for one in attacks}
    found["mean_image"] = subject.score(MeanImage(), granted(view, Grant.SHADOW), lab)
    rows = subject.exhibits
    shown = {"truth": subject.scene.victims[rows], "decoder": found["decoder"][1][rows]}
    return Made({kind: one for kind, (one, _) in found.items()}, shown)
