"""One answer: by a key for the same input, by memory for a burst."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from unsmash.lab import Lab
from unsmash.nets import jitter
from unsmash.split import Fitting, Smashed
from unsmash.split.burst import NEAR, SHARE, OneAnswer
from unsmash.split.drawn import uniform


class Coin(OneAnswer):
    """Sends a random number for each frame; frames lie where their numbers say."""

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        return (uniform(quiet[0][:, :1], generator),)

    def quiet(self, z: Smashed) -> Smashed:
        return (torch.zeros_like(z[0]),)  # all inputs would send the same: the draw must not go by it

    def place(self, z: Smashed) -> Tensor:
        return z[0]


def coin(burst: float | None = 1.0, reach: float = 1.0, key: bytes = b"") -> Coin:
    made = Coin(key, burst)
    made.reach.fill_(reach)
    return made.eval()


def walk(*places: float) -> list[Smashed]:
    return [(torch.tensor([[place, 0.0]]),) for place in places]


def sent(shield: OneAnswer, frames: list[Smashed]) -> list[float]:
    with Lab().seeded("sent"):
        return [release[0].item() for release in shield.session(frames)]


def test_an_answer_is_kept_while_the_frames_stay_near_the_one_answered() -> None:
    a, b, c, d = sent(coin(), walk(0.0, 0.9, -1.0, 1.01))
    assert a == b == c != d


def test_nearness_is_to_the_frame_answered_not_to_the_last_one() -> None:
    """A slow pan leaves the scene in the end."""
    a, b, c, d = sent(coin(), walk(0.0, 0.7, 1.4, 2.1))
    assert a == b != c == d


def test_a_scene_left_and_met_again_is_answered_anew() -> None:
    a, b, c = sent(coin(), walk(0.0, 9.0, 0.0))
    assert len({a, b, c}) == 3


def test_burst_widens_the_reach() -> None:
    assert len(set(sent(coin(burst=3.0), walk(0.0, 2.9)))) == 1
    assert len(set(sent(coin(burst=2.8), walk(0.0, 2.9)))) == 2


def test_without_burst_each_frame_has_its_own_answer() -> None:
    assert len(set(sent(coin(burst=None), walk(0.0, 0.0, 0.0)))) == 3


def test_before_anything_is_known_only_the_same_frame_is_the_same_scene() -> None:
    a, b, c = sent(coin(reach=0.0), walk(0.0, 0.0, 1e-6))
    assert a == b != c


def test_each_row_of_a_session_has_a_memory_of_its_own() -> None:
    frames: list[Smashed] = [(torch.tensor([[0.0], [0.0]]),), (torch.tensor([[0.5], [5.0]]),)]
    with Lab().seeded("rows"):
        first, second = (release[0] for release in coin().session(frames))
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_a_session_forgets_the_one_before() -> None:
    shield = coin()
    with Lab().seeded("two"):
        one, other = shield.session(walk(0.0)), shield.session(walk(0.0))
    assert not torch.equal(one[0][0], other[0][0])


def test_a_key_draws_once_for_each_input_not_for_each_answer() -> None:
    """With draws by what would be sent, all inputs with one answer would err together."""
    z = (torch.randn(50, 2, generator=torch.Generator().manual_seed(1)),)
    shield = coin(key=b"secret")
    assert torch.equal(shield(z)[0], shield(z)[0])
    assert len(shield(z)[0].unique()) == 50
    assert not torch.equal(coin(key=b"another")(z)[0], shield(z)[0])
    assert not torch.equal(copy.deepcopy(shield).forget()(z)[0], shield(z)[0])
    shield.train()
    assert not torch.equal(shield(z)[0], shield(z)[0])


class Pixels(Coin):
    """Frames lie where their pixels say."""

    def place(self, z: Smashed) -> Tensor:
        return z[0].flatten(1)


def fitting(images: Tensor) -> Fitting:
    return Fitting(images, torch.zeros(len(images)).long(), lambda x: (x,), lambda z: z[0], trained=True, lab=Lab())


@pytest.fixture
def images() -> Tensor:
    """Smooth pictures: noise, blurred."""
    noise = torch.rand(300, 1, 14, 14, generator=torch.Generator().manual_seed(4))
    return nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)


def test_the_reach_holds_nearly_all_pairs_of_frames_of_one_scene(images: Tensor) -> None:
    shield = Pixels(b"", 1.0)
    shield.settle(fitting(images))
    draw = torch.Generator().manual_seed(77)
    one, other = (jitter(images, draw, **NEAR).flatten(1) for _ in range(2))
    inside = ((one - other).norm(dim=1) <= shield.reach).float().mean().item()
    assert abs(inside - SHARE) < 4 * (SHARE * (1 - SHARE) / 300) ** 0.5
    others = torch.cdist(one, one)[~torch.eye(300, dtype=torch.bool)]
    assert (others > shield.reach).float().mean() > 0.99  # another picture is another scene


def test_without_burst_nothing_is_measured(images: Tensor) -> None:
    shield = Pixels(b"", None)
    shield.settle(fitting(images))
    assert shield.reach == 0
