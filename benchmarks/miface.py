"""Class inversion against ART 1.20.1 in the same run: `python benchmarks/miface.py [small] [shallow_net] [le_net]…`.

A network of MNIST digits is trained, then inverted for all ten classes over 1,000 iterations under ART's own rule, in
turn and several times: by us and by ART, each for all classes at once (as NIST Dioptra's example calls it, which passes
batches of 32 or 512) and for one class after the other (ART's default). Like is held against like: at once the images
are the same bits on both sides, and one by one they are; between the two ways torch rounds otherwise, and ART's own
two results differ as ours do. A ratio is taken within one repeat; the least favourable repeat is the claim, the median
stands beside it. One thread is timed in processor time, for on a shared machine wall time is mostly the others'; more
threads in wall time. Then the paper's rule: how sure each class gets, and how soon.

ART is no dependency of this project: where it is not installed, one sentence says how to get it.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from unsmash.class_inversion import Descent, Logits, invert
from unsmash.data.base import data_root
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.split import SplitModel
from unsmash.split.train import Training, train
from unsmash.threat import Grant, Threat
from unsmash.victim import prepare
from unsmash.view import make_scene, observe

CLASSES = 10

EXHAUST = 1.0
"""ART's threshold at which no class is let go, so that all take every step, as in its own notebook"""
MODELS = ("small", "shallow_net", "le_net", "splitnn")
ONCE, ONE = "all at once", "one by one"
MISSING = "ART is not installed: pip install adversarial-robustness-toolbox==1.20.1 (in an environment of its own)"

T = TypeVar("T")
Row = tuple[str, str, str, bool]


def main(words: list[str]) -> int:
    """Run the chosen networks (all without a choice) and print a line for each figure; 1 when a target is missed."""
    ask = argparse.ArgumentParser(description="Class inversion against ART 1.20.1")
    ask.add_argument("models", nargs="*", metavar="network", help=f"any of {', '.join(MODELS)}; all without a choice")
    for name, usual in (("threads", 1), ("repeats", 3), ("steps", 1000)):
        ask.add_argument(f"--{name}", type=int, default=usual)
    told = ask.parse_args(words)
    if strange := set(told.models) - set(MODELS):
        ask.error(f"{', '.join(sorted(strange))}: choose from {', '.join(MODELS)}")
    torch.set_num_threads(told.threads)
    missed = 0
    print(f"load {os.getloadavg()[0]:.2f} before the start; {told.repeats} repeats, threads: {told.threads}")
    for name in told.models or MODELS:
        for what, measured, target, fine in figures(name, told.steps, told.repeats):
            missed += not fine
            print(f"{'ok  ' if fine else 'MISS'}  {name:<12} {what:<44} {measured:>34}   {target}", flush=True)
    print(f"load {os.getloadavg()[0]:.2f} at the end")
    return 1 if missed else 0


def figures(name: str, steps: int, repeats: int) -> Iterator[Row]:
    """Against ART, then the paper's rule."""
    network, answers = trained(name)
    # noise, for a flat image has ties: its gradient depends on which pixel a max-pooling takes
    start = torch.rand(CLASSES, 1, 28, 28, generator=Lab().generator("start"))
    peers = art(network, steps)
    if peers:  # the first calls of both sides set up torch's kernels
        for run in art(network, 20).values():
            run(start)
        invert(answers, start, torch.arange(CLASSES), Descent(max_iter=20))
        yield from against(answers, start, peers, steps, repeats)
    else:
        yield MISSING, "", "", False
    grey = torch.full_like(start, 0.5)
    for on in ("log_odds", "probability"):
        plan = Descent(on=on)  # type: ignore[arg-type]
        descend = functools.partial(invert, answers, grey, torch.arange(CLASSES), plan)
        times, found = zip(*(timed(descend) for _ in range(repeats)), strict=True)
        sure = found[0].confidences
        told = f"{int((sure >= 0.99).sum())} of {CLASSES}, {max(times):.2f} s at worst"
        fine = on != "log_odds" or (bool((sure >= 0.99).all()) and max(times) < 1)
        yield f"paper's rule on {on}: at least 99 % sure", told, "all, < 1 s" if on == "log_odds" else "", fine


def against(
    answers: Logits, start: Tensor, peers: dict[str, Callable[[Tensor], Tensor]], steps: int, repeats: int
) -> Iterator[Row]:
    """Ratios and the largest difference of any pixel under ART's rule."""
    plan = Descent(rule="art", on="probability", max_iter=steps, threshold=EXHAUST)

    def ours(batch: int) -> Tensor:
        return invert(answers, start, torch.arange(CLASSES), plan, batch=batch).images

    runs: dict[str, Callable[[], Tensor]] = {"ours, " + ONCE: lambda: ours(CLASSES), "ours, " + ONE: lambda: ours(1)}
    runs |= {f"ART, {name}": functools.partial(run, start) for name, run in peers.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    images: dict[str, Tensor] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            took, images[name] = timed(run)
            times[name].append(took)
    for name in runs:
        yield f"{name}, {steps:,} iterations", f"{min(times[name]):.2f} to {max(times[name]):.2f} s", "", True
    for how, goal in ((ONCE, 10.0), (ONE, 0.0)):
        ratios = [t / m for t, m in zip(times[f"ART, {how}"], times["ours, " + ONCE], strict=True)]
        fine = min(ratios) >= goal
        yield (
            f"ours at once against ART {how}",
            f"×{min(ratios):.1f} ({median(ratios):.1f})",
            "≥ ×10" if goal else "",
            fine,
        )
    for how in (ONCE, ONE):
        most = (images[f"ours, {how}"] - images[f"ART, {how}"]).abs().max().item()
        yield f"largest difference of a pixel, both {how}", f"{most:.1e}", "≤ 1e-5", most <= 1e-5
    # a batch rounds otherwise than one image does, and many steps over the kinks of a network can make much of it
    apart = (images[f"ART, {ONCE}"] - images[f"ART, {ONE}"]).abs().max().item()
    yield f"ART {ONCE} against ART {ONE}", f"{apart:.1e}", "", True


def trained(name: str) -> tuple[SplitModel, Logits]:
    """The network, trained on MNIST's digits, and its answers as the attack is given them."""
    raw = {"data": "mnist5k", "model": "shallow_net" if name == "small" else name}
    one = study(raw).experiment
    splits = one.data.load(data_root(None))
    victims, shadow = splits.victims, splits.shadow
    if name == "small":
        model = small()
        train(model, splits.train.pixels, splits.train.labels, Training(epochs=6), Lab())
    else:
        model = prepare(one, splits, Lab(), None).model.eval()
    scene = make_scene(victims.pixels, victims.labels, shadow.pixels, shadow.labels, CLASSES, Lab())
    view = observe(model, scene, Threat(grants=(Grant.WEIGHTS, Grant.SERVER)), Lab())
    return model, view.answers


def small() -> SplitModel:
    """Two small convolutions on the device, two linear layers on the server."""
    with Lab().seeded("small"):
        device = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)
        )
        return SplitModel(device, nn.Sequential(nn.Flatten(), nn.Linear(400, 64), nn.ReLU(), nn.Linear(64, CLASSES)))


def art(network: nn.Module, steps: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """ART's attack on all ten classes together and at its usual batch of one; nothing where it is not installed."""
    warnings.filterwarnings("ignore")
    try:
        from art.attacks.inference.model_inversion import MIFace
        from art.estimators.classification import PyTorchClassifier
    except ImportError:
        return {}
    sure = nn.Sequential(network, nn.Softmax(1)).eval()
    classifier = PyTorchClassifier(
        sure, nn.CrossEntropyLoss(), (1, 28, 28), CLASSES, clip_values=(0.0, 1.0), device_type="cpu"
    )

    def run(batch: int) -> Callable[[Tensor], Tensor]:
        attack = MIFace(classifier, max_iter=steps, threshold=EXHAUST, batch_size=batch, verbose=False)
        return lambda start: torch.from_numpy(attack.infer(start.numpy().copy(), np.arange(CLASSES)))

    return {ONCE: run(CLASSES), ONE: run(1)}


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came of it: of the processor for one thread, on the wall for more."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begun = clock()
    found = run()
    return clock() - begun, found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
