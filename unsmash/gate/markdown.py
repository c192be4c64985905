"""A summary in GitHub's Markdown: the verdict, who identifies how many, the floors, what is proven, what it costs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from unsmash import judge
from unsmash.frontier_record import Frontier
from unsmash.gate.cases import audited
from unsmash.records import Run
from unsmash.report import frontier_findings, frontier_table, scan_findings, scan_table
from unsmash.report.page_parts import Setting
from unsmash.report.words import compact, duration, milliseconds, percent, plural, span, whole
from unsmash.scan_record import Scan
from unsmash.verdicts import AdversaryVerdict, Verdict

MARKS = {"leaks": "❌ Leaks", "passes": "✅ Passes", "inconclusive": "❔ No verdict"}
GATE = {judge.EXIT["passes"]: "✅", judge.EXIT["leaks"]: "❌", judge.EXIT["inconclusive"]: "❔"}
BLANKS = re.compile(r"[ \t\n\r\f\v\x1c-\x1e\x85\u2028\u2029]+")
"""What ends a line, or is one blank with its neighbours; a narrow one that holds a number and its unit stays"""
MOST = 200
"""Rows of a table: GitHub leaves out a summary that is too long"""


def of_audit(runs: Sequence[Run], verdict: Verdict, report: str) -> str:
    """An audit of one experiment, its seeds together."""
    run = runs[0]
    head = MARKS[verdict.word]
    if verdict.word == "passes" and verdict.exit_code:
        head = "❌ Over the budget" if verdict.exit_code == judge.EXIT["leaks"] else MARKS["inconclusive"]
    parts = [f"## {head}: {text(audited(run))}", text(verdict.sentence)]
    parts += [_list(reason for reason in verdict.reasons if reason.rstrip(".") not in verdict.sentence)]
    parts.append(_adversaries(runs, verdict))
    parts.append(_floors(runs))
    parts.append(_bounds(run))
    parts.append(_costs(runs))
    seeds = plural(len(runs), ("seed", "seeds"))
    known = f"Budget {code(verdict.budget)}; {seeds}; {plural(_victims(run), _noun(run))}"
    ids = ", ".join(code(one.id) for one in runs)
    parts.append(f"{known}; run {ids}; report {code(report)}.")
    return _joined(parts)


def of_sweep(frontier: Frontier, exit_code: int, report: str) -> str:
    """A sweep: the finding, and every setting by price. The mark follows the exit code: one that passes is enough."""
    parts = [f"## {GATE[exit_code]} {text(frontier_findings.headline(frontier))}"]
    parts += [rich(line) for line in frontier_findings.lines(frontier)]
    parts.append(_settings("Setting", frontier_table.COLUMNS, frontier_table.settings(frontier)))
    notes = [row for row in frontier.rows if row.failure is not None]
    parts.append(
        _list(f"{row.name} failed in {row.failure.stage}: {row.failure.message}" for row in notes if row.failure)
    )
    parts.append(f"Budget {code(frontier.budget)}; sweep {code(frontier.id)}; page {code(report)}.")
    return _joined(parts)


def of_scan(scan: Scan, exit_code: int, report: str) -> str:
    """A scan: the recommendation, and every cut in the order the network runs."""
    parts = [f"## {GATE[exit_code]} {text(scan_findings.recommendation(scan))}"]
    parts += [rich(line) for line in scan_findings.lines(scan)]
    parts.append(_settings("Cut after", scan_table.COLUMNS, scan_table.rows(scan)))
    parts.append(f"Budget {code(scan.budget)}; scan {code(scan.id)}; page {code(report)}.")
    return _joined(parts)


def of_error(command: str, error: Exception) -> str:
    """What stopped a call."""
    return _joined([f"## ❌ unsmash {command} did not finish", f"{text(str(error))} ({code(type(error).__name__)})"])


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; empty without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    more = f"\n\nand {whole(len(lines) - MOST)} more." if len(lines) > MOST else ""
    return "\n".join([f"| {' | '.join(titles)} |", "|" + "---|" * len(titles), *lines[:MOST]]) + more


def text(words: str) -> str:
    r"""Words that mean nothing else in Markdown or HTML, and stay on one line.

    >>> text("a|b *c* <d>"), text("see [x](y)")
    ('a\\|b \\*c\\* &lt;d&gt;', 'see \\[x\\](y)')
    """
    return _escaped(BLANKS.sub(" ", words).strip(" "))


def code(words: str) -> str:
    """Words as code, whatever is in them.

    >>> code("a"), code("a`b")
    ('`a`', '``a`b``')
    """
    plain = BLANKS.sub(" ", words).strip(" ")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    inner = f" {plain} " if plain[:1] == "`" or plain[-1:] == "`" else plain
    return f"{fence}{inner}{fence}" if plain else "–"


def rich(line: str) -> str:
    """A sentence of the report with its two marks, bold and code, kept; everything else in it is escaped."""
    out = []
    for part in re.split(r"(\*\*.+?\*\*|`[^`]+`)", line):
        if part.startswith("`"):
            out.append(code(part[1:-1]))
        elif part.startswith("**"):
            out.append(f"**{text(part[2:-2])}**")
        else:
            out.append(_escaped(part))
    return "".join(out)


def _escaped(words: str) -> str:
    plain = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    marked = re.sub(r"([\\`*_\[\]|~])", r"\\\1", plain)
    return marked.replace("#", "&#35;").replace("://", ":&#47;&#47;").replace("$", "&#36;").replace("@", "&#64;")


def _adversaries(runs: Sequence[Run], verdict: Verdict) -> str:
    titles = {threat.name: threat.title for threat in runs[0].threats}
    return table(
        ("Adversary", "Verdict", "Strongest attack", "Identified", "95 % interval", "Limit"),
        [_adversary(one, titles.get(one.threat, one.threat), runs) for one in verdict.adversaries],
    )


def _adversary(one: AdversaryVerdict, title: str, runs: Sequence[Run]) -> tuple[str, ...]:
    word = "not judged" if one.limit is None else MARKS[one.word]
    limit = "–" if one.limit is None else percent(one.limit)
    if not one.attack:
        return (text(title), word, text(one.reason or "none counts"), "–", "–", limit)
    attack = runs[0].result(one.attack).title
    return (text(title), word, text(attack), f"{whole(one.count)} of {whole(one.n)}", span(one.low, one.high), limit)


def _floors(runs: Sequence[Run]) -> str:
    rows = []
    for result in runs[0].of_role("floor"):
        pooled = judge.pool(runs, result.name, "identification")
        if pooled is not None:
            rows.append((text(result.title), percent(pooled.mean), span(pooled.low, pooled.high)))
    return table(("Floor", "Identified", "95 % interval"), rows)


def _bounds(run: Run) -> str:
    rows = []
    for one in run.bounds:
        if one.value is None:
            rows.append((text(one.title), "–", text(one.reason or "not known")))
        else:
            value = percent(one.value) if one.unit == "share" else f"{one.value:.4g} {one.unit}"
            rows.append((text(one.title), text(value), text(one.covers)))
    return table(("Proven", "Value", "For whom, or why there is none"), rows)


def _costs(runs: Sequence[Run]) -> str:
    run, accuracy = runs[0], judge.accuracy(runs)
    rows: list[tuple[str, str]] = []
    if accuracy is not None:
        rows.append(("Accuracy", f"{percent(accuracy.mean)} ({span(accuracy.low, accuracy.high)})"))
    bare = [one.utility.undefended_accuracy for one in runs if one.utility and one.utility.undefended_accuracy]
    if bare:
        rows.append(("Accuracy without defence", percent(sum(score.mean for score in bare) / len(bare))))
    if run.split is not None:
        rows.append(("Sent an image", f"{whole(run.split.bytes_sent)} bytes"))
        rows.append(("Device", f"{compact(run.split.device_macs)} multiply-adds"))
    if run.latency_ms:
        rows.append(("Latency of the device half", milliseconds(run.latency_ms[0])))
    rows.append(("Took", duration(sum(one.seconds.get("total", 0.0) for one in runs))))
    return table(("Cost", ""), rows)


def _settings(first: str, titles: Sequence[str], lines: Sequence[Setting]) -> str:
    rows = []
    for line in lines:
        cells = [f"{text(value)} ({text(small)})" if small else text(value) for value, small in line.cells]
        rows.append((f"**{text(line.name)}**" if line.front else text(line.name), *cells))
    return table((first, *titles), rows)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {text(line)}" for line in lines)


def _victims(run: Run) -> int:
    return run.data.sizes.get("victims", 0) if run.data is not None else 0


def _noun(run: Run) -> tuple[str, str]:
    return run.data.noun if run.data is not None else ("image", "images")


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
