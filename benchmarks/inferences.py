"""What the gradients of the training tell of its labels, and what a release tells of attributes that nobody asked for.

    python benchmarks/inferences.py labels       # each defence of the gradients beside the accuracy it leaves
    python benchmarks/inferences.py attributes   # the probe at two cuts and behind three releases

One seed of mnist5k on splitnn. Every line trains the network once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import torch

from unsmash import inferences
from unsmash.attacks.attribute_probe import AttributeProbe
from unsmash.attacks.gradient_cosine import GradientCosine
from unsmash.attacks.gradient_norm import GradientNorm
from unsmash.data.base import Splits, data_root
from unsmash.experiment import Experiment, study
from unsmash.inference_scoring import score_labels
from unsmash.lab import Lab
from unsmash.rehearsal import Rehearsal
from unsmash.sessions import Outcome
from unsmash.split.train import predict
from unsmash.threat import Grant, Threat
from unsmash.view import Scene, make_scene, observe

READER = Threat(name="reader", grants=(Grant.GRADIENTS, Grant.HINTS))
NOISE: list[dict[str, Any]] = [
    {},
    {"rule": "max_norm"},
    {"rule": "iso", "strength": 8.0},
    {"rule": "marvell", "strength": 1.0},
    {"rule": "marvell", "strength": 4.0},
    {"rule": "iso", "strength": 1.0},
]
RELEASES: list[dict[str, Any]] = [
    {},
    {"at": "pool"},
    {"defences": [{"kind": "gaussian", "sigma": 1.0}]},
    {"defences": ["simplex"]},
    {"defences": [{"kind": "codebook", "symbols": "label"}]},
]


@dataclass
class Kept:
    """A rehearsal that keeps the model it ended with."""

    rehearse: Rehearsal
    outcomes: list[Outcome] = field(default_factory=list)

    def __call__(self, *company: Any) -> Outcome:
        """As the rehearsal."""
        self.outcomes.append(self.rehearse(*company))
        return self.outcomes[-1]


def scene_of(splits: Splits, lab: Lab) -> Scene:
    """The victims and the adversary's images."""
    sets = splits.victims.pixels, splits.victims.labels, splits.shadow.pixels, splits.shadow.labels
    return make_scene(*sets, len(splits.classes), lab.at("scene"), attributes=splits.attributes(),
                      training_labels=splits.train.labels)  # fmt: skip


def accuracy(outcome: Outcome, splits: Splits, lab: Lab) -> float:
    """Share of victims and held-out images classified rightly."""
    images, labels = (torch.cat([getattr(one, part) for one in (splits.victims, splits.val)]) for part in
                      ("pixels", "labels"))  # fmt: skip
    return (predict(outcome.model, images, lab).argmax(1) == labels).double().mean().item()


def opened(**settings: Any) -> tuple[Experiment, Splits]:
    """An experiment on mnist5k and its images."""
    one = study({"data": {"kind": "mnist5k", "ask": settings.pop("ask", "digit")}, **settings}).experiment
    return one, one.data.load(data_root())


def labels(ask: str, noise: dict[str, Any]) -> str:
    """One line: accuracy, then what each attack finds of the labels."""
    one, splits = opened(ask=ask, defences=[{"kind": "gradient_noise", **noise}] if noise else [])
    lab, kept = Lab(), Kept(Rehearsal(one, splits, Lab()))
    view = observe(Rehearsal(one, splits, lab)(None, None, 0).model, scene_of(splits, lab), READER, lab, rehearse=kept)
    told = []
    for attack in (GradientCosine(), GradientCosine(anchors=5), GradientNorm()):
        found = score_labels(attack.infer(view, lab.at("attack")), splits.train.labels, splits.classes)
        figures = [f"{name} {score.mean:.3f} (passes {', '.join(f'{v:.3f}' for v in found.course[name])})"
                   for name, score in found.scores.items()]  # fmt: skip
        told.append(f"{attack.label()}: {'; '.join(figures) or found.notes[0]}")
    return f"{ask} {noise} accuracy {accuracy(kept.outcomes[-1], splits, lab):.3f}\n    " + "\n    ".join(told)


def attributes(ask: str, settings: dict[str, Any]) -> str:
    """One line: accuracy, then what the probe tells of each attribute beside its chance, floor and ceiling."""
    one, splits = opened(ask=ask, **settings)
    lab = Lab()
    rehearse = Rehearsal(one, splits, lab)
    outcome = rehearse(None, None, None)
    found = inferences.measure(
        [(Threat(), [(AttributeProbe(), "probe")])], outcome.model, scene_of(splits, lab), splits.classes, rehearse,
        lab, lab.stage,
    )  # fmt: skip
    assert found is not None
    told = [f"{one.name}: {one.scores['inferred'].mean:.3f} (balanced {one.scores['balanced'].mean:.3f}, chance "
            f"{one.chance['inferred']:.3f})" for one in found.results if one.scores]  # fmt: skip
    return f"{ask} {settings} accuracy {accuracy(outcome, splits, lab):.3f}\n    " + "\n    ".join(told)


if __name__ == "__main__":
    if sys.argv[1:] == ["attributes"]:
        for settings in RELEASES:
            print(attributes("digit", dict(settings)), flush=True)
        print(attributes("zero", {}), flush=True)
    else:
        for ask in ("digit", "zero"):
            for noise in NOISE:
                if ask == "zero" or noise.get("rule") != "marvell":
                    print(labels(ask, noise), flush=True)
