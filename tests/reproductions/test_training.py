"""The papers' loop: the same steps as a plain loop by hand, in the published order."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from unsmash.defences.nopeek import NoPeek
from unsmash.errors import TrainingError
from unsmash.lab import Lab
from unsmash.reproductions.training import Loop, accuracy, answers, fit
from unsmash.split import Shields, Site, SplitModel


def model() -> SplitModel:
    torch.manual_seed(0)
    device = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh())
    return SplitModel(device, nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)))


def weight(model: SplitModel) -> torch.Tensor:
    """Of the first layer."""
    return copy.deepcopy(next(model.parameters()).detach())


X, Y = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 3


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_it_is_the_plain_loop_in_the_files_order(decay: float) -> None:
    mine, by_hand = model(), model()
    fit(mine, X, Y, Loop(3, 8, lambda p: torch.optim.SGD(p, lr=0.5), decay=decay), Lab())
    rate = 0.5
    for _ in range(3):
        for start in range(0, 20, 8):
            x, y = X[start : start + 8], Y[start : start + 8]
            loss = nn.functional.cross_entropy(by_hand.server(by_hand.device(x)), y)
            grads = torch.autograd.grad(loss, list(by_hand.parameters()))
            with torch.no_grad():
                for parameter, grad in zip(by_hand.parameters(), grads, strict=True):
                    parameter.sub_(rate * grad)
        rate *= decay
    for a, b in zip(mine.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert not mine.training


def test_the_penalty_is_paid_and_passes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, paid, passes = model(), model(), list[int]()
    site = Site(((6,),), (1, 4, 4), 3)
    paid.shield = Shields([NoPeek(weight=5.0, estimator="compat").arm(site, Lab())])
    loop = Loop(2, 10, lambda p: torch.optim.SGD(p, lr=0.5))
    fit(plain, X, Y, loop, Lab())
    fit(paid, X, Y, loop, Lab(), after=lambda number: passes.append(number))
    assert passes == [1, 2]
    assert not torch.equal(weight(plain), weight(paid))


def test_shuffling_changes_the_order_and_the_seed_decides_it() -> None:
    def trained(seed: int, *, shuffle: bool) -> torch.Tensor:
        one = model()
        fit(one, X, Y, Loop(1, 4, lambda p: torch.optim.SGD(p, lr=0.5), shuffle=shuffle), Lab(seed=seed))
        return weight(one)

    assert torch.equal(trained(0, shuffle=False), trained(1, shuffle=False))
    assert torch.equal(trained(0, shuffle=True), trained(0, shuffle=True))
    assert not torch.equal(trained(0, shuffle=True), trained(1, shuffle=True))


def test_a_loss_that_is_not_finite_stops_it() -> None:
    with pytest.raises(TrainingError, match="pass 1 of 5"):
        fit(model(), X * float("nan"), Y, Loop(5, 8, lambda p: torch.optim.SGD(p, lr=1.0)), Lab())


def test_accuracy_counts_right_answers() -> None:
    one = model().eval()
    told = answers(one, X, Lab(), batch=7)
    assert told.shape == (20, 3)
    assert torch.equal(accuracy(one, X, told.argmax(1), Lab()), torch.ones(20, dtype=torch.float64))
    assert accuracy(one, X, (told.argmax(1) + 1) % 3, Lab()).sum() == 0
