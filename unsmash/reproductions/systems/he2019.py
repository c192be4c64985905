"""He, Zhang & Lee, ACSAC 2019: what three adversaries reconstruct from shallow and from deep cuts.

The claim that is checked is the order: the deeper the cut, the less is given away. Their figures stand beside ours, but
are not held against them: sets, weights and the number of images behind a mean are others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from unsmash.attacks.decoder import Decoder
from unsmash.attacks.query_free import QueryFree
from unsmash.attacks.rmle import Rmle
from unsmash.reproductions import he2019_order as orders
from unsmash.reproductions.he2019_networks import Name
from unsmash.reproductions.he2019_order import Row
from unsmash.reproductions.he2019_steps import Experiment, Sizes
from unsmash.reproductions.measures import measure, shown
from unsmash.reproductions.record import Chart, Measure, Sheet, Table
from unsmash.reproductions.systems.base import Findings, Reproduction
from unsmash.reproductions.workbench import Workbench

TITLES: dict[Name, str] = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
PICTURED = 10
Cells = dict[str, dict[str, Measure | None]]
Guesses = dict[tuple[str, str], Tensor]
"""By attack and cut"""

REASONS = (
    "Ours as published: the authors' networks, losses, optimisers and starts; target and adversary share no image, "
    "where theirs learned from the same training file.",
    "Put right, that is with our own attack of the same kind: descent kept inside [0, 1] from several starts, a "
    "residual decoder on a ridge image, and a substitute whose releases have the moments of the victims'.",
    "The weight of total variation is told for three cuts of CIFAR-10 and relu2 of MNIST; at conv1 it is 0, as at "
    "conv11. The query-free descent is told for relu22, and taken for every cut.",
)


class He2019(Reproduction):
    """He, Zhang & Lee: rMLE, an inverse network and a query-free attack at shallow and deep cuts."""

    kind: Literal["he2019"] = "he2019"
    networks: tuple[Name, ...] = Field(("mnist", "cifar10"), min_length=1)
    """Which of the two experiments"""
    mnist_train: int = Field(20_000, ge=32, le=50_000)
    """Digits that train LeNet"""
    mnist_epochs: int = Field(20, ge=1, le=500)
    """Passes over them"""
    mnist_shadow: int = Field(20_000, ge=32, le=50_000)
    """Digits of the adversary's"""
    mnist_victims: int = Field(100, ge=4, le=500)
    """Digits that are attacked"""
    mnist_substitute: int = Field(50, ge=1, le=500)
    """Passes that train a substitute of LeNet's device half"""
    cifar10_train: int = Field(5000, ge=32, le=40_000)
    """Photographs that train the six convolutions"""
    cifar10_epochs: int = Field(20, ge=1, le=500)
    """Passes over them"""
    cifar10_shadow: int = Field(4100, ge=32, le=40_000)
    """Photographs of the adversary's"""
    cifar10_victims: int = Field(20, ge=4, le=500)
    """Photographs that are attacked"""
    cifar10_substitute: int = Field(10, ge=1, le=500)
    """Passes that train a substitute of their device half; 50 as published"""
    width: int = Field(64, ge=4, le=256)
    """Maps of the first pair of convolutions on photographs"""
    candidates: int = Field(500, ge=4, le=1000)
    """Held-out images among which each victim is sought"""
    steps: int = Field(5000, ge=1, le=100_000)
    """Of the descent with the real weights"""
    inverse: int = Field(50, ge=1, le=500)
    """Passes that train an inverse network"""
    ours: bool = True
    """Also our own attack of each kind"""

    quick: ClassVar[dict[str, Any]] = {
        "mnist_train": 2000, "mnist_epochs": 5, "mnist_shadow": 1000, "mnist_victims": 30, "mnist_substitute": 10,
        "cifar10_train": 1000, "cifar10_epochs": 5, "cifar10_shadow": 500, "cifar10_victims": 10,
        "cifar10_substitute": 5, "width": 16, "candidates": 100, "steps": 500, "inverse": 10,
    }  # fmt: skip
    tiny: ClassVar[dict[str, Any]] = {
        "networks": ("mnist",), "mnist_train": 64, "mnist_epochs": 1, "mnist_shadow": 48, "mnist_victims": 4,
        "mnist_substitute": 1, "candidates": 20, "steps": 5, "inverse": 1,
    }  # fmt: skip

    def run(self, bench: Workbench, *, quick: bool) -> Findings:
        """Networks, attacks at every cut, and the orders."""
        why = "the sizes are not the published ones" if quick else ""
        rows: list[Row] = []
        tables: list[Table] = []
        sheets: list[Sheet] = []
        charts: list[Chart] = []
        pictures: dict[str, Any] = {}
        substitutes: list[str] = []
        for name in self.networks:
            at = Experiment(name, self._sizes(name), bench)
            published, right = self._guesses(at)
            own = [self._row(at, attack, published, right) for attack in dict.fromkeys(key[0] for key in published)]
            rows += own
            tables.append(self._table(at, own, why))
            sheet, arrays = self._pictures(at, published, right)
            sheets.append(sheet)
            pictures |= arrays
            charts.append(self._chart(name, own))
            substitutes += _substitutes(at)
        tables.insert(0, self._orders(rows, why))
        return Findings(
            orders.headline(rows), orders.findings(rows), tuple(tables), tuple(sheets), tuple(charts), pictures,
            tuple(substitutes), self._left_out(),
        )  # fmt: skip

    def _sizes(self, name: Name) -> Sizes:
        def of(what: str) -> int:
            return int(getattr(self, f"{name}_{what}"))

        return Sizes(
            train=of("train"), epochs=of("epochs"), shadow=of("shadow"), victims=min(of("victims"), self.candidates),
            candidates=self.candidates, width=self.width, steps=self.steps, inverse=self.inverse,
            substitute=of("substitute"),
        )  # fmt: skip

    def _guesses(self, at: Experiment) -> tuple[Guesses, Guesses]:
        """Reconstructions as published, and by our own attacks."""
        theirs: dict[str, Callable[[str], Tensor]] = {
            "rMLE": at.rmle,
            "inverse network": at.inverse,
            "inverse network of random images": lambda cut: at.inverse(cut, random=True),
            "query-free": at.query_free,
        }
        small = at.subject.name == "cifar10"  # releases of 65,536 numbers: no copies of images, no second substitute
        own = {
            "rMLE": Rmle(),
            "inverse network": Decoder(copies=0) if small else Decoder(),
            "query-free": QueryFree(batch=128, doubt=0) if small else QueryFree(),
        }
        cuts = at.subject.cuts
        published = {(name, cut): attack(cut) for name, attack in theirs.items() for cut in cuts}
        right = {(name, cut): at.ours(attack, cut) for name, attack in own.items() for cut in cuts if self.ours}
        return published, right

    def _row(self, at: Experiment, attack: str, published: Guesses, right: Guesses) -> Row:
        cuts = at.subject.cuts
        ours = tuple(at.scored(published[attack, cut]) for cut in cuts)
        mended = tuple(at.scored(right[attack, cut]) for cut in cuts if (attack, cut) in right)
        return Row(TITLES[at.subject.name], attack, cuts, ours, mended)

    def _orders(self, rows: list[Row], why: str) -> Table:
        ours = {row.name: {metric: Measure(row.order(metric)) for metric in orders.METRICS} for row in rows}
        right = {
            row.name: {metric: Measure(row.order(metric, right=True)) for metric in orders.METRICS}
            for row in rows
            if row.right
        }
        return self.paper().tables["order"].table("order", ours, right, reasons=REASONS[:2], incomparable=why)

    def _table(self, at: Experiment, rows: list[Row], why: str) -> Table:
        ours, right = Cells(), Cells()
        for row in rows:
            for place, cut in enumerate(row.cuts):
                ours[f"{row.attack}, {cut}"] = _cells(row.ours[place])
                if row.right:
                    right[f"{row.attack}, {cut}"] = _cells(row.right[place])
        average = at.splits.shadow.pixels.mean(0).expand(at.victims.shape)
        right["floor: the average image of the adversary's"] = _cells(at.scored(average))
        name = at.subject.name
        _, accuracy = at.target
        told = f"Our network's accuracy on 1,000 held-out images is {accuracy[0]:.1%}."
        return self.paper().tables[name].table(name, ours, right, reasons=(*REASONS, told), incomparable=why)

    def _pictures(self, at: Experiment, published: Guesses, right: Guesses) -> tuple[Sheet, dict[str, Any]]:
        lines, arrays = [("Original", "")], [shown(at.victims, PICTURED)]
        for whose, guesses in (("as published", published), ("our own attack", right)):
            for (attack, cut), guess in guesses.items():
                similar = at.scored(guess)["ssim"]
                lines.append((f"{attack}, {cut}", f"{whose}, SSIM {similar[0]:.3f} over {similar[3]}"))
                arrays.append(shown(guess, PICTURED))
        name = at.subject.name
        sheet = Sheet(
            name, f"{TITLES[name]}: original against reconstruction", "From shallow to deep cuts.", tuple(lines)
        )
        return sheet, {f"{name}/{place}": one.numpy() for place, one in enumerate(arrays)}

    def _chart(self, name: Name, rows: list[Row]) -> Chart:
        lines: list[tuple[str, tuple[tuple[float, float], ...]]] = []
        theirs = []
        for row in rows:
            places = range(1, len(row.cuts) + 1)
            lines.append(
                (row.attack, tuple((float(p), one["ssim"][0]) for p, one in zip(places, row.ours, strict=True)))
            )
            known = [self.paper().tables[name].at(attack=row.attack, cut=cut) for cut in row.cuts]
            told = [(float(p), one.figures["ssim"]) for p, one in zip(places, known, strict=True) if one is not None]
            theirs.append(f"{row.attack}, published")
            lines.append((theirs[-1], tuple((p, value) for p, value in told if value is not None)))
        cuts = ", ".join(f"{place} {cut}" for place, cut in enumerate(rows[0].cuts, 1))
        return Chart(f"{TITLES[name]}: SSIM by depth", f"Cuts: {cuts}.", "cut", "SSIM", tuple(lines), tuple(theirs))

    def _left_out(self) -> tuple[str, ...]:
        missing = [TITLES[name] for name in TITLES if name not in self.networks]
        told = [f"{' and '.join(missing)}: not asked for."] if missing else []
        return (*told, "Query-free with substitutes of other layers and with fewer images, and the cuts behind fc1.")


def _cells(scores: Mapping[str, Any]) -> dict[str, Measure | None]:
    return {name: measure(scores, name, percent=name == "identification") for name in scores}


def _substitutes(at: Experiment) -> list[str]:
    source = at.splits.report.source
    return (
        [f"CIFAR-10: {source}; recompressed, and 10,000 of 50,000 training photographs"]
        if "a part of" in source
        else []
    )
