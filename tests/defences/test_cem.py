"""CEM: the price is the information bound it says it is, and paying it draws the images of a class together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from small import GREY, pictures
from torch import Tensor, nn

from unsmash.defences.bottleneck import Bottleneck
from unsmash.defences.cem import Cem, CemShield
from unsmash.defences.gaussian import GaussianShield
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.split import Shield, Shields, Site, SplitModel, flat
from unsmash.split.train import Training, train

PLAIN: dict[str, Any] = {"weight": 1.0, "patient": False}
"""The formula as it stands"""


def armed(numbers: int = 5, classes: int = 3, **settings: Any) -> CemShield:
    shield = Cem(**settings).arm(Site(((numbers,),), GREY, classes), Lab()).train()
    assert isinstance(shield, CemShield)
    return shield


def clumps(each: int = 40, apart: float = 0.0, numbers: int = 5, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Rows about one centre a class, the centres that far apart, and their labels, in mixed order."""
    draw = torch.Generator().manual_seed(each)
    y = torch.arange(classes).repeat(each)
    spread = torch.rand(classes, numbers, generator=draw)
    z = torch.randn(len(y), numbers, generator=draw) * spread[y]
    return z + apart * nn.functional.one_hot(y, numbers), y


def paid(shield: CemShield, z: Tensor, y: Tensor) -> float:
    return shield.penalty(torch.zeros(len(z), *GREY), (z,), (z,), y).item()


def formula(z: Tensor, y: Tensor, sigma: float) -> float:
    """Σ_y p(y) Σ_j ½ ln(1 + Var_j/σ²), written out."""
    rows, labels, total = z.double().numpy(), y.numpy(), 0.0
    for label in np.unique(labels):
        mine = rows[labels == label]
        total += len(mine) / len(rows) * sum(0.5 * math.log(1 + column.var() / sigma**2) for column in mine.T)
    return total


@pytest.mark.parametrize("sigma", [0.1, 0.5, 3.0])
def test_with_one_component_it_is_the_closed_formula(sigma: float) -> None:
    z, y = clumps()
    assert paid(armed(sigma=sigma, **PLAIN), z, y) == pytest.approx(formula(z, y, sigma), rel=1e-4)
    assert paid(armed(sigma=sigma, weight=0.3, patient=False), z, y) == pytest.approx(
        0.3 * formula(z, y, sigma), rel=1e-4
    )


def test_classes_that_stand_apart_pay_in_full_and_mixed_ones_nothing() -> None:
    for apart, share in ((50.0, 1.0), (0.0, 0.0)):
        z, y = clumps(apart=apart)
        z = z if apart else z.mean(0).expand_as(z) + 1e-4 * z
        full = formula(z, y, 0.5)
        assert paid(armed(sigma=0.5, weight=1.0), z, y) == pytest.approx(share * full, rel=1e-3, abs=1e-6)
    half = clumps(apart=1.5)
    assert 0.01 < paid(armed(sigma=0.5, weight=1.0), *half) / formula(*half, 0.5) < 0.99


def test_it_bounds_what_a_noisy_release_tells_beyond_the_class() -> None:
    """I(X;Z|Y) of the images of one class, each as likely, by Monte Carlo from the mixture of what they send."""
    z, y = clumps(each=12, classes=1)
    sigma = 0.5
    draw = torch.Generator().manual_seed(7)
    sent = z.repeat(2000, 1) + sigma * torch.randn(2000 * len(z), z.shape[1], generator=draw)
    logs = -torch.cdist(sent.double(), z.double()).square() / (2 * sigma**2)
    own = logs[torch.arange(len(sent)), torch.arange(len(z)).repeat(2000)]
    told = (own - logs.logsumexp(1) + math.log(len(z))).mean().item()
    assert 0.5 < told < paid(armed(classes=1, sigma=sigma, **PLAIN), z, y)


def test_more_components_do_not_charge_for_what_tells_them_apart() -> None:
    z, y = clumps()
    side = torch.arange(len(y)) // 3 % 2
    z = z + 100.0 * side[:, None]
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1))
    one, two = armed(sigma=0.5, **PLAIN), armed(sigma=0.5, components=2, momentum=0.5, **PLAIN)
    for rows in order.split(30) * 3:
        paid(two, z[rows], y[rows])
    two.eval()
    assert paid(one, z, y) > 3 * paid(two, z, y)
    batch = order[:90]
    wanted = formula(z[batch], 2 * y[batch] + side[batch], 0.5)
    assert paid(two, z[batch], y[batch]) == pytest.approx(wanted, rel=0.15)


def test_a_centroid_that_nothing_comes_to_is_placed_anew() -> None:
    z, y = clumps(each=30)
    shield = armed(components=2, momentum=0.5, **PLAIN)
    paid(shield, torch.cat([z, z + 1000.0]), torch.cat([y, y]))
    for _ in range(8):
        paid(shield, z, y)
    assert shield.means.abs().max() < 100


def test_momentum_keeps_the_value_steady_and_lets_this_batch_set_the_slope() -> None:
    wide, y = clumps(each=60)
    narrow = wide / 100
    shield = armed(sigma=0.5, momentum=0.9, **PLAIN)
    first = paid(shield, wide, y)
    assert first == pytest.approx(formula(wide, y, 0.5), rel=1e-4)
    z = narrow.clone().requires_grad_()
    price = shield.penalty(torch.zeros(len(z), *GREY), (z,), (z,), y)
    assert formula(narrow, y, 0.5) < 0.1 * price.item() < 0.1 * first
    (slope,) = torch.autograd.grad(price, z)
    assert slope.abs().max() < 1  # small differences pull little


def test_what_is_seen_outside_training_moves_nothing() -> None:
    z, y = clumps()
    shield = armed(components=2, momentum=0.5).eval()
    paid(shield, z, y)
    assert not shield.means.any()
    assert not shield.seen.any()


def test_an_image_alone_of_its_class_costs_nothing_and_the_note_warns() -> None:
    shield = armed(classes=5, **PLAIN)
    z, y = torch.randn(5, 5, generator=torch.Generator().manual_seed(1)), torch.arange(5)
    assert paid(shield, z, y) == 0
    assert "100% of the training images were alone" in shield.note()
    again = armed(classes=5, **PLAIN)
    again.load_state_dict(shield.state_dict())
    assert again.note() == shield.note()
    assert armed().note() == ""
    steady = armed(classes=5, momentum=0.5, **PLAIN)
    assert paid(steady, z, y) == 0
    assert paid(steady, z + 1, y) > 0


def test_a_mixture_too_large_to_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="bottleneck"):
        Cem(components=64).arm(Site(((64, 112, 112),), (3, 224, 224), 1000), Lab())


def test_every_run_is_the_same_and_draws_nothing() -> None:
    state = torch.get_rng_state()
    z, y = clumps()
    for components in (1, 3):
        one, other = armed(components=components), armed(components=components)
        assert [paid(one, z, y) for _ in range(3)] == [paid(other, z, y) for _ in range(3)]
    assert torch.equal(torch.get_rng_state(), state)


def trained(price: float) -> tuple[float, float, float]:
    """Within-class variance over the variance between classes, log-likelihood gain of the true candidate, accuracy."""
    images, labels = pictures(GREY, 600, 300)
    with Lab(seed=5).seeded("toy"):
        device = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU())
        model = SplitModel(device, nn.Linear(64, 10))
    site = Site(((64,),), GREY, 10)
    code = Bottleneck(numbers=8).arm(site, Lab())
    cem = Cem(weight=price, sigma=0.3).arm(Site(((8,),), GREY, 10), Lab())
    layers: list[Shield] = [code, cem, GaussianShield(0.3)]
    model.shield = Shields(layers)
    train(model, images, labels, Training(epochs=15, batch=50, rate=1e-2), Lab(seed=2))
    unseen, truth = pictures(GREY, 300)
    with torch.no_grad(), Lab().seeded("look"):
        z = model.smash(unseen)
        mu = flat(code(z))
        release = model.shield(z)
        found = model.shield.log_likelihood(release, z)
        right = (model.answer(release).argmax(1) == truth).double().mean().item()
    assert found is not None
    hits = (found.argmax(1) == torch.arange(300)).double().mean().item()
    groups = [mu[truth == label] for label in range(10)]
    within = sum((rows - rows.mean(0)).square().sum() for rows in groups) / len(mu)
    between = torch.stack([rows.mean(0) for rows in groups]).var(0).sum()
    return (within / between).item(), hits, right


def test_behind_a_bottleneck_and_before_noise_it_draws_classes_together_and_hides_who_is_who() -> None:
    spread, hits, right = trained(1e-6)
    defended_spread, defended_hits, still = trained(1.0)
    assert defended_spread < 0.6 * spread
    assert defended_hits < 0.6 * hits
    assert still > right - 0.08
