"""Distance correlation against Székely & Rizzo's formulas written out in numpy, and its gradient against autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unsmash.distance_correlation import block, compat, exact

Form = Callable[[Tensor, Tensor], Tensor]


def in_blocks(x: Tensor, z: Tensor) -> Tensor:
    return block(x, z, size=8)


FORMS = [exact, in_blocks, compat]


def normal(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def related(n: int, d: int = 5, e: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Rows of which the second depend on the first, partly and not linearly."""
    x = normal(n, d, 1, dtype)
    return x, (x @ normal(d, e, 2, dtype)).relu() + 0.5 * normal(n, e, 3, dtype)


def latent(n: int) -> tuple[Tensor, Tensor]:
    """Images of twelve factors and a layer of them, in float32."""
    x = normal(n, 12, 1, torch.float32) @ normal(12, 784, 2, torch.float32)
    return x, (x @ normal(784, 1152, 3, torch.float32)).relu()


def u_centred(rows: Tensor) -> np.ndarray:
    """Székely & Rizzo 2014, definition 2."""
    points = rows.double().numpy()
    d, n = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)), len(points)
    a = d - d.sum(0)[None] / (n - 2) - d.sum(1)[:, None] / (n - 2) + d.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(a, 0)
    return a


def covariance(x: Tensor, z: Tensor) -> float:
    return float((u_centred(x) * u_centred(z)).sum()) / (len(x) * (len(x) - 3))


def reference(*parts: tuple[Tensor, Tensor]) -> float:
    """R* with covariance and variances averaged over the parts."""
    xz, xx, zz = (fmean(covariance(*pair(x, z)) for x, z in parts) for pair in PAIRS)
    return xz / math.sqrt(xx * zz)


PAIRS: tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], ...] = (
    lambda x, z: (x, z),
    lambda x, z: (x, x),
    lambda x, z: (z, z),
)


def by_autograd(x: Tensor, z: Tensor) -> Tensor:
    """The same number in plain torch, for its gradient."""

    def centred(rows: Tensor) -> Tensor:
        d, n = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist"), len(rows)
        sums = d.sum(1, keepdim=True) / (n - 2)
        return (d - sums - sums.T + d.sum() / ((n - 1) * (n - 2))) * (1 - torch.eye(n, dtype=d.dtype))

    a, b = centred(x), centred(z)
    return (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()


def root_of_v(x: Tensor, z: Tensor) -> float:
    """The usual, biased distance correlation."""

    def centred(rows: Tensor) -> Tensor:
        d = torch.cdist(rows, rows)
        return d - d.mean(0) - d.mean(1, keepdim=True) + d.mean()

    a, b = centred(x), centred(z)
    return float(((a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()).sqrt())


def root_of_cka(x: Tensor, z: Tensor) -> float:
    """Kornblith et al. 2019, from features."""
    x, z = x - x.mean(0), z - z.mean(0)
    return float(((z.T @ x).square().sum() / ((x.T @ x).norm() * (z.T @ z).norm())).sqrt())


def gradient(form: Form, x: Tensor, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    (found,) = torch.autograd.grad(form(x, z), z)
    return found


@pytest.mark.parametrize(("n", "d", "e"), [(4, 2, 3), (5, 1, 1), (40, 30, 2), (128, 5, 3), (129, 5, 3), (300, 4, 50)])
def test_exact_is_the_published_formula_and_its_gradient_autograds(n: int, d: int, e: int) -> None:
    x, z = related(n, d, e)
    assert exact(x, z).item() == pytest.approx(reference((x, z)), abs=1e-9)
    assert torch.allclose(gradient(exact, x, z), gradient(by_autograd, x, z), rtol=1e-6, atol=1e-10)


def test_block_averages_covariances_and_variances_and_leaves_out_what_fills_no_row_of_blocks() -> None:
    x, z = related(62)
    parts = [(x[start : start + 15], z[start : start + 15]) for start in range(0, 60, 15)]
    assert block(x, z, size=15).item() == pytest.approx(reference(*parts), abs=1e-9)
    assert gradient(lambda x, z: block(x, z, size=15), x, z).abs().sum(1).gt(0).tolist() == [True] * 60 + [False] * 2
    assert block(x, z, size=32).item() == exact(x, z).item()  # one block of all 62
    order = torch.randperm(62, generator=torch.Generator().manual_seed(4))
    shuffled = block(x, z, 15, torch.Generator().manual_seed(4))
    assert shuffled.item() == block(x[order], z[order], 15).item() != block(x, z, 15).item()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n", "d", "e"), [(9, 4, 3), (23, 2, 2), (6, 20, 20)])
def test_gradients_are_those_of_finite_differences(form: Form, n: int, d: int, e: int) -> None:
    x, z = related(n, d, e)
    assert torch.autograd.gradcheck(lambda z: form(x, z), z.requires_grad_(), atol=1e-6)


@pytest.mark.parametrize("form", [exact, in_blocks])
def test_independent_wide_rows_give_zero_within_three_standard_errors_where_the_v_statistic_gives_nearly_one(
    form: Form,
) -> None:
    pairs = [(normal(48, 800, 2 * seed), normal(48, 500, 2 * seed + 1)) for seed in range(40)]
    found = [form(x, z).item() for x, z in pairs]
    assert abs(fmean(found)) < 3 * stdev(found) / math.sqrt(len(found))
    assert min(found) < 0 < max(found)
    assert min(root_of_v(x, z) for x, z in pairs) > 0.95
    assert min(compat(x, z).item() for x, z in pairs) > 0.9


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
@pytest.mark.parametrize("form", [exact, compat])
def test_position_rotation_scale_and_order_do_not_matter(form: Form, seed: int, scale: float, shift: float) -> None:
    x, z = related(30)
    rotation, order = torch.linalg.qr(normal(3, 3, seed))[0], np.random.default_rng(seed).permutation(30)
    moved = scale * z @ rotation + shift
    assert form(x, moved).item() == pytest.approx(form(x, z).item(), abs=1e-8)
    assert form(x[order] - shift, moved[order]).item() == pytest.approx(form(x, z).item(), abs=1e-8)
    assert form(z, moved).item() == pytest.approx(1, abs=1e-8)


def test_a_parabola_is_seen_by_distances_and_not_by_the_compatible_form() -> None:
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
    assert exact(x, x.square()).item() > 0.2
    assert compat(x, x.square()).item() < 1e-6  # x and x² have no linear correlation at all
    assert gradient(compat, x, x.square()).isfinite().all()


@pytest.mark.parametrize(("n", "d", "e"), [(200, 5, 3), (12, 40, 30)])
def test_the_compatible_form_is_the_root_of_linear_cka(n: int, d: int, e: int) -> None:
    x, z = related(n, d, e)
    assert compat(x, z).item() == pytest.approx(root_of_cka(x, z), abs=1e-12)


@pytest.mark.parametrize("copies", [[0, 0], [3, 4, 5, 5, 6, 6, 6, 0, 0], [0] * 200, list(range(40)) * 4])
@pytest.mark.parametrize("width", [8, 1152])
def test_equal_rows_pull_on_each_other_with_no_force(copies: list[int], width: int) -> None:
    x, z = related(40 + len(copies), 6, width)
    z = torch.cat([z[:40], z[copies]])
    assert torch.allclose(gradient(exact, x, z), gradient(by_autograd, x, z), rtol=1e-5, atol=1e-8)
    single = gradient(exact, x.float(), z.float())
    assert (single - gradient(exact, x, z)).norm() < 2e-4 * single.norm()
    for form in FORMS:
        assert gradient(form, x.float(), z.float()).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", FORMS)
def test_what_does_not_vary_gives_zero_and_a_zero_gradient(form: Form, dtype: torch.dtype) -> None:
    x, z = related(50, 5, 7, dtype)
    still = torch.full((50, 7), 0.1, dtype=dtype)
    jitter = still * (1 + torch.finfo(dtype).eps * normal(50, 7, 9).sign()).to(dtype)
    for a, b in ((x, still), (x, jitter), (still, z), (jitter, z), (x, still.zero_())):
        assert form(a, b).item() == 0
        assert gradient(form, a, b).abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [5, 40, 129])
def test_rows_at_equal_distances_have_nothing_left_once_those_are_centred(n: int, dtype: torch.dtype) -> None:
    x, turned = normal(n, 5, 1, dtype), torch.linalg.qr(normal(n, n, 2, dtype))[0]
    for z in (turned, 0.7 * torch.eye(n, dtype=dtype)):
        assert exact(x, z).item() == 0
        assert gradient(exact, x, z).abs().max() == 0


def test_only_the_release_gets_a_gradient_and_half_precision_is_widened() -> None:
    x, z = related(20)
    x, z = x.requires_grad_(), z.reshape(20, 3, 1).half().requires_grad_()
    for form in FORMS:
        value = form(x, z)
        assert value.dtype == torch.float32
        value.backward()
    assert x.grad is None
    assert z.grad is not None
    assert z.grad.shape == z.shape


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 4)])
def test_too_few_rows_and_unequal_numbers_of_them_are_refused(n: int, m: int) -> None:
    for form in (exact, block):
        with pytest.raises(ValueError, match=f"{n} and {m} rows"):
            form(torch.ones(n, 2), torch.ones(m, 2))
    with pytest.raises(ValueError, match="blocks of 3 rows"):
        block(torch.ones(9, 2), torch.ones(9, 2), size=3)


def test_block_is_close_to_exact_where_dependence_is_strong() -> None:
    x, z = latent(1024)
    assert block(x, z).item() == pytest.approx(exact(x, z).item(), abs=1e-3)


class Largest(TorchDispatchMode):
    """Notes the most elements any tensor had that was made meanwhile."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else (out,):
            if isinstance(made, Tensor):
                self.elements = max(self.elements, made.numel())
        return out


@pytest.mark.parametrize(
    ("form", "n", "d", "most"),
    [
        (lambda x, z: block(x, z, size=64), 2048, 8, 2048 * 64),
        (exact, 2048, 8, 2048 * 128),
        (compat, 2048, 8, 2048 * 8),
        (compat, 8, 2048, 2048 * 8),
    ],
    ids=["block", "exact", "compat on many rows", "compat on wide rows"],
)
def test_no_tensor_is_square_in_the_rows_or_in_their_width(form: Form, n: int, d: int, most: int) -> None:
    x, z = normal(n, d, 1), normal(n, d, 2)
    with Largest() as seen:
        gradient(form, x, z)
    assert seen.elements <= most


def test_float32_is_accurate_on_many_rows() -> None:
    x, z = normal(4096, 64, 1, torch.float32), normal(4096, 48, 2, torch.float32)
    z = z + 0.1 * x[:, :48]
    assert exact(x, z).item() == pytest.approx(exact(x.double(), z.double()).item(), abs=1e-5)
    single, double = gradient(exact, x, z).double(), gradient(exact, x.double(), z.double())
    assert (single - double).norm() < 1e-3 * double.norm()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_float32_holds_small_and_large_releases(form: Form, scale: float) -> None:
    x, z = related(50, dtype=torch.float32)
    assert form(x, scale * z).item() == pytest.approx(form(x, z).item(), abs=1e-5)
    assert torch.allclose(scale * gradient(form, x, scale * z), gradient(form, x, z), rtol=1e-3, atol=1e-6)


def test_float32_still_tells_rows_a_hundredth_of_their_size_apart() -> None:
    x, z = related(60)
    z = 0.01 * z + torch.tensor([1.0, -1.0]).repeat(30)[:, None]
    assert exact(x.float(), z.float()).item() == pytest.approx(exact(x, z).item(), abs=1e-4)
    single, double = gradient(exact, x.float(), z.float()), gradient(by_autograd, x, z)
    assert (single - double).norm() < 0.01 * double.norm()
