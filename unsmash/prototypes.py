"""Class attacks run and scored: what the network itself gives away of its classes, with the floors to hold it against.

No message of a victim takes part, so nothing here enters the table of reconstructions, their controls or, unless a
budget asks for it by name, the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from unsmash.attacks.base import Attack, ClassAttack
from unsmash.attempt import failure_of
from unsmash.class_archive import ARRAY
from unsmash.class_inversion import PLAIN, Inversion
from unsmash.class_scoring import Account, prototypes, scores
from unsmash.controls import Stage
from unsmash.errors import UnsmashError
from unsmash.lab import Lab
from unsmash.recogniser import Recogniser
from unsmash.records import ClassRecord, ClassResult, Prototype, Role
from unsmash.split.model import SplitModel
from unsmash.threat import Threat
from unsmash.view import Scene, View, observe

Scored = Callable[[Tensor, Account], tuple[Prototype, ...]]

SURE = 0.99
"""Confidence at which a class counts as reached"""


def measure(
    plan: Sequence[tuple[Threat, Sequence[tuple[Attack, str]]]],
    model: SplitModel,
    scene: Scene,
    eye: Recogniser | None,
    names: Sequence[str],
    lab: Lab,
    stage: Stage,
) -> tuple[ClassRecord | None, dict[str, np.ndarray]]:
    """All class attacks of a plan, and float32 arrays [classes, c, h, w] of their images; None where there are none."""
    results: list[ClassResult] = []
    threats: list[Threat] = []
    arrays: dict[str, np.ndarray] = {}
    for threat, attacks in plan:
        mine = [(attack, name) for attack, name in attacks if isinstance(attack, ClassAttack)]
        if not mine:
            continue
        threats.append(threat)
        view = observe(model, scene, threat, lab)
        for attack, name in mine:
            with stage(name) as told:
                found, images = _attempt(attack, name, view, scene, eye, names, lab)
                told["say"] = say(found[-1])
            results += found
            if images is not None:
                arrays[f"{ARRAY}{name}"] = images.float().contiguous().numpy()
    if not results:
        return None, {}
    told_of = tuple(threat.record(len(scene.victims)) for threat in threats)
    return ClassRecord(tuple(results), told_of, 1 / max(scene.classes, 1)), arrays


def say(result: ClassResult) -> str:
    """A result in one line for the console."""
    if result.failure:
        return f"did not finish: {result.failure}"
    reached = sum(one.confidence >= SURE for one in result.prototypes)
    text = f"an image of {reached} of {len(result.prototypes)} classes that the network is {SURE:.0%} sure of"
    judged = [one.recognised for one in result.prototypes if one.recognised is not None]
    return text + (f"; the recogniser reads {sum(judged)} as their class" if judged else "")


def _attempt(
    attack: ClassAttack, name: str, view: View, scene: Scene, eye: Recogniser | None, names: Sequence[str], lab: Lab
) -> tuple[list[ClassResult], Tensor | None]:
    """The attack's floors and the attack itself; an error becomes a failed result, and the others go on."""
    blank = ClassResult(
        name, attack.kind, attack.heading, attack.role, view.threat.name,
        settings=attack.model_dump(mode="json"), summary=type(attack).summary(),
    )  # fmt: skip
    try:
        with lab.seeded(f"attack/{name}"):
            found = attack.invert(view, lab.at(f"attack/{name}"))
        if not found.images.isfinite().all():
            raise UnsmashError("it gave numbers that are not finite")
    except (UnsmashError, RuntimeError, MemoryError) as error:
        return [replace(blank, failure=failure_of(error))], None
    images = found.images.cpu().float().clamp(0, 1)

    def scored(pixels: Tensor, account: Account) -> tuple[Prototype, ...]:
        with torch.no_grad():
            answers = view.answers(pixels).float().cpu()
        return prototypes(pixels, answers, account, scene, eye, names)

    rows = scored(images, _account(found))
    floors = [
        _floor(f"{name}/start", "Its start image", "The image that the descent began from.", found.origins, scored),
        _floor(f"{name}/mean", "Class mean of the adversary's images", "No network is asked.", _means(scene), scored),
    ]
    done = replace(blank, prototypes=rows, scores=scores(rows), notes=_notes(rows))
    return [*(replace(floor, threat=view.threat.name) for floor in floors), done], images


def _account(found: Inversion) -> Account:
    stopped = tuple(PLAIN[stop] for stop in found.stops)
    return Account(found.starts.cpu(), found.iterations.cpu(), found.flat.cpu(), stopped)


def _floor(name: str, title: str, summary: str, images: Tensor, scored: Scored) -> ClassResult:
    count = len(images)
    still = Account(torch.zeros(count), torch.zeros(count), torch.zeros(count), ("",) * count)
    rows = scored(images.cpu().float(), still)
    role: Role = "floor"
    return ClassResult(name, name.rpartition("/")[2], title, role, "", rows, scores(rows), summary=summary)


def _means(scene: Scene) -> Tensor:
    """Mean of the adversary's images of each class; of all where it holds none."""
    rows = []
    for label in range(scene.classes):
        mine = scene.shadow[scene.shadow_labels == label]
        rows.append((mine if len(mine) else scene.shadow).mean(0))
    return torch.stack(rows)


def _notes(rows: Sequence[Prototype]) -> tuple[str, ...]:
    notes = []
    flat = [one.label for one in rows if one.flat]
    if flat:
        notes.append(
            f"The start had no gradient to follow for {len(flat)} of {len(rows)} classes ({_few(flat)}): what is shown "
            "of them says nothing; another start, restarts, or log-odds may find one."
        )
    short = [one for one in rows if one.confidence < SURE and not one.flat]
    if short:
        labels = _few([one.label for one in short])
        notes.append(f"The network was not made {SURE:.0%} sure of {len(short)} of {len(rows)} classes ({labels}).")
    levelled = [one for one in short if one.stopped == PLAIN["levelled"]]
    if levelled:
        best = max(one.confidence for one in levelled)
        notes.append(
            f"For {len(levelled)} of these the confidence had levelled off, at {best:.1%} or less: more iterations "
            "would hardly help. Either the network is not that sure of any image of the class (trained for too short "
            "a time, or held back by its activations), or log-odds or another start get further."
        )
    return tuple(notes)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
