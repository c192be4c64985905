"""NoPeekNN (Titcombe 2020): a split MNIST network with NoPeek, attacked by a decoder after 500 and after 5,000 images.

Its conclusion was drawn from two pictures and one attacker, an affine one. Here the same target meets closed-form ridge
regression and a residual decoder that learn from the same images, and what they reach is counted.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from unsmash.attacks.affine_decoder import AffineDecoder
from unsmash.attacks.decoder import Decoder
from unsmash.attacks.mean_image import MeanImage
from unsmash.attacks.pysyft_decoder import PysyftDecoder
from unsmash.attacks.random_image import RandomImage
from unsmash.attacks.ridge import Ridge
from unsmash.reproductions import nopeeknn_words as words
from unsmash.reproductions.letters import Source, found, letters
from unsmash.reproductions.measures import Kept, measure, shown
from unsmash.reproductions.nopeeknn_attacks import METRICS, Holding, attacked
from unsmash.reproductions.nopeeknn_target import FIRST_VICTIM, Plan, Target, digits, target
from unsmash.reproductions.record import Chart, Measure, Sheet, Table
from unsmash.reproductions.systems.base import Findings, Reproduction
from unsmash.reproductions.workbench import Made, Workbench

SHARES = frozenset({"identification", "recognition"})
PICTURED = 10
Cells = dict[str, dict[str, Measure | None]]


class NoPeekNN(Reproduction):
    """NoPeekNN: one target behind NoPeek, and what an adversary with a few hundred images makes of it."""

    kind: Literal["nopeeknn"] = "nopeeknn"
    weight: float = Field(0.1, gt=0, le=1000)
    """NoPeek's weight"""
    branch: Literal["no-syft", "master"] = "no-syft"
    """no-syft: Adadelta, rate 1, times 0.7 a pass; master: SGD, rate 0.6. Device and server have one each"""
    train: int = Field(10_000, ge=64, le=20_000)
    """First images of MNIST's training file that train the target"""
    epochs: int = Field(5, ge=1, le=100)
    """Passes over them"""
    batch: int = Field(64, ge=4, le=4096)
    """Images a step"""
    held: int = Field(5000, ge=16, le=10_000)
    """Images behind those, by which the weights are chosen where the choice is put right"""
    test: int = Field(5000, ge=16, le=5000)
    """First images of the test file whose accuracy is told; the published choice looks at twice as many, these too"""
    victims: int = Field(500, ge=10, le=5000)
    """Images of the test file that are attacked, from number 5,000 on"""
    few: int = Field(500, ge=16, le=6000)
    """The adversary's images in the first attack"""
    many: int = Field(5000, ge=16, le=6000)
    """The adversary's images in the second"""
    curve: tuple[int, ...] = (25, 50, 100, 250, 1000, 2500)
    """Further numbers of images that ridge regression is tried with"""
    source: Literal["auto", "emnist", "omniglot", "digits"] = "auto"
    """The adversary's images; auto takes EMNIST's letters where the data root has them"""
    passes: int = Field(5, ge=1, le=100)
    """Of the published decoder over the adversary's images"""
    readers: int = Field(5000, ge=0, le=10_000)
    """Images that train the independent recogniser; 0 leaves it out"""
    notebook: bool = True
    """Also the PySyft notebook's network and decoder, from which it descends"""

    quick: ClassVar[dict[str, Any]] = {
        "train": 2000, "epochs": 3, "held": 1000, "test": 1000, "victims": 200, "few": 100, "many": 500,
        "curve": (25, 50, 250), "readers": 1000, "notebook": False,
    }  # fmt: skip
    tiny: ClassVar[dict[str, Any]] = {
        "train": 128, "epochs": 1, "held": 50, "test": 50, "victims": 20, "few": 32, "many": 64,
        "curve": (16,), "passes": 1, "readers": 0, "notebook": True,
    }  # fmt: skip

    def run(self, bench: Workbench, *, quick: bool) -> Findings:
        """Four targets, the attacks on the published one, ridge and decoder on all."""
        source: Source = found(bench.root) if self.source == "auto" else self.source
        targets = {
            (weight, right): target(bench, self._plan(weight, right), "held" if right else "test")
            for weight in (self.weight, 0.0)
            for right in (False, True)
        }
        published = targets[self.weight, False]
        made = self._attacks(bench, published, source)
        ridge = {count: made["ridge", count] for count in (self.few, self.many)} | {
            count: attacked(bench, published, Holding(source, count), self._ridge(), self.readers)
            for count in self.curve
        }
        behind = self._behind(bench, targets, source)
        why = "the sizes are not the published ones" if quick else ""
        tables = [
            self._targets(bench, targets, why), self._attack_table(published, made, why), self._protection(behind, why),
            *([self._notebook(bench, source, why)] if self.notebook else []),
        ]  # fmt: skip
        sheet, pictures = self._pictures(bench, made)
        mine = letters(bench.root, source, min(self.few, 16))
        heard = words.Heard(
            self.weight, self.few, self.many, self.passes, self.victims, mine.told, targets, made, behind
        )
        return Findings(
            words.headline(heard), words.findings(heard), tuple(tables), (sheet,),
            (self._curve(ridge, made, published), self._passes(published)), pictures,
            (mine.substitute,) if mine.substitute else (), words.LEFT_OUT,
        )  # fmt: skip

    def _plan(self, weight: float, right: bool) -> Plan:
        return Plan(weight, right, self.branch, self.train, self.epochs, self.batch, self.held, self.test, self.victims)

    def _ridge(self) -> Ridge:
        return Ridge(images=max(self.many, 8))

    def _attacks(self, bench: Workbench, at: Target, source: Source) -> dict[tuple[str, int], Made]:
        """By attack and number of images, on the published target."""
        published = AffineDecoder(epochs=self.passes)
        made = {}
        for count in (self.few, self.many):
            sideways, upright = Holding(source, count, sideways=True), Holding(source, count)
            made["published", count] = attacked(bench, at, sideways, published, self.readers)
            made["upright", count] = attacked(bench, at, upright, published, self.readers)
            made["ridge", count] = attacked(bench, at, upright, self._ridge(), self.readers)
            made["decoder", count] = attacked(bench, at, upright, Decoder(), self.readers)
        longer = words.longer(self.passes, self.few, self.many)
        few = Holding(source, self.few, sideways=True)
        made["longer", self.few] = attacked(bench, at, few, AffineDecoder(epochs=longer), self.readers)
        most = Holding(source, self.many)
        made["mean_image", self.many] = attacked(bench, at, most, MeanImage(), self.readers)
        made["random_image", self.many] = attacked(bench, at, most, RandomImage(), self.readers)
        return made

    def _behind(
        self, bench: Workbench, targets: dict[tuple[float, bool], Target], source: Source
    ) -> dict[tuple[float, bool], dict[str, Kept]]:
        """What ridge and the decoder identify behind each target."""
        few, many = Holding(source, self.few), Holding(source, self.many)
        return {
            key: {
                "ridge_few": attacked(bench, at, few, self._ridge(), self.readers).figures,
                "ridge_many": attacked(bench, at, many, self._ridge(), self.readers).figures,
                "decoder_many": attacked(bench, at, many, Decoder(), self.readers).figures,
            }
            for key, at in targets.items()
        }

    def _targets(self, bench: Workbench, targets: dict[tuple[float, bool], Target], why: str) -> Table:
        ours, right = Cells(), Cells()
        for (weight, put_right), at in targets.items():
            (right if put_right else ours)[f"NoPeek {weight:g}"] = _told(at.figures)
            if not put_right and weight:
                other = target(bench, at.plan, "held")
                ours[f"NoPeek {weight:g}, weights chosen on images of their own"] = _told(other.figures)
        return self.paper().tables["target"].table("target", ours, right, reasons=words.TARGET, incomparable=why)

    def _attack_table(self, at: Target, made: dict[tuple[str, int], Made], why: str) -> Table:
        ours, right = Cells(), Cells()
        for count in (self.few, self.many):
            ours[f"published decoder, {count:,} images"] = _scores(made["published", count].figures)
            right[f"published decoder, {count:,} images"] = _scores(made["upright", count].figures)
            right[f"ridge regression, {count:,} images"] = _scores(made["ridge", count].figures)
            right[f"residual decoder, {count:,} images"] = _scores(made["decoder", count].figures)
        longer = f"published decoder, {self.few:,} images, as many steps as with {self.many:,}"
        ours[longer] = _scores(made["longer", self.few].figures)
        right["floor: the average image"] = _scores(made["mean_image", self.many].figures)
        right["floor: any image of the adversary's"] = _scores(made["random_image", self.many].figures)
        label = measure(at.figures, "label_only", percent=True)
        right["floor: only the label is sent"] = {"identification": label}
        return self.paper().tables["attack"].table("attack", ours, right, reasons=words.ATTACK, incomparable=why)

    def _protection(self, behind: dict[tuple[float, bool], dict[str, Kept]], why: str) -> Table:
        ours, right = Cells(), Cells()
        for (weight, put_right), by_attack in behind.items():
            cells = {name: measure(kept, "identification", percent=True) for name, kept in by_attack.items()}
            (right if put_right else ours)[f"NoPeek {weight:g}"] = cells
        published = self.paper().tables["protection"]
        return published.table("protection", ours, right, reasons=words.PROTECTION, incomparable=why)

    def _notebook(self, bench: Workbench, source: Source, why: str) -> Table:
        size = 2 * self.train  # 20,000 where the other target has its 10,000
        plan = Plan(0.0, False, "notebook", size, 2 * self.epochs, 256, self.held, self.test, self.victims)
        at, holding = target(bench, plan, "test"), Holding(source, self.few, sideways=True, test=True)
        decoder = PysyftDecoder(epochs=2 * self.passes)
        ours = attacked(bench, at, holding, decoder, self.readers).figures
        upright = Holding(source, self.few, test=True)
        cells = {"accuracy": measure(at.figures, "accuracy", percent=True)} | _scores(ours)
        right = {
            "published decoder": _scores(attacked(bench, at, upright, decoder, self.readers).figures),
            "ridge regression": _scores(attacked(bench, at, upright, self._ridge(), self.readers).figures),
        }
        published = self.paper().tables["notebook"]
        return published.table("notebook", {"published decoder": cells}, right, incomparable=why)

    def _pictures(self, bench: Workbench, made: dict[tuple[str, int], Made]) -> tuple[Sheet, dict[str, Any]]:
        images, labels = digits(bench.root, "test", FIRST_VICTIM, FIRST_VICTIM + PICTURED)
        names = {"published": "Published decoder", "ridge": "Ridge regression", "decoder": "Residual decoder"}
        lines = [("Original", f"MNIST's test file, from number {FIRST_VICTIM:,}")]
        arrays = [shown(images)]
        for kind, name in names.items():
            for count in (self.few, self.many):
                identified = measure(made[kind, count].figures, "identification", percent=True)
                assert identified is not None
                lines.append((f"{name}, {count:,} images", f"identifies {identified.value:.1f} % of {identified.n}"))
                arrays.append(made[kind, count].arrays["guess"])
        sheet = Sheet(
            "reconstructions", "Original against reconstruction",
            "What each attack makes of the same messages, after as many images of its own.", tuple(lines),
            tuple(f"a {label}" for label in labels.tolist()),
        )  # fmt: skip
        return sheet, {f"reconstructions/{place}": array.numpy() for place, array in enumerate(arrays)}

    def _curve(self, ridge: dict[int, Made], made: dict[tuple[str, int], Made], at: Target) -> Chart:
        def points(by_count: dict[int, Made]) -> tuple[tuple[float, float], ...]:
            return tuple((count, 100 * one.figures["identification"][0]) for count, one in sorted(by_count.items()))

        ends = (self.few, self.many)
        label = 100 * at.figures["label_only"][0]
        return Chart(
            "Identified, by how many images the adversary holds",
            f"Behind NoPeek {self.weight:g}, trained as published; {self.victims} candidates.",
            "images of the adversary's", "identified, %",
            (
                ("ridge regression", points(ridge)),
                ("residual decoder", points({count: made["decoder", count] for count in ends})),
                ("published decoder", points({count: made["published", count] for count in ends})),
                ("only the label is sent", ((min(ridge), label), (max(ridge), label))),
            ),
        )  # fmt: skip

    def _passes(self, at: Target) -> Chart:
        lines = [
            (name, tuple((float(number), 100 * row[place]) for number, row in enumerate(at.passes, 1)))
            for place, name in enumerate(("test images, by which the weights were chosen", "held-out training images"))
        ]
        return Chart("Accuracy after each pass", f"NoPeek {self.weight:g}, as published.", "pass", "%", tuple(lines))


def _told(figures: Kept) -> dict[str, Measure | None]:
    return {
        "accuracy": measure(figures, "accuracy", percent=True), "compat": measure(figures, "compat"),
        "unpaired": measure(figures, "compat_unpaired"), "unbiased": measure(figures, "unbiased"),
    }  # fmt: skip


def _scores(figures: Kept) -> dict[str, Measure | None]:
    return {name: measure(figures, name, percent=name in SHARES) for name in METRICS}
