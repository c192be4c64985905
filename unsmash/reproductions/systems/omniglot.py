"""The Omniglot study (RStudio AI Blog, 2020): 32 numbers a letter, a decoder, and DP-SGD as a defence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from unsmash.attacks.base import Attack
from unsmash.attacks.decoder import Decoder
from unsmash.attacks.lookalike import Lookalike
from unsmash.attacks.omniglot_decoder import OmniglotDecoder
from unsmash.attacks.ridge import Ridge
from unsmash.decoding import Size
from unsmash.errors import DependencyError
from unsmash.reproductions.omniglot_attacks import FLOORS, attacked, floor, shown
from unsmash.reproductions.omniglot_drawings import charts, sheets
from unsmash.reproductions.omniglot_images import SMALL1, Letters, Sizes, contamination
from unsmash.reproductions.omniglot_tables import ALIKE, PUBLISHED, RIGHT, START, Measured, noise_name, tables
from unsmash.reproductions.omniglot_targets import PRIVATE_RATE, Course, epsilons, settings, standing, trained
from unsmash.reproductions.omniglot_words import findings, headline
from unsmash.reproductions.systems.base import Findings, Reproduction
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split.clipping import opacus

BATCH, BUFFER = 32, 1000
DROPOUT = 0.2

QUICK = "the quick form has fewer images and passes than were published"
CHANGED = "the settings are not the published ones"

ORDER = (
    "The order in which TensorFlow Datasets gives the images, which decides who trains, who validates and which "
    "sixteen are shown first: a fixed draw of ours mixes each set."
)
BATCH_NORM = (
    "DP-SGD with BatchNorm, as published: each record's gradient would be taken through the statistics of its whole "
    "batch, 32 times the work, for a training that is private for nobody. Ours has GroupNorm, and its accuracy stands "
    "in the column of what is right."
)


class Omniglot(Reproduction):
    """Model inversion of 32-number codes of Omniglot letters, undefended and under DP-SGD."""

    kind: Literal["omniglot"] = "omniglot"

    train: int = Field(11_000, ge=64, le=11_000)
    """Letters that train the target; those of the evaluation set in our fixed order"""
    val: int = Field(2_180, ge=16, le=2_180)
    """Letters that validate it"""
    passes: int = Field(10, ge=1, le=1000)
    """Passes of the undefended targets"""
    shadow: int = Field(SMALL1, ge=64, le=SMALL1)
    """The attacker's letters, of small1"""
    clean: int = Field(2_120, ge=4, le=2_120)
    """Test letters of small2 that stand in no set of the attacker's"""
    leaked: int = Field(1_000, ge=4, le=1_000)
    """Test letters of small2 that the attacker holds too"""
    candidates: int = Field(500, ge=2, le=1_000)
    """Test letters among which a guess must find its own; for each part of them as many"""
    decoder_passes: int = Field(100, ge=1, le=1000)
    """Passes of the published decoder"""
    residual: Size = "medium"
    """Size of the residual decoder, which is no part of the study"""
    residual_passes: int = Field(5, ge=1, le=1000)
    """Its passes"""
    copies: int = Field(3, ge=0, le=64)
    """Slightly moved copies of each of the attacker's letters that it learns from as well"""
    noises: tuple[float, ...] = (0.7, 0.5, 0.3)
    """Noise multipliers of DP-SGD; none leaves that part out"""
    private_passes: int = Field(20, ge=1, le=1000)
    """Passes of the targets trained with DP-SGD"""
    leg: int = Field(5, ge=1, le=1000)
    """Passes of a target after which its training is kept; those of a private one are half as many"""

    not_run: ClassVar[str] = (
        "its full form has not been carried out: by its quick one about six hours of one core, three and a half of "
        "them for the three trainings with DP-SGD; half of it where the C library keeps memory (see the lab diary)"
    )
    quick: ClassVar[dict[str, Any]] = {
        "train": 1000, "val": 300, "passes": 2, "shadow": 800, "clean": 300, "leaked": 200, "candidates": 200,
        "decoder_passes": 5, "residual": "small", "residual_passes": 1, "copies": 1, "private_passes": 1,
    }  # fmt: skip
    tiny: ClassVar[dict[str, Any]] = {
        "train": 64, "val": 16, "passes": 1, "shadow": 64, "clean": 12, "leaked": 8, "candidates": 8,
        "decoder_passes": 1, "residual": "small", "residual_passes": 1, "copies": 0, "noises": (0.5,),
        "private_passes": 1, "leg": 1,
    }  # fmt: skip

    def run(self, bench: Workbench, *, quick: bool) -> Findings:
        """Train the targets, attack each, and set all beside what was published."""
        letters = Letters(bench.root, self._sizes())
        got = Measured(
            self.paper(),
            shown(bench, letters),
            bench.once("images that two sets share", {}, lambda lab: contamination(letters.pools)).figures,
            incomparable=QUICK if quick else "" if self._as_published() else CHANGED,
        )
        got.floors = {name: floor(bench, name, letters) for name in FLOORS}
        undefended = Course(self.passes, self.leg, BATCH, dropout=DROPOUT, buffer=BUFFER, inference=True)
        proper = Course(self.passes, self.leg, BATCH, dropout=DROPOUT, buffer=BUFFER)
        for name, course in ((PUBLISHED, undefended), (RIGHT, proper)):
            got.passes[name] = self._undergo(bench, name, course, letters, got)
        left_out = self._privately(bench, letters, got)
        made, pictures = sheets(got)
        return Findings(
            headline=headline(got),
            findings=findings(got),
            tables=tables(got),
            sheets=made,
            charts=charts(got),
            pictures=pictures,
            substitutes=(ORDER,),
            left_out=left_out,
        )

    def _undergo(
        self, bench: Workbench, name: str, course: Course, letters: Letters, got: Measured
    ) -> list[dict[str, Any]]:
        """Train a target and attack it; tells what is known after its passes."""
        model, rows = trained(bench, f"target {name}", course, letters)
        depends = settings(course, letters)
        found: dict[str, Made] = {}
        for attack in self._attacks():
            found[attack.kind] = attacked(bench, f"target {name}", depends, model, letters, attack)
        got.attacks[name] = found
        if name not in (PUBLISHED, RIGHT, START):
            got.standing[name] = standing(bench, f"target {name}", course, letters, model)
        return rows

    def _privately(self, bench: Workbench, letters: Letters, got: Measured) -> tuple[str, ...]:
        """The targets trained with DP-SGD, the one trained alike without, and the one not trained."""
        if not self.noises:
            return ("The targets trained with DP-SGD: no noise multiplier was asked for.",)
        try:
            opacus("accountants")
        except DependencyError as error:
            return (f"The targets trained with DP-SGD: {error}.",)
        private = Course(self.private_passes, max(1, self.leg // 2), BATCH, PRIVATE_RATE, dropout=0.0, grouped=True)
        courses = {noise_name(noise): replace(private, noise=noise) for noise in self.noises}
        courses |= {ALIKE: replace(private, leg=self.leg), START: replace(private, passes=0)}
        for noise in self.noises:
            got.epsilons[noise] = self._epsilons(bench, noise, private)
        for name, course in courses.items():
            self._undergo(bench, name, course, letters, got)
        return (BATCH_NORM,)

    def _epsilons(self, bench: Workbench, noise: float, course: Course) -> dict[str, Any]:
        depends = {"noise": noise, "train": self.train, "val": self.val, "passes": course.passes, "batch": BATCH}
        found = bench.once(
            f"ε at {noise_name(noise)}", depends, lambda lab: Made(dict(epsilons(noise, course, self.train, self.val)))
        )
        return found.figures

    def _attacks(self) -> tuple[Attack, ...]:
        residual = Decoder(size=self.residual, epochs=self.residual_passes, copies=self.copies)
        return (OmniglotDecoder(epochs=self.decoder_passes), Lookalike(), Ridge(), residual)

    def _sizes(self) -> Sizes:
        return Sizes(self.train, self.val, self.shadow, self.clean, self.leaked, self.candidates)

    def _as_published(self) -> bool:
        """Whether the sizes are those of the study; how many passes a step has changes no figure's meaning."""
        return self == type(self)(leg=self.leg)
