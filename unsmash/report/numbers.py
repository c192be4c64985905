"""All numbers in one table: what stands above is drawn from these, and the pixel metrics appear only here."""

from __future__ import annotations

from unsmash.records import Result, Score
from unsmash.report.evidence import HEADLINE, Evidence, unaware
from unsmash.report.parts import Table
from unsmash.report.trust import dependence
from unsmash.report.words import decimal, percent, plural, span

COLUMNS = {
    HEADLINE: "Identified",
    "feature_identification": "Identified by features",
    "recognition": "Recognised",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "psnr": "PSNR, dB",
    "mse": "MSE",
    "dcor": "dCor",
}
"""Metrics in the table's order; others follow under their own names"""

SHARES = (HEADLINE, "feature_identification", "recognition")
DIGITS = {"psnr": 1, "mse": 4}


def numbers(evidence: Evidence) -> Table:
    """Every result by every metric that any of them has."""
    present = list(dict.fromkeys(metric for result in evidence.results for metric in result.scores))
    metrics = [name for name in COLUMNS if name in present] + [name for name in present if name not in COLUMNS]
    columns = [COLUMNS.get(name, name.replace("_", " ")) for name in metrics]
    rows = [
        (result.title, _note(evidence, result), tuple(_cell(result, metric) for metric in metrics))
        for result in evidence.results
    ]
    caption = (
        f"N = {plural(evidence.n, evidence.nouns)}, which are also the candidates; pixels in the data range [0, 1]."
        " Identified: better of centred cosine and L2, ties by their share; in brackets the 95\u202f% interval"
        f"{_methods(evidence)}. Pixel metrics are companions: the same SSIM can go with very different shares."
    )
    return Table(tuple(columns), tuple(rows), " ".join([caption, dependence(evidence)]).strip())


def _note(evidence: Evidence, result: Result) -> str:
    threat = next((threat for threat in evidence.run.threats if threat.name == result.threat), None)
    note = "floor" if result.role == "floor" else threat.title if threat is not None else result.role
    if unaware(result):
        note = f"{note}; unaware of the defence"
    if result.failure:
        return f"{note}; did not finish"
    return note if result.card.valid else f"{note}; not counted"


def _cell(result: Result, metric: str) -> str:
    score = result.scores.get(metric)
    if score is None:
        return "–"
    if metric in SHARES or score.unit in ("share", "%"):
        return f"{percent(score.mean)}{_interval(score)}" if metric == HEADLINE else percent(score.mean)
    return decimal(score.mean, DIGITS.get(metric, 3))


def _interval(score: Score) -> str:
    return f" ({span(score.low, score.high, '')})"


def _methods(evidence: Evidence) -> str:
    methods = dict.fromkeys(result.scores[HEADLINE].method for result in evidence.results if HEADLINE in result.scores)
    known = [method for method in methods if method]
    return f" ({'; '.join(known)})" if known else ""
