"""The bottleneck: so many numbers, in their box or ball; principal components to start from, a decoder that fits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from unsmash.bounds.regions import Region
from unsmash.data.base import Splits
from unsmash.defences.bottleneck import Bottleneck, BottleneckShield
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.split import Fitting, Site, Smashed
from unsmash.split.train import predict
from unsmash.victim import prepare

SHAPES = ((4, 3, 3), (5,))


def armed(**raw: Any) -> BottleneckShield:
    shield = Bottleneck.model_validate({"kind": "bottleneck", **raw}).arm(Site(SHAPES, (1, 8, 8), 10), Lab()).eval()
    assert isinstance(shield, BottleneckShield)
    return shield


def smashed(count: int, size: float = 1.0) -> Smashed:
    draw = torch.Generator().manual_seed(count)
    return tuple(size * torch.randn(count, *shape, generator=draw) for shape in SHAPES)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("squash", ["tanh", "l2", "none"])
def test_the_code_lies_where_the_region_says(squash: str, size: float) -> None:
    shield = armed(squash=squash, radius=0.7, numbers=6)
    code = shield(smashed(100, size))[0].detach()
    region = shield.confine(Region(41, log2_points=5, premises=("before",)))
    assert code.shape == (100, 6)
    assert code.isfinite().all()
    assert region.numbers == 6
    assert region.log2_points == 5
    assert region.premises[0] == "before"
    if squash == "tanh":
        assert region.sides == (1.4,) * 6
        assert code.abs().max() <= 0.7 * (1 + 1e-6)
    elif squash == "l2":
        assert region.l2 == 0.7
        assert code.norm(dim=1).max() <= 0.7 * (1 + 1e-6)
        assert size not in (1.0, 1e6) or code.norm(dim=1).max() >= 0.7 * (1 - 1e-6)
    else:
        assert not region.bounded
        assert len(region.premises) == 1
    assert shield.wire_bits(41 * 32, smashed(1), (code[:1],)) == 6 * 32


def test_inside_the_ball_nothing_is_scaled() -> None:
    plain, ball = armed(squash="none"), armed(squash="l2", radius=1e6)
    assert torch.equal(plain(smashed(9))[0], ball(smashed(9))[0])


def low_rank(trained: bool = False) -> tuple[Fitting, torch.Tensor]:
    """Smashed data that three numbers tell all of."""
    draw = torch.Generator().manual_seed(3)
    axes, images = torch.randn(3, 41, generator=draw), torch.rand(200, 1, 8, 8, generator=draw)

    def entering(x: torch.Tensor) -> Smashed:
        rows = x.flatten(1)[:, :3] @ axes + 2
        return rows[:, :36].reshape(-1, 4, 3, 3), rows[:, 36:]

    given = Fitting(
        images, torch.arange(200) % 10, entering, lambda z: z[0].flatten(1)[:, :10], trained=trained, lab=Lab()
    )
    return given, torch.cat([part.flatten(1) for part in entering(images)], 1)


@pytest.mark.parametrize(("squash", "share"), [("none", 1e-8), ("tanh", 0.05), ("l2", 0.1)])
def test_it_starts_from_principal_components_that_decode(squash: str, share: float) -> None:
    shield, (given, rows) = armed(squash=squash, numbers=3), low_rank()
    with Lab().seeded("fit"):
        shield.fit(given)
    decoded = torch.cat([part.flatten(1) for part in shield.receive(shield(given.entering(given.images)))], 1)
    assert (decoded - rows).square().mean() < share * rows.var()
    worse = armed(squash=squash, numbers=1)
    with Lab().seeded("fit"):
        worse.fit(given)
    lost = torch.cat([part.flatten(1) for part in worse.receive(worse(given.entering(given.images)))], 1)
    assert (lost - rows).square().mean() > 0.1 * rows.var()


def test_more_numbers_than_there_are_directions_are_borne() -> None:
    shield, (given, _) = armed(numbers=64), low_rank()
    with Lab().seeded("fit"):
        shield.fit(given)
    code = shield(given.entering(given.images))[0]
    assert code.shape == (200, 64)
    assert code.isfinite().all()
    assert all(part.isfinite().all() for part in shield.receive((code,)))


def test_the_start_repeats_itself() -> None:
    made = []
    for _ in range(2):
        shield = armed()
        with Lab().seeded("fit"):
            shield.fit(low_rank()[0])
        made.append(shield.state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_on_a_trained_network_both_ends_are_trained() -> None:
    losses = []
    for epochs in (1, 30):
        shield, (given, _) = armed(epochs=epochs, numbers=3), low_rank(trained=True)
        with Lab().seeded("fit"):
            shield.fit(given)
        z = given.entering(given.images)
        losses.append(nn.functional.cross_entropy(given.answer(shield.receive(shield(z))), given.labels).item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize("when", ["always", "inference"])
def test_on_real_digits_sixteen_numbers_are_enough(digits: Splits, when: str) -> None:
    defences = [[{"kind": "bottleneck", "when": when, "numbers": numbers, "epochs": 20}] for numbers in (1, 16)]
    accuracy = []
    for chosen in ([], *defences):
        raw = {"data": {"kind": "digits"}, "model": "shallow_net", "train": {"epochs": 30, "batch": 8}}
        victim = prepare(study({**raw, "defences": chosen}).experiment, digits, Lab(), None)
        right = predict(victim.model, digits.shadow.pixels, Lab()).argmax(1) == digits.shadow.labels
        accuracy.append(right.double().mean().item())
    plain, one, sixteen = accuracy
    assert sixteen > plain - 0.05
    assert one < sixteen
