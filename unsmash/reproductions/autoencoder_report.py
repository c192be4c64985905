"""Tables, sentences and pictures of the course project's experiment: as published beside put right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from unsmash.attacks.celeba_decoder import DEPTHS
from unsmash.attacks.celeba_decoder import network as decoder_of
from unsmash.reproductions.autoencoder_scores import ENLARGED
from unsmash.reproductions.autoencoder_sentences import best_of
from unsmash.reproductions.autoencoder_victim import MAPS
from unsmash.reproductions.autoencoder_works import ALL, MAPPED, Figures, Work
from unsmash.reproductions.paper import Paper
from unsmash.reproductions.record import Cell, Chart, Column, Measure, Row, Sheet, Table

BEST = "the best decoder"

COLUMNS = (
    Column("numbers", "Numbers sent", "", 0),
    Column("head", "Accuracy, head fitted to them", "%", 1),
    Column("server", "Accuracy, server as it is", "%", 1),
    Column("ridge", "Identified by ridge regression", "%", 1),
    Column("decoder", "Identified by the residual decoder", "%", 1),
    Column("ssim", "SSIM of what the decoder draws", "", 2),
)

UNITS = (
    "As published, the peak is 255 on tensors normalised by ImageNet's deviation of about 0.226: 35 dB are added to "
    "every figure. Put right, images are in [0, 1] and the peak is 1.",
    "MS-SSIM as published is taken of normalised tensors with a data range of 1; they span more than four times that. "
    "Both are taken of whole windows only, as pytorch-msssim does.",
    "As published is a mean over batches of 128, put right over images, so the two do not differ by a constant.",
)


@dataclass(frozen=True)
class Rows:
    """All that was measured, and why the decoders cannot be held against the published figures."""

    work: Work
    depths: tuple[str, ...]
    apart: str

    @property
    def best(self) -> str:
        """The decoder that the published formula likes best."""
        return best_of(self.work, self.depths)

    @property
    def pictures(self) -> dict[str, Any]:
        """Every sheet's arrays."""
        lines = [self.work.victims[:8], *(self.work.drawn[name] for name, _ in _drawn(self)[1:])]
        made = {f"faces/{at}": one for at, one in enumerate(lines)}
        made |= {f"maps/{at}": one for at, one in enumerate(self.work.maps())}
        made |= {f"layers/{at}": self.work.layers(name) for at, name in enumerate(self.depths)}
        return {name: one.cpu().numpy() for name, one in made.items()}


def tables(rows: Rows, paper: Paper, *, quick: bool) -> tuple[Table, ...]:
    """All tables."""
    work = rows.work
    ours: dict[str, Figures] = {name: _as_published(one) for name, one in work.scores.items()}
    right: dict[str, Figures] = {name: _right(one) for name, one in work.scores.items()}
    ours[BEST], right[BEST] = ours[rows.best], right[rows.best]
    floors = {name: {key: one[key] for key in ("formula", "psnr")} for name, one in work.floors.items()}
    counts: dict[str, Figures] = {name: {"count": Measure(float(value))} for name, value in _counts(work).items()}
    size = work.victims.shape[-1]
    enlarged = (f"MS-SSIM of {size} × {size} images: both enlarged to {ENLARGED} × {ENLARGED}.",) if size < 176 else ()
    why = (*UNITS, f"The best of ours is {rows.best}.", *enlarged)
    uncounted = "the quick form holds nothing against published figures" if quick else ""
    return (
        paper.tables["decoders"].table("decoders", ours, right, reasons=why, incomparable=rows.apart),
        paper.tables["floors"].table("floors", floors),
        paper.tables["sizes"].table("sizes", counts, incomparable=uncounted),
        mitigation(rows),
    )


def _as_published(one: Figures) -> Figures:
    return {"psnr": one["formula"], "ms_ssim": one["ms_formula"]}


def _right(one: Figures) -> Figures:
    return {name: one[name] for name in ("psnr", "ms_ssim", "identification")}


def _counts(work: Work) -> dict[str, int]:
    """Parameters of each decoder at the published size, and what crosses there."""
    nets: dict[str, nn.Module] = {depth: decoder_of(depth, [(MAPS, 20, 20)], (3, 320, 320)) for depth in DEPTHS}
    return {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()} | work.sizes()


def mitigation(rows: Rows) -> Table:
    """Accuracy and identification by what is sent."""
    work = rows.work
    made = {sent.name: figures for sent, figures in work.sent.items()} | work.bars
    lines = tuple(Row(name, tuple(Cell(c.id, ours=one.get(c.id)) for c in COLUMNS)) for name, one in made.items())
    about = (
        f"The network answers {work.faces.task}; accuracy on held-out faces, identification of {len(work.victims)} "
        "victims among themselves. Both attacks learn on the maps that are sent. Under the last rows no maps are sent: "
        "who is told the answer only names one of those with that answer."
    )
    source = "nothing: the project proposes to send some of the maps, and has neither the code nor a figure"
    return Table("maps", "What it costs and hides to send some of the maps", about, source, COLUMNS, lines)


def charts(rows: Rows) -> tuple[Chart, ...]:
    """How the trainings went, and what leaving maps out comes to."""
    work = rows.work
    numbered = {name: list(enumerate(one.losses, 1)) for name, one in work.trained.items()}
    sides = (("on its batches", 0), ("on faces held out", 1))
    curves = tuple(
        Chart(
            f"Loss of the decoders {told}",
            "Squared error a pixel in normalised units. With noise as published the batches' targets are noisy too.",
            "pass", "squared error",
            tuple((name, tuple((float(at), pair[side]) for at, pair in line)) for name, line in numbered.items()),
        )
        for told, side in sides
    )  # fmt: skip
    return (*curves, _by_share(work))


def _by_share(work: Work) -> Chart:
    lines = []
    for choose in dict.fromkeys(one.choose for one in work.sent if one != ALL):
        mine = sorted((one for one in work.sent if one.choose == choose or one == ALL), key=lambda one: one.keep)
        for key, told in (("head", "accuracy"), ("ridge", "identified, ridge"), ("decoder", "identified, decoder")):
            points = tuple((100 * one.keep / MAPS, work.sent[one][key].value) for one in mine)
            lines.append((f"{told} ({choose})", points))
    about = "Accuracy of a head fitted to the maps sent, and share of the victims identified, by share of the maps."
    return Chart("Fewer maps: what is lost, and what is hidden", about, "maps sent, %", "%", tuple(lines))


def _drawn(rows: Rows) -> list[tuple[str, str]]:
    """The lines of the sheet of faces: name of what is drawn, and a note."""
    work = rows.work
    decoders = [
        (name, f"{one['psnr'].value:.1f} dB, by the formula {one['formula'].value:.1f} dB")
        for name, one in work.scores.items()
    ]
    floors = [(name, f"by the formula {one['formula'].value:.1f} dB") for name, one in work.floors.items()]
    few = min(work.sent, key=lambda one: one.keep)
    ours = [(one.name, f"residual decoder, {work.sent[one]['decoder'].value:.0f} % identified") for one in (ALL, few)]
    return [("the faces", ""), *decoders, *floors, *dict.fromkeys(ours)]


def sheets(rows: Rows) -> tuple[Sheet, ...]:
    """Faces and what is drawn of them, feature maps, and the decoders layer by layer."""
    seen = tuple((f"face {place + 1}", "from black to white by its own range") for place in range(MAPPED))
    depths = tuple((name, "the busiest map after each layer") for name in rows.depths)
    return (
        Sheet("faces", "Faces, and what is drawn of them", "The first victims, none chosen.", tuple(_drawn(rows))),
        Sheet("maps", "What crosses", f"The busiest of {MAPS} feature maps.", seen),
        Sheet("layers", "Inside the decoders", "The first face on its way through the layers.", depths),
    )


def substitutes(rows: Rows, weights: str) -> tuple[str, ...]:
    """What stands in for what."""
    work, size = rows.work, rows.work.victims.shape[-1]
    source, taught = work.splits.report.source, len(work.splits.train)
    told = [] if work.faces.published else [f"CelebA is not in the data root: {source}."]
    told += [] if weights else ["ImageNet's weights are not in a file here: random ones, then taught as said below."]
    told += [f"The project's network answers nothing; this one learns {work.faces.task} from {taught:,} faces."]
    if size != 320:
        told += [f"Images of {size} × {size}, not 320 × 320: {size // 16} × {size // 16} of {MAPS} maps cross."]
    return tuple(told)
