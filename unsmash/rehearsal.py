"""The split training carried out once more, from the weights it began with, in other company.

An adversary who takes part in the training, or reads what comes back in it, changes or watches the training itself: the
victim that was trained in honest company cannot tell what it would have got. So the training runs again, the same
images in the same order under the same defences, with the adversary's server or watch in it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from torch import nn

from unsmash.data.base import Splits
from unsmash.errors import Alarm, UnsmashError
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.sessions import Outcome
from unsmash.split.parties import Server, Watch
from unsmash.split.train import train
from unsmash.victim import Stages, arm, build, early, split


@dataclass(frozen=True)
class Rehearsal:
    """What is needed to train an experiment's victim again."""

    experiment: Experiment
    splits: Splits
    lab: Lab
    module: nn.Module | None = None

    def __call__(self, server: Server | None, watch: Watch | None, steps: int | None) -> Outcome:
        """Train with this server in place of the honest one, or with this watch on the device, for so many steps.

        Where the device's guard gives the alarm the training ends there, and the model is as it was then.

        Raises:
            UnsmashError: this training cannot have the server in it.
        """
        experiment = self.experiment
        if any(defence.trainer() is not None for defence in experiment.defences):
            raise UnsmashError("training with differential privacy is computed jointly here: no server can be replaced")
        net, _ = experiment.adapted(build(experiment, self.splits, self.lab, module=self.module))
        model = split(net, experiment.model.entry(), experiment.at, self.splits)
        layers = arm(experiment, model, self.splits, self.lab)
        first = early(experiment)
        stages = Stages(net, model, layers, self.splits, self.lab)
        plan = experiment.train.model_copy(update={"epochs": experiment.epochs()})
        alarm = ""
        try:
            stages.train(first, plan, functools.partial(train, server=server, watch=watch, steps=steps))
            stages.fit([place for place in range(len(layers)) if place not in first], trained=True)
        except Alarm as error:
            alarm = str(error)
        return Outcome(model.to(self.lab.device).eval(), alarm)
