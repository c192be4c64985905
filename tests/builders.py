"""Small hand-made records: what the tests of records, judge and store are fed. Nothing here was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from scipy.stats import binomtest

from unsmash.curves import Curve, Epoch
from unsmash.feature_record import FeatureMaps, Sheet
from unsmash.records import (
    Bound,
    Card,
    ClassRecord,
    ClassResult,
    Failure,
    InferenceRecord,
    InferenceResult,
    Pictures,
    Prototype,
    Result,
    Role,
    Run,
    Score,
    ThreatRecord,
    Utility,
)
from unsmash.subject import DataRecord, DefenceRecord, SplitRecord

N = 100
STRONG = Card(strong=True)


def share(hits: int, n: int = N, *, metric: str = "identification") -> Score:
    """A share of `hits` in `n`, its interval by scipy; the first victims are the ones found."""
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    values = tuple(float(victim < hits) for victim in range(n))
    return Score(metric, "share", "up", hits / n, float(interval.low), float(interval.high), n, values, "Wilson")


def figure(metric: str, mean: float, spread: float = 0.01, n: int = N) -> Score:
    """A metric that is no share, known to within `spread`; the victims' values lie evenly about the mean."""
    values = tuple(mean + spread * (2 * victim / (n - 1) - 1) for victim in range(n))
    leak = "down" if metric == "mse" else "up"
    return Score(metric, "", leak, mean, mean - spread, mean + spread, n, values, "bootstrap")  # type: ignore[arg-type]


def attack(
    name: str = "decoder",
    hits: int = 0,
    *scores: Score,
    n: int = N,
    threat: str = "query",
    card: Card = STRONG,
    role: Role = "attack",
    failure: str = "",
) -> Result:
    """An attack that identifies `hits` of `n` victims, with further scores as given."""
    found = {} if failure else {score.metric: score for score in (share(hits, n), *scores)}
    return Result(name, name, name.title(), role, threat, found, card=card, failure=failure)


def threat(name: str = "query", *, asked: bool = True, candidates: bool = False) -> ThreatRecord:
    """An adversary; with `candidates` one that holds the gallery."""
    grants = ("weights", "candidates") if candidates else ("queries", "shadow")
    return ThreatRecord(name, f"Title of {name}", f"The adversary {name} can", 1, asked, ("read",), ("guess",), grants)


def run(
    results: Sequence[Result] = (), threats: Sequence[ThreatRecord] | None = None, *, n: int = N, **changes: Any
) -> Run:
    """A finished run with those results, under one asked adversary unless others are given."""
    settled: dict[str, Any] = {
        "id": "0123456789ab",
        "experiment": {"data": {"kind": "digits"}, "attacks": [{"kind": "ridge", "images": 40}], "seed": 0},
        "seed": 0,
        "data": data(n),
        "split": SplitRecord("splitnn", "code", ((8,), (2, 3, 3)), 104, 64, 900, 80, 5000, ("gaussian",), 9000, True),
        "utility": Utility(share(90, n, metric="accuracy"), 0.1, 2),
        "threats": tuple(threats if threats is not None else (threat(),)),
        "results": tuple(results),
        "latency_ms": (1.5, 2.5),
    }
    return Run(**(settled | changes))


def data(n: int = N) -> DataRecord:
    """Digits, with as many victims."""
    sizes = {"train": 7, "victims": n}
    return DataRecord("digits", "Hand-made", ("digit", "digits"), (1, 8, 8), ("zero", "one"), sizes, "fade")


def class_record(recognised: int = 8, n: int = 10, *, confidence: float = 0.995, failure: str = "") -> ClassRecord:
    """A class attack whose images of `n` classes are read as their class `recognised` times, after one floor."""
    rows = tuple(
        Prototype(f"kind {i}", confidence, 0.1, 40 + i, "done", i == 1, i < recognised, 0.75, 0.5, 0.0625, 0.25, 0.375,
                  0.5, 0.125) for i in range(n)
    )  # fmt: skip
    scores = {"class_recognition": share(recognised, n, metric="class_recognition"), "class_ssim": figure(
        "class_ssim", 0.5, 0.05, n)}  # fmt: skip
    floor = ClassResult("miface/mean", "mean", "Class mean", "floor", "owner", rows, scores)
    done = ClassResult("miface", "miface", "Class inversion", "attack", "owner", rows, scores, {"tv": 0.5}, "Climbs.",
                       ("One start was flat.",))  # fmt: skip
    broken = ClassResult("miface", "miface", "Class inversion", "attack", "owner", failure=failure)
    owner = ThreatRecord("owner", "Holds both halves", "Someone can", 1, False, ("run",), (), ("server", "weights"))
    return ClassRecord((broken,) if failure else (floor, done), (owner,), 1 / n)


def inference_record(right: int = 80, n: int = N) -> InferenceRecord:
    """An attack on labels that has `right` of `n`, and a probe of an attribute after its floor."""
    labels = InferenceResult(
        "gradient_cosine", "gradient_cosine", "Direction", "attack", "labels", "label of each training image", "reader",
        {"inferred": share(right, n, metric="inferred")}, {"inferred": 0.125},
        {"pass": (1.0, 2.0), "inferred": (0.5, 0.75)},
        True, STRONG, {"anchors": 1}, "Points.", ("It knew two labels.",),
    )  # fmt: skip
    floor = InferenceResult(
        "probe/ink/label", "probe", "From the label", "floor", "attribute", "ink", "",
        {"inferred": share(50, n, metric="inferred")}, {"inferred": 0.375},
    )  # fmt: skip
    failed = InferenceResult(
        "probe", "probe", "Probe", "attack", "attribute", "ink", "query", failure="MemoryError: no"
    )
    reader = ThreatRecord("reader", "Reads the gradients", "Someone can", 1, False, ("read",), (), ("gradients",))
    return InferenceRecord((labels, floor, failed), (reader,))


def full_run() -> Run:
    """A run that fills every field of every record, so that a test can change each."""
    results = (
        attack("mean_image", 1, figure("ssim", 0.1), threat="", role="floor", card=Card()),
        dataclasses.replace(
            attack("decoder", 7, figure("mse", 0.02), figure("ssim", 0.5)),
            ranks=(1, 2, 5),
            matcher="l2",
            card=Card(True, False, True, ("identifies 98 % on the undefended cut",)),
            settings={"size": "small", "epochs": 3, "rate": 0.003, "list": [1, {"a": None}]},
            summary="Ünïcode, ≤ 5 %, and a line separator \u2028 in between.",
        ),
        attack("ridge", failure="MemoryError: no message"),
    )
    shares = Bound("ceiling_messages", "At most", 0.1, "share", "anyone", ("10 symbols", "W/N"), error=0.01)
    plain = run()
    assert plain.split is not None
    armed = DefenceRecord("gaussian", "gaussian(sigma=1.0)", "Blurs. Does not hide.", "none", "1965", "free", "always")
    return run(
        results,
        (threat(), threat("gallery", asked=False, candidates=True)),
        split=dataclasses.replace(
            plain.split, earlier="conv", later="fc", notes=("Clip 3.2 was learned.",), armed=(armed, armed)
        ),
        bounds=(shares, Bound("epsilon@16", "Local ε", None, "ε", "any two", reason="nothing is random", queries=16)),
        utility=Utility(share(90, metric="accuracy"), 0.125, 2, share(95, metric="accuracy")),
        classes=class_record(),
        inferences=inference_record(),
        dependence={"dcor": figure("dcor", 0.4), "dcor_compat": figure("dcor_compat", 0.6)},
        recogniser=share(97, metric="recognition"),
        pictures=Pictures((3, 1), ("worst", "least"), ("zero", "one"), "by rank", 1.25, ("decoder",)),
        curves=(
            Curve("victim", "train", "cross-entropy", (Epoch(1, 2.25, 2.5), Epoch(2, 1.5, 1.75))),
            Curve("decoder", "decoder", "squared error", (Epoch(0, None, 0.5), Epoch(1, 0.25, 0.375)), True),
        ),
        maps=FeatureMaps(
            (0, 1),
            (
                Sheet("smashed", (8, 6, 6), (1, 4), (-0.5, 0.0), (1.5, 2.0), 2),
                Sheet("release", (8,), (), (-1.25,), (1.75,)),
            ),
            3,
        ),
        notes=("one", "two"),
        failure=Failure("TrainingError", "NaN at step 3", "victim"),
        started="2026-01-02T03:04:05+00:00",
        seconds={"total": 3.25},
        environment={"torch": "2"},
        command="unsmash audit",
    )
