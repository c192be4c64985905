"""What class inversion goes down: how unsure a network is of a class, and how rough an image is."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Climbed = Literal["log_odds", "probability"]


def judge(answers: Tensor, mine: Tensor, on: Climbed) -> tuple[Tensor, Tensor, Tensor]:
    """Cost [n], its derivative by the answers [n, classes], and the probability [n], of the classes `mine` [n, 1].

    The derivatives are written out: autograd's own would take as long as a small network.
    """
    probabilities = answers.softmax(1)
    sure = probabilities.gather(1, mine)
    if on == "probability":  # d(1 − p)/dzⱼ = pⱼ (p − δⱼ)
        own = torch.zeros_like(answers).scatter_(1, mine, 1.0)
        return 1 - sure[:, 0], probabilities * (sure - own), sure[:, 0]
    others = answers.scatter(1, mine, -torch.inf)
    cost = others.logsumexp(1) - answers.gather(1, mine)[:, 0]
    return cost, others.softmax(1).scatter(1, mine, -1.0), sure[:, 0]


def total_variation(images: Tensor) -> Tensor:
    """Sum over pixels of the length of the step to the next row and column: [n, c, h, w] → [n].

    A step of a thousandth is added in quadrature, so that flat places have a derivative.
    """
    padded = torch.nn.functional.pad(images, (0, 1, 0, 1), "replicate")
    down, right = padded[..., 1:, :-1] - images, padded[..., :-1, 1:] - images
    return ((down.square() + right.square() + 1e-6).sqrt() - 1e-3).flatten(1).sum(1)
