"""Fisher information of a noisy release about its image, and what it proves: from the best slope to the least error.

The release is z = f(x) + noise, drawn afresh for each number: N(0, σ²) or Laplace of scale b. With J = ∂f/∂x and
W = diag(1/scale²), the information about x is I(x) = JᵀWJ in both laws (a Laplace location has information 1/b²), and
k independent releases of one image carry k·I(x). dFIL(x) = tr I(x)/d for d pixel values. Errors are mean squared
errors per pixel value, in the image's unit squared. An image is sent by itself: no batch statistics, no dropout.

What to beware of:

- 1/dFIL holds for unbiased attackers only. Every good attacker is biased and goes far below it.
- van Trees holds for all attackers, and only for a prior with a density that vanishes at its edge. Pixels have none;
  images blurred by N(0, s²I) do, and theirs has at most the information I/s². The bound is then about guessing the
  blurred image when the blurred image is what f is fed, the information averaged over such images (`smoothed`). It
  never exceeds s², so it says nothing about the sharp image.
- The inverse of the data's covariance is not the prior's information but less than it, whatever the prior: only a
  Gaussian's is equal. What is computed from it lies too high and is no bound.
- f must be absolutely continuous (ReLU and pooling are). Rounding before the noise has slope zero almost everywhere and
  tells nonetheless; a straight-through gradient of it is not its slope. Rounding after the noise is harmless.
- From few images a mean of information gives a bound that is too high on average, since the inverse is convex:
  `van_trees_held_out` is not, and `Dfil.upper` allows for the error of the scalar one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unsmash.bounds.jacobian import NUMBERS, Encoder, blocks, forward
from unsmash.bounds.regions import demand

LARGEST = 8192
"""Pixel values for which a d × d matrix is made: 512 MiB"""


@dataclass(frozen=True)
class Dfil:
    """Mean over images of the diagonal Fisher information leakage tr I(x)/d, as estimated."""

    mean: float
    """Per pixel value, in 1/unit² of the images"""
    error: float
    """Standard error of the mean, from images and probes together; NaN for one image"""
    images: int
    probes: int

    def upper(self, errors: float = 3.0) -> float:
        """The mean and so many standard errors: in place of the mean it makes a bound that chance does not lift."""
        return self.mean + errors * self.error


def trace_exact(f: Encoder, x: Tensor, scale: float | Tensor) -> Tensor:
    """tr(JᵀWJ) of each image [n] float64, from whole Jacobians: min(d, k) vector products an image.

    `scale` is σ or b, one number or one for each number sent [k].

    Raises:
        ValueError: a scale is not positive and finite; f has no slope (see above) or comes without gradients.
    """
    g = _whitened(f, scale)
    traces = [math.fsum(block.double().square().sum().item() for block in blocks(g, image)) for image in x.split(1)]
    return _refuse_steps(g, x, torch.tensor(traces, dtype=torch.float64))


def trace_hutchinson(
    f: Encoder, x: Tensor, scale: float | Tensor, probes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Unbiased estimates of tr(JᵀWJ) and their standard errors over probes, both [n] float64; NaN for one probe.

    E‖JᵀW^½v‖² over random signs v in R^k (Hutchinson 1989): one backward pass a probe for a whole batch.

    Raises:
        ValueError: as `trace_exact`, or fewer than one probe.
    """
    demand(probes >= 1, f"probes is {probes}, must be ≥ 1")
    g = _whitened(f, scale)
    size = max(1, min(128, NUMBERS // x[0].numel()))
    samples = torch.cat([_probe(g, part, probes, generator) for part in x.split(size)], 1).cpu()
    traces = _refuse_steps(g, x, samples.mean(0))
    return traces, samples.std(0) / probes**0.5 if probes > 1 else torch.full_like(traces, math.nan)


def dfil(f: Encoder, x: Tensor, scale: float | Tensor, *, probes: int, generator: torch.Generator) -> Dfil:
    """Mean dFIL of images [n, c, h, w] with its standard error as a sample of all images (Maeng et al. 2023, eq. 4).

    Few probes on many images do best: six on 500 give about 1 to 2 %.
    """
    each = trace_hutchinson(f, x, scale, probes, generator)[0] / x[0].numel()
    error = each.std().item() / len(x) ** 0.5 if len(x) > 1 else math.nan
    return Dfil(each.mean().item(), error, len(x), probes)


def information(f: Encoder, x: Tensor, scale: float | Tensor) -> Tensor:
    """Mean over images of JᵀWJ: [d, d] float64. One Jacobian, min(d, k) rows of the other length, is held at a time.

    Raises:
        ValueError: as `trace_exact`, or images of more than 8,192 values.
    """
    d = x[0].numel()
    demand(d <= LARGEST, f"images have {d} values, the matrix is made up to {LARGEST}: use the scalar bound")
    g = _whitened(f, scale)
    total = torch.zeros(d, d, dtype=torch.float64)
    for image in x.split(1):
        columns = []
        for block in blocks(g, image):
            if block.shape[1] == d:
                rows = block.double().cpu()
                total.addmm_(rows.T, rows)
            else:
                columns.append(block.double().cpu())
        if columns:
            whole = torch.cat(columns)
            total.addmm_(whole, whole.T)
    _refuse_steps(g, x, total.diagonal())
    return total / len(x)


def smoothed(x: Tensor, s: float, generator: torch.Generator) -> Tensor:
    """Images plus N(0, s²) on each pixel, not clamped: draws from a prior whose information is at most I/s²."""
    return x + s * torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


def unbiased_bound(mean_dfil: float, prior_variance: float) -> float:
    """min(1/dFIL, prior variance): least error of *unbiased* attackers only (Hannun, Guo & van der Maaten 2021).

    `prior_variance` is the mean over pixels, the error of guessing the mean image: above it the statement is empty.
    Never to be shown as what no attack can beat.
    """
    demand(mean_dfil >= 0, f"mean dFIL is {mean_dfil}, must be ≥ 0")
    return min(1 / mean_dfil if mean_dfil else math.inf, prior_variance)


def van_trees_scalar(mean_dfil: float, prior_information_per_number: float) -> float:
    """1/(E dFIL + tr(J_P)/d): least mean error of *every* attacker under the prior (van Trees 1968; Gill & Levit 1995).

    `prior_information_per_number` is tr(J_P)/d: 1/τ² for N(m, τ²I), at most 1/s² for a prior smoothed by N(0, s²I).
    """
    demand(mean_dfil >= 0, f"mean dFIL is {mean_dfil}, must be ≥ 0")
    demand(0 < prior_information_per_number < math.inf, "the prior's information must be positive and finite")
    return 1 / (mean_dfil + prior_information_per_number)


def van_trees_matrix(information: Tensor, prior_information: float | Tensor) -> float:
    """tr((E I + J_P)⁻¹)/d, never below the scalar form; equal to the least error where all is linear and Gaussian.

    `prior_information` is J_P [d, d], or the number that multiplies the identity. For k releases give k·information.

    Raises:
        ValueError: the sum is not positive definite, or the shapes differ.
    """
    factor = torch.linalg.cholesky(_with_prior(information, prior_information))
    identity = torch.eye(len(factor), dtype=torch.float64)
    return torch.linalg.solve_triangular(factor, identity, upper=False).square().sum().item() / len(factor)


def van_trees_held_out(information: Tensor, held_out: Tensor, prior_information: float | Tensor) -> float:
    """The matrix bound from two halves of the images, [d, d] each; on average never above the true one.

    For A = E I + J_P and any symmetric B, tr A⁻¹ ≥ 2 tr B − tr(BAB), linear in A: B is the inverse found on one half,
    A is measured on the other. Both ways round, averaged.
    """
    first, second = _with_prior(information, prior_information), _with_prior(held_out, prior_information)
    return (_tangent(first, second) + _tangent(second, first)) / 2


def sigma_for_dfil(trace_mean_with_unit_noise: float, d: int, target: float) -> float:
    """The σ (or b) that gives a mean dFIL: √(E‖J‖²_F/(d·target)), from the mean trace at scale 1."""
    demand(target > 0 and trace_mean_with_unit_noise >= 0 and d >= 1, "target and d must be positive, the trace ≥ 0")
    return math.sqrt(trace_mean_with_unit_noise / (d * target))


def _with_prior(information: Tensor, prior: float | Tensor) -> Tensor:
    """Their sum in float64, checked."""
    d = len(information)
    prior = torch.eye(d, dtype=torch.float64) * prior if isinstance(prior, float | int) else prior.double()
    demand(information.shape == prior.shape == (d, d), "information and the prior's must be square and of one size")
    total = information.double() + prior
    positive = bool(total.isfinite().all()) and not torch.linalg.cholesky_ex(total).info
    demand(positive, "the information is not positive definite: the prior must have some of its own, > 0 and finite")
    return total


def _tangent(at: Tensor, value: Tensor) -> float:
    """2 tr B − tr(B·value·B) with B = at⁻¹, by number: below tr(value⁻¹), and equal at `value` itself."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(at))
    return (2 * inverse.trace() - (inverse @ value * inverse).sum()).item() / len(at)


def _whitened(f: Encoder, scale: float | Tensor) -> Encoder:
    """The encoder in units of its noise, so that JᵀWJ is JᵀJ."""
    units = torch.as_tensor(scale, dtype=torch.float64)
    demand(bool((units > 0).all() and units.isfinite().all()), "scale must be > 0: no noise, no bound")
    return lambda x: f(x).flatten(1) / units.to(x)


def _probe(g: Encoder, x: Tensor, probes: int, generator: torch.Generator) -> Tensor:
    """‖Jᵀv‖² [probes, n] for random signs v."""
    leaf, rows = forward(g, x)
    norms = []
    for _ in range(probes):
        signs = torch.randint(0, 2, rows.shape, generator=generator).to(rows) * 2 - 1
        (pulled,) = torch.autograd.grad(rows, leaf, signs, retain_graph=True)
        norms.append(pulled.flatten(1).double().square().sum(1))
    return torch.stack(norms)


def _refuse_steps(g: Encoder, x: Tensor, traces: Tensor) -> Tensor:
    """The traces; but a release that changes and has no slope anywhere is a staircase, of which they say nothing."""
    if not traces.any():
        with torch.no_grad():
            rows = g(torch.cat([x[:8], torch.zeros_like(x[:1])]))
        demand(
            torch.allclose(rows, rows[:1]), "f changes but has slope zero (rounding?): its information is no measure"
        )
    return traces
