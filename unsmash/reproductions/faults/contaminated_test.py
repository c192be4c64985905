"""A test set that the attacker holds: Omniglot's two small background sets share the Greek and the Latin letters.

The study trains its attacker on small1, tests it on small2, calls them disjoint, and then sees that Greek and Roman
letters are reconstructed best.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unsmash import scoring
from unsmash.attacks.lookalike import Lookalike
from unsmash.attacks.mean_image import MeanImage
from unsmash.attacks.ridge import Ridge
from unsmash.data.omniglot import Omniglot
from unsmash.lab import Lab
from unsmash.reproductions.faults.fault import Fault, Figures, figures, measures, percent, table, turn
from unsmash.reproductions.faults.ground import Ground, Subject, require
from unsmash.reproductions.record import Measure, Sheet
from unsmash.reproductions.workbench import Made
from unsmash.threat import Grant, Threat
from unsmash.view import Scene, granted, make_scene, observe

NEEDS = ("letters_train", "letters_passes", "letters_shadow", "letters_test", "letters_victims")
METRICS = ("identification", "ssim", "mse")
SHOWN = 8

SMALL2 = 3120
"""Letters of small2"""

FILES = "small2 in small1"
ATTACKS = {
    "lookalike": "nearest letter",
    "ridge": "ridge",
    "mean_image": "floor: average letter",
    "blank": "floor: blank page",
}
GROUPS = {"whole": "small2 as it comes", "new": "new letters only", "known": "the letters in both"}


def show(ground: Ground) -> Fault:
    """How many letters are in both sets, and what attacks reach on those, on the others, and on the set as it comes."""
    letters = _letters(ground)
    train = ground.step("letters: the network", NEEDS[:4], lambda lab: Made({"accuracy": _accuracy(letters, ground)}))
    step = ground.step("letters: attacks", NEEDS, lambda lab: _attacks(letters, ground, lab))
    kept, count = step.figures["scores"], step.figures["shared"]
    ours: dict[str, dict[str, Measure]] = {}
    right: dict[str, dict[str, Measure]] = {}
    for kind, name in ATTACKS.items():
        ours[name], right[name] = (measures(kept[group][kind]) for group in ("whole", "new"))
        if not name.startswith("floor"):
            ours[f"{name}, in both sets"] = measures(kept["known"][kind])
    near, ridge = ({group: kept[group][kind] for group in GROUPS} for kind in ("lookalike", "ridge"))
    parts = [(group, what) for group in ("known", "new") for what in ("truth", "lookalike", "ridge")]
    titles = {"truth": "Original", "lookalike": "Nearest of the attacker's", "ridge": "Ridge regression"}
    notes = {"known": "in both sets", "new": "new to the attacker"}
    return Fault(
        name="contaminated test set",
        shown=bool(count) and turn(near["new"]["identification"], near["known"]["identification"]) > 0,
        sentence=_sentence(count, near, ridge, train.figures["accuracy"]),
        brief=f"{count:,} of {SMALL2:,} test images are the attacker's own",
        tables=(
            table("overlap", {}, {FILES: measures({"files": [count]})}),
            table("letters", ours, right, REASON, BLANK),
        ),
        sheets=(
            Sheet(
                "letters",
                "Letters that the attacker holds, and letters that are new to it",
                "From 32 numbers for 11,025 pixels; the first victims of each kind.",
                tuple((titles[what], notes[group]) for group, what in parts),
            ),
        ),
        pictures={f"letters/{place}": step.arrays[f"{group}/{what}"] for place, (group, what) in enumerate(parts)},
    )


REASON = (
    "As published: small2 as it comes. Put right: only those of its letters that are not in small1 too. On the letters "
    "in both, the nearest of the attacker's letters is the victim itself."
)
BLANK = "A blank page has a high SSIM against any letter: on thin strokes the share identified is what tells."


def _sentence(count: int, near: dict[str, Figures], ridge: dict[str, Figures], accuracy: list[float]) -> str:
    known, new, whole = (near[group]["identification"] for group in ("known", "new", "whole"))
    verdict = {
        1: "which is the overlap and no skill",
        0: "no different beyond the intervals",
        -1: "less than on new ones, which nobody expected",
    }[turn(new, whole)]
    return (
        f"**Contaminated test set.** {count:,} of Omniglot's {SMALL2:,} test letters are byte for byte among the "
        f"attacker's, which are called disjoint. The attacker's nearest letter identifies {percent(known)} of "
        f"{known[3]:.0f} letters in both sets, {percent(new)} of {new[3]:.0f} new ones and {percent(whole)} of "
        f"{whole[3]:.0f} of the set as it comes, {verdict}; ridge regression identifies "
        f"{percent(ridge['known']['identification'])} of those in both and "
        f"{percent(ridge['new']['identification'])} of the new ones. "
        f"(The network tells {percent(accuracy)} of the letters' alphabets right.)"
    )


def _letters(ground: Ground) -> Subject:
    sizes = ground.sizes
    data = Omniglot(
        train=sizes.letters_train, shadow=sizes.letters_shadow, victims=sizes.letters_test,
        validator=40, val=min(500, sizes.letters_train),
    )  # fmt: skip
    return Subject(ground.bench, data, contaminated=True)


def _accuracy(letters: Subject, ground: Ground) -> list[float]:
    return letters.accuracy(letters.network("omniglot_cnn", ground.sizes.letters_passes))


def _attacks(letters: Subject, ground: Ground, lab: Lab) -> Made:
    """Fit each attack once, on what the attacker holds, and score it on the three groups of victims."""
    splits, most = letters.splits, ground.sizes.letters_victims
    known = _in(splits.victims.pixels, splits.shadow.pixels)
    groups = {
        "whole": torch.arange(len(known)),
        "new": (~known).nonzero().flatten(),
        "known": known.nonzero().flatten(),
    }
    groups = {name: rows[:most] for name, rows in groups.items()}
    for name, rows in groups.items():
        require(len(rows), f"letters of the kind {GROUPS[name]!r}")
    scenes = {name: _scene(letters, rows, lab) for name, rows in groups.items()}
    every = _scene(letters, torch.cat(list(groups.values())), lab)
    model = letters.network("omniglot_cnn", ground.sizes.letters_passes)
    view = granted(observe(model, every, Threat(), lab), Grant.SHADOW)
    attacks = {"lookalike": Lookalike(), "ridge": Ridge(), "mean_image": MeanImage()}
    guesses = {"blank": torch.ones_like(every.victims)}
    for name, attack in attacks.items():
        with lab.seeded(name):
            guesses[name] = attack.run(view, lab.at(name))
    scores: dict[str, dict[str, Figures]] = {name: {} for name in groups}
    arrays: dict[str, Tensor] = {}
    for kind, guess in guesses.items():
        attack = attacks.get(kind, MeanImage())
        for name, part in zip(groups, guess.split([len(rows) for rows in groups.values()]), strict=True):
            result = scoring.score_images(attack, kind, "", part, scenes[name], None)
            scores[name][kind] = figures(result, METRICS)
            arrays |= {f"{name}/{kind}": part[:SHOWN].clamp(0, 1), f"{name}/truth": scenes[name].victims[:SHOWN]}
    return Made({"scores": scores, "shared": splits.report.contamination}, arrays)


def _scene(letters: Subject, rows: Tensor, lab: Lab) -> Scene:
    victims, shadow = letters.splits.victims, letters.splits.shadow
    classes = len(letters.splits.classes)
    return make_scene(victims.pixels[rows], victims.labels[rows], shadow.pixels, shadow.labels, classes, lab)


def _in(images: Tensor, others: Tensor) -> Tensor:
    """Which of the images [n, …] are among the others to the bit: [n] bool."""
    held = {image.tobytes() for image in others.numpy()}
    return torch.tensor([image.tobytes() in held for image in images.numpy()])
