"""Class inversion against a plain loop on a linear softmax model, and on a trained network of digits."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small import CLASSES, GREY, look, pictures, scene, shallow
from torch import Tensor, nn

from unsmash.attacks.miface import Miface
from unsmash.class_cost import judge, total_variation
from unsmash.class_inversion import Descent, Inversion, invert
from unsmash.errors import ConfigError, ThreatError, UnsmashError
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.threat import Grant

PIXELS = 64


@functools.cache
def linear(classes: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(classes, PIXELS)) * 0.4, rng.normal(size=classes)


def logits(images: Tensor) -> Tensor:
    weight, bias = linear()
    return images.flatten(1) @ torch.from_numpy(weight).T + torch.from_numpy(bias)


def probabilities(x: np.ndarray) -> np.ndarray:
    weight, bias = linear()
    z = weight @ x + bias
    e = np.exp(z - z.max())
    return e / e.sum()


def climb(x: np.ndarray, label: int, on: str) -> np.ndarray:
    """The closed form: ∇p = p (w − Σ pⱼ wⱼ); ∇ log(p / (1 − p)) = w − Σ qⱼ wⱼ, q the softmax of the others."""
    weight, _ = linear()
    p = probabilities(x)
    if on == "probability":
        return p[label] * (weight[label] - p @ weight)
    q = p.copy()
    q[label] = 0
    return weight[label] - (q / q.sum()) @ weight


def paper(start: np.ndarray, label: int, plan: Descent) -> tuple[np.ndarray, float, int, str]:
    """Algorithm 1, one class, one step after another."""

    def cost(x: np.ndarray) -> float:
        p = probabilities(x)[label]
        return 1 - p if plan.on == "probability" else -np.log(p / (1 - p))

    x, costs, points = start, [cost(start)], [start]
    for step in range(1, plan.max_iter + 1):
        x = np.clip(x + plan.learning_rate * climb(x, label, plan.on), 0, 1)
        now = cost(x)
        earlier = costs[-plan.window_length :]
        costs.append(now)
        points.append(x)
        if probabilities(x)[label] >= plan.threshold:
            return *best(points, costs), step, "confident"
        if len(earlier) == plan.window_length and now >= max(earlier):
            return *best(points, costs), step, "no progress"
    if plan.max_iter < plan.window_length:
        return *best(points, costs), plan.max_iter, "iterations"
    pace = (costs[-1 - plan.window_length] - costs[-1]) / plan.window_length
    goal = 1 - plan.threshold if plan.on == "probability" else -np.log(plan.threshold / (1 - plan.threshold))
    enough = costs[-1] - plan.max_iter * pace <= goal
    return *best(points, costs), plan.max_iter, "iterations" if enough else "levelled"


def best(points: list[np.ndarray], costs: list[float]) -> tuple[np.ndarray, float]:
    least = points[int(np.argmin(costs))]
    return least, min(costs)


def art(start: np.ndarray, label: int, plan: Descent) -> tuple[np.ndarray, int]:
    """What ART does with a batch of one: on while the cost is low, or no better than all of the window."""
    x, window = start, [np.inf] * plan.window_length
    for step in range(plan.max_iter):
        x = np.clip(x + plan.learning_rate * climb(x, label, "probability"), 0, 1)
        cost = 1 - probabilities(x)[label]
        if not (cost <= plan.threshold or cost >= max(window)):
            return x, step + 1
        window[step % plan.window_length] = cost
    return x, plan.max_iter


def starts(value: float = 0.5, classes: int = 6) -> Tensor:
    return torch.full((classes, 1, 8, 8), value, dtype=torch.float64)


def run(plan: Descent, start: Tensor | None = None, **settings: Any) -> Inversion:
    first = starts() if start is None else start
    return invert(logits, first, torch.arange(len(first)) % 6, plan, **settings)


@pytest.mark.parametrize("on", ["probability", "log_odds"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"window_length": 3, "learning_rate": 30.0},  # steps so long that it jumps about until its window is full
        {"max_iter": 7, "threshold": 0.99999},
        {"window_length": 1, "threshold": 1 - 1e-9, "learning_rate": 30.0, "max_iter": 300},  # until it is cornered
    ],
)
def test_the_papers_rule_is_algorithm_1(on: Any, settings: dict[str, Any]) -> None:
    plan = Descent(on=on, **settings)
    found = run(plan)
    if plan.window_length == 1 and on == "log_odds":
        assert "no progress" in found.stops
    for label in range(6):
        image, _, steps, why = paper(np.full(PIXELS, 0.5), label, plan)
        assert (int(found.iterations[label]), found.stops[label]) == (steps, why)
        assert np.allclose(found.images[label].numpy().ravel(), image, atol=1e-9)
        assert float(found.confidences[label]) == pytest.approx(probabilities(image)[label])


@pytest.mark.parametrize("settings", [{"max_iter": 60}, {"max_iter": 60, "threshold": 0.7, "window_length": 4}])
def test_arts_rule_lets_go_of_what_has_not_begun_and_holds_what_has_arrived(settings: dict[str, Any]) -> None:
    plan = Descent(rule="art", on="probability", **settings)
    found = run(plan)
    for label in range(6):
        image, steps = art(np.full(PIXELS, 0.5), label, plan)
        assert int(found.iterations[label]) == steps
        assert np.allclose(found.images[label].numpy().ravel(), image, atol=1e-9)
    low = found.starts < 1 - plan.threshold - 0.05
    assert found.iterations[~low].max() == plan.max_iter
    if plan.threshold == 0.7:
        assert low.any()
        assert set(found.iterations[low].tolist()) == {1}


@pytest.mark.parametrize("on", ["probability", "log_odds"])
@pytest.mark.parametrize("tv", [0.0, 0.02])
def test_a_step_follows_the_gradient_of_the_cost(on: Any, tv: float) -> None:
    """One step with a tiny rate against finite differences of the cost."""
    start = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.8 + 0.1
    found = run(Descent(rule="paper", on=on, tv=tv, max_iter=1, learning_rate=1e-3), start)

    def cost(images: Tensor) -> Tensor:
        p = logits(images).softmax(1).diagonal()
        return (1 - p if on == "probability" else (1 - p).log() - p.log()) + tv * total_variation(images)

    slope = torch.zeros_like(start)
    for pixel in range(PIXELS):
        ahead = torch.zeros(PIXELS, dtype=torch.float64)
        ahead[pixel] = 1e-5
        nudge = ahead.reshape(1, 8, 8)
        slope.flatten(1)[:, pixel] = (cost(start + nudge) - cost(start - nudge)) / 2e-5
    assert torch.allclose(found.images, start - 1e-3 * slope, atol=1e-8)


@pytest.mark.parametrize("rule", ["paper", "art"])
def test_a_batch_gives_what_one_after_the_other_gives(rule: Any) -> None:
    start = torch.rand(18, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plan = Descent(rule=rule, on="probability", window_length=5, max_iter=80, threshold=0.9)
    whole, chunked = run(plan, start), run(plan, start, batch=4)
    assert len(set(whole.iterations.tolist())) > 1
    assert torch.equal(whole.iterations, chunked.iterations)
    for row in range(18):
        alone = invert(logits, start[row : row + 1], torch.tensor([row % 6]), plan)
        assert (int(alone.iterations), alone.stops) == (int(whole.iterations[row]), (whole.stops[row],))
        assert torch.allclose(alone.images[0], whole.images[row], atol=1e-9)
        assert torch.allclose(alone.images[0], chunked.images[row], atol=1e-9)


@pytest.mark.parametrize("on", ["probability", "log_odds"])
def test_the_pull_on_the_answers_is_autograds_own(on: Any) -> None:
    answers = torch.randn(7, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64, requires_grad=True)
    mine = torch.arange(7)[:, None] % 5
    p = answers.softmax(1).gather(1, mine)[:, 0]
    cost = 1 - p if on == "probability" else -torch.logit(p)
    found, pull, sure = judge(answers.detach(), mine, on)
    assert torch.allclose(found, cost)
    assert torch.allclose(sure, p)
    assert torch.allclose(pull, torch.autograd.grad(cost.sum(), answers)[0])


def test_a_network_that_is_never_sure_is_told_from_one_that_wants_more_steps() -> None:
    """A sigmoid bounds the logits: with weights of 1 no image at all gets far; with 20 it only takes time."""
    first = nn.Linear(PIXELS, 6)
    with Lab().seeded("bounded"):
        first.reset_parameters()
    frozen = first.double().requires_grad_(False)
    plan = Descent(max_iter=40, window_length=10, learning_rate=0.02)

    def descend(scale: float) -> Inversion:
        return invert(lambda x: scale * frozen(x.flatten(1)).sigmoid(), starts(), torch.arange(6), plan)

    bounded, able = descend(1.0), descend(20.0)
    # six numbers in [0, 1]: the largest probability is e / (e + 5)
    assert (bounded.confidences <= np.e / (np.e + 5)).all()
    assert set(bounded.stops) == {"levelled"}
    assert "levelled" not in able.stops


def test_what_is_kept_never_gets_less_sure() -> None:
    """Even with steps so long that the descent jumps about."""
    kept = [run(Descent(max_iter=n, learning_rate=40.0, threshold=1 - 1e-12)).confidences for n in range(1, 12)]
    jumps = [run(Descent(rule="art", on="probability", max_iter=n, learning_rate=4000.0)) for n in range(1, 12)]
    assert all((after >= before).all() for before, after in itertools.pairwise(kept))
    assert any((b.confidences < a.confidences).any() for a, b in itertools.pairwise(jumps))


def test_a_start_without_a_gradient_is_said_and_left_alone() -> None:
    """A hidden layer that is off everywhere near black: nothing to follow from there, much from grey."""
    hidden = nn.Linear(PIXELS, 20)
    network = nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(20, 6)).double().requires_grad_(False)
    with Lab().seeded("dead"):
        hidden.weight.copy_(torch.rand(20, PIXELS))
        hidden.bias.fill_(-2.0)
    black = invert(network, starts(0), torch.arange(6), Descent())
    assert black.stops == ("flat start",) * 6
    assert black.flat.all()
    assert torch.equal(black.images, starts(0))
    assert not black.iterations.any()
    assert not invert(network, starts(0.5), torch.arange(6), Descent()).flat.any()


def test_a_gradient_that_leads_out_of_the_box_is_none() -> None:
    start = starts(1.0, 1)
    bright = invert(lambda x: torch.cat([x.flatten(1).sum(1, keepdim=True), torch.zeros(len(x), 1)], 1), start,
                    torch.tensor([0]), Descent(threshold=1 - 1e-30))  # fmt: skip
    assert bright.flat.all()


def test_answers_that_are_no_logits_are_refused_in_a_sentence() -> None:
    with pytest.raises(UnsmashError, match="one logit a class"):
        invert(lambda x: x.flatten(1)[:, :2], starts(), torch.arange(6), Descent())
    with pytest.raises(UnsmashError, match="not finite"):
        invert(lambda x: logits(x) * torch.nan, starts(), torch.arange(6), Descent())


@functools.cache
def trained() -> nn.Module:
    """A small convolutional network of scikit-learn's digits, accurate on those it never saw."""
    images, labels = pictures(GREY, 1200)
    with Lab().seeded("train"):
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, CLASSES)
        )
        adam = torch.optim.Adam(network.parameters(), 5e-3)
        for _ in range(4):
            for rows in torch.randperm(len(images)).split(50):
                adam.zero_grad()
                nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
                adam.step()
    unseen, truth = pictures(GREY, 500, 1200)
    assert (network(unseen).argmax(1) == truth).double().mean() > 0.85
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("start", [0.0, 0.5])
@pytest.mark.parametrize("denoising", [0.0, 0.05])
def test_every_class_of_a_trained_network_is_reached(start: float, denoising: float) -> None:
    first = starts(start, CLASSES).float()
    found = invert(trained(), first, torch.arange(CLASSES), Descent(denoising=denoising))
    assert found.stops == ("confident",) * CLASSES
    assert found.confidences.min() >= 0.99
    again = trained()(found.images).softmax(1).diagonal()
    assert torch.allclose(again, found.confidences, atol=1e-5)


def test_total_variation_smooths() -> None:
    first = torch.rand(CLASSES, *GREY, generator=torch.Generator().manual_seed(3))
    plain, smooth = (invert(trained(), first, torch.arange(CLASSES), Descent(tv=tv)) for tv in (0.0, 0.05))
    assert total_variation(smooth.images).mean() < total_variation(plain.images).mean()
    step = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    step[..., 2:] = 1
    assert total_variation(step).item() == pytest.approx(4, abs=0.01)
    assert total_variation(torch.full_like(step, 0.3)).item() == pytest.approx(0, abs=1e-12)


def view_of(*extra: Grant) -> Any:
    return look(shallow("flat", GREY), scene(GREY), Miface.needs | set(extra))


@pytest.mark.parametrize("start", ["zeros", "grey", "random", "average", "data"])
def test_starts_and_restarts(start: Any) -> None:
    """With no steps to speak of, the guess is a start; more restarts are never less sure."""
    view = view_of(Grant.SHADOW)
    shadow = scene(GREY).shadow
    still = Miface(start=start, max_iter=1, learning_rate=1e-30)
    guess = still.run(view, Lab())
    assert guess.shape == (CLASSES, *GREY)
    if start == "data":
        assert all((shadow - one).abs().flatten(1).amax(1).min() < 1e-20 for one in guess)
    elif start == "random":
        assert guess.std() == pytest.approx(12**-0.5, abs=0.03)
    else:
        wanted = {"zeros": torch.zeros(GREY), "grey": torch.full(GREY, 0.5), "average": shadow.mean(0)}[start]
        assert torch.allclose(guess, wanted.expand_as(guess))
    few = still.invert(view, Lab()).confidences
    many = still.model_copy(update={"restarts": 6}).invert(view, Lab()).confidences
    if start != "random" and start != "data":
        assert (many >= few).all()
        assert (many > few).any()


def test_starts_from_images_need_the_adversarys_images() -> None:
    with pytest.raises(ThreatError, match="shadow"):
        Miface(start="data").run(view_of(), Lab())
    raw = {"data": "digits", "model": "shallow_net", "attacks": [{"kind": "miface", "start": "average"}]}
    with pytest.raises(ConfigError, match="shadow"):
        Experiment.model_validate(raw | {"threats": [{"name": "own", "grants": ["weights", "server"]}]})


def test_arts_rule_comes_with_nothing_that_art_lacks() -> None:
    for more in ({}, {"on": "probability", "tv": 0.1}, {"on": "probability", "denoising": 0.1}):
        with pytest.raises(ValidationError, match="as ART descends"):
            Miface.model_validate({"kind": "miface", "rule": "art", **more})
    Miface(rule="art", on="probability")
