"""Writes the gate's files: each whole or not at all, and whatever comes. Imports what renders them only to render."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from unsmash.errors import ConfigError
from unsmash.store import write_text

if TYPE_CHECKING:
    from unsmash.frontier_record import Frontier
    from unsmash.gate.cases import Suite
    from unsmash.records import Run
    from unsmash.scan_record import Scan
    from unsmash.verdicts import Verdict

Command = TypeVar("Command", bound=Callable[..., None])

SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub shows under a job; several steps append to it"""


def told(command: Command) -> Command:
    """A command with options `junit` and `markdown`: where something stops it, both files say what.

    What an earlier call left there is removed first, so that it cannot pass for this one's.

    Raises:
        ConfigError: a file cannot be written there.
    """

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> None:
        junit, markdown = options.get("junit"), options.get("markdown")
        _clear(junit, "--junit")
        _clear(markdown, "--markdown")
        try:
            command(*args, **options)
        except typer.Exit:
            raise  # the command came to its end
        except Exception as error:
            from unsmash.gate import cases
            from unsmash.gate import markdown as summaries

            _write(
                cases.of_error(command.__name__, error), summaries.of_error(command.__name__, error), junit, markdown
            )
            raise

    return guarded  # type: ignore[return-value]


def audited(runs: Sequence[Run], verdict: Verdict, report: Path, junit: Path | None, markdown: Path | None) -> None:
    """Write the files of an audit; `runs` are its seeds."""
    if junit or markdown:
        from unsmash.gate import cases
        from unsmash.gate import markdown as summaries

        _write(cases.of_audit(runs, verdict), summaries.of_audit(runs, verdict, str(report)), junit, markdown)


def swept(frontier: Frontier, exit_code: int, report: Path, junit: Path | None, markdown: Path | None) -> None:
    """Write the files of a sweep."""
    if junit or markdown:
        from unsmash.gate import cases
        from unsmash.gate import markdown as summaries

        _write(
            cases.of_sweep(frontier, exit_code), summaries.of_sweep(frontier, exit_code, str(report)), junit, markdown
        )


def scanned(scan: Scan, exit_code: int, report: Path, junit: Path | None, markdown: Path | None) -> None:
    """Write the files of a scan."""
    if junit or markdown:
        from unsmash.gate import cases
        from unsmash.gate import markdown as summaries

        _write(cases.of_scan(scan, exit_code), summaries.of_scan(scan, exit_code, str(report)), junit, markdown)


def _write(suite: Suite, summary: str, junit: Path | None, markdown: Path | None) -> None:
    from unsmash.gate.junit import render

    if junit is not None:
        _put(junit, render(suite))
    if markdown is not None:
        _put(markdown, summary)


def _put(file: Path, text: str) -> None:
    try:
        if _shared(file):
            with file.open("a", encoding="utf-8") as summary:
                summary.write(text)
        else:
            write_text(file, text)
    except OSError as error:
        raise ConfigError("gate", got=str(file), allowed="a file that can be written", hint=str(error)) from None


def _clear(file: Path | None, option: str) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not _shared(file):
            file.unlink(missing_ok=True)
        reachable = os.access(file.parent, os.W_OK) and not file.is_dir()
    except OSError:
        reachable = False
    if not reachable:
        raise ConfigError(option, got=str(file), allowed="a file in a folder that can be written")


def _shared(file: Path) -> bool:
    """It is the summary that GitHub collects: what others wrote there stays."""
    named = os.environ.get(SUMMARY)
    return bool(named) and file.resolve() == Path(str(named)).resolve()
