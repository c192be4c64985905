"""What the network itself gives away of its classes: prototypes, apart from any reconstruction of what was sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unsmash.class_archive import ARRAY, file_name
from unsmash.records import ClassRecord, ClassResult, Prototype, Run
from unsmash.report import tiles
from unsmash.report.evidence import Evidence
from unsmash.report.gallery import FILE
from unsmash.report.parts import Classes, Drawn
from unsmash.report.picture_parts import Tile
from unsmash.report.words import decimal, listed, lower_first, percent, plural, spell, whole

MOST = 40
"""Classes drawn; a record of more says so"""


def classes(evidence: Evidence, folder: Path | None, *, images: bool) -> Classes | None:
    """The section, told from the first run; None where no class attack was asked for."""
    record = evidence.run.classes
    if record is None or not record.attacks:
        return None
    pixels = _pixels(evidence.run, folder) if images else {}
    done = [result for result in record.attacks if not result.failure]
    return Classes(
        _heading(done),
        _lede(evidence, record),
        tuple(_drawn(evidence, record, result, pixels.get(result.name)) for result in record.attacks),
        _note(evidence, done, images, pixels),
    )


def _pixels(run: Run, folder: Path | None) -> dict[str, np.ndarray]:
    """Stored prototypes by result; a file that cannot be read leaves the figures standing alone."""
    try:
        raw = load_file(folder / FILE) if folder is not None and (folder / FILE).is_file() else {}
    except (OSError, ValueError, SafetensorError):
        return {}
    counts = {
        f"{ARRAY}{result.name}": len(result.prototypes) for result in (run.classes.attacks if run.classes else ())
    }
    kept = {name: value for name, value in raw.items() if value.ndim == 4 and counts.get(name) == len(value)}
    return {
        name.removeprefix(ARRAY): np.rint(np.clip(value, 0, 1) * 255).astype(np.uint8) for name, value in kept.items()
    }


def _heading(done: list[ClassResult]) -> str:
    if not done:
        return "The attack on the network's classes did not finish"
    rows = done[-1].prototypes
    judged = [one.recognised for one in rows if one.recognised is not None]
    if not judged:
        return f"{plural(len(rows), ('image', 'images'))} made from the network alone, one a class"
    count = f"{whole(sum(judged))} of {whole(len(judged))}"
    return f"A stranger reads {count} images made from the network alone as their class"


def _lede(evidence: Evidence, record: ClassRecord) -> str:
    who = listed([f"someone who {lower_first(threat.title)}" for threat in record.threats], "or")
    seed = f" Seed {evidence.run.seed}, the first of {spell(len(evidence.runs))}." if len(evidence.runs) > 1 else ""
    return (
        f"Prototypes, drawn by {who}, without a single message: what the network has kept of each class."
        f" **None of them is a {evidence.nouns[0]} that was sent, or a reconstruction of one**, so they are no part of"
        f" the figures above, nor of the verdict unless its limit names them.{seed}"
    )


def _drawn(evidence: Evidence, record: ClassRecord, result: ClassResult, pixels: np.ndarray | None) -> Drawn:
    if result.failure:
        return Drawn(result.title, (), (("Did not finish", result.failure),))
    shown = tuple(_tile(one, None if pixels is None else pixels[place])
                  for place, one in enumerate(result.prototypes[:MOST]))  # fmt: skip
    floors = [one for one in record.results if one.role == "floor" and one.name.rpartition("/")[0] == result.name]
    facts = (
        ("Audited network", _network(result, floors)),
        ("Independent recogniser", _stranger(result, floors, record.chance)),
        ("Likeness to the class", _likeness(result, floors)),
        ("Shows a member?", _members(evidence, result, floors)),
    )
    told = (*((name, text) for name, text in facts if text), *(("Note", note) for note in result.notes))
    return Drawn(result.title, shown, told)


def _tile(one: Prototype, pixels: np.ndarray | None) -> tuple[str, Tile, str]:
    read = "" if one.recognised is None else "read as it" if one.recognised else "not read as it"
    alt = f"Prototype of class {one.label}: the network is {percent(one.confidence)} sure of it"
    alt += f"; by an independent recogniser {read}" if read else ""
    if pixels is None:
        return one.label, Tile("", (0, 0), alt, percent(one.confidence)), read
    size = (pixels.shape[2], pixels.shape[1])
    return one.label, Tile(tiles.picture(pixels), size, alt, percent(one.confidence)), read


def _network(result: ClassResult, floors: list[ClassResult]) -> str:
    sure = [one.confidence for one in result.prototypes]
    steps = [one.iterations for one in result.prototypes]
    text = f"{percent(sum(sure) / len(sure))} sure in the mean, {percent(min(sure))} at least"
    held = [f"{lower_first(floor.title)}: {percent(value)}" for floor in floors
            if (value := floor.mean("class_confidence")) is not None]  # fmt: skip
    return f"{text}, after {whole(min(steps))} to {whole(max(steps))} steps{_beside(held)}"


def _stranger(result: ClassResult, floors: list[ClassResult], chance: float) -> str:
    if "class_recognition" not in result.scores:
        return ""
    n = result.scores["class_recognition"].n
    held = [f"{lower_first(floor.title)}: {_count(floor)}" for floor in floors if "class_recognition" in floor.scores]
    return f"reads {_count(result)} as their class; chance: {whole(chance * n)}{_beside(held)}"


def _count(result: ClassResult) -> str:
    score = result.scores["class_recognition"]
    return f"{whole(score.mean * score.n)} of {whole(score.n)}"


def _likeness(result: ClassResult, floors: list[ClassResult]) -> str:
    if "class_ssim" not in result.scores:
        return ""

    def told(one: ClassResult) -> str:
        return f"SSIM {decimal(one.mean('class_ssim') or 0, 3)}, MSE {decimal(one.mean('class_mse') or 0, 4)}"

    held = [f"{lower_first(floor.title)}: {told(floor)}" for floor in floors if "class_ssim" in floor.scores]
    return f"to the mean of its private images {told(result)}{_beside(held)}"


def _members(evidence: Evidence, result: ClassResult, floors: list[ClassResult]) -> str:
    score = result.scores.get("class_nearest")
    if score is None:
        return ""
    pairs = [(one.own_ssim, one.other_ssim) for one in result.prototypes]
    own = [a for a, b in pairs if a is not None and b is not None]
    other = [b for a, b in pairs if a is not None and b is not None]
    held = [f"{lower_first(floor.title)}: {whole(near.mean * near.n)} of {whole(near.n)}" for floor in floors
            if (near := floor.scores.get("class_nearest")) is not None]  # fmt: skip
    return (
        f"nearer to a private {evidence.nouns[0]} of its class than to any of another for {whole(score.mean * score.n)}"
        f" of {whole(score.n)} classes; SSIM {decimal(sum(own) / len(own), 3)} to the nearest of its class,"
        f" {decimal(sum(other) / len(other), 3)} to the nearest of another{_beside(held)}"
    )


def _beside(held: list[str]) -> str:
    return f" ({'; '.join(held)})" if held else ""


def _note(evidence: Evidence, done: list[ClassResult], images: bool, pixels: dict[str, np.ndarray]) -> str:
    files = listed([f"`{file_name(result.name)}`" for result in done])
    most = max((len(result.prototypes) for result in done), default=0)
    told = [f"The first {MOST} of {whole(most)} classes are shown."] if most > MOST else []
    told += [f"All images, a table and a sheet lie in {files} beside this page."] if done else []
    told += ["The private images took no part in the training: likeness to them is likeness to the class."]
    if not images:
        told += ["Pictures are left out of this page (`--no-images`)."]
    elif done and not pixels:
        told += [f"No pictures: {FILE} does not hold them."]
    return " ".join(told)
