"""Attacks that use the law of the defence: fresh draws, many releases, bursts, and the adversary who is unaware."""

from __future__ import annotations

import pytest
import torch
from small import GREY, look, scene, shallow
from torch import Tensor

from unsmash import scoring
from unsmash.attacks.decoder import Decoder
from unsmash.attacks.gallery import Gallery
from unsmash.attacks.posterior import Posterior
from unsmash.attacks.ridge import Ridge
from unsmash.attempt import attempt
from unsmash.bounds.mmse import gallery_mmse
from unsmash.defences.gaussian import GaussianShield
from unsmash.defences.laplace import LaplaceShield
from unsmash.frames import burst
from unsmash.lab import Lab
from unsmash.split import Shield, Smashed
from unsmash.threat import Grant, Threat, standing
from unsmash.view import View, observe

GALLERY = (Grant.WEIGHTS, Grant.CANDIDATES)


def mse(guess: Tensor) -> float:
    return (guess.clamp(0, 1) - scene(GREY).victims).square().mean().item()


def test_the_posterior_mean_is_bayes_estimate_from_the_adversarys_list() -> None:
    """The gallery's own closed form, with the adversary's images for a gallery."""
    at, shield = scene(GREY, shadow=40), GaussianShield(0.6)
    view = look(shallow("flat", GREY, shield), at, Posterior.needs, 3)
    found = Posterior().run(view, Lab())
    model = shallow("flat", GREY, shield)
    z, known = view.repeats, model.smash(at.shadow)
    law = sum(shield.log_likelihood(release, known) for release in z)
    assert isinstance(law, Tensor)
    weights = torch.exp(law - law.amax(1, keepdim=True))
    wanted = (weights / weights.sum(1, keepdim=True)) @ at.shadow.flatten(1).double()
    assert torch.allclose(found.flatten(1).double(), wanted, atol=1e-5)
    direct = gallery_mmse(law, at.shadow, at.victims)
    assert torch.allclose(direct, (found - at.victims).double().square().flatten(1).mean(1), atol=1e-6)


def test_more_releases_sharpen_the_posterior() -> None:
    errors = [mse(Posterior().run(look(shallow("flat", GREY, LaplaceShield(1.5)), scene(GREY), Posterior.needs, k),
                                  Lab())) for k in (1, 4, 32)]  # fmt: skip
    assert errors[2] < errors[1] < errors[0]


def test_without_noise_it_is_the_nearest_image() -> None:
    at = scene(GREY, shadow=40)
    view = look(shallow("flat", GREY), at, Posterior.needs)
    found = Posterior().run(view, Lab())
    near = torch.cdist(view.repeats[0][0].double(), shallow("flat", GREY).smash(at.shadow)[0].double()).argmin(1)
    assert torch.equal(found, at.shadow[near])


@pytest.mark.parametrize("kind", [Ridge, Decoder])
def test_an_unaware_attacker_is_the_weaker_one_and_says_so(kind: type[Ridge] | type[Decoder]) -> None:
    at = scene(GREY, victims=60, shadow=500)
    view = look(shallow("flat", GREY, GaussianShield(1.0)), at, kind.needs)
    aware, unaware = kind.model_validate(kind.tiny), kind.model_validate({**kind.tiny, "aware": False})
    errors = [(attack.run(view, Lab()).clamp(0, 1) - at.victims).square().mean() for attack in (aware, unaware)]
    assert errors[0] < 0.8 * errors[1]
    assert "unaware" in unaware.heading
    assert "unaware" not in aware.heading
    result, _ = attempt(unaware, "it", view, at, None, Lab())
    assert "unaware of the defence" in result.title


def test_the_unaware_oracle_answers_without_noise() -> None:
    at = scene(GREY, shadow=30)
    model = shallow("flat", GREY, LaplaceShield(2.0))
    view = look(model, at, Ridge.needs)
    assert torch.allclose(view.oracle(at.shadow, aware=False).ask()[0], model.smash(at.shadow)[0], atol=1e-6)
    assert not torch.allclose(view.oracle(at.shadow).ask()[0], model.smash(at.shadow)[0], atol=0.1)


def test_ridge_learns_from_several_draws_of_a_random_defence() -> None:
    at = scene(GREY, victims=60, shadow=300)
    view = look(shallow("flat", GREY, GaussianShield(0.7)), at, Ridge.needs)
    errors = [(Ridge(draws=draws).run(view, Lab()) - at.victims).square().mean() for draws in (1, 8)]
    assert errors[1] < errors[0]


def bursts(frames: int, shield: Shield | None = None) -> View:
    threat = Threat(name="burst", grants=GALLERY, frames=frames)
    return observe(shallow("maps", (1, 16, 16), shield), scene((1, 16, 16)), threat, Lab(seed=1))


def test_a_burst_is_the_image_and_moved_copies_of_it() -> None:
    images = scene((1, 16, 16)).victims
    frames = burst(images, 5, torch.Generator().manual_seed(0))
    assert torch.equal(frames[0], images)
    assert all(0 < (frame - images).square().mean() < 0.3 * images.var() for frame in frames[1:])
    assert not torch.equal(frames[1], frames[2])
    assert [torch.equal(*pair) for pair in [(burst(images, 1, torch.Generator())[0], images)]] == [True]


def test_each_frame_has_a_release_and_more_frames_identify_more() -> None:
    rates = []
    for frames in (1, 24):
        view = bursts(frames, GaussianShield(1.5))
        assert len(view.repeats) == frames
        result, _ = attempt(Gallery(), "gallery", view, scene((1, 16, 16)), None, Lab())
        rates.append(result.scores["identification"].mean)
        assert result.card.strong is (True if frames == 1 else None)  # of a burst it is no exact ceiling
    assert rates[1] > rates[0]


def test_a_burst_of_symbols_is_weighed_though_no_copy_sent_the_same() -> None:
    """A code without noise gives likelihoods of 0: a frame that moved elsewhere must not rule the truth out."""

    class Coarse(Shield):
        smooth = False

        def forward(self, z: Smashed) -> Smashed:
            return tuple((part > 0.2).float() for part in z)

        def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
            same = torch.cdist(release[0].flatten(1), self(z)[0].flatten(1)) < 1e-3
            return torch.where(same, 0.0, -1e9).double()

    found = Gallery(copies=8).run(bursts(6, Coarse()), Lab())
    assert found.isfinite().all()
    assert found.min() > -1e4


def test_queries_and_frames_are_two_ways_of_many() -> None:
    with pytest.raises(ValueError, match="not both"):
        Threat(queries=2, frames=2)
    assert [threat.name for threat in standing(1, 8)] == ["query", "gallery", "gallery_burst"]
    record = Threat(name="b", grants=GALLERY, frames=64).record(500)
    assert record.frames == 64
    assert "64" in record.title


def test_a_memoised_release_has_nothing_more_to_say() -> None:
    shield = GaussianShield(1.0)
    shield.key = b"0123"
    threat = Threat(name="repeat", grants=(Grant.QUERIES, Grant.SHADOW), queries=16)
    view = observe(shallow("flat", GREY, shield), scene(GREY), threat, Lab())
    assert len(view.repeats) == 1
    assert view.stochastic
    assert not view.shield.memoised  # the adversary has no key: its own queries are fresh
    oracle = view.oracle(view.shadow)
    assert not torch.equal(oracle.ask()[0], oracle.ask()[0])


def test_a_constant_guess_is_a_collapse_only_where_the_average_image_is_better() -> None:
    at = scene(GREY, victims=24)
    average = at.shadow.mean(0)
    assert not scoring.is_collapsed(average.expand_as(at.victims), at.victims, average)
    assert scoring.is_collapsed(torch.zeros_like(at.victims), at.victims, average)
    assert not scoring.is_collapsed(at.victims * 0.5, at.victims, average)
