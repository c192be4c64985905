"""The three attacks of He, Zhang & Lee, ACSAC 2019, as their code carries them out.

White box: regularised maximum likelihood, descent on the pixels from the average colour (zero once normalised), not
held inside [0, 1] until the end. Black box: an inverse network trained on the device half's answers. Query-free: a
substitute of the device half trained until the server classifies by it, and the same descent through the substitute.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unsmash.lab import Lab
from unsmash.published import Recipe, reconstruct
from unsmash.reproductions.he2019_networks import Inverse, Subject, adam
from unsmash.reproductions.training import Loop, fit
from unsmash.split import SplitModel
from unsmash.view import View

INVERSE_RATE, HALVED = 1e-3, 10
"""Of inverse networks and substitutes: Adam's rate, and the passes after which it is halved"""


@dataclass(frozen=True)
class Likelihood:
    """How pixels descend."""

    steps: int
    rate: float
    tv: float
    """Weight of total variation against the squared error a number of the release"""


WHITE_BOX_RATE = 1e-2
QUERY_FREE = Likelihood(500, 0.1, 2.0)
"""Told for relu22; taken for every cut"""


def maximum_likelihood(device: nn.Module, release: Tensor, subject: Subject, plan: Likelihood, lab: Lab) -> Tensor:
    """Images [n, c, h, w] in [0, 1] whose release by this device half is near the one seen [n, …].

    Every victim descends by itself: the loss is a sum over victims, and Adam treats every pixel alone.
    """
    mean, std = (
        torch.tensor(numbers, device=lab.device).reshape(1, -1, 1, 1) for numbers in (subject.mean, subject.std)
    )
    pixels = nn.Parameter(torch.zeros(len(release), *subject.shape, device=lab.device))
    optimiser, seen = adam(plan.rate)([pixels]), release.to(lab.device)
    for _ in lab.track(range(plan.steps), "rMLE"):
        misfit = (device(pixels * std + mean) - seen).square().flatten(1).mean(1)
        loss = (misfit + plan.tv * variation(pixels)).sum() if plan.tv else misfit.sum()
        (pixels.grad,) = torch.autograd.grad(loss, [pixels])
        optimiser.step()
    return (pixels.detach() * std + mean).clamp(0, 1).cpu()


def variation(pixels: Tensor) -> Tensor:
    """Mean squared difference of neighbours below plus that of neighbours beside: [n, c, h, w] → [n]."""
    down, across = pixels.diff(dim=2), pixels.diff(dim=3)
    return down.square().flatten(1).mean(1) + across.square().flatten(1).mean(1)


def inverse_network(view: View, at: str, subject: Subject, passes: int, lab: Lab) -> Tensor:
    """Their inverse network's reconstructions [n, c, h, w], in [0, 1]."""
    recipe = Recipe(
        "inverse network", passes, 32, INVERSE_RATE, subject.mean, subject.std, step=(HALVED, 0.5), eps=1e-3,
        amsgrad=True,
    )  # fmt: skip
    sent = view.release[0].shape[1:]
    return reconstruct(view, recipe, lambda: Inverse(at, sent), lab).clamp(0, 1)


def train_substitute(
    device: nn.Module, server: nn.Module, images: Tensor, labels: Tensor, passes: int, lab: Lab
) -> None:
    """Train a blank device half in place until the server, left as it is, classifies by it."""
    held = [parameter for parameter in server.parameters() if parameter.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        loop = Loop(passes, 32, adam(INVERSE_RATE), shuffle=True, decay=0.5 ** (1 / HALVED))
        fit(SplitModel(device, server), images, labels, loop, lab)
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
