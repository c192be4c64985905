"""A published experiment carried out, stored and rendered. What `unsmash reproduce` and `unsmash.reproduce()` call."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unsmash import report
from unsmash.auditing import still, working_device
from unsmash.component import discover, find
from unsmash.data.base import data_root
from unsmash.environment import describe
from unsmash.errors import ConfigError, RecordError
from unsmash.events import Sink, silent
from unsmash.experiment import config_error
from unsmash.lab import Lab
from unsmash.plain import build
from unsmash.reproductions.record import Reproduced
from unsmash.reproductions.systems.base import PACKAGE, Findings, Reproduction
from unsmash.reproductions.workbench import Workbench
from unsmash.store import PICTURES, Store, write_bytes, write_record, write_text

FOLDER, RECORD, PAGE = "reproductions", "reproduced.json", "report.html"


@dataclass(frozen=True)
class Done:
    """A reproduction, and where it lies."""

    record: Reproduced
    folder: Path

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder / PAGE


def reproduce(
    name: str, *, quick: bool = False, out: str | Path = "runs", progress: Sink = silent, **settings: Any
) -> Done:
    """Run a published experiment again, as published and put right, and set the figures side by side.

    With `quick` it takes minutes; without, the sizes are the published ones. Settings are those of `conduct`, and the
    experiment's own, which `unsmash kinds NAME` tells.

    >>> found = reproduce("findings", quick=True)                                              # doctest: +SKIP
    >>> found.record.headline, found.report                                                    # doctest: +SKIP
    """
    options = {key: settings.pop(key) for key in ("device", "root", "seed", "images", "command") if key in settings}
    return conduct(chosen(name, settings, quick=quick), quick=quick, out=Path(out), progress=progress, **options)


def chosen(name: str, settings: Mapping[str, Any], *, quick: bool) -> Reproduction:
    """The experiment of that name with these settings, in its full or its quick form.

    Raises:
        ConfigError: there is none of that name, or a setting is wrong.
    """
    from pydantic import ValidationError

    cls = find(PACKAGE, Reproduction, name, "reproduce")
    try:
        made = cls.model_validate({"kind": name} | dict(settings))
    except ValidationError as error:
        raise config_error(error, name, cls) from None
    return made.small() if quick else made


@still()
def conduct(
    experiment: Reproduction,
    *,
    quick: bool = False,
    out: Path,
    progress: Sink = silent,
    device: str = "auto",
    root: Path | None = None,
    seed: int = 0,
    images: bool = True,
    command: str = "",
) -> Done:
    """Carry an experiment out, going on behind the last step that is kept, and write its record and page.

    Raises:
        UnsmashError: data is missing, or a training failed.
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    lab = Lab(seed=seed, device=working_device(device), sink=progress)
    bench = Workbench(experiment.kind, lab, data_root(root), Store(out).cache)
    found = experiment.run(bench, quick=quick)
    published = experiment.paper()
    record = Reproduced(
        name=experiment.kind, title=published.title, citation=published.citation, source=published.source,
        headline=found.headline, findings=found.findings, tables=found.tables, sheets=found.sheets,
        charts=found.charts, substitutes=found.substitutes, left_out=found.left_out, quick=quick,
        settings=experiment.model_dump(mode="json"), seed=seed, seconds=bench.seconds, started=started,
        environment=describe(lab.device), command=command,
    )  # fmt: skip
    store, name = Store(out / FOLDER), experiment.kind + ("-quick" if quick else "")
    with store.writing(name) as folder:
        write_record(folder / RECORD, record)
        _save(folder / PICTURES, found)
        for path, content in (found.files or {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / path, content)
        write_text(folder / PAGE, report.render_reproduction(record, folder, images=images))
    return Done(record, store.folder(name))


def _save(file: Path, found: Findings) -> None:
    from safetensors.numpy import save_file

    arrays = {
        name: np.ascontiguousarray(np.asarray(one, dtype=np.float32)) for name, one in (found.pictures or {}).items()
    }
    for sheet in found.sheets:
        for place in range(len(sheet.lines)):
            if f"{sheet.id}/{place}" not in arrays:
                raise RecordError(f"the pictures {sheet.id}/{place} are missing")
    if arrays:
        save_file(arrays, str(file))


def stored(out: Path) -> list[Reproduced]:
    """Every reproduction that lies in a folder of runs, by name; a full one stands before a quick one."""
    found = []
    for file in sorted((out / FOLDER).glob(f"*/{RECORD}")):
        if not file.parent.name.startswith("."):
            found.append(read(file))
    return found


def read(file: Path) -> Reproduced:
    """A record.

    Raises:
        RecordError: it cannot be read.
    """
    import json

    try:
        return build(Reproduced, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecordError) as error:
        raise RecordError(f"{file}: {error}") from None


def write_document(file: Path, records: Path) -> None:
    """Write the Markdown file of all records in a folder, `<name>.json`; what has none is named as not run.

    Raises:
        RecordError: a record cannot be read. ConfigError: the folder has none.
    """
    from unsmash.report.reproduction_document import document

    known = {one.stem: read(one) for one in sorted(records.glob("*.json"))}
    if not known:
        hint = f"Copy them from OUT/{FOLDER}/NAME/{RECORD} to {records}/NAME.json"
        raise ConfigError("--document", got=str(records), allowed="a folder with records beside the file", hint=hint)
    missing = {name: cls.not_run for name, cls in names().items() if name not in known}
    write_text(file, document(list(known.values()), missing))


def names() -> dict[str, type[Reproduction]]:
    """Every experiment that can be run again."""
    return discover(PACKAGE, Reproduction)


def summary(done: Done) -> dict[str, Any]:
    """A reproduction as one JSON document."""
    from dataclasses import asdict

    near, judged = done.record.tally()
    return asdict(done.record) | {"reproduced": near, "judged": judged, "report": str(done.report)}
