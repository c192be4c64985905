"""The Laplace mechanism: b for ε, a clip in L1, and noise that is right far out in the tail."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from unsmash.bounds.epsilon import local_epsilon
from unsmash.bounds.messages import log2_messages
from unsmash.bounds.regions import Region
from unsmash.defences import laplace as module
from unsmash.defences.laplace import Laplace, LaplaceShield, standard
from unsmash.errors import ConfigError
from unsmash.experiment import component
from unsmash.lab import Lab
from unsmash.split import Fitting, Site, Smashed, flat
from unsmash.split.clip import scaled

SITE = Site(((4, 3, 3), (5,)), (1, 8, 8), 10)


def shield_of(**raw: object) -> LaplaceShield:
    shield = Laplace.model_validate({"kind": "laplace", **raw}).arm(SITE, Lab()).eval()
    assert isinstance(shield, LaplaceShield)
    return shield


def smashed(count: int) -> Smashed:
    draw = torch.Generator().manual_seed(count)
    return tuple(torch.randn(count, *shape, generator=draw) for shape in SITE.shapes)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"epsilon": 3}, "epsilon needs clip to be a number"),
        ({"epsilon": 3, "clip": "learned"}, "epsilon needs clip to be a number"),
        ({"epsilon": 3, "clip": 1, "scale": 2}, "scale or epsilon, not both"),
        ({"clip": -1}, "a number above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        component({"kind": "laplace", **raw}, "defences", "defences.0")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 50.0])
@pytest.mark.parametrize("clip", [0.01, 1.0, 300.0])
def test_the_scale_is_the_least_that_has_the_target_epsilon(epsilon: float, clip: float) -> None:
    shield = shield_of(epsilon=epsilon, clip=clip)
    assert shield.scale == pytest.approx(2 * clip / epsilon)
    region = shield.confine(Region(SITE.numbers))
    assert local_epsilon(region, shield.noise, delta=1e-5) == pytest.approx(epsilon)
    assert log2_messages(region, shield.noise)[0] <= epsilon / math.log(2)


def test_each_strength_counts() -> None:
    assert shield_of().scale == 1
    assert shield_of(scale=3).scale == 3
    assert shield_of(clip=2, epsilon=4).scale == 1
    assert shield_of(clip=4, epsilon=4).scale == shield_of(clip=2, epsilon=2).scale == 2
    z = smashed(5)
    assert not torch.equal(shield_of(clip=2).quiet(z)[0], shield_of(clip=4).quiet(z)[0])


rows = st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=5, max_size=5), min_size=1, max_size=3)


@settings(max_examples=200, deadline=None)
@given(rows, st.floats(1e-3, 1e4))
def test_clipping_scales_down_to_the_ball(vectors: list[list[float]], radius: float) -> None:
    whole = torch.tensor(vectors)
    before, after = whole.double(), flat(scaled((whole[:, :2], whole[:, 2:]), radius, 1)).double()
    size = before.abs().sum(1)
    assert (after.abs().sum(1) <= radius * (1 + 1e-6)).all()
    inside = size < radius * (1 - 1e-6)
    assert torch.equal(after[inside], before[inside])
    assert torch.allclose(after, before * (radius / size.clamp(min=radius))[:, None], rtol=1e-5, atol=1e-6 * radius)


def test_only_a_fixed_clip_is_a_fact_and_it_drops_what_scaling_may_break() -> None:
    region = Region(SITE.numbers, log2_points=70.0, sides=(8.0,) * SITE.numbers, l2=5.0)
    assert shield_of().confine(region) == region
    found = shield_of(clip=3).confine(region)
    assert (found.l1, found.l2, found.sides, found.log2_points) == (3.0, math.inf, (), 70.0)
    assert "L1 norm of at most 3" in found.premises[0]
    assert shield_of(clip="learned").confine(region).radius_l2() == math.inf


def test_scaling_to_an_l1_ball_can_move_two_points_apart() -> None:
    """Why a known L2 distance is not kept through it, as it is through the L2 clip."""
    pair = torch.tensor([[4.0, 4.0], [4.0, 0.0]])
    after = scaled((pair,), 4.0, 1)[0]
    closer = torch.tensor([[4.0, 1.0], [4.0, 0.0]])
    moved = scaled((closer,), 4.0, 1)[0]
    assert torch.dist(after[0], after[1]) <= torch.dist(pair[0], pair[1])
    assert torch.dist(moved[0], moved[1]) > torch.dist(closer[0], closer[1])


def test_a_learned_clip_is_in_l1() -> None:
    images = torch.rand(300, 1, 2, 2, generator=torch.Generator().manual_seed(5))
    shield = LaplaceShield(1.0, "learned", quantile=0.4)
    shield.fit(Fitting(images, torch.zeros(300), lambda x: (x,), lambda z: z[0], trained=True, lab=Lab()))
    assert shield.radius == pytest.approx(images.flatten(1).sum(1).double().quantile(0.4).item(), rel=1e-5)
    assert "bounds nothing" in shield.note()


def draws(count: int, seed: int = 0) -> Tensor:
    with Lab(seed=seed).seeded("draws"):
        return standard(torch.zeros(count), None)


def test_the_tail_is_exponential_as_far_as_draws_reach() -> None:
    noise = torch.cat([draws(2_000_000, seed) for seed in range(4)]).abs()
    for start in (0.0, 4.0, 8.0):
        beyond = (noise[noise > start].double() - start)[:20_000]
        # no memory: what lies beyond any point is distributed as from the start
        assert stats.kstest(beyond.numpy(), stats.expon.cdf).pvalue > 0.005
        expected = len(noise) * math.exp(-start)
        assert abs((noise > start).sum().item() - expected) <= 5 * max(expected, 1) ** 0.5
    far = noise[noise > 8.0]
    assert len(far.unique()) >= 0.98 * len(far), "float32 alone has only a few values out there"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_smallest_draws_give_large_finite_noise(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([torch.zeros(1, dtype=dtype), torch.tensor([0.25], dtype=dtype), torch.zeros(1, dtype=dtype)])
    monkeypatch.setattr(module, "uniform", lambda like, generator: next(made))
    noise = standard(torch.zeros(1, dtype=dtype), None)
    assert noise.item() == pytest.approx(math.log(0.25 * torch.finfo(dtype).eps / 2))
    monkeypatch.setattr(module, "uniform", lambda like, generator: torch.zeros_like(like))
    assert standard(torch.zeros(1, dtype=dtype), None).isfinite().all()
    monkeypatch.setattr(module, "uniform", lambda like, generator: torch.ones_like(like))
    assert standard(torch.zeros(1, dtype=dtype), None).abs().max() < 1e-6


def test_signs_and_sizes_are_independent_and_fair() -> None:
    noise = draws(400_000)
    assert abs((noise > 0).double().mean() - 0.5) < 4 * 0.5 / 400_000**0.5
    assert torch.corrcoef(torch.stack([noise.sign(), noise.abs()]))[0, 1].abs() < 5 / 400_000**0.5
    assert noise.square().mean() == pytest.approx(2, rel=0.02)


def test_the_likelihood_is_that_of_the_clipped_candidates() -> None:
    shield, z = shield_of(scale=0.2, clip=3), smashed(6)
    with Lab().seeded("release"):
        release = shield(z)
    found = shield.log_likelihood(release, z)
    means = flat(shield.quiet(z)).double().numpy()
    sent = flat(release).numpy()
    wanted = torch.tensor([[stats.laplace(mean, 0.2).logpdf(row).sum() for mean in means] for row in sent])
    assert torch.allclose(found - found[:, :1], wanted - wanted[:, :1], atol=1e-4)


def test_sixteen_repeats_pool_to_the_median_and_memoised_ones_to_themselves() -> None:
    z = smashed(3)
    fresh, kept = shield_of(clip=4, scale=1), shield_of(clip=4, scale=1, memoise=True)
    with Lab().seeded("repeats"):
        releases = [fresh(z) for _ in range(17)]
    wanted = torch.stack([flat(release) for release in releases]).median(0).values
    assert torch.equal(flat(fresh.pool(releases)), wanted)
    once = kept(z)
    assert all(map(torch.equal, kept.pool([kept(z) for _ in range(20)]), once))
