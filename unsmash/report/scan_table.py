"""A scan's table: every cut in the order the network runs, with what it sends, costs and gives away."""

from __future__ import annotations

from unsmash.records import Result, Score
from unsmash.report.page_parts import Setting
from unsmash.report.words import compact, decimal, milliseconds, percent, plural, span, whole
from unsmash.scan_record import Cut, Scan
from unsmash.scan_verdict import knee, strongest

COLUMNS = (
    "Sends",
    "Bytes",
    "8 bits",
    "Packed",
    "Device MACs",
    "Weights",
    "Latency",
    "Ridge",
    "Decoder",
    "SSIM",
    "With the list",
    "dCor",
    "Verdict",
)
WORDS = {"leaks": "✕ leaks", "passes": "✓ within", "inconclusive": "? no verdict"}


def rows(scan: Scan) -> tuple[Setting, ...]:
    """A line for each cut; the one that may be tried is marked."""
    best = knee(scan)
    return tuple(_row(scan, cut, front=cut is best) for cut in scan.cuts)


def caption(scan: Scan) -> str:
    """How the columns were made."""
    fewest, most = min(cut.images for cut in scan.cuts), max(cut.images for cut in scan.cuts)
    images = whole(most) if fewest == most else f"{whole(fewest)} to {whole(most)}"
    fewer = "" if fewest == most else ", fewer where more crosses"
    text = (
        f"N = {plural(scan.n, scan.data.noun)}, who are also the candidates; under a share its 95\u202f% interval"
        " (Wilson). Bytes: as computed; 8 bits a number between the message's own ends; those deflated, mean over the"
        f" victims. Ridge and decoder learned from {images} images of the adversary's{fewer}. SSIM: the strongest"
        " attack's. With the list: whoever holds candidates and model. dCor: bias-corrected distance correlation, no"
        " measure of leakage. Latency: median and 95th percentile of the device half for one image, on the machine"
        " that scanned, as busy as it was."
    )
    if any(cut.control for cut in scan.cuts):
        text += " The control was not asked about: there the attacks must show that they work."
    return text


def times(cut: Cut, scan: Scan) -> str:
    """What is sent as it is, by the raw 8-bit picture's bytes."""
    ratio = cut.bytes_raw / scan.bytes_input
    return whole(ratio) if ratio >= 10 else f"{ratio:.2g}"


def _row(scan: Scan, cut: Cut, *, front: bool) -> Setting:
    ridge, decoder, gallery = (cut.result(name) for name in ("ridge", "decoder", "gallery"))
    verdict = "control" if cut.control else WORDS[cut.word]
    if cut.word == "passes" and not cut.good and not cut.control:
        verdict = "✕ too dear"
    p50, p95 = (*cut.latency_ms, 0.0, 0.0)[:2]
    cells = (
        ("×".join(map(str, cut.shape)), ""),
        (whole(cut.bytes_raw), f"{times(cut, scan)} × picture"),
        (whole(cut.bytes_quantised), ""),
        (whole(cut.bytes_compressed), ""),
        (compact(cut.device_macs), percent(cut.device_macs / max(scan.whole_macs, 1))),
        (compact(cut.device_parameters), ""),
        (milliseconds(p50), f"to {milliseconds(p95)}"),
        _share(ridge),
        _share(decoder),
        (_ssim(strongest(cut)), ""),
        _share(gallery),
        (decimal(cut.dependence, 2), ""),
        (verdict, ""),
    )
    reasons = cut.reasons if cut.word == "inconclusive" or verdict == "✕ too dear" else ()
    also = (f"also {', '.join(cut.also[:2])}",) if cut.also else ()
    return Setting(cut.name, "", "; ".join([*also, *reasons]), cells, cut.word, front)


def _share(result: Result | None) -> tuple[str, str]:
    if result is None or result.failure:
        return "–", "did not finish" if result is not None else ""
    score: Score = result.scores["identification"]
    told = "not counted" if not result.card.valid else span(score.low, score.high, "")
    return percent(score.mean), told


def _ssim(best: Result | None) -> str:
    value = best.mean("ssim") if best is not None else None
    return "–" if value is None else decimal(value, 2)
