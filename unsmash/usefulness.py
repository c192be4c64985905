"""What a victim is good for: the task's accuracy, the questions it can answer, and the row "send only the label"."""

from __future__ import annotations

import torch
from torch import Tensor

from unsmash import scoring
from unsmash.data.base import Splits
from unsmash.description import macs
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.records import Result, Score, Utility
from unsmash.split.train import predict
from unsmash.victim import Victim
from unsmash.view import Scene


def utility_of(experiment: Experiment, victim: Victim, undefended: Victim, splits: Splits, lab: Lab) -> Utility:
    """What the victim is good for, beside the same network without defence; the same one where it has none."""
    accuracy = _accuracy(victim, splits, lab)
    known = splits.train.labels[splits.train.labels >= 0]
    chance = known.bincount().max().item() / len(known) if len(known) else 1.0
    compared = bool(experiment.defences) and accuracy is not None
    return Utility(
        accuracy,
        chance,
        experiment.epochs(),
        _accuracy(undefended, splits, lab) if compared else None,
        _questions(victim, splits, lab),
        _questions(undefended, splits, lab) if compared else {},
    )


def label_only(undefended: Victim, scene: Scene, splits: Splits, lab: Lab) -> tuple[Result, ...]:
    """The row "send only the label": the whole network on the device, its answer the release."""
    accuracy = _accuracy(undefended, splits, lab)
    if accuracy is None:
        return ()
    answers = predict(undefended.model, scene.victims, lab.at("label_only")).argmax(1)
    cost = macs(undefended.model, scene.victims[:1].to(lab.device))
    return (scoring.label_only(answers, accuracy, cost),)


def _accuracy(victim: Victim, splits: Splits, lab: Lab) -> Score | None:
    """Share of val and victims classified rightly; neither trained anything."""
    logits, labels = _answers(victim, splits, lab)
    if logits is None:
        return None
    return scoring.share_score("accuracy", (logits.argmax(1) == labels).double())


def _questions(victim: Victim, splits: Splits, lab: Lab) -> dict[str, Score]:
    """Accuracy on each question: the answer whose classes are likeliest together."""
    logits, labels = _answers(victim, splits, lab)
    if logits is None:
        return {}
    found = {}
    for question in splits.questions:
        of_class = torch.tensor(question.of_class)
        mass = torch.zeros(len(logits), len(question.answers)).index_add_(1, of_class, logits.softmax(1))
        found[question.name] = scoring.share_score("accuracy", (mass.argmax(1) == of_class[labels]).double())
    return found


def _answers(victim: Victim, splits: Splits, lab: Lab) -> tuple[Tensor | None, Tensor]:
    """Logits and labels of val and victims where the label is known; no logits where the task has no classes."""
    images = torch.cat([splits.victims.pixels, splits.val.pixels])
    labels = torch.cat([splits.victims.labels, splits.val.labels])
    known = labels >= 0
    if len(splits.classes) < 2 or not known.any():
        return None, labels[known]
    logits = predict(victim.model, images[known], lab.at("accuracy"))
    return (logits if logits.ndim == 2 else None), labels[known]
