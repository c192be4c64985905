"""48.6 dB: a signal-to-noise ratio with a peak of 255 on images whose numbers lie between about −2 and 3.

Any picture of a face, or none at all, scores above 45 dB that way; the true figures are 35 dB lower.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unsmash import scoring
from unsmash.attacks.mean_image import MeanImage
from unsmash.data.lfw import Lfw
from unsmash.lab import Lab
from unsmash.reproductions.faults.fault import Fault, Figures, figures, mean, measures, published, table
from unsmash.reproductions.faults.ground import Ground, Subject
from unsmash.reproductions.record import Measure, Sheet
from unsmash.reproductions.workbench import Made

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, by which the published images are normalised"""

PEAK = 255.0
SHOWN = 8
METRICS = ("psnr", "ssim", "identification")
REPORTED = "the reported one"
GUESSES = {
    "grey": "all grey",
    "mean": "mean of other faces",
    "stranger": "another face",
    "clipped": "perfect, but clipped",
}


def show(ground: Ground) -> Fault:
    """Guesses that saw nothing, and one that saw all, in published and in true decibels."""
    step = ground.step("decibels", ("faces",), lambda lab: _faces(ground, lab))
    kept: dict[str, Figures] = step.figures
    was = published("decibels", REPORTED, "psnr")
    ours = {GUESSES[name]: measures({"psnr": kept[name]["published"]}) for name in GUESSES}
    right = {GUESSES[name]: measures({one: kept[name][one] for one in METRICS}) for name in GUESSES}
    right[REPORTED] = {"psnr": Measure(true_decibels(was))}
    average = kept["mean"]
    return Fault(
        name="48.6 dB",
        shown=all(kept[name]["published"][0] > 40 and kept[name]["psnr"][0] < 20 for name in ("grey", "mean")),
        sentence=_sentence(kept, was),
        brief=f"a mean face scores {average['published'][0]:.1f} dB where {average['psnr'][0]:.1f} dB are true",
        tables=(table("decibels", ours, right, FORMULA, CLIPPED),),
        sheets=(
            Sheet(
                "decibels",
                "What published decibels look like",
                "Faces and four guesses at them; none of the first three has seen anything of the face.",
                (("Original", ""), *((GUESSES[one].capitalize(), _note(kept[one])) for one in GUESSES)),
            ),
        ),
        pictures={f"decibels/{place}": step.arrays[name] for place, name in enumerate(("truth", *GUESSES))},
        substitutes=("decibels: CelebA at 320×320 could not be had; faces of LFW at 64×64 stand in for it",),
    )


FORMULA = (
    "As published: 10 log₁₀(255² / error), the error on normalised pixels, whose standard deviation is about 1. Put "
    "right: pixels in [0, 1], peak 1. The reported figure is put right by the same conversion."
)
CLIPPED = (
    "The published decoder ends in a ReLU on normalised pixels, so nothing darker than the mean colour can be drawn."
)


def _note(found: Figures) -> str:
    return f"published {found['published'][0]:.1f} dB, true {found['psnr'][0]:.1f} dB"


def _sentence(kept: dict[str, Figures], was: float) -> str:
    told = {name: (one["published"][0], one["psnr"][0]) for name, one in kept.items()}
    return (
        f"**48.6 dB.** The reported {was:.1f} dB have a peak of 255 on normalised faces and are "
        f"{true_decibels(was):.1f} dB; by that formula a grey picture scores {told['grey'][0]:.1f} dB (true: "
        f"{told['grey'][1]:.1f}), the mean face {told['mean'][0]:.1f} ({told['mean'][1]:.1f}), another person's face "
        f"{told['stranger'][0]:.1f} ({told['stranger'][1]:.1f}), and a perfect reconstruction, clipped as the "
        f"published decoder clips, {told['clipped'][0]:.1f} ({told['clipped'][1]:.1f}), over "
        f"{kept['grey']['psnr'][3]:.0f} faces."
    )


def with_peak_255(truth: Tensor, guess: Tensor) -> Tensor:
    """The fault: dB of each guess [n] with a peak of 255, from images [n, 3, h, w] in [0, 1], normalised first."""
    error = (normalised(truth.double()) - normalised(guess.double())).square().flatten(1).mean(1)
    return 10 * (PEAK**2 / error).log10()


def true_decibels(reported: float) -> float:
    """What such a figure is with pixels in [0, 1] and a peak of 1, by the mean spread of the three channels.

    >>> round(true_decibels(48.6), 1)
    13.4
    """
    spread = math.sqrt(sum(one**2 for one in STD) / len(STD))
    return reported - 20 * math.log10(PEAK * spread)


def normalised(images: Tensor) -> Tensor:
    """Images in [0, 1] by ImageNet's mean and standard deviation."""
    return (images - _each(MEAN, images)) / _each(STD, images)


def clipped(images: Tensor) -> Tensor:
    """Images as the published decoder gives them at best: a ReLU on normalised pixels."""
    return normalised(images).relu() * _each(STD, images) + _each(MEAN, images)


def _each(numbers: tuple[float, ...], images: Tensor) -> Tensor:
    return torch.tensor(numbers).to(images).reshape(1, -1, 1, 1)


def _faces(ground: Ground, lab: Lab) -> Made:
    count = ground.sizes.faces
    data = Lfw(train=max(2 * count, 40), shadow=count, validator=20, val=20, victims=count)
    subject = Subject(ground.bench, data)
    truth, others = subject.scene.victims, subject.splits.train.pixels
    pick = torch.randint(len(others), (len(truth),), generator=lab.generator("strangers"))
    guesses = {
        "grey": torch.full_like(truth, 0.5),
        "mean": others.mean(0, keepdim=True).expand_as(truth),
        "stranger": others[pick],
        "clipped": clipped(truth),
    }
    found: dict[str, Figures] = {}
    for name, guess in lab.track(list(guesses.items()), "faces"):
        result = scoring.score_images(MeanImage(), name, "", guess, subject.scene, None)
        found[name] = figures(result, METRICS) | {"published": mean(with_peak_255(truth, guess).tolist())}
    return Made(found, {name: one[:SHOWN] for name, one in {"truth": truth, **guesses}.items()})
