"""dpsnn's attack with its fault and without: the published decoder on activations nobody sends, and on those sent.

Its classifier hands back the activations before the noise, and both the training and the scoring of the attacker take
those. Its figures are drawn another way: the attacker that learned without noise is shown what is sent. An attacker
that learns from what is sent is in neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unsmash import scoring
from unsmash.attacks.affine_decoder import MEAN, STD, Affine, AffineDecoder
from unsmash.attacks.base import Attack
from unsmash.attacks.decoder import Decoder
from unsmash.attacks.ridge import Ridge
from unsmash.lab import Lab
from unsmash.metrics.dependence import distance_correlation
from unsmash.metrics.identification import identify
from unsmash.metrics.images import ssim
from unsmash.pipeline import floors_of
from unsmash.published import Recipe
from unsmash.recogniser import Recogniser
from unsmash.reproductions import measures
from unsmash.reproductions.dpsnn_names import Classifier
from unsmash.reproductions.dpsnn_networks import SHAPE, Digits, Plan, by_batches, codes, hits, noised
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import Smashed, SplitModel
from unsmash.threat import Threat
from unsmash.view import View, make_scene, observe

REVISION = 1
"""Raised when a change here changes what comes out"""

SCORING_BATCH = 256
REPEATS = 16
FIRST_SHOWN = 10
"""Where the published figures begin to look for one example of each digit"""

GUESSES = {
    "clean": "Published decoder, as in its tables: learns from and is scored on activations without noise",
    "shown": "Published decoder, as in its figures: learned without noise, is given what is sent",
    "sent": "Published decoder, put right: learns from and is given what is sent",
    "ridge": "Ridge regression on what is sent",
    "repeats": f"Ridge regression on {REPEATS} messages of each image",
    "decoder": "Residual decoder on what is sent",
}
"""Every attack by its key in a step's figures"""

RECIPE = Recipe("published decoder", 10, 128, 1e-4, (MEAN,), (STD,))
"""For its pixels only: the loss is on normalised ones"""


@dataclass(frozen=True)
class Learning:
    """How the attackers learn, and how many images they are judged by."""

    epochs: int = 10
    batch: int = 128
    rate: float = 1e-4
    decoder_epochs: int = 5
    """Of our residual decoder"""
    candidates: int = 500
    """Images among which a reconstruction must find its own"""


@dataclass(frozen=True)
class Judges:
    """Who reads the reconstructions."""

    theirs: SplitModel
    """The published validator: another training of the network on the target's own images"""
    ours: Recogniser
    """Trained on images that nobody else has"""


def clean_decoder(z: Tensor, images: Tensor, how: Learning, lab: Lab) -> Affine:
    """The published attacker: each image with one fixed row of activations, in the file's order, every pass alike."""
    with lab.seeded("network"):
        network = Affine(z.shape[1], SHAPE).to(lab.device)
    optimiser, targets = torch.optim.Adam(network.parameters(), lr=how.rate), RECIPE.pixels(images)
    for number in range(1, how.epochs + 1):
        total = 0.0
        parts = list(zip(z.split(how.batch), targets.split(how.batch), strict=True))
        for rows, truth in lab.track(parts, f"decoder, pass {number} of {how.epochs}"):
            loss = nn.functional.mse_loss(network((rows.to(lab.device),)), truth.to(lab.device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        lab.epoch(RECIPE.name, number, loss="squared error a normalised pixel", train=total / len(z), held=None)
    return network.eval()


@torch.no_grad()
def decoded(network: Affine, z: Tensor, lab: Lab) -> Tensor:
    """Reconstructions [n, 1, 28, 28], not clamped."""
    return torch.cat([RECIPE.images(network((part.to(lab.device),)).cpu()) for part in z.split(256)])


def attacked(
    bench: Workbench, cell: Classifier, model: SplitModel, data: Digits, plan: Plan, how: Learning, judges: Judges
) -> Made:
    """Every attack on one network: figures by attack, and the pictures of one example of each digit."""
    settings = plan.settings(cell) | sizes(data) | {"learning": asdict(how), "attacks": REVISION}

    def make(lab: Lab) -> Made:
        guesses = _guesses(cell, model, data, how, lab)
        figures = {name: scored(guess, data, how, judges, lab) for name, guess in guesses.items()}
        places = examples(data.scored.labels)
        shown = {name: measures.shown(guess[places]) for name, guess in guesses.items()}
        return Made(figures, shown)

    return bench.once(f"attack {cell.name}", settings, make)


def _guesses(cell: Classifier, model: SplitModel, data: Digits, how: Learning, lab: Lab) -> dict[str, Tensor]:
    """Reconstructions of the scored images, by attack. Where nothing is noised, what is sent is the clean activation:
    the published decoder is then trained once.
    """
    known = activations(model, data, lab)
    view = look(model, data, Threat(), lab, known)
    clean = clean_decoder(known[0][1][0], data.shadow.pixels, how, lab.at("published"))
    guesses = {"clean": decoded(clean, known[1][1][0], lab)}
    if cell.noise:
        guesses["shown"] = decoded(clean, view.release[0], lab)
        guesses["sent"] = run(AffineDecoder(epochs=how.epochs, batch=how.batch, rate=how.rate), view, lab)
        many = look(model, data, Threat(name="repeat", queries=REPEATS), lab, known)
        guesses["repeats"] = run(Ridge(), many, lab.at("repeats"))
    guesses["ridge"] = run(Ridge(), view, lab)
    guesses["decoder"] = run(Decoder(epochs=how.decoder_epochs), view, lab)
    return guesses


def activations(model: SplitModel, data: Digits, lab: Lab) -> list[tuple[Tensor, Smashed]]:
    """The attacker's images and the scored ones, each with their activations before any noise."""
    return [(images.pixels, (codes(model, images.pixels, lab),)) for images in (data.shadow, data.scored)]


def look(model: SplitModel, data: Digits, threat: Threat, lab: Lab, known: Sequence[tuple[Tensor, Smashed]]) -> View:
    """What an adversary with the attacker's images sees of the scored ones."""
    scored, shadow = data.scored, data.shadow
    scene = make_scene(scored.pixels, scored.labels, shadow.pixels, shadow.labels, 10, lab.at("scene"))
    return observe(model, scene, threat, lab, known=known)


def run(attack: Attack, view: View, lab: Lab) -> Tensor:
    """One attack's reconstructions."""
    with lab.seeded(f"attack/{attack.kind}"):
        return attack.run(view, lab.at(f"attack/{attack.kind}"))


def scored(guess: Tensor, data: Digits, how: Learning, judges: Judges, lab: Lab) -> dict[str, Any]:
    """The published figures over all scored images, not clamped; identification and likeness over the first of them,
    clamped to [0, 1].
    """
    truth, labels = data.scored.pixels, data.scored.labels
    clamped = guess.clamp(0, 1)
    first, own = clamped[: how.candidates], truth[: how.candidates]
    theirs = codes(judges.theirs, guess, lab)
    return {
        "dcorr": by_batches(truth, guess, SCORING_BATCH),
        "recognised": measures.share(hits(judges.theirs, noised(0), theirs, labels, lab)),
        "recognised_apart": measures.share(judges.ours.recognises(clamped, labels)),
        "identified": measures.share(identify(first, own).hits),
        "unbiased": distance_correlation(own, first),
        **measures.kept({"ssim": scoring.mean_score("ssim", "", "up", ssim(own, first))}),
    }


def floors(bench: Workbench, model: SplitModel, data: Digits, plan: Plan, how: Learning, judges: Judges) -> Made:
    """What guessers reach who see nothing that is sent, by their names; and how well the judges read true images."""

    def make(lab: Lab) -> Made:
        count, shadow = how.candidates, data.shadow
        victims, labels = data.scored.pixels[:count], data.scored.labels[:count]
        scene = make_scene(victims, labels, shadow.pixels, shadow.labels, 10, lab)
        view = observe(model, scene, Threat(), lab)
        wanted = ("identification", "ssim", "recognition")
        found = {
            result.name: measures.figures_of(result, wanted) for result, _ in floors_of(view, scene, judges.ours, lab)
        }
        twins = measures.alike(data.scored.pixels, torch.cat([data.train.pixels, shadow.pixels, data.spare.pixels]))
        return Made(found | {"true": scored(data.scored.pixels, data, how, judges, lab), "twins": twins})

    settings = plan.settings(Classifier(0, 0)) | sizes(data) | {"candidates": how.candidates, "attacks": REVISION}
    return bench.once("floors", settings, make)


def sizes(data: Digits) -> dict[str, int]:
    """How many images the attacker has, it is scored on, and the validator was trained with."""
    return {"shadow": len(data.shadow), "scored": len(data.scored), "spare": len(data.spare)}


def examples(labels: Tensor) -> list[int]:
    """Places of one image of each digit in turn, as the published figures look for them; fewer where they run out."""
    places: list[int] = []
    for place, label in enumerate(labels.tolist()):
        if place >= FIRST_SHOWN and label == len(places):
            places.append(place)
    return places
