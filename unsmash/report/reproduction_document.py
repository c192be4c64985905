"""`docs/reproductions.md`, made from stored records: every published figure with ours, misses included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from unsmash.report.reproduction import NOTHING, Figure, Head, Panel, Side, panel, reasons, tally
from unsmash.report.words import duration
from unsmash.reproductions.record import Reproduced

MARKS = {"near": " ✓", "off": " ✗", "open": ""}


def document(records: Sequence[Reproduced], missing: Mapping[str, str]) -> str:
    """The whole file. `missing` are the reproductions of which there is no full run, with the reason."""
    parts = [
        "# Reproductions",
        "",
        "Made by `unsmash reproduce --document docs/reproductions.md` from the records in `docs/reproductions/`, not by"
        " hand. A cell reads *published → ours as published*, ✓ within what the column allows or ✗ beyond it; beside it"
        " stands the figure *put right*, where a fault was removed. In brackets: the 95 % interval, and how far ours is"
        " from the published figure.",
        "",
        *_overview(records, missing),
    ]
    for record in records:
        parts += ["", *_record(record)]
    return "\n".join(parts).rstrip() + "\n"


def _overview(records: Sequence[Reproduced], missing: Mapping[str, str]) -> Iterator[str]:
    yield "| reproduction | what came of it | figures | work |"
    yield "|---|---|---|---|"
    for record in records:
        form = " (quick form)" if record.quick else ""
        headline, took = _cell(record.headline.replace("**", "")), duration(record.seconds)
        yield f"| [`{record.name}`](#{record.name}){form} | {headline} | {tally(record)} | {took} |"
    for name, why in missing.items():
        yield f"| `{name}` | **not run**: {_cell(why)} | – | – |"


def _record(record: Reproduced) -> Iterator[str]:
    yield f"## {record.name}"
    yield ""
    yield f"{record.title}. {record.citation}. {record.source}."
    yield ""
    yield f"**{record.headline.replace('**', '')}**"
    yield ""
    machine = ", ".join(
        record.environment.get(name, "") for name in ("machine", "torch") if record.environment.get(name)
    )
    form = "Quick form: nothing is held against published figures. " if record.quick else ""
    command = record.command or f"unsmash reproduce {record.name}"
    told = f"{duration(record.seconds)} of work, seed {record.seed}, {record.started[:10]}, {machine}"
    yield f"{form}`{command}`, {told}."
    yield ""
    yield from (f"- {line}" for line in record.findings)
    for table in record.tables:
        yield ""
        yield from _table(panel(table))
        yield from (f"- {line}" for line in reasons(table))
    for title, lines in (("Substitutes", record.substitutes), ("Not run", record.left_out)):
        if lines:
            yield ""
            yield f"{title}:"
            yield ""
            yield from (f"- {line}" for line in lines)


def _table(shown: Panel) -> Iterator[str]:
    yield f"### {shown.table.title}"
    yield ""
    told = f" {shown.tally}." if shown.tally else ""
    yield f"{shown.table.about} Published in: {shown.table.source}.{told}"
    yield ""
    heads = [title for head in shown.heads for title in _titles(head)]
    yield f"| | {' | '.join(map(_cell, heads))} |"
    yield f"|---|{'---|' * len(heads)}"
    for name, note, figures in shown.rows:
        cells = [cell for figure, head in zip(figures, shown.heads, strict=True) for cell in _figures(figure, head)]
        yield f"| {_cell(f'{name} ({note})' if note else name)} | {' | '.join(cells)} |"
    yield ""


def _titles(head: Head) -> list[str]:
    """Published and ours share a column; what was put right has its own."""
    named = f"{head.title}, put right" if head.sides == ("put right",) else "put right"
    return [*([head.title] if set(head.sides) - {"put right"} else []), *([named] if "put right" in head.sides else [])]


def _figures(figure: Figure, head: Head) -> list[str]:
    first = [_side(figure, side) for side in head.sides if side != "put right"]
    cells = [" → ".join(first) if set(first) != {NOTHING} else NOTHING] if first else []
    return [*cells, *([_side(figure, "put right")] if "put right" in head.sides else [])]


def _side(figure: Figure, side: Side) -> str:
    value, note = figure.side(side)
    mark = MARKS[figure.state] if side == "as published" else ""
    return value + (f" [{note}]" if note and side != "published" else "") + mark


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
