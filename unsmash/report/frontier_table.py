"""The frontier's table: every setting by price, with what it gives away, what is proved, and the verdict."""

from __future__ import annotations

from unsmash.frontier_record import Frontier, LabelOnly, Reached, Row, Share, price
from unsmash.report.page_parts import Setting
from unsmash.report.words import MINUS, THIN, compact, duration, percent, plural, span, whole

COLUMNS = (
    "Accuracy",
    "Lost, points",
    "Strongest attack",
    "With the list",
    "Proven at most",
    "Repeats",
    "Bytes",
    "Device MACs",
    "Took",
    "Verdict",
)
WORDS = {"leaks": "✕ leaks", "passes": "✓ passes", "inconclusive": "? no verdict", "failed": "! failed"}


def settings(frontier: Frontier) -> tuple[Setting, ...]:
    """A line for each setting, cheapest first, and the label's among them at its own price."""
    lines = [(price(row), _setting(row, frontier)) for row in frontier.rows]
    if frontier.label is not None:
        bar = frontier.label
        macs = float("inf") if bar.device_macs is None else bar.device_macs
        lines.append(((0.0, 0.0, bar.bytes_sent, macs), _bar(frontier.label)))
    return tuple(line for _, line in sorted(lines, key=lambda entry: entry[0]))


def caption(frontier: Frontier) -> str:
    """How the table is sorted, and what its columns hold."""
    text = (
        "Sorted by price: accuracy lost against the same network trained alike without defence, in tenths of a point;"
        " then bytes a sample; then multiply-adds on the device."
    )
    if frontier.n:
        text += f" Shares are of {plural(frontier.n, frontier.noun)}, with 95{THIN}% intervals."
    if any(frontier.ceiling(row) is not None for row in frontier.rows):
        text += " Proven: no attacker identifies more on average from one message."
    return text + (" Each name leads to the setting's own report." if any(row.report for row in frontier.rows) else "")


def _setting(row: Row, frontier: Frontier) -> Setting:
    if row.failure is not None:
        note = f"did not finish, in {row.failure.stage}: {row.failure.message.rstrip('.')} ({row.failure.error})"
        return Setting(row.name, row.report, note, (*_nothing(9), (WORDS["failed"], "")), "failed")
    verdict = WORDS[row.word]
    if row.word == "passes" and not row.good:
        verdict = "✕ too dear"
    ceiling = frontier.ceiling(row)
    cells = (
        _accuracy(row.accuracy),
        ("–" if row.lost is None else _points(row.lost), ""),
        _reached(row.attack, row.doubt),
        _reached(row.gallery, ""),
        ("–" if ceiling is None else f"≤ {percent(ceiling)}", ""),
        _repeats(row, frontier),
        ("–" if row.bytes_sent is None else whole(row.bytes_sent), ""),
        ("–" if row.device_macs is None else compact(row.device_macs), ""),
        (duration(row.seconds), ""),
        (verdict, ""),
    )
    told = (row.reason, row.doubt if row.doubt not in row.reason else "")
    note = "; ".join(filter(None, told)) if row.word == "inconclusive" or verdict == "✕ too dear" else ""
    return Setting(row.name, row.report, note, cells, row.word, row.front)


def _bar(bar: LabelOnly) -> Setting:
    """What every defence must justify itself against."""
    accuracy = (
        ("–", "") if bar.accuracy is None else (percent(bar.accuracy.mean), _ends(bar.accuracy.low, bar.accuracy.high))
    )
    how = "the attacker holds list and model" if bar.measured else "computed from classes and victims, not measured"
    macs = "–" if bar.device_macs is None else compact(bar.device_macs)
    shares = (("–", ""), (percent(bar.share), ""), ("–", ""), ("as one", ""))
    cells = (accuracy, ("0.0", ""), *shares, (whole(bar.bytes_sent), ""), (macs, ""), ("–", ""), ("the bar", ""))
    return Setting("Send only the label", "", f"the whole network on the device; {how}", cells, "label")


def _nothing(count: int) -> tuple[tuple[str, str], ...]:
    return (("–", ""),) * count


def _accuracy(accuracy: Share | None) -> tuple[str, str]:
    return ("–", "") if accuracy is None else (percent(accuracy.mean), _ends(accuracy.low, accuracy.high))


def _points(lost: float) -> str:
    """Accuracy lost in points; a gain has the minus sign."""
    tenths = round(lost * 100, 1)
    return f"{MINUS if tenths < 0 else ''}{abs(tenths):.1f}"


def _reached(reached: Reached | None, doubt: str) -> tuple[str, str]:
    if reached is None:
        return "–", "no valid attack" if doubt else ""
    ends = _ends(reached.share.low, reached.share.high)
    return percent(reached.share.mean), "not counted" if doubt else ends


def _repeats(row: Row, frontier: Frontier) -> tuple[str, str]:
    """What several messages of one image give away; without noise they all say the same."""
    if row.repeats is not None:
        return percent(row.repeats.share.mean), f"{whole(row.repeats.messages)} messages"
    asked = any(other.repeats is not None for other in frontier.rows)
    return ("as one", "") if asked and not row.stochastic else ("–", "")


def _ends(low: float, high: float) -> str:
    return span(low, high, "")
