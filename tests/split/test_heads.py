"""Rows of smashed data, the head and the table, and their training around a frozen network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from unsmash.lab import Lab
from unsmash.split import Fitting, Shield, Smashed, flat, heads
from unsmash.split.heads import Grid, Head, Table, k_means, known, learn, sample

MAPS, NUMBERS = (4, 6, 6), (5,)


def smashed(count: int = 8) -> Smashed:
    draw = torch.Generator().manual_seed(count)
    return torch.randn(count, *MAPS, generator=draw), torch.randn(count, *NUMBERS, generator=draw)


def test_rows_of_a_narrow_cut_are_all_its_numbers_and_come_back_unchanged() -> None:
    grid, z = Grid([MAPS, NUMBERS]), smashed()
    rows = grid.rows(z)
    assert torch.equal(rows, flat(z))
    assert grid.numbers == rows.shape[1] == 149
    assert all(map(torch.equal, grid.spread(rows), z))


@pytest.mark.parametrize(("most", "side"), [(148, 2), (40, 4), (8, 8), (1, 8)])
def test_wide_maps_shrink_to_averages_until_they_fit(monkeypatch: pytest.MonkeyPatch, most: int, side: int) -> None:
    monkeypatch.setattr(heads, "MOST", most)
    grid, z = Grid([MAPS, NUMBERS]), smashed()
    rows = grid.rows(z)
    assert grid.side == side
    assert rows.shape == (8, grid.numbers)
    back = grid.spread(rows)
    assert [part.shape for part in back] == [part.shape for part in z]
    assert torch.equal(back[1], z[1])  # a handful of numbers is no map
    first = z[0][:, :, :side, :side].mean((2, 3))
    assert torch.allclose(back[0][:, :, 0, 0], first, atol=1e-6)
    last = z[0][:, :, 6 - (6 % side or side) :, 6 - (6 % side or side) :].mean((2, 3))
    assert torch.allclose(back[0][:, :, -1, -1], last, atol=1e-6)


def test_a_head_is_one_layer_or_two() -> None:
    z = smashed()
    assert Head([MAPS, NUMBERS], 3)(z).shape == (8, 3)
    assert Head([MAPS, NUMBERS], 3, hidden=7)(z).shape == (8, 3)
    count = [sum(p.numel() for p in Head([NUMBERS], 3, hidden=hidden).parameters()) for hidden in (None, 7)]
    assert count == [5 * 3 + 3, 5 * 7 + 7 + 7 * 3 + 3]


def test_a_table_starts_at_the_mean_of_what_each_symbol_was_sent_for() -> None:
    z, symbol = smashed(), torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    table = Table([MAPS, NUMBERS], 3)
    table.start(nn.functional.one_hot(symbol, 3).float(), z)
    found = table(torch.eye(3))
    for wanted, part in zip(z, found, strict=True):
        assert torch.allclose(part[0], wanted[::2].mean(0), atol=1e-6)
        assert torch.allclose(part[1], wanted[1::2].mean(0), atol=1e-6)
        assert torch.allclose(part[2], wanted.mean(0), atol=1e-6)  # never sent: what is known of all


class Scale(Shield):
    """One factor on the device, one on the server."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))
        self.receiver = nn.Linear(4, 4)
        nn.init.zeros_(self.receiver.weight)

    def forward(self, z: Smashed) -> Smashed:
        return (z[0] * self.factor,)

    def receive(self, release: Smashed) -> Smashed:
        return (self.receiver(release[0]),)


def fitting(labels: Tensor, *, trained: bool = True) -> tuple[Fitting, nn.Linear, Tensor]:
    """A frozen network that answers 0 or 1 by the left half's brightness."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(len(labels), 1, 8, 8, generator=draw)
    images[::2, :, :, :4] = 0
    device, server = nn.Linear(64, 4), nn.Linear(4, 2)
    with torch.no_grad():
        device.weight.zero_()
        device.weight[0] = (torch.arange(64) % 8 < 4).float() / 32
        server.weight.copy_(torch.tensor([[-8.0, 0, 0, 0], [8.0, 0, 0, 0]]))
        server.bias.copy_(torch.tensor([2.0, -2.0]))
        device.bias.zero_()
    for part in (device, server):
        part.requires_grad_(False)
    given = Fitting(
        images, labels, lambda x: (device(x.flatten(1)),), lambda z: server(z[0]), trained=trained, lab=Lab()
    )
    return given, server, torch.arange(len(labels)) % 2


def test_training_a_shield_leaves_the_network_and_lowers_the_loss() -> None:
    given, server, truth = fitting(torch.arange(64) % 2)
    before, shield = copy.deepcopy(server.state_dict()), Scale()
    z, _ = sample(given)

    def loss() -> float:
        return nn.functional.cross_entropy(given.answer(shield.receive(shield(z))), truth).item()

    start = loss()
    learn(shield, given, 200)
    assert loss() < start / 2
    assert all(torch.equal(server.state_dict()[name], tensor) for name, tensor in before.items())
    assert not shield.training
    assert shield.factor.item() != 0.5


def test_training_a_shield_repeats_itself() -> None:
    made = []
    for _ in range(2):
        with Lab().seeded("same"):
            shield = Scale()
            learn(shield, fitting(torch.arange(64) % 2)[0], 2)
        made.append(shield.state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_where_no_label_is_known_the_trained_network_answers() -> None:
    none = torch.full((16,), -1)
    given, _, truth = fitting(none)
    z, y = sample(given)
    assert torch.equal(y, truth)
    some = torch.where(torch.arange(16) < 4, 1 - truth, none)
    assert torch.equal(known(given, z, some)[:4], 1 - truth[:4])
    assert torch.equal(known(given, z, some)[4:], truth[4:])
    untrained = fitting(none, trained=False)[0]
    assert torch.equal(sample(untrained)[1], none)  # an untrained network knows no better


def test_k_means_finds_groups_and_bears_fewer_rows_than_centres() -> None:
    draw = torch.Generator().manual_seed(5)
    truth = torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    rows = truth.repeat_interleave(50, 0) + torch.randn(200, 2, generator=draw)
    centres = k_means(rows, 4, torch.Generator().manual_seed(0))
    assert torch.equal(centres, k_means(rows, 4, torch.Generator().manual_seed(0)))
    assert torch.cdist(truth, centres).min(1).values.max() < 1
    few = k_means(rows[:3], 5, torch.Generator().manual_seed(0))
    assert few.shape == (5, 2)
    assert few.isfinite().all()


def test_a_head_starts_as_the_network_itself_where_a_linear_one_can() -> None:
    z, draw = smashed(400), torch.Generator().manual_seed(8)
    weight = torch.randn(149, 3, generator=draw)
    wanted = flat(z) @ weight + 5
    for hidden in (None, 300):
        with Lab().seeded("head"):
            head = Head([MAPS, NUMBERS], 3, hidden)
        head.start(z, wanted)
        error = (head(z) - wanted).square().mean() / wanted.var()
        assert error < (0.001 if hidden is None else 0.2)
