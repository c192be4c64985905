"""A few feature maps: what is sent and put back, who chooses, and that every choice's law is the one attacked."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from unsmash.bounds.regions import Region
from unsmash.defences.subset import FixedShield, LargestShield, LearnedShield, RandomShield, Subset
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.split import Fitting, Shield, Shields, Site, Smashed, SplitModel, flat
from unsmash.split.train import Training, predict, train

SITE = Site(((4, 3, 3), (6,)), (1, 8, 8), 10)
CHOICES = ["fixed", "random", "keyed", "topk", "learned"]
choices = pytest.mark.parametrize("choose", CHOICES)


def shield_of(seed: int = 0, site: Site = SITE, **raw: object) -> Shield:
    return Subset.model_validate({"kind": "subset", **raw}).arm(site, Lab(seed=seed)).eval()


def smashed(count: int, site: Site = SITE) -> Smashed:
    draw = torch.Generator().manual_seed(count)
    return tuple(torch.randn(count, *shape, generator=draw) for shape in site.shapes)


def send(shield: Shield, z: Smashed, times: int = 1) -> list[Smashed]:
    with Lab().seeded("send"), torch.no_grad():
        return [shield(z) for _ in range(times)]


def sent_maps(part: Tensor) -> Tensor:
    """Which maps hold anything: [n, maps]"""
    return (part.reshape(*part.shape[:2], -1) != 0).any(2)


@choices
@pytest.mark.parametrize("keep", [1, 2, 4])
def test_the_server_receives_so_many_maps_of_each_tensor_as_they_were(choose: str, keep: int) -> None:
    shield, z = shield_of(keep=keep, choose=choose), smashed(20)
    received = shield.receive(send(shield, z)[0])
    for part, whole in zip(received, z, strict=True):
        assert part.shape == whole.shape
        assert (sent_maps(part).sum(1) == keep).all()
        assert torch.equal(part, torch.where(part != 0, whole, 0.0))


@choices
def test_half_is_sent_unless_a_number_is_given(choose: str) -> None:
    shield = shield_of(choose=choose)
    received = shield.receive(send(shield, smashed(5))[0])
    assert [sent_maps(part).sum(1).unique().tolist() for part in received] == [[2], [3]]


@choices
@pytest.mark.parametrize(("shapes", "fewest"), [(((4, 3, 3), (6,)), 4), (((12,),), 12), (((2, 8, 8),), 2)])
def test_more_maps_than_there_are_is_refused_in_one_sentence(choose: str, shapes: Any, fewest: int) -> None:
    with pytest.raises(ConfigError, match=f"1 to {fewest}, the maps that cross") as caught:
        shield_of(site=Site(shapes, (1, 8, 8), 10), keep=fewest + 1, choose=choose)
    assert "\n" not in str(caught.value)
    assert shield_of(site=Site(shapes, (1, 8, 8), 10), keep=fewest, choose=choose)


@choices
def test_only_random_choices_are_random(choose: str) -> None:
    shield, z = shield_of(keep=2, choose=choose), smashed(50)
    first, second = send(shield, z, 2)
    assert shield.stochastic == (choose in ("random", "keyed"))
    assert shield.memoised == (choose == "keyed")
    assert all(map(torch.equal, first, second)) == (choose != "random")


@choices
@pytest.mark.parametrize("training", [False, True])
def test_gradients_reach_the_maps_sent_and_no_others(choose: str, training: bool) -> None:
    shield, z = shield_of(keep=2, choose=choose).train(training), smashed(6)
    leaves = tuple(part.requires_grad_() for part in z)
    with Lab().seeded("gradient"):
        received = shield.receive(shield(leaves))
    flat(received).sum().backward()
    for leaf, part in zip(leaves, received, strict=True):
        assert leaf.grad is not None
        assert torch.equal(leaf.grad, (part != 0).float())


def test_what_is_not_random_draws_nothing() -> None:
    for choose in ("fixed", "topk", "learned"):
        before = torch.get_rng_state()
        shield_of(keep=2, choose=choose)(smashed(5))
        assert torch.equal(torch.get_rng_state(), before)


def test_a_fixed_choice_comes_from_the_seed_and_sends_nothing_else() -> None:
    z = smashed(3)
    one, again = (shield_of(5, keep=2)(z) for _ in range(2))
    assert [part.shape[1:] for part in one] == [(2, 3, 3), (2,)]
    assert all(map(torch.equal, one, again))
    counts = torch.zeros(6)
    for seed in range(300):
        shield = shield_of(seed, keep=2)
        assert isinstance(shield, FixedShield)
        counts[shield.chosen[1]] += 1
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


@pytest.mark.parametrize("choose", ["fixed", "learned"])
def test_what_is_known_holds_for_fewer_numbers(choose: str) -> None:
    shield = shield_of(keep=2, choose=choose)
    assert isinstance(shield, FixedShield | LearnedShield)
    sides = tuple(float(index + 1) for index in range(42))
    found = shield.confine(Region(42, log2_points=50, sides=sides, l1=9.0, l2=4.0, premises=("before",)))
    places = flat(tuple(part[None] for part in torch.arange(42.0).split((36, 6)))).reshape(42)
    kept = flat(send(shield, (places[:36].reshape(1, 4, 3, 3) + 1, places[36:][None] + 1))[0])[0].tolist()
    assert found.sides == tuple(kept)  # side i is i + 1, and so was number i
    assert (found.numbers, found.log2_points, found.l1, found.l2) == (len(kept), 50, 9.0, 4.0)
    assert found.premises == ("before",)
    balls = shield.confine(Region(42, l2=4.0))
    assert (balls.sides, balls.l2, balls.l1) == ((), 4.0, math.inf)
    assert shield.confine(Region(42)).radius_l2() == math.inf
    vertices = shield.confine(Region(42, hull=10, hull_radius=2.0))
    assert (vertices.hull, vertices.l2) == (0, 2.0)


@pytest.mark.parametrize("choose", ["random", "keyed", "topk"])
def test_a_choice_that_differs_keeps_no_distances(choose: str) -> None:
    """Zeros in changing places may lie anywhere from the region: only the number of values is known."""
    found = shield_of(keep=2, choose=choose).confine(Region(42, log2_points=50, sides=(1.0,) * 42, l2=4.0))
    assert (found.numbers, found.log2_points, found.sides, found.l2) == (42, 50, (), math.inf)


def test_random_choices_are_all_alike() -> None:
    z = (torch.ones(6000, 4, 2, 2),)
    sent = sent_maps(send(RandomShield([(4, 2, 2)], [2]), z)[0][0])
    kinds, counts = sent.unique(dim=0, return_counts=True)
    assert len(kinds) == 6
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
def test_the_law_of_random_choices_agrees_with_enumeration(keep: int) -> None:
    """Zero maps are chosen without being seen, so several choices give one release."""
    z = torch.tensor([[1.0, 0, -2, 0.5], [1.0, 0, 0, 0.5], [0.0, 0, 0, 0.5], [3.0, 1, -2, 0.5], [0.0] * 4])
    wide = torch.stack([z, torch.zeros_like(z)], 2)[..., None]  # maps of two numbers, the second always zero

    def law(row: Tensor) -> dict[tuple[float, ...], float]:
        found: dict[tuple[float, ...], float] = {}
        for chosen in itertools.combinations(range(4), keep):
            release = tuple(value if index in chosen else 0.0 for index, value in enumerate(row.tolist()))
            found[release] = found.get(release, 0) + 1 / math.comb(4, keep)
        return found

    for part, shape in ((z, (4,)), (wide, (4, 2, 1))):
        for row in range(len(z)):
            own = law(z[row])
            flats = torch.tensor(list(own))
            releases = flats if shape == (4,) else torch.stack([flats, torch.zeros_like(flats)], 2)[..., None]
            found = RandomShield([shape], [keep]).log_likelihood((releases,), (part,)).exp()
            constant = found[:, row] / torch.tensor(list(own.values()), dtype=torch.float64)
            for other in range(len(z)):
                theirs = law(z[other])
                wanted = torch.tensor([theirs.get(release, 0.0) for release in own], dtype=torch.float64)
                assert torch.allclose(found[:, other], wanted * constant, atol=1e-6), (row, other)


def test_the_truth_stands_out_whoever_drew() -> None:
    for choose in ("random", "keyed"):
        shield, z = shield_of(keep=2, choose=choose), tuple(part.relu() for part in smashed(80))
        release = send(shield, z)[0]
        moved = tuple(part * (1 + 1e-6 * torch.randn(part.shape)) for part in z)
        for candidates in (z, moved):
            found = shield.log_likelihood(release, candidates)
            assert found is not None
            assert found.isfinite().all()
            assert (found.diagonal() >= found.max(1).values - 1e-3).all()


def test_repeats_of_random_choices_give_every_map_away_and_keyed_ones_none() -> None:
    z = smashed(15)
    fresh, keyed = shield_of(keep=2, choose="random"), shield_of(keep=2, choose="keyed")
    assert all(map(torch.equal, fresh.pool(send(fresh, z, 60)), z))
    assert all(map(torch.equal, keyed.pool(send(keyed, z, 60)), keyed(z)))
    assert len(sent_maps(keyed(z)[0]).unique(dim=0)) > 2, "the choice is the input's own"
    stranger = shield_of(keep=2, choose="keyed").forget()
    assert not all(map(torch.equal, send(stranger, z)[0], keyed(z)))


def test_the_largest_maps_are_those_of_greatest_norm() -> None:
    z = smashed(40)
    maps, single = LargestShield(SITE.shapes, [2, 3])(z)
    for row in range(40):
        norms = z[0][row].flatten(1).norm(dim=1)
        assert set(sent_maps(maps)[row].nonzero().flatten().tolist()) == set(norms.argsort()[2:].tolist())
        assert set(single[row].nonzero().flatten().tolist()) == set(z[1][row].abs().argsort()[3:].tolist())


class Told(nn.Module):
    """Four maps of what is as good as noise; map 0 shows one half of the label, map 2 the other."""

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.sin(1e4 * x[:, :1]).repeat(1, 4, 1, 1)
        bits = 2 * (x.mean((2, 3), keepdim=True) - 0.5).sign()
        return noise + torch.cat([bits[:, :1], 0 * bits[:, :1], bits[:, 1:], 0 * bits[:, :1]], 1)


def told() -> tuple[Tensor, Tensor]:
    """Images of two channels, each dark or bright: four classes."""
    labels = torch.arange(400) % 4
    bright = torch.stack([labels % 2, labels // 2], 1)[..., None, None]
    return torch.rand(400, 2, 5, 5, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.5 * bright, labels


def server() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(100, 4))


TOLD = Site(((4, 5, 5),), (2, 5, 5), 4)


@pytest.mark.parametrize("seed", range(3))
def test_gates_trained_with_the_network_find_the_maps_that_tell(seed: int) -> None:
    """Without mixing, gradients of weights that were never trained choose at random: 2 of 8 seeds found them."""
    images, labels = told()
    shield = shield_of(seed, TOLD, keep=2, choose="learned")
    assert isinstance(shield, LearnedShield)
    model = SplitModel(Told(), server(), Shields([shield]))
    train(model, images, labels, Training(epochs=25, batch=50, rate=0.02), Lab())
    assert set(shield.chosen[0].tolist()) == {0, 2}
    before = [score.clone() for score in shield.scores]
    assert (predict(model, images, Lab()).argmax(1) == labels).double().mean() > 0.95
    assert all(map(torch.equal, before, shield.scores)), "fixed once trained"


def test_on_a_trained_network_the_maps_are_chosen_by_what_the_loss_gains() -> None:
    images, labels = told()
    device = Told()
    model = SplitModel(device, server())
    train(model, images, labels, Training(epochs=10, batch=50, rate=0.02), Lab())
    for known in (labels, torch.full_like(labels, -1)):
        shield = shield_of(0, TOLD, keep=2, choose="learned")
        assert isinstance(shield, LearnedShield)

        def entering(x: Tensor) -> Smashed:
            return (device(x),)

        found = Fitting(images, known, entering, model.serve, trained=True, lab=Lab())
        shield.fit(Fitting(images, known, entering, model.serve, trained=False, lab=Lab()))
        assert shield.scores[0].abs().max() < 0.1, "before a training there is nothing to score"
        shield.fit(found)
        assert set(shield.chosen[0].tolist()) == {0, 2}
        assert "sent: 2," in shield.note()
        twin = shield_of(7, TOLD, keep=2, choose="learned")
        twin.load_state_dict(shield.state_dict())
        assert torch.equal(twin((device(images),))[0], shield((device(images),))[0])


def test_a_score_gets_the_gradient_of_its_gate_also_where_its_map_is_left_out() -> None:
    shield = shield_of(0, Site(((3, 2, 2),), (1, 8, 8), 10), keep=1, choose="learned")
    assert isinstance(shield, LearnedShield)
    z, weights = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    (shield((z,))[0] * weights).sum().backward()
    soft = shield.scores[0].sigmoid().detach()
    wanted = (z * weights).sum((0, 2, 3)) * soft * (1 - soft)
    assert torch.allclose(shield.scores[0].grad, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("choose", "more"), [("fixed", 0), ("learned", 0), ("random", 4 + 6), ("keyed", 4 + 6), ("topk", 4 + 6)]
)
def test_the_wire_carries_the_maps_and_which_they_are(choose: str, more: int) -> None:
    shield, z = shield_of(keep=3, choose=choose), smashed(2)
    assert shield.wire_bits(32 * 42.0, z, shield.quiet(z)) == pytest.approx(32 * (27 + 3) + more)
    lone = shield_of(site=Site(((64, 12, 12),), (1, 8, 8), 10), keep=1, choose=choose)
    maps = (torch.randn(2, 64, 12, 12),)
    assert lone.wire_bits(32 * 9216.0, maps, maps) == pytest.approx(32 * 144 + (6 if more else 0))
