"""The command line. torch is imported inside commands, so that `unsmash --help` answers at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from unsmash.commands import advising, measuring, reading, reproducing, revisiting, studies

app = typer.Typer(
    help="What a split network's smashed data gives away, and what it costs to stop it.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

STOPPED = 130
"""Exit code after Ctrl-C"""


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """What a split network's smashed data gives away, and what it costs to stop it."""
    if version:
        from unsmash import __version__

        typer.echo(f"unsmash {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


for one in (
    measuring.audit,
    studies.sweep,
    studies.compare,
    advising.advise,
    measuring.scan,
    revisiting.attack,
    revisiting.score,
    revisiting.challenge,
    reproducing.reproduce,
    reading.cuts,
    reading.report,
    reading.ls,
    reading.show,
    reading.export,
    reading.kinds,
):
    app.command()(one)


def main() -> None:
    """Entry point: errors raised on purpose are one sentence and an exit code, without a traceback."""
    from unsmash.errors import UnsmashError

    code: object = 0
    try:
        code = app(standalone_mode=False)
    except UnsmashError as error:
        typer.echo(f"unsmash: {error}", err=True)
        code = error.exit_code
    except typer.Exit as leaving:
        code = leaving.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except Exception as error:
        _usage_or_raise(error)
    if code == STOPPED:  # newer versions of typer return it, older ones abort
        typer.echo("unsmash: stopped; nothing half-written was kept", err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_or_raise(error: Exception) -> None:
    """A wrong flag is one sentence; anything else is a bug and keeps its traceback."""
    message = getattr(error, "format_message", None)
    if message is None:
        raise error
    typer.echo(f"unsmash: {message()} `unsmash --help` lists the commands and their options.", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
