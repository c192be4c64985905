"""One configuration tried, cheapest first: accuracy, price, proofs, candidate list, cheap attacks; then a whole audit.

What already misses the demand at a cheap step goes no further. Such a part is measured by the audit's own functions on
the audit's own random streams, so that an audit of the same experiment finds the same figures; it gives no verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from unsmash import auditing, judge, pipeline, proofs
from unsmash import budget as budgets
from unsmash.advice_record import Demand, Stage, Trial
from unsmash.attacks.base import Attack, ClassAttack
from unsmash.attempt import attempt
from unsmash.budget import Comparison
from unsmash.data.base import Splits
from unsmash.demands import CERTIFIED, LOSS, broken, parts, said, unsure
from unsmash.description import describe
from unsmash.errors import UnsmashError
from unsmash.experiment import Experiment, Study
from unsmash.frontier import Entry, row
from unsmash.frontier_record import Ceiling, Reached, Share
from unsmash.lab import Lab
from unsmash.records import Failure, Result, Score
from unsmash.report.words import percent, points
from unsmash.store import REPORT, Store
from unsmash.threat import Threat
from unsmash.usefulness import utility_of
from unsmash.victim import Victim, prepare
from unsmash.view import Memory, Scene, make_scene, observe

CHEAP = ("ridge", "lookalike", "class_ridge", "posterior")
"""Attacks that take seconds, the quickest first; the decoder and all others wait for the audit"""

TooDear = Callable[[Trial], str]
"""Why a trial of that price need not be measured whole; empty where it must be"""


class Missed(Exception):  # noqa: N818  it ends a trial early, and nothing went wrong
    """A part of the demand is missed already: which, and by how much."""

    def __init__(self, part: str, reason: str) -> None:
        self.part, self.reason = part, reason
        super().__init__(reason)


@dataclass(frozen=True)
class Bench:
    """What all trials share."""

    demand: Demand
    splits: Splits
    store: Store
    lab: Lab
    options: dict[str, Any]
    """Where and how audits are carried out, as `auditing.conduct` takes it"""
    module: nn.Module | None = None
    address: str = "../../"
    """The folder of runs, as seen from the page"""

    def identity(self, experiment: Experiment) -> str:
        """The run that an audit of an experiment makes."""
        return auditing.identity(experiment, self.splits, self._lab(experiment), self.module)

    def attempt(self, trial: Trial, experiment: Experiment, too_dear: TooDear, *, whole: bool = False) -> Trial:
        """The trial measured as far as it is worth it; all of it where `whole`, or where its run is known.

        An experiment that fails is a failed trial, no error.
        """
        begun = time.perf_counter()
        made = replace(trial, state="failed")
        try:
            if not whole and not self._known(experiment):
                made = self._cheaply(made, experiment, too_dear)
            if made.state != "pruned":
                made = self._audit(made, experiment)
        except UnsmashError as error:
            told = Failure(type(error).__name__, str(error), getattr(error, "stage", made.stage))
            made = replace(made, state="failed", reason=str(error), failure=told)
        return replace(made, seconds=time.perf_counter() - begun)

    def _known(self, experiment: Experiment) -> bool:
        name = self.identity(experiment)
        return self.store.has(name) and self.store.load(name).failure is None

    def _audit(self, trial: Trial, experiment: Experiment) -> Trial:
        """An ordinary audit, with its run and its report in the store."""
        study = Study(experiment=experiment, seeds=(experiment.seed,), fail_if=self.demand.fail_if, name=trial.name)
        found = auditing.conduct(
            study, out=self.store.root, progress=self.lab.sink, module=self.module, splits=self.splits, **self.options
        )
        plain = experiment.model_dump(mode="json")
        report = f"{self.address}{found.folder.name}/{REPORT}"
        line = row(Entry(trial.name, plain, found.runs, report), self.demand.fail_if)
        missed = broken(self.demand, found.runs, line)
        return replace(
            trial, state="measured", stage="audit", row=line, accuracy=line.accuracy, undefended=line.undefended,
            lost=line.lost, bytes_sent=line.bytes_sent, device_macs=line.device_macs, ceiling=line.ceiling,
            gallery=line.gallery, attack=line.attack, meets=not missed, broken=missed,
            unsure=unsure(found.runs, missed),
            missed=missed[0] if missed else "", reason=said(self.demand, missed, line),
        )  # fmt: skip

    def _cheaply(self, trial: Trial, experiment: Experiment, too_dear: TooDear) -> Trial:
        """The cheap steps in order, as far as the trial gets."""
        part = Part(self, experiment, trial)
        for stage, step in part.steps(too_dear):
            part.trial = replace(part.trial, stage=stage)
            with self.lab.stage(stage) as told:
                try:
                    told["say"] = step()
                except Missed as found:
                    told["say"] = found.reason
                    return replace(part.trial, state="pruned", missed=found.part, reason=found.reason)
        return part.trial

    def _lab(self, experiment: Experiment) -> Lab:
        return replace(self.lab, seed=experiment.seed)


class Part:
    """A trial measured in part."""

    victim: Victim
    scene: Scene

    def __init__(self, bench: Bench, experiment: Experiment, trial: Trial) -> None:
        self.bench, self.experiment, self.trial = bench, experiment, trial
        self.splits, self.lab = bench.splits, bench._lab(experiment)
        self.memory: Memory = {}

    def steps(self, too_dear: TooDear) -> Sequence[tuple[Stage, Callable[[], str]]]:
        """The steps, cheapest first."""
        steps: list[tuple[Stage, Callable[[], str]]] = [
            ("accuracy", self._accuracy),
            ("price", lambda: self._price(too_dear)),
            ("proofs", self._proofs),
            ("candidate list", lambda: self._attacks(("gallery",))),
            ("cheap attacks", lambda: self._attacks(CHEAP)),
        ]
        return [step for step in steps if step[0] != "proofs" or self.bench.demand.certified is not None]

    def _accuracy(self) -> str:
        """Train, and hold the accuracy against the same network trained alike."""
        e, cache = self.experiment, self.bench.store.cache
        self.victim = prepare(e, self.splits, self.lab, cache, module=self.bench.module)
        bare = self.victim
        if e.defences:
            plain = e.model_copy(update={"defences": ()})
            bare = prepare(plain, self.splits, self.lab, cache, module=self.bench.module)
        utility = utility_of(e, self.victim, bare, self.splits, self.lab)
        record = describe(self.victim, e, self.splits)
        self.trial = replace(self.trial, bytes_sent=record.bytes_sent, device_macs=record.device_macs)
        score = utility.accuracy
        if score is None:
            return "not measured: the data has no classes"
        undefended = (utility.undefended_accuracy or score).mean
        self.trial = replace(self.trial, accuracy=_share(score), undefended=undefended, lost=undefended - score.mean)
        self._hold(lambda term: term.over(score.low, score.high) if term.metric == "accuracy" else None)
        lost, most = undefended - score.mean, self.bench.demand.max_loss
        if most is not None and lost > most + 1e-9:
            raise Missed(LOSS, f"accuracy {percent(score.mean)} is {points(-lost)} against no defence")
        return f"{percent(score.mean)}, {points(-lost)} against no defence"

    def _price(self, too_dear: TooDear) -> str:
        """What is sent; and whether enough cheaper ones are known already."""
        sent = self.trial.bytes_sent
        self._hold(lambda term: term.holds(sent) if term.metric == "bytes" and sent is not None else None)
        if why := too_dear(self.trial):
            raise Missed("", why)
        return f"{sent} bytes"

    def _proofs(self) -> str:
        """The lowest proven ceiling."""
        most = self.bench.demand.certified
        assert most is not None
        bounds = proofs.prove(self.experiment, self.victim, self._scene(), (), self.lab.at("proofs"))
        found = [b for b in bounds if b.unit == "share" and b.name.startswith("ceiling") and b.value is not None]
        best = min(found, key=lambda bound: bound.value or 0.0, default=None)
        if best is None or best.value is None:
            raise Missed(CERTIFIED, "nothing is proven of what it sends")
        self.trial = replace(self.trial, ceiling=Ceiling(best.value, best.title, best.covers, best.premises))
        if best.value > most + 1e-9:
            raise Missed(CERTIFIED, f"proven is at most {percent(best.value)} identified")
        return f"at most {percent(best.value)}, proven"

    def _attacks(self, kinds: Sequence[str]) -> str:
        """Each of these attacks that the experiment asks for; the first that finds too much ends the trial."""
        rows = pipeline.plan(self.experiment, self.victim.model.shield)
        wanted = [
            (threat, attack, name) for threat, attacks in rows for attack, name in attacks if attack.kind in kinds
        ]
        for threat, attack, name in sorted(wanted, key=lambda one: kinds.index(one[1].kind)):
            self._attack(threat, attack, name)
        reached = self.trial.attack if "ridge" in kinds else self.trial.gallery
        return "" if reached is None else f"{percent(reached.share.mean)} identified"

    def _attack(self, threat: Threat, attack: Attack, name: str) -> None:
        if isinstance(attack, ClassAttack):
            return
        view = observe(self.victim.model, self._scene(), threat, self.lab, memory=self.memory)
        result, _ = attempt(attack, name, view, self._scene(), None, self.lab)
        score = result.scores.get("identification")
        if result.failure or score is None or not result.card.valid:
            return
        gallery = "candidates" in threat.grants
        record = threat.record(len(self.splits.victims))
        reached = Reached(_share(score), result.title, record.title, max(threat.queries, threat.frames), result.name)
        before = self.trial.gallery if gallery else self.trial.attack
        if before is None or score.mean > before.share.mean:
            self.trial = replace(self.trial, **{"gallery" if gallery else "attack": reached})  # type: ignore[arg-type]
        if gallery or threat.asked:
            self._hold(lambda term: _found(term, result, gallery=gallery))

    def _hold(self, known: Callable[[Comparison], bool | None]) -> None:
        """End the trial if this alone breaks the budget for certain.

        Raises:
            Missed: it does.
        """
        for group in budgets.parse(self.bench.demand.fail_if):
            if all(known(term) is True for term in group):
                name = " and ".join(map(str, group))
                raise Missed(name, f"not {parts(self.bench.demand)[name]}: {self._figure(group[0])}")

    def _figure(self, term: Comparison) -> str:
        trial = self.trial
        if term.metric == "accuracy" and trial.accuracy:
            return f"accuracy {percent(trial.accuracy.mean)}"
        if term.metric == "bytes":
            return f"{trial.bytes_sent} bytes"
        reached = trial.gallery if term.metric == "gallery_identification" else trial.attack
        return "" if reached is None else f"{reached.attack} identifies {percent(reached.share.mean)}"

    def _scene(self) -> Scene:
        if not hasattr(self, "scene"):
            victims, shadow = self.splits.victims, self.splits.shadow
            self.scene = make_scene(
                victims.pixels, victims.labels, shadow.pixels, shadow.labels, len(self.splits.classes),
                self.lab.at("scene"),
            )  # fmt: skip
        return self.scene


def _found(term: Comparison, result: Result, *, gallery: bool) -> bool | None:
    """Whether one attack alone breaks a term for certain; that it does not says nothing yet."""
    metric = "identification" if term.metric == "gallery_identification" else term.metric
    of_gallery = term.metric == "gallery_identification"
    score = result.scores.get(metric)
    if term.metric not in budgets.LEAKAGE or of_gallery != gallery or score is None:
        return None
    leaks = term.upper != (metric in judge.DOWN)
    return True if leaks and term.over(score.low, score.high) is True else None


def _share(score: Score) -> Share:
    return Share(score.mean, score.low, score.high, score.n)
