"""Tables, pictures and tarballs of the class-inversion example: as published beside put right."""

from __future__ import annotations

from typing import Any

from unsmash.class_archive import file_name, pack
from unsmash.reproductions.miface_data import Subject, accuracy_of
from unsmash.reproductions.miface_descents import starts, steepest
from unsmash.reproductions.miface_works import Work
from unsmash.reproductions.record import Cell, Column, Measure, Row, Sheet, Table

Rows = dict[str, dict[str, Measure | None]]

COLUMNS = (
    Column("confidence", "Mean confidence", "%", 1),
    Column("sure", "Classes over 99 %", "%", 0),
    Column("stuck", "Image still the start", "%", 0),
    Column("iterations", "Mean iterations", "", 0),
    Column("recognised", "Read as its class by a stranger", "%", 0),
)

NOTHING = "nothing: the example gives a tarball of images, and no figure of them"

RULES = (
    "ART goes on while the cost is at most the threshold, or above all of its window: the paper's condition for "
    "stopping. With a threshold of 0.99 a class under 1 % after one step is let go at once, and one that has arrived "
    "stays to the last iteration.",
    "As published climbs the probability, whose gradient fades with the probability itself; put right climbs the "
    "log-odds and stops at 99 %, or when no step of a whole window was better than its first.",
)

FADES = (
    "The gradient of a probability is its own size times that of the log-odds: where the network is sure that a start "
    "image is no seven, there is next to nothing to follow towards a seven."
)


def gradients(works: list[Work]) -> Rows:
    """Least over classes of the largest partial derivative, by start and network."""
    rows: Rows = {}
    for work in works:
        for start in dict.fromkeys((*work.starts, "ones")):
            begin, classes = starts(start, work.target, work.bench.lab)  # type: ignore[arg-type]
            found = steepest(work.target.logits, begin, classes, "probability")
            rows.setdefault(start, {})[work.target.kind] = Measure(found.min().item(), n=len(classes))
    return rows


def targets(works: list[Work]) -> Table:
    """How well the networks do what they were trained for."""
    columns = (Column("accuracy", "Accuracy", "%", 1), Column("passes", "Passes", "", 0))
    rows = []
    for work in works:
        mean, low, high, n = accuracy_of(work.target)
        cells = (
            Cell("accuracy", ours=Measure(100 * mean, 100 * low, 100 * high, n)),
            Cell("passes", ours=Measure(work.target.passes)),
        )
        rows.append(Row(work.title, cells, f"weights of pass {work.target.best}"))
    about = "On test images, none of which is among those that trained or stopped the training."
    return Table(
        "targets", "The networks", about, "no figure: the example logs them where it runs", columns, tuple(rows)
    )


def inversions(works: list[Work]) -> Table:
    """ART's rule on probabilities and the paper's on log-odds, by network, parameters and start."""
    rows = []
    for work in works:
        for chosen in work.names:
            for start in work.starts:
                art, right = (work.found[f"{chosen}/{start}/{rule}"].figures() for rule in ("art", "right"))
                rows.append(_row(f"{work.title}, {chosen}, {start}", art, right))
        floor = {name: one for name, one in work.floor.figures().items() if name not in ("stuck", "iterations")}
        rows.append(_row(f"{work.title}: class means", {}, floor, "a floor: no network is asked"))
    about = (
        "One image a class. The interval of a share is over classes. A stranger is a recogniser trained on images of "
        "its own, none of which the network was trained on."
    )
    return Table("inversion", "What each start comes to", about, NOTHING, COLUMNS, tuple(rows), RULES)


def rules(works: list[Work]) -> Table:
    """All four ways from the zero start, with each set of parameters."""
    ways = {
        "together": ("ART, all classes in one batch", "as the example calls it"),
        "art": ("ART, one class at a time", "ART's own default"),
        "paper": ("the paper's rule on probabilities", "the rule put right, and nothing else"),
        "right": ("the paper's rule on log-odds", ""),
    }
    rows = []
    for work in works:
        for chosen in work.names:
            for way, (title, note) in ways.items():
                figures = work.found[f"{chosen}/zeros/{way}"].figures()
                pair = (figures, {}) if way in ("art", "together") else ({}, figures)
                rows.append(_row(f"{work.title}, {chosen}: {title}", *pair, note=note))
    about = "One image a class from the zero start, which the example takes because it gives none."
    batch = (
        "In one batch a class that was let go is looked at again with every step of the others: once its window has "
        "filled with its own unchanged cost it takes one more step. What ART gives hangs on its batch size."
    )
    return Table("rules", "The rule, from the zero start", about, NOTHING, COLUMNS, tuple(rows), (batch,))


def _row(name: str, ours: dict[str, Measure | None], right: dict[str, Measure | None], note: str = "") -> Row:
    cells = (Cell(c.id, ours=ours.get(c.id), right=right.get(c.id)) for c in COLUMNS)
    return Row(name, tuple(cells), note)


LINES = (("as published", "ART's rule from zeros"), ("put right", "the paper's rule on log-odds, from grey"))


def sheet(work: Work) -> Sheet:
    """One image a class, as published, put right, and as the class is."""
    lines = (*LINES, ("mean of the class", "of other images; no network is asked"))
    columns = work.target.subject.classes if len(work.target.subject.classes) <= 10 else ()
    title = f"What {work.target.kind} shows of its classes: {work.target.subject.name}"
    about = "Prototypes: what the network is led to call its class. None is anybody's image, or one it was trained on."
    return Sheet(_id(work), title, about, lines, columns)


def pictures(work: Work) -> dict[str, Any]:
    """The arrays of the sheet."""
    lines = (work.art(), work.right(), work.floor)
    return {f"{_id(work)}/{at}": one.images.numpy() for at, one in enumerate(lines)}


def tarballs(work: Work, *, first: bool) -> dict[str, bytes]:
    """The documented artefact: put right in the network's own folder, as published in one below it.

    That of the last network of digits lies in the folder itself, under the name that the example documents.
    """
    place = "" if first else f"{_id(work)}/"
    made = {f"{place}{file_name('miface')}": work.right(), f"{place}as_published/{file_name('miface')}": work.art()}
    ways = ("grey/right", "zeros/art")
    settings = [work.plans[f"{work.names[0]}/{way}"].settings() for way in ways]
    return {
        path: pack(found.result(work.title, told), found.images.numpy())
        for (path, found), told in zip(made.items(), settings, strict=True)
    }


def _id(work: Work) -> str:
    return f"{work.target.subject.name}-{work.target.kind}"


def substitutes(people: Subject | None) -> tuple[str, ...]:
    """What stands in for what."""
    keras = (
        "Networks and training are torch's: layers, optimiser and early stopping as in Keras, starting weights are not."
    )
    return (keras, *([f"Faces, which the example has none of: {people.source}."] if people else []))
