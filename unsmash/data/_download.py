"""Downloads, tried only when files are missing, and the one sentence for a machine without a network."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import tarfile
import urllib.request
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from unsmash.errors import DataError

SECONDS = 10.0
"""Longest that a server may stay silent"""

FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    ImportError,
    AssertionError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
"""What torchvision, scikit-learn and urllib raise where a download fails or a file is damaged"""


@contextlib.contextmanager
def fetching(what: str, where: Path) -> Iterator[None]:
    """Around a loader that may download: short timeouts, no chatter, and one sentence when it fails.

    Raises:
        DataError: what is missing, where it was looked for, and what to do.
    """
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Retry downloading")  # scikit-learn's; what counts is the end
            yield
    except FAILURES as error:
        raise missing(what, where, cause=str(error) or repr(error)) from error
    finally:
        socket.setdefaulttimeout(patience)


def missing(what: str, where: Path, *, cause: str) -> DataError:
    """The sentence for a data set that is neither here nor to be had."""
    short = " ".join(cause.split())
    short = short if len(short) <= 160 else short[:157] + "…"
    return DataError(
        f"{what} is not in {where}, and downloading it failed ({short.rstrip('.')}). Put it there, name the folder "
        "that has it with --data-root or UNSMASH_DATA, or run once with a network."
    )


def fetch(url: str, file: Path) -> None:
    """Download one file under a temporary name and move it into place when it is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(url) as answer, part.open("wb") as out:
            while block := answer.read(1 << 20):
                out.write(block)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
