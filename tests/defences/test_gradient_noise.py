"""Noise on what comes back in training: its moments, what it leaves alone, and that labels are told less by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from unsmash.defences.gradient_noise import GradientNoise
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.marvell import Model, solve
from unsmash.metrics.ranking import auc
from unsmash.split import Shield, Shields, Site

SITE = Site(((6,), (2, 2, 2)), (1, 8, 8), 2)


def armed(classes: int = 2, **settings: Any) -> Shield:
    made = GradientNoise.model_validate({"kind": "gradient_noise", **settings})
    return made.arm(Site(SITE.shapes, SITE.input_shape, classes), Lab()).train()


def gradients(n: int = 40, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two classes that point apart, one in four of the second: [n, 14] and labels."""
    draw = torch.Generator().manual_seed(seed)
    y = (torch.arange(n) % 4 == 0).long()
    rows = torch.randn(n, 14, generator=draw) * 0.3 + torch.where(y == 1, 3.0, -1.0)[:, None] * torch.ones(14) / 14**0.5
    return rows * scale, y


def parts(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows[:, :6], rows[:, 6:].reshape(-1, 2, 2, 2)


def replied(shield: Shield, rows: Tensor, y: Tensor, times: int) -> Tensor:
    """[times, n, 14]."""
    with Lab().seeded("reply"):
        out = [shield.reply(parts(rows), y) for _ in range(times)]
    return torch.stack([torch.cat([one.flatten(1) for one in reply], 1) for reply in out])


@pytest.mark.parametrize("settings", [{}, {"rule": "marvell"}, {"rule": "iso"}], ids=lambda s: s.get("rule", "usual"))
def test_the_reply_is_right_in_the_mean_and_keeps_its_shapes(settings: dict[str, Any]) -> None:
    rows, y = gradients()
    shield = armed(**settings)
    assert [part.shape for part in shield.reply(parts(rows), y)] == [part.shape for part in parts(rows)]
    noise = replied(shield, rows, y, 500) - rows
    assert (noise.mean(0).abs() <= 5 * noise.std(0) / 500**0.5 + 1e-6).all()
    assert noise.std(0).max() > 0


def test_max_norm_makes_all_as_long_as_the_longest_along_themselves() -> None:
    rows, y = gradients()
    found = replied(armed(), rows, y, 4000)
    squares = found.square().sum(2).mean(0)
    assert torch.allclose(squares, rows.square().sum(1).max().expand_as(squares), rtol=0.15)
    directions = torch.nn.functional.cosine_similarity(found, rows.expand_as(found), dim=2).abs()
    assert torch.allclose(directions, torch.ones_like(directions), atol=1e-4)
    longest = rows.norm(dim=1).argmax()
    assert torch.allclose(found[:, longest], rows[longest].expand_as(found[:, longest]), atol=1e-6)


def test_a_gradient_of_zero_stays_and_breaks_nothing() -> None:
    rows, y = gradients()
    rows[3] = 0
    found = replied(armed(), rows, y, 3)
    assert found.isfinite().all()
    assert not found[:, 3].any()
    assert replied(armed(), torch.zeros_like(rows), y, 1).isfinite().all()
    assert replied(armed(rule="marvell"), torch.zeros_like(rows), y, 1).isfinite().all()


@pytest.mark.parametrize("strength", [0.5, 4.0])
def test_iso_noise_has_its_power_in_all_directions(strength: float) -> None:
    rows, y = gradients()
    noise = replied(armed(rule="iso", strength=strength), rows, y, 1500) - rows
    wanted = strength * rows.square().sum(1).max() / 14
    assert torch.allclose(noise.square().mean((0, 1)), wanted.expand(14), rtol=0.05)


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_marvell_has_the_solvers_covariance(scale: float) -> None:
    """However small the gradients: late in training their squares are below single precision."""
    rows, y = gradients(scale=scale)
    noise = (replied(armed(rule="marvell", strength=2.0), rows, y, 800) - rows) / scale
    rows = rows / scale
    means = [rows[y == side].mean(0) for side in (0, 1)]
    apart = means[1] - means[0]
    spread = [(rows[y == side] - means[side]).square().mean().item() for side in (0, 1)]
    distance = apart.square().sum().item()
    law = solve(Model(distance, (spread[0], spread[1]), y.double().mean().item(), 14, 2.0 * distance))
    way = apart / apart.norm()
    for side in (0, 1):
        mine = noise[:, y == side]
        along = mine @ way
        across = mine - along[..., None] * way
        assert along.square().mean().item() == pytest.approx(law.along[side], rel=0.08)
        assert across.square().sum(2).mean().item() / 13 == pytest.approx(law.across[side], rel=0.08, abs=1e-9)


def test_marvell_hides_the_class_better_than_iso_noise_of_its_power() -> None:
    """The projection on the means' difference, which orders the plain gradients without a mistake."""
    rows, y = gradients(400)
    way = rows[y == 1].mean(0) - rows[y == 0].mean(0)
    marvell = armed(rule="marvell", strength=2.0)
    power = 2.0 * way.square().sum() / rows.square().sum(1).max()
    iso = armed(rule="iso", strength=power.item())
    areas = [auc(replied(shield, rows, y, 1)[0] @ way, y == 1)[0] for shield in (Shield(), iso, marvell)]
    assert areas[0] > 0.99
    assert areas[2] < areas[1] - 0.05


def test_a_batch_of_one_class_takes_the_law_before_it() -> None:
    rows, y = gradients()
    shield = armed(rule="marvell")
    alone = replied(shield, rows, torch.zeros_like(y), 1)  # nothing known yet: the evening of lengths
    assert torch.allclose(torch.nn.functional.cosine_similarity(alone[0], rows).abs(), torch.ones(40), atol=1e-4)
    replied(shield, rows, y, 1)
    noise = replied(shield, rows, torch.zeros_like(y), 500) - rows
    both = replied(shield, rows, y, 100)[:, y == 0] - rows[y == 0]
    assert noise.square().sum(2).mean().item() == pytest.approx(both.square().sum(2).mean().item(), rel=0.15)


def test_the_note_says_what_was_reached_and_survives_saving() -> None:
    rows, y = gradients()
    shield = armed(rule="marvell")
    assert shield.note() == ""
    replied(shield, rows, y, 2)
    assert "sumKL" in shield.note()
    other = armed(rule="marvell")
    other.load_state_dict(shield.state_dict())
    assert other.note() == shield.note()


def test_marvell_wants_two_classes_and_max_norm_no_strength() -> None:
    with pytest.raises(ConfigError, match="max_norm or iso, for a task of 10 classes"):
        armed(10, rule="marvell")
    with pytest.raises(ValidationError, match="strength only with"):
        GradientNoise(strength=2.0)
    armed(10)


def test_only_max_norm_turns_gradients_round() -> None:
    assert armed().turns
    assert Shields([Shield(), armed()]).turns
    assert not Shields([Shield(), armed(rule="iso"), armed(rule="marvell")]).turns
