"""The simplex: its geometry, the hull that holds every point, the noise's exact law, the server's weighing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from unsmash.bounds.messages import hull_messages, log2_messages
from unsmash.bounds.regions import Region
from unsmash.data.base import Splits
from unsmash.defences.simplex import RADIUS, Simplex, SimplexShield, simplex
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.split import Fitting, Site, Smashed
from unsmash.split.train import predict
from unsmash.victim import prepare

SITE = Site(((12,),), (1, 8, 8), 10)


def armed(classes: int = 10, **raw: Any) -> SimplexShield:
    made = Simplex.model_validate({"kind": "simplex", **raw})
    shield = made.arm(Site(((12,),), (1, 8, 8), classes), Lab()).eval()
    assert isinstance(shield, SimplexShield)
    return shield


def smashed(count: int, size: float = 1.0) -> Smashed:
    return (size * torch.randn(count, 12, generator=torch.Generator().manual_seed(count)),)


def send(shield: SimplexShield, z: Smashed, seed: int = 0) -> Tensor:
    with Lab(seed=seed).seeded("send"), torch.no_grad():
        return shield(z)[0]


@pytest.mark.parametrize("vertices", [2, 3, 10, 100, 1000])
def test_the_vertices_are_a_regular_simplex(vertices: int) -> None:
    corners = simplex(vertices).double()
    assert corners.shape == (vertices, vertices - 1)
    assert torch.allclose(corners.norm(dim=1), torch.ones(vertices).double(), atol=1e-6)
    assert corners.mean(0).abs().max() < 1e-6
    apart = torch.cdist(corners, corners)[~torch.eye(vertices, dtype=torch.bool)]
    assert torch.allclose(apart, torch.full_like(apart, math.sqrt(2 * vertices / (vertices - 1))), atol=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_every_point_is_a_mean_of_the_vertices(size: float) -> None:
    shield = armed()
    points = shield.quiet(smashed(200, size))[0].double()
    corners = shield.vertices.double()
    # the weights that give a point back: they are unique, and the hull is where none is negative
    weights = points @ corners.T * (9 / 10) + 1 / 10
    assert torch.allclose(weights @ corners, points, atol=1e-5)
    assert weights.min() > -1e-5
    assert torch.allclose(weights.sum(1), torch.ones(200).double(), atol=1e-5)
    assert points.norm(dim=1).max() <= RADIUS * (1 + 1e-6)


def test_a_cold_softmax_moves_points_to_their_vertex() -> None:
    norms = [armed(temperature=t).quiet(smashed(100))[0].norm(dim=1).mean().item() for t in (4, 1, 0.25, 0.01)]
    assert norms == sorted(norms)
    assert norms[-1] > 0.95 > norms[0]


def test_the_bound_is_that_of_the_hull() -> None:
    shield = armed(radius_over_sigma=5)
    region = shield.confine(Region(12))
    bits, fact = log2_messages(region, shield.noise)
    assert fact == "hull"
    assert bits == pytest.approx(hull_messages(5, 10))
    assert 2**bits / 500 == pytest.approx(0.25, abs=0.005)  # the certificate of science.md, section 13
    assert 2 ** log2_messages(armed(radius_over_sigma=3.73).confine(Region(12)), armed(radius_over_sigma=3.73).noise)[
        0
    ] / 500 == pytest.approx(0.10, abs=0.002)
    assert len(region.premises) == 2
    assert shield.confine(Region(12, log2_points=3)).log2_points == 3  # three bits in, three bits out


@pytest.mark.parametrize("train_noise", [True, False])
def test_the_noise_is_gaussian_with_the_sigma_claimed(train_noise: bool) -> None:
    shield = armed(radius_over_sigma=2.5, train_noise=train_noise)
    z = smashed(4000)
    noise = (send(shield, z) - shield.quiet(z)[0]).flatten().detach().numpy()
    assert stats.kstest(noise, stats.norm(scale=0.4).cdf).pvalue > 0.01
    assert stats.kstest(noise, stats.norm(scale=0.41).cdf).pvalue < 0.01
    assert torch.equal(send(shield.train(), z), shield.quiet(z)[0]) != train_noise


def test_the_likelihood_is_exact() -> None:
    shield, z = armed(radius_over_sigma=3), smashed(9)
    release = send(shield, z)
    found = shield.log_likelihood((release,), z)
    points = shield.quiet(z)[0].detach()
    wanted = stats.norm(scale=1 / 3).logpdf((release[:, None] - points[None]).double().numpy()).sum(2)
    assert found.dtype == torch.float64
    assert torch.allclose(found - found[:, :1], torch.from_numpy(wanted - wanted[:, :1]), atol=1e-5)


def test_the_server_weighs_the_vertices_by_bayes_rule() -> None:
    shield = armed(radius_over_sigma=3)
    with torch.no_grad():
        shield.receiver.linear.weight.copy_(torch.eye(12)[:, :10])
        shield.receiver.linear.bias.zero_()
    release = torch.randn(20, 9, generator=torch.Generator().manual_seed(0))
    densities = stats.norm(scale=1 / 3).logpdf((release[:, None] - shield.vertices[None]).double().numpy()).sum(2)
    wanted = torch.from_numpy(densities).softmax(1)
    weights = shield.receive((release,))[0][:, :10].double()
    assert torch.allclose(weights, wanted, atol=1e-5)
    nearest = torch.cdist(release, shield.vertices).argmin(1)
    assert torch.equal(weights.argmax(1), nearest)  # the nearest vertex is the likeliest


def test_gradients_pass_as_through_a_softmax_at_temperature_one() -> None:
    shield, weight = armed(temperature=0.05), torch.randn(30, 9, generator=torch.Generator().manual_seed(2))
    z = smashed(30)[0].requires_grad_()
    (shield.quiet((z,))[0] * weight).sum().backward()
    found, z.grad = z.grad, None
    assert found is not None
    ((shield.head((z,)).softmax(1) @ shield.vertices) * weight).sum().backward()
    assert z.grad is not None
    assert torch.allclose(found, z.grad, atol=1e-6)


def test_the_penalty_is_the_heads_own_cross_entropy() -> None:
    shield, z, y = armed(), smashed(16), torch.arange(16) % 10
    wanted = nn.functional.cross_entropy(shield.head(z), y)
    assert torch.equal(shield.penalty(torch.zeros(16, 1, 8, 8), z, shield(z), y), wanted)


def test_one_class_leaves_nothing_to_tell() -> None:
    shield, z = armed(1), smashed(5)
    assert send(shield, z).shape == (5, 1)
    assert len(shield.quiet(z)[0].unique(dim=0)) == 1
    assert shield.receive((send(shield, z),))[0].shape == (5, 12)


def test_a_burst_has_one_point_with_one_noise() -> None:
    shield = armed(burst=1.0)
    shield.reach.fill_(1e3)
    frames = [smashed(6), smashed(6, 1.01), smashed(6, 0.99)]
    with Lab().seeded("burst"):
        sent = [release[0] for release in shield.session(frames)]
    assert torch.equal(sent[0], sent[1])
    assert torch.equal(sent[0], sent[2])


def trained(digits: Splits, when: str, **raw: Any) -> tuple[Any, Tensor]:
    defence = {"kind": "simplex", "when": when, "epochs": 60, "burst": 1.0, **raw}
    one = study(
        {"data": {"kind": "digits"}, "model": "shallow_net", "defences": [defence], "train": {"epochs": 30, "batch": 8}}
    )
    victim = prepare(one.experiment, digits, Lab(), None)
    return victim.model, predict(victim.model, digits.victims.pixels, Lab()).argmax(1)


@pytest.mark.parametrize("when", ["always", "inference"])
def test_on_real_digits_the_server_keeps_what_the_nearest_vertex_tells(digits: Splits, when: str) -> None:
    model, answers = trained(digits, when, radius_over_sigma=6)
    shield, truth = model.shield.layers[0], digits.victims.labels
    with Lab().seeded("nearest"), torch.no_grad():
        z = model.smash(digits.victims.pixels)
        nearest = torch.cdist(shield(z)[0], shield.vertices).argmin(1)
    accuracy = (answers == truth).double().mean()
    assert accuracy > 0.6
    assert accuracy >= (nearest == truth).double().mean() - 0.1
    assert shield.reach > 0


def test_put_on_a_trained_network_it_leaves_the_network_as_it_was(digits: Splits) -> None:
    raw = {"data": {"kind": "digits"}, "model": "shallow_net", "train": {"epochs": 3}}
    plain = prepare(study(raw).experiment, digits, Lab(), None).model
    defended, _ = trained(digits, "inference", epochs=1)
    assert defended.device.state_dict().keys() == plain.device.state_dict().keys()
    again, _ = trained(digits, "inference", epochs=3)
    for part in ("device", "server"):
        one, other = getattr(defended, part).state_dict(), getattr(again, part).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_more_passes_fit_another_shield(digits: Splits) -> None:
    made = []
    for epochs in (1, 2):
        shield = armed(epochs=epochs)
        with Lab().seeded("fit"):
            shield.fit(
                Fitting(
                    torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
                    torch.arange(40) % 10,
                    lambda x: (x.flatten(1)[:, :12],),
                    lambda z: z[0][:, :10],
                    trained=True,
                    lab=Lab(),
                )
            )
        made.append(shield.head.last.weight)
    assert not torch.equal(made[0], made[1])
