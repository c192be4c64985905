"""dpsnn, the code of Titcombe et al. 2021: noise and NoPeek on MNIST, and an attack that never meets the noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from unsmash.errors import ConfigError, UnsmashError
from unsmash.recogniser import recogniser
from unsmash.reproductions.dpsnn_attacks import Judges, Learning, attacked, floors
from unsmash.reproductions.dpsnn_curves import NOTEBOOK_LETTERS, afterwards, from_letters, notebook, stand_in, volume
from unsmash.reproductions.dpsnn_names import Classifier, read_classifier
from unsmash.reproductions.dpsnn_networks import Digits, Plan, digits, draws, measured, trained
from unsmash.reproductions.dpsnn_pictures import charts, sheets
from unsmash.reproductions.dpsnn_tables import Results, tables
from unsmash.reproductions.dpsnn_words import findings, headline
from unsmash.reproductions.systems.base import Findings, Reproduction
from unsmash.reproductions.workbench import Workbench

PLAIN = Classifier(0, 0)

SUBSETS: dict[str, tuple[Classifier, ...]] = {
    "plain": (PLAIN,),
    "noise": tuple(Classifier(noise, 0) for noise in (0.1, 0.2, 0.5, 1, 2, 5)),
    "nopeek": tuple(Classifier(0, weight) for weight in (0.05, 0.1, 0.25, 0.5, 1, 5, 10)),
    "combo": (
        *(Classifier(noise, weight) for noise in (0.1, 0.2, 0.5, 1) for weight in (0.1, 0.25, 0.5)),
        Classifier(0.5, 0.05),
    ),
}
"""What main.sh trains by each of its words; NoPeek 5 and 10, and 0.05 with noise 0.5, are published beside them"""

EVERY = tuple(cell for cells in SUBSETS.values() for cell in cells)

NAMED = (
    PLAIN, *(Classifier(noise, 0) for noise in (0.1, 0.5, 1)), *(Classifier(0, weight) for weight in (0.1, 0.5, 1)),
    *(Classifier(noise, weight) for noise, weight in ((0.1, 0.1), (0.1, 0.5), (0.5, 0.1), (0.5, 0.5), (1, 0.1))),
)  # fmt: skip
"""Twelve published networks: both defences, alone and together"""

RERUN = tuple(Classifier(noise, weight) for noise in (0, 0.1, 0.2, 0.5) for weight in (0, 0.2, 0.5))

AFTERWARDS = (PLAIN, Classifier(0, 0.1), Classifier(0, 0.5))
"""Networks that noise is put on after the training"""

SCALES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0)

Scale = Annotated[float, Field(ge=0, le=1000)]
Count = Annotated[int, Field(ge=16, le=5000)]


class Dpsnn(Reproduction):
    """Noise and NoPeek on MNIST (Titcombe et al. 2021), attacked without the noise as published, and with it."""

    kind: Literal["dpsnn"] = "dpsnn"
    subset: Literal["plain", "noise", "nopeek", "combo", "performance", "all"] = "all"
    """Networks to train, as in its script; performance: takes those that earlier calls have trained"""
    cells: Literal["all", "named"] | tuple[str, ...] = "all"
    """Of these networks: all; named, twelve of them; or a list of checkpoint names such as mnist_05noise_01nopeek"""
    attacks: Literal["all", "published", "none"] = "all"
    """Networks to attack: all, those with a published attack, or none"""
    rerun: bool = False
    """Train the twelve networks of its rerun of 2024 too"""
    train: int = Field(40_000, ge=16, le=40_000)
    """Images that train a network, from the beginning of MNIST's training file"""
    val: Count = 5000
    """Images of its test file for the published accuracy, and as many of its second half for the other"""
    epochs: int = Field(10, ge=1, le=1000)
    """Passes of a network's training"""
    batch: int = Field(128, ge=4, le=4096)
    """Images a step"""
    nopeek_batch: int = Field(32, ge=4, le=4096)
    """Images a step with NoPeek, whose published form takes their pairs one after the other"""
    rate: float = Field(1e-4, gt=0, le=1)
    """Adam's learning rate"""
    shadow: Count = 5000
    """The attacker's images, from the 40,000th of the training file on"""
    scored: Count = 5000
    """Images it is scored on, from the 45,000th on"""
    spare: int = Field(10_000, ge=16, le=10_000)
    """Images that train the other validator, from the 50,000th on, which no script uses"""
    candidates: int = Field(500, ge=16, le=5000)
    """Of the scored images, those among which a reconstruction must find its own"""
    attack_epochs: int = Field(10, ge=1, le=1000)
    """Passes of the published decoder's training"""
    attack_batch: int = Field(128, ge=4, le=4096)
    """Images a step in it"""
    attack_rate: float = Field(1e-4, gt=0, le=1)
    """Adam's learning rate in it"""
    decoder_epochs: int = Field(5, ge=1, le=1000)
    """Passes of the residual decoder's training"""
    scales: tuple[Scale, ...] = SCALES
    """Noise put on after the training"""
    volumes: tuple[Count, ...] = (100, 500, 1250, 2500, 3750)
    """Fewer images of the attacker's that are tried as well"""
    letters: int = Field(5000, ge=0, le=5000)
    """Letters for the attacker without digits; 0 leaves it out"""

    quick: ClassVar[dict[str, Any]] = {
        "cells": tuple(f"mnist_{one}nopeek" for one in ("00noise_00", "10noise_00", "00noise_05", "05noise_01")),
        "train": 3000, "val": 1000, "epochs": 3, "batch": 32, "rate": 3e-4, "shadow": 1000, "scored": 500,
        "spare": 2000, "attack_epochs": 3, "attack_batch": 32, "attack_rate": 1e-3, "decoder_epochs": 2,
        "scales": (0.0, 0.5, 1.0, 2.0), "volumes": (100,), "letters": 600,
    }  # fmt: skip
    tiny: ClassVar[dict[str, object]] = {
        "cells": tuple(f"mnist_{one}nopeek" for one in ("00noise_00", "10noise_00", "05noise_01")),
        "train": 96, "val": 60, "epochs": 1, "batch": 32, "shadow": 48, "scored": 60, "spare": 64, "candidates": 30,
        "attack_epochs": 1, "decoder_epochs": 1, "scales": (0.0, 1.0), "volumes": (32,), "letters": 32,
    }  # fmt: skip

    def run(self, bench: Workbench, *, quick: bool) -> Findings:
        """Train, measure and attack network after network, then draw the curves.

        Raises:
            UnsmashError: MNIST or letters are missing, a training failed, or no network is chosen.
        """
        data = digits(bench.root, self.plan(), shadow=self.shadow, scored=self.scored, spare=self.spare)
        cells = self.chosen(bench)
        results = Results(examples=data.scored, candidates=min(self.candidates, len(data.scored)))
        judges = None if self.attacks == "none" else self._judges(bench, data)
        for cell in cells:
            self._one(bench, cell, data, judges, results)
        if judges is not None and PLAIN in results.attacks:
            self._about_plain(bench, data, judges, results)
        if self.rerun:
            self._rerun(bench, data, results)
        incomparable = "smaller data and fewer passes than published" if quick else ""
        published = self.paper().tables
        pages, pictures = sheets(results)
        return Findings(
            headline=headline(results),
            findings=tuple(findings(results)),
            tables=tuple(tables(results, published, incomparable)),
            sheets=pages,
            charts=tuple(charts(results, published)),
            pictures=pictures,
            substitutes=(results.stand_in,) if results.stand_in else (),
            left_out=tuple(self._left_out(results)),
        )

    def plan(self) -> Plan:
        """Sizes and training of a network."""
        return Plan(self.train, self.val, self.epochs, self.batch, self.nopeek_batch, self.rate)

    def learning(self) -> Learning:
        """How the attackers learn."""
        return Learning(self.attack_epochs, self.attack_batch, self.attack_rate, self.decoder_epochs, self.candidates)

    def chosen(self, bench: Workbench) -> list[Classifier]:
        """The networks of the subset that are asked for.

        Raises:
            ConfigError: there are none.
        """
        plan = self.plan()
        grid: Sequence[Classifier] = EVERY if self.subset in ("all", "performance") else SUBSETS[self.subset]
        if self.cells == "named":
            grid = [cell for cell in grid if cell in NAMED]
        elif self.cells != "all":
            asked = [Classifier(one.noise, one.nopeek) for one in map(read_classifier, self.cells)]
            grid = [cell for cell in dict.fromkeys(asked) if cell in grid or self.subset in ("all", "performance")]
        if self.subset == "performance":
            grid = [cell for cell in grid if bench.kept(f"train {cell.name}", plan.settings(cell))]
            if not grid:
                hint = "Train some first: --set subset=plain, noise, nopeek, combo or all, with the same sizes and seed"
                raise ConfigError("subset", got=self.subset, allowed="networks trained by earlier calls", hint=hint)
        if not grid:
            allowed = [cell.name for cell in SUBSETS.get(self.subset, EVERY)]
            raise ConfigError("cells", got=self.cells, allowed=allowed, hint=f"These are of the subset {self.subset}")
        return sorted(grid, key=lambda cell: (cell != PLAIN, min(cell.noise, cell.nopeek) > 0))

    def _judges(self, bench: Workbench, data: Digits) -> Judges:
        theirs, _ = trained(bench, Classifier(0, 0, validation=True), data, self.plan())
        with bench.lab.stage("validator of other images"):
            lab = bench.lab.at(f"{bench.name}/validator")
            ours = recogniser(data.spare.pixels, data.spare.labels, 10, lab, bench.cache)
        if ours is None:
            raise UnsmashError("the validator's images are all of one digit: set spare larger")
        return Judges(theirs, ours)

    def _one(self, bench: Workbench, cell: Classifier, data: Digits, judges: Judges | None, results: Results) -> None:
        plan = self.plan()
        model, told = trained(bench, cell, data, plan)
        results.models[cell] = measured(bench, cell, model, data, plan) | {"epoch": told["epoch"]}
        if cell in AFTERWARDS:
            found = afterwards(bench, cell, model, data, plan, self.scales, self.candidates)
            results.afterwards[cell] = found
        published = self.paper().tables["attacks"].at(noise=cell.noise, nopeek=cell.nopeek) is not None
        if judges is not None and (self.attacks == "all" or published):
            results.attacks[cell] = attacked(bench, cell, model, data, plan, self.learning(), judges)

    def _about_plain(self, bench: Workbench, data: Digits, judges: Judges, results: Results) -> None:
        """Floors, fewer images, and letters: all on the network without a defence."""
        plan, how = self.plan(), self.learning()
        model, _ = trained(bench, PLAIN, data, plan)
        results.floors = floors(bench, model, data, plan, how, judges)
        for count in self.volumes:
            if count < len(data.shadow):
                results.volumes[count] = volume(bench, model, data, plan, how, judges, count)
        results.volumes[len(data.shadow)] = results.attacks[PLAIN]
        if self.letters:
            results.letters = from_letters(bench, model, data, plan, how, judges, self.letters)
            results.notebook = notebook(bench, model, plan, how, min(NOTEBOOK_LETTERS, self.letters))
            results.stand_in = stand_in(bench.root)

    def _rerun(self, bench: Workbench, data: Digits, results: Results) -> None:
        plan = Plan(self.train, self.val, max(1, self.epochs // 2), self.nopeek_batch, self.nopeek_batch, self.rate)
        for cell in RERUN:
            model, _ = trained(bench, cell, data, plan)
            found = measured(bench, cell, model, data, plan)
            results.rerun[cell] = found | {"draws": draws(bench, cell, model, data, plan)}

    def _left_out(self, results: Results) -> list[str]:
        told = []
        missing = [cell.title for cell in EVERY if cell not in results.models]
        if missing:
            told.append(f"{len(missing)} of {len(EVERY)} networks were not asked for: {'; '.join(missing)}")
        if not self.rerun:
            told.append("The twelve networks of the rerun of 2024 were not asked for (`--set rerun=true`)")
        if self.letters == 0 or PLAIN not in results.attacks:
            told.append("The attacker that learned from letters was not asked for, or its network was not")
        told.append("Checkpoints of its own are not read: they are pickled; only their names are")
        return told
