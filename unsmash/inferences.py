"""Attacks on labels and attributes run and scored, with the floors, ceilings and controls that tell what they mean.

Two secrets, and two ways of losing them. The labels of the training images are the server half's owner's; they leave by
the gradients that come back in training. An attribute of a private image is the device's; it leaves in the release.
Nothing here enters the table of reconstructions, its controls, or the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unsmash.attacks.base import Attack, AttributeAttack, LabelAttack
from unsmash.attempt import failure_of
from unsmash.controls import Stage
from unsmash.errors import UnsmashError
from unsmash.inference_scoring import Scored, from_label, headline, score_attribute, score_labels, succeeds
from unsmash.lab import Lab
from unsmash.records import Card, InferenceRecord, InferenceResult
from unsmash.rehearsal import Rehearsal
from unsmash.split.model import SplitModel
from unsmash.threat import Threat
from unsmash.view import Memory, Scene, View, observe

IMAGES = 4000
"""Most of the adversary's own images that a ceiling is learned from"""


def measure(
    plan: Sequence[tuple[Threat, Sequence[tuple[Attack, str]]]],
    model: SplitModel,
    scene: Scene,
    names: Sequence[str],
    rehearse: Rehearsal,
    lab: Lab,
    stage: Stage,
) -> InferenceRecord | None:
    """All attacks on labels and attributes of a plan; None where there are none."""
    results: list[InferenceResult] = []
    threats: list[Threat] = []
    memory: Memory = {}
    for threat, attacks in plan:
        mine = [(attack, name) for attack, name in attacks if isinstance(attack, LabelAttack | AttributeAttack)]
        if not mine:
            continue
        threats.append(threat)
        view = observe(model, scene, threat, lab, memory=memory, rehearse=rehearse)
        for attack, name in mine:
            with stage(name) as told:
                if isinstance(attack, LabelAttack):
                    found = _labels(attack, name, view, scene, names, rehearse, lab)
                else:
                    found = _attributes(attack, name, view, scene, lab)
                told["say"] = "; ".join(say(one) for one in found if one.role == "attack")
            results += found
    if not results:
        return None
    return InferenceRecord(tuple(results), tuple(threat.record(len(scene.victims)) for threat in threats))


def say(result: InferenceResult) -> str:
    """A result in one line for the console."""
    if result.failure:
        return f"did not finish: {result.failure}"
    if not result.scores:
        return result.notes[0] if result.notes else "nothing was found"
    name = headline(result.scores)
    score, chance = result.scores[name], result.chance[name]
    if name == "leak_auc":
        return f"{result.of}: leak AUC {score.mean:.3f}, chance {chance:.1f}"
    text = f"{result.of}: {round(score.mean * score.n)} of {score.n} right, chance {round(chance * score.n)}"
    area = result.scores.get("leak_auc")
    return text + (f", leak AUC {area.mean:.3f}" if area else "")


def _labels(
    attack: LabelAttack, name: str, view: View, scene: Scene, names: Sequence[str], rehearse: Rehearsal, lab: Lab
) -> list[InferenceResult]:
    result = _infer(attack, name, view, scene, names, lab)
    if result.failure or not result.scores:
        return [result]
    key = headline(result.scores)
    figure = f"{'Infers' if key == 'inferred' else 'Has a leak AUC of'} {_figure(result, key)}"
    fine = succeeds(Scored(result.of, result.scores, result.chance))
    if fine or not rehearse.experiment.defences:
        need = "" if fine else ": half of the way from chance to certainty is asked of it where nothing is defended"
        return [replace(result, card=Card(strong=fine, evidence=(f"{figure} in the audited training itself{need}.",)))]
    plain = replace(rehearse, experiment=rehearse.experiment.model_copy(update={"defences": ()}))
    there = lab.at("control")
    again = observe(plain(None, None, 0).model, scene, view.threat, there, rehearse=plain)
    control = _infer(attack, name, again, scene, names, there)
    if control.failure or not control.scores:
        told = f"Its control run without the defence did not finish: {control.failure}."
        return [replace(result, card=Card(strong=False, evidence=(told,)))]
    strong = succeeds(Scored(control.of, control.scores, control.chance))
    figure = f"{'Infers' if key == 'inferred' else 'Has a leak AUC of'} {_figure(control, key)}"
    return [replace(result, card=Card(strong=strong, evidence=(f"{figure} without the defence.",)))]


def _figure(result: InferenceResult, key: str) -> str:
    mean = result.scores[key].mean
    return f"{mean:.1%} of the labels" if key == "inferred" else f"{mean:.3f}"


def _infer(attack: LabelAttack, name: str, view: View, scene: Scene, names: Sequence[str], lab: Lab) -> InferenceResult:
    blank = InferenceResult(
        name, attack.kind, attack.heading, attack.role, "labels", "label of each training image", view.threat.name,
        task=True, settings=attack.model_dump(mode="json"), summary=type(attack).summary(),
    )  # fmt: skip
    try:
        if scene.training_labels is None or (scene.training_labels < 0).all():
            raise UnsmashError("the training images have no labels to infer")
        with lab.seeded(f"attack/{name}"):
            guess = attack.infer(view, lab.at(f"attack/{name}"))
        if not (guess.scores.isfinite().all() and guess.passes.isfinite().all()):
            raise UnsmashError("it gave numbers that are not finite")
    except (UnsmashError, RuntimeError, MemoryError) as error:
        return replace(blank, failure=failure_of(error))
    return _filled(blank, score_labels(guess, scene.training_labels, names))


def _attributes(attack: AttributeAttack, name: str, view: View, scene: Scene, lab: Lab) -> list[InferenceResult]:
    blank = InferenceResult(
        name, attack.kind, attack.heading, attack.role, "attribute", "", view.threat.name,
        settings=attack.model_dump(mode="json"), summary=type(attack).summary(),
    )  # fmt: skip
    there = lab.at(f"attack/{name}")
    try:
        with lab.seeded(f"attack/{name}"):
            guesses = attack.probe(view, there)
        if not guesses:
            raise UnsmashError("the adversary's images have too few known answers to learn anything from")
        if not all(guess.isfinite().all() for guess in guesses.values()):
            raise UnsmashError("it gave numbers that are not finite")
    except (UnsmashError, RuntimeError, MemoryError) as error:
        return [replace(blank, of="every attribute", failure=failure_of(error))]
    out: list[InferenceResult] = []
    for one in scene.attributes:
        if one.name not in guesses or not (one.victims >= 0).any():
            continue
        mine = replace(blank, name=f"{name}/{one.name}", task=one.task)
        rows = (one.shadow >= 0).nonzero().flatten()[:IMAGES]
        learned = attack.learn(scene.shadow[rows].flatten(1), one.shadow[rows], len(one.answers), there.at("image"))
        image = score_attribute(one, learned(scene.victims.flatten(1)))
        title, told = "From the image itself", "The same probe, learned on the images."
        out.append(_filled(_beside(mine, "image", title, told, "ceiling"), image))
        label = None if one.task else from_label(one, scene.shadow_labels, scene.labels)
        if label is not None:
            title, told = "From the true label alone", "The commonest answer among the adversary's images of the class."
            out.append(_filled(_beside(mine, "label", title, told, "floor"), score_attribute(one, label)))
        top = image.scores["inferred"].mean
        strong = succeeds(image)
        evidence = f"The same probe tells {top:.1%} from the image itself."
        card = Card(strong=strong, evidence=(evidence,))
        out.append(replace(_filled(mine, score_attribute(one, guesses[one.name])), card=card))
    return out


def _beside(mine: InferenceResult, what: str, title: str, summary: str, role: str) -> InferenceResult:
    return replace(mine, name=f"{mine.name}/{what}", title=title, role=role, threat="", settings={}, summary=summary)  # type: ignore[arg-type]


def _filled(blank: InferenceResult, found: Scored) -> InferenceResult:
    return replace(blank, of=found.of, scores=found.scores, chance=found.chance, course=found.course, notes=found.notes)
