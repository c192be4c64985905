"""The advice: which cut, defence and strength meet a budget at the least price. What `unsmash advise` and
`unsmash.advise()` both call.

Trials are measured on images taken out of the adversary's, so that the victims of the re-test took no part in choosing.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsmash import choosing, execute, keeping, report, retesting
from unsmash.advice_record import MOST, Advice, Demand, Retest, Trial, candidates, choices, price
from unsmash.auditing import gathered, load, working_device
from unsmash.data.base import Splits
from unsmash.demands import demand as demanded
from unsmash.demands import parts, relaxed
from unsmash.environment import describe as describe_machine
from unsmash.errors import ConfigError
from unsmash.events import Event, Sink, silent
from unsmash.experiment import digest
from unsmash.lab import Lab
from unsmash.models.base import state_digest
from unsmash.recipes import Space
from unsmash.report.words import duration
from unsmash.searching import Proposal, Search, optuna
from unsmash.store import Store, write_record, write_text
from unsmash.trying import Bench
from unsmash.victim import build

if TYPE_CHECKING:
    from torch import nn

FOLDER, PAGE, RECORD, DATABASE = "advice", "advice.html", "advice.json", "optuna.db"

TRIALS, SEEDS = 24, 2
"""Configurations tried, and seeds of each re-test, where nobody says"""

ENOUGH = 3
"""Once so many meet the demand, one that costs more is not measured further"""

IDLE = 60
"""Proposals in a row that bring nothing new, after which the space counts as searched"""

NEAREST = 2
"""Where nothing meets the demand: trials measured whole for each part that ended them"""

MOST_KEPT = 2 / 3
"""Share of the time that a re-test may keep free: a search must have some too"""

CROWDED = 1.5
"""How much longer a seed takes in one of several processes that share the cores than in one that has them all"""


@dataclass(frozen=True)
class Advised:
    """What the advisor found, and where its page lies."""

    advice: Advice
    folder: Path

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder / PAGE

    @property
    def exit_code(self) -> int:
        """What a gate should return: 0 where a re-test holds, else 1."""
        return 0 if self.advice.chosen is not None else 1


def advise(
    *,
    budget: str,
    data: str | Mapping[str, Any] | None = None,
    model: str | Mapping[str, Any] | nn.Module | None = None,
    at: str = "",
    max_loss: float | None = None,
    certified: float | None = None,
    out: str | Path = "runs",
    progress: Sink = silent,
    **settings: Any,
) -> Advised:
    """Search cuts, defences and strengths for the cheapest that meets a budget, and re-test it.

    `budget` is what is allowed, such as `identification<=0.05 and accuracy>=0.9`; `max_loss` the most accuracy lost
    against the same network undefended; `certified` the most that may be identified by proof. `data`, `model` and the
    other settings are as for `unsmash.audit`, and those of `conduct`.

    >>> found = advise(data="digits", budget="identification<=0.05", max_loss=0.02)            # doctest: +SKIP
    >>> found.advice.chosen, found.report                                                      # doctest: +SKIP
    """
    names = (
        "workers",
        "trials",
        "minutes",
        "seeds",
        "cuts",
        "only",
        "device",
        "root",
        "allow_contamination",
        "images",
        "command",
    )
    options = {name: settings.pop(name) for name in names if name in settings}
    raw, module = gathered(data, model, at, settings)
    asked = demanded(budget, max_loss, certified)
    plan = choosing.plan(raw, trusted=True)
    return conduct(plan, asked, out=Path(out), progress=progress, module=module, **options)


def conduct(
    plan: choosing.Plan,
    demand: Demand,
    *,
    out: Path,
    workers: int | None = 1,
    trials: int = TRIALS,
    minutes: float | None = None,
    seeds: int = SEEDS,
    cuts: Sequence[str] = (),
    only: Sequence[str] = (),
    progress: Sink = silent,
    module: nn.Module | None = None,
    device: str = "auto",
    root: Path | None = None,
    allow_contamination: bool = False,
    images: bool = True,
    command: str = "",
) -> Advised:
    """Carry out an advice, or go on with it where it was stopped.

    `trials` counts those that earlier calls made; `minutes` is this call's time, the re-tests' share of it kept free.
    So many `workers` measure the seeds of a re-test side by side, in processes of their own; None: one a core. A script
    must then call this under `if __name__ == "__main__":`.

    Raises:
        UnsmashError: something is wrong with what was asked. A trial that fails is a trial, no error.
    """
    _check(trials, minutes, seeds)
    optuna()
    begun = time.monotonic()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    lab = Lab(device=working_device(device), sink=progress, seed=plan.seed)
    spared, own = _images(plan, lab, root, allow_contamination)
    with lab.stage("space") as told:
        space = choosing.space(plan, spared, lab, cuts, only, module)
        told["say"] = f"{len(space.cuts)} cuts, {len(space.recipes)} recipes of defences"
    fresh = tuple(range(plan.seed + 1, plan.seed + 1 + seeds))
    name = _id(plan, demand, space, own, fresh, lab, module)
    store, options = Store(out), {"device": device, "images": images}
    folder = out / FOLDER / name
    bench = Bench(demand, spared, store, lab, options, module, "../../")
    with keeping.alone(folder / RECORD, lab, "this advice"):
        where = {"root": None if root is None else str(root), "allow_contamination": allow_contamination}
        room = execute.cores() if lab.device.type == "cpu" and module is None else 1
        at_once = max(1, min(seeds, workers or room))
        search = Search(folder / DATABASE, space, plan.seed)
        job = Job(plan, bench, search, space, begun, trials, minutes, seeds, at_once, where)
        tried = job.search()
        retests = job.retests(tried, own, fresh)
        if not choices(tried):
            tried = job.nearest(tried)
        settled = bool(candidates(tried)) or any(one.holds for one in retests)
        made = Advice(
            id=name, demand=demand, trials=tuple(tried), retests=tuple(retests),
            relaxed=() if settled else relaxed(demand, tried), seeds=fresh, seed=plan.seed,
            cuts=space.cuts, recipes=tuple(one.name for one in space.recipes), n=len(own.victims), noun=own.noun,
            data=plan.base.data.label(), model=plan.base.model.label(), fingerprint=own.report.fingerprint,
            environment=describe_machine(lab.device), started=started, command=command,
            seconds=sum(one.seconds for one in tried) + sum(one.row.seconds for one in retests),
        )  # fmt: skip
        write_record(folder / RECORD, made)
        write_text(folder / PAGE, report.render_advice(made))
    return Advised(made, folder)


@dataclass
class Job:
    """A search under way, its clock, and what is told of it."""

    plan: choosing.Plan
    bench: Bench
    search_: Search
    space: Space
    begun: float
    most: int
    minutes: float | None
    seeds: int
    workers: int
    where: Mapping[str, Any]
    """How processes of their own find the images"""
    probed: dict[int, float] = field(default_factory=dict)
    """Seconds that one seed of a trial's re-test may take, by its number"""

    def search(self) -> list[Trial]:
        """Try what is proposed until there are enough trials, no time, or nothing new."""
        tried = self.search_.known()
        known = {_key(one.experiment): one for one in tried}
        mine, idle = 0, 0
        proposals = self.search_.proposals()
        while len(tried) < self.most and idle < IDLE and not (mine and self._late(tried)):
            proposal = next(proposals)
            trial = self._new(proposal)
            if trial is None or _key(trial.experiment) in known:
                self.search_.tell(proposal, None)
                idle += 1
                continue
            experiment = self._experiment(proposal)
            self.bench.lab.sink(Event("note", "trial", f"{len(tried) + 1} of {self.most}: {trial.name}"))
            trial = self.bench.attempt(trial, experiment, _too_dear(tried))
            self.search_.tell(proposal, trial)
            known[_key(trial.experiment)] = trial
            tried.append(trial)
            mine, idle = mine + 1, 0
            self._tell(trial, tried)
        return sorted(tried, key=lambda one: one.number)

    def retests(self, tried: Sequence[Trial], splits: Splits, seeds: Sequence[int]) -> list[Retest]:
        """The cheapest that meets the demand, or may meet it, measured anew; where it fails the next, at most three."""
        made: list[Retest] = []
        for trial in choices(tried)[:MOST]:
            if made and self._over():
                self.bench.lab.sink(Event("note", "re-test", "no time for the next choice; the same command goes on"))
                break
            self.bench.lab.sink(Event("note", "re-test", f"{trial.name}: other seeds, other victims, every attack"))
            found = retesting.retest(
                self.plan, trial, self.bench.demand, seeds, splits, self.bench.lab, store=self.bench.store,
                options=self.bench.options, module=self.bench.module, address=self.bench.address, workers=self.workers,
                where=self.where,
            )  # fmt: skip
            made.append(found)
            word = "it holds" if found.holds else f"it does not hold: {found.reason}"
            self.bench.lab.sink(Event("finding", "re-test", f"{trial.name}: {word}"))
            if found.holds:
                break
        return made

    def nearest(self, tried: Sequence[Trial]) -> list[Trial]:
        """The trials with those measured whole that missed each part of the demand by least."""
        wanted: list[int] = []
        for part in parts(self.bench.demand):
            ended = [one for one in tried if one.state == "pruned" and one.missed == part]
            wanted += [one.number for one in sorted(ended, key=_shortfall)[:NEAREST]]
        made = []
        for trial in tried:
            if trial.number in wanted and not self._over():
                told = f"{trial.name}: measured whole, to tell which part of the demand is the expensive one"
                self.bench.lab.sink(Event("note", "nearest", told))
                experiment = self._rebuilt(trial)
                trial = self.bench.attempt(trial, experiment, lambda _: "", whole=True)
            made.append(trial)
        return made

    def _new(self, proposal: Proposal) -> Trial | None:
        """The proposal as a trial that has not begun; None where the cut and the recipe do not go together."""
        if not self.space.fits(proposal.cut, proposal.recipe):
            return None
        experiment = self._experiment(proposal)
        plain = experiment.model_dump(mode="json")
        kept = {name: plain[name] for name in ("at", "defences", "train")}
        name = choosing.named(experiment, self.plan.base)
        return Trial(proposal.number, name, "failed", "accuracy", kept)

    def _experiment(self, one: Proposal) -> Any:
        return self.plan.trial(one.cut, self.space.recipe(one.recipe), one.strengths, longer=one.longer)

    def _rebuilt(self, trial: Trial) -> Any:
        one = retesting.experiment(self.plan, trial)
        base = self.plan.base
        data = base.data.model_copy(update={"spare": True})
        return one.model_copy(update={"data": data, "threats": base.threats, "attacks": base.attacks})

    def _tell(self, trial: Trial, tried: Sequence[Trial]) -> None:
        """One line for each trial, with the time left."""
        word = "meets the demand" if trial.meets else f"{trial.state} at {trial.stage}: {trial.reason or 'not met'}"
        count, left = len(tried), self._left(tried)
        text = f"{count} of {self.most}: {trial.name} {word}; {len(candidates(tried))} meet it; about {left} left"
        self.bench.lab.sink(Event("finding", "trial", text, step=count, total=self.most))

    def _left(self, tried: Sequence[Trial]) -> str:
        each = sum(one.seconds for one in tried) / max(1, len(tried))
        left = (self.most - len(tried)) * each + self._retest_seconds(tried)
        if self.minutes is not None:
            left = min(left, max(0.0, 60 * self.minutes - (time.monotonic() - self.begun)))
        return duration(left)

    def _retest_seconds(self, tried: Sequence[Trial]) -> float:
        """What a re-test of the choice that leads now may take, by a probe; nothing where time is not short."""
        if self.minutes is None or not choices(tried):
            return 0.0
        leading = choices(tried)[0]
        if leading.number not in self.probed:
            begun = time.monotonic()
            self.probed[leading.number] = retesting.estimate(
                self.plan, leading, self.bench.splits, self.bench.lab, self.bench.module
            )
            took = time.monotonic() - begun
            each = f"{duration(self.probed[leading.number])} a seed, by a probe of {duration(took)}"
            self.bench.lab.sink(Event("note", "re-test", f"a re-test of {leading.name} takes about {each}"))
        rounds = -(-self.seeds // self.workers)
        crowded = execute.threads_of(self.workers) < execute.threads_of(1)
        return rounds * self.probed[leading.number] * (CROWDED if crowded else 1.0)

    def _late(self, tried: Sequence[Trial]) -> bool:
        """Whether no more than the re-test's time is left."""
        if self.minutes is None:
            return False
        kept = min(self._retest_seconds(tried), MOST_KEPT * 60 * self.minutes)
        return time.monotonic() - self.begun + kept > 60 * self.minutes

    def _over(self) -> bool:
        return self.minutes is not None and time.monotonic() - self.begun > 60 * self.minutes


def _too_dear(tried: Sequence[Trial]) -> Callable[[Trial], str]:
    """What ends a trial that costs more than enough others which meet the demand."""
    good = candidates(tried)[:ENOUGH]

    def why(trial: Trial) -> str:
        if len(good) < ENOUGH or price(trial) < price(good[-1]):
            return ""
        return f"{ENOUGH} that cost less meet the demand already"

    return why


def _shortfall(trial: Trial) -> tuple[float, ...]:
    """How far a pruned trial got from the demand, in the measure that ended it, then by price."""
    figure = trial.lost or 0.0
    if trial.stage == "proofs":
        figure = trial.ceiling.value if trial.ceiling else 1.0
    elif trial.stage in ("candidate list", "cheap attacks"):
        reached = trial.attack or trial.gallery
        figure = reached.share.mean if reached else 1.0
    return (figure, *price(trial))


def _images(plan: choosing.Plan, lab: Lab, root: Path | None, allow_contamination: bool) -> tuple[Splits, Splits]:
    """The images of the search and those of the re-test, which share neither victims nor val."""
    options: dict[str, Any] = {"root": root, "allow_contamination": allow_contamination}
    data = plan.base.data
    if data.spare:
        hint = "The advisor spares the victims itself"
        raise ConfigError("data.spare", got=True, allowed="false", hint=hint)
    own = load(data, lab, **options)
    spared = load(data.model_copy(update={"spare": True}), replace(lab, sink=silent), **options)
    return spared, own


def _id(
    plan: choosing.Plan, demand: Demand, space: Space, splits: Splits, seeds: Sequence[int], lab: Lab,
    module: nn.Module | None,
) -> str:  # fmt: skip
    """12 hex digits of all that the search and its re-test rest on; neither trials nor minutes, which may be added."""
    base = plan.base
    own = module is not None or base.model.local_only
    weights = state_digest(build(base, splits, lab, module=module)) if own else ""
    parts = [base.canonical(), base.id, asdict(demand), repr(space), list(seeds), splits.report.fingerprint, weights]
    return digest(parts)[:12]


def _key(experiment: Mapping[str, Any]) -> str:
    return digest(dict(experiment))


def _check(trials: int, minutes: float | None, seeds: int) -> None:
    if trials < 1:
        raise ConfigError("--trials", got=trials, allowed="a whole number of 1 or more")
    if minutes is not None and not minutes > 0:
        raise ConfigError("--minutes", got=minutes, allowed="a number above 0")
    if seeds < 1:
        raise ConfigError("--seeds", got=seeds, allowed="a whole number of 1 or more")


def summary(found: Advised) -> dict[str, Any]:
    """An advice as one JSON document."""
    from unsmash.report.advice_findings import headline

    return asdict(found.advice) | {
        "sentence": headline(found.advice), "exit_code": found.exit_code, "report": str(found.report),
    }  # fmt: skip
