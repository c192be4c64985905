"""Which cuts a scan tries: those that were named, or places spread over the network's depth."""

from __future__ import annotations

from collections.abc import Sequence

from unsmash.errors import CutError, nearest
from unsmash.split import Candidate

MOST = 12
"""Cuts tried where none are named"""


def choose(rows: Sequence[Candidate], names: Sequence[str] = ()) -> tuple[tuple[Candidate, ...], tuple[str, ...], bool]:
    """The cuts to try in the order the network runs, the names of those left out, and whether the first is a control.

    Without names: of the places where one tensor crosses and layers with weights lie before, the output's left out,
    one for each amount of work on the device, the one that sends least; at most `MOST` of them. With names: those, and
    before them the shallowest such place unless it is among them, where the attacks must show their strength.

    Raises:
        CutError: a name that is no such place, with the nearest that are; or the network has none.
    """
    fitting = [row for row in rows if row.single and row.device_parameters > 0]
    inner = [row for row in fitting if row is not rows[-1]]
    usual = _cheapest(inner)
    if not usual:
        raise CutError(
            "the network has no place to cut: none with learned layers before it and after it where one tensor crosses."
        )
    if not names:
        chosen = _spread(usual, MOST)
        return tuple(chosen), tuple(row.name for row in inner if row not in chosen), False
    picked = {_named(name, rows, fitting).name for name in names}
    chosen = [row for row in fitting if row.name in picked]
    control = usual[0].device_macs < chosen[0].device_macs
    return (*usual[:control], *chosen), (), control


def _cheapest(rows: Sequence[Candidate]) -> list[Candidate]:
    """For each amount of work on the device the last place that sends least: the others cost as much and send more."""
    kept: dict[int, Candidate] = {}
    for row in rows:
        other = kept.get(row.device_macs)
        if other is None or row.bytes <= other.bytes:
            kept[row.device_macs] = row
    return [row for row in rows if kept[row.device_macs] is row]


def _spread(rows: list[Candidate], most: int) -> list[Candidate]:
    """At most so many, the first and the last among them, the others evenly between."""
    if len(rows) <= most:
        return rows
    return [rows[round(step * (len(rows) - 1) / (most - 1))] for step in range(most)]


def _named(name: str, rows: Sequence[Candidate], fitting: Sequence[Candidate]) -> Candidate:
    found = next((row for row in rows if name in (row.name, *row.aliases)), None)
    if found is not None and found in fitting:
        return found
    known = [one for row in fitting for one in (row.name, *row.aliases)]
    close = nearest(name, known) or [row.name for row in fitting[:8]]
    if found is None:
        why = "is no place to cut"
    elif not found.single:
        why = f"sends {found.tensors} tensors, and a scan compares cuts that send one"
    else:
        why = "has no learned layers before it, so it hides nothing"
    raise CutError(f"--cut: {name!r} {why}. Did you mean {', '.join(close)}? `unsmash cuts` lists them all.")
