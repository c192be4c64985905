"""Run folders: written under a temporary name and renamed when complete, so a half-written run cannot be read.

    OUT/<run id>/   experiment.yaml  run.json  verdict.json  events.jsonl  pictures.safetensors  report.html
                    guesses.safetensors, what each attack answered for every victim
                    testing_adversarial_<attack>.tar.gz, for each attack on the network's classes
    OUT/cache/      trained victims, by the hash of what they depend on
    OUT/frontiers/  one folder a sweep: frontier.html  frontier.json  study.yaml
    OUT/advice/     one folder an advice: advice.html  advice.json  optuna.db
    OUT/scans/      one folder a scan: scan.html  scan.json  experiment.yaml  pictures.safetensors

Knows records only, no torch. Names that begin with a dot are work in progress and never listed.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unsmash.errors import ConfigError, RecordError, nearest
from unsmash.plain import build, dumps
from unsmash.records import Run
from unsmash.run_reading import load_run
from unsmash.verdicts import Verdict

RUN, VERDICT, REPORT = "run.json", "verdict.json", "report.html"
PICTURES, GUESSES = "pictures.safetensors", "guesses.safetensors"
UNFINISHED = ".unfinished"
"""How names of work in progress end; other dotted folders are the user's, and nobody may sweep them"""


class Store:
    """A folder of runs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def cache(self) -> Path:
        """Where trained victims are kept."""
        return self.root / "cache"

    def folder(self, run_id: str) -> Path:
        """The folder of a run, existing or not."""
        return self.root / run_id

    def has(self, run_id: str) -> bool:
        """True when that run is complete."""
        return (self.folder(run_id) / RUN).is_file()

    def find(self, run: str) -> str:
        """The id of a complete run, given whole or by a beginning that no other run shares.

        Raises:
            RecordError: there is none, or there are several.
        """
        if self.has(run):
            return run
        known = [folder.name for folder in self.folders()]
        alike = [name for name in known if run and name.startswith(run)]
        if len(alike) == 1:
            return alike[0]
        if alike:
            raise RecordError(
                f"{run!r} begins {len(alike)} runs in {self.root}: {', '.join(alike[:5])}; write more of it"
            )
        near = nearest(run, known) or known[:5]
        hint = f"there are {', '.join(near)}" if near else "there are none yet; `unsmash audit` makes one"
        raise RecordError(f"no run {run!r} in {self.root}: {hint}")

    @contextmanager
    def writing(self, run_id: str) -> Iterator[Path]:
        """A temporary folder that becomes the run's folder when the block ends well, and vanishes when it does not."""
        self._make_root()
        _sweep(self.root)
        work = self._workplace(run_id)
        try:
            yield work
            final = self.folder(run_id)
            if final.exists():
                old = self._workplace(run_id)
                final.replace(old / "old")
                work.replace(final)
                shutil.rmtree(old, ignore_errors=True)
            else:
                work.replace(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _workplace(self, run_id: str) -> Path:
        prefix = f".{run_id}-{_host()}-{os.getpid()}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=UNFINISHED, dir=self.root))
        folder.chmod(0o777 & ~_umask())  # as any other folder of the user's: a web server may be meant to read it
        return folder

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                "out", got=str(self.root), allowed="a folder that can be written", hint=str(error.strerror)
            ) from None

    def load(self, run_id: str) -> Run:
        """One run's record, by its id or its unique beginning.

        Raises:
            RecordError: no such run, or it cannot be read.
        """
        file = self.folder(self.find(run_id)) / RUN
        try:
            return load_run(file.read_text(encoding="utf-8"))
        except RecordError as error:
            raise RecordError(f"{file}: {error}") from None

    def verdict(self, run_id: str) -> Verdict | None:
        """The verdict stored with a run, if there is one."""
        file = self.folder(run_id) / VERDICT
        return build(Verdict, _json(file)) if file.is_file() else None

    def folders(self) -> list[Path]:
        """Folders of complete runs, oldest first."""
        if not self.root.is_dir():
            return []
        complete = [
            folder for folder in self.root.iterdir() if not folder.name.startswith(".") and (folder / RUN).is_file()
        ]
        return sorted(complete, key=lambda folder: ((folder / RUN).stat().st_mtime, folder.name))

    def runs(self) -> list[Run]:
        """All complete runs, oldest first."""
        return [self.load(folder.name) for folder in self.folders()]


def write_text(file: Path, text: str) -> None:
    """Write a file so that readers see the old one or the new one, never half of it."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def write_bytes(file: Path, content: bytes) -> None:
    """As `write_text`, for bytes."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(file)


def write_record(file: Path, record: Any) -> None:
    """Write a record as indented JSON, atomically."""
    write_text(file, dumps(record, indent=1) + "\n")


def _json(file: Path) -> Any:
    import json

    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{file} is not JSON ({error})") from None


def _sweep(root: Path) -> None:
    """Remove what killed processes of this host left behind; a run that was being replaced is put back."""
    for folder in root.glob(f".*-{_host()}-*-*{UNFINISHED}"):
        pid = folder.name.split("-")[-2]
        if not pid.isdigit() or int(pid) == os.getpid() or _alive(int(pid)):
            continue
        final = root / folder.name[1:].split("-")[0]
        if (folder / "old").is_dir() and not final.exists():
            (folder / "old").replace(final)
        shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    """This machine's name, as far as it fits a folder's: others' processes on a shared disk are not ours to judge."""
    return "".join(letter for letter in socket.gethostname() if letter.isalnum()) or "host"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
