"""NIST Dioptra's model-inversion example, run again with ART's rule as it is, and with the paper's rule on log-odds."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from unsmash.class_inversion import Descent
from unsmash.reproductions.miface_data import Schedule, digits, faces
from unsmash.reproductions.miface_descents import Start
from unsmash.reproductions.miface_report import (
    FADES,
    gradients,
    inversions,
    pictures,
    rules,
    sheet,
    substitutes,
    tarballs,
    targets,
)
from unsmash.reproductions.miface_works import Work, headline
from unsmash.reproductions.systems.base import Findings, Reproduction
from unsmash.reproductions.workbench import Workbench

PUBLISHED = {"entry point": (100, 0.99, 0.1), "notebook": (50, 0.99, 0.01)}
"""Window, threshold and learning rate: the defaults of the example's entry point, and what its notebook asks for"""


class MifaceReproduction(Reproduction):
    """Class inversion of MNIST networks: ART's inverted stopping rule from a black start, and the paper's own."""

    kind: Literal["miface"] = "miface"
    networks: tuple[Literal["shallow_net", "le_net"], ...] = Field(("shallow_net", "le_net"), min_length=1)
    """Networks that are trained and inverted; the last gives the tarball in the folder itself"""
    images: int = Field(60_000, ge=100, le=60_000)
    """Images of MNIST's training file, a fifth of which decides when to stop"""
    epochs: int = Field(30, ge=1, le=1000)
    """Most passes of the training"""
    patience: int = Field(5, ge=1, le=1000)
    """Passes without progress after which the training stops"""
    starts: tuple[Start, ...] = Field(("zeros", "grey", "random", "average"), min_length=1)
    """Start images; zeros, the example's own, and grey, of what is put right, are always among them"""
    max_iter: int = Field(10_000, ge=1, le=1_000_000)
    """Most steps of a descent"""
    window_length: int | None = Field(None, ge=1, le=100_000)
    """Steps that progress is judged over; unset: 100 as the entry point has it, and 50 as the notebook has it"""
    threshold: float | None = Field(None, gt=0, lt=1)
    """Cost below which ART goes on, and confidence at which the paper stops; unset: 0.99"""
    learning_rate: float | None = Field(None, gt=0, le=1000)
    """Length of a step for a gradient of 1; unset: 0.1 as the entry point has it, and 0.01 as the notebook has it"""
    faces: str = "auto"
    """A folder or zip of faces, with a folder for each person, to invert networks of as well; auto: Labeled Faces in
    the Wild where the data root has them; none: no faces"""

    tiny: ClassVar[dict[str, Any]] = {
        "networks": ["shallow_net"], "images": 600, "epochs": 4, "starts": ["zeros"], "max_iter": 40, "faces": "none",
    }  # fmt: skip
    quick: ClassVar[dict[str, Any]] = {"images": 4000, "epochs": 15, "starts": ["zeros", "average"], "max_iter": 500}
    not_run: ClassVar[str] = "not yet carried out; about an hour on two cores"

    def run(self, bench: Workbench, *, quick: bool) -> Findings:
        """Train, invert by every rule from every start, and judge the images."""
        subject = digits(bench.root, self.images, bench.lab)
        people = faces(self.faces, bench.root, bench.lab)
        right = {name: self.descent(name) for name in PUBLISHED}
        first = dict(list(right.items())[:1])
        works = [Work(bench, subject, kind, self.schedule(), self.begins(), right) for kind in self.networks]
        others = [Work(bench, people, kind, self.schedule(), self.begins(), first) for kind in self.networks if people]
        everyone = [*works, *others]
        why = "fewer images, passes and iterations than published" if quick else ""
        published = self.paper().tables["gradients"]
        return Findings(
            headline=headline(works[-1]),
            findings=tuple(line for work in everyone for line in work.sentences()),
            tables=(
                published.table("gradients", gradients(works), reasons=(FADES,), incomparable=why),
                targets(everyone), inversions(everyone), rules(works),
            ),
            sheets=tuple(sheet(work) for work in everyone),
            pictures={name: one for work in everyone for name, one in pictures(work).items()},
            files={name: one for work in everyone for name, one in tarballs(work, first=work is works[-1]).items()},
            substitutes=substitutes(people),
            left_out=() if people else ("No face set: give one with faces=FOLDER.",),
        )  # fmt: skip

    def schedule(self) -> Schedule:
        """How the example trains."""
        return Schedule(self.epochs, batch=32, rate=1e-3, patience=self.patience, least=0.01)

    def begins(self) -> tuple[Start, ...]:
        """The starts, with those that must be there."""
        return tuple(dict.fromkeys(("zeros", "grey", *self.starts)))

    def descent(self, name: str) -> Descent:
        """The paper's rule on log-odds with a published set of parameters, or what was given in its place."""
        window, threshold, rate = PUBLISHED[name]
        return Descent(
            max_iter=self.max_iter,
            window_length=self.window_length or window,
            threshold=self.threshold or threshold,
            learning_rate=self.learning_rate or rate,
        )
