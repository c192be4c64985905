"""The charts and sheets of pictures of the Omniglot study."""

from __future__ import annotations

from torch import Tensor

from unsmash.reproductions.omniglot_tables import ATTACKS, PUBLISHED, RIGHT, Measured
from unsmash.reproductions.record import Chart, Sheet


def charts(got: Measured) -> tuple[Chart, ...]:
    """Accuracy and the published decoder's error, pass by pass."""
    told = {"train": "training", "val": "validation"}
    known = got.paper.tables["accuracy"].rows
    lines = [
        (f"published, {name}", tuple((float(row.at["pass"]), row.figures[what] or 0.0) for row in known))
        for what, name in told.items()
    ]
    dashed = tuple(name for name, _ in lines)
    for target, rows in got.passes.items():
        lines += [
            (f"{target}, {name}", tuple((row["pass"], row[what][0]) for row in rows)) for what, name in told.items()
        ]
    known = got.paper.tables["training_error"].rows
    errors = [("published", tuple((float(row.at["pass"]), row.figures["mse"] or 0.0) for row in known))]
    for target in (PUBLISHED, RIGHT):
        found = got.attacks[target]["omniglot_decoder"].figures["errors"]
        errors.append((target, tuple((float(number), error) for number, error in enumerate(found, 1))))
    about = "Mean squared error a pixel on the images it is trained on."
    return (
        Chart(
            "Accuracy of the target", "By pass over the training images.", "pass", "accuracy, %", tuple(lines), dashed
        ),
        Chart("Training error of the published decoder", about, "pass", "error", tuple(errors), ("published",)),
    )


def sheets(got: Measured) -> tuple[tuple[Sheet, ...], dict[str, Tensor]]:
    """The first test images with their reconstructions, and leaked beside clean ones."""
    targets = [name for name in (PUBLISHED, RIGHT, *got.private) if name in got.attacks]
    first = [(name, got.attacks[name]["omniglot_decoder"].arrays["first"]) for name in targets]
    best = [(name, got.attacks[name]["decoder"].arrays["first"]) for name in targets]
    pairs = [(name, got.attacks[PUBLISHED][kind].arrays["pairs"]) for kind, name in ATTACKS.items()]
    pairs.append(("32 principal components", got.floors["32 principal components"].arrays["pairs"]))
    drawn = (
        ("first", "The first test images", "As in the post: reconstructed by the published decoder.", "first", first),
        ("decoder", "The same by the residual decoder", "A decoder that is no weaker than it must be.", "first", best),
        ("leaked", "Leaked and clean test images", "Target trained as published; leaked ones first.", "pairs", pairs),
    )
    found: list[Sheet] = []
    pictures: dict[str, Tensor] = {}
    for name, title, about, rows, lines in drawn:
        whole = [("test images", got.shown.arrays[rows]), *lines]
        pictures |= {f"{name}/{place}": images for place, (_, images) in enumerate(whole)}
        notes = tuple((line, _note(got, line)) for line, _ in whole)
        found.append(Sheet(name, title, about, notes, tuple(got.shown.figures["under"][rows])))
    return tuple(found), pictures


def _note(got: Measured, line: str) -> str:
    noise = got.private.get(line)
    return "" if noise is None else f"ε {got.epsilons[noise]['poisson']:.1f} for its training records"
