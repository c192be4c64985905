"""Scans that could have been measured: what the tests of their verdicts and of their page are fed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unsmash.metrics.intervals import wilson
from unsmash.records import Card, Pictures, Result, Score, ThreatRecord, Utility
from unsmash.scan_record import Cut, Scan
from unsmash.scan_verdict import judged
from unsmash.subject import DataRecord

N = 500
QUERY = ThreatRecord("query", "Sees one message", "One message lets an outsider", 1, True, (), (), ("queries",))
GALLERY = ThreatRecord("gallery", "Holds the list", "Who holds the list can", 1, False, (), (), ("candidates",))


def share(count: float, n: int = N, metric: str = "identification") -> Score:
    low, high = wilson(count, n)
    return Score(metric, "share", "up", count / n, low, high, n, (), "Wilson")


def plain(value: float, metric: str) -> Score:
    return Score(metric, "", "up", value, value, value, N, (), "bootstrap")


def result(name: str, count: float, role: Any = "attack", threat: str = "query", **card: Any) -> Result:
    scores = {"identification": share(count)}
    if role == "attack":
        scores |= {"ssim": plain(count / N, "ssim"), "mse": plain(0.1, "mse")}
    ranks = tuple(1 if victim < count else 3 for victim in range(N))
    title = {"ridge": "Ridge regression", "decoder": "Residual decoder"}.get(name, name)
    return Result(name, name, title, role, threat, scores, ranks, card=Card(**card))


def cut(place: int, ridge: float, decoder: float, gallery: float = N, **more: Any) -> Cut:
    """The cut at that depth, from how many each attack identifies."""
    width = 4096 >> place
    settled: dict[str, Any] = {
        "name": f"layer{place}", "also": (), "shape": (width,), "bytes_raw": 4 * width, "bytes_quantised": width + 8,
        "bytes_compressed": width * 0.7, "device_macs": 10**6 * (place + 1), "device_parameters": 1000 * (place + 1),
        "latency_ms": (0.5 + place, 0.9 + place), "images": 1500, "quantised": share(gallery), "dependence": 0.8,
        "results": (result("ridge", ridge), result("decoder", decoder, beats_ridge=True),
                    result("gallery", gallery, "ceiling", "gallery", strong=True)),
    }  # fmt: skip
    return Cut(**(settled | more))


def scan(cuts: Sequence[Cut], budget: str = "identification>0.05", **more: Any) -> Scan:
    """A judged scan of those cuts."""
    data = DataRecord(
        "faces", "Faces (64×64)", ("face", "faces"), (3, 64, 64), ("a", "b"), {"victims": N, "train": 900}, "f1f2"
    )
    settled: dict[str, Any] = {
        "id": "5ca115ca115c", "experiment": {"data": {"kind": "faces"}}, "seed": 0, "model": "resnet18", "data": data,
        "threats": (QUERY, GALLERY),
        "floors": (result("chance", 1, "floor", ""), result("mean_image", 1, "floor", ""),
                   result("label_only", 9, "floor", "")),
        "utility": Utility(share(900, 1000, "accuracy"), 0.3, 8), "whole_macs": 10**7, "whole_parameters": 10**5,
        "pictures": Pictures((0, 20, 60, 300), rule="drawn by lot, the same for every cut"),
        "flags": ("--data", "faces", "--model", "torchvision:name=resnet18"), "environment": {"torch": "2"},
        "command": "unsmash scan --data faces", "seconds": {"total": 30.0},
    }  # fmt: skip
    return judged(Scan(cuts=tuple(cuts), **(settled | more)), budget)


def falling(*counts: float, **more: Any) -> Scan:
    """Cuts from shallow to deep whose best attack identifies so many."""
    return scan([cut(place, count * 0.9, count) for place, count in enumerate(counts)], **more)
