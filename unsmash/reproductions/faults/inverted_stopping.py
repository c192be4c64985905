"""A stopping rule the wrong way round: ART's MIFace keeps what has arrived and lets go of what has hardly begun.

Its rule is `active = (cost <= threshold) or (cost >= max(window))`, with a cost of one minus the probability of the
class: a class it is sure of stays active to the last step; one whose first probability is under 1 − threshold is let
go after one step, with its start image. NIST Dioptra's example starts from black.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from unsmash.class_inversion import Descent, Inversion, invert
from unsmash.lab import Lab
from unsmash.models.shallow_net import ShallowNet
from unsmash.reproductions.faults.fault import Fault, Figures, mean, measures, published, share, table
from unsmash.reproductions.faults.ground import DIGITS, Ground
from unsmash.reproductions.record import Sheet
from unsmash.reproductions.workbench import Made
from unsmash.split import SplitModel

SURE = 0.99
CLASSES = 10
CASES = {
    ("le_net", "black"): "le_net, black",
    ("le_net", "grey"): "le_net, grey",
    ("le_net", "noise"): "le_net, noise",
    ("le_net", "average"): "le_net, average digit",
    ("le_net", "another"): "le_net, other's digit",
    ("le_net", "own"): "le_net, own digit",
    ("shallow_net", "black"): "shallow_net, black",
}


def show(ground: Ground) -> Fault:
    """ART's rule and the paper's on Dioptra's two networks, from ART's starts."""
    models = dict.fromkeys(model for model, _ in CASES)
    told = {model: {"model": model, "passes": _passes(ground, model)} for model in models}
    for model in models:
        ground.step(f"miface: the network {model}", DIGITS, partial(_accuracy, ground, model), **told[model])
    steps = {
        (model, start): ground.step(
            f"miface: {model} from {start}",
            (*DIGITS, "iterations"),
            partial(_inverted, ground, model, start),
            **told[model],
        )
        for model, start in CASES
    }
    kept: dict[tuple[str, str], dict[str, Figures]] = {case: step.figures for case, step in steps.items()}
    ours = {CASES[case]: measures(one["art"]) for case, one in kept.items()}
    right = {CASES[case]: measures(one["paper"]) for case, one in kept.items()}
    another, grey = kept["le_net", "another"], kept["le_net", "grey"]
    arrays, usual = steps["le_net", "another"].arrays, steps["le_net", "grey"].arrays
    lines = (
        ("Start: a digit of another class", ""),
        ("ART's rule", f"{_count(another['art']['stuck'])} of {CLASSES} classes let go at once"),
        ("Paper's rule", f"{_count(another['paper']['sure'])} of {CLASSES} classes sure"),
        ("Paper's rule, grey start", f"{_count(grey['paper']['sure'])} of {CLASSES} classes sure"),
    )
    shown = (arrays["start"], arrays["art"], arrays["paper"], usual["paper"])
    return Fault(
        name="inverted stopping rule",
        shown=_stuck(kept) > 0 and _late(kept),
        sentence=_sentence(kept, ground.sizes.iterations),
        brief=f"ART lets go of {_count(another['art']['stuck'])} of {CLASSES} classes after one step",
        tables=(table("stopping", ours, right, RULE, SLOPE),),
        sheets=(
            Sheet("stopping", "One image a class, by either rule", "Network `le_net`.", lines, tuple("0123456789")),
        ),
        pictures={f"stopping/{place}": images for place, images in enumerate(shown)},
    )


RULE = (
    "As published: ART 1.20.1's rule on the class's probability. Put right: Fredrikson et al.'s rule, which stops a "
    "class once it is 99 % sure or nothing in the last 100 steps was worse, on log-odds, whose gradient does not fade."
)
SLOPE = "Slope: over the classes, the least of their largest gradient entries at the start, on what is climbed."


def _stuck(kept: dict[tuple[str, str], dict[str, Figures]]) -> int:
    return sum(_count(one["art"]["stuck"]) for one in kept.values())


def _late(kept: dict[tuple[str, str], dict[str, Figures]]) -> bool:
    """Whether classes that were sure were carried on to the last step."""
    return any(one["more"] for one in kept.values())


def _count(figure: list[float]) -> int:
    return round(figure[0] / 100 * figure[3])


def _sentence(kept: dict[tuple[str, str], dict[str, Figures]], most: int) -> str:
    classes = CLASSES * len(kept)
    black = kept["le_net", "black"]
    soon = [(one["more"]["sure after"][0], one["more"]["sure after"][3]) for one in kept.values() if one["more"]]
    carried = sum(n for _, n in soon)
    went_on = "none became sure under it"
    if carried:
        average = sum(steps * n for steps, n in soon) / carried
        went_on = f"{carried} that were 99 % sure after {average:.0f} steps on average went on to the last of {most:,}"
    let_go = _count(kept["le_net", "another"]["art"]["stuck"])
    sure = [_count(one["paper"]["sure"]) for one in kept.values()]
    took = sum(one["paper"]["steps"][0] for one in kept.values()) / len(kept)
    was = published("stopping", CASES["le_net", "black"], "slope")
    return (
        f"**Inverted stopping rule.** Started from a digit of another class, ART's rule lets go of {let_go} of "
        f"{CLASSES} classes after one step; over all networks and starts of {_stuck(kept)} of {classes}, while "
        f"{went_on}. The paper's rule on log-odds makes {sum(sure)} of {classes} sure, in {took:.0f} steps on average. "
        "From Dioptra's black start, where the flattest class of `le_net` has a largest gradient entry of "
        f"{black['art']['slope'][0]:.2g} on the probability (ART's own notebook, its own network: {was:.6f}) and "
        f"{black['paper']['slope'][0]:.2g} on log-odds, ART makes {_count(black['art']['sure'])} of {CLASSES} sure, "
        f"the paper's rule {_count(black['paper']['sure'])}."
    )


def _network(ground: Ground, model: str) -> SplitModel:
    return ground.digits.network(model, _passes(ground, model))


def _passes(ground: Ground, model: str) -> int:
    return ShallowNet.epochs if model == "shallow_net" else ground.sizes.passes  # sigmoid units learn slowly


def _accuracy(ground: Ground, model: str, lab: Lab) -> Made:
    return Made({"accuracy": ground.digits.accuracy(_network(ground, model))})


def _start(name: str, ground: Ground, lab: Lab) -> Tensor:
    """Ten start images, one a class; alike but for noise, and for digits that trained nothing."""
    images, held = ground.digits.splits.shadow.pixels, ground.digits.splits.val
    shape = tuple(images.shape[1:])
    if name in ("own", "another"):
        labels = held.labels.tolist()
        first = [labels.index(label) for label in range(CLASSES)]
        return held.pixels[torch.tensor(first)].roll(int(name == "another"), 0)
    if name == "noise":
        return torch.rand(CLASSES, *shape, generator=lab.generator("start"))
    one = images.mean(0) if name == "average" else torch.full(shape, {"black": 0.0, "grey": 0.5}[name])
    return one.expand(CLASSES, *shape).clone()


def _inverted(ground: Ground, model: str, start: str, lab: Lab) -> Made:
    """Both rules from that start, and when the classes that ART keeps had become sure."""
    net, most = _network(ground, model).requires_grad_(False), ground.sizes.iterations
    at, classes = _start(start, ground, lab).to(lab.device), torch.arange(CLASSES)
    plans = {
        "art": Descent(rule="art", on="probability", max_iter=most, threshold=SURE),
        # the same descent, but that it stops where a class is sure: its window is never full, so nothing else stops it
        "same": Descent(on="probability", max_iter=most, window_length=most + 1, threshold=SURE),
        "paper": Descent(on="log_odds", max_iter=most, threshold=SURE),
    }
    found = {
        name: invert(net, at, classes, plan).rows(list(range(CLASSES)))
        for name, plan in lab.track(list(plans.items()), "descents")
    }
    art, same, paper = found["art"], found["same"], found["paper"]
    arrived = torch.tensor([stop == "confident" for stop in same.stops]) & (same.iterations < most)
    steps = [float(one) for one in same.iterations[arrived & (art.iterations == most)].tolist()]
    more = {"sure after": mean(steps)} if steps else {}
    images = {"start": at.cpu(), "art": art.images, "paper": paper.images}
    return Made({"art": _figures(art), "paper": _figures(paper), "more": more}, images)


def _figures(found: Inversion) -> Figures:
    """Classes let go after one step without being sure, classes that end sure, steps a class, and the least slope."""
    ended = found.confidences >= SURE
    steps = [float(one) for one in found.iterations.tolist()]
    return {
        "stuck": share((found.iterations <= 1) & ~ended),
        "sure": share(ended),
        "steps": mean(steps),
        "slope": [found.slopes.min().item()],
    }
