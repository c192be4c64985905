"""What the best defences cost and what they leave, over seeds: `python benchmarks/defences.py [row …]`.

Accuracy is of 1,900 held-out images, against the undefended network trained alike; identification is the candidate
list's among 500, from 1, 16 and 64 releases of one image, and from bursts of 64 moved frames. Proved is min(1, W/N).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from unsmash.attacks.gallery import Gallery
from unsmash.bounds.ceilings import message_ceiling
from unsmash.description import describe
from unsmash.experiment import Experiment, study
from unsmash.lab import Lab
from unsmash.mechanism import mechanism, smashed_region
from unsmash.metrics.identification import by_similarity
from unsmash.split.shield import flat
from unsmash.split.train import predict
from unsmash.threat import Grant, Threat
from unsmash.victim import Victim, prepare
from unsmash.view import make_scene, observe, varies

SEEDS = (0, 1, 2)
DATA = {"kind": "mnist5k", "shadow": 600, "val": 1400}
TWO = DATA | {"ask": "digit_ink"}
TRAIN = {"augment": True, "epochs": 20}

CEM = [{"kind": "bottleneck"}, {"kind": "cem"}, {"kind": "gaussian", "sigma": 0.5}]

ROWS: dict[str, dict[str, Any]] = {
    "none": {},
    "simplex, C/σ 5": {"defences": [{"kind": "simplex", "radius_over_sigma": 5.0}]},
    "simplex, C/σ 3.73": {"defences": [{"kind": "simplex", "radius_over_sigma": 3.73}]},
    "label": {"defences": [{"kind": "codebook"}]},
    "label, one answer a burst": {"defences": [{"kind": "codebook", "burst": 1.5}]},
    "label, 5 levels": {"defences": [{"kind": "codebook", "symbols": "levels"}]},
    "label, response ε 6.2": {"defences": [{"kind": "codebook", "response": 6.21}]},
    "cem": {"defences": CEM},
    "two questions, none": {"data": TWO},
    # a linear head costs the second question 1.6 points
    "two questions, label": {"data": TWO, "defences": [{"kind": "codebook", "hidden": 128}]},
    "two questions, 60 prototypes": {
        "data": TWO,
        "defences": [{"kind": "codebook", "symbols": "prototypes", "size": 60, "hidden": 128}],
    },
    "two questions, label, one answer a burst": {
        "data": TWO,
        "defences": [{"kind": "codebook", "hidden": 128, "burst": 1.5}],
    },
}


def main(names: list[str]) -> None:
    """Print a line for each row, means over the seeds and their spread."""
    cache = Path(tempfile.mkdtemp())
    heads = [f"{title:>8}" for title in ("R=16", "R=64", "burst")]
    print(f"{'row':<30}{'accuracy %':>16}{'proved ≤ %':>12}{'R=1':>12}", *heads, f"{'bytes':>6}{'s':>6}", sep="")
    for name, changes in ROWS.items():
        if names and not any(wanted in name for wanted in names):
            continue
        start = time.perf_counter()
        found = [measure(name, changes, seed, cache) for seed in SEEDS]
        print(_line(name, found, (time.perf_counter() - start) / len(SEEDS)), flush=True)


def measure(name: str, changes: dict[str, Any], seed: int, cache: Path) -> dict[str, Any]:
    """One seed of one row."""
    one = study({"data": DATA, "train": TRAIN, "seed": seed, "attacks": ["gallery"]} | changes).experiment
    splits, lab = one.data.load(Path()), Lab(seed=seed)
    victim = prepare(one, splits, lab, cache)
    images = torch.cat([splits.victims.pixels, splits.val.pixels])
    labels = torch.cat([splits.victims.labels, splits.val.labels])
    logits = predict(victim.model, images, lab.at("accuracy"))
    found: dict[str, Any] = {"accuracy": (logits.argmax(1) == labels).double().mean().item()}
    for question in splits.questions:
        kind = torch.tensor(question.of_class)
        mass = torch.zeros(len(logits), len(question.answers)).index_add_(1, kind, logits.softmax(1))
        found[question.name] = (mass.argmax(1) == kind[labels]).double().mean().item()
    pixels = splits.victims.pixels
    scene = make_scene(pixels, splits.victims.labels, pixels[:2], splits.victims.labels[:2], len(splits.classes), lab)
    numbers = flat(victim.model.smash(pixels[:1])).shape[1]
    known = mechanism(victim.model.shield, smashed_region(victim.net, one.at, numbers))
    found["proved"] = message_ceiling(known.messages()[0], len(pixels))
    for queries in (1, 16, 64):
        found[f"R={queries}"] = rate(victim, scene, lab, queries=queries)
    found["burst"] = rate(victim, scene, lab, frames=64) if one.defences else 1.0
    found["bytes"] = bytes_sent(victim, one, splits)
    return found


def rate(victim: Victim, scene: Any, lab: Lab, *, queries: int = 1, frames: int = 1) -> float:
    """Identification of the candidate list."""
    if queries > 1 and not varies(victim.model.shield):
        queries = 1
    grants = (Grant.WEIGHTS, Grant.CANDIDATES)
    view = observe(victim.model, scene, Threat(name="g", grants=grants, queries=queries, frames=frames), lab)
    return by_similarity(Gallery().run(view, lab), "likelihood", scene.place).hits.mean().item()


def bytes_sent(victim: Victim, one: Experiment, splits: Any) -> int:
    """Bytes of one sample."""
    return describe(victim, one, splits).bytes_sent


def _line(name: str, found: list[dict[str, Any]], seconds: float) -> str:
    def percent(key: str) -> str:
        values = [100 * one[key] for one in found]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):.1f}±{spread:.1f}"

    def mean(key: str) -> str:
        return f"{100 * statistics.mean(one[key] for one in found):.1f}"

    cells = (
        f"{name:<30}{percent('accuracy'):>16}{mean('proved'):>12}{percent('R=1'):>12}{mean('R=16'):>8}{mean('R=64'):>8}"
    )
    cells += f"{mean('burst'):>8}{found[0]['bytes']:>7}{seconds:>6.0f}"
    asked = [key for key in found[0] if key in ("digit", "ink")]
    return cells + "".join(f"  {key} {percent(key)}" for key in asked)


if __name__ == "__main__":
    main(sys.argv[1:])
