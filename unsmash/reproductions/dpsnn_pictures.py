"""dpsnn's charts and sheets of pictures, from what its steps measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from unsmash.reproductions.dpsnn_attacks import GUESSES, examples
from unsmash.reproductions.dpsnn_names import Classifier
from unsmash.reproductions.dpsnn_tables import Results
from unsmash.reproductions.measures import shown
from unsmash.reproductions.paper import PublishedTable
from unsmash.reproductions.record import Chart, Sheet

SHOWCASE = (Classifier(0, 0), Classifier(1, 0), Classifier(0, 0.5), Classifier(0.5, 0.1))
"""Networks whose reconstructions are shown, where they were attacked"""

Points = tuple[tuple[float, float], ...]


def charts(found: Results, published: Mapping[str, PublishedTable]) -> Iterator[Chart]:
    """Noise afterwards, noise in training, and how many images the attacker has."""
    if found.afterwards:
        yield _accuracy_chart(found, published["post_training"])
        lines = tuple(
            (f"NoPeek {cell.nopeek:g}", _points(scales, "identified")) for cell, scales in found.afterwards.items()
        )
        about = f"Share of {found.candidates} images that ridge identifies from what is sent."
        yield Chart("What noise put on afterwards hides", about, "scale of the noise", "identified, %", lines)
    noises = sorted((cell for cell in found.attacks if not cell.nopeek), key=lambda cell: cell.noise)
    if len(noises) > 1:
        about = "Networks trained with that noise, without NoPeek; each line an attack."
        drawn = tuple((GUESSES[name], _by_noise(found, noises, name)) for name in GUESSES)
        yield Chart("Noise in training, attacked", about, "scale of the noise", "identified, %", drawn)
    if len(found.volumes) > 1:
        drawn = tuple((GUESSES[name].split(",")[0], _by_count(found, name)) for name in ("clean", "ridge"))
        about = "Network without a defence."
        yield Chart("Images that the attacker has", about, "images", "identified, %", drawn)


def _accuracy_chart(found: Results, published: PublishedTable) -> Chart:
    lines: list[tuple[str, Points]] = []
    dashed = []
    for cell, scales in found.afterwards.items():
        lines.append((f"NoPeek {cell.nopeek:g}", _points(scales, "val")))
        theirs = [row for row in published.rows if row.at["nopeek"] == cell.nopeek]
        dashed.append(f"NoPeek {cell.nopeek:g}, published")
        points = [(float(row.at["scale"]), row.figures["accuracy"] or 0.0) for row in theirs]
        lines.append((dashed[-1], tuple(sorted(points))))
    about = "Accuracy on test images 0 to 4,999; the networks were trained without noise."
    return Chart(
        "What noise put on afterwards costs", about, "scale of the noise", "accuracy, %", tuple(lines), tuple(dashed)
    )


def _points(scales: Mapping[str, Any], name: str) -> Points:
    return tuple(sorted((float(scale), 100 * told[name][0]) for scale, told in scales.items()))


def _by_noise(found: Results, cells: list[Classifier], name: str) -> Points:
    """Without noise every way of the published decoder is the same."""
    usual = "ridge" if name == "repeats" else "clean"
    told = [(cell.noise, found.attacks[cell].figures) for cell in cells]
    return tuple((noise, 100 * one.get(name, one[usual])["identified"][0]) for noise, one in told)


def _by_count(found: Results, name: str) -> Points:
    return tuple(
        (float(count), 100 * found.volumes[count].figures[name]["identified"][0]) for count in sorted(found.volumes)
    )


def sheets(found: Results) -> tuple[tuple[Sheet, ...], dict[str, Any]]:
    """Reconstructions of one example of each digit, and their arrays by `<sheet>/<line>`."""
    places = examples(found.examples.labels)
    originals = shown(found.examples.pixels[places])
    digits = tuple(str(found.examples.labels[place].item()) for place in places)
    drawn: list[tuple[Sheet, list[Tensor]]] = []
    for number, cell in enumerate(cell for cell in SHOWCASE if cell in found.attacks):
        made = found.attacks[cell]
        names = [name for name in GUESSES if name in made.arrays]
        lines = [(GUESSES[name], _share(made.figures[name])) for name in names]
        about = f"{cell.name}: the images that the published figures would take."
        sheet = Sheet(
            f"network-{number}", f"Reconstructions: {cell.title}", about, (("Private images", ""), *lines), digits
        )
        drawn.append((sheet, [originals, *(made.arrays[name] for name in names)]))
    if len(found.volumes) > 1:
        counts = sorted(found.volumes)
        lines = [(f"{count:,} images", _share(found.volumes[count].figures["clean"])) for count in counts]
        about = "The published decoder on the network without a defence."
        sheet = Sheet("volume", "Images that the attacker has", about, (("Private images", ""), *lines), digits)
        drawn.append((sheet, [originals, *(found.volumes[count].arrays["clean"] for count in counts)]))
    if found.letters:
        lines = [(f"Letters {name}", _share(made.figures["clean"])) for name, made in found.letters.items()]
        about = "The published decoder on the network without a defence, by an attacker who had letters."
        sheet = Sheet("letters", "Digits by way of letters", about, (("Private images", ""), *lines), digits)
        drawn.append((sheet, [originals, *(made.arrays["clean"] for made in found.letters.values())]))
    arrays = {f"{sheet.id}/{place}": one for sheet, rows in drawn for place, one in enumerate(rows)}
    return tuple(sheet for sheet, _ in drawn), arrays


def _share(told: Mapping[str, Any]) -> str:
    mean, _, _, n = told["identified"]
    return f"{100 * mean:.1f} % of {n} identified"
