"""The advice's table: every trial, those that meet the demand first, by price; what ended early, with the reason."""

from __future__ import annotations

from unsmash.advice_record import Advice, Trial, candidates, price
from unsmash.frontier_record import Reached, Share
from unsmash.report.page_parts import Setting
from unsmash.report.words import MINUS, compact, duration, percent, span, whole

COLUMNS = (
    "Accuracy",
    "Lost, points",
    "Strongest attack",
    "With the list",
    "Proven at most",
    "Bytes",
    "Device MACs",
    "Took",
    "Outcome",
)
REACHED = {
    "accuracy": "its accuracy",
    "price": "its price",
    "proofs": "what is proven",
    "candidate list": "the candidate list",
    "cheap attacks": "the cheap attacks",
    "audit": "a whole audit",
}
"""What the measuring of a trial came to"""


def rows(advice: Advice) -> tuple[Setting, ...]:
    """All trials: meeting the demand, measured, ended early, failed; each by price."""
    return (*measured(advice), *ended(advice))


def measured(advice: Advice) -> tuple[Setting, ...]:
    """The trials that were measured whole."""
    good = candidates(advice.trials)
    others = [one for one in advice.trials if one.state == "measured" and one not in good]
    return tuple(_line(one, advice) for one in (*good, *sorted(others, key=price)))


def ended(advice: Advice) -> tuple[Setting, ...]:
    """The trials that went no further than a cheap step, or failed."""
    pruned = [one for one in advice.trials if one.state == "pruned"]
    failed = [one for one in advice.trials if one.state == "failed"]
    return tuple(_line(one, advice) for one in (*sorted(pruned, key=price), *failed))


def _line(trial: Trial, advice: Advice) -> Setting:
    chosen = advice.chosen is not None and advice.chosen.trial == trial.number
    state = "passes" if trial.meets else "failed" if trial.state == "failed" else "inconclusive"
    if trial.row is not None and trial.row.word == "leaks":
        state = "leaks"
    note = trial.reason
    if trial.state == "pruned":
        note = f"measured to {REACHED[trial.stage]}: {trial.reason}"
    ceiling = trial.ceiling.value if trial.ceiling else None
    cells = (
        _share(trial.accuracy),
        ("–" if trial.lost is None else _points(trial.lost), ""),
        _reached(trial.attack, trial),
        _reached(trial.gallery, trial),
        ("–" if ceiling is None or ceiling >= 1 else f"≤ {percent(ceiling)}", ""),
        ("–" if trial.bytes_sent is None else whole(trial.bytes_sent), ""),
        ("–" if trial.device_macs is None else compact(trial.device_macs), ""),
        (duration(trial.seconds), ""),
        (_outcome(trial, advice, chosen=chosen), ""),
    )
    href = trial.row.report if trial.row is not None else ""
    return Setting(trial.name, href, note, cells, state, chosen)  # type: ignore[arg-type]


def _outcome(trial: Trial, advice: Advice, *, chosen: bool) -> str:
    if trial.state != "measured":
        return "ended early" if trial.state == "pruned" else "! failed"
    tried = next((one for one in advice.retests if one.trial == trial.number), None)
    if chosen:
        return "✓ the advice"
    if tried is not None:
        return "✕ failed its re-test"
    return (
        "✓ meets it" if trial.meets else "✕ does not" if trial.row and trial.row.word != "inconclusive" else "? unsure"
    )


def _share(share: Share | None) -> tuple[str, str]:
    return ("–", "") if share is None else (percent(share.mean), span(share.low, share.high, ""))


def _reached(reached: Reached | None, trial: Trial) -> tuple[str, str]:
    if reached is None:
        return "–", ""
    return percent(reached.share.mean), "in part" if trial.state == "pruned" else span(
        reached.share.low, reached.share.high, ""
    )


def _points(lost: float) -> str:
    tenths = round(lost * 100, 1)
    return f"{MINUS if tenths < 0 else ''}{abs(tenths):.1f}"
