"""SplitGuard: what it sends, what it learns from, whom it accuses, and its score against the paper's formula."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small import GREY, pictures, shallow
from torch import Tensor

from unsmash.defences.split_guard import Gradients, Guard, SplitGuard, SplitGuardShield, score
from unsmash.errors import Alarm
from unsmash.lab import Lab
from unsmash.split import Shields, Smashed, SplitModel
from unsmash.split.parties import HonestServer, Optimiser, Server
from unsmash.split.train import Training, train


def made(**settings: Any) -> SplitGuard:
    return SplitGuard.model_validate({"kind": "split_guard"} | settings)


def gradients(rows: np.ndarray) -> Gradients:
    found = Gradients()
    for row in rows:
        found.add(torch.from_numpy(row))
    return found


def by_hand(false: np.ndarray, one: np.ndarray, other: np.ndarray, alpha: float, beta: float) -> float:
    def between(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.arccos(a @ b / np.sqrt((a @ a) * (b @ b))))

    def length(rows: np.ndarray) -> float:
        return float(np.mean([np.sqrt((row * row).sum()) for row in rows]))

    d_false = abs(length(false) - (length(one) + length(other)) / 2)
    d_halves = abs(length(one) - length(other))
    centre = (one.mean(0) + other.mean(0)) / 2
    raw = between(false.mean(0), centre) * d_false - between(one.mean(0), other.mean(0)) * d_halves
    return float((1 / (1 + np.exp(-alpha * raw / (d_false + d_halves)))) ** beta)


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_the_papers(seed: int) -> None:
    draw = np.random.default_rng(seed)
    sets = [draw.normal(size=(count, 6)) + draw.normal(size=6) for count in (3, 7, 5)]
    found = score(*map(gradients, sets), alpha=5, beta=2)
    assert found == pytest.approx(by_hand(sets[0], sets[1], sets[2], 5, 2), rel=1e-9)
    # only directions and ratios of lengths count
    scaled = [1e-9 * rows for rows in sets]
    assert score(*map(gradients, scaled), alpha=5, beta=2) == pytest.approx(found, rel=1e-6)


def test_sets_that_are_alike_score_low_and_opposite_ones_high() -> None:
    rows = np.ones((4, 3))
    alike = score(gradients(rows), gradients(rows), gradients(rows), alpha=5, beta=2)
    assert alike == pytest.approx(0.25)
    assert score(gradients(-3 * rows), gradients(rows), gradients(rows), alpha=5, beta=2) > 0.99


class Deaf:
    """Answers with a direction of its own, whatever the labels."""

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        return tuple((part - 0.3) / len(part) for part in release), 0.0


STEPS, BATCH = 400, 50
LEARNED = 150
"""Batches after which this small network has learned enough to be contradicted by a wrong label"""


def armed(**settings: Any) -> SplitModel:
    model = shallow("flat", GREY)
    model.shield = Shields([SplitGuardShield(made(**settings), 10)])
    return model.requires_grad_(True)


def practise(model: SplitModel, server: Server | None, seed: int = 0) -> None:
    images, labels = pictures(GREY, 500, 600)
    train(model, images, labels, Training(epochs=1, batch=BATCH), Lab(seed=seed), server=server, steps=STEPS)


def honest(model: SplitModel) -> HonestServer:
    return HonestServer(model.answer, Optimiser(list(model.server_parameters()), 3e-3, STEPS))


@pytest.mark.parametrize("seed", range(4))
def test_an_honest_server_is_not_accused(seed: int) -> None:
    model = armed(after=LEARNED)
    practise(model, honest(model), seed)


@pytest.mark.parametrize("policy", ["voting", "fast"])
@pytest.mark.parametrize("seed", range(3))
def test_a_server_deaf_to_labels_is_found_out(policy: str, seed: int) -> None:
    with pytest.raises(Alarm, match="does not train the task"):
        practise(armed(policy=policy), Deaf(), seed)


def watch(**settings: Any) -> Guard:
    guard = SplitGuardShield(made(**settings), 10).guard(Lab(seed=3))
    assert isinstance(guard, Guard)
    return guard


def test_true_batches_keep_their_labels_and_false_ones_have_none_of_them() -> None:
    guard, draw = watch(after=5), torch.Generator().manual_seed(0)
    rows, false = torch.arange(40), 0
    for batch in range(400):
        y = torch.randint(10, (40,), generator=draw)
        before = y.clone()
        sent = guard.labels(rows, y)
        assert torch.equal(y, before)
        if guard.false:
            false += 1
            assert (sent != y).all()
            assert sent.min() >= 0
            assert sent.max() < 10
        else:
            assert torch.equal(sent, y)
        assert not (guard.false and batch < 5)
    assert abs(false / 395 - 0.1) < 4 * (0.1 * 0.9 / 395) ** 0.5


def test_labels_that_nobody_knows_stay_unknown() -> None:
    guard, y = watch(after=0, share=0.49), torch.full((9,), -1)
    assert all(torch.equal(guard.labels(torch.arange(9), y), y) for _ in range(30))


def test_the_device_learns_nothing_from_a_false_batch() -> None:
    """The same training with every gradient of a false batch replaced by rubbish ends in the same device half."""

    ends = []
    for spoil in (False, True):
        model, guard = armed(), watch(after=2, share=0.3, threshold=1e-9)
        ends.append(_run(model, guard, spoil=spoil))
    assert ends[0][1] > 5
    for one, other in zip(ends[0][0], ends[1][0], strict=True):
        assert torch.equal(one, other)


def _run(model: SplitModel, guard: Guard, *, spoil: bool) -> tuple[list[Tensor], int]:
    """The device half after a training under this guard, and how many batches were false."""
    model.shield = Shields([Fixed(guard)])
    false = 0

    class Spoils:
        def __init__(self) -> None:
            self.inner = honest(model)

        def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
            nonlocal false
            kept = copy.deepcopy(model.server.state_dict())
            gradient, loss = self.inner.answer(release, y)
            if guard.false:
                false += 1
                model.server.load_state_dict(kept)
                if spoil:
                    gradient = tuple(1e3 * torch.ones_like(part) for part in gradient)
            return gradient, loss

    practise(model, Spoils())
    return [tensor.clone() for tensor in model.device.state_dict().values()], false


class Fixed(SplitGuardShield):
    """A shield with a guard that is known to the test."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(guard.made, guard.classes)
        self.known = guard

    def guard(self, lab: Lab) -> Guard:
        return self.known


def test_the_default_draws_again_for_every_training() -> None:
    shield = SplitGuardShield(made(after=0), 10)
    one, other = shield.guard(Lab()), shield.guard(Lab())
    assert one is not other


def test_an_even_number_of_votes_is_refused() -> None:
    with pytest.raises(ValidationError, match="odd"):
        made(votes=4)
