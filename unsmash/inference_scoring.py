"""Where guessed labels and attributes meet the truth: shares with Wilson's interval, the leak AUC, and their chance.

Kept apart from the scores of reconstructions: nothing here is a picture, and nobody is identified by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unsmash.attacks.base import LabelGuess
from unsmash.attribute import Attribute
from unsmash.metrics.ranking import auc, auc_interval
from unsmash.records import Score
from unsmash.scoring import mean_score, share_score

RARE = 0.5
"""The rarest class counts as rare where it has at most this share of the commonest one's images"""

SHUFFLES = 20

STRONG = 0.5
"""Part of the way from chance to the most that can be known, which an attack must go to be called strong"""


@dataclass(frozen=True)
class Scored:
    """What a guess is worth."""

    of: str
    scores: dict[str, Score] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    course: dict[str, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def score_labels(guess: LabelGuess, truth: Tensor, names: Sequence[str]) -> Scored:
    """Scores of training images held against their labels [n]; those that the adversary was told are left out."""
    truth = truth[: len(guess.scores)]
    counted = truth >= 0
    counted[guess.known] = False
    mine, truth = guess.scores[counted], truth[counted]
    if guess.sides == "rare":
        return _score_rare(mine, guess.passes[:, counted], guess.numbers, truth, names)
    named, notes = mine, _notes(guess, truth)
    chance = {"inferred": _commonest(truth), "leak_auc": 0.5}
    passes = list(guess.passes[:, counted])
    if guess.sides == "unnamed":
        chance["inferred"] = max(chance["inferred"], _shuffled(mine, truth))
        named, passes = _name(mine, truth), [_name(one, truth) for one in passes]
    scores = {"inferred": share_score("inferred", _hits(named, truth))}
    area = _areas(named, truth)
    if area is not None:
        scores["leak_auc"] = area
    course = {
        "pass": tuple(map(float, guess.numbers)),
        "inferred": tuple(_hits(p, truth).mean().item() for p in passes),
    }
    areas = [_areas(one, truth) for one in passes]
    if all(area is not None for area in areas):
        course["leak_auc"] = tuple(area.mean for area in areas if area is not None)
    return Scored("label of each training image", scores, chance, course, notes)


def score_attribute(one: Attribute, found: Tensor) -> Scored:
    """Log-probabilities [n, answers] of the victims' answers held against the true ones."""
    known = one.victims >= 0
    truth, guess = one.victims[known], found[known].argmax(1)
    hits = (guess == truth).double()
    counts = truth.bincount(minlength=found.shape[1])
    present = int((counts > 0).sum())
    weights = len(truth) / (present * counts[truth].double())
    scores = {
        "inferred": share_score("inferred", hits),
        "balanced": mean_score("balanced", "share", "up", hits * weights),
    }
    return Scored(one.name, scores, {"inferred": _commonest(truth), "balanced": 1 / present})


def from_label(one: Attribute, shadow_labels: Tensor, labels: Tensor) -> Tensor | None:
    """What the true label alone tells: log-shares [n, answers] among the adversary's images of the class.

    None where no image of the adversary's has both.
    """
    both = (shadow_labels >= 0) & (one.shadow >= 0)
    if not both.any():
        return None
    classes = int(max(shadow_labels.max(), labels.max())) + 1
    table = torch.zeros(classes + 1, len(one.answers), dtype=torch.float64)
    table.index_put_((shadow_labels[both], one.shadow[both]), torch.ones(1, dtype=torch.float64), accumulate=True)
    table += 1e-3 * table.sum(0) / table.sum()  # a class it has no image of: as all of them
    where = torch.where(labels < 0, torch.full_like(labels, classes), labels)
    return (table / table.sum(1, keepdim=True)).clamp(min=1e-12).log()[where]


def headline(scores: dict[str, Score]) -> str:
    """The score that a result is told by."""
    return "inferred" if "inferred" in scores else "leak_auc"


def succeeds(scored: Scored, most: float = 1.0) -> bool:
    """It went half of the way from chance to the most that can be known, and is above chance for certain."""
    if not scored.scores:
        return False
    name = headline(scored.scores)
    score, chance = scored.scores[name], scored.chance[name]
    return score.low > chance and score.mean >= chance + STRONG * (most - chance)


def _score_rare(
    scores: Tensor, passes: Tensor, numbers: tuple[int, ...], truth: Tensor, names: Sequence[str]
) -> Scored:
    counts = truth.bincount(minlength=len(names))
    there = [label for label in range(len(counts)) if counts[label]]
    rarest = min(there, key=lambda label: int(counts[label]))
    share = counts[rarest].item() / len(truth)
    of = f"whether a training image is of the rarest class, {names[rarest]}"
    if counts[rarest] > RARE * counts.max():
        told = (
            f"No class is rare: the rarest, {names[rarest]}, has {share:.1%} of the images. There is nothing to tell."
        )
        return Scored(of, notes=(f"Does not apply here. {told}",))
    rare = truth == rarest
    area, error = auc(scores[:, 1] - scores[:, 0], rare)
    found = {"leak_auc": Score("leak_auc", "", "up", area, *auc_interval(area, error), len(truth), (), "DeLong")}
    chance = {"leak_auc": 0.5}
    course = {
        "pass": tuple(map(float, numbers)),
        "leak_auc": tuple(auc(one[:, 1] - one[:, 0], rare)[0] for one in passes),
    }
    if len(there) == 2:
        right = lambda one: ((one[:, 1] > one[:, 0]) == rare).double()  # noqa: E731
        found = {"inferred": share_score("inferred", right(scores)), **found}
        chance["inferred"] = _commonest(truth)
        course["inferred"] = tuple(right(one).mean().item() for one in passes)
    return Scored(of, found, chance, course)


def _notes(guess: LabelGuess, truth: Tensor) -> tuple[str, ...]:
    if guess.sides == "unnamed":
        return ("Nobody told it a label: its groups are named so that most are right, which it could not do itself.",)
    return (f"It knew the labels of {len(guess.known)} training images, which are not counted.",)


def _areas(scores: Tensor, truth: Tensor) -> Score | None:
    """Mean over the classes of each one's AUC against all others, and the mean of their intervals: rather too wide."""
    classes = scores.shape[1]
    found = []
    for label in range(1 if classes == 2 else 0, classes):
        others = torch.cat([scores[:, :label], scores[:, label + 1 :]], 1)
        area, error = auc(scores[:, label] - others.max(1).values, truth == label)
        if area == area:
            found.append((area, *auc_interval(area, error)))
    if not found:
        return None
    mean, low, high = (sum(column) / len(found) for column in zip(*found, strict=True))
    return Score("leak_auc", "", "up", mean, low, high, len(truth), (), "DeLong, mean over classes")


def _name(scores: Tensor, truth: Tensor) -> Tensor:
    """The columns in the order of classes that makes most of the largest ones right."""
    from scipy.optimize import linear_sum_assignment

    size = max(scores.shape[1], int(truth.max()) + 1)
    table = torch.zeros(size, size)
    table.index_put_((scores.argmax(1), truth), torch.ones(1), accumulate=True)
    groups, classes = linear_sum_assignment(-table.numpy())
    order = torch.empty(size, dtype=torch.long)
    order[torch.from_numpy(classes)] = torch.from_numpy(groups)
    return scores[:, order[: scores.shape[1]]]


def _shuffled(scores: Tensor, truth: Tensor) -> float:
    """Share right where the same groups are named to fit labels in a random order: what naming alone makes."""
    draw = torch.Generator().manual_seed(0)
    orders = [truth[torch.randperm(len(truth), generator=draw)] for _ in range(SHUFFLES)]
    return sum(_hits(_name(scores, order), order).mean().item() for order in orders) / SHUFFLES


def _hits(scores: Tensor, truth: Tensor) -> Tensor:
    return (scores.argmax(1) == truth).double()


def _commonest(truth: Tensor) -> float:
    return truth.bincount().max().item() / max(len(truth), 1)
