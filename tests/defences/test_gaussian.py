"""The Gaussian mechanism: σ for ε from the bounds, a clip that is a projection, and the exact law."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from unsmash.bounds.epsilon import gaussian_epsilon, gaussian_sigma, local_epsilon
from unsmash.bounds.regions import Region
from unsmash.defences.gaussian import Gaussian, GaussianShield
from unsmash.errors import ConfigError
from unsmash.experiment import component
from unsmash.lab import Lab
from unsmash.split import Fitting, Site, Smashed, flat
from unsmash.split.clip import norms, scaled

SITE = Site(((4, 3, 3), (5,)), (1, 8, 8), 10)


def made(**raw: object) -> Gaussian:
    return Gaussian.model_validate({"kind": "gaussian", **raw})


def shield_of(**raw: object) -> GaussianShield:
    shield = made(**raw).arm(SITE, Lab()).eval()
    assert isinstance(shield, GaussianShield)
    return shield


def smashed(count: int, size: float = 1.0) -> Smashed:
    draw = torch.Generator().manual_seed(count)
    return tuple(size * torch.randn(count, *shape, generator=draw) for shape in SITE.shapes)


def test_as_published_it_adds_sigma_times_normal_numbers() -> None:
    z = smashed(7)
    with Lab().seeded("noise"):
        release = GaussianShield(0.3)(z)
    with Lab().seeded("noise"):
        wanted = tuple(part + torch.randn_like(part) * 0.3 for part in z)
    assert all(map(torch.equal, release, wanted))
    assert shield_of().sigma == 0.5
    assert shield_of(sigma=2).sigma == 2


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"epsilon": 3}, "epsilon needs clip to be a number"),
        ({"epsilon": 3, "clip": "learned"}, "epsilon needs clip to be a number"),
        ({"epsilon": 3, "clip": 1, "sigma": 2}, "sigma or epsilon, not both"),
        ({"epsilon": 3, "clip": 1, "delta": 0.02}, "delta"),
        ({"epsilon": 3, "clip": 1, "delta": 0}, "delta"),
        ({"clip": 0}, "a number above 0"),
        ({"clip": "lerned"}, "`learned`"),
        ({"clip": float("inf")}, "a number above 0"),
        ({"clip": 1, "epsilon": 0}, "epsilon"),
        ({"sigma": 0}, "sigma"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        component({"kind": "gaussian", **raw}, "defences", "defences.0")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError):
        made(**raw)


@pytest.mark.parametrize("raw", [{}, {"clip": 2}, {"clip": "learned"}, {"clip": 2, "epsilon": 5}, {"sigma": 1}])
def test_what_makes_sense_round_trips(raw: dict[str, Any]) -> None:
    assert made(**made(**raw).model_dump(mode="json")) == made(**raw)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0, 1000.0])
@pytest.mark.parametrize("delta", [1e-10, 1e-5, 1e-2])
@pytest.mark.parametrize("clip", [0.01, 1.0, 300.0])
def test_sigma_is_the_least_that_has_the_target_epsilon(epsilon: float, delta: float, clip: float) -> None:
    shield = shield_of(epsilon=epsilon, clip=clip, delta=delta)
    region = shield.confine(Region(SITE.numbers))
    assert shield.sigma == gaussian_sigma(2 * clip, epsilon, delta)
    found = local_epsilon(region, shield.noise, delta=shield.delta)
    assert epsilon * (1 - 1e-6) <= found <= epsilon * (1 + 1e-9)
    assert gaussian_epsilon(2 * clip, shield.sigma * 0.999, delta) > epsilon


def test_each_strength_counts() -> None:
    base = {"clip": 2.0, "epsilon": 4.0, "delta": 1e-5}
    for name, value in base.items():
        assert shield_of(**base | {name: value * 2}).sigma != shield_of(**base).sigma
    z = smashed(5)
    assert not torch.equal(shield_of(sigma=1, clip=2).quiet(z)[0], shield_of(sigma=1, clip=4).quiet(z)[0])


rows = st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=6, max_size=6), min_size=2, max_size=4)


def split(vectors: list[list[float]]) -> Smashed:
    whole = torch.tensor(vectors)
    return whole[:, :4].reshape(-1, 1, 2, 2), whole[:, 4:]


@settings(max_examples=200, deadline=None)
@given(rows, st.floats(1e-3, 1e4))
def test_clipping_is_the_projection_onto_the_ball(vectors: list[list[float]], radius: float) -> None:
    z = split(vectors)
    before, after = flat(z).double(), flat(scaled(z, radius, 2)).double()
    size = before.norm(dim=1)
    assert (after.norm(dim=1) <= radius * (1 + 1e-6)).all()
    inside = size < radius * (1 - 1e-6)
    assert torch.equal(after[inside], before[inside])
    nearest = before * (radius / size.clamp(min=radius))[:, None]
    assert torch.allclose(after, nearest, rtol=1e-5, atol=1e-6 * radius)
    # no two points move apart, which is what lets facts about distances through
    assert (torch.cdist(after, after) <= torch.cdist(before, before) * (1 + 1e-5) + 1e-5 * radius).all()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e18, 1e30])
def test_extreme_releases_stay_in_the_ball_and_finite(order: int, size: float) -> None:
    z = tuple(part.requires_grad_() for part in smashed(6, size))
    sent = scaled(z, 3.0, order)
    assert (norms(tuple(part.double() for part in sent), order) <= 3 * (1 + 1e-5)).all()
    flat(sent).sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in z)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("radius", [0.5, 100.0])
def test_the_gradient_is_that_of_the_scaling(order: int, radius: float) -> None:
    z = tuple(part.double().requires_grad_() for part in smashed(3))
    assert torch.autograd.gradcheck(lambda *parts: scaled(parts, radius, order), z)


def test_outside_the_ball_a_longer_release_sends_the_same() -> None:
    (z,) = (torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_(),)
    weights = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (slope,) = torch.autograd.grad((scaled((z,), 0.5, 2)[0] * weights).sum(), z)
    assert slope.norm() > 0.1
    assert (slope * z).sum(1).abs().max() < 1e-12


def test_the_clip_is_on_all_tensors_together() -> None:
    sent = shield_of(sigma=1, clip=2).quiet(smashed(9))
    assert torch.allclose(flat(sent).norm(dim=1), torch.full((9,), 2.0))


def test_the_noise_is_put_on_the_clipped_release() -> None:
    shield, z = shield_of(sigma=0.7, clip=2), smashed(1)
    with Lab().seeded("many"):
        sent = flat(tuple(torch.cat(parts) for parts in zip(*(shield(z) for _ in range(3000)), strict=True)))
    noise = (sent - flat(shield.quiet(z))).flatten().numpy()
    assert stats.kstest(noise, stats.norm(scale=0.7).cdf).pvalue > 0.01
    assert (flat(z) - flat(shield.quiet(z))).abs().max() > 0.5


def test_the_likelihood_is_that_of_the_clipped_candidates() -> None:
    shield, z = shield_of(sigma=0.7, clip=2), smashed(6)
    with Lab().seeded("release"):
        release = shield(z)
    found = shield.log_likelihood(release, z)
    means = flat(shield.quiet(z)).double().numpy()
    sent = flat(release).numpy()
    wanted = torch.tensor([[stats.norm(mean, 0.7).logpdf(row).sum() for mean in means] for row in sent])
    assert found.dtype == torch.float64
    assert torch.allclose(found - found[:, :1], wanted - wanted[:, :1], atol=1e-4)


def test_only_a_fixed_clip_is_a_fact() -> None:
    region = Region(SITE.numbers, log2_points=70.0, sides=(8.0,) * SITE.numbers, premises=("before",))
    assert shield_of(sigma=1).confine(region) == region
    found = shield_of(sigma=1, clip=3).confine(region)
    assert (found.l2, found.log2_points, found.sides) == (3.0, 70.0, ())
    assert found.premises[0] == "before"
    assert "at most 3 before the noise." in found.premises[1]
    wide = shield_of(sigma=1, clip=500).confine(region)
    assert wide.l2 == pytest.approx(region.radius_l2())  # a projection keeps what was known of distances
    unknown = Region(SITE.numbers)
    assert shield_of(sigma=1, clip="learned").confine(unknown).radius_l2() == math.inf
    assert shield_of(sigma=1).confine(unknown).radius_l2() == math.inf


def fitting(images: Tensor) -> Fitting:
    def entering(x: Tensor) -> Smashed:
        return x, x.flatten(1)[:, :2]

    return Fitting(images, torch.zeros(len(images)), entering, lambda z: z[0].flatten(1), trained=False, lab=Lab())


def test_a_learned_clip_is_a_quantile_of_the_training_norms_and_proves_nothing() -> None:
    images = torch.rand(700, 1, 3, 3, generator=torch.Generator().manual_seed(5))
    size = torch.cat([images.flatten(1), images.flatten(1)[:, :2]], 1).norm(dim=1)
    for quantile in (0.2, 0.5, 1.0):
        shield = GaussianShield(1.0, "learned", quantile=quantile)
        assert shield.radius == math.inf
        assert shield.note() == ""
        z = fitting(images).entering(images)
        assert all(map(torch.equal, shield.quiet(z), z))
        shield.fit(fitting(images))
        assert shield.radius == pytest.approx(size.double().quantile(quantile).item(), rel=1e-5)
        assert ((flat(shield.quiet(z)) != flat(z)).any(1)).double().mean() == pytest.approx(1 - quantile, abs=0.01)
        assert "proved" in shield.note()
        assert math.isinf(local_epsilon(shield.confine(Region(11)), shield.noise, delta=1e-5))
        other = GaussianShield(1.0, "learned")
        other.load_state_dict(shield.state_dict())
        assert other.radius == shield.radius


def test_a_learned_clip_of_nothing_clips_nothing() -> None:
    shield = GaussianShield(1.0, "learned")
    shield.fit(fitting(torch.zeros(20, 1, 3, 3)))
    assert shield.radius == math.inf


def test_a_fixed_clip_learns_nothing() -> None:
    shield = GaussianShield(1.0, 2)
    shield.fit(fitting(torch.rand(20, 1, 3, 3)))
    assert shield.radius == 2
    assert shield.state_dict() == {}
    assert shield.note() == ""


def test_noise_on_short_codes_takes_whole_numbers_again() -> None:
    z = smashed(2)
    assert shield_of(clip=2).wire_bits(41.0, z, z) == 32 * 41


def test_repeats_of_a_memoised_draw_do_not_average_out() -> None:
    z = smashed(4)
    for memoise, left in ((False, 0.01), (True, 0.5)):
        shield = shield_of(sigma=1, clip=2, memoise=memoise)
        with Lab().seeded("repeats"):
            pooled = shield.pool([shield(z) for _ in range(200)])
        error = (flat(pooled) - flat(shield.quiet(z))).square().mean()
        assert error < left if not memoise else error > left
