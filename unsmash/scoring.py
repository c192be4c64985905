"""Where the truth meets the guess, and nowhere else: per-victim scores, intervals, ranks, collapse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.metrics.base import Metric
from unsmash.metrics.dependence import distance_correlation, distance_correlation_compat
from unsmash.metrics.identification import Matching, by_similarity, identify
from unsmash.metrics.images import pixel_metrics
from unsmash.metrics.intervals import bootstrap, wilson
from unsmash.recogniser import Recogniser
from unsmash.records import Card, Result, Score
from unsmash.split.model import Smashed, flat
from unsmash.view import Scene

COLLAPSE = 1e-3
"""Guesses whose variance over victims is below this share of the true images' count as one constant guess"""

WORSE = 1.02
"""A constant guess with more than this times the average image's error is an attack gone wrong"""

DCOR_ROWS = 500


def score_images(attack: Attack, name: str, threat: str, guess: Tensor, scene: Scene, eye: Recogniser | None) -> Result:
    """Score reconstructed images [n, c, h, w], clamped to [0, 1] before every metric."""
    truth, guess = scene.victims, guess.float().clamp(0, 1)
    matching = identify(guess, truth)
    scores = {"identification": share_score("identification", matching.hits)}
    for metric in pixel_metrics(tuple(truth.shape[1:])):
        scores[metric.name] = pixel_score(metric, truth, guess)
    if eye is not None:
        scores["feature_identification"] = feature_score(guess, truth, eye)
        if (scene.labels >= 0).any():
            scores["recognition"] = recognition_score(guess, scene, eye)
    scores["dcor"] = dcor_score(truth, guess)
    collapsed = is_collapsed(guess, truth, scene.shadow.mean(0))
    evidence = ("It gave nearly the same guess to every victim.",) if collapsed and attack.role != "floor" else ()
    card = Card(collapsed=collapsed and attack.role != "floor", evidence=evidence, exhibit=attack.exhibit)
    return _result(attack, name, threat, scores, matching, card)


def score_candidates(
    attack: Attack, name: str, threat: str, likelihood: Tensor, scene: Scene, *, exact: bool = True
) -> Result:
    """Score log-likelihoods [n, N] over the candidate list; `exact` says that the release's law is known."""
    matching = by_similarity(likelihood, "likelihood", scene.place)
    scores = {"identification": share_score("identification", matching.hits)}
    told = "Exact: it is Bayes' rule." if exact else "Approximate: the release's law has no closed form; no bound."
    return _result(attack, name, threat, scores, matching, Card(strong=exact or None, evidence=(told,)))


def chance(n: int) -> Result:
    """The floor of naming any candidate: 1/N."""
    hits = torch.full((n,), 1 / n, dtype=torch.float64)
    return Result(
        name="chance",
        kind="chance",
        title="Pure chance",
        role="floor",
        threat="",
        scores={"identification": share_score("identification", hits)},
        summary="Names any of the N candidates by lot.",
    )


def label_only(answers: Tensor, accuracy: Score, macs: int) -> Result:
    """What a candidate list gives away when the device sends its answer [n] and nothing else.

    All candidates with the same answer are equally likely, so a victim among m of them is found with chance 1/m. The
    attacker knows the network, so it knows each candidate's answer.
    """
    cells = answers.bincount()
    return Result(
        name="label_only",
        kind="label_only",
        title="Send only the label",
        role="floor",
        threat="",
        scores={"identification": share_score("identification", 1 / cells[answers].double())},
        summary=(
            f"The whole network answers on the device and sends its answer alone: accuracy {accuracy.mean:.1%} of "
            f"{accuracy.n}, {macs:,} multiply-adds."
        ),
    )


def dependence(victims: Tensor, release: Smashed) -> dict[str, Score]:
    """Distance correlation between inputs and release, both forms."""
    x, z = victims[:DCOR_ROWS].flatten(1), flat(release)[:DCOR_ROWS]
    return {
        "dcor": plain_score("dcor", distance_correlation(x, z), len(x)),
        "dcor_compat": plain_score("dcor_compat", distance_correlation_compat(x, z), len(x)),
    }


def pixel_score(metric: Metric, truth: Tensor, guess: Tensor) -> Score:
    """One pixel metric over all victims; images [n, c, h, w] in [0, 1]."""
    return mean_score(metric.name, metric.unit, metric.leak, metric(truth, guess))


def feature_score(guess: Tensor, truth: Tensor, eye: Recogniser) -> Score:
    """Identification in the recogniser's features."""
    return share_score("feature_identification", identify(eye.features(guess), eye.features(truth)).hits)


def recognition_score(guess: Tensor, scene: Scene, eye: Recogniser) -> Score:
    """The share of guesses that the recogniser reads as their victim's class, where that is known."""
    known = scene.labels >= 0
    return share_score("recognition", eye.recognises(guess[known], scene.labels[known]))


def dcor_score(truth: Tensor, guess: Tensor) -> Score:
    """Distance correlation of images and guesses, over the first victims."""
    return plain_score("dcor", distance_correlation(truth[:DCOR_ROWS], guess[:DCOR_ROWS]), len(truth))


def is_collapsed(guess: Tensor, truth: Tensor, average: Tensor) -> bool:
    """True when the guesses hardly differ from victim to victim and are worse than the average image [c, h, w].

    Where nothing can be learned, the average image for everyone is the best answer, and no failure of the attack.
    """
    spread, true_spread = guess.double().var(0).mean().item(), truth.double().var(0).mean().item()
    error, floor = (guess - truth).square().mean().item(), (average - truth).square().mean().item()
    return spread < COLLAPSE * true_spread and error > WORSE * floor


def share_score(metric: str, hits: Tensor) -> Score:
    """A share with Wilson's interval."""
    low, high = wilson(hits.sum().item(), len(hits))
    values = tuple(round(value, 6) for value in hits.tolist())
    return Score(metric, "share", "up", hits.mean().item(), low, high, len(hits), values, "Wilson")


def mean_score(metric: str, unit: str, leak: Literal["up", "down"], values: Tensor) -> Score:
    """A mean with a bootstrap interval over victims."""
    rows = [round(value, 6) for value in values.tolist()]
    low, high = bootstrap(rows)
    return Score(metric, unit, leak, values.mean().item(), low, high, len(rows), tuple(rows), "bootstrap")


def plain_score(metric: str, value: float, n: int) -> Score:
    """One figure over all rows, without an interval."""
    return Score(metric, "", "up", value, value, value, n, (), "none: one figure over all rows")


def order_by_identification(results: Sequence[Result]) -> tuple[Result, ...]:
    """Weakest first, floors before attacks before ceilings; threats keep their order."""
    place = {threat: index for index, threat in enumerate(dict.fromkeys(result.threat for result in results))}
    roles = {"floor": 0, "attack": 1, "ceiling": 2}
    return tuple(
        sorted(results, key=lambda r: (roles[r.role], place[r.threat], r.mean("identification") or 0.0, r.name))
    )


def _result(attack: Attack, name: str, threat: str, scores: dict[str, Score], matching: Matching, card: Card) -> Result:
    return Result(
        name=name,
        kind=attack.kind,
        title=attack.heading,
        role=attack.role,
        threat=threat,
        scores=scores,
        ranks=tuple(int(rank) for rank in matching.ranks),
        matcher=matching.matcher,
        card=card,
        settings=attack.model_dump(mode="json"),
        summary=type(attack).summary(),
    )
