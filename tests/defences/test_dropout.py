"""Gaps in an exact release: the mask's law by enumeration, and how repeats fill the gaps."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from unsmash.defences.dropout import Dropout, DropoutShield
from unsmash.lab import Lab
from unsmash.split import Site, Smashed, flat

SITE = Site(((4, 3, 3), (5,)), (1, 8, 8), 10)


def shield_of(**raw: object) -> DropoutShield:
    shield = Dropout.model_validate({"kind": "dropout", **raw}).arm(SITE, Lab()).eval()
    assert isinstance(shield, DropoutShield)
    return shield


def smashed(count: int) -> Smashed:
    draw = torch.Generator().manual_seed(count)
    return tuple(torch.randn(count, *shape, generator=draw) for shape in SITE.shapes)


def send(shield: DropoutShield, z: Smashed, times: int = 1) -> list[Smashed]:
    with Lab().seeded("send"):
        return [shield(z) for _ in range(times)]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.95])
def test_so_many_are_left_out_and_the_mean_is_kept(rate: float) -> None:
    z = (torch.full((2000, 50), 3.0),)
    (sent,) = send(shield_of(rate=rate), z)[0]
    assert sent.unique().tolist() == [0.0, pytest.approx(3 / (1 - rate))]
    error = (rate * (1 - rate) / sent.numel()) ** 0.5
    assert abs((sent == 0).double().mean().item() - rate) < 4 * error
    assert abs(sent.mean().item() - 3) < 4 * 3 * error / (1 - rate)
    off = torch.corrcoef((sent == 0).float().T)[~torch.eye(50, dtype=torch.bool)]
    assert off.abs().max() < 6 / 2000**0.5


def test_whole_maps_are_left_out_together() -> None:
    z = smashed(400)
    maps, single = send(shield_of(rate=0.4, maps=True), z)[0]
    per_map = (maps == 0).flatten(2).double().mean(2)
    assert set(per_map.unique().tolist()) == {0.0, 1.0}
    assert abs(per_map.mean() - 0.4) < 0.05
    assert abs((single == 0).double().mean() - 0.4) < 0.05


def test_the_gradient_is_the_mask() -> None:
    z = tuple(part.requires_grad_() for part in smashed(20))
    release = send(shield_of(rate=0.5), z)[0]
    flat(release).sum().backward()
    for part, sent in zip(z, release, strict=True):
        assert part.grad is not None
        assert torch.equal(part.grad, torch.where(sent == 0, 0.0, 2.0))


def law(shield: DropoutShield, z: Tensor, groups: list[list[int]]) -> dict[tuple[float, ...], float]:
    """Every release of one row with its chance, by going through all masks; equal releases add up."""
    found: dict[tuple[float, ...], float] = {}
    for mask in itertools.product([0, 1], repeat=len(groups)):
        kept = torch.zeros(len(z))
        for keep, group in zip(mask, groups, strict=True):
            kept[group] = float(keep)
        release = tuple((z * kept / (1 - shield.rate)).tolist())
        chance = (1 - shield.rate) ** sum(mask) * shield.rate ** (len(mask) - sum(mask))
        found[release] = found.get(release, 0) + chance
    return found


@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize("maps", [False, True])
def test_the_law_agrees_with_enumeration_zeros_included(rate: float, maps: bool) -> None:
    """Dead numbers (ReLU) are zero whether kept or not, so several masks give one release."""
    z = torch.tensor(
        [[1.0, 0, -2, 0.5, 0, 0], [1.0, 0, 3, 0.5, 0, 0], [0.0, 0, -2, 0.5, 1, 1], [2.0, 3, 0, 0, 0, 4], [0.0] * 6]
    )
    shaped = (z.reshape(-1, 3, 2, 1),)
    groups = [[0, 1], [2, 3], [4, 5]] if maps else [[index] for index in range(6)]
    shield = DropoutShield(rate, maps=maps)
    for row in range(len(z)):
        chances = law(shield, z[row], groups)
        releases = torch.tensor(list(chances))
        found = shield.log_likelihood((releases.reshape(-1, 3, 2, 1),), shaped)
        own = found[:, row].exp()
        # known up to a constant for each release
        constant = own / torch.tensor(list(chances.values()), dtype=torch.float64)
        for other in range(len(z)):
            theirs = law(shield, z[other], groups)
            wanted = torch.tensor([theirs.get(release, 0.0) for release in chances], dtype=torch.float64)
            assert torch.allclose(found[:, other].exp(), wanted * constant, atol=1e-6), (row, other)
    assert found.isfinite().all()


@pytest.mark.parametrize("maps", [False, True])
def test_the_truth_stands_out_and_survives_the_rounding_of_another_batch(maps: bool) -> None:
    z = tuple(part.relu() for part in smashed(150))
    shield = shield_of(rate=0.6, maps=maps)
    release = send(shield, z)[0]
    alive = flat(release).abs().sum(1) > 0
    for noise in (0.0, 1e-6):
        moved = tuple(part * (1 + noise * torch.randn(part.shape)) for part in z)
        found = shield.log_likelihood(release, moved)
        assert found.dtype == torch.float64
        assert found.isfinite().all()
        assert torch.equal(found.argmax(1)[alive], torch.arange(150)[alive])


def test_an_empty_release_says_only_how_much_there_was_to_leave_out() -> None:
    z = (torch.tensor([[1.0, 2, 0], [3.0, 0, 0], [0.0, 0, 0]]),)
    found = DropoutShield(0.25).log_likelihood((torch.zeros(1, 3),), z)[0].exp()
    assert torch.allclose(found, torch.tensor([0.25**2, 0.25, 1], dtype=torch.float64))


@pytest.mark.parametrize("maps", [False, True])
def test_sixteen_queries_restore_everything(maps: bool) -> None:
    shield, z = shield_of(rate=0.5, maps=maps), smashed(30)
    pooled = shield.pool(send(shield, z, 16))
    missing = (flat(pooled) == 0).double().mean()
    assert missing < 5 * 0.5**16 + 1e-9 or (maps and missing < 0.002)
    assert torch.equal(flat(pooled)[flat(pooled) != 0], (flat(z) / 0.5)[flat(pooled) != 0])
    few = shield.pool(send(shield, z, 3))
    assert ((flat(few) == 0).double().mean() - 0.125).abs() < 0.03


def test_memoised_gaps_are_never_filled() -> None:
    shield, z = shield_of(rate=0.5, memoise=True), smashed(10)
    assert all(map(torch.equal, shield.pool(send(shield, z, 16)), shield(z)))
    assert ((flat(shield(z)) == 0).double().mean() - 0.5).abs() < 0.1


def test_the_wire_carries_what_is_kept_and_where_it_belongs() -> None:
    z = smashed(2)
    assert shield_of(rate=0.25).wire_bits(32 * 41.0, z, z) == pytest.approx(0.75 * 32 * 41 + 41)
    assert shield_of(rate=0.25, maps=True).wire_bits(32 * 41.0, z, z) == pytest.approx(0.75 * 32 * 41 + 9)
    assert shield_of(rate=1e-9).wire_bits(32 * 41.0, z, z) == 32 * 41
