"""Noise that nobody attacked: the published attacker is trained and scored on the activation before the noise.

dpsnn's forward pass gives back the activation without the noise, and both the training and the scoring of its attacker
take that. Its figures with noise therefore say what noise in *training* does, not what noise on the message does.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from unsmash.attacks.affine_decoder import AffineDecoder
from unsmash.attacks.decoder import Decoder
from unsmash.attacks.mean_image import MeanImage
from unsmash.attacks.random_image import RandomImage
from unsmash.attacks.ridge import Ridge
from unsmash.lab import Lab
from unsmash.reproductions.faults.fault import Fault, Figures, measures, percent, published, table, turn
from unsmash.reproductions.faults.ground import DIGITS, Ground, learned
from unsmash.reproductions.record import Sheet
from unsmash.reproductions.workbench import Made
from unsmash.threat import Grant, Threat
from unsmash.view import granted, observe

LINES = (
    ("Original", ""),
    ("Attacked before the noise", "as published"),
    ("Same attacker, shown the message", "it never met noise in training"),
    ("Same attacker, trained on messages", "put right"),
    ("Our decoder, trained on messages", "one message"),
)


def show(ground: Ground) -> Fault:
    """The published attacker before the noise and on what is sent, then stronger ones on what is sent."""
    told = f" (The network is {percent(ground.noisy_accuracy)} accurate.)"
    needs = (*DIGITS, "passes", "attacker_passes")
    before = ground.step("noise: attacked before it is added", needs, lambda lab: _before(ground, lab))
    sent = ground.step("noise: attacked as it is sent", needs, lambda lab: _sent(ground, lab))
    others = (*DIGITS, "passes", "decoder_images", "decoder_passes")
    strong = ground.step("noise: stronger attackers", others, lambda lab: _stronger(ground, lab))
    kept: dict[str, Figures] = before.figures | sent.figures | strong.figures
    row, clean, right = "Laplace 1.0", kept["before"], kept["sent"]
    ours = {row: measures(clean)}
    put_right = {
        row: measures(right),
        "same, unprepared for noise": measures(kept["unprepared"]),
        "ridge on what is sent": measures(kept["ridge"]),
        "our decoder on what is sent": measures(kept["decoder"]),
        "floor: average digit": measures(kept["mean_image"]),
        "floor: another digit": measures(kept["random_image"]),
    }
    pictures = dict(before.arrays) | dict(sent.arrays) | dict(strong.arrays)
    order = ("truth", "before", "unprepared", "sent", "decoder")
    return Fault(
        name="noise never attacked",
        shown=turn(clean["identification"], right["identification"]) < 0,
        sentence=_sentence(clean, right, kept["decoder"]) + told,
        brief=f"the published attacker identifies {percent(clean['identification'])} of digits before Laplace noise is "
        f"added and {percent(right['identification'])} from what is sent",
        tables=(table("noise", ours, put_right, REASON, UNPREPARED),),
        sheets=(Sheet("noise", "What the published attacker was shown, and what is sent", SHEET, LINES),),
        pictures={f"noise/{place}": pictures[name] for place, name in enumerate(order)},
    )


REASON = (
    "As published the attacker learns from, and is scored on, the activation before the noise; put right it learns "
    "from messages, with fresh noise at every query, and is scored on the victims' messages. Its network, loss and "
    "passes are the same."
)
UNPREPARED = (
    "The published pictures show a third thing: an attacker that learned without noise and is then shown a noisy "
    "message. It is no adversary who knows the defence."
)
SHEET = "One digit of each class; Laplace noise of scale 1.0 on each of the 500 numbers sent."


def _sentence(clean: Figures, right: Figures, decoder: Figures) -> str:
    was, share = (published("noise", "Laplace 1.0", one) for one in ("correlation", "recognition"))
    found = turn(clean["identification"], right["identification"])
    verdict = {
        -1: "so the published figures say nothing of the noise",
        0: "no difference beyond the intervals here",
        1: "more than before it, which nobody expected",
    }[found]
    return (
        f"**Noise never attacked.** Against Laplace 1.0 dpsnn reports a reconstruction correlation of {was:.3f} and "
        f"{share:.1f} % recognisable digits, measured before the noise is added; there its attacker has "
        f"{clean['correlation'][0]:.3f} and {percent(clean['recognition'])} in this run and identifies "
        f"{percent(clean['identification'])} of {clean['identification'][3]:.0f}. Trained and scored on what is sent, "
        f"it has {right['correlation'][0]:.3f} and {percent(right['recognition'])} and identifies "
        f"{percent(right['identification'])}: {verdict}. Our decoder identifies {percent(decoder['identification'])} "
        "from the same single message."
    )


def _before(ground: Ground, lab: Lab) -> Made:
    """The fault: an attacker of the same network without its noise. Then the same attacker, shown noisy messages."""
    subject = ground.digits
    clean = observe(ground.quiet(), subject.scene, Threat(), lab)
    real = observe(ground.noisy(), subject.scene, Threat(), lab)
    # one training for both: the victims twice, once as their activations and once as the messages that are sent
    both = tuple(torch.cat(parts) for parts in zip(clean.release, real.release, strict=True))
    attack = AffineDecoder(epochs=ground.sizes.attacker_passes)
    with lab.seeded("attack"):
        guess = attack.run(replace(clean, repeats=(both,)), lab)
    halves = dict(zip(("before", "unprepared"), guess.chunk(2), strict=True))
    found = {name: subject.score(attack, clean, lab, half) for name, half in halves.items()}
    rows = subject.exhibits
    shown = {name: image[rows] for name, (_, image) in found.items()}
    return Made({name: one for name, (one, _) in found.items()}, shown | {"truth": subject.scene.victims[rows]})


def _sent(ground: Ground, lab: Lab) -> Made:
    """The same attacker, trained and scored on what is really sent."""
    subject = ground.digits
    view = observe(ground.noisy(), subject.scene, Threat(), lab)
    found, guess = subject.score(AffineDecoder(epochs=ground.sizes.attacker_passes), view, lab)
    return Made({"sent": found}, {"sent": guess[subject.exhibits]})


def _stronger(ground: Ground, lab: Lab) -> Made:
    """Ridge and our decoder on what is sent, and two who look at nothing."""
    subject, sizes = ground.digits, ground.sizes
    view = observe(ground.noisy(), subject.scene, Threat(), lab)
    attacks = (Ridge(images=sizes.decoder_images), Decoder(**learned(sizes)), MeanImage(), RandomImage())
    floors = granted(view, Grant.SHADOW)
    found = {one.kind: subject.score(one, floors if one.role == "floor" else view, lab) for one in attacks}
    return Made({kind: one for kind, (one, _) in found.items()}, {"decoder": found["decoder"][1][subject.exhibits]})
