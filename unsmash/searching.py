"""Optuna's part of the advisor: what to try next, and a ledger of what was tried that outlives a killed process.

Each trial's record is kept with the trial in one SQLite file; a trial that was under way when the process died is
taken up again under its number. What is proposed depends on the seed and on what was tried, not on when.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unsmash.advice_record import Trial
from unsmash.errors import DependencyError
from unsmash.experiment import digest
from unsmash.plain import build
from unsmash.recipes import Space, parameter

RECORD = "record"
OBJECTIVES = ("accuracy lost", "bytes and work on the device", "share identified")
RANDOM = 8
"""Trials beyond which proposals follow what was found"""


def optuna() -> Any:
    """Optuna, which comes with the extra `advise`.

    Raises:
        DependencyError: it is not installed, with the command that installs it.
    """
    try:
        import optuna as module
    except ImportError as error:
        sentence = 'advise needs optuna, which is not here. Install it with: pip install "unsmash[advise]"'
        raise DependencyError(sentence) from error
    module.logging.set_verbosity(module.logging.WARNING)
    return module


@dataclass(frozen=True)
class Proposal:
    """What to try, under the trial's number."""

    number: int
    cut: str
    recipe: str
    longer: bool
    strengths: dict[str, float]
    trial: Any
    """Optuna's own"""


class Search:
    """A search of a space, in a file."""

    def __init__(self, file: Path, space: Space, seed: int) -> None:
        self.optuna, self.space, self.seed = optuna(), space, seed
        file.parent.mkdir(parents=True, exist_ok=True)
        storage = self.optuna.storages.RDBStorage(f"sqlite:///{file}")
        self.study = self.optuna.create_study(
            storage=storage, study_name="advice", directions=["minimize"] * len(OBJECTIVES), load_if_exists=True
        )
        for first in space.first():
            self.study.enqueue_trial(first, skip_if_exists=True)

    def known(self) -> list[Trial]:
        """What was tried already, in order."""
        records = [one.user_attrs.get(RECORD) for one in self._finished()]
        return [build(Trial, json.loads(record)) for record in records if record]

    def proposals(self) -> Iterator[Proposal]:
        """What to try next; first what was under way when a process died. Each is told before the next is asked."""
        states = self.optuna.trial.TrialState
        for open_ in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self._sample()
            yield self._propose(self.optuna.trial.Trial(self.study, open_._trial_id))
        while True:
            self._sample()
            yield self._propose(self.study.ask())

    def tell(self, proposal: Proposal, trial: Trial | None) -> None:
        """What became of a proposal; None where it was nothing new, or cuts and defences that do not go together."""
        states, own = self.optuna.trial.TrialState, proposal.trial
        if trial is None:
            self.study.tell(own, state=states.FAIL)
            return
        own.set_user_attr(RECORD, json.dumps(asdict(trial), allow_nan=False))
        if trial.state == "failed":
            self.study.tell(own, state=states.FAIL)
            return
        if not own.constraints:
            own.set_constraint("demand", 0.0 if trial.meets else 1.0)
        values = _values(trial)
        if trial.state == "measured" and values is not None:
            self.study.tell(own, values)
        else:
            self.study.tell(own, state=states.PRUNED)

    def _finished(self) -> list[Any]:
        trials = self.study.get_trials(deepcopy=False)
        return [one for one in trials if one.state.is_finished()]

    def _sample(self) -> None:
        """A sampler of its own for each trial: one that goes on where a killed process stopped proposes the same."""
        stream = int(digest([self.seed, len(self._finished())])[:8], 16)
        self.study.sampler = self.optuna.samplers.TPESampler(seed=stream, n_startup_trials=RANDOM)

    def _propose(self, trial: Any) -> Proposal:
        space = self.space
        cut = trial.suggest_categorical("cut", list(space.cuts))
        name = trial.suggest_categorical("recipe", [one.name for one in space.recipes])
        longer = trial.suggest_categorical("longer", list(space.longer))
        strengths: dict[str, float] = {}
        for strength, span in space.recipe(name).strengths().items():
            key = parameter(name, strength)
            if span.whole:
                strengths[strength] = trial.suggest_int(key, int(span.low), int(span.high), log=True)
            else:
                strengths[strength] = trial.suggest_float(key, span.low, span.high, log=True)
        return Proposal(trial.number, cut, name, longer, strengths, trial)


def _values(trial: Trial) -> tuple[float, float, float] | None:
    """A measured trial's objectives: accuracy lost, the orders of magnitude of bytes and of work, share identified."""
    reached = trial.attack or trial.gallery
    if reached is None:
        return None
    price = math.log10(max(1, trial.bytes_sent or 1)) + math.log10(max(1, trial.device_macs or 1))
    return trial.lost or 0.0, price, reached.share.mean
