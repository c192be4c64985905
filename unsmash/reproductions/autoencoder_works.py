"""What the course project's experiment comes to, step by step: decoders trained and scored, floors, maps left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

from unsmash.data import Splits
from unsmash.lab import Lab
from unsmash.reproductions.autoencoder_maps import crossing_maps, layers
from unsmash.reproductions.autoencoder_scores import PIXELS, measure, measured, read
from unsmash.reproductions.autoencoder_subset import Adversary, Sent, label_alone, mitigated, nothing_sent
from unsmash.reproductions.autoencoder_training import Course, Trained, trained
from unsmash.reproductions.autoencoder_victim import MAPS, Faces, Network, crossing, held, hits
from unsmash.reproductions.record import Measure
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.scoring import share_score
from unsmash.split import SplitModel

PICTURED = 8
"""Faces that are drawn in each line of pictures"""
MAPPED = 2
"""Faces of which feature maps are drawn"""

GREY, MEAN, CLIPPED = "an all-grey image", "the mean face", "a perfect copy clipped by the ReLU"
ALONE, NOTHING = "the answer only, no maps", "nothing is sent"

ALL = Sent(MAPS, "fixed")

Figures = dict[str, Measure]


class Work:
    """The network under attack, and all that is measured of it."""

    def __init__(self, bench: Workbench, faces: Faces, network: Network, perfect: Tensor) -> None:
        """`perfect` is what the best of the published decoders could draw of the victims, in normalised units."""
        self.bench, self.faces, self.network = bench, faces, network
        self.trained: dict[str, Trained] = {}
        self.scores: dict[str, Figures] = {}
        self.drawn: dict[str, Tensor] = {}
        self.sent: dict[Sent, Figures] = {}
        self.floors = {
            name: self._floor(name, guess)
            for name, guess in ((GREY, self._grey), (MEAN, self._mean), (CLIPPED, lambda: perfect))
        }
        self.bars = self._bars()

    @property
    def splits(self) -> Splits:
        """The faces."""
        return self.faces.splits

    @property
    def victims(self) -> Tensor:
        """The faces that are reconstructed [n, 3, h, w] in [0, 1]."""
        return self.splits.victims.pixels

    def train(self, name: str, course: Course, *, published: bool) -> None:
        """Train a decoder and score what it draws of the victims; `published`: also what became of the network."""
        one = trained(self.bench, self.network, self.splits, course)
        self.trained[name] = one

        def make(lab: Lab) -> Made:
            guess = one.draw(self.victims, lab)
            figures = measured(self.victims, guess)
            if published:
                left = SplitModel(one.device, self.network.model.server).eval()
                right = hits(left, held(self.splits), lab)
                figures["accuracy"] = asdict(measure(share_score("accuracy", right), 100))
            return Made(figures, {"drawn": PIXELS.images(guess[:PICTURED]).clamp(0, 1)})

        made = self.bench.once(f"score {name}", one.settings | {"accuracy": published}, make)
        self.scores[name], self.drawn[name] = read(made.figures), made.arrays["drawn"]

    def send(self, sent: Sent, adversary: Adversary) -> None:
        """Send some maps, and attack what is sent."""
        self.sent[sent], self.drawn[sent.name] = mitigated(self.bench, self.network, self.splits, sent, adversary)

    def maps(self) -> list[Tensor]:
        """What crosses of the first faces, the busiest maps."""
        return crossing_maps(self.network.model, self.victims[:MAPPED])

    def layers(self, name: str) -> Tensor:
        """What a decoder's layers make of the first face."""
        return layers(self.trained[name], self.victims[:1])

    def sizes(self) -> dict[str, int]:
        """Numbers that cross of a published image, counted."""
        made = self.bench.once("count what crosses", {}, lambda _: Made({"shape": list(crossing(320))}))
        return {"what crosses": int(torch.tensor(made.figures["shape"]).prod())}

    def _floor(self, name: str, guess: Callable[[], Tensor]) -> Figures:
        def make(_: Lab) -> Made:
            drawn = guess()
            return Made(measured(self.victims, drawn), {"drawn": PIXELS.images(drawn[:PICTURED]).clamp(0, 1)})

        settings = {"data": self.splits.report.fingerprint, "size": self.victims.shape[-1]}
        made = self.bench.once(f"score {name}", settings, make)
        self.drawn[name] = made.arrays["drawn"]
        return read(made.figures)

    def _grey(self) -> Tensor:
        return PIXELS.pixels(torch.full_like(self.victims, 0.5))

    def _mean(self) -> Tensor:
        return PIXELS.pixels(self.splits.shadow.pixels.mean(0).expand_as(self.victims))

    def _bars(self) -> dict[str, Figures]:
        """What remains where no maps are sent at all."""

        def make(lab: Lab) -> Made:
            rows = {ALONE: label_alone(self.network, self.splits, lab), NOTHING: nothing_sent(self.splits)}
            return Made({name: {key: asdict(one) for key, one in row.items()} for name, row in rows.items()})

        made = self.bench.once("send no maps", self.network.settings, make)
        return {name: read(row) for name, row in made.figures.items()}
