"""Search in a generator: against closed forms where it is linear; one's own from end to end."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from small import GREY, TINY, look, scene, shallow
from torch import Tensor, nn

from unsmash import generator as generators
from unsmash.attacks.base import Attack
from unsmash.attacks.generator_prior import GeneratorPrior
from unsmash.auditing import audit
from unsmash.defences.gaussian import GaussianShield
from unsmash.defences.laplace import LaplaceShield
from unsmash.errors import ConfigError, ThreatError, UnsmashError
from unsmash.experiment import study, to_yaml
from unsmash.generator import Generator, GeneratorPlan, divergence, learned_generator
from unsmash.inversion import Descent, Target, invert
from unsmash.lab import Lab
from unsmash.search_space import Codes
from unsmash.split import Shield, SplitModel
from unsmash.threat import Grant
from unsmash.view import View

WHITE = (Grant.SHADOW, Grant.WEIGHTS)
SMALL = GeneratorPlan(numbers=8, width=8, epochs=2)


class Linear(nn.Module):
    """Images 0.5 + 0.02 · A z of a few numbers: inside [0, 1] for likely codes."""

    def __init__(self, numbers: int = 6, seed: int = 0) -> None:
        super().__init__()
        way = torch.randn(numbers, 64, generator=torch.Generator().manual_seed(seed))
        self.way = nn.Parameter(0.02 * way)
        self.dropout = nn.Dropout(0.5)

    def forward(self, codes: Tensor) -> Tensor:
        return 0.5 + self.dropout(codes @ self.way).reshape(-1, *GREY)


def seen(model: SplitModel, images: Tensor | None = None, queries: int = 1) -> View:
    at = scene(GREY, shadow=64)
    return look(model, at if images is None else dataclasses.replace(at, victims=images), WHITE, queries)


def straight(shield: Shield | None = None) -> SplitModel:
    """A linear device half of 40 numbers."""
    with Lab(seed=2).seeded("linear"):
        model = SplitModel(nn.Sequential(nn.Flatten(), nn.Linear(64, 40)), nn.Linear(40, 10))
    if shield is not None:
        model.shield = shield
    return model.eval()


def test_behind_gaussian_noise_it_finds_the_most_probable_code() -> None:
    """Linear generator, linear device half: Bayes' rule has the closed form (JᵀJ/σ² + I)⁻¹ Jᵀ r/σ² where it binds."""
    sigma, net = 0.2, Linear()
    codes = torch.randn(24, 6, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        truth = net.eval()(codes)
    model = straight(GaussianShield(sigma))
    view = seen(model, truth)
    layer = model.device[1]  # type: ignore[index]
    jacobian = (net.way.detach() @ layer.weight.detach().T).double().numpy() / sigma
    base = model.device(torch.full((1, *GREY), 0.5)).detach()
    residual = ((view.release[0] - base) / sigma).double().numpy()
    wanted = residual @ jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + np.eye(6))
    target = Target(view.device, view.shield, view.repeats, Lab())
    # with no allowance for noise the objective is the posterior itself
    target.level = lambda images: torch.zeros(len(images))  # type: ignore[method-assign]
    grey = target.misfit(torch.full((24, *GREY), 0.5), torch.arange(24)).detach()
    space = Codes(net)
    for row in range(3):
        mine = copy.copy(target)
        mine.rows = target.rows[:, row : row + 1]
        plan = Descent(800, 0.1, 0.0, spread=1 / grey[row].item())
        found = invert(mine, [torch.zeros(1, 6)], plan, Lab(), "it", space).images
        expected = 0.5 + (wanted[row] @ net.way.detach().double().numpy()).reshape(GREY)
        assert np.abs(found[0].numpy() - expected).max() < 2e-3


def test_what_the_generator_makes_is_found_exactly() -> None:
    net = Linear()
    with torch.no_grad():
        truth = net.eval()(torch.randn(24, 6, generator=torch.Generator().manual_seed(5)))
    guess = GeneratorPrior.of(net, numbers=6, steps=400, spread=0).run(seen(straight(), truth), Lab())
    assert (guess - truth).abs().max() < 5e-3


@pytest.mark.parametrize("shield", [None, GaussianShield(0.3), LaplaceShield(0.3)])
@pytest.mark.parametrize("queries", [1, 3])
def test_misfits_of_all_pairs_are_those_of_each(shield: Shield | None, queries: int) -> None:
    view = seen(shallow("several", GREY, shield), queries=queries)
    target = Target(view.device, view.shield, view.repeats, Lab())
    images = scene(GREY, shadow=64).shadow[:5]
    table = target.misfits(images)
    with torch.no_grad():
        for place, image in enumerate(images):
            one = target.misfit(image.expand(view.victims, *GREY), torch.arange(view.victims))
            assert torch.allclose(table[:, place], one, rtol=1e-3, atol=1e-3)


def test_the_divergence_is_torchs_own() -> None:
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    own = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    wanted = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(divergence(mean, log_variance), wanted, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 11), (1, 28, 28), (3, 65, 50)])
def test_a_learned_generator_makes_images_of_the_shape(shape: tuple[int, int, int]) -> None:
    view = look(shallow("flat", shape), scene(shape, shadow=32), WHITE)
    made = learned_generator(view, Lab(), GeneratorPlan(numbers=5, width=4, epochs=1, copies=0))
    assert made.known is not None
    assert made.known.shape == (32, 5)
    images = made.network(torch.randn(3, 5))
    assert images.shape == (3, *shape)
    assert images.amin() >= 0
    assert images.amax() <= 1
    made.require_fit(shape, Lab())


def test_what_it_learned_says_more_of_an_image_than_the_mean_does() -> None:
    view = look(shallow("flat", GREY), scene(GREY, shadow=200), WHITE)
    made = learned_generator(view, Lab(), GeneratorPlan(numbers=24, width=16, epochs=25))
    assert made.known is not None
    likeness = made.network(made.known).detach()
    left = (likeness - view.shadow).square().mean()
    assert left < 0.7 * (view.shadow - view.shadow.mean(0)).square().mean()
    # codes are near what the prior says, so that its samples are digits too
    assert made.known.square().mean() < 1.5


def test_the_generator_is_learned_once_and_the_same_for_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Tensor] = []
    work = generators._learn

    def counted(shadow: Tensor, lab: Lab, plan: GeneratorPlan) -> Generator:
        learned.append(shadow)
        return work(shadow, lab, plan)

    monkeypatch.setattr(generators, "_learn", counted)
    view = seen(shallow("flat", GREY))
    first = learned_generator(view, Lab().at("attack/one"), SMALL)
    assert learned_generator(view, Lab().at("attack/two"), SMALL) is first
    assert len(learned) == 1
    other = learned_generator(view, Lab(seed=1).at("attack/one"), SMALL)
    assert other.digest() != first.digest()
    fresh = seen(shallow("flat", GREY))
    assert learned_generator(fresh, Lab().at("attack/two"), SMALL).digest() == first.digest()


def test_free_pixels_fit_no_worse_than_the_generated_image() -> None:
    view = seen(shallow("flat", GREY))
    plain = GeneratorPrior(**GeneratorPrior.tiny)  # type: ignore[arg-type]
    target, everyone = Target(view.device, view.shield, view.repeats, Lab()), torch.arange(view.victims)
    guesses = [attack.run(view, Lab()) for attack in (plain, plain.model_copy(update={"refine": 30}))]
    with torch.no_grad():
        before, after = (target.misfit(guess, everyone) for guess in guesses)
    assert (after <= before + 1e-4).all()
    assert after.mean() < 0.9 * before.mean()


def test_ones_own_generator_takes_the_weights_and_no_images() -> None:
    mine = GeneratorPrior.of(Linear(), numbers=6, steps=3)
    assert mine.required() == {Grant.WEIGHTS}
    view = look(shallow("flat", GREY), scene(GREY), (Grant.WEIGHTS,))
    assert mine.run(view, Lab()).shape == (view.victims, *GREY)
    with pytest.raises(ThreatError, match="shadow"):
        GeneratorPrior().run(view, Lab())


def test_ones_own_generator_is_left_as_it_was() -> None:
    net = Linear().train()
    before = copy.deepcopy(net.state_dict())
    GeneratorPrior.of(net, numbers=6, steps=3).run(seen(straight()), Lab())
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_generator_of_other_images_is_refused_in_a_sentence() -> None:
    with pytest.raises(UnsmashError, match=r"makes \(2, 1, 8, 8\) .* \(2, 3, 8, 8\) are needed"):
        GeneratorPrior.of(Linear(), numbers=6).run(look(shallow("flat", (3, 8, 8)), scene((3, 8, 8)), WHITE), Lab())


def test_a_file_cannot_name_a_generator_of_ones_own() -> None:
    mine = GeneratorPrior.of(Linear(), numbers=6)
    raw = {"data": "digits", "model": "shallow_net", "attacks": [mine]}
    written = study(raw).experiment
    with pytest.raises(ConfigError, match=r"attacks\.0.*given in Python"):
        study({**raw, "attacks": [mine.model_dump(mode="json")]})
    assert f"own: {mine.own}" in to_yaml(written)


class Grey(Attack):
    """Answers grey: an attack of a user's own, of no file."""

    kind: Literal["grey"] = "grey"

    def run(self, view: View, lab: Lab) -> Tensor:
        return torch.full((view.victims, *view.input_shape), 0.5)


@pytest.mark.usefixtures("short_recogniser")
def test_attacks_made_in_python_are_audited_and_the_generators_weights_make_the_run(tmp_path: Path) -> None:
    def run(net: nn.Module) -> str:
        attacks = [GeneratorPrior.of(net, numbers=6, steps=20), Grey(), "ridge"]
        found = audit(
            data=TINY, model="shallow_net", train={"epochs": 1}, out=tmp_path, attacks=attacks, fail_if="ssim>0.99"
        )
        (one,) = found.runs
        result = one.result("generator_prior")
        assert not result.failure
        assert result.title == "White-box search in a generator that was brought along"
        assert one.result("grey").card.collapsed
        assert found.report.is_file()
        return one.id

    first = run(Linear())
    assert run(Linear()) == first
    assert run(Linear(seed=1)) != first
