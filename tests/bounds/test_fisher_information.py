"""Information against plain Jacobians, closed forms and quadrature; bounds against the errors they must not pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unsmash.bounds import fisher, jacobian
from unsmash.bounds.fisher import (
    Dfil,
    dfil,
    information,
    sigma_for_dfil,
    smoothed,
    trace_exact,
    trace_hutchinson,
    unbiased_bound,
    van_trees_held_out,
    van_trees_matrix,
    van_trees_scalar,
)
from unsmash.lab import Lab
from unsmash.models.splitnn import SplitNN
from unsmash.regression import fit

Encoder = Callable[[Tensor], Tensor]


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


def encoder(layers: Callable[[], list[nn.Module]], seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(*layers()).double().eval()


NETS: dict[str, Callable[[], list[nn.Module]]] = {
    "narrow tanh": lambda: [nn.Flatten(), nn.Linear(25, 9), nn.Tanh(), nn.Linear(9, 7), nn.Tanh()],
    "wide tanh": lambda: [nn.Flatten(), nn.Linear(25, 70), nn.Tanh()],
    "narrow convolutions": lambda: [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten()],
    "wide convolutions": lambda: [nn.Conv2d(1, 9, 2), nn.BatchNorm2d(9), nn.Sigmoid(), nn.AvgPool2d(2, 1)],
    "in place first": lambda: [nn.ReLU(inplace=True), nn.Conv2d(1, 6, 3), nn.ReLU(inplace=True), nn.Flatten()],
    "normalised": lambda: [nn.Flatten(), nn.Linear(25, 12), nn.LayerNorm(12), nn.GELU()],
}


def jacobians(f: Encoder, x: Tensor, scale: float | Tensor) -> Tensor:
    """W^½ J of each image [n, k, d] by torch's own loop over outputs: the independent reference."""
    each = []
    for image in x.split(1):
        whole = torch.autograd.functional.jacobian(lambda one: f(one.clone()).flatten(), image)
        assert isinstance(whole, Tensor)
        each.append(whole.reshape(len(whole), -1) / torch.as_tensor(scale, dtype=torch.float64).reshape(-1, 1))
    return torch.stack(each)


def scales(f: Encoder, x: Tensor, kind: str) -> float | Tensor:
    k = f(x[:1]).numel()
    return 0.3 if kind == "one" else torch.linspace(0.1, 2, k, dtype=torch.float64)


# ── the information itself ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("kind", ["one", "each"])
def test_traces_and_matrix_agree_with_plain_jacobians(name: str, kind: str) -> None:
    f, x = encoder(NETS[name]), normal(5, 1, 5, 5, seed=1)
    scale = scales(f, x, kind)
    reference = jacobians(f, x, scale)
    assert torch.allclose(trace_exact(f, x, scale), reference.square().sum((1, 2)), rtol=1e-9)
    expected = torch.einsum("nki,nkj->ij", reference, reference) / len(x)
    assert torch.allclose(information(f, x, scale), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["narrow tanh", "wide tanh"])
def test_the_size_of_a_block_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, x = encoder(NETS[name]), normal(3, 1, 5, 5, seed=1)
    usual, matrix = trace_exact(f, x, 0.5), information(f, x, 0.5)
    for numbers in (1, 100):  # a row at a time; four, the last block not full
        for module in (fisher, jacobian):
            monkeypatch.setattr(module, "NUMBERS", numbers)
        assert torch.allclose(trace_exact(f, x, 0.5), usual, rtol=1e-12)
        assert torch.allclose(information(f, x, 0.5), matrix, rtol=1e-12)


class OnlyBackward(torch.autograd.Function):
    """An operation that can be differentiated backward, one vector at a time, and in no other way."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)  # type: ignore[attr-defined]
        return x.sin()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.from_numpy(grads[0].numpy() * x.cos().numpy())  # numpy knows no batches of batches


@pytest.mark.parametrize("width", [7, 70])
def test_operations_that_cannot_be_batched_are_looped_over(width: int) -> None:
    first = normal(25, width, seed=3)
    known: Encoder = lambda x: (x.flatten(1) @ first).sin()  # noqa: E731
    odd: Encoder = lambda x: OnlyBackward.apply(x.flatten(1) @ first)  # noqa: E731
    x = normal(3, 1, 5, 5, seed=1)
    assert torch.allclose(trace_exact(odd, x, 0.5), trace_exact(known, x, 0.5), rtol=1e-9)
    assert torch.allclose(information(odd, x, 0.5), information(known, x, 0.5), rtol=1e-9)


def test_callers_may_be_in_no_grad_and_their_weights_and_images_stay_untouched() -> None:
    f, x = encoder(NETS["in place first"]), normal(3, 1, 5, 5, seed=1)
    before = x.clone()
    expected = trace_exact(f, x, 1.0)
    with torch.no_grad():
        assert torch.equal(trace_exact(f, x, 1.0), expected)
        dfil(f, x, 1.0, probes=2, generator=stream(0))
    assert torch.equal(x, before)
    assert all(weight.grad is None for weight in f.parameters())


def score_information(law: str, slopes: np.ndarray, scale: np.ndarray) -> float:
    """E[(∂ log p(z|x)/∂x)²] of one pixel that moves number j of z by slopes[j], by quadrature of the score."""
    total = 0.0
    for slope, unit in zip(slopes, scale, strict=True):
        z = np.linspace(-30, 30, 600_001) * unit  # where the noise-free number is 0
        step, h = z[1] - z[0], 1e-5 * unit

        def log_density(z: np.ndarray, at: float, unit: float = unit) -> np.ndarray:
            if law == "laplace":
                return -np.abs(z - at) / unit - np.log(2 * unit)
            return -((z - at) ** 2) / (2 * unit**2) - np.log(unit * np.sqrt(2 * np.pi))

        score = (log_density(z, slope * h) - log_density(z, -slope * h)) / (2 * h)
        total += float((score**2 * np.exp(log_density(z, 0.0))).sum() * step)
    return total


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_both_laws_carry_one_over_the_scale_squared(law: str) -> None:
    weight, scale = normal(1, 4, seed=2), torch.tensor([0.2, 0.5, 1.0, 3.0], dtype=torch.float64)
    x = torch.full((1, 1, 1, 1), 0.4, dtype=torch.float64)
    slopes = (weight * (1 - (x.flatten(1) @ weight).tanh().square())).flatten()
    expected = score_information(law, slopes.numpy(), scale.numpy())
    assert trace_exact(lambda x: (x.flatten(1) @ weight).tanh(), x, scale).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("k", [2, 5])
def test_k_releases_carry_k_times_the_information(k: int) -> None:
    f, x = encoder(NETS["narrow tanh"]), normal(4, 1, 5, 5, seed=1)
    together: Encoder = lambda x: torch.cat([f(x)] * k, 1)  # noqa: E731
    assert torch.allclose(information(together, x, 0.5), k * information(f, x, 0.5), rtol=1e-9, atol=1e-12)
    assert torch.allclose(trace_exact(f, x, 0.5 / k**0.5), k * trace_exact(f, x, 0.5), rtol=1e-9)  # their mean


# ── estimates ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", NETS)
def test_probes_are_unbiased(name: str) -> None:
    f, x = encoder(NETS[name]), normal(4, 1, 5, 5, seed=1)
    scale = scales(f, x, "each")
    traces, errors = trace_hutchinson(f, x, scale, 3000, stream(2))
    exact = trace_exact(f, x, scale)
    assert ((traces - exact).abs() < 4 * errors).all()
    assert (errors < 0.04 * exact).all()  # sharp enough for the line above to mean something


def test_the_error_of_a_trace_is_calibrated() -> None:
    f, x = encoder(NETS["narrow tanh"]), normal(1, 1, 5, 5, seed=1).expand(600, 1, 5, 5)
    traces, errors = trace_hutchinson(f, x, 1.0, 40, stream(3))  # 600 runs at once, for rows know nothing of each other
    z = (traces - trace_exact(f, x[:1], 1.0)) / errors
    assert z.std().item() == pytest.approx(1, abs=0.12)
    assert z.mean().abs().item() < 0.25  # the smaller a sample, the smaller the error it thinks it has


def test_the_error_of_a_mean_covers_images_and_probes() -> None:
    """f(x) = Q x²/2 with Q orthogonal has trace Σ x², on average d/3 for uniform pixels."""
    d, runs = 9, 400
    turn = torch.linalg.qr(normal(d, d, seed=1)).Q
    f: Encoder = lambda x: x.flatten(1).square() / 2 @ turn  # noqa: E731
    for probes in (1, 4):
        found = []
        for seed in range(runs):
            x = torch.rand(40, 1, 3, 3, generator=stream(seed), dtype=torch.float64)
            found.append(dfil(f, x, 1.0, probes=probes, generator=stream(10_000 + seed)))
        z = torch.tensor([(one.mean - 1 / 3) / one.error for one in found])
        assert z.std().item() == pytest.approx(1, abs=0.12)
        assert z.mean().abs().item() < 0.3
        assert {(one.images, one.probes) for one in found} == {(40, probes)}


def test_dfil_is_the_mean_trace_by_pixel_and_upper_allows_for_its_error() -> None:
    f, x = encoder(NETS["wide convolutions"]), normal(60, 1, 5, 5, seed=1)
    found = dfil(f, x, 0.5, probes=20, generator=stream(0))
    expected = trace_exact(f, x, 0.5).mean().item() / 25
    assert abs(found.mean - expected) < 4 * found.error
    assert found.upper(2) == found.mean + 2 * found.error
    assert found.upper() > found.mean


def test_what_one_draw_cannot_tell_is_nan() -> None:
    f, x = encoder(NETS["narrow tanh"]), normal(2, 1, 5, 5, seed=1)
    assert trace_hutchinson(f, x, 1.0, 1, stream(0))[1].isnan().all()
    assert math.isnan(dfil(f, x[:1], 1.0, probes=5, generator=stream(0)).error)


def test_the_same_stream_gives_the_same_estimate() -> None:
    f, x = encoder(NETS["narrow tanh"]), normal(6, 1, 5, 5, seed=1)
    first, again, other = (dfil(f, x, 1.0, probes=3, generator=stream(seed)) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("at", ["code", "pool"])
def test_the_shipped_network_agrees_with_its_exact_trace(at: str) -> None:
    net = SplitNN().build((1, 28, 28), 10, Lab()).eval()
    assert isinstance(net, nn.Sequential)
    f = net[: [name for name, _ in net.named_children()].index(at) + 1]
    x = torch.rand(2, 1, 28, 28, generator=stream(1))
    exact = trace_exact(f, x, 0.5)
    traces, errors = trace_hutchinson(f, x, 0.5, 80, stream(2))
    assert ((traces - exact).abs() < 4 * errors).all()
    assert (errors < 0.02 * exact).all()


# ── bounds where the least error is known ───────────────────────────────────────────────────────────────────────────


def linear_gaussian(d: int, k: int, *, general: bool) -> tuple[Tensor, Tensor]:
    """A mixing matrix [k, d] and the prior's covariance [d, d]."""
    root = normal(d, d, seed=5) / d**0.5 * torch.linspace(0.3, 2, d, dtype=torch.float64)
    covariance = root @ root.T + 0.05 * torch.eye(d, dtype=torch.float64)
    return normal(k, d, seed=6) / d**0.5, covariance if general else 0.7 * torch.eye(d, dtype=torch.float64)


def least_error(mix: Tensor, covariance: Tensor, sigma: float) -> float:
    """tr(Σ − ΣAᵀ(AΣAᵀ + σ²I)⁻¹AΣ)/d: the form that inverts k × k, where the bound inverts d × d."""
    inner = mix @ covariance @ mix.T + sigma**2 * torch.eye(len(mix), dtype=torch.float64)
    gained = covariance @ mix.T @ torch.linalg.solve(inner, mix @ covariance)
    return (covariance - gained).trace().item() / len(covariance)


@pytest.mark.parametrize(("d", "k"), [(16, 8), (16, 24)], ids=["fewer numbers", "more numbers"])
@pytest.mark.parametrize("general", [False, True], ids=["equal variances", "general covariance"])
@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("releases", [1, 4])
def test_matrix_bound_is_the_linear_gaussian_optimum(
    d: int, k: int, general: bool, sigma: float, releases: int
) -> None:
    mix, covariance = linear_gaussian(d, k, general=general)
    precision, x = torch.linalg.inv(covariance), normal(3, 1, 4, 4, seed=1)
    found = releases * information(lambda x: x.flatten(1) @ mix.T, x, sigma)
    optimum = least_error(mix, covariance, sigma / releases**0.5)
    assert van_trees_matrix(found, precision) == pytest.approx(optimum, rel=1e-9)
    assert van_trees_held_out(found, found, precision) == pytest.approx(optimum, rel=1e-6)
    scalar = van_trees_scalar(found.trace().item() / d, precision.trace().item() / d)
    assert 0 < scalar <= optimum * (1 + 1e-12)
    if not general:
        assert van_trees_matrix(found, 1 / 0.7) == pytest.approx(optimum, rel=1e-9)


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_no_trained_attack_passes_the_bounds(general: bool, sigma: float) -> None:
    d, k, train, test = 16, 10, 3000, 6000
    mix, covariance = linear_gaussian(d, k, general=general)
    x = normal(train + test, d, seed=7) @ torch.linalg.cholesky(covariance).T
    z = x @ mix.T + sigma * normal(train + test, k, seed=8)
    errors = (fit(z[:train], x[:train])(z[train:]) - x[train:]).square().mean(1)
    slack = 4 * errors.std().item() / test**0.5
    found = information(lambda x: x.flatten(1) @ mix.T, x[:2, None, None], sigma)
    precision = torch.linalg.inv(covariance)
    matrix = van_trees_matrix(found, precision)
    assert van_trees_scalar(found.trace().item() / d, precision.trace().item() / d) <= matrix
    assert matrix - slack < errors.mean().item() < 1.03 * matrix + slack


def test_unbiased_attackers_obey_one_over_dfil_and_biased_ones_do_not() -> None:
    d, k, sigma, n = 9, 30, 1.5, 4000
    mix, x = normal(k, d, seed=1), 0.2 * normal(n, d, seed=2)
    z = x @ mix.T + sigma * normal(n, k, seed=3)
    found = dfil(lambda x: x.flatten(1) @ mix.T, x[:300, None, None], sigma, probes=20, generator=stream(0))
    unbiased = (z @ torch.linalg.pinv(mix).T - x).square().mean().item()
    biased = (fit(z[:2000], x[:2000])(z[2000:]) - x[2000:]).square().mean().item()
    assert 1 / found.mean < unbiased
    assert biased < 0.8 / found.mean  # which is why it is never printed as what no attack can beat
    assert biased > van_trees_scalar(found.mean, 1 / 0.2**2)
    assert unbiased_bound(found.mean, math.inf) == 1 / found.mean
    assert unbiased_bound(found.mean, 0.001) == 0.001
    assert unbiased_bound(0.0, 0.07) == 0.07


# ── a bent release of one pixel, all by quadrature ──────────────────────────────────────────────────────────────────

GRID = np.linspace(-4, 4, 1601)
BEND: Encoder = lambda x: (1.3 * x.flatten(1)).tanh() + 0.2 * x.flatten(1)  # noqa: E731


def mixture(*parts: tuple[float, float, float]) -> np.ndarray:
    """Density on the grid of normals given as (weight, mean, deviation)."""
    density = sum(w * np.exp(-((GRID - m) ** 2) / (2 * s * s)) / (s * math.sqrt(2 * math.pi)) for w, m, s in parts)
    return np.asarray(density)


def least_error_of(prior: np.ndarray, law: str, scale: float) -> float:
    """Minimum mean squared error about x from z = BEND(x) + noise."""
    means = BEND(torch.from_numpy(GRID)[:, None]).numpy()[:, 0]
    z = np.linspace(means.min() - 12 * scale, means.max() + 12 * scale, 4001)
    off = np.abs(z[None] - means[:, None]) / scale
    density = np.exp(-off) / (2 * scale) if law == "laplace" else np.exp(-(off**2) / 2) / (scale * (2 * np.pi) ** 0.5)
    joint = prior[:, None] * density * (GRID[1] - GRID[0]) * (z[1] - z[0])
    mass, first, second = joint.sum(0), (GRID[:, None] * joint).sum(0), (GRID[:, None] ** 2 * joint).sum(0)
    assert mass.sum() == pytest.approx(1, abs=1e-3)
    return float((second - first**2 / np.maximum(mass, 1e-300)).sum())


def mean_information(prior: np.ndarray, scale: float) -> float:
    each = trace_exact_on_grid() / scale**2
    return float((prior * each).sum() * (GRID[1] - GRID[0]))


def trace_exact_on_grid() -> np.ndarray:
    """All grid points as one 'image' of many independent pixels have the Jacobian's diagonal for gradient."""
    x = torch.from_numpy(GRID)[:, None, None, None]
    return trace_hutchinson(BEND, x, 1.0, 1, stream(0))[0].numpy()  # one number sent: a sign changes nothing


PRIORS = {
    "normal": [(1.0, 0.0, 0.6)],
    "two clusters": [(0.5, -1.0, 0.3), (0.5, 1.0, 0.3)],
    "skewed": [(0.7, -0.4, 0.3), (0.3, 1.0, 0.5)],
}


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 4.0])
def test_van_trees_never_exceeds_the_least_error(name: str, law: str, scale: float) -> None:
    prior = mixture(*PRIORS[name])
    slope = np.gradient(np.log(prior), GRID)
    own = float((prior * slope**2).sum() * (GRID[1] - GRID[0]))
    least, sent = least_error_of(prior, law, scale), mean_information(prior, scale)
    assert van_trees_scalar(sent, own) <= least * 1.001
    matrix = van_trees_matrix(torch.tensor([[sent]]), torch.tensor([[own]]))
    assert van_trees_scalar(sent, own) == pytest.approx(matrix, rel=1e-6)
    narrowest = min(s for _, _, s in PRIORS[name])  # each prior here is one smoothed by at least that much
    assert own <= 1 / narrowest**2 * 1.001
    assert van_trees_scalar(sent, 1 / narrowest**2) <= least * 1.001


def test_the_data_variance_in_place_of_the_prior_information_is_no_bound() -> None:
    prior = mixture((0.5, -1.0, 0.1), (0.5, 1.0, 0.1))
    variance = 1.0 + 0.1**2
    wrong = van_trees_scalar(mean_information(prior, 0.3), 1 / variance)
    assert least_error_of(prior, "gaussian", 0.3) < 0.5 * wrong


# ── bounds from samples ─────────────────────────────────────────────────────────────────────────────────────────────


def test_smoothed_images_have_that_much_noise_and_no_clamp() -> None:
    x = torch.rand(50, 1, 20, 20, generator=stream(1))
    noise = smoothed(x, 0.3, stream(2)) - x
    assert noise.std().item() == pytest.approx(0.3, rel=0.03)
    assert abs(noise.mean().item()) < 0.01
    assert smoothed(x, 0.3, stream(2)).min() < -0.3
    assert torch.equal(smoothed(x, 0.0, stream(2)), x)
    assert smoothed(x, 0.3, stream(2)).dtype == x.dtype


def test_few_images_lift_the_matrix_bound_and_not_the_one_held_out() -> None:
    runs, prior, mix = 100, 1.0, normal(6, 6, seed=3)
    f: Encoder = lambda x: (x.flatten(1) @ mix).sin()[:, :3] * x.flatten(1)[:, 3:]  # noqa: E731
    singles = [information(f, x, 0.3) for x in normal(2 * runs, 1, 1, 6, seed=4).split(1)]
    pairs = list(zip(singles[::2], singles[1::2], strict=True))
    truth = van_trees_matrix(information(f, normal(800, 1, 1, 6, seed=5), 0.3), prior)
    plain = torch.tensor([van_trees_matrix((a + b) / 2, prior) for a, b in pairs])
    held = torch.tensor([van_trees_held_out(a, b, prior) for a, b in pairs])
    assert plain.mean().item() > truth + 4 * plain.std().item() / runs**0.5
    assert held.mean().item() < truth


def test_the_bound_held_out_comes_up_to_the_true_one_with_images() -> None:
    f, x = encoder(NETS["narrow tanh"]), normal(120, 1, 5, 5, seed=1)
    halves = [information(f, part, 0.3) for part in x.split(60)]
    truth = van_trees_matrix(information(f, normal(300, 1, 5, 5, seed=2), 0.3), 1.0)
    assert van_trees_held_out(halves[0], halves[1], 1.0) == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_scalar_is_below_matrix_and_more_information_lowers_both(seed: int) -> None:
    d = 5 + seed % 3
    first, second = (root @ root.T for root in (normal(d, 4, seed=seed), normal(d, d, seed=100 + seed)))
    prior = second + 0.1 * torch.eye(d, dtype=torch.float64)
    scalars = [van_trees_scalar(k * first.trace().item() / d, prior.trace().item() / d) for k in (1, 2, 16)]
    matrices = [van_trees_matrix(k * first, prior) for k in (1, 2, 16)]
    assert all(a <= b for a, b in zip(scalars, matrices, strict=True))
    assert all(a > b for values in (scalars, matrices) for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("target", [0.01, 1.0, 50.0])
def test_sigma_reaches_the_dfil_asked_for(target: float) -> None:
    f, x = encoder(NETS["narrow tanh"]), normal(8, 1, 5, 5, seed=1)
    sigma = sigma_for_dfil(trace_exact(f, x, 1.0).mean().item(), 25, target)
    assert trace_exact(f, x, sigma).mean().item() / 25 == pytest.approx(target, rel=1e-9)


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, torch.tensor([1.0, 0.0] * 4)])
def test_noise_that_is_none_is_refused(scale: float | Tensor) -> None:
    x = normal(2, 1, 2, 4, seed=1)
    with pytest.raises(ValueError, match="scale"):
        trace_exact(lambda x: x.flatten(1), x, scale)
    with pytest.raises(ValueError, match="scale"):
        trace_hutchinson(lambda x: x.flatten(1), x, scale, 2, stream(0))


@pytest.mark.parametrize("width", [4, 40])
def test_a_staircase_is_refused_and_a_constant_is_not(width: int) -> None:
    mix, x = normal(8, width, seed=2), normal(3, 1, 2, 4, seed=1)
    stairs: Encoder = lambda x: (x.flatten(1) @ mix).round()  # noqa: E731
    constant: Encoder = lambda x: 0.0 * x.flatten(1) @ mix + 3  # noqa: E731
    ways: list[Callable[[Encoder], Tensor]] = [
        lambda f: trace_exact(f, x, 1.0),
        lambda f: trace_hutchinson(f, x, 1.0, 2, stream(0))[0],
        lambda f: information(f, x, 1.0),
    ]
    for way in ways:
        with pytest.raises(ValueError, match="slope zero"):
            way(stairs)
        with pytest.raises(ValueError, match="without gradients"):
            way(lambda x: (x.flatten(1) @ mix).detach())
        assert not way(constant).any()


def test_bounds_refuse_what_would_make_them_wrong() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    x = torch.zeros(2, 1, 1, 8193)
    refused: list[Callable[[], object]] = [
        lambda: van_trees_scalar(1.0, 0.0),
        lambda: van_trees_scalar(1.0, math.inf),
        lambda: van_trees_scalar(math.nan, 1.0),
        lambda: van_trees_scalar(-1.0, 1.0),
        lambda: unbiased_bound(math.nan, 1.0),
        lambda: van_trees_matrix(0 * eye, 0.0),
        lambda: van_trees_matrix(eye, math.inf),
        lambda: van_trees_matrix(eye, math.nan),
        lambda: van_trees_matrix(eye, -2 * eye),
        lambda: van_trees_matrix(eye, torch.eye(2)),
        lambda: van_trees_matrix(eye[:2], 1.0),
        lambda: van_trees_held_out(eye, 0 * eye, 0.0),
        lambda: sigma_for_dfil(1.0, 4, 0.0),
        lambda: sigma_for_dfil(-1.0, 4, 1.0),
        lambda: trace_hutchinson(lambda x: x.flatten(1), x, 1.0, 0, stream(0)),
        lambda: information(lambda x: x.flatten(1)[:, :2], x, 1.0),
    ]
    for case in refused:
        with pytest.raises(ValueError, match=r"\w"):
            case()


def test_a_dfil_is_a_plain_value() -> None:
    assert Dfil(1.0, 0.1, 5, 2) == Dfil(1.0, 0.1, 5, 2)
