"""Identification: does a guess match its own victim better than any other candidate?

The headline metric. Both matchers are tried, mean-centred cosine (forgives shrunken images) and L2 (forgives a wrong
offset), and the better one over all victims is reported. Candidates that tie share the hit, so a constant guess earns
exactly 1/N and never wins by its index.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TIE = 1e-9
"""Relative closeness at which two candidates count as equally good"""


@dataclass(frozen=True)
class Matching:
    """How the guesses rank the candidates."""

    hits: Tensor
    """[n] float64 in [0, 1]: 1 where the true candidate is alone the best, 1/m where m tie for it, else 0"""
    ranks: Tensor
    """[n] int64: 1 + candidates strictly better + half of those that tie, rounded up"""
    matcher: str
    """`cosine` or `l2`, or the name the caller gave"""


def identify(guess: Tensor, candidates: Tensor) -> Matching:
    """Match guess i against all N candidates, of which candidate i is the true one: rows [n, d] and [n, d] or more.

    Candidates beyond the first n are distractors. Returns the better of both matchers.
    """
    guess, candidates = guess.flatten(1).double(), candidates.flatten(1).double()
    both = (by_similarity(centred_cosine(guess, candidates), "cosine"), by_similarity(-l2(guess, candidates), "l2"))
    return max(both, key=lambda matching: matching.hits.mean().item())


def by_similarity(similarity: Tensor, name: str = "", truth: Tensor | None = None) -> Matching:
    """Matching from a similarity matrix [n, N], larger is closer; row i belongs to candidate truth[i], default i."""
    rows = torch.arange(len(similarity))
    truth = rows if truth is None else truth
    own = similarity[rows, truth][:, None]
    slack = TIE * similarity.abs().clamp(min=1.0)
    better = (similarity > own + slack).sum(1)
    ties = ((similarity - own).abs() <= slack).sum(1)
    hits = torch.where(better == 0, 1.0 / ties.double(), torch.zeros((), dtype=torch.float64))
    return Matching(hits, 1 + better + ties // 2, name)


def centred_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of rows after taking off each row's mean: [n, d], [m, d] → [n, m]. A constant row has cosine 0."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return _unit(a) @ _unit(b).T


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of rows: [n, d], [m, d] → [n, m]. Equal rows of b get the same figure, to the bit."""
    # the fast form rounds each place of the product in its own way, which would break the ties of identical candidates
    kinds, place = b.unique(dim=0, return_inverse=True)
    mode = "donot_use_mm_for_euclid_dist" if len(a) * len(b) < 10_000 else "use_mm_for_euclid_dist"
    return torch.cdist(a, kinds, compute_mode=mode)[:, place]


def _unit(rows: Tensor) -> Tensor:
    norm = rows.norm(dim=1, keepdim=True)
    return torch.where(norm > 1e-9 * rows.shape[1] ** 0.5, rows / norm.clamp(min=1e-300), torch.zeros_like(rows))
