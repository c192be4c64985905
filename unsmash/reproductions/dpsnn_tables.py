"""dpsnn's tables, from what its steps measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unsmash.data.base import Images
from unsmash.reproductions.dpsnn_attacks import REPEATS
from unsmash.reproductions.dpsnn_names import Classifier
from unsmash.reproductions.measures import measure
from unsmash.reproductions.paper import PublishedTable
from unsmash.reproductions.record import Cell, Column, Measure, Row, Table
from unsmash.reproductions.workbench import Made

Z = 1.96
MODEL_REASONS = (
    "NoPeek networks were trained and measured in batches of 32 and the others of 128: the notebooks' accuracies of "
    "the former are shares of 20,000 images, which are half of the batches of 32, of the latter of 19,968, half of "
    "those of 128. Each batch has its own bias, so published DCorr with and without NoPeek cannot be compared.",
    "Published DCorr is of squared distances: the root of linear CKA, which sees linear dependence only, is far above "
    "0 for independent data in small batches, and is taken before the noise. Put right is the bias-corrected distance "
    "correlation (its signed root) of images and what is sent.",
    "The best pass is chosen by the accuracy that is published. Put right is that of images nothing was chosen by.",
)
ATTACK_REASONS = (
    "Published and ours as published: the classifier hands the attacker its activations before the noise, in training "
    "and in scoring. Put right: the attacker asks for what is sent, with fresh noise for every batch, and is scored on "
    "that.",
    "The published validator is another training of the network on the target's own images; put right it is a network "
    "trained on images that no one else has. It reads reconstructions clamped to [0, 1].",
    "Where a network sends its activations without noise nothing is to be put right but the validator.",
)
NOTEBOOK_REASONS = ("With `overfit_batches` the trainer of that time swaps the validation images for training images.",)
LETTER_REASONS = ("EMNIST stores letters transposed; the published attacker learned from them so. Put right: upright.",)


@dataclass
class Results:
    """What the steps found, as far as they were asked for."""

    examples: Images
    """The images that attackers are scored on"""
    candidates: int
    models: dict[Classifier, dict[str, Any]] = field(default_factory=dict)
    attacks: dict[Classifier, Made] = field(default_factory=dict)
    afterwards: dict[Classifier, dict[str, Any]] = field(default_factory=dict)
    floors: Made | None = None
    volumes: dict[int, Made] = field(default_factory=dict)
    letters: dict[str, Made] = field(default_factory=dict)
    notebook: dict[str, float] = field(default_factory=dict)
    stand_in: str = ""
    rerun: dict[Classifier, dict[str, Any]] = field(default_factory=dict)


Cells = dict[str, dict[str, Measure | None]]


def tables(found: Results, published: Mapping[str, PublishedTable], incomparable: str) -> Iterator[Table]:
    """Those of which something was measured."""
    yield published["models"].table("models", *_models(found), reasons=MODEL_REASONS, incomparable=incomparable)
    yield published["training"].table("training", _training(found), incomparable=incomparable)
    if found.attacks:
        yield published["attacks"].table("attacks", *_attacks(found), reasons=ATTACK_REASONS, incomparable=incomparable)
        yield _identification(found)
    if found.afterwards:
        yield published["post_training"].table("post_training", *_afterwards(found), incomparable=incomparable)
    ours, right = _notebooks(found)
    if ours:
        told = {"reasons": NOTEBOOK_REASONS, "incomparable": incomparable}
        yield published["notebooks"].table("notebooks", ours, right, **told)  # type: ignore[arg-type]
    if found.letters:
        why = incomparable or ("the letters are others" if found.stand_in else "")
        yield published["letters"].table("letters", *_letters(found), reasons=LETTER_REASONS, incomparable=why)
        yield _from_letters(found)
    if found.rerun:
        yield published["rerun"].table("rerun", *_rerun(found), incomparable=incomparable)


def around(pair: list[float], n: int = 0) -> Measure:
    """A mean over batches, with its standard error's interval."""
    mean, error = pair
    return Measure(mean, mean - Z * error, mean + Z * error, n)


def _models(found: Results) -> tuple[Cells, Cells]:
    ours: Cells = {}
    right: Cells = {}
    for cell, told in found.models.items():
        share, dcorr = measure(told, "val", percent=True), around(told["val_dcorr"])
        ours[cell.title] = {"accuracy": share, "dcorr": dcorr, "at_128": around(told["at_128"])}
        right[cell.title] = {"accuracy": measure(told, "test", percent=True), "dcorr": Measure(told["unbiased"])}
    return ours, right


def _training(found: Results) -> Cells:
    ours: Cells = {}
    for cell, told in found.models.items():
        share, dcorr = measure(told, "train", percent=True), around(told["train_dcorr"])
        error, epoch = Measure(told["val_dcorr"][1]), Measure(told["epoch"])
        ours[cell.title] = {"accuracy": share, "dcorr": dcorr, "error": error, "epoch": epoch}
    return ours


def fixed(made: Made) -> dict[str, Any]:
    """The published decoder on what is sent: where nothing is noised, that is what it was published on."""
    figures: dict[str, Any] = made.figures.get("sent", made.figures["clean"])
    return figures


def _attacks(found: Results) -> tuple[Cells, Cells]:
    ours: Cells = {}
    right: Cells = {}
    for cell, made in found.attacks.items():
        clean, sent = made.figures["clean"], fixed(made)
        ours[cell.title] = {
            "dcorr": around(clean["dcorr"]), "error": Measure(clean["dcorr"][1]),
            "recognised": measure(clean, "recognised", percent=True),
        }  # fmt: skip
        right[cell.title] = {"recognised": measure(sent, "recognised_apart", percent=True)}
        if "sent" in made.figures:
            right[cell.title]["dcorr"] = around(sent["dcorr"])
    return ours, right


IDENTIFICATION = (
    Column("published", "Published decoder", "%", 1),
    Column("shown", "As in its figures", "%", 1),
    Column("ridge", "Ridge", "%", 1),
    Column("repeats", f"Ridge, {REPEATS} messages", "%", 1),
    Column("decoder", "Residual decoder", "%", 1),
    Column("ssim", "SSIM", "", 3),
    Column("unbiased", "dCor", "", 3),
)


def _identification(found: Results) -> Table:
    rows = [Row(cell.title, tuple(_identified(made))) for cell, made in found.attacks.items()]
    for name in ("mean_image", "class_mean", "random_image"):
        if found.floors is not None and name in found.floors.figures:
            told = found.floors.figures[name]
            share = Cell("published", right=measure(told, "identification", percent=True))
            cells = (share, Cell("ssim", right=measure(told, "ssim")))
            rows.append(Row(f"floor: {name.replace('_', ' ')}", cells, "sees nothing that is sent"))
    return Table(
        "identification",
        f"How many of {found.candidates} reconstructions are nearest to their own image",
        f"The first {found.candidates} of the scored images; the better of centred cosine and L2, reconstructions "
        f"clamped to [0, 1]; chance {100 / found.candidates:.1f} %. As published is the decoder on activations without "
        "noise, put right is an attack on what is sent; its figures show a decoder that learned without noise what is "
        "sent. SSIM and bias-corrected distance correlation are of the published decoder's reconstructions.",
        "not published: the repository has no figure of single images",
        IDENTIFICATION,
        tuple(rows),
    )


def _identified(made: Made) -> Iterator[Cell]:
    clean, sent = made.figures["clean"], fixed(made)
    yield Cell("published", None, measure(clean, "identified", percent=True), measure(sent, "identified", percent=True))
    if "shown" in made.figures:
        yield Cell("shown", None, measure(made.figures["shown"], "identified", percent=True))
    for name in ("ridge", "repeats", "decoder"):
        if name in made.figures:
            yield Cell(name, right=measure(made.figures[name], "identified", percent=True))
    yield Cell("ssim", None, measure(clean, "ssim"), measure(sent, "ssim"))
    yield Cell("unbiased", None, Measure(clean["unbiased"]), Measure(sent["unbiased"]))


def _afterwards(found: Results) -> tuple[Cells, Cells]:
    ours: Cells = {}
    right: Cells = {}
    for cell, scales in found.afterwards.items():
        for scale, told in scales.items():
            name = f"NoPeek {cell.nopeek:g}, noise {scale} afterwards"
            train = measure(told, "train", percent=True)
            ours[name] = {"accuracy": measure(told, "val", percent=True), "train_accuracy": train}
            right[name] = {"accuracy": measure(told, "test", percent=True)}
    return ours, right


def _notebooks(found: Results) -> tuple[Cells, Cells]:
    told = {name: found.models[cell] for name, cell in _NOTEBOOKS.items() if cell in found.models}
    later = found.afterwards.get(Classifier(0, 0), {})
    told |= {f"noise {scale} afterwards": later[scale] for scale in ("0.1", "0.5", "1") if scale in later}
    ours: Cells = {name: {"accuracy": measure(one, "train_half", percent=True)} for name, one in told.items()}
    return ours, {name: {"accuracy": measure(one, "test", percent=True)} for name, one in told.items()}


_NOTEBOOKS = {f"trained with noise {noise:g}": Classifier(noise, 0) for noise in (0, 0.1, 0.5, 1)} | {
    f"NoPeek {weight:g}": Classifier(0, weight) for weight in (0.1, 0.5, 1)
}
"""Rows of the notebooks' table by their name"""


def _letters(found: Results) -> tuple[Cells, Cells]:
    told, name = found.models[Classifier(0, 0)], "2,000 letters"
    ours: Cells = {
        name: {"error": Measure(found.notebook["lying"]), "accuracy": measure(told, "val_half", percent=True)}
    }
    return ours, {name: {"error": Measure(found.notebook["upright"])}}


def _from_letters(found: Results) -> Table:
    lying, upright = (found.letters[name].figures for name in ("lying", "upright"))
    rows = []
    for name, title in (("clean", "published decoder"), ("ridge", "ridge")):
        cells = [
            Cell(key, None, measure(lying[name], key, percent=True), measure(upright[name], key, percent=True))
            for key in ("identified", "recognised_apart")
        ]
        cells.append(Cell("ssim", None, measure(lying[name], "ssim"), measure(upright[name], "ssim")))
        rows.append(Row(title, tuple(cells)))
    columns = (
        Column("identified", "Nearest to their own image", "%", 1),
        Column("recognised_apart", "Read rightly by the validator of other images", "%", 1),
        Column("ssim", "SSIM", "", 3),
    )
    about = (
        f"Network without a defence; the attacker's images are letters, those attacked are digits; identification "
        f"among {found.candidates}. As published the letters lie transposed, put right they are upright."
    )
    source = "not published: the repository has a figure of ten reconstructions"
    return Table("from_letters", "Digits by an attacker who had letters", about, source, columns, tuple(rows))


def _rerun(found: Results) -> tuple[Cells, Cells]:
    ours: Cells = {}
    right: Cells = {}
    for cell, told in found.rerun.items():
        shares = [100 * one for one in told["draws"]]
        mean = sum(shares) / len(shares)
        spread = (sum((one - mean) ** 2 for one in shares) / len(shares)) ** 0.5
        ours[cell.title] = {
            "accuracy": Measure(mean), "deviation": Measure(spread), "dcorr": around(told["val_dcorr"])
        }  # fmt: skip
        right[cell.title] = {"accuracy": measure(told, "test", percent=True)}
    return ours, right
