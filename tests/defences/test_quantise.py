"""Few levels: no more values than there are levels, a straight-through gradient, and dither with its exact law."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from unsmash.bounds.messages import log2_messages
from unsmash.bounds.regions import Noise, Region
from unsmash.defences.quantise import IMPOSSIBLE, Quantise, QuantiseShield
from unsmash.lab import Lab
from unsmash.split import Fitting, Site, Smashed, flat

SITE = Site(((4, 3, 3), (5,)), (1, 8, 8), 10)


def made(**raw: object) -> Quantise:
    return Quantise.model_validate({"kind": "quantise", **raw})


def shield_of(**raw: object) -> QuantiseShield:
    shield = made(**raw).arm(SITE, Lab()).eval()
    assert isinstance(shield, QuantiseShield)
    return shield


def smashed(count: int, size: float = 1.0) -> Smashed:
    draw = torch.Generator().manual_seed(count)
    return tuple(size * torch.randn(count, *shape, generator=draw) for shape in SITE.shapes)


def repeat(shield: QuantiseShield, z: Smashed, times: int) -> Tensor:
    """[times, n, d]"""
    with Lab().seeded("repeat"):
        return torch.stack([flat(shield(z)) for _ in range(times)])


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"low": 0}, "low and high go together"),
        ({"high": 0}, "low and high go together"),
        ({"low": 1, "high": 1}, "low must be below high"),
        ({"memoise": True}, "memoise needs dither"),
        ({"bits": 0}, "bits"),
        ({"bits": 17}, "bits"),
    ],
)
def test_what_makes_no_sense_is_refused(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        made(**raw)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 6.0), (-0.37, 12.9)])
def test_each_number_goes_to_the_nearest_level(bits: int, ends: tuple[float, float]) -> None:
    levels = np.linspace(*ends, 2**bits)
    z = smashed(40, 3)
    sent = flat(shield_of(bits=bits, low=ends[0], high=ends[1])(z)).double().numpy()
    inside = flat(z).double().clamp(*ends).numpy()
    found = levels[np.abs(sent[..., None] - levels).argmin(-1)] if bits <= 8 else sent
    assert np.allclose(sent, found, atol=1e-6 * (ends[1] - ends[0]))
    half = (ends[1] - ends[0]) / (2**bits - 1) / 2
    assert np.abs(sent - inside).max() <= half * (1 + 1e-2 * (bits == 16)) + 1e-6
    assert sent.min() >= ends[0] - 1e-6
    assert sent.max() <= ends[1] + 1e-6


@pytest.mark.parametrize("dither", [False, True])
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_there_are_no_more_values_than_levels(bits: int, dither: bool) -> None:
    """Counted to the bit: a value that rounding splits in two would be two messages."""
    shield = shield_of(bits=bits, low=-0.37, high=1.9, dither=dither)
    sent = repeat(shield, tuple(part.requires_grad_() for part in smashed(300)), 3)
    assert len(sent.unique()) == 2**bits
    learned = shield_of(bits=bits, dither=dither)(smashed(300, 9))
    assert 0.9 * 2**bits < len(learned[0].unique()) <= 2**bits


def test_the_gradient_passes_straight_through_inside_and_stops_outside() -> None:
    for dither in (False, True):
        shield = shield_of(bits=3, low=-1, high=1, dither=dither)
        z = tuple(part.requires_grad_() for part in smashed(50))
        weights = [torch.randn(part.shape) for part in z]
        sum((part * weight).sum() for part, weight in zip(shield(z), weights, strict=True)).backward()  # type: ignore[union-attr]
        for part, weight in zip(z, weights, strict=True):
            inside = part.abs() < 1
            assert inside.any()
            assert not inside.all()
            assert part.grad is not None
            assert torch.allclose(part.grad[inside], weight[inside], atol=1e-5)
            assert (part.grad[~inside] == 0).all()


def test_dither_keeps_the_mean_and_takes_neighbouring_levels_only() -> None:
    shield, z = shield_of(bits=3, low=-2, high=2, dither=True), smashed(10)
    sent, step = repeat(shield, z, 1500).double(), 4 / 7
    inside = flat(z).double().clamp(-2, 2)
    assert ((sent - inside).abs() < step * (1 + 1e-5)).all()
    way = (inside + 2) / step - ((inside + 2) / step).floor()
    deviation = step * (way * (1 - way) / 1500).sqrt()
    score = (sent.mean(0) - inside) / deviation.clamp(min=1e-9)
    assert score[deviation > 1e-4].abs().max() < 4.5
    assert torch.allclose(flat(shield.quiet(z)).double(), inside, atol=1e-6)
    above = (sent > inside).sum(0).flatten().tolist()
    chances = [stats.binomtest(up, 1500, p).pvalue for up, p in zip(above, way.flatten().tolist(), strict=True)]
    assert min(chances) > 0.001 / len(chances)


def test_dithered_numbers_are_drawn_independently() -> None:
    shield = QuantiseShield(1, 1, (-1.0, 1.0), dither=True)
    with Lab().seeded("pairs"):
        sent = shield((torch.zeros(5000, 8),))[0]
    off = torch.corrcoef(sent.T)[~torch.eye(8, dtype=torch.bool)]
    assert off.abs().max() < 5 / 5000**0.5


@pytest.mark.parametrize("bits", [1, 2])
def test_the_dithered_law_agrees_with_enumeration(bits: int) -> None:
    """All releases that there are, each with the chance that its numbers multiply to."""
    shield = QuantiseShield(bits, 1, (-1.0, 1.0), dither=True)
    levels = torch.linspace(-1, 1, 2**bits)
    every = torch.tensor(list(itertools.product(levels.tolist(), repeat=3)))
    z = torch.tensor([[0.1, -0.6, 0.9], [-3.0, 0.0, 5.0], [-1.0, 1.0, 0.2]])
    found = shield.log_likelihood((every,), (z,))
    assert found is not None
    chance = found.exp()
    assert torch.allclose(chance.sum(0), torch.ones(3, dtype=torch.float64), atol=1e-6)
    step = 2 / (2**bits - 1)
    wanted = (1 - (every[:, None] - z.clamp(-1, 1)[None]).double().abs() / step).clamp(min=0).prod(2)
    assert torch.allclose(chance, wanted, atol=1e-5)
    assert (found[wanted == 0] <= IMPOSSIBLE / 2).all()
    assert found.isfinite().all()


def test_the_dithered_law_agrees_with_what_is_drawn() -> None:
    shield, z = QuantiseShield(1, 1, (-1.0, 1.0), dither=True), torch.tensor([[0.3, -0.5]])
    with Lab().seeded("drawn"):
        sent = shield((z.expand(20_000, 2),))[0]
    every = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    law = shield.log_likelihood((every,), (z,))
    assert law is not None
    seen = [(sent == one).all(1).sum().item() for one in every]
    assert stats.chisquare(seen, 20_000 * law[:, 0].exp().numpy()).pvalue > 0.001


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_the_truth_is_never_ruled_out_by_what_was_really_sent(bits: int) -> None:
    shield, z = shield_of(bits=bits, low=-2, high=2, dither=True), smashed(200)
    with Lab().seeded("release"):
        release = shield(z)
    found = shield.log_likelihood(release, z)
    assert found is not None
    assert (found.diagonal() > IMPOSSIBLE / 2).all()
    # and stays the likeliest after the rounding of another batch, where the levels tell inputs apart
    moved = tuple(part * (1 + 1e-6 * torch.randn(part.shape)) for part in z)
    again = shield.log_likelihood(release, moved)
    assert again is not None
    for likelihood in (found, again) if bits > 1 else ():
        assert torch.equal(likelihood.argmax(1), torch.arange(200))


def test_repeats_of_a_dithered_release_tell_what_lies_between_the_levels() -> None:
    z = smashed(5)
    fresh, kept = (shield_of(bits=1, low=-4, high=4, dither=True, memoise=memoise) for memoise in (False, True))
    with Lab().seeded("repeats"):
        pooled = [flat(shield.pool([shield(z) for _ in range(500)])) for shield in (fresh, kept)]
    assert (pooled[0] - flat(z)).square().mean() < 0.1
    assert (pooled[1] - flat(z)).square().mean() > 5
    assert all(map(torch.equal, fresh.pool([kept(z)] * 3), kept(z)))


def test_what_is_proved_is_what_holds() -> None:
    start = Region(SITE.numbers, log2_points=1000.0, premises=("before",))
    plain = shield_of(bits=3, low=-1, high=2).confine(start)
    assert (plain.log2_points, plain.sides) == (3.0 * 41, (3.0,) * 41)
    assert plain.premises == ("before", "Each number is rounded to one of 8 levels from -1 to 2.")
    learned = shield_of(bits=3).confine(start)
    assert (learned.log2_points, learned.sides) == (123.0, ())
    assert learned.premises[1] == "Each number is rounded to one of 8 levels."
    assert shield_of(bits=3).confine(Region(SITE.numbers, log2_points=7.0)).log2_points == 7
    for queries in (1, 16):  # whatever noise follows, and however often
        assert log2_messages(learned, Noise("gaussian", 1e-3), queries=queries) == (123.0, "values")


def test_dither_counts_one_release_and_not_many() -> None:
    start = Region(SITE.numbers)
    shield = shield_of(bits=3, low=-1, high=2, dither=True)
    drawn_on = shield.confine(start)
    assert drawn_on.log2_points == math.inf, "repeats tell more than the levels"
    assert drawn_on.sides == (3.0,) * 41
    assert shield.scatter(drawn_on).log2_points == 123
    assert len(shield.scatter(drawn_on).premises) == 1


def fitting(images: Tensor) -> Fitting:
    def entering(x: Tensor) -> Smashed:
        return x, 3 * x.flatten(1)

    return Fitting(images, torch.zeros(len(images)), entering, lambda z: z[1], trained=True, lab=Lab())


def test_a_range_is_learned_for_each_tensor_from_its_quantiles() -> None:
    images = torch.randn(1500, 1, 4, 4, generator=torch.Generator().manual_seed(6))
    shield = QuantiseShield(4, 2, cover=0.9)
    before = shield((images[:20], images[:20].flatten(1)))
    shield.fit(fitting(images))
    low, high = images.flatten().double().quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
    wanted = torch.stack([torch.stack([low, high]), 3 * torch.stack([low, high])]).float()
    assert torch.allclose(shield.ends, wanted, rtol=0.05)
    sent = shield(fitting(images).entering(images[:20]))
    assert sent[0].abs().max() < 0.6 * sent[1].abs().max()
    assert not torch.equal(before[0], sent[0])
    assert "their number is proved" in shield.note()
    twin = QuantiseShield(4, 2, cover=0.9)
    twin.load_state_dict(shield.state_dict())
    assert all(map(torch.equal, twin(fitting(images).entering(images[:20])), sent))


def test_more_cover_is_a_wider_range_and_a_constant_still_works() -> None:
    images = torch.randn(800, 1, 4, 4, generator=torch.Generator().manual_seed(6))
    widths = []
    for cover in (0.5, 0.98, 1.0):
        shield = QuantiseShield(4, 2, cover=cover)
        shield.fit(fitting(images))
        widths.append((shield.ends[0, 1] - shield.ends[0, 0]).item())
    assert widths == sorted(widths)
    shield.fit(fitting(torch.full((30, 1, 4, 4), 2.5)))
    assert (flat(shield((torch.full((3, 1, 4, 4), 2.5), torch.zeros(3, 16)))).isfinite()).all()


def test_a_fixed_range_learns_nothing() -> None:
    shield = shield_of(bits=3, low=-1, high=2)
    shield.fit(fitting(torch.rand(30, 1, 4, 4)))
    assert shield.ends.tolist() == [[-1, 2], [-1, 2]]
    assert shield.note() == ""


def test_the_wire_takes_so_many_bits_a_number() -> None:
    z = smashed(2)
    for bits in (1, 5, 16):
        assert shield_of(bits=bits).wire_bits(32 * 41.0, z, z) == bits * 41
