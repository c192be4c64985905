"""From stacks of shields to bounds: each step counts, what follows it cannot undo it, and repeats compose."""

from __future__ import annotations

import math

import pytest
from torch import Tensor, nn

from unsmash.bounds.ceilings import message_ceiling
from unsmash.bounds.epsilon import gaussian_epsilon, laplace_epsilon
from unsmash.bounds.regions import Noise, Region
from unsmash.mechanism import DELTA, mechanism, smashed_region
from unsmash.split import Shield, Shields, Smashed
from unsmash.split.drawn import DrawnShield

NUMBERS = 6


class Clip(Shield):
    """Keeps the release in a ball."""

    def __init__(self, radius: float, norm: int) -> None:
        super().__init__()
        self.radius, self.norm = radius, norm

    def forward(self, z: Smashed) -> Smashed:
        return z

    def confine(self, region: Region) -> Region:
        known = {"l1" if self.norm == 1 else "l2": self.radius}
        return Region(region.numbers, region.log2_points, premises=("clipped",), **known)  # type: ignore[arg-type]


class Noisy(DrawnShield):
    def __init__(self, law: str, scale: float, key: bytes = b"") -> None:
        super().__init__(key)
        self.noise = Noise(law, scale)  # type: ignore[arg-type]

    def confine(self, region: Region) -> Region:
        return region


class Coded(Shield):
    """Sends one of so many values."""

    def __init__(self, bits: float) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, z: Smashed) -> Smashed:
        return z

    def confine(self, region: Region) -> Region:
        return Region(1, min(region.log2_points, self.bits), premises=("coded",))


class Masked(DrawnShield):
    """Random, with no law that bounds know."""


FREE = Region(NUMBERS)


def test_a_release_that_is_not_random_has_no_epsilon_and_says_why() -> None:
    known = mechanism(Shields([Clip(1.0, 2)]), FREE)
    assert known.epsilon() == (math.inf, 0.0)
    assert known.messages()[0] == math.inf
    assert "not random" in known.why_unbounded


def test_noise_without_a_clip_proves_nothing() -> None:
    known = mechanism(Shields([Noisy("gaussian", 0.5)]), FREE)
    assert known.epsilon()[0] == math.inf
    assert "clip" in known.why_unbounded
    assert "no law" in mechanism(Shields([Clip(1.0, 2), Masked()]), FREE).why_unbounded


@pytest.mark.parametrize("queries", [1, 16])
def test_a_clip_before_the_noise_gives_the_exact_epsilon(queries: int) -> None:
    gauss = mechanism(Shields([Clip(1.5, 2), Noisy("gaussian", 0.5)]), FREE)
    assert gauss.epsilon(queries) == (pytest.approx(gaussian_epsilon(3.0, 0.5 / queries**0.5, DELTA)), DELTA)
    assert gauss.reach(queries) == pytest.approx(3.0 * queries**0.5)
    laplace = mechanism(Shields([Clip(1.5, 1), Noisy("laplace", 0.5)]), FREE)
    assert laplace.epsilon(queries) == (pytest.approx(queries * laplace_epsilon(3.0, 0.5)), 0.0)


def test_a_clip_after_the_noise_bounds_nothing() -> None:
    known = mechanism(Shields([Noisy("gaussian", 0.5), Clip(1.5, 2)]), FREE)
    assert known.epsilon()[0] == math.inf


def test_what_follows_cannot_undo_a_step_and_a_second_step_can_only_help() -> None:
    first = mechanism(Shields([Clip(1.0, 1), Noisy("laplace", 0.5)]), FREE)
    more = mechanism(Shields([Clip(1.0, 1), Noisy("laplace", 0.5), Clip(0.1, 1), Noisy("laplace", 5.0)]), FREE)
    assert mechanism(Shields([Clip(1.0, 1), Noisy("laplace", 0.5), Masked()]), FREE).epsilon() == first.epsilon()
    assert more.epsilon()[0] == pytest.approx(laplace_epsilon(0.2, 5.0))
    assert more.messages()[0] <= first.messages()[0]


def test_values_before_the_noise_stay_as_many_under_repeats_and_values_after_it_do_not() -> None:
    before = mechanism(Shields([Coded(5.0), Noisy("gaussian", 0.1)]), FREE)
    after = mechanism(Shields([Noisy("gaussian", 0.1), Coded(5.0)]), FREE)
    assert before.messages(1)[0] == before.messages(64)[0] == 5.0
    assert after.messages(1) == (5.0, "values")
    assert after.messages(64) == (320.0, "values")
    assert message_ceiling(before.messages(64)[0], 500) == pytest.approx(32 / 500)


def test_a_memoised_draw_is_one_release_however_often_it_is_asked_for() -> None:
    stack = [Clip(1.0, 1), Noisy("laplace", 0.5, key=b"k")]
    known = mechanism(Shields(stack), FREE)
    assert known.epsilon(64) == known.epsilon(1)
    assert known.messages(64) == known.messages(1)


def test_premises_are_kept() -> None:
    assert mechanism(Shields([Clip(1.0, 1), Noisy("laplace", 0.5)]), FREE).premises == ("clipped",)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.block(x))


@pytest.mark.parametrize(
    ("at", "side"), [("block", 2.0), ("block.1", 2.0), ("block.0", 0), ("relu", 0), ("no such place", 0)]
)
def test_an_activation_at_the_cut_is_a_clip_of_the_architecture(at: str, side: float) -> None:
    region = smashed_region(Net(), at, 4)
    assert region.sides == ((side,) * 4 if side else ())
    assert bool(region.premises) == bool(side)


def test_the_published_noise_on_the_tanh_release_is_worth_what_the_notes_say() -> None:
    """Titcombe et al.: scale 1.0 on 500 numbers in [-1, 1] is ε = 1,000 and 500 bits."""
    known = mechanism(Shields([Noisy("laplace", 1.0)]), Region(500, sides=(2.0,) * 500))
    assert known.epsilon()[0] == pytest.approx(1000)
    assert known.messages()[0] == pytest.approx(500 * math.log2(2))
