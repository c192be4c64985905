"""Run records that could have been measured, with pictures: what every test of the report is fed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from unsmash.records import (
    AdversaryVerdict,
    Card,
    DataRecord,
    Failure,
    Pictures,
    Result,
    Run,
    Score,
    SplitRecord,
    ThreatRecord,
    Utility,
    Verdict,
    Word,
)

N = 500
GROUPS = ("worst",) * 6 + ("typical",) * 3 + ("least",) * 3
GOOD = Card(strong=True, beats_ridge=True, evidence=("Without the defence it identifies 98.0 % of 500.",))

QUERY = ThreatRecord(
    "query",
    "Sees one message",
    "One message lets an outsider",
    1,
    True,
    ("read every message that leaves the device", "run the device half on images of their own", "know the defence"),
    ("open the model's weights", "hold a list of candidates", "see two messages of the same image"),
    ("queries", "shadow"),
)
REPEAT = ThreatRecord(
    "repeat",
    "Sees 16 messages of the same image",
    "Sixteen messages of the same image let an outsider",
    16,
    True,
    ("read 16 messages of the same image that leaves the device", "run the device half on images of their own"),
    ("open the model's weights", "hold a list of candidates"),
    ("queries", "shadow"),
)
GALLERY = ThreatRecord(
    "gallery",
    "Sees one message, holds the 500 candidates and the model",
    "Someone who holds the list of candidates can",
    1,
    False,
    ("read every message that leaves the device", "open the model's weights", "hold a list of candidates"),
    ("see two messages of the same image",),
    ("weights", "candidates"),
)


def wilson(count: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, written out apart from the package."""
    z, p = 1.959964, count / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def score(count: int, n: int = N, *, offset: int = 0, metric: str = "identification", values: bool = True) -> Score:
    """A share of `count` in `n`; the victims found are the first ones after `offset`."""
    low, high = wilson(count, n)
    found = tuple(float(offset <= index < offset + count) for index in range(n)) if values else ()
    return Score(metric, "share", "up", count / n, low, high, n, found, "Wilson")


def plain(metric: str, unit: str, mean: float, n: int = N) -> Score:
    """A metric that is no share."""
    return Score(metric, unit, "up", mean, mean * 0.95, mean * 1.05, n, (), "bootstrap")


def result(
    name: str,
    title: str,
    count: int,
    *,
    threat: str = "query",
    role: str = "attack",
    n: int = N,
    offset: int = 0,
    card: Card = GOOD,
    failure: str = "",
    summary: str = "",
) -> Result:
    """One attack, floor or ceiling that finds `count` victims."""
    scores = {"identification": score(count, n, offset=offset)}
    if role != "ceiling":
        quality = 0.2 + 0.6 * count / n
        scores |= {
            "feature_identification": score(max(0, count - 7), n, metric="feature_identification"),
            "recognition": score(min(n, count + 31), n, metric="recognition"),
            "ssim": plain("ssim", "", quality),
            "psnr": plain("psnr", "dB", 8 + 10 * quality),
            "mse": plain("mse", "", 0.1 * (1 - quality)),
        }
    ranks = tuple(1 if value else 2 + (index * 7) % 40 for index, value in enumerate(scores["identification"].values))
    if failure:
        scores, ranks = {}, ()
    return Result(
        name, name.split("@")[0], title, role, threat if role != "floor" else "",  # type: ignore[arg-type]
        scores=scores, ranks=ranks, matcher="cosine", card=card if role == "attack" else Card(), summary=summary,
        failure=failure,
    )  # fmt: skip


def results(decoder: int = 181, repeat: int = 468, gallery: int = 493, n: int = N) -> tuple[Result, ...]:
    """Two floors, three attacks on one message, one on sixteen, and the candidate list."""
    return (
        result("mean_image", "The average image, every time", 1, role="floor", n=n, summary="Ignores the message."),
        result("class_mean", "Only the label is sent", n // 50, role="floor", n=n, summary="The average of it."),
        result("ridge", "Ridge regression", max(1, int(decoder * 0.55)), n=n, summary="Closed form."),
        result("lookalike", "Nearest look-alike", max(1, int(decoder * 0.9)), n=n, offset=3,
               summary="The attacker's image whose release lies nearest."),
        result("decoder", "Residual decoder", decoder, n=n, summary="Learned, fed the release and the ridge image."),
        result("decoder@repeat", "Decoder on the median message", repeat, threat="repeat", n=n,
               summary="The same decoder on what sixteen messages pool to."),
        result("gallery", "With the candidates in hand", gallery, threat="gallery", role="ceiling", n=n,
               summary="The likeliest, given weights and noise law."),
    )  # fmt: skip


def run(found: Sequence[Result] | None = None, *, seed: int = 0, n: int = N, **changes: object) -> Run:
    """A finished run of digits through a noisy cut."""
    base = Run(
        id="9f3c41d2a07e",
        experiment={"data": {"kind": "digits"}, "seed": seed},
        seed=seed,
        data=DataRecord(
            kind="mnist",
            source="MNIST digits, 28 by 28, as published",
            noun=("image", "images"),
            input_shape=(1, 8, 8),
            classes=tuple("0123456789"),
            sizes={"train": 2000, "val": 500, "shadow": 2000, "validator": 1000, "victims": n},
            fingerprint="c0ffee00c0ffee00",
        ),
        split=SplitRecord(
            model="le_net",
            at="fc",
            shapes=((500,),),
            bytes_sent=2000,
            bytes_input=784,
            device_parameters=4_634_420,
            server_parameters=5_010,
            device_macs=5_200_000,
            defences=("Laplace noise 1.0",),
            stochastic=True,
            later="relu3",
        ),
        utility=Utility(score(477, 500, metric="accuracy"), 0.112, 5, score(480, 500, metric="accuracy")),
        threats=(QUERY, REPEAT, GALLERY),
        results=tuple(found if found is not None else results(n=n)),
        dependence={"dcor": plain("dcor", "", 0.41)},
        pictures=Pictures(
            victims=(*range(0, 60, 10), 200, 230, 260, 494, 496, 498),
            groups=GROUPS,
            labels=tuple(str(index % 10) for index in range(12)),
            rule="worst hit: most attacks succeed, at most two per class; typical: nearest the median rank",
            sent_scale=1.5,
            shown=("ridge", "decoder", "decoder@repeat"),
        ),
        started="2026-01-02T10:41:12Z",
        seconds={"data": 1.2, "train": 21.4, "decoder": 26.0, "total": 59.3},
        latency_ms=(0.84, 1.02),
        environment={"unsmash": "0.1.0", "torch": "2.9.0", "machine": "x86_64, 2 threads"},
        command="unsmash audit mnist --at fc --defence laplace:scale=1.0",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def verdict(word: Word, runs: Sequence[Run], limit: float = 0.05, sentence: str = "") -> Verdict:
    """A judgement on the runs' own numbers, put together as the audit would."""
    entries = []
    for threat in runs[0].threats:
        mine = [
            entry for entry in runs[0].results if entry.threat == threat.name and not entry.failure and entry.card.valid
        ]
        best = max(mine, key=lambda entry: entry.mean("identification") or 0, default=None)
        if best is None:
            entries.append(
                AdversaryVerdict(threat.name, "inconclusive", "", 0, N, 0, 0, limit, reason="no attack counts")
            )
            continue
        scores = [one.result(best.name).scores["identification"] for one in runs]
        mean = sum(entry.mean for entry in scores) / len(scores)
        low, high = min(entry.low for entry in scores), max(entry.high for entry in scores)
        own: Word = "leaks" if low > limit else "passes" if high <= limit else "inconclusive"
        union = {index for entry in mine for index, value in enumerate(entry.scores["identification"].values) if value}
        entries.append(
            AdversaryVerdict(
                threat.name, own, best.name, mean * scores[0].n, scores[0].n, low, high,
                limit if threat.asked else None, len(union), len(mine),
            )
        )  # fmt: skip
    first = next((entry for entry in entries if entry.word == word), entries[0])
    if word == "passes":
        first = max((entry for entry in entries if entry.limit is not None), key=lambda entry: entry.count)
    subject = next(threat.subject for threat in runs[0].threats if threat.name == first.threat)
    allowed = math.floor(limit * first.n + 1e-9)
    sentence = (
        sentence
        or {
            "leaks": f"{subject} pick out {first.count:.0f} of {first.n} private images. Your limit is {allowed}.",
            "passes": f"The strongest attacker tried picks out {first.count:.0f} of {first.n} private images."
            f" Your limit is {allowed}.",
            "inconclusive": f"No verdict: {first.count:.0f} of {first.n} is too close to your limit of {allowed}:"
            " more images or seeds are needed.",
        }[word]
    )
    code = {"leaks": 1, "passes": 0, "inconclusive": 3}[word]
    return Verdict(word, sentence, (), tuple(entries), f"identification>{limit}", code, len(runs))


def leaks() -> tuple[list[Run], Verdict]:
    """181 of 500 from one message, 468 from sixteen."""
    runs = [run()]
    return runs, verdict("leaks", runs)


def passes() -> tuple[list[Run], Verdict]:
    """The strongest finds 13 of 500, of 25 allowed."""
    runs = [run(results(decoder=9, repeat=13, gallery=132))]
    return runs, verdict("passes", runs)


def inconclusive() -> tuple[list[Run], Verdict]:
    """The decoder collapsed and ridge is too close to the limit; look-alike did not finish."""
    broken = Card(
        strong=False, collapsed=True, evidence=("Every guess is the same empty page, with the defence off as well.",)
    )
    found = [
        replace(entry, card=broken) if entry.kind == "decoder" else entry for entry in results(decoder=42, repeat=44)
    ]
    found[3] = result("lookalike", "Nearest look-alike", 0, failure="Ran out of memory after 12 of 500 victims.")
    runs = [run(found, threats=(QUERY, GALLERY))]
    return runs, verdict("inconclusive", runs)


def failed() -> tuple[list[Run], Verdict]:
    """Training went to NaN."""
    bare = Run(
        "0bad0bad0bad", {}, 3, failure=Failure("TrainingError", "loss is NaN at step 210; try a lower rate", "train")
    )
    return [bare], Verdict("inconclusive", "No verdict: the run did not finish.", (), (), "identification>0.05", 3)


def seeds() -> tuple[list[Run], Verdict]:
    """Three seeds that differ a little."""
    runs = [run(results(decoder=count, repeat=468 - place), seed=place) for place, count in enumerate((181, 170, 192))]
    return runs, verdict("leaks", runs)


def contaminated() -> tuple[list[Run], Verdict]:
    """Four images stand in two sets, and the user allowed it."""
    runs = [run()]
    data = runs[0].data
    assert data is not None
    data = replace(data, contamination=4, contamination_examples=("train 17 = victims 3",), near_duplicates=2)
    runs = [replace(runs[0], data=data)]
    return runs, verdict("leaks", runs)


@cache
def digits() -> np.ndarray:
    """Real handwritten digits, uint8 [n,1,8,8]."""
    return (load_digits().images / 16 * 255).astype(np.uint8)[:, None]


def blurred(images: np.ndarray, strength: float) -> np.ndarray:
    """Guesses: images mixed with the average one."""
    return np.rint(images * (1 - strength) + images.mean(0, keepdims=True) * strength).astype(np.uint8)


def save_pictures(folder: Path, one: Run, *, images: np.ndarray | None = None, sent: np.ndarray | None = None) -> Path:
    """Write the pictures of a run's twelve victims; digits and a flat noisy message unless others are given."""
    count = len(one.pictures.victims)
    originals = digits()[:count] if images is None else images[:count]
    noise = np.random.default_rng(7)
    message = noise.laplace(0, 1, (count, 500)).astype(np.float32) if sent is None else sent
    guesses = {
        f"guess/{name}": blurred(originals, strength)
        for name, strength in zip(one.pictures.shown, (0.6, 0.4, 0.15), strict=False)
    }
    save_file(
        {"original": np.ascontiguousarray(originals), "sent/0": message, **guesses}, folder / "pictures.safetensors"
    )
    return folder


def colour(seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Smooth colour images, uint8 [12,3,64,64], and feature maps that resemble them, float32 [12,20,32,32]."""
    noise = np.random.default_rng(seed)
    coarse = noise.uniform(0, 1, (12, 3, 5, 5))
    images = np.kron(coarse, np.ones((13, 13)))[:, :, :64, :64]
    mix = noise.normal(0, 1, (20, 3))
    maps = np.einsum("mc,pchw->pmhw", mix, images[:, :, ::2, ::2] - 0.5)
    return np.rint(images * 255).astype(np.uint8), maps.astype(np.float32)
