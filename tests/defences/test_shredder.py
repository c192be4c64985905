"""Shredder: noise of the law it claims, as much of it on each number as the trained network's answer bears."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from small import GREY, pictures, shallow
from torch import Tensor, nn

from unsmash.bounds.regions import Region
from unsmash.defences.shredder import Shredder, ShredderShield
from unsmash.lab import Lab
from unsmash.split import Fitting, Shields, Site, SplitModel, flat
from unsmash.split.train import Training, predict, train

X, Y = pictures(GREY, 400)
UNSEEN, TRUTH = pictures(GREY, 400, 400)
LAWS = {"laplace": stats.laplace, "gaussian": stats.norm}
laws = pytest.mark.parametrize("law", LAWS)


def armed(shapes: tuple[tuple[int, ...], ...] = ((96,),), **settings: Any) -> ShredderShield:
    shield = Shredder(**settings).arm(Site(shapes, GREY, 10), Lab()).eval()
    assert isinstance(shield, ShredderShield)
    return shield


@functools.cache
def network() -> SplitModel:
    model = shallow("flat", GREY)
    train(model, X, Y, Training(epochs=20, batch=50, rate=1e-2), Lab(seed=1))
    return model


def fitting(*, trained: bool = True, labels: Tensor = Y) -> Fitting:
    model = network()
    return Fitting(X, labels, lambda x: model.smash(x), lambda z: model.serve(z), trained, Lab(seed=3))


def fitted(**settings: Any) -> ShredderShield:
    shield = armed(**settings)
    shield.fit(fitting())
    return shield


def uneven(law: str) -> ShredderShield:
    """Several tensors, with a location and scale of its own for each number."""
    shield = armed(((2, 3, 3), (5,)), law=law)
    draw = torch.Generator().manual_seed(4)
    shield.scale.copy_(torch.rand(23, generator=draw) * 3 + 0.1)
    shield.location.copy_(torch.randn(23, generator=draw))
    return shield


def smashed(count: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(count)
    return torch.randn(count, 2, 3, 3, generator=draw), torch.randn(count, 5, generator=draw)


@laws
def test_each_number_has_noise_of_its_own_scale_about_its_own_location(law: str) -> None:
    shield = uneven(law)
    with Lab(seed=2).seeded("noise"):
        rows = flat(shield(tuple(torch.zeros(20_000, *shape) for shape in shield.shapes))).double()
    for column, location, scale in zip(rows.T, shield.location.tolist(), shield.scale.tolist(), strict=True):
        assert stats.kstest(column.numpy(), LAWS[law](location, scale).cdf).pvalue > 1e-4
        assert stats.kstest(column.numpy(), LAWS[law](location, 1.1 * scale).cdf).pvalue < 1e-4
    correlation = torch.corrcoef(rows.T) - torch.eye(23)
    assert correlation.abs().max() < 5 / len(rows) ** 0.5


@laws
def test_the_log_likelihood_is_scipys(law: str) -> None:
    shield, z = uneven(law), smashed(7)
    with Lab().seeded("noise"):
        release = shield(z)
    found = shield.log_likelihood(release, z)
    scale, location = shield.scale.double().numpy(), shield.location.double().numpy()
    sent, known = flat(release).double().numpy(), flat(z).double().numpy()
    density = LAWS[law](known[None] + location, scale).logpdf(sent[:, None]).sum(2)
    assert found.dtype == torch.float64
    # up to a constant, which the scales make: it is the same for every candidate
    assert np.allclose(found.numpy() - found.numpy()[:, :1], density - density[:, :1], atol=1e-4)


@laws
def test_the_law_it_tells_bounds_is_the_one_it_draws_from(law: str) -> None:
    shield = uneven(law)
    assert shield.noise.law == law
    assert shield.noise.scales(23) == tuple(shield.scale.tolist())
    before = Region(23, sides=(1.0,) * 23, l2=3.0)
    assert shield.confine(before) == before


def test_without_its_noise_only_the_locations_are_added() -> None:
    shield, z = uneven("laplace"), smashed(3)
    assert torch.allclose(flat(shield.quiet(z)), flat(z) + shield.location)


def test_it_learns_more_noise_than_it_starts_with_and_the_answers_stay() -> None:
    shield, model = fitted(start=0.1), network()
    assert shield.scale.median() > 0.2
    right = (predict(model, UNSEEN, Lab()).argmax(1) == TRUTH).double().mean()
    model = SplitModel(model.device, model.server, Shields([shield])).eval()
    still = (predict(model, UNSEEN, Lab()).argmax(1) == TRUTH).double().mean()
    assert right > 0.85
    assert still > right - 0.05


def test_numbers_that_the_server_ignores_are_drowned() -> None:
    model = shallow("flat", GREY)
    model.load_state_dict(network().state_dict())
    assert isinstance(model.server, nn.Linear)
    with torch.no_grad():
        model.server.weight[:, :48] = 0
    shield = armed(start=0.1)
    shield.fit(Fitting(X, Y, lambda x: model.smash(x), lambda z: model.serve(z), True, Lab(seed=3)))
    assert shield.scale[:48].min() > 3 * shield.scale[48:].median()
    assert shield.scale.max() <= 1e6


@laws
def test_stronger_settings_give_more_noise(law: str) -> None:
    def noise(**settings: float) -> float:
        return fitted(**({"law": law, "start": 0.1, "epochs": 4, "weight": 1.0} | settings)).scale.log().mean().item()

    least = noise()
    assert noise(weight=0.03) < least - 0.1
    assert noise(epochs=8) > least + 0.1
    assert noise(rate=0.2) > least + 0.1


def test_the_locations_bring_the_server_back_on_course() -> None:
    """A server that leans towards one class is set right by what is sent to it."""
    model = shallow("flat", GREY)
    model.load_state_dict(network().state_dict())
    assert isinstance(model.server, nn.Linear)
    with torch.no_grad():
        model.server.bias[3] += 8
    shield = armed(start=0.1)
    model.shield = Shields([shield]).eval()
    before = (predict(model, UNSEEN, Lab()).argmax(1) == TRUTH).double().mean()
    shield.fit(Fitting(X, Y, lambda x: model.smash(x), lambda z: model.serve(z), True, Lab(seed=3)))
    after = (predict(model, UNSEEN, Lab()).argmax(1) == TRUTH).double().mean()
    assert before < 0.6
    assert after > before + 0.2, after


def test_the_network_is_left_as_it_is() -> None:
    model = network()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    fitted(epochs=1)
    assert all(map(torch.equal, before, model.state_dict().values()))
    assert not list(armed().parameters())


def test_the_fit_is_the_same_every_time_and_leaves_the_random_state() -> None:
    state = torch.get_rng_state()
    assert torch.equal(fitted(epochs=1).scale, fitted(epochs=1).scale)
    assert torch.equal(torch.get_rng_state(), state)


def test_images_without_labels_are_learned_from_by_the_networks_own_answers() -> None:
    shield = armed(start=0.1)
    shield.fit(fitting(labels=torch.full_like(Y, -1)))
    assert shield.scale.median() > 0.2


def test_it_waits_for_the_trained_network() -> None:
    shield = armed()
    shield.fit(fitting(trained=False))
    assert (shield.scale == 0.5).all()
    assert shield.note() == ""
    with pytest.raises(ValidationError, match="inference: shredder learns its noise on the trained network"):
        Shredder(when="always")
    assert Shredder().when == "inference"


def test_the_note_tells_the_scales() -> None:
    note = fitted(epochs=1).note()
    assert "median scale" in note
    assert "started at 0.5" in note


def test_many_laplace_releases_pool_to_their_median() -> None:
    z = (torch.zeros(5, 96),)
    for law, count, better in (("laplace", 15, 1.0), ("laplace", 17, 0.85), ("gaussian", 17, 1.0)):
        shield = armed(law=law)
        with Lab().seeded("pool"):
            many = [shield(z) for _ in range(count)]
            errors = [shield.pool([shield(z) for _ in range(count)])[0].square().mean() for _ in range(50)]
            means = [torch.stack([shield(z)[0] for _ in range(count)]).mean(0).square().mean() for _ in range(50)]
        assert shield.pool(many)[0].shape == (5, 96)
        assert sum(errors) < 1.05 * better * sum(means)
