"""Strength cards: may an attack's low number be believed?

An attack that is over the limit has shown its strength. One that is not must show it where it has to succeed: on the
undefended shallow cut of the same network, with the same budget. Learned attacks must not do worse than ridge either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from unsmash import budget as budgets
from unsmash.attacks.base import Attack
from unsmash.attempt import attempt
from unsmash.data.base import Splits
from unsmash.earlier import Earlier
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.records import Card, Result
from unsmash.rehearsal import Rehearsal
from unsmash.threat import Threat
from unsmash.victim import Victim, places, split
from unsmash.view import Memory, Scene, observe

RIDGE_SLACK = 1.05
"""A learned attack may miss ridge's error by this factor: its loss weighs pictures, not squared error alone"""

Stage = Callable[[str], AbstractContextManager[dict[str, Any]]]


def against_ridge(result: Result, ridge_error: float) -> Card:
    """The result's card with the comparison of its error and ridge's filled in."""
    error = result.scores["mse"].mean
    fine = error <= RIDGE_SLACK * ridge_error
    relation = "no worse than" if fine else "worse than"
    told = f"Mean squared error {error:.4f}, {relation} ridge's {ridge_error:.4f}."
    return replace(result.card, beats_ridge=fine, evidence=(*result.card.evidence, told))


def with_cards(
    results: Sequence[Result],
    victim: Victim,
    scene: Scene,
    rehearse: Rehearsal,
    lab: Lab,
    stage: Stage,
    budget: str,
    earlier: Earlier | None = None,
) -> list[Result]:
    """Fill in `strong` for every attack; the control run is made only for those that are not over the limit.

    What an earlier run of the same victim found in its control is not tried again.
    """
    limit = budgets.identification_limit(budget)
    asked = {threat.name: threat for threat in rehearse.experiment.threats}
    finished = [r for r in results if r.role == "attack" and not r.failure]
    leaking = {r.threat for r in finished if r.card.valid and r.scores["identification"].low > limit}
    control: Control | None = None
    out: list[Result] = []
    for result in results:
        threat = asked.get(result.threat)
        if result not in finished or threat is None:
            out.append(result)
        elif result.scores["identification"].low > limit:
            told = f"Identifies {result.scores['identification'].mean:.0%} on the audited release itself."
            out.append(replace(result, card=_with(result.card, strong=True, told=told)))
        elif not threat.asked or result.threat in leaking or result.card.exhibit:
            out.append(result)  # another attack has settled this adversary already, or must
        else:
            with stage(f"control of {result.name}") as say:
                known = earlier.control(result) if earlier else None
                if known is not None:
                    card = _with(result.card, strong=known[0], told=known[1])
                else:
                    control = control or Control(victim, scene, rehearse, lab)
                    card = control.card(result)
                say["say"] = card.evidence[-1]
            out.append(replace(result, card=card))
    return out


class Control:
    """The undefended shallow cut of the same trained network."""

    def __init__(self, victim: Victim, scene: Scene, rehearse: Rehearsal, lab: Lab) -> None:
        self.attacks, self.scene, self.lab = rehearse.experiment.attacks, scene, lab
        self.at = shallowest(victim, rehearse.splits)
        self.model = split(victim.net, victim.entry, self.at, rehearse.splits).to(lab.device).eval()
        self.rehearse = replace(rehearse, experiment=undefended(rehearse.experiment, self.at))
        self.memory: Memory = {}
        self.made: dict[str, Result] = {}

    def run(self, attack: Attack, name: str) -> Result:
        """One attack there, under the grants that it needs."""
        grants = tuple(sorted({*Threat().grants, *attack.required()}))
        threat, lab = Threat(name="control", grants=grants), self.lab.at("control")
        view = observe(self.model, self.scene, threat, lab, memory=self.memory, rehearse=self.rehearse)
        return attempt(attack, name, view, self.scene, None, lab)[0]

    def card(self, result: Result) -> Card:
        """Run the attack where it must succeed, with the settings of the audited one."""
        attack = next(a for a in self.attacks if a.model_dump(mode="json") == result.settings)
        name = result.name.partition("@")[0]  # the control is the same whoever the adversary is: it is made once
        if name not in self.made:
            self.made[name] = self.run(attack, name)
        control = self.made[name]
        if control.failure:
            return _with(result.card, strong=False, told=f"Its control run did not finish: {control.failure}.")
        share = control.scores["identification"].mean
        strong = share >= attack.control_share
        need = "" if strong else f"; at least {attack.control_share:.0%} is asked of it"
        told = f"Identifies {share:.0%} on the undefended cut at {self.at!r}{need}."
        return _with(result.card, strong=strong, told=told)


def undefended(experiment: Experiment, at: str) -> Experiment:
    """The same experiment cut there and without defences."""
    return experiment.model_copy(update={"defences": (), "at": at})


def shallowest(victim: Victim, splits: Splits) -> str:
    """The first place with learned layers before it where one tensor crosses."""
    rows = places(victim.net, victim.entry, splits.train.pixels[:2])
    fitting = [row.name for row in rows if row.single and row.device_parameters > 0]
    return fitting[0]


def _with(card: Card, *, strong: bool, told: str) -> Card:
    return replace(card, strong=strong, evidence=(*card.evidence, told))
