"""One experiment from images to run record: data, victim, views, attacks, scores, strength cards.

Data flows one way; the result is a `Run` and the pictures that go with it, both plain. Nothing here judges or renders.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from unsmash import budget as budgets
from unsmash import controls, feature_maps, inferences, pictures, proofs, prototypes, scoring
from unsmash.attacks.base import Attack
from unsmash.attempt import attempt, say
from unsmash.component import discover
from unsmash.curves import Curve, Listener, thinned
from unsmash.data.base import Splits
from unsmash.description import data_record, describe
from unsmash.earlier import Earlier
from unsmash.environment import describe as describe_machine
from unsmash.errors import BoundError, UnsmashError
from unsmash.events import Fan
from unsmash.experiment import Experiment, digest
from unsmash.lab import Lab
from unsmash.recogniser import Recogniser, recogniser
from unsmash.records import Result, Run, Score, Utility
from unsmash.rehearsal import Rehearsal
from unsmash.split.shield import Shield
from unsmash.split.train import device_latency
from unsmash.threat import Grant, Threat
from unsmash.unchanged import require_unchanged, seal
from unsmash.usefulness import label_only, utility_of
from unsmash.victim import Victim, prepare
from unsmash.view import Memory, Scene, View, granted, make_scene, network_of, observe, varies

FLOORS = ("mean_image", "random_image", "class_mean")


@dataclass
class Measured:
    """A run, the arrays of its pictures by key, and what each attack answered by its name (see `unsmash.guesses`)."""

    run: Run
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    guesses: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class _Clock:
    """Wall time by stage."""

    lab: Lab
    seconds: dict[str, float] = field(default_factory=dict)
    stage_now: str = "start"

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        start, self.stage_now = time.perf_counter(), name
        with self.lab.stage(name) as told:
            yield told
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run_id(experiment: Experiment, splits: Splits, module_digest: str) -> str:
    """12 hex digits of the experiment and of what it was given: the images, and a user's own model."""
    return digest([experiment.canonical(), experiment.id, splits.report.fingerprint, module_digest])[:12]


def run(
    experiment: Experiment,
    splits: Splits,
    lab: Lab,
    *,
    name: str,
    cache: Path | None = None,
    module: nn.Module | None = None,
    budget: str = budgets.DEFAULT,
    command: str = "",
    earlier: Earlier | None = None,
) -> Measured:
    """Measure one experiment on given images; what an earlier run of its victim has measured is taken from there.

    Raises:
        UnsmashError: what stopped it, with the stage it was in under `stage`.
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    clock, begun = _Clock(lab), time.perf_counter()
    try:
        measured = _measure(
            experiment, splits, lab, clock, cache=cache, module=module, budget=budget, name=name, earlier=earlier
        )
    except UnsmashError as error:
        error.stage = clock.stage_now  # type: ignore[attr-defined]
        raise
    clock.seconds["total"] = time.perf_counter() - begun
    measured.run = replace(
        measured.run, started=started, seconds=clock.seconds, environment=describe_machine(lab.device), command=command
    )
    return measured


def _measure(
    experiment: Experiment,
    splits: Splits,
    lab: Lab,
    clock: _Clock,
    *,
    cache: Path | None,
    module: nn.Module | None,
    budget: str,
    name: str,
    earlier: Earlier | None,
) -> Measured:
    with clock.stage("victim") as told:
        victim = prepare(experiment, splits, lab, cache, module=module)
        undefended = _undefended(experiment, victim, splits, lab, cache, module)
        utility = utility_of(experiment, victim, undefended, splits, lab)
        told["say"] = _say_victim(victim, utility)
    with clock.stage("recogniser"):
        eye = recogniser(*_validator(splits), len(splits.classes), lab.at("recogniser"), cache)
    victims, shadow = splits.victims, splits.shadow
    scene = make_scene(
        victims.pixels, victims.labels, shadow.pixels, shadow.labels, len(splits.classes), lab.at("scene"),
        attributes=splits.attributes(), training_labels=splits.train.labels,
    )  # fmt: skip
    sealed = seal(victim.model)
    plain = observe(victim.model, scene, Threat(), lab)
    floors = [scoring.chance(len(victims)), *(result for result, _ in floors_of(plain, scene, eye, lab))]
    floors += label_only(undefended, scene, splits, lab)
    guesses: dict[str, Tensor] = {}
    curves: list[Curve] = []
    rehearse = Rehearsal(experiment, splits, lab, module)
    attacks = _attack_all(experiment, victim, scene, eye, lab, clock, guesses, rehearse, sealed, curves, earlier)
    _check_bounds(attacks, experiment)
    with clock.stage("proofs") as told:
        bounds = proofs.prove(experiment, victim, scene, attacks, lab.at("proofs"))
        told["say"] = proofs.say(bounds, len(victims))
    attacks = controls.with_cards(attacks, victim, scene, rehearse, lab, clock.stage, budget, earlier)
    rows = plan(experiment, victim.model.shield)
    classes, inverted = prototypes.measure(rows, victim.model, scene, eye, splits.classes, lab, clock.stage, earlier)
    inferred = inferences.measure(rows, victim.model, scene, splits.classes, rehearse, lab, clock.stage)
    require_unchanged(victim.model, sealed, "an attack on the network, an inference or a control run")
    first = observe(victim.model, scene, experiment.threats[0].model_copy(update={"queries": 1}), lab)
    results = scoring.order_by_identification([*floors, *attacks])
    images = {name: guess for name, guess in guesses.items() if guess.ndim == 4}
    shown, arrays = pictures.choose(results, images, scene, first.release, splits.classes)
    maps, levels = feature_maps.choose(victim.model, scene, first.release, shown)
    record = Run(
        id=name,
        experiment=experiment.model_dump(mode="json"),
        seed=experiment.seed,
        data=data_record(experiment, splits),
        split=describe(victim, experiment, splits),
        utility=utility,
        threats=tuple(threat.record(len(victims)) for threat in _distinct(experiment, victim)),
        results=results,
        classes=classes,
        inferences=inferred,
        dependence=scoring.dependence(scene.victims, first.release),
        bounds=bounds,
        recogniser=_recogniser_score(eye, scene),
        pictures=shown,
        curves=(*victim.curves, *thinned(curves)),
        maps=maps,
        budget=budget,
        latency_ms=device_latency(victim.model, victims.pixels[:1].to(lab.device)),
    )
    kept = {name: guess.detach().cpu().numpy() for name, guess in guesses.items()}
    return Measured(record, arrays | levels | inverted, kept)


def _attack_all(
    experiment: Experiment,
    victim: Victim,
    scene: Scene,
    eye: Recogniser | None,
    lab: Lab,
    clock: _Clock,
    guesses: dict[str, Tensor],
    rehearse: Rehearsal,
    sealed: dict[str, str],
    curves: list[Curve],
    earlier: Earlier | None,
) -> list[Result]:
    results: list[Result] = []
    ridge_error: dict[str, float] = {}
    memory: Memory = {}
    for threat, attacks in plan(experiment, victim.model.shield):
        reading = [(attack, name) for attack, name in attacks if attack.of_inputs]
        view = observe(victim.model, scene, threat, lab, memory=memory, rehearse=rehearse) if reading else None
        for attack, name in reading:
            assert view is not None
            with clock.stage(name) as told:
                heard = Listener(name)
                hearing = replace(lab, sink=Fan((lab.sink, heard)))
                made = earlier.attempt if earlier else attempt
                result, guess = made(attack, name, view, scene, eye, hearing)
                curves += earlier.curves(name) if earlier else []
                # what another attack trained, and an earlier run kept, is trained anew where its memory is gone
                curves += [one for one in heard.curves if one.rows not in [other.rows for other in curves]]
                require_unchanged(network_of(view), sealed, f"the attack {name}")
                if attack.kind == "ridge" and "mse" in result.scores:
                    ridge_error[threat.name] = result.scores["mse"].mean
                if attack.learned and not result.failure:
                    error = _ridge_error(ridge_error, view, scene, lab)
                    if error is not None:
                        result = replace(result, card=controls.against_ridge(result, error))
                told["say"] = say(result) + (earlier.origin(name) if earlier else "")
            results.append(result)
            if guess is not None:
                guesses[name] = guess
    return results


def plan(experiment: Experiment, shield: Shield) -> list[tuple[Threat, list[tuple[Attack, str]]]]:
    """Which attack runs under which threat, and its name there.

    An attack whose needs an earlier threat with as many queries already granted would see nothing new; many queries of
    a release that never changes show the same as one.
    """
    rows: list[tuple[Threat, list[tuple[Attack, str]]]] = []
    done: set[tuple[int, int, int]] = set()
    used: set[str] = set()
    for threat in experiment.threats:
        seen = (threat.queries if varies(shield) else 1, threat.frames)
        mine: list[tuple[Attack, str]] = []
        for index, attack in enumerate(experiment.attacks):
            fits = threat.allows(attack.required()) and (shield.stochastic or not attack.for_noise)
            if attack.role == "floor" or not fits or (index, *seen) in done:
                continue
            done.add((index, *seen))
            mine.append((attack, _name(attack, threat, experiment, used)))
        if mine:
            rows.append((threat, mine))
    return rows


def _name(attack: Attack, threat: Threat, experiment: Experiment, used: set[str]) -> str:
    twins = sum(1 for other in experiment.attacks if other.kind == attack.kind)
    name = attack.label() if twins > 1 else attack.kind
    if name in used:
        name = f"{name}@{threat.name}"
    first, number = name, 2
    while name in used:
        name, number = f"{first}#{number}", number + 1
    used.add(name)
    return name


def _distinct(experiment: Experiment, victim: Victim) -> list[Threat]:
    """The threats that some attack on what is sent ran under."""
    rows = plan(experiment, victim.model.shield)
    return [threat for threat, attacks in rows if any(attack.of_inputs for attack, _ in attacks)]


def floors_of(view: View, scene: Scene, eye: Recogniser | None, lab: Lab) -> list[tuple[Result, Tensor | None]]:
    """What guessers reach who do not look at the release, with their guesses; any view of the scene will do."""
    view = granted(view, Grant.SHADOW, Grant.LABELS)
    kinds = discover("unsmash.attacks", Attack)
    wanted = [kind for kind in FLOORS if kind != "class_mean" or len(scene.labels[scene.labels >= 0].unique()) > 1]
    floors = [kinds[kind](kind=kind) for kind in wanted]
    return [attempt(floor, floor.kind, view, scene, eye, lab) for floor in floors]


def _ridge_error(known: dict[str, float], view: View, scene: Scene, lab: Lab) -> float | None:
    """Ridge's error under the same threat: the bar of a learned attack, fitted here if it was not asked for.

    None where ridge does not finish.
    """
    if view.threat.name not in known:
        ridge = discover("unsmash.attacks", Attack)["ridge"](kind="ridge")
        result, _ = attempt(ridge, "ridge", view, scene, None, lab)
        if result.failure:
            return None
        known[view.threat.name] = result.scores["mse"].mean
    return known[view.threat.name]


def _check_bounds(results: list[Result], experiment: Experiment) -> None:
    """No attack may identify more than the candidate list allows from as many messages: that would be a bug of ours.

    Who takes part in the training has messages of another device half, of which this list knows nothing.

    Raises:
        BoundError: one did, by more than three standard errors.
    """
    seen = {threat.name: (threat.queries, threat.frames) for threat in experiment.threats}
    active = {threat.name for threat in experiment.threats if Grant.TRAINING in threat.grants}
    exact = [r for r in results if r.role == "ceiling" and not r.failure and r.card.strong]
    tops = {seen[r.threat]: r.scores["identification"] for r in exact}
    for result in results:
        score, top = result.scores.get("identification"), tops.get(seen[result.threat])
        if score is None or top is None or result.role != "attack" or result.threat in active:
            continue
        error = (max(top.mean * (1 - top.mean), 1 / top.n) / top.n) ** 0.5
        if score.mean > top.mean + 3 * error:
            raise BoundError(
                f"{result.name} identifies {score.mean:.3f}, more than the {top.mean:.3f} that anyone can who holds "
                "the candidates and the weights. This is a bug in unsmash or in the attack: please report it"
            )


def _undefended(
    experiment: Experiment, victim: Victim, splits: Splits, lab: Lab, cache: Path | None, module: nn.Module | None
) -> Victim:
    """The same network trained alike without defence; the victim itself where it has none."""
    if not experiment.defences:
        return victim
    return prepare(experiment.model_copy(update={"defences": ()}), splits, lab, cache, module=module)


def _validator(splits: Splits) -> tuple[Tensor, Tensor]:
    return splits.validator.pixels, splits.validator.labels


def _recogniser_score(eye: Recogniser | None, scene: Scene) -> Score | None:
    known = scene.labels >= 0
    if eye is None or not known.any():
        return None
    return scoring.share_score("recognition", eye.recognises(scene.victims[known], scene.labels[known]))


def _say_victim(victim: Victim, utility: Utility) -> str:
    source = "from the cache" if victim.cached else ("taken as it is" if utility.trained_epochs == 0 else "trained")
    accuracy = utility.accuracy
    return source + (f", accuracy {100 * accuracy.mean:.1f} % of {accuracy.n}" if accuracy else "")
