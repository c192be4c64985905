"""Repeats undo noise: who sees several messages of one image averages the noise away. No published evaluation asked."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from unsmash.attacks.decoder import Decoder
from unsmash.attacks.mean_image import MeanImage
from unsmash.attacks.ridge import Ridge
from unsmash.lab import Lab
from unsmash.reproductions.faults.fault import Fault, Figures, measures, percent, table, turn
from unsmash.reproductions.faults.ground import DIGITS, Ground, learned
from unsmash.reproductions.record import Chart, Sheet
from unsmash.reproductions.workbench import Made
from unsmash.threat import Grant, Threat
from unsmash.view import granted, observe

NEEDS = (*DIGITS, "passes", "decoder_images", "decoder_passes")
QUIET = 0
"""Stands for messages without any noise"""


def show(ground: Ground) -> Fault:
    """Ridge and our decoder on 1, 4, 16, 64 messages of each image, and on messages without noise."""
    accuracy = ground.noisy_accuracy
    repeats = ground.sizes.repeats
    steps = {
        k: ground.step(f"repeats: {_name(k)}", NEEDS, partial(_attacked, ground, k), queries=k)
        for k in (*repeats, QUIET)
    }
    kept: dict[int, dict[str, Figures]] = {k: step.figures for k, step in steps.items()}
    right = {}
    for k, one in kept.items():
        right[_name(k)] = measures(one["decoder"] | {"ridge": one["ridge"]["identification"]})
    right["floor: average digit"] = measures(kept[1]["mean_image"])
    charts = [
        Chart(
            title=f"{title} by how many messages of one image are seen",
            about="Laplace 1.0 with fresh noise in each message; attackers that learned at that many messages.",
            x="messages of one image",
            y=unit,
            lines=_lines(kept, repeats, metric),
        )
        for metric, title, unit in (("identification", "Identified", "%"), ("ssim", "SSIM", "SSIM"))
    ]
    lines = (("Original", ""), *((_name(k).capitalize(), _note(kept[k]["decoder"])) for k in steps))
    pictures = [steps[1].arrays["truth"], *(step.arrays["decoder"] for step in steps.values())]
    once, many = (kept[k]["decoder"]["identification"] for k in (1, _undone(repeats)))
    return Fault(
        name="repeats undo noise",
        shown=turn(once, many) > 0,
        sentence=_sentence(kept, repeats),
        brief=f"{_name(_undone(repeats))} of one image identify {percent(many)}",
        tables=(table("repeats", {_name(1): measures({"accuracy": accuracy})}, right, REASON),),
        sheets=(Sheet("repeats", "One image, several messages", "What our decoder makes of them.", lines),),
        charts=tuple(charts),
        pictures={f"repeats/{place}": images for place, images in enumerate(pictures)},
    )


REASON = (
    "The published figures are of one message an image. Put right: the same digit sent so many times, each with fresh "
    "noise; the attacker takes the median from 16 on, the mean below, and learns from its own images sent as often."
)


def _name(k: int) -> str:
    return "without noise" if k == QUIET else f"{k} message{'s' if k > 1 else ''}"


def _undone(repeats: tuple[int, ...]) -> int:
    """Sixteen, or what is nearest below it, but never one."""
    return max([k for k in repeats[1:] if k <= 16] or repeats[1:2])


def _note(found: Figures) -> str:
    return f"SSIM {found['ssim'][0]:.3f}, {percent(found['identification'])} identified"


def _lines(
    kept: dict[int, dict[str, Figures]], repeats: tuple[int, ...], metric: str
) -> tuple[tuple[str, tuple[tuple[float, float], ...]], ...]:
    names = (("decoder", "our decoder"), ("ridge", "ridge regression"), ("mean_image", "floor: the average digit"))
    lines = [(name, tuple((float(k), kept[k][kind][metric][0]) for k in repeats)) for kind, name in names]
    level = kept[QUIET]["decoder"][metric][0]
    return (*lines, ("our decoder, without noise", tuple((float(k), level) for k in repeats)))


def _sentence(kept: dict[int, dict[str, Figures]], repeats: tuple[int, ...]) -> str:
    found = {k: one["decoder"] for k, one in kept.items()}
    few = _undone(repeats)
    told = ", ".join(f"{percent(found[k]['identification'])} from {_name(k)}" for k in repeats)
    back = found[few]["ssim"][0] / found[QUIET]["ssim"][0]
    verdict = {1: "undo", 0: "do not measurably weaken", -1: "strengthen, against expectation,"}
    return (
        f"**Repeats undo noise.** Against Laplace 1.0 our decoder identifies {told} of one image, of "
        f"{found[1]['identification'][3]:.0f} digits, and {percent(found[QUIET]['identification'])} without noise: "
        f"repeats {verdict[turn(found[1]['identification'], found[few]['identification'])]} it. SSIM goes from "
        f"{found[1]['ssim'][0]:.3f} to {found[few]['ssim'][0]:.3f} with {few}, {100 * back:.0f} % of what it is "
        "without noise."
    )


def _attacked(ground: Ground, queries: int, lab: Lab) -> Made:
    subject, sizes = ground.digits, ground.sizes
    view = observe(ground.noisy() if queries else ground.quiet(), subject.scene, Threat(queries=max(1, queries)), lab)
    attacks = (Ridge(images=sizes.decoder_images), Decoder(**learned(sizes)))
    found: dict[str, tuple[Figures, Tensor]] = {one.kind: subject.score(one, view, lab) for one in attacks}
    found["mean_image"] = subject.score(MeanImage(), granted(view, Grant.SHADOW), lab)
    rows = subject.exhibits
    shown = {"truth": subject.scene.victims[rows], "decoder": found["decoder"][1][rows]}
    return Made({kind: one for kind, (one, _) in found.items()}, shown)
