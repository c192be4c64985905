"""Send some of the feature maps: the mitigation that the course project proposes and never built.

Accuracy is told twice: of a head fitted to what is received (ridge regression on the answers, in closed form), and of
the server as it was trained, which finds zeros where maps are missing. Who was sent is asked of ridge regression and of
the residual decoder, both trained on the maps that are sent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unsmash import regression
from unsmash.attacks.base import Attack
from unsmash.attacks.decoder import Decoder
from unsmash.attacks.ridge import Ridge
from unsmash.data import Images, Splits
from unsmash.defences.subset import Subset
from unsmash.lab import Lab
from unsmash.metrics.identification import identify
from unsmash.metrics.images import ssim
from unsmash.reproductions.autoencoder_scores import measure
from unsmash.reproductions.autoencoder_victim import MAPS, Network, held, hits
from unsmash.reproductions.record import Measure
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.scoring import label_only, mean_score, share_score
from unsmash.split import Fitting, Shields, Site, SplitModel, flat
from unsmash.split.train import predict
from unsmash.threat import Threat
from unsmash.view import View, make_scene, observe

Choice = Literal["fixed", "topk", "learned"]


@dataclass(frozen=True)
class Sent:
    """Some maps are sent."""

    keep: int
    choose: Choice

    @property
    def name(self) -> str:
        """For a table's row."""
        return "all maps" if self.keep == MAPS else f"{self.keep} of {MAPS} maps, {self.choose}"


@dataclass(frozen=True)
class Adversary:
    """How much the attacks may take."""

    images: int
    """Faces of the adversary's own that they learn from"""
    epochs: int
    """Passes of the residual decoder"""


def mitigated(
    bench: Workbench, network: Network, splits: Splits, sent: Sent, adversary: Adversary
) -> tuple[dict[str, Measure], Tensor]:
    """Accuracy and identification with these maps, in per cent, and what the residual decoder draws of a few faces."""

    def make(lab: Lab) -> Made:
        model = defended(network, splits, sent, lab)
        mine = splits.shadow
        scene = make_scene(
            splits.victims.pixels, splits.victims.labels, mine.pixels[: adversary.images],
            mine.labels[: adversary.images], len(splits.classes), lab,
        )  # fmt: skip
        view = observe(model, scene, Threat(name="query"), lab, batch=64)
        ridge = _drawn(Ridge(images=min(4000, max(adversary.images, 8))), view, lab)
        decoder = _drawn(Decoder(epochs=adversary.epochs, copies=0), view, lab)
        truth = splits.victims.pixels
        found = {
            "head": share_score("accuracy", head_hits(model, splits, lab)),
            "server": share_score("accuracy", hits(model, held(splits), lab)),
            "ridge": share_score("identification", identify(ridge, truth).hits),
            "decoder": share_score("identification", identify(decoder, truth).hits),
        }
        figures = {name: asdict(measure(score, 100)) for name, score in found.items()}
        figures["ssim"] = asdict(measure(mean_score("ssim", "", "up", ssim(truth, decoder))))
        return Made(figures, {"drawn": decoder[:8]})

    settings = network.settings | asdict(sent) | {"attack": asdict(adversary)}
    made = bench.once(f"send {sent.name}", settings, make)
    numbers = Measure(float(sent.keep * network.shape[1] * network.shape[2]))
    return {name: Measure(**one) for name, one in made.figures.items()} | {"numbers": numbers}, made.arrays["drawn"]


def defended(network: Network, splits: Splits, sent: Sent, lab: Lab) -> SplitModel:
    """The trained network with the shield put on afterwards."""
    model = network.model
    if sent.keep == MAPS:
        return SplitModel(model.device, model.server).eval()
    site = Site((network.shape,), splits.input_shape, len(splits.classes))
    shield = Subset(keep=sent.keep, choose=sent.choose).arm(site, lab.at("shield")).eval().to(lab.device)
    shield.fit(
        Fitting(
            splits.train.pixels, splits.train.labels, lambda x: model.smash(x.to(lab.device)), model.serve,
            trained=True, lab=lab.at("fit"),
        )
    )  # fmt: skip
    return SplitModel(model.device, model.server, Shields([shield.requires_grad_(False)])).eval()


@torch.no_grad()
def head_hits(model: SplitModel, splits: Splits, lab: Lab) -> Tensor:
    """1 where a ridge classifier on what is received answers rightly on held-out faces, else 0: [n] float64."""
    train, others = splits.train, held(splits)
    rows = torch.randperm(len(train), generator=lab.generator("rows"))
    answers = nn.functional.one_hot(train.labels[rows], len(splits.classes)).float()
    fitted = regression.fit(_received(model, train.pixels[rows], lab), answers)
    guess = fitted(_received(model, others.pixels, lab)).argmax(1)
    return (guess == others.labels).double()


def _received(model: SplitModel, images: Tensor, lab: Lab) -> Tensor:
    return torch.cat([flat(model.release(part.to(lab.device))).cpu() for part in images.split(64)])


def _drawn(attack: Attack, view: View, lab: Lab) -> Tensor:
    with lab.seeded(attack.kind):
        return attack.run(view, lab.at(f"attack/{attack.kind}")).float().clamp(0, 1)


def label_alone(network: Network, splits: Splits, lab: Lab) -> dict[str, Measure]:
    """What is left when the device sends its answer: the bar that any defence of what is sent has to clear."""
    right = share_score("accuracy", hits(network.model, held(splits), lab))
    answers = predict(network.model, splits.victims.pixels, lab).argmax(1)
    alone = label_only(answers, right, 0).scores["identification"]
    whole = measure(right, 100)
    return {"head": whole, "server": whole, "ridge": measure(alone, 100), "numbers": Measure(1.0)}


def nothing_sent(splits: Splits) -> dict[str, Measure]:
    """The commonest answer of the training faces, and any victim by lot."""
    known: Images = held(splits)
    common = splits.train.labels.mode().values
    right = share_score("accuracy", (known.labels == common).double())
    lot = torch.full((len(splits.victims),), 1 / len(splits.victims), dtype=torch.float64)
    by_lot: dict[str, Any] = {"ridge": measure(share_score("identification", lot), 100)}
    return {"head": measure(right, 100), **by_lot, "numbers": Measure(0.0)}
