"""What an earlier run of the same victim measured: its guesses are scored anew instead of being made again.

A guess is taken only where it would come out the same to the last bit: the same attack with the same settings and name
(its random streams are named after it), under the same grants, from a run whose id this code gives again (so the
images, the model and every component's revision are the same) on the same kind of machine with the same versions. What
is taken is scored here, and must give the figures that the run recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from unsmash.attacks.base import Attack, ClassAttack
from unsmash.attempt import attempt
from unsmash.budget import identification_limit
from unsmash.class_archive import ARRAY
from unsmash.curves import Curve
from unsmash.lab import Lab
from unsmash.recogniser import Recogniser
from unsmash.records import ClassResult, Result, Run
from unsmash.threat import Threat
from unsmash.view import Scene, View


@dataclass(frozen=True)
class Earlier:
    """A run, its guesses, and the images of its class attacks, all by the result's name."""

    run: Run
    guesses: Mapping[str, np.ndarray]
    prototypes: Mapping[str, np.ndarray]
    taken: list[str] = field(default_factory=list)
    """Names of what has been taken from it, in order"""

    def origin(self, name: str) -> str:
        """For the console, where a result was taken from the run."""
        return f" (taken from run {self.run.id})" if name in self.taken else ""

    def attempt(
        self, attack: Attack, name: str, view: View, scene: Scene, eye: Recogniser | None, lab: Lab
    ) -> tuple[Result, Tensor | None]:
        """As `attempt.attempt`, from the run's guess where that is the guess that would be made."""
        if self.has(attack, name, view.threat):
            known = self.run.result(name)
            made = torch.from_numpy(self.guesses[name].copy())
            result, guess = attempt(attack, name, view, scene, eye, lab, made=made)
            if (result.scores, result.ranks) == (known.scores, known.ranks):
                self.taken.append(name)
                return replace(result, notes=known.notes), guess
            lab.emit("warning", name, f"the guesses kept in run {self.run.id} do not give its figures: attacked again")
        return attempt(attack, name, view, scene, eye, lab)

    def curves(self, name: str) -> list[Curve]:
        """How the trainings went of an attack that was taken from the run."""
        return [curve for curve in self.run.curves if curve.name == name] if name in self.taken else []

    def has(self, attack: Attack, name: str, threat: Threat) -> bool:
        """True when the run has this attack's guess, made under these grants."""
        return name in self.guesses and any(
            self._same(one, attack, threat) for one in self.run.results if one.name == name
        )

    def inverted(self, attack: ClassAttack, name: str, threat: Threat) -> tuple[list[ClassResult], Tensor] | None:
        """A class attack's floors, itself and its images; None where the run has none."""
        results = self.run.classes.results if self.run.classes else ()
        done = [one for one in results if one.name == name and self._same(one, attack, threat)]
        images = self.prototypes.get(f"{ARRAY}{name}")
        if not done or images is None:
            return None
        self.taken.append(name)
        floors = [one for one in results if one.name.startswith(f"{name}/")]
        return [*floors, *done], torch.from_numpy(images.copy())

    def control(self, result: Result) -> tuple[bool, str] | None:
        """Whether that attack was strong on the undefended shallow cut, and the sentence; None where nobody tried."""
        for known in self.run.of_role("attack"):
            if (known.name, known.settings) != (result.name, result.settings) or known.failure:
                continue
            # over the limit the card tells of the audited release itself: no control was run
            tried = known.scores["identification"].low <= identification_limit(self.run.budget)
            if tried and known.card.strong is not None:
                return known.card.strong, known.card.evidence[-1]
        return None

    def _same(self, known: Result | ClassResult, attack: Attack, threat: Threat) -> bool:
        """Whether a result is this attack's with these settings, made by an adversary who sees and holds the same."""
        then = [one for one in self.run.experiment.get("threats", ()) if one["name"] == known.threat]
        held = [(set(one["grants"]), one["queries"], one["frames"]) for one in then]
        same = held == [({str(grant) for grant in threat.grants}, threat.queries, threat.frames)]
        return same and not known.failure and known.settings == attack.model_dump(mode="json")


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
    """In what two machines or their versions differ, one phrase each: figures may then differ in the last bits."""
    keys = [key for key in now if then.get(key) != now[key]]
    return [f"{key} was {then.get(key, 'not recorded')}, is {now[key]}" for key in keys]
