"""The area under the ROC curve against scikit-learn, and its standard error against the pairs counted one by one."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from unsmash.metrics.ranking import auc, auc_interval


def drawn(seed: int, n: int = 60, *, ties: bool = False) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    positive = torch.rand(n, generator=draw) < 0.3
    scores = torch.randn(n, generator=draw) + positive * 0.7
    return (scores.round() if ties else scores), positive


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_scikit_learn(seed: int, ties: bool) -> None:
    scores, positive = drawn(seed, ties=ties)
    assert auc(scores, positive)[0] == pytest.approx(roc_auc_score(positive, scores))
    assert auc(-scores, positive)[0] == pytest.approx(1 - auc(scores, positive)[0])


@pytest.mark.parametrize("ties", [False, True])
def test_the_error_is_delongs_over_all_pairs(ties: bool) -> None:
    scores, positive = drawn(9, ties=ties)
    above, below = scores[positive], scores[~positive]
    won = [[1.0 if a > b else 0.5 if a == b else 0.0 for b in below] for a in above]
    table = torch.tensor(won, dtype=torch.float64)
    wanted = math.sqrt(table.mean(1).var() / len(above) + table.mean(0).var() / len(below))
    assert auc(scores, positive)[1] == pytest.approx(wanted)


def test_the_interval_covers_what_it_should() -> None:
    """Two normal laws one apart: the true area is Φ(1/√2)."""
    truth = 0.5 * (1 + math.erf(0.5))
    covered = 0
    for seed in range(300):
        draw = torch.Generator().manual_seed(1000 + seed)
        scores = torch.cat([torch.randn(40, generator=draw) + 1, torch.randn(60, generator=draw)])
        low, high = auc_interval(*auc(scores, torch.arange(100) < 40))
        covered += low <= truth <= high
    assert 0.90 < covered / 300 < 0.99


def test_one_side_alone_has_no_area() -> None:
    scores, _ = drawn(1)
    for positive in (torch.zeros(60, dtype=torch.bool), torch.ones(60, dtype=torch.bool)):
        assert math.isnan(auc(scores, positive)[0])
    area, error = auc(scores, torch.arange(60) == 3)
    assert 0 <= area <= 1
    assert auc_interval(area, error) == (0.0, 1.0)
