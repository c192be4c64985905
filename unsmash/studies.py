"""Stored studies: the frontier records in a folder of runs, found by id, by name or by where they lie. No torch."""

from __future__ import annotations

from pathlib import Path

from unsmash.errors import RecordError, nearest
from unsmash.frontier_record import Frontier, load

FOLDER, PAGE, RECORD, STUDY = "frontiers", "frontier.html", "frontier.json", "study.yaml"


def find(study: str, out: Path) -> tuple[Frontier, Path]:
    """A study's record and its folder: given by that folder, by id or an unshared beginning of it, or by name.

    Raises:
        RecordError: there is none, or there are several.
    """
    path = Path(study)
    folder = path if (path / RECORD).is_file() else path.parent if path.name == RECORD and path.is_file() else None
    if folder is not None:
        return read(folder), folder
    known = {one.name: one for one in folders(out)}
    alike = (
        [known[study]] if study in known else [one for name, one in known.items() if study and name.startswith(study)]
    )
    if not alike:
        records = {name: read(one).name for name, one in known.items()}
        alike = [known[name] for name, said in records.items() if study and said == study]
        if not alike:
            near = nearest(study, [*records, *filter(None, records.values())])
            hint = f"there are {', '.join(near or list(records)[:5])}" if records else "`unsmash sweep` makes one"
            raise RecordError(f"no study {study!r} in {out / FOLDER}: {hint}")
    if len(alike) > 1:
        ids = ", ".join(one.name for one in alike)
        raise RecordError(f"{study!r} names {len(alike)} studies in {out / FOLDER}: {ids}; write the id of one")
    return read(alike[0]), alike[0]


def folders(out: Path) -> list[Path]:
    """Folders of complete studies, by id."""
    home = out / FOLDER
    if not home.is_dir():
        return []
    return sorted(one for one in home.iterdir() if not one.name.startswith(".") and (one / RECORD).is_file())


def read(folder: Path) -> Frontier:
    """The record in a study's folder.

    Raises:
        RecordError: it cannot be read.
    """
    file = folder / RECORD
    try:
        return load(file.read_text(encoding="utf-8"))
    except RecordError as error:
        raise RecordError(f"{file}: {error}") from None
