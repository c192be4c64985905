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

from unsmash.records import Bound, Card, Failure, Pictures, Result, Run, Score, ThreatRecord, Utility
from unsmash.subject import DataRecord, DefenceRecord, SplitRecord
from unsmash.verdicts import AdversaryVerdict, Verdict, Word

N = 500
GROUPS = ("worst",) * 6 + ("typical",) * 3 + ("least",) * 3
EXACT = Card(strong=True, evidence=("Exact: it is Bayes' rule.",))
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
BURST = ThreatRecord(
    "burst",
    "Sees 16 moved frames of the same image",
    "A burst of 16 frames lets an outsider",
    1,
    True,
    ("read the messages of 16 slightly moved frames of the same image that leaves the device",),
    ("open the model's weights", "hold a list of candidates"),
    ("queries", "shadow"),
    16,
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
        scores=scores, ranks=ranks, matcher="cosine", summary=summary, failure=failure,
        card=card if role == "attack" else EXACT if role == "ceiling" else Card(),
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


def bound(name: str, value: float | None, unit: str, *told: str, k: int = 1, covers: str = "any attacker") -> Bound:
    """A bound for `k` messages: what was told is its premises, or the reason why it has no value."""
    title = {"epsilon": "Local ε", "converse": "No release this useful identifies less"}.get(name, f"Title of {name}")
    why = {"premises": told} if value is not None else {"reason": told[0]}
    return Bound(name if k == 1 else f"{name}@{k}", title, value, unit, covers, queries=k, **why)  # type: ignore[arg-type]


def coded(symbols: float = 10, n: int = N) -> tuple[Bound, ...]:
    """The device sends one of so many symbols, nothing random: all that is proven and measured then."""
    rests = ("Tanh at 'code' keeps each number from -1 to 1", f"The device sends one of {symbols:g} symbols.")
    still = "The release is not random: two inputs that differ in it are told apart for certain"
    made: list[Bound] = []
    for k in (1, 16):
        made += [
            bound("epsilon", None, "ε", still, k=k),
            bound("messages", math.log2(symbols), "bits", *rests, "Counted by: values", k=k),
            bound("ceiling_messages", symbols / n, "share", *rests, f"W/N of {n}: at most {symbols:g} messages", k=k),
        ]
    return (
        *made,
        bound("converse", 9.5 / n, "share", "10 classes among the candidates, class-averaged accuracy 0.950"),
        bound("gallery_mmse", 0.0402, "squared error a pixel", "Exact for a uniform prior"),
        bound("worst_posterior", 0.125, "share", "Posterior of the true candidate"),
        bound("smallest_cell", 8.0, "victims", "10 different messages were seen"),
        bound("epsilon_at_least", 1.72, "ε", "0.020 of 500 identified; no finite ε is claimed"),
    )


def blurred_bounds(n: int = N) -> tuple[Bound, ...]:
    """A clip and Gaussian noise of finite ε: a ceiling for one message, none for sixteen, and two for the error."""
    clip = "Every release is scaled down to an L2 norm of at most 4 before the noise."
    return (
        bound("epsilon", 8.0, "ε", clip, "(ε, δ = 1e-05)"),
        bound("messages", 26.6, "bits", clip, "Counted by: ball"),
        bound("ceiling_gaussian", 20.36 / n, "share", clip, "C/σ = 0.83"),
        bound("epsilon", 49.9, "ε", clip, "(ε, δ = 1e-05)", k=16),
        bound("messages", 103.5, "bits", clip, "Counted by: ball", k=16),
        bound("ceiling_gaussian", 0.99999, "share", clip, "C/σ = 13.3", k=16),
        bound("converse", 9.0 / n, "share", "10 classes among the candidates"),
        bound("worst_posterior", 0.17, "share", "Posterior of the true candidate"),
        bound("dfil", 0.2225, "1/pixel²", "Mean over 500 images", covers="the release's sensitivity"),
        bound("unbiased", 0.0728, "squared error a pixel", "Mean over 500 images", covers="unbiased attackers only"),
        bound("van_trees_scalar", 0.00957, "squared error a pixel", "Mean over 500 images"),
        bound("van_trees_matrix", 0.00964, "squared error a pixel", "Two halves of 124 images"),
    )


def unbounded() -> tuple[Bound, ...]:
    """No defence: nothing finite."""
    still = "The release is not random: two inputs that differ in it are told apart for certain"
    return (
        bound("epsilon", None, "ε", still),
        bound("messages", None, "bits", "Nothing bounds how many messages can be told apart"),
        bound("converse", 9.0 / N, "share", "10 classes among the candidates"),
    )


def private() -> tuple[Bound, ...]:
    """DP-SGD: nothing about what is sent, and an ε for the training records."""
    told = ("(ε, δ)-differential privacy with δ = 0.0001, for one record more or less", "Poisson sampling")
    return (*unbounded(), bound("training_epsilon", 7.654, "ε", *told, covers="training records"))


CODEBOOK = DefenceRecord(
    "codebook",
    "codebook",
    "Hides everything but the symbol, from any attacker. It does not hide the symbol, nor an image alone in its cell.",
    "at most M messages",
    "Warner 1965",
    "training",
    "always",
)


def label_only(count: int = 10, n: int = N) -> Result:
    """The row for a device that sends its answer alone."""
    summary = "The whole network answers on the device: accuracy 96.0% of 500, 10,000,000 multiply-adds."
    found = result("label_only", "Send only the label", count, role="floor", n=n, summary=summary)
    return replace(found, scores={"identification": found.scores["identification"]}, ranks=())


def defended(one: Run, *armed: DefenceRecord, notes: Sequence[str] = ()) -> Run:
    """The run with those defences at its cut."""
    assert one.split is not None
    labels = tuple(record.label for record in armed)
    return replace(one, split=replace(one.split, armed=armed, defences=labels, notes=tuple(notes)))


def proved() -> tuple[list[Run], Verdict]:
    """A codebook that passes: 10 of 500 proven, measured and reached."""
    found = (*results(decoder=9, repeat=9, gallery=10)[:-1], label_only(),
             result("gallery", "With the candidates in hand", 10, threat="gallery", role="ceiling"))  # fmt: skip
    note = "The device sends its own label, one of 10 symbols; the server reads a table."
    runs = [defended(run(found, bounds=coded()), CODEBOOK, notes=[note])]
    return runs, verdict("passes", runs)


def half_proved() -> tuple[list[Run], Verdict]:
    """Gaussian noise with a clip: 20 of 500 proven from one message, nothing from sixteen."""
    runs = [run(results(decoder=9, repeat=30, gallery=18), bounds=blurred_bounds())]
    return runs, verdict("inconclusive", runs)


def trained_privately() -> tuple[list[Run], Verdict]:
    """DP-SGD, which leaks."""
    protects = "The records of the training set. The images sent at inference are not protected."
    dpsgd = DefenceRecord("dpsgd", "dpsgd", protects, "ε of the training records", "Abadi 2016", "training", "always")
    runs = [defended(run(bounds=private()), dpsgd, notes=["4 BatchNorm2d replaced by GroupNorm."])]
    return runs, verdict("leaks", runs)


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
