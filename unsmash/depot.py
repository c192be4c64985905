"""Runs and trained networks under a URL, for machines that share no folder: any place that fsspec knows.

    URL/<run id>/…              a run's folder; complete when its run.json is there, which is therefore written last
    URL/cache/victims/…         trained victims, by the hash of what they depend on
    URL/cache/recognisers/…     recognisers likewise

What stands there is never changed: ids are hashes of all that a run depends on, so two who put one put the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from unsmash.errors import ConfigError, DependencyError, RecordError
from unsmash.run_reading import load_run
from unsmash.store import RUN, Store

KEPT = ("cache/victims", "cache/recognisers")
"""What machines make once for all"""


class Depot:
    """A place that many machines can read and write, by URL: `s3://bucket/runs`, `gs://…`, `file:///mnt/runs`.

    Raises:
        ConfigError: the URL names nothing that can be reached. DependencyError: what reads such URLs is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            import fsspec

            self.files: Any
            self.files, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise DependencyError(f"--depot {url} needs a package that is not installed: {error}") from None
        except ValueError as error:
            hint = "file:///mnt/runs, s3://bucket/runs and gs://bucket/runs are such"
            raise ConfigError("depot", got=url, allowed=f"a URL that fsspec knows ({error})", hint=hint) from None
        self.root = PurePosixPath(root)

    def has(self, run_id: str) -> bool:
        """True when that run is complete there, whatever came of it."""
        with self._told():
            return bool(self.files.exists(str(self.root / run_id / RUN)))

    def failed(self, run_id: str) -> bool:
        """True when the run that stands there is one that failed: it may be tried again, and then takes its place."""
        with self._told():
            return load_run(self.files.cat_file(str(self.root / run_id / RUN)).decode()).failure is not None

    def fetch(self, store: Store, run_ids: Iterable[str]) -> None:
        """Bring these runs, where they are complete, and all that is kept for others into a store that lacks them."""
        for name in run_ids:
            if not store.has(name) and self.has(name):
                with store.writing(name) as folder:
                    self._bring(self.root / name, folder)
        for place in KEPT:
            self._bring(self.root / place, store.root / place)

    def put(self, store: Store, run_ids: Iterable[str]) -> None:
        """Bring what a store keeps for others and these runs there, where it lacks them."""
        for place in KEPT:
            self._send(store.root / place, self.root / place)
        for name in run_ids:
            there = self.has(name)
            if there and not self.failed(name):
                continue
            if there:
                with self._told():
                    self.files.rm(str(self.root / name), recursive=True)
            self._send(store.folder(name), self.root / name)

    def _bring(self, far: PurePosixPath, near: Path) -> None:
        """The files of one folder there that are not here, each whole or not at all."""
        with self._told():
            names = (
                [PurePosixPath(name).name for name in self.files.ls(str(far), detail=False)] if self._is(far) else []
            )
            near.mkdir(parents=True, exist_ok=True)
            for name in names:
                target = near / name
                if name.startswith(".") or target.exists():
                    continue
                partial = near / f".{name}.{os.getpid()}"
                self.files.get_file(str(far / name), str(partial))
                partial.replace(target)

    def _send(self, near: Path, far: PurePosixPath) -> None:
        """The files of one folder here that are not there, the run's record last."""
        if not near.is_dir():
            return
        files = [file for file in near.iterdir() if file.is_file() and not file.name.startswith(".")]
        with self._told():
            self.files.makedirs(str(far), exist_ok=True)
            for file in sorted(files, key=lambda file: (file.name == RUN, file.name)):
                target = far / file.name
                if self.files.exists(str(target)):
                    continue
                partial = far / f".{file.name}.{os.getpid()}-{_mark()}"
                self.files.put_file(str(file), str(partial))
                self.files.mv(str(partial), str(target))

    def _is(self, far: PurePosixPath) -> bool:
        return bool(self.files.isdir(str(far)))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RecordError) as error:
            raise RecordError(f"the depot {self.url} cannot be used: {error}") from None


def local_store(url: str) -> Store:
    """This machine's own folder for what goes to a depot: kept from job to job, so that nothing is brought twice."""
    return Store(Path.home() / ".cache" / "unsmash" / "depots" / hashlib.sha256(url.encode()).hexdigest()[:12])


def _mark() -> str:
    return os.urandom(4).hex()
