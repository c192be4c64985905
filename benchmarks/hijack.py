"""The hijacked training on MNIST's digits: `python benchmarks/hijack.py [steps] [seeds] [picture.png]`.

For each setting of the device (no defence, noise, NoPeek, SplitGuard) the server takes the training over for so many
batches, and every hundred its decoder is tried on what the device half then sends of the victims: SSIM and the share
identified. SplitGuard also watches honest trainings, where every alarm is a false one. The victims' releases between
are looked at by the benchmark, not by the server. A picture is written only where one is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsmash import rehearsal
from unsmash.attacks.hijack import Hijack
from unsmash.data.base import Splits, data_root
from unsmash.experiment import Experiment, study
from unsmash.hijacking import Hijacker, HijackPlan
from unsmash.lab import Lab
from unsmash.metrics.identification import identify
from unsmash.metrics.images import structural_similarity
from unsmash.rehearsal import Rehearsal
from unsmash.split import Smashed, SplitModel
from unsmash.split.train import train
from unsmash.threat import Threat
from unsmash.victim import prepare
from unsmash.view import make_scene, observe

VICTIMS, EVERY = 256, 100
SETTINGS: dict[str, list[Any]] = {
    "no defence": [],
    "Gaussian 0.25": [{"kind": "gaussian", "sigma": 0.25}],
    "NoPeek 0.5": ["nopeek"],
    "SplitGuard": ["split_guard"],
}


@dataclass
class Look:
    """What the decoder shows of the victims after some batches."""

    batches: int
    similarity: float
    identified: float
    guess: Tensor


def main(arguments: list[str]) -> None:
    """A line for every look, then a line for every honest training."""
    torch.set_num_threads(1)
    steps = int(arguments[0]) if arguments else 600
    seeds = range(int(arguments[1]) if len(arguments) > 1 else 1)
    last: list[Look] = []
    for name, defences in SETTINGS.items():
        for seed in seeds:
            for look in hijacked(experiment(defences, seed), steps, name):
                told = f"after {look.batches:>5,}: SSIM {look.similarity:.3f}, {look.identified:6.1%} identified"
                print(f"{name:<14} seed {seed}  {told}", flush=True)
                last = [look] if name == "no defence" else last
    for seed in seeds:
        one = experiment(SETTINGS["SplitGuard"], seed)
        alarm = Rehearsal(one, load(one), Lab(seed=seed))(None, None, None).alarm
        print(f"{'honest server':<14} seed {seed}  {alarm or 'no alarm'}", flush=True)
    if len(arguments) > 2 and last:
        picture(last[0].guess, load(experiment([], 0)).victims.pixels, Path(arguments[2]))


def experiment(defences: list[Any], seed: int) -> Experiment:
    """The default network on the shipped digits."""
    data = {"kind": "mnist5k", "victims": VICTIMS}
    return study({"data": data, "model": "splitnn", "defences": defences, "seed": seed}).experiment


def load(one: Experiment) -> Splits:
    """Its images."""
    return one.data.load(data_root(None))


def hijacked(one: Experiment, steps: int, name: str) -> Iterator[Look]:
    """The looks at one hijacked training; what ended it is printed."""
    splits, lab = load(one), Lab(seed=one.seed)
    victims, shadow = splits.victims, splits.shadow
    scene = make_scene(victims.pixels, victims.labels, shadow.pixels, shadow.labels, len(splits.classes), lab)
    law = observe(prepare(one, splits, lab, None).model, scene, Threat(), lab).shield
    usual = Hijack()  # type: ignore[call-arg]
    plan = HijackPlan(**{field: getattr(usual, field) for field in HijackPlan.__dataclass_fields__})
    server = Hijacker(shadow.pixels, shadow.labels, law, 1, plan, lab.at("hijack"))
    watched = Watched(server, victims.pixels)
    rehearsal.train = watched.train  # type: ignore[assignment]
    try:
        outcome = Rehearsal(one, splits, lab)(watched, None, steps)
    finally:
        rehearsal.train = train
    if outcome.alarm:
        print(f"{name:<14} seed {one.seed}  {outcome.alarm}", flush=True)
        watched.model = outcome.model
        watched.look()
    yield from watched.looks


class Watched:
    """A server that lets the benchmark look at the victims' releases now and then."""

    def __init__(self, inner: Hijacker, victims: Tensor) -> None:
        self.inner, self.victims = inner, victims
        self.looks: list[Look] = []
        self.model: SplitModel | None = None

    def train(self, model: SplitModel, *rest: Any, **more: Any) -> None:
        """The usual training; the model is kept to be looked at."""
        self.model = model
        train(model, *rest, **more)

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        """As the hijacker answers."""
        found = self.inner.answer(release, y)
        if self.inner.step % EVERY == 0:
            self.look()
        return found

    @torch.no_grad()
    def look(self) -> None:
        """Decode the victims by the device half as it is."""
        assert self.model is not None
        was = self.model.training
        self.model.eval()
        with Lab().seeded("look"):
            guess = self.inner.decode(self.model.release(self.victims)).clamp(0, 1)
        self.model.train(was)
        similarity = structural_similarity(guess, self.victims).mean().item()
        self.looks.append(Look(self.inner.step, similarity, identify(guess, self.victims).hits.mean().item(), guess))


def picture(guess: Tensor, truth: Tensor, file: Path) -> None:
    """Sixteen victims over their reconstructions."""
    from torchvision.utils import save_image

    save_image(torch.cat([truth[:16], guess[:16]]), file, nrow=16)


if __name__ == "__main__":
    main(sys.argv[1:])
