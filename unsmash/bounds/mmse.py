"""Least mean squared error for a victim drawn from a list of candidates: exact, and a bound for every attack on them.

Whoever holds the list, the weights and the noise's law knows more than any attacker does, and of the posterior the mean
has the least squared error. It costs one matrix of log-likelihoods, which `Shield.log_likelihood` gives for a release
that is drawn; for one that is not, that method only orders the candidates and must not be given here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unsmash.bounds.regions import demand


def gallery_mmse(log_likelihood: Tensor, gallery: Tensor, truth: Tensor) -> Tensor:
    """Squared error per pixel of the posterior mean, for each victim: [n] float64, in the image's unit squared.

    x̂(z) = Σ_i w_i x_i with w = softmax_i log p(z|x_i), the prior being uniform on the gallery. Its mean over victims
    drawn from the gallery is, in expectation, the least that any attacker can reach; single victims may well be
    guessed better. Compare means, and allow for their standard error. A larger gallery gives a higher bound.

    Args:
        log_likelihood: [n, N], log p(z_j | x_i) up to a constant for each row; several releases of a victim add.
        gallery: [N, c, h, w], the candidates.
        truth: [n, c, h, w], the victims, each one of the gallery.

    Raises:
        ValueError: the shapes do not fit, or a row has no candidate of positive finite likelihood.
    """
    demand(log_likelihood.shape == (len(truth), len(gallery)), "log_likelihood must be victims × candidates")
    demand(truth.shape[1:] == gallery.shape[1:], "victims and candidates must have one shape")
    guess = _posterior(log_likelihood) @ gallery.flatten(1).double()
    return (guess - truth.flatten(1).double()).square().mean(1)


def effective_candidates(log_likelihood: Tensor) -> Tensor:
    """How many candidates a release leaves open, e to the posterior's entropy: [n, N] → [n] float64 in [1, N]."""
    return torch.special.entr(_posterior(log_likelihood)).sum(1).exp()


def _posterior(log_likelihood: Tensor) -> Tensor:
    demand(bool(log_likelihood.amax(1).isfinite().all()), "a release has no candidate of positive, finite likelihood")
    return torch.softmax(log_likelihood.double(), 1)
