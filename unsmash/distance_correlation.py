"""Distance correlation of two sets of rows, as a number that a release can be trained on.

`exact` is the bias-corrected estimator of Székely & Rizzo, "Partial distance correlation with methods for
dissimilarities", Annals of Statistics 42(6), 2014, on Euclidean distances: about 0 on independent rows at every n, as
the biased ones are not. `block` averages it over blocks of rows and is linear in their number. `compat` is what the
split-learning field computes under this name: squared distances and a biased sum, hence the root of linear CKA, which
does not see dependence that is not linear.

In all three x is what was given and z what is trained: no gradient flows to x.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 128
"""Rows of a distance matrix made at once, up to its diagonal: half the work of all of it, and it stays in cache"""


def exact(x: Tensor, z: Tensor) -> Tensor:
    """R* of rows [n, …] and [n, …], n ≥ 4: a scalar in [-1, 1], about 0 when independent; it may be negative.

    R* estimates the *square* of the distance correlation: do not take its root. 0 with zero gradient where either
    side's distances do not vary. Rows nearer than rounding can tell count as equal and do not pull on each other. Time
    grows with n², and so does memory where a gradient is wanted.

    Raises:
        ValueError: fewer than four rows, or not as many of the one as of the other.
    """
    x, z = _rows(x, z)
    return _correlation(x[None], z[None])


def block(x: Tensor, z: Tensor, size: int = 128, generator: torch.Generator | None = None) -> Tensor:
    """R* from blocks of rows: covariance and variances are averaged over blocks before the ratio. Range as `exact`.

    The rows [n, …] must be in random order; with a generator they are shuffled first. They are cut into n // size equal
    blocks, so that a block has at least `size` rows and fewer than 2 · size; up to n // size − 1 rows at the end do not
    fill another row of every block and are left out. With fewer than 2 · size rows it is `exact`. Time and memory are
    linear in n.

    Raises:
        ValueError: as `exact`, or blocks of fewer than four rows are asked for.
    """
    x, z = _rows(x, z)
    if size < 4:
        raise ValueError(f"blocks of {size} rows: the bias-corrected estimator needs at least 4")
    if generator is not None:
        order = torch.randperm(len(x), generator=generator, device=generator.device).to(z.device)
        x, z = x[order], z[order]
    blocks = max(1, len(x) // size)
    each = len(x) // blocks
    if len(x) > blocks * each:
        x, z = x[: blocks * each], z[: blocks * each]
    return _correlation(x.reshape(blocks, each, -1), z.reshape(blocks, each, -1))


def compat(x: Tensor, z: Tensor) -> Tensor:
    """The field's form of rows [n, …] and [n, …]: a scalar in [0, 1], equal to the square root of linear CKA.

    As published it is the root of a biased sum over doubly centred *squared* distances; those are −2 times the centred
    inner products, so the sum is |XᵀZ|², which is what is computed. It is far above 0 for independent rows unless n is
    much larger than their width: state n with every figure. 0 with zero gradient where either side is constant.

    Raises:
        ValueError: no rows, or not as many of the one as of the other.
    """
    x, z = _rows(x, z, least=1)
    share = _ratio(*_overlaps(_centred(x), _centred(z)))
    none = share <= 0  # the root's slope there is infinite
    return (share.masked_fill(none, 1).sqrt() * ~none).to(z.dtype)


def _rows(x: Tensor, z: Tensor, *, least: int = 4) -> tuple[Tensor, Tensor]:
    if len(x) != len(z) or len(z) < least:
        told = f"at least {least}, and as many on both sides"
        raise ValueError(f"distance correlation of {len(x)} and {len(z)} rows: {told}")
    dtype = torch.promote_types(z.dtype, torch.float32)
    return x.detach().flatten(1).to(z.device, dtype), z.flatten(1).to(dtype)


def _centred(rows: Tensor) -> Tensor:
    """Rows [..., n, d] about their mean; a column that moves no more than rounding does is 0."""
    mean = rows.mean(-2, keepdim=True)
    centred = rows - mean
    with torch.no_grad():
        moves = rows.amax(-2, keepdim=True) - rows.amin(-2, keepdim=True) > 8 * _eps(rows) * mean.abs()
    return centred.mul_(moves)


def _ratio(covariance: Tensor, variance_x: Tensor, variance_z: Tensor) -> Tensor:
    """Their correlation; 0 with zero gradient where a variance is 0."""
    scale = variance_x * variance_z
    return covariance / torch.where(scale > 0, scale, math.inf).sqrt()


def _overlaps(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """|xᵀz|², |xᵀx|² and |zᵀz|² of centred [n, d] and [n, e], from the products of rows or of columns: the smaller."""
    (n, d), e = x.shape, z.shape[1]
    if n * (d + e) < d * e + d * d + e * e:
        kx, kz = x @ x.T, z @ z.T
        return _inner(kx, kz), _inner(kx, kx), _inner(kz, kz)
    cross, cx, cz = x.T @ z, x.T @ x, z.T @ z
    return _inner(cross, cross), _inner(cx, cx), _inner(cz, cz)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() * b).sum()  # fourth powers of a release: float32 would not hold them


def _correlation(x: Tensor, z: Tensor) -> Tensor:
    covariance, variance_x, variance_z = _Products.apply(x, z)
    return _ratio(covariance.mean(), variance_x.mean(), variance_z.mean()).to(z.dtype)


class _Products(torch.autograd.Function):
    """The unbiased covariance and variances [blocks] of rows [blocks, n, d] and [blocks, n, e], in float64.

    No centred matrix is made: with row sums r and total S of two distance matrices, their U-centred inner product is
    ⟨a, b⟩ − 2/(n−2) r·r' + S S'/((n−1)(n−2)), and ⟨a, a⟩ = 2n Σ|xᵢ|² for centred rows. Nor is a whole one: its lower
    half is made in tiles, which only a backward pass keeps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, z = _centred(x), _centred(z)
        norms_x, norms_z = _norms(x), _norms(z)
        sums_a, sums_b, inner = (torch.zeros_like(norms_x, dtype=torch.float64) for _ in range(3))
        kept: list[Tensor] = []
        for start in range(0, x.shape[1], TILE):
            a, b = _distances(x, norms_x, start), _distances(z, norms_z, start)
            _add_rows(sums_a, a, start)
            _add_rows(sums_b, b, start)
            _add_rows(inner, a * b, start)
            if ctx.needs_input_grad[1]:
                kept += [a, torch.threshold_(b, 0, math.inf)]
        ctx.save_for_backward(z, sums_a, sums_b, *kept)
        covariance = _u_product(inner.sum(-1), sums_a, sums_b)
        return covariance, _variance(norms_x, sums_a), _variance(norms_z, sums_b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_covariance: Tensor, _: Tensor, to_variance: Tensor) -> tuple[None, Tensor]:
        """Σⱼ (wᵢⱼ + q) (zᵢ − zⱼ), where (wᵢⱼ + q) bᵢⱼ is twice the derivative by the distance bᵢⱼ.

        The variance's own share q needs no matrix: Σⱼ q (zᵢ − zⱼ) = q n zᵢ. Equal rows have an infinite b, and w = 0.
        """
        z, sums_a, sums_b, *tiles = ctx.saved_tensors
        n = z.shape[1]
        p, q = (2 * to[:, None] / (n * (n - 3)) for to in (to_covariance, 2 * to_variance))
        sums = p * sums_a + q * sums_b
        level = (sums.sum(-1, keepdim=True) / (2 * (n - 1)) - sums) / (n - 2)
        pull = (n * q).expand_as(sums).clone()
        level, p = level.to(z.dtype)[..., None], p.to(z.dtype)[..., None]
        grad = torch.empty_like(z)
        for start, a, b in zip(range(0, n, TILE), tiles[::2], tiles[1::2], strict=True):
            stop = start + a.shape[1]
            weights = (level[:, start:stop] + level[:, :stop].mT).addcmul_(a, p).div_(b)
            grad[:, start:stop].baddbmm_(weights, z[:, :stop], beta=0, alpha=-1)
            grad[:, :start].baddbmm_(weights[..., :start].mT, z[:, start:stop], alpha=-1)
            _add_rows(pull, weights, start)
        return None, grad.addcmul_(z, pull.to(z.dtype)[..., None])


def _add_rows(sums: Tensor, tile: Tensor, start: int) -> None:
    """Add to the row sums [blocks, n] of a symmetric matrix what a tile of its lower half holds of them."""
    sums[:, start : start + tile.shape[1]] += tile.sum(-1)
    sums[:, :start] += tile[..., :start].sum(-2)


def _u_product(inner: Tensor, sums_a: Tensor, sums_b: Tensor) -> Tensor:
    n = sums_a.shape[-1]
    rows = (sums_a * sums_b).sum(-1)
    totals = sums_a.sum(-1) * sums_b.sum(-1)
    return (inner - 2 / (n - 2) * rows + totals / ((n - 1) * (n - 2))) / (n * (n - 3))


def _variance(norms: Tensor, sums: Tensor) -> Tensor:
    """The U-centred square; 0 where it is no more than the rounding of the squares it is left over from."""
    n = norms.shape[-1]
    squares = 2 * n * norms.sum(-1, dtype=torch.float64)
    variance = _u_product(squares, sums, sums)
    rounding = 8 * _eps(norms) + n * _eps(squares)  # of the norms, and of their sums
    return variance.masked_fill(variance <= rounding * squares / n**2, 0)


def _norms(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=-1).square()


def _distances(rows: Tensor, norms: Tensor, start: int) -> Tensor:
    """Euclidean distances of a tile of centred rows [blocks, n, d] to all rows up to its last: [blocks, t, start + t].

    0 for rows nearer than rounding can tell.
    """
    stop = min(start + TILE, rows.shape[1])
    reach = norms[:, start:stop, None] + norms[:, None, :stop]
    squares = torch.baddbmm(reach, rows[:, start:stop], rows[:, :stop].mT, alpha=-2)
    squares[..., start:].diagonal(dim1=-2, dim2=-1).zero_()
    rounding = (2 + rows.shape[2] ** 0.5) * _eps(rows)  # about twice what was measured, relative to the two norms
    return squares.mul_(squares > reach.mul_(rounding)).sqrt_()


def _eps(rows: Tensor) -> float:
    return torch.finfo(rows.dtype).eps
