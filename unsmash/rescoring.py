"""Stored guesses scored again, by other metrics too. What `unsmash score` and `unsmash.score()` both call.

Nothing is attacked: the guesses come from the run's folder, or from somebody else's file, the true images from the data
set again. A figure that the run has already comes out as it was recorded; where it does not, that is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unsmash import guesses as kept
from unsmash import scoring
from unsmash.auditing import still
from unsmash.errors import ConfigError, RecordError
from unsmash.events import Sink, silent
from unsmash.lab import Lab
from unsmash.metrics.base import Metric
from unsmash.metrics.further import FURTHER
from unsmash.metrics.identification import by_similarity, identify
from unsmash.metrics.images import MS_SSIM, MSE, PSNR, SSIM
from unsmash.pipeline import floors_of
from unsmash.recogniser import Recogniser, recogniser
from unsmash.records import Result, Run, Score
from unsmash.reopening import images_of, record_of
from unsmash.split import SplitModel
from unsmash.threat import Threat
from unsmash.view import Scene, make_scene, observe

PIXELS: dict[str, Metric] = {metric.name: metric for metric in (MSE, PSNR, SSIM, MS_SSIM, *FURTHER)}
SEEN = ("feature_identification", "recognition")
"""Metrics that take the independent recogniser"""

METRICS = ("identification", *SEEN, *PIXELS, "dcor")


@dataclass(frozen=True)
class Row:
    """One metric of one attack."""

    attack: str
    threat: str
    score: Score
    floor: float | None
    """What the best guess that does not look at the release reaches; None where the metric has no floor"""
    floor_name: str
    data_range: str
    """Values of a pixel that the metric is computed on; empty for what is no image"""
    recorded: float | None = None
    """The same figure in the run's record; None where it has none"""


@dataclass(frozen=True)
class Rescored:
    """All rows, and what they were scored against."""

    run: str
    victims: int
    noun: str
    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()
    """What could not be scored by all of the metrics, a sentence each"""
    strongest: str = ""
    """Of somebody else's guesses: what the run's own strongest attack identifies, in a sentence"""


@still()
def score(
    run: str | Path,
    metrics: Sequence[str] = (),
    *,
    guesses: str | Path | None = None,
    out: str | Path = "runs",
    root: Path | None = None,
    progress: Sink = silent,
) -> Rescored:
    """Score a run's guesses, or somebody else's at the same victims, without attacking.

    Args:
        run: its id, a beginning of it that no other run in `out` shares, or its folder.
        metrics: names from `METRICS`; those the run has where none is named.
        guesses: a safetensors file with a tensor `guess` [n, c, h, w] in [0, 1], row i for victim i.
        out: the folder of runs.
        root: where data sets lie; else UNSMASH_DATA.
        progress: takes events.

    Raises:
        UnsmashError: no such run, other images, an unknown metric, or guesses that cannot be scored.

    >>> for row in score("3f9c", ["nmi"]).rows:                                                # doctest: +SKIP
    ...     print(row.attack, row.score.mean, row.floor)
    """
    store, record = record_of(run, Path(out))
    assert record.data is not None
    shape = record.data.input_shape
    chosen = _chosen(metrics, record, shape)
    answers: Mapping[str, Any]
    if guesses is None:
        answers = kept.load(store.folder(record.id))
    else:
        answers = {Path(guesses).stem: kept.handed_in(Path(guesses), (record.data.sizes["victims"], *shape))}
    lab = Lab(sink=progress, seed=record.seed)
    splits = images_of(record, lab, root)
    victims, shadow = splits.victims, splits.shadow
    scene = make_scene(
        victims.pixels, victims.labels, shadow.pixels, shadow.labels, len(splits.classes), lab.at("scene")
    )
    eye = None
    if set(chosen) & set(SEEN):
        with lab.stage("recogniser"):
            seen, count = splits.validator, len(splits.classes)
            eye = recogniser(seen.pixels, seen.labels, count, lab.at("recogniser"), store.cache)
    scorer = _Scorer(record, scene, eye, lab)
    rows = [row for name, answer in answers.items() for row in scorer.rows(name, torch.from_numpy(answer), chosen)]
    if guesses is None:
        rows = _as_recorded(rows, record)
        failed = [one for one in record.results if one.failure]
        scorer.left_out += [f"{one.name} did not finish: {one.failure}" for one in failed]
    return Rescored(
        record.id,
        len(victims),
        splits.noun[1],
        tuple(_ordered(rows, record)),
        tuple(scorer.left_out),
        strongest=_strongest(record) if guesses is not None else "",
    )


def differing(found: Rescored) -> list[Row]:
    """Rows whose figure is not the one in the run's record."""
    return [row for row in found.rows if row.recorded is not None and row.recorded != row.score.mean]


class _Scorer:
    """Scores guesses against one scene; the floors of a metric are scored once."""

    def __init__(self, record: Run, scene: Scene, eye: Recogniser | None, lab: Lab) -> None:
        self.record, self.scene, self.eye = record, scene, eye
        # floors do not look at what is sent: any network will do
        blind = SplitModel(nn.Identity(), nn.Flatten()).eval()
        view = observe(blind, scene, Threat(), lab)
        self.floors = [(one.name, guess) for one, guess in floors_of(view, scene, None, lab) if guess is not None]
        self.known: dict[str, tuple[float | None, str]] = {}
        self.left_out: list[str] = []

    def rows(self, name: str, answer: Tensor, metrics: Sequence[str]) -> Iterator[Row]:
        """A row for each metric that this answer can be scored by."""
        result = next((one for one in self.record.results if one.name == name), None)
        threat = result.threat if result else ""
        images = answer.ndim == 4
        self._require_size(name, answer)
        if not images and set(metrics) != {"identification"}:
            self.left_out.append(f"{name} names candidates and draws no images: identification is all it has")
        for metric in metrics if images else [one for one in metrics if one == "identification"]:
            score = self.image_score(metric, answer) if images else self._listed(answer)
            if score is None:
                self.left_out.append(f"{metric} of {name}: the data has too few classes that are known")
                continue
            values = PIXELS[metric].data_range if metric in PIXELS else MSE.data_range
            yield Row(name, threat, score, *self._floor(metric), data_range=values if images else "")

    def image_score(self, metric: str, guess: Tensor) -> Score | None:
        """One metric of images [n, c, h, w]; None where the recogniser is asked and there is none."""
        truth, guess = self.scene.victims, guess.float().clamp(0, 1)
        if metric == "identification":
            return scoring.share_score(metric, identify(guess, truth).hits)
        if metric == "dcor":
            return scoring.dcor_score(truth, guess)
        if metric in PIXELS:
            return scoring.pixel_score(PIXELS[metric], truth, guess)
        if self.eye is None:
            return None
        if metric == "feature_identification":
            return scoring.feature_score(guess, truth, self.eye)
        return scoring.recognition_score(guess, self.scene, self.eye) if (self.scene.labels >= 0).any() else None

    def _listed(self, likelihood: Tensor) -> Score:
        """Identification by a table of likelihoods [n, N]."""
        hits = by_similarity(likelihood, "likelihood", self.scene.place).hits
        return scoring.share_score("identification", hits)

    def _floor(self, metric: str) -> tuple[float | None, str]:
        """The floor that comes nearest to a leak: chance and `send only the label` count where identities do."""
        if metric not in self.known:
            scores = {name: self.image_score(metric, guess) for name, guess in self.floors}
            if metric == "identification":
                recorded = {one.name: one.scores.get(metric) for one in self.record.of_role("floor")}
                scores = recorded | scores
            found = {name: one for name, one in scores.items() if one is not None}
            best = max(found, key=lambda name: _leak(found[name]), default="")
            self.known[metric] = (found[best].mean, best) if best else (None, "")
        return self.known[metric]

    def _require_size(self, name: str, answer: Tensor) -> None:
        truth = self.scene.victims
        if tuple(answer.shape) not in (tuple(truth.shape), (len(truth), len(truth))):
            raise RecordError(
                f"run {self.record.id}: the guesses of {name} have shape {list(answer.shape)}, the victims "
                f"{list(truth.shape)}; was {kept.GUESSES} taken from another run?"
            )


def _chosen(metrics: Sequence[str], record: Run, shape: tuple[int, ...]) -> list[str]:
    """The metrics asked for, or those of the run.

    Raises:
        ConfigError: one does not exist, or needs larger images.
    """
    offered = [name for name in METRICS if name not in PIXELS or PIXELS[name].fits(shape)]
    for name in metrics:
        if name in METRICS and name not in offered:
            size = f"{shape[-2]}×{shape[-1]}"
            hint = f"{name} needs images of at least {PIXELS[name].least}×{PIXELS[name].least}, these are {size}"
            raise ConfigError("--metric", got=name, allowed=offered, hint=hint)
        if name not in METRICS:
            raise ConfigError("--metric", got=name, allowed=offered)
    had = {metric for result in record.results for metric in result.scores}
    return list(dict.fromkeys(metrics)) or [name for name in offered if name in had]


def _leak(score: Score) -> float:
    return score.mean if score.leak == "up" else -score.mean


def _as_recorded(rows: Sequence[Row], record: Run) -> list[Row]:
    """The rows with what the run has recorded beside them."""
    results: dict[str, Result] = {one.name: one for one in record.results}
    return [
        replace(row, recorded=results[row.attack].mean(row.score.metric)) if row.attack in results else row
        for row in rows
    ]


def _strongest(record: Run) -> str:
    found = {
        one.name: one.scores["identification"] for one in record.of_role("attack") if one.card.valid and one.scores
    }
    if not found:
        return ""
    name = max(found, key=lambda one: found[one].mean)
    return f"the run's strongest attack, {name}, identifies {found[name].mean:.1%}"


def _ordered(rows: Sequence[Row], record: Run) -> list[Row]:
    """In the order of the run's results."""
    names = [result.name for result in record.results]
    return sorted(rows, key=lambda row: names.index(row.attack) if row.attack in names else -1)


def summary(found: Rescored) -> dict[str, Any]:
    """Everything as one JSON document."""
    rows = [
        {"attack": row.attack, "threat": row.threat}
        | {name: value for name, value in asdict(row.score).items() if name != "values"}
        | {"floor": row.floor, "floor_name": row.floor_name, "data_range": row.data_range, "recorded": row.recorded}
        | {"values": list(row.score.values)}
        for row in found.rows
    ]
    return {
        "run": found.run,
        "victims": found.victims,
        "scores": rows,
        "left_out": list(found.left_out),
        "strongest": found.strongest,
    }


def print_rows(found: Rescored) -> None:
    """A table of attacks and metrics."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from unsmash.shelf import width

    console = Console(highlight=False, width=width())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("attack", "metric", "value", "95 % interval", "floor", "data range", "more is", "n"):
        table.add_column(title, justify="right" if title in ("value", "n") else "left", overflow="fold", no_wrap=True)
    last = ""
    for row in found.rows:
        one = row.score
        interval = "–" if one.method.startswith("none") else f"{_figure(one, one.low)} – {_figure(one, one.high)}"
        floor = "–" if row.floor is None else f"{_figure(one, row.floor)} ({row.floor_name})"
        leak = "leak" if one.leak == "up" else "safety"
        name = "" if row.attack == last else escape(row.attack)
        last = row.attack
        figures = (_figure(one, one.mean), interval, floor, escape(row.data_range) or "–", leak, str(one.n))
        table.add_row(name, one.metric, *figures)
    console.print(table)
    told = f"{found.victims} private {found.noun} of run {found.run}"
    console.print("; ".join(filter(None, (told, found.strongest))), markup=False)
    for line in found.left_out:
        console.print(f"  {line}", markup=False)
    for row in differing(found):
        console.print(
            f"  not as recorded: {row.score.metric} of {row.attack} is {row.score.mean:.6g}, the run has "
            f"{row.recorded:.6g}: another machine, another version, or edited guesses",
            markup=False,
        )


def _figure(score: Score, value: float) -> str:
    if score.unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.2f} dB" if score.unit == "dB" else f"{value:.4f}"
