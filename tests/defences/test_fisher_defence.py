"""Fisher-calibrated noise: the leakage that was asked for is the leakage that is there."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from small import GREY, pictures, shallow
from torch import Tensor, nn

from unsmash.bounds.fisher import trace_exact
from unsmash.bounds.regions import Noise, Region
from unsmash.defences.fisher import Fisher, FisherShield
from unsmash.defences.gaussian import GaussianShield
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.split import Fitting, Shields, Site, Smashed, SplitModel, as_tuple, flat
from unsmash.split.train import Training, train

X, Y = pictures(GREY, 200)
CUTS = {"flat": ((96,),), "maps": ((5, 3, 3),), "several": ((4, 3, 3), (9,))}


def armed(cut: str = "flat", **settings: Any) -> FisherShield:
    shield = Fisher(**settings).arm(Site(CUTS[cut], GREY, 10), Lab()).eval()
    assert isinstance(shield, FisherShield)
    return shield


def fitting(device: nn.Module, *, trained: bool = True, images: Tensor = X) -> Fitting:
    def entering(x: Tensor) -> Smashed:
        return as_tuple(device(x))

    return Fitting(images, Y[: len(images)], entering, lambda z: flat(z)[:, :10], trained, Lab(seed=3))


@functools.cache
def network(cut: str) -> SplitModel:
    model = shallow(cut, GREY)
    train(model, X, Y, Training(epochs=3, batch=50), Lab(seed=1))
    return model.requires_grad_(False)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("target", [0.02, 1.0, 50.0])
def test_the_leakage_found_is_the_leakage_asked_for(cut: str, target: float) -> None:
    device, shield = network(cut).device, armed(cut, target=target, images=200, probes=100)
    shield.fit(fitting(device))
    exact = trace_exact(lambda x: flat(as_tuple(device(x))), X, shield.noise.smallest).mean().item() / 64
    assert exact == pytest.approx(target, rel=0.02)


def test_of_a_linear_map_sigma_is_known_in_closed_form() -> None:
    with Lab().seeded("map"):
        device = nn.Sequential(nn.Flatten(), nn.Linear(64, 96))
    weight = next(device.parameters())
    shield = armed(target=0.3, images=100, probes=400)
    shield.fit(fitting(device))
    assert shield.sigma.item() == pytest.approx(weight.norm().item() / math.sqrt(64 * 0.3), rel=0.02)


def test_sigma_follows_the_target_alone_once_the_slope_is_known() -> None:
    device = network("flat").device
    sigmas = []
    for target in (0.1, 0.4):
        shield = armed(target=target)
        shield.fit(fitting(device))
        sigmas.append(shield.sigma.item())
    assert sigmas[0] == pytest.approx(2 * sigmas[1], rel=1e-9)


@pytest.mark.parametrize(("name", "value"), [("images", 50), ("probes", 2)])
def test_less_effort_gives_another_estimate_near_by(name: str, value: int) -> None:
    found = []
    for settings in ({"probes": 40}, {"probes": 40, name: value}):
        shield = armed(**{"images": 200} | settings)  # type: ignore[arg-type]
        shield.fit(fitting(network("flat").device))
        found.append(shield.sigma.item())
    assert found[0] != found[1]
    assert found[0] == pytest.approx(found[1], rel=0.15)


@pytest.mark.parametrize("cut", CUTS)
def test_the_log_likelihood_is_scipys(cut: str) -> None:
    shield = armed(cut, start=0.7)
    draw = torch.Generator().manual_seed(4)
    z = tuple(torch.randn(7, *shape, generator=draw) for shape in CUTS[cut])
    with Lab().seeded("noise"):
        release = shield(z)
    found = shield.log_likelihood(release, z)
    sent, known = flat(release).double(), flat(z).double()
    wanted = torch.from_numpy(stats.norm(scale=0.7).logpdf((sent[:, None] - known[None]).numpy()).sum(2))
    assert found.dtype == torch.float64
    assert torch.allclose(found - found[:, :1], wanted - wanted[:, :1], atol=1e-6)


def test_the_noise_is_gaussian_of_the_sigma_found() -> None:
    shield = armed(target=0.3)
    shield.fit(fitting(network("flat").device))
    with Lab().seeded("noise"):
        noise = flat(shield((torch.zeros(500, 96),))).flatten().double().numpy()
    sigma = shield.noise.smallest
    assert shield.noise == Noise("gaussian", sigma)
    assert stats.kstest(noise, stats.norm(scale=sigma).cdf).pvalue > 0.01
    assert stats.kstest(noise, stats.norm(scale=1.03 * sigma).cdf).pvalue < 0.01


def test_the_slope_is_that_of_all_that_stands_before() -> None:
    model = network("flat")
    plain, clipped = armed(), armed()
    plain.fit(fitting(model.device))
    before = Shields([GaussianShield(0.5, 0.1)])  # a clip to norm 0.1: the noise-free release hardly moves
    entering = lambda x: before.quiet(model.smash(x))  # noqa: E731
    clipped.fit(Fitting(X, Y, entering, model.serve, True, Lab(seed=3)))
    assert clipped.sigma < 0.1 * plain.sigma


def test_more_images_than_there_are_is_all_of_them() -> None:
    shield = armed(images=1000)
    shield.fit(fitting(network("flat").device, images=X[:20]))
    assert math.isfinite(shield.sigma.item())


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) * 8).round() + 0 * x.flatten(1)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x.flatten(1)


@pytest.mark.parametrize("device", [Rounded(), Constant()])
def test_what_has_no_slope_is_refused(device: nn.Module) -> None:
    with pytest.raises(ConfigError, match="slope"):
        armed().fit(fitting(device))


def test_the_network_and_the_random_state_are_left_as_they_are() -> None:
    device = shallow("flat", GREY).device
    state = torch.get_rng_state()
    one, other = armed(), armed()
    one.fit(fitting(device))
    other.fit(fitting(device))
    assert one.sigma == other.sigma
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in device.parameters())


def test_it_waits_for_the_trained_network() -> None:
    shield = armed(start=0.2)
    shield.fit(fitting(network("flat").device, trained=False))
    assert shield.sigma == 0.2
    assert shield.note() == ""
    with pytest.raises(ValidationError, match="inference: fisher finds its noise on the trained network"):
        Fisher(when="always")
    assert Fisher().when == "inference"


def test_the_note_tells_sigma_and_whom_its_bound_binds() -> None:
    shield = armed(target=0.5)
    shield.fit(fitting(network("flat").device))
    assert f"σ = {shield.sigma.item():.3g}" in shield.note()
    assert "1/dFIL = 2 bounds the squared error of unbiased attackers only" in shield.note()
    again = armed(target=0.5)
    again.load_state_dict(shield.state_dict())
    assert again.note() == shield.note()


def test_what_bounds_the_release_before_bounds_it_still() -> None:
    region = Region(96, l2=2.0, premises=("a clip",))
    assert armed().confine(region) == region
