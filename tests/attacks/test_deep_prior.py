"""Untrained networks as a prior: each victim's is its own, starts at nothing, and draws pictures before noise."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small import GREY, look, pictures, scene, shallow
from torch import Tensor, nn

from unsmash.attacks.deep_prior import DeepPrior
from unsmash.attacks.rmle import Rmle
from unsmash.defences.gaussian import GaussianShield
from unsmash.defences.laplace import LaplaceShield
from unsmash.errors import ThreatError
from unsmash.inversion import Descent, Target, invert
from unsmash.lab import Lab
from unsmash.split import Shield, SplitModel
from unsmash.threat import Grant
from unsmash.untrained_nets import INPUTS, LEAK, UntrainedNets
from unsmash.view import View


def seen(shield: Shield | None = None, cut: str = "flat", victims: int = 24) -> View:
    return look(shallow(cut, GREY, shield), scene(GREY, victims=victims), DeepPrior.needs)


def nets(shape: tuple[int, int, int] = GREY, width: int = 6, levels: int = 2) -> UntrainedNets:
    return UntrainedNets(shape, width, levels, Lab().generator("networks"))


def by_modules(space: UntrainedNets, weights: list[Tensor], start: Tensor, victim: int) -> Tensor:
    """One victim's image by torch's own layers, from its part of the weights."""
    maps, n = space.noise, len(start)
    for place, size in enumerate(space.sizes):
        weight, bias = (part.reshape(n, -1, *part.shape[1:])[victim] for part in weights[2 * place : 2 * place + 2])
        layer = nn.Conv2d(maps.shape[1], len(weight), 3, padding=1)
        layer.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
        if place:
            maps = nn.Upsample(size=size, mode="bilinear")(maps)
        maps = nn.LeakyReLU(LEAK)(nn.InstanceNorm2d(len(weight))(layer(maps)))
    weight, bias = (part.reshape(n, -1, *part.shape[1:])[victim] for part in weights[-2:])
    added = torch.einsum("oc,chw->ohw", weight[:, :, 0, 0], maps[0]) + bias[:, None, None]
    return (start[victim] + added).clamp(0, 1)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 11)], ids=["grey", "colour, odd"])
def test_the_grouped_networks_are_what_one_network_for_each_victim_is(shape: tuple[int, int, int]) -> None:
    space, start = nets(shape, levels=3), pictures(shape, 4)[0]
    search = space.search(start, torch.arange(4))
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for numbers in search.free:
            numbers += 0.1 * torch.randn(numbers.shape, generator=draw)
        images = search.images()
        for victim in range(4):
            assert torch.allclose(images[victim], by_modules(space, search.free, start, victim), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 105, 105), (1, 2, 3), (2, 1, 5)])
def test_it_begins_at_the_start_whatever_the_size(shape: tuple[int, int, int]) -> None:
    start = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    search = nets(shape, levels=3).search(start, torch.arange(2))
    assert torch.equal(search.images(), start)
    assert search.free[0].shape == (2 * 6, INPUTS, 3, 3)


def test_a_step_for_one_victim_moves_no_other() -> None:
    search = nets().search(torch.full((3, *GREY), 0.5), torch.arange(3))
    with torch.no_grad():
        search.free[-2] += 0.1
    gradients = torch.autograd.grad(search.images()[1].square().sum(), search.free)
    for gradient in gradients:
        mine = gradient.reshape(3, -1)
        assert mine[1].any() or len(mine[1]) == 6  # a bias before a standardisation changes nothing
        assert not mine[[0, 2]].any()


def test_a_victims_image_does_not_depend_on_who_else_is_attacked() -> None:
    view = seen(LaplaceShield(0.1), "maps")
    rows = torch.tensor([3, 17, 5])
    few = dataclasses.replace(view, repeats=tuple(tuple(part[rows] for part in release) for release in view.repeats))
    attack = DeepPrior(width=4, steps=20)
    assert torch.allclose(attack.run(view, Lab())[rows], attack.run(few, Lab()), atol=1e-3)


def test_the_network_draws_a_picture_sooner_than_noise() -> None:
    """The prior itself, on a release that is the image: what Ulyanov et al. show in their second figure."""
    shape = (1, 16, 16)
    model = SplitModel(nn.Flatten(), nn.Linear(256, 10)).eval()
    at = scene(shape, victims=12)
    mixed = torch.stack([x.flatten()[torch.randperm(256)] for x in at.victims]).reshape_as(at.victims)
    left = []
    for images in (at.victims, mixed):
        view = look(model, dataclasses.replace(at, victims=images), DeepPrior.needs)
        target = Target(view.device, view.shield, view.repeats, Lab())
        grey = torch.full_like(images, 0.5)
        space = UntrainedNets(shape, 16, 2, Lab().generator("networks"))
        found = invert(target, [grey], Descent(60, 0.02, 0), Lab(), "it", space)
        left.append((found.misfit / target.misfit(grey, torch.arange(12))).median().item())
    assert left[0] < 0.5 * left[1]


def test_noise_of_known_law_is_not_fitted() -> None:
    model = SplitModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 200)), nn.Linear(200, 10), GaussianShield(0.3)).eval()
    view = look(model, scene(GREY, victims=16), DeepPrior.needs)
    attack = DeepPrior(steps=300)
    guess = attack.run(view, Lab())
    blind = dataclasses.replace(view, shield=Shield())  # takes the same releases for exact ones
    fitted = attack.model_copy(update={"tv": 0.0}).run(blind, Lab())
    target, everyone = Target(view.device, view.shield, view.repeats, Lab()), torch.arange(16)
    with torch.no_grad():
        kept, lower = (target.misfit(x, everyone).mean().item() for x in (guess, fitted))
    spread = (2 * 200) ** 0.5  # of a χ² with 200 degrees
    assert kept > 200 - 0.5 * spread
    assert lower < 200 - spread


def test_total_variation_eases_to_its_weight() -> None:
    plan = Descent(100, 0.1, 0.2, ease=10)
    assert plan.weight(0) == pytest.approx(2.0)
    assert plan.weight(30) == pytest.approx(0.2 * 5.5)
    assert plan.weight(60) == plan.weight(99) == pytest.approx(0.2)
    assert [Descent(100, 0.1, 0.2).weight(step) for step in (0, 50)] == [0.2, 0.2]


def test_it_needs_the_weights_and_nothing_else() -> None:
    assert DeepPrior.needs == Rmle.needs == {Grant.WEIGHTS}
    view = look(shallow("flat", GREY), scene(GREY), (Grant.QUERIES, Grant.SHADOW))
    with pytest.raises(ThreatError, match="weights"):
        DeepPrior().run(view, Lab())
