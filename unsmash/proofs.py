"""What can be proved about a victim's release, gathered and held against every attack."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unsmash import guarantees
from unsmash.attacks.base import Attack
from unsmash.component import discover
from unsmash.experiment import Experiment
from unsmash.information import information_bounds
from unsmash.lab import Lab
from unsmash.mechanism import mechanism, smashed_region
from unsmash.records import Bound, Result
from unsmash.split.shield import count
from unsmash.threat import Grant, Threat
from unsmash.victim import Victim
from unsmash.view import Scene, View, observe


def prove(
    experiment: Experiment, victim: Victim, scene: Scene, results: Sequence[Result], lab: Lab
) -> tuple[Bound, ...]:
    """All bounds of a release, for one message and for as many as the experiment's adversaries see.

    Raises:
        BoundError: an attack lies beyond a proof.
    """
    view = observe(victim.model, scene, Threat(name="proofs", grants=(Grant.WEIGHTS, Grant.CANDIDATES)), lab)
    z = view.smash(scene.victims[:1])
    known = mechanism(victim.model.shield, smashed_region(victim.net, experiment.at, _numbers(z)))
    seen = {threat.name: threat.queries for threat in experiment.threats if threat.frames == 1}
    found = guarantees.Measured(view, _likelihood(view, lab), scene.place, scene.victims, scene.labels,
                                _answers(victim, view, lab))  # fmt: skip
    bounds = guarantees.proved(known, found, sorted(set(seen.values())))
    variance = scene.shadow.var(0).mean().item()
    bounds += information_bounds(victim.model, known, scene.victims, variance, lab)
    bounds += victim.model.shield.claims()
    guarantees.check(results, bounds, seen)
    return bounds + guarantees.audited_epsilon(results, bounds, seen)


def say(bounds: Sequence[Bound], n: int) -> str:
    """The strongest statement in a few words, for the console."""
    ceilings = [bound for bound in bounds if bound.name.startswith("ceiling") and bound.value is not None]
    if not ceilings:
        return "nothing bounds what any attacker could identify"
    best = min(ceilings, key=lambda bound: bound.value or 0.0)
    return f"no attacker identifies more than {(best.value or 0.0) * n:.3g} of {n} on average"


def _likelihood(view: View, lab: Lab) -> torch.Tensor | None:
    """Of each candidate for each victim, where the release's law is known."""
    one = tuple(part[:1] for part in view.repeats[0])
    if view.shield.log_likelihood(one, tuple(part[:1] for part in view.smash(view.candidates[:1]))) is None:
        return None
    return discover("unsmash.attacks", Attack)["gallery"](kind="gallery").run(view, lab)


@torch.no_grad()
def _answers(victim: Victim, view: View, lab: Lab) -> torch.Tensor:
    """The server's answer to each release of the view; −1 where it answers with no logits."""
    logits = victim.model.answer(tuple(part.to(lab.device) for part in view.repeats[0]))
    return logits.argmax(1).cpu() if logits.ndim == 2 else torch.full((view.victims,), -1)


def _numbers(z: tuple[torch.Tensor, ...]) -> int:
    return sum(count(part.shape[1:]) for part in z)
