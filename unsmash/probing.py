"""One network's cuts, each attacked, weighed and timed on activations that are computed once."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from unsmash import controls, scoring
from unsmash.activations import collect, groups, same
from unsmash.attacks.base import Attack
from unsmash.attempt import attempt, say
from unsmash.component import discover
from unsmash.data.base import Splits
from unsmash.description import data_record, macs
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.payload import Payload
from unsmash.pictures import as_bytes
from unsmash.probes import FEWEST, IMAGES, WORK, affordable, attacks
from unsmash.records import Pictures, Result
from unsmash.scan_record import Cut, Scan
from unsmash.split import Candidate, SplitModel
from unsmash.split.train import device_latency
from unsmash.threat import Grant, Threat
from unsmash.usefulness import label_only, utility_of
from unsmash.victim import Victim, split
from unsmash.view import Scene, make_scene, observe

PROBE = 8
"""Images on which what was collected is held against what each device half sends"""

MEMORY = 2_000_000_000
"""Bytes of activations held at once; the cuts of a network that has more take turns"""

PICTURED = 6
RULE = "drawn by lot, the same for every cut"

QUERY = Threat()
WEIGHTS = Threat(grants=(Grant.WEIGHTS,))
GALLERY = Threat(name="gallery", grants=(Grant.WEIGHTS, Grant.CANDIDATES), asked=False)


def settled(*, quick: bool = False) -> list[object]:
    """Everything that decides how a cut is tried: part of a scan's id."""
    return [WORK, IMAGES, FEWEST, PICTURED, *(one.model_dump() for one in attacks(IMAGES, quick=quick))]


@dataclass
class Prober:
    """Tries cuts of a network, one after another."""

    experiment: Experiment
    victim: Victim
    splits: Splits
    lab: Lab
    quick: bool = False
    memory: int = MEMORY
    notes: list[str] = field(default_factory=list)
    spent: list[tuple[float, float]] = field(default_factory=list)
    """Work and seconds of each cut so far"""
    guesses: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """By cut and attack: the pictured victims' guesses"""

    def __post_init__(self) -> None:
        s = self.splits
        # an adversary's images are taken by lot, so that any number of the first is a sample
        order = torch.arange(len(s.shadow))
        if len(s.shadow) > IMAGES:
            order = torch.randperm(len(s.shadow), generator=self.lab.generator("adversary"))[:IMAGES]
        self.scene = make_scene(
            s.victims.pixels, s.victims.labels, s.shadow.pixels[order], s.shadow.labels[order], len(s.classes),
            self.lab.at("scene"),
        )  # fmt: skip
        lot = torch.randperm(len(s.victims), generator=self.lab.generator("pictured"))[:PICTURED]
        self.pictured = lot.sort().values
        self.utility = utility_of(self.experiment, self.victim, self.victim, self.splits, self.lab)

    def cuts(self, rows: Sequence[Candidate]) -> Iterator[Cut]:
        """Every cut's measurements, in order."""
        turns = groups(((row.name, self._size(row)) for row in rows), self.memory)
        named = {row.name: row for row in rows}
        if len(turns) > 1:
            self.notes.append(
                f"What crosses at {len(rows)} cuts is more than {self.memory / 1e9:.2g} GB: the network ran "
                f"{len(turns)} times over the images, each time for some of the cuts."
            )
        for turn in turns:
            with self.lab.stage("activations") as told:
                victims = self._collect(self.scene.victims, {name: len(self.scene.victims) for name in turn})
                own = self._collect(self.scene.shadow, {name: self._images(named[name]) for name in turn})
                few = self._collect(self.scene.victims[:PROBE], dict.fromkeys(turn, PROBE))
                told["say"] = f"{len(turn)} cuts in one pass" if len(turn) > 1 else ""
            for name in turn:
                yield self._cut(named[name], victims.pop(name, None), own.pop(name, None), few.get(name))

    def left(self, rows: Sequence[Candidate]) -> float:
        """Seconds that these cuts will take if they take as long for their work as those before."""
        work = sum(work for work, _ in self.spent)
        each = sum(seconds for _, seconds in self.spent) / work if work else 0.0
        return each * sum(self._work(row) for row in rows)

    def _images(self, row: Candidate) -> int:
        pixels = self.scene.victims[0].numel()
        return affordable(_numbers(row), pixels, len(self.scene.shadow), quick=self.quick)

    def _size(self, row: Candidate) -> int:
        return row.bytes * (len(self.scene.victims) + self._images(row))

    def _work(self, row: Candidate) -> float:
        return self._images(row) ** 2 * (_numbers(row) + 2.0 * self.scene.victims[0].numel()) + 2e10

    def _collect(self, images: Tensor, keep: dict[str, int]) -> dict[str, Tensor]:
        self.victim.net.to(self.lab.device).eval()
        return collect(self.victim.net, self._entry(), images, keep, self.lab)

    def _entry(self) -> torch.nn.Module | None:
        entry = self.victim.entry
        return entry.to(self.lab.device).eval() if entry is not None else None

    def _cut(self, row: Candidate, sent: Tensor | None, own: Tensor | None, few: Tensor | None) -> Cut:
        begun = time.perf_counter()
        with self.lab.stage(row.name) as told:
            model = self._split(row.name)
            scene = self._scene(self._images(row))
            if sent is None or own is None or not self._true(row, model, few):
                view = observe(model, scene, WEIGHTS, self.lab)
                sent, own = view.release[0], view.smash(scene.shadow)[0]
            results = self._attack(row, model, scene, sent, own)
            told["say"] = ", ".join(f"{result.kind} {say(result)}" for result in results if result.role == "attack")
            payload = Payload.of(sent)
            cut = Cut(
                name=row.name,
                also=row.aliases,
                shape=tuple(sent.shape[1:]),
                bytes_raw=payload.raw,
                bytes_quantised=payload.quantised,
                bytes_compressed=payload.compressed(),
                device_macs=row.device_macs,
                device_parameters=row.device_parameters,
                latency_ms=device_latency(model, scene.victims[:1].to(self.lab.device)),
                images=len(scene.shadow),
                results=tuple(results),
                quantised=payload.found(sent),
                dependence=scoring.dependence(scene.victims, (sent,))["dcor"].mean,
                scale=sent.float().std().item(),
            )
        seconds = time.perf_counter() - begun
        self.spent.append((self._work(row), seconds))
        return replace(cut, seconds=seconds)

    def _split(self, at: str) -> SplitModel:
        """The network cut there; elsewhere than on the processor its copy, for a cut is tried out on the processor."""
        net, entry = self.victim.net, self.victim.entry
        if self.lab.device.type != "cpu":
            net, entry = copy.deepcopy(net).cpu(), copy.deepcopy(entry).cpu() if entry is not None else None
        return split(net, entry, at, self.splits).to(self.lab.device).eval()

    def _scene(self, images: int) -> Scene:
        """The scene with so many of the adversary's images."""
        return replace(self.scene, shadow=self.scene.shadow[:images], shadow_labels=self.scene.shadow_labels[:images])

    def _true(self, row: Candidate, model: SplitModel, few: Tensor | None) -> bool:
        """Whether what was collected is, to the bit, what the device half sends."""
        with torch.no_grad():
            sent = model.smash(self.scene.victims[:PROBE].to(self.lab.device))
        if same(few, sent):
            return True
        self.notes.append(f"{row.name!r}: its output is not what crosses there, so the device half ran for it alone.")
        return False

    def _attack(self, row: Candidate, model: SplitModel, scene: Scene, sent: Tensor, own: Tensor) -> list[Result]:
        known = [(scene.victims, (sent,)), (scene.shadow, (own,)), (scene.victims[scene.order], (sent[scene.order],))]
        view = observe(model, scene, QUERY, self.lab, known=known)
        results: list[Result] = []
        self.guesses[row.name] = {}
        for attack in attacks(len(scene.shadow), quick=self.quick):
            result, guess = attempt(attack, attack.kind, view, scene, None, self.lab)
            if attack.learned and not result.failure and not results[0].failure:
                result = replace(result, card=controls.against_ridge(result, results[0].scores["mse"].mean))
            results.append(result)
            if guess is not None:
                self.guesses[row.name][attack.kind] = guess[self.pictured]
        listed = observe(model, scene, GALLERY, self.lab, known=known)
        gallery = discover("unsmash.attacks", Attack)["gallery"](kind="gallery")
        results.append(attempt(gallery, "gallery", listed, scene, None, self.lab)[0])
        return [_light(result) for result in results]

    def pictures(self, cuts: Sequence[Cut]) -> tuple[Pictures, dict[str, np.ndarray]]:
        """The pictured victims, and what each attack made of them behind each cut."""
        arrays = {"original": as_bytes(self.scene.victims[self.pictured])}
        for cut in cuts:
            for name, guess in self.guesses[cut.name].items():
                arrays[f"guess/{cut.name}/{name}"] = as_bytes(guess)
        labels = [self.splits.classes[label] if label >= 0 else "" for label in self.scene.labels[self.pictured]]
        return Pictures(tuple(self.pictured.tolist()), labels=tuple(labels), rule=RULE), arrays

    def record(self, cuts: Sequence[Cut], plain: dict[str, object]) -> Scan:
        """Everything measured of the network and its cuts."""
        whole = sum(parameter.numel() for parameter in self.victim.net.parameters())
        return Scan(
            id="",
            experiment=plain,
            seed=self.experiment.seed,
            model=self.experiment.model.label(),
            data=data_record(self.experiment, self.splits),
            cuts=tuple(cuts),
            threats=tuple(threat.record(len(self.scene.victims)) for threat in (QUERY, GALLERY)),
            floors=tuple(map(_light, self._floors())),
            utility=self.utility,
            whole_macs=self._macs(),
            whole_parameters=whole,
            notes=(*self.victim.model.notes, *self.notes),
        )

    def _macs(self) -> int:
        return macs(self.victim.model, self.scene.victims[:1].to(self.lab.device))

    def _floors(self) -> list[Result]:
        view = observe(self.victim.model, self.scene, QUERY, self.lab)
        mean = discover("unsmash.attacks", Attack)["mean_image"](kind="mean_image")
        floors = [scoring.chance(view.victims), attempt(mean, "mean_image", view, self.scene, None, self.lab)[0]]
        return [*floors, *label_only(self.victim, self.scene, self.splits, self.lab)]


def _numbers(row: Candidate) -> int:
    return prod(row.shapes[0][1:])


def _light(result: Result) -> Result:
    """The result without a number for each victim, ranks excepted: ten cuts would make a heavy record."""
    scores = {name: replace(score, values=()) for name, score in result.scores.items()}
    return replace(result, scores=scores)
