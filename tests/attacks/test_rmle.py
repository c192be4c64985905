"""White-box inversion: against closed forms, finite differences and the law of the noise."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from small import GREY, look, scene, shallow
from torch import Tensor, nn

from unsmash.attacks.rmle import Rmle
from unsmash.defences.dropout import DropoutShield
from unsmash.defences.gaussian import GaussianShield
from unsmash.defences.laplace import LaplaceShield
from unsmash.errors import ThreatError, UnsmashError
from unsmash.inversion import Descent, Target, invert, last_noise, total_variation
from unsmash.lab import Lab
from unsmash.search_space import Doubt
from unsmash.split import Shield, Shields, SplitModel
from unsmash.threat import Grant
from unsmash.view import View


def linear(shield: Shield | None = None, numbers: int = 96) -> SplitModel:
    """More numbers than pixels, every one a weighted sum of them."""
    with Lab(seed=2).seeded("linear"):
        model = SplitModel(nn.Sequential(nn.Flatten(), nn.Linear(64, numbers)), nn.Linear(numbers, 10))
    model.shield = Shields([shield] if shield else [])
    return model.eval()


def seen(model: SplitModel, queries: int = 1, victims: int = 24) -> View:
    return look(model, scene(GREY, victims=victims), Rmle.needs, queries)


def target(view: View) -> Target:
    return Target(view.device, view.shield, view.repeats, Lab())


def everyone(view: View) -> Tensor:
    return torch.arange(view.victims)


def flat_grey(view: View) -> Tensor:
    return torch.full((view.victims, *view.input_shape), 0.5)


def test_a_linear_release_wider_than_the_image_is_undone_as_the_pseudo_inverse_does() -> None:
    model = linear()
    view = seen(model)
    layer = model.device[1]  # type: ignore[index]
    inverse = np.linalg.pinv(layer.weight.detach().double().numpy())
    wanted = (view.release[0] - layer.bias.detach()).double().numpy() @ inverse.T
    guess = Rmle(steps=1500, rate=0.1, tv=0, starts=1).run(view, Lab())
    assert np.abs(guess.flatten(1).numpy() - wanted).max() < 1e-3


def test_the_misfit_has_the_gradient_of_finite_differences() -> None:
    for shield in (None, GaussianShield(0.3, 2.0), LaplaceShield(0.3)):
        view = seen(shallow("several", GREY, shield), 2 if shield else 1, victims=3)
        mine = target(view)
        mine.device = copy.deepcopy(view.device).double()
        mine.rows, mine.scale = mine.rows.double(), mine.scale.double()
        x = torch.rand(3, *GREY, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
        # `flat` gives float32, so steps are wide and the agreement is to three digits
        (gradient,) = torch.autograd.grad(mine.misfit(x, everyone(view)).sum(), x)
        way = gradient / gradient.norm()
        step = 1e-2
        with torch.no_grad():
            ends = [mine.misfit(x + side * step * way, everyone(view)).sum() for side in (1, -1)]
        assert ((ends[0] - ends[1]) / (2 * step)).item() == pytest.approx(gradient.norm().item(), rel=0.02)


@pytest.mark.parametrize("queries", [1, 3])
def test_the_misfit_is_the_likelihood_of_all_releases(queries: int) -> None:
    """Differences between images are those of the defence's own closed form, summed over the releases."""
    for shield, factor in ((GaussianShield(0.4), -2.0), (LaplaceShield(0.4), -1.0)):
        model = shallow("several", GREY, shield)
        view = seen(model, queries, victims=5)
        images = scene(GREY, victims=5).victims
        with torch.no_grad():
            one, other = (target(view).misfit(x, everyone(view)) for x in (images, flat_grey(view)))
            told = [
                torch.stack([shield.log_likelihood(release, model.smash(x)).diagonal() for release in view.repeats])
                for x in (images, flat_grey(view))
            ]
        assert torch.allclose((one - other).double(), factor * (told[0] - told[1]).sum(0), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("shield", "queries"),
    [(GaussianShield(0.5), 1), (GaussianShield(0.5), 4), (LaplaceShield(0.5), 4), (DropoutShield(0.5), 1)],
    ids=["gaussian", "gaussian 4", "laplace 4", "dropout"],
)
def test_the_level_is_what_the_truth_misses_by(shield: Shield, queries: int) -> None:
    model = shallow("flat", GREY, shield)
    view, images = seen(model, queries, victims=200), scene(GREY, victims=200).victims
    mine = target(view)
    with torch.no_grad():
        missed = mine.misfit(images, everyone(view))
    error = (missed - mine.level(images)).std() / 200**0.5
    assert abs((missed.mean() - mine.level(images).mean()).item()) < 4 * error.item()


def test_noise_of_known_law_is_not_fitted() -> None:
    view = seen(linear(GaussianShield(0.5), 200), victims=60)
    attack = Rmle(steps=200)
    guess, mine = attack.run(view, Lab()), target(view)
    with torch.no_grad():
        misfit = mine.misfit(guess, everyone(view))
    spread = (2 * 200) ** 0.5  # of a χ² with 200 degrees
    assert misfit.mean() > 200 - 0.5 * spread
    fitting = dataclasses.replace(view, shield=Shields([]))  # takes the same releases for exact ones
    blind = Rmle(steps=200, tv=0).run(fitting, Lab())
    with torch.no_grad():
        assert mine.misfit(blind, everyone(view)).mean() < 200 - spread
    truth = scene(GREY, victims=60).victims
    assert (guess - truth).square().mean() < (blind - truth).square().mean()


@pytest.mark.parametrize("shield", [None, GaussianShield(0.2), LaplaceShield(0.2), DropoutShield(0.3)])
def test_no_victim_ends_with_more_misfit_than_it_began_with(shield: Shield | None) -> None:
    view = seen(shallow("maps", GREY, shield))
    mine, start = target(view), flat_grey(view)
    found = invert(mine, [start], Descent(5, 3.0, 0.1), Lab(), "it")  # steps so wide that some make it worse
    with torch.no_grad():
        before, level = mine.misfit(start, everyone(view)), mine.level(start)
        assert (found.misfit <= torch.maximum(before, level) + 1e-3).all()
        assert torch.allclose(mine.misfit(found.images, everyone(view)), found.misfit, rtol=1e-4)


def test_each_victim_keeps_the_best_of_its_starts() -> None:
    view = seen(linear())
    mine, exact = target(view), scene(GREY).victims
    mixed, grey = exact.clone(), flat_grey(view)
    mixed[::2] = grey[::2]
    plan = Descent(1, 1e-6, 0)
    found = invert(mine, [grey, mixed], plan, Lab(), "it").images
    assert torch.allclose(found[1::2], exact[1::2], atol=1e-5)
    assert torch.allclose(found[::2], grey[::2], atol=1e-5)


def test_a_dead_start_is_left_by_the_next_one() -> None:
    """Behind a rectifier that black images leave shut, no gradient moves; a random start opens it."""
    layer = nn.Linear(64, 96)
    with torch.no_grad(), Lab().seeded("layer"):
        layer.weight.copy_(torch.rand(96, 64))
        layer.bias.fill_(-1.0)
    model = SplitModel(nn.Sequential(nn.Flatten(), layer, nn.ReLU()), nn.Linear(96, 10)).eval()
    view = seen(model)
    stuck, freed = (Rmle(start="zeros", starts=starts, tv=0).run(view, Lab()) for starts in (1, 2))
    assert not stuck.any()
    truth = scene(GREY).victims
    assert (freed - truth).square().mean() < 0.3 * truth.square().mean()


def test_a_victims_image_does_not_depend_on_who_else_is_attacked() -> None:
    view = seen(shallow("maps", GREY, LaplaceShield(0.1)), 2)
    rows = torch.tensor([3, 17, 5])
    few = dataclasses.replace(view, repeats=tuple(tuple(part[rows] for part in release) for release in view.repeats))
    attack = Rmle(steps=20)
    assert torch.allclose(attack.run(view, Lab())[rows], attack.run(few, Lab()), atol=1e-4)


def test_batches_of_few_give_what_one_of_all_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    view = seen(shallow("flat", GREY))
    whole = Rmle(steps=20).run(view, Lab())
    monkeypatch.setattr("unsmash.inversion.PIXELS", 5 * 64)
    assert torch.allclose(Rmle(steps=20).run(view, Lab()), whole, atol=1e-4)


def test_a_doubt_keeps_the_search_to_its_directions() -> None:
    view = seen(linear())
    ways = torch.zeros(2, 64)
    ways[0, 10], ways[1, 20] = 1.0, 1.0
    doubt = Doubt(ways, torch.ones(view.victims, *GREY))
    found = invert(target(view), [flat_grey(view)], Descent(30, 0.1, 0), Lab(), "it", doubt).images.flatten(1)
    moved = (found != 0.5).any(0).nonzero()[:, 0]
    assert moved.tolist() == [10, 20]


def test_total_variation_is_the_naive_sum() -> None:
    images = torch.rand(3, 2, 5, 4, generator=torch.Generator().manual_seed(3))
    for found, image in zip(total_variation(images), images.tolist(), strict=True):
        total = 0.0
        for plane in image:
            for i in range(5):
                for j in range(4):
                    total += abs(plane[i][j] - plane[i - 1][j]) if i else 0.0
                    total += abs(plane[i][j] - plane[i][j - 1]) if j else 0.0
        assert found.item() == pytest.approx(total / 40, rel=1e-5)


def test_a_law_is_known_only_where_the_last_shield_alone_draws() -> None:
    noise, quiet = GaussianShield(0.3), Shield()
    assert last_noise(Shields([quiet, noise])) == noise.noise
    assert last_noise(Shields([noise, quiet])) is None
    assert last_noise(Shields([noise, LaplaceShield(0.1)])) is None
    assert last_noise(Shields([])) is None
    assert last_noise(Shields([DropoutShield(0.5)])) is None


def test_a_device_half_of_steps_is_refused_in_a_sentence() -> None:
    class Steps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.flatten(1) > 0.5).float()

    view = seen(SplitModel(Steps(), nn.Linear(64, 10)).eval())
    with pytest.raises(UnsmashError, match="no gradient reaches the images"):
        Rmle(steps=2).run(view, Lab())


def test_it_needs_the_weights_and_nothing_else() -> None:
    assert Rmle.needs == {Grant.WEIGHTS}
    view = look(shallow("flat", GREY), scene(GREY), (Grant.QUERIES, Grant.SHADOW))
    with pytest.raises(ThreatError, match="weights"):
        Rmle().run(view, Lab())
