"""The decoder in the loop: what it may touch, that the game is bounded, and that a fresh attacker then does worse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import GREY, look, pictures, scene
from torch import Tensor, nn

from unsmash.attacks.decoder import Decoder
from unsmash.attacks.ridge import Ridge
from unsmash.defences.adversarial import Adversarial, AdversarialShield
from unsmash.lab import Lab
from unsmash.split import Shields, Site, SplitModel
from unsmash.split.train import Training, train
from unsmash.threat import Grant

X, Y = pictures(GREY, 64)


def armed(
    shapes: tuple[tuple[int, ...], ...] = ((64,),), images: tuple[int, ...] = GREY, **settings: Any
) -> AdversarialShield:
    shield = Adversarial(**settings).arm(Site(shapes, images, 10), Lab()).train()
    assert isinstance(shield, AdversarialShield)
    return shield


def paid(shield: AdversarialShield, x: Tensor, *z: Tensor) -> float:
    return shield.penalty(x, z, z, torch.zeros(len(x), dtype=torch.long)).item()


def weights(shield: AdversarialShield) -> list[Tensor]:
    return [tensor.clone() for tensor in shield.loop[0].state_dict().values()]


def test_the_decoder_learns_what_it_is_shown_and_the_device_pays_for_it() -> None:
    shield, z = armed(weight=2.0), X.flatten(1)
    prices = [paid(shield, X, z) for _ in range(300)]
    assert prices[0] < 0.2
    assert 1.5 < prices[-1] <= 2


def test_paid_is_the_share_of_the_variance_that_the_decoder_explains() -> None:
    shield, z = armed(weight=3.0, steps=60), X.flatten(1)
    paid(shield, X, z)
    shield.eval()
    with torch.no_grad():
        error = (shield.loop[0]((z,)) - X).square().mean()
    share = 1 - error / X.var(0, unbiased=False).mean()
    assert share > 0.2
    assert paid(shield, X, z) == pytest.approx(3 * share.item(), rel=1e-4)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_price_is_bounded_whatever_is_sent(size: float) -> None:
    shield = armed(weight=5.0, rate=0.1)
    for turn in range(20):
        z = torch.randn(16, 64, generator=torch.Generator().manual_seed(turn)) * size
        assert 0 <= paid(shield, X[:16], z) <= 5


def test_a_misled_decoder_earns_the_device_nothing_more() -> None:
    """Worse than the mean image: no reward and no slope, so the device cannot run away with it."""
    shield = armed().eval()
    z = X.flatten(1).clone().requires_grad_()
    price = shield.penalty(1 - X, (z,), (100 * z,), Y)
    assert price == 0
    (slope,) = torch.autograd.grad(price, z)
    assert not slope.any()


def test_sending_smaller_or_shifted_numbers_is_no_way_out() -> None:
    shield, z = armed(steps=40), X.flatten(1) + 0.1 * torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    paid(shield, X, z)
    shield.eval()
    assert paid(shield, X, z) > 0.1
    # each number by itself: where a network sits in saturation, its numbers shrink about different ends
    ends = torch.linspace(-1, 1, 64)
    assert paid(shield, X, z / 50 + ends) == pytest.approx(paid(shield, X, z), rel=1e-2)


def test_the_slope_reaches_the_device_and_not_the_decoder() -> None:
    shield = armed(steps=40)
    z = X.flatten(1).clone().requires_grad_()
    shield.penalty(X, (z,), (z,), Y).backward()
    assert z.grad is not None
    assert z.grad.any()
    before = weights(shield)
    for parameter in shield.loop[0].parameters():
        parameter.grad = None
    shield.eval().penalty(X, (z,), (z,), Y).backward()
    assert all(parameter.grad is None for parameter in shield.loop[0].parameters())
    assert all(map(torch.equal, before, weights(shield)))


def test_the_device_does_not_carry_the_decoder() -> None:
    shield = armed()
    assert not list(shield.parameters())
    assert not shield.state_dict()
    assert not list(shield.receiver_parameters())


def test_it_learns_in_training_only() -> None:
    shield, z = armed(), X.flatten(1)
    before = weights(shield)
    paid(shield.eval(), X, z)
    assert all(map(torch.equal, before, weights(shield)))
    with torch.no_grad():
        paid(shield.train(), X, z)
    assert not all(map(torch.equal, before, weights(shield)))


def test_every_run_is_the_same_and_no_random_number_is_drawn() -> None:
    state = torch.get_rng_state()
    one, other = armed(size="medium"), armed(size="medium")
    for _ in range(3):
        assert paid(one, X, X.flatten(1)) == paid(other, X, X.flatten(1))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("shapes", "images"),
    [
        (((3, 20, 17),), (1, 8, 8)),
        (((2, 1, 1), (7,)), (3, 9, 7)),
        (((5, 6),), (1, 1, 5)),
        (((4, 30, 30), (4, 15, 15), (100,)), (3, 61, 60)),
    ],
)
def test_any_cut_and_image_will_do(shapes: tuple[tuple[int, ...], ...], images: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(1)
    shield, x = armed(shapes, images), torch.rand(3, *images, generator=draw)
    z = tuple(torch.randn(3, *shape, generator=draw).requires_grad_() for shape in shapes)
    assert shield.loop[0](z).shape == x.shape
    shield.loop[0](z).square().sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in z)
    for count in (1, 3):
        assert 0 <= paid(shield, x[:count], *[part[:count].detach() for part in z]) <= 1


def attacked(weight: float) -> tuple[float, float, float]:
    """Squared error of a fresh decoder and of ridge, and accuracy."""
    with Lab(seed=5).seeded("toy"):
        device = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 48), nn.Tanh())
        model = SplitModel(device, nn.Linear(48, 10))
    model.shield = Shields([armed(((48,),), weight=weight)])
    images, labels = pictures(GREY, 1400, 300)
    train(model, images, labels, Training(epochs=20, batch=50, rate=1e-2), Lab(seed=2))
    at = scene(GREY, victims=60, shadow=240)
    view = look(model, at, (Grant.QUERIES, Grant.SHADOW))
    guesses = Decoder(size="small", epochs=3).run(view, Lab(seed=4)), Ridge().run(view, Lab(seed=4))
    errors = [(guess.clamp(0, 1) - at.victims).square().mean().item() for guess in guesses]
    with torch.no_grad():
        right = (model(at.victims).argmax(1) == at.labels).double().mean().item()
    return errors[0], errors[1], right


def test_a_fresh_attacker_does_worse_against_a_device_so_trained() -> None:
    decoder, ridge, right = attacked(1e-6)
    defended_decoder, defended_ridge, still = attacked(1.0)
    assert right > 0.8
    assert defended_decoder > 1.1 * decoder
    assert defended_ridge > 1.1 * ridge
    assert still > right - 0.05


def test_it_stacks_with_others() -> None:
    shield = Shields([armed(), armed(weight=2.0)])
    z = (X.flatten(1),)
    assert shield.penalties(X, shield.steps(z), Y).isfinite()
