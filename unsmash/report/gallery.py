"""The gallery: what a few victims look like, what they send, and what each attack made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unsmash.records import Result, Run
from unsmash.report import tiles
from unsmash.report.evidence import HEADLINE, Evidence, counted, seen
from unsmash.report.picture_parts import Gallery, Tile, Victim
from unsmash.report.words import listed, plural, spell, whole

FILE = "pictures.safetensors"
GROUPS = (("worst", "Worst hit", 6), ("typical", "Typical", 3), ("least", "Least hit", 3))


@dataclass(frozen=True)
class Album:
    """The stored pixels, or the reason why there are none."""

    missing: str = ""
    original: np.ndarray | None = None
    guesses: dict[str, np.ndarray] = field(default_factory=dict)
    sent: np.ndarray | None = None


def open_album(run: Run, folder: Path | None, *, images: bool) -> Album:
    """Read the first run's pictures. A missing or damaged file is a sentence in the report, not an error."""
    if not images:
        return Album("Pictures are left out of this page (`--no-images`); the ranks stay.")
    if folder is None or not (folder / FILE).is_file():
        return Album(f"No pictures: this run has no {FILE}, so only the ranks are shown.")
    try:
        raw = load_file(folder / FILE)
    except (OSError, ValueError, SafetensorError) as error:
        return Album(f"No pictures: {FILE} cannot be read ({error}), so only the ranks are shown.")
    kept = {name: value for name, value in raw.items() if len(value) == len(run.pictures.victims)}
    if "original" not in kept:
        return Album(f"No pictures: {FILE} does not belong to this record, so only the ranks are shown.")
    guesses = {name.removeprefix("guess/"): value for name, value in kept.items() if name.startswith("guess/")}
    sent = kept.get("sent/0")
    if sent is not None and sent.ndim == 4 and sent.shape[2] * sent.shape[3] > 1:
        sent = tiles.busiest(sent)
    return Album("", kept["original"], guesses, sent)


def gallery(evidence: Evidence, album: Album) -> Gallery:
    """Rows are original, sent, then the attacks, weakest first; columns are victims."""
    run, pictures = evidence.run, evidence.run.pictures
    shown = [result for name in pictures.shown if (result := _result(run, name)) is not None]
    rows = [(result.title, _row_note(run, result)) for result in shown]
    if album.original is not None:
        sent = [("Sent", "blue below zero, orange above")] if album.sent is not None else []
        rows = [("Original", "never leaves the device"), *sent, *rows]
    groups = []
    for name, title, most in GROUPS:
        places = [place for place, group in enumerate(pictures.groups) if group == name][:most]
        if places:
            groups.append((title, tuple(_victim(evidence, album, shown, place) for place in places)))
    return Gallery(
        _heading(evidence, album),
        _lede(evidence, album),
        tuple(rows),
        tuple(groups),
        album.original is not None,
        _note(evidence, album, groups),
    )


def _result(run: Run, name: str) -> Result | None:
    return next((result for result in run.results if result.name == name), None)


def _row_note(run: Run, result: Result) -> str:
    threat = next((threat for threat in run.threats if threat.name == result.threat), None)
    note = "without the message" if threat is None else seen(threat)
    return note if counted(result) else f"{note}, not counted"


def _victim(evidence: Evidence, album: Album, shown: list[Result], place: int) -> Victim:
    pictures = evidence.run.pictures
    index, label = pictures.victims[place], pictures.labels[place] if pictures.labels else ""
    name = f"victim {index}" + (f", {label}" if label else "")
    row = []
    if album.original is not None:
        height, width = album.original.shape[2:]
        row.append(Tile(tiles.picture(album.original[place]), (width, height), f"Original: {name}", ""))
    if album.sent is not None:
        sheet = tiles.cells(album.sent[place])
        row.append(
            Tile(
                tiles.diverging(sheet, pictures.sent_scale),
                (sheet.shape[1], sheet.shape[0]),
                f"What is sent for {name}: {whole(np.isfinite(sheet).sum())} numbers drawn as a grid of cells",
                "",
            )
        )
    for result in shown:
        row.append(_guess(evidence, album, result, place, name))
    return Victim(f"#{index:03d}", label, tuple(row))


def _guess(evidence: Evidence, album: Album, result: Result, place: int, name: str) -> Tile:
    index = evidence.run.pictures.victims[place]
    score = result.scores.get(HEADLINE)
    hit = bool(score is not None and index < len(score.values) and score.values[index] >= 0.5)
    rank = result.ranks[index] if index < len(result.ranks) else None
    fate = (
        f"best match among {whole(evidence.n)} is the true {evidence.nouns[0]}"
        if hit
        else (f"the true {evidence.nouns[0]} ranks {whole(rank)} of {whole(evidence.n)}" if rank else "no rank stored")
    )
    tag = "● found" if hit else f"rank {whole(rank)}" if rank else "no rank"
    alt = f"{result.title}, {_row_note(evidence.run, result)}: guess for {name}; {fate}"
    pixels = album.guesses.get(result.name)
    if pixels is None:
        return Tile("", (0, 0), alt, tag, hit)
    return Tile(tiles.picture(pixels[place]), (pixels.shape[3], pixels.shape[2]), alt, tag, hit)


def _heading(evidence: Evidence, album: Album) -> str:
    """A finding where the numbers carry it, else what is to be seen."""
    many, lead = evidence.nouns[1], evidence.lead()
    if album.original is None:
        return "How near each attack came, victim by victim"
    best = evidence.best(lead.threat) if lead is not None else None
    if best is None or evidence.verdict.word == "inconclusive":
        return "What was sent, and what each attack made of it"
    if evidence.verdict.word == "leaks":
        reads = f"Trained on it, an attacker reads {many}."
        if best.role != "attack":
            reads = "Held against a list, it tells which one it is."
        if album.sent is None:
            return f"What an attacker makes of a message: {many} that can be told apart"
        if tiles.smooth(album.sent):
            return f"What is sent still looks like the {many}. {reads}"
        return f"What is sent looks like static. {reads}"
    seen = best.mean("recognition")
    if seen is not None and seen >= 0.5:
        return f"The guesses look like {many}, but not the right ones."
    return f"Few guesses point to the right {evidence.nouns[0]}"


def _lede(evidence: Evidence, album: Album) -> str:
    one = evidence.nouns[0]
    seed = f" Seed {evidence.run.seed}, the first of {spell(len(evidence.runs))}." if len(evidence.runs) > 1 else ""
    sign = "● means" if album.original is None else "A thick frame and ● mean"
    return (
        f"Each column is one private {one}. {sign} the guess matches its true {one} better than any of the other"
        f" {whole(evidence.n - 1)}; else the rank of the true one is given.{seed}"
    )


def _note(evidence: Evidence, album: Album, groups: list[tuple[str, tuple[Victim, ...]]]) -> str:
    if not groups:
        return album.missing or "This run stored no pictured victims."
    rule = evidence.run.pictures.rule.strip()
    rule = f"{rule[:1].upper()}{rule[1:].rstrip('.')}. " if rule else ""
    if album.missing:
        return f"{rule}**{album.missing}**"
    private = sum(len(victims) for _, victims in groups)
    large = max(album.original.shape[2:]) > tiles.LONGEST if album.original is not None else False
    return (
        f"{rule}**This page shows {plural(private, ('private original', 'private originals'))}**;"
        f" `--no-images` leaves them out.{_drawn(evidence, album)}{' Large images are shown reduced.' if large else ''}"
    )


def _drawn(evidence: Evidence, album: Album) -> str:
    """What of the message is drawn, when it is not all of it."""
    shapes = evidence.run.split.shapes if evidence.run.split else ()
    if album.sent is None or not shapes:
        return ""
    limits = []
    if len(shapes) > 1:
        limits.append(f"the first of {spell(len(shapes))} tensors")
    if album.sent.ndim == 4 and shapes[0][0] > album.sent.shape[1]:
        limits.append(f"the {album.sent.shape[1]} most active of {whole(shapes[0][0])} maps")
    if album.sent.ndim != 4 and album.sent[0].size > tiles.MOST_CELLS:
        limits.append(f"the first {whole(tiles.MOST_CELLS)} of {whole(album.sent[0].size)} numbers")
    return f" Of what is sent, {listed(limits)} are drawn." if limits else ""
