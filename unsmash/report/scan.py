"""From a scan record to its page: everything it will say, as plain data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unsmash.plain import dumps
from unsmash.report import tiles
from unsmash.report.page_parts import ScanPage, Strip
from unsmash.report.parts import Fact, Section
from unsmash.report.picture_parts import Tile
from unsmash.report.scan_findings import chart_heading, lines, recommendation
from unsmash.report.scan_table import COLUMNS, caption, rows
from unsmash.report.words import THIN, bold_count, compact, duration, listed, percent, plural, span, spell, whole
from unsmash.scan_record import Cut, Scan
from unsmash.scan_verdict import knee, strongest
from unsmash.verdicts import Word

PICTURES = "pictures.safetensors"


def compose(scan: Scan, folder: Path | None = None, *, images: bool = True) -> ScanPage:
    """Everything the page will say; pictures come from the folder unless they are left out."""
    word, pill = _outcome(scan)
    what = f"{scan.model} on {scan.data.kind}"
    return ScanPage(
        word=word,
        pill=pill,
        title=f"{pill} · {what} · unsmash scan",
        crumb=f"Scan · {what}, no defence",
        run_id=scan.id,
        headline=bold_count(recommendation(scan)),
        lines=lines(scan),
        facts=tuple(_facts(scan)),
        chart=Section(chart_heading(scan), lines=tuple(_notes(scan))),
        columns=COLUMNS,
        settings=rows(scan),
        caption=caption(scan),
        strip=_strip(scan, folder, images=images),
        edges=_edges(scan),
        reproduce=_reproduce(scan),
        records=(("scan", dumps(scan)),),
    )


def _outcome(scan: Scan) -> tuple[Word, str]:
    """The page's colour, and the words beside its sign. A scan passes nothing: a cut to audit has no colour."""
    best = knee(scan)
    if best is not None:
        return "inconclusive", f"Audit next: {best.name}"
    if all(cut.word == "leaks" for cut in scan.asked):
        return "leaks", "Every cut leaks"
    return "inconclusive", "No cut shown to be within the budget"


def _facts(scan: Scan) -> list[Fact]:
    """The four figures under the headline."""
    words = (("leaks", "leak"), ("passes", "within"), ("inconclusive", "without a verdict"))
    counts = [(sum(cut.word == word for cut in scan.asked), text) for word, text in words]
    told = listed(f"{whole(count)} {text}" for count, text in counts if count)
    facts = [Fact("Cuts scanned", whole(len(scan.asked)), told)]
    accuracy = scan.utility.accuracy
    if accuracy is not None:
        facts.append(Fact("Accuracy", percent(accuracy.mean), f"{span(accuracy.low, accuracy.high)}, at every cut"))
    sent = [cut.bytes_raw for cut in scan.cuts]
    note = f"bytes an image; the picture itself has {whole(scan.bytes_input)}"
    facts.append(Fact("Sent", f"{compact(min(sent))} to {compact(max(sent))}", note))
    note = f"two short attacks, 95{THIN}% intervals over {plural(scan.n, scan.data.noun)}"
    return [*facts, Fact("How sure", "one seed", note)]


def _notes(scan: Scan) -> list[str]:
    """The sentences under the drawing."""
    notes = [
        "Above: large marks are the strongest attack of a cut, small ones the other, hollow ones whoever holds the list"
        " of candidates; bars are intervals; the axis is stretched near nothing.",
        "Below: outlines are bytes as computed, the line in them 8 bits a number, the filled part those deflated; the"
        " axis is logarithmic.",
    ]
    if knee(scan) is not None:
        notes.append("Ringed: the cut to audit next.")
    if scan.left_out:
        notes.append(f"{plural(len(scan.left_out), ('cut', 'cuts'))} left out: `--cut` names any of them.")
    if scan.cuts[0].control:
        notes.append(f"{scan.cuts[0].name} was not asked about: there the attacks must show that they work.")
    return notes


def _strip(scan: Scan, folder: Path | None, *, images: bool) -> Strip | None:
    """The same few victims at each cut, by the strongest attack there."""
    victims = scan.pictures.victims
    if not victims:
        return None
    stored = _stored(folder, len(victims)) if images else {}
    lines: list[tuple[str, str, tuple[Tile, ...]]] = []
    if "original" in stored:
        alt = f"the true {scan.data.noun[0]}"
        tiles_ = tuple(_tile(stored["original"][i], f"Victim {v}: {alt}", "", False) for i, v in enumerate(victims))
        lines.append(("Original", "never leaves the device", tiles_))
    for cut in scan.cuts:
        lines.append(_line(scan, cut, stored))
    lede = (
        f"{spell(len(victims)).capitalize()} of {plural(scan.n, scan.data.noun)}, {scan.pictures.rule}; each as the"
        f" strongest attack behind a cut makes them out. Found: nearest to the true {scan.data.noun[0]} of all."
    )
    if not images:
        lede += " Pictures are left out of this page; the ranks stay."
    elif not stored:
        lede += f" There are no pictures: {PICTURES} is missing or cannot be read, so only the ranks are shown."
    else:
        private = plural(len(victims), ("private picture", "private pictures"))
        lede += f" This page shows {private} and what was made of them."
    return Strip("What the attacks see through each cut", lede, tuple(lines))


def _line(scan: Scan, cut: Cut, stored: dict[str, np.ndarray]) -> tuple[str, str, tuple[Tile, ...]]:
    best = strongest(cut)
    if best is None:
        return cut.name, "no attack finished", ()
    guesses = stored.get(f"guess/{cut.name}/{best.name}")
    made = []
    for place, victim in enumerate(scan.pictures.victims):
        rank = best.ranks[victim]
        tag = "● found" if rank == 1 else f"rank {whole(rank)}"
        alt = f"{best.title} behind {cut.name}: guess for victim {victim}, {tag.removeprefix('● ')}"
        made.append(_tile(None if guesses is None else guesses[place], alt, tag, rank == 1))
    return cut.name, best.title, tuple(made)


def _tile(pixels: np.ndarray | None, alt: str, tag: str, hit: bool) -> Tile:
    if pixels is None:
        return Tile("", (0, 0), alt, tag, hit)
    return Tile(tiles.picture(pixels), (pixels.shape[-1], pixels.shape[-2]), alt, tag, hit)


def _stored(folder: Path | None, count: int) -> dict[str, np.ndarray]:
    if folder is None or not (folder / PICTURES).is_file():
        return {}
    try:
        raw = load_file(folder / PICTURES)
    except (OSError, ValueError, SafetensorError):
        return {}
    return {name: array for name, array in raw.items() if len(array) == count}


def _edges(scan: Scan) -> Section:
    """What a scan does not show."""
    told = (
        "Two short attacks on few images: a stronger attacker may do better at any cut, and will at some.",
        f"Identified means picked out of {whole(scan.n)}. With more candidates the share falls, with fewer it rises.",
        f"It covers these {scan.data.noun[1]} and these weights. Another training needs its own scan.",
        "Coding in 8 bits or packing sends less. Neither hides anything from whoever can read the code.",
        "Latency is that of the machine that scanned, not of your device; multiply-adds travel better.",
        "A deeper cut sends what is computed from a shallower one: for who has the weights it tells no more.",
    )
    return Section("A scan finds a cut to audit and clears none", lines=told)


def _reproduce(scan: Scan) -> Section:
    entries = (
        ("Scan", f"`{scan.id}`" + (", quick: smaller training and attacks" if scan.quick else "")),
        ("Budget", f"`{scan.budget}`"),
        ("Data", f"{scan.data.source}; fingerprint `{scan.data.fingerprint}`"),
        ("Network", f"{scan.model}, {plural(scan.utility.trained_epochs, ('epoch', 'epochs'))} of training"),
        ("Left out", ", ".join(f"`{name}`" for name in scan.left_out)),
        ("To be known", " ".join(scan.notes)),
        ("Seed", str(scan.seed)),
        ("Software and machine", ", ".join(f"{name} {value}" for name, value in scan.environment.items())),
        ("Started", scan.started),
        ("Took", duration(scan.seconds.get("total", 0.0))),
    )
    kept = tuple((name, text) for name, text in entries if text)
    return Section("Same scan, same machine kind, same numbers", entries=kept, command=scan.command)
