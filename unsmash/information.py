"""Fisher information of a release, and what follows from it for the squared error of a reconstruction.

Two kinds of statement, kept apart. 1/dFIL binds unbiased attackers only, and every attacker worth fearing is biased.
The van Trees inequality binds all, under a stated prior: the images with Gaussian noise of deviation s added, whose
information is at most 1/s², so it speaks of guessing the noised image, not the image itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unsmash.bounds.fisher import (
    Dfil,
    dfil,
    information,
    smoothed,
    unbiased_bound,
    van_trees_held_out,
    van_trees_scalar,
)
from unsmash.lab import Lab
from unsmash.mechanism import Mechanism, Step
from unsmash.records import Bound
from unsmash.split.model import SplitModel
from unsmash.split.shield import Shields, flat

SMOOTHING = 0.1
"""Deviation s of the prior's smoothing, in units of the pixels [0, 1]"""

PROBES, IMAGES = 6, 500
MATRIX_WORK, MOST_PIXELS = 8_000, 1_024
"""Jacobian rows that the matrix form may take in all, and the pixels above which it is left out"""

UNIT = "squared error a pixel"


def information_bounds(
    model: SplitModel, mechanism: Mechanism, images: Tensor, prior_variance: float, lab: Lab
) -> tuple[Bound, ...]:
    """The statements for one release, of images [n, c, h, w]; none where the release has no information matrix.

    `prior_variance` is the mean over pixels of the images' variance: the error of always guessing their mean.
    """
    step = _step(mechanism, model)
    if step is None or step.noise is None:
        return ()
    f, scale = _noise_free(model, step, lab), _scale(step)
    some = images[:IMAGES]
    plain = dfil(f, some, scale, probes=PROBES, generator=lab.generator("probes"))
    blurred = smoothed(some, SMOOTHING, lab.generator("smoothing"))
    moved = dfil(f, blurred, scale, probes=PROBES, generator=lab.generator("probes"))
    return (*_unbiased(plain, prior_variance), _scalar(moved), *_matrix(f, blurred, scale))


def _unbiased(found: Dfil, prior_variance: float) -> tuple[Bound, Bound]:
    told = (f"Mean over {found.images} images, {found.probes} random probes each",)
    leaks = Bound("dfil", "Fisher information leakage dFIL", found.mean, "1/pixel²", "the release's sensitivity",
                  told, error=found.error)  # fmt: skip
    least = unbiased_bound(found.mean, prior_variance)
    empty = ("Empty: guessing the average image is as good",) if least >= prior_variance else ()
    bound = Bound("unbiased", "Least squared error of unbiased attackers", least, UNIT,
                  "unbiased attackers only; real ones are biased and do better", (*told, *empty))  # fmt: skip
    return leaks, bound


def _scalar(found: Dfil) -> Bound:
    upper = found.upper() if found.images > 1 else found.mean
    told = f"Leakage {upper:.3g}: the mean over {found.images} images and three standard errors more"
    value = van_trees_scalar(upper, 1 / SMOOTHING**2)
    return Bound("van_trees_scalar", "Least squared error, van Trees", value, UNIT, _covers(), (told,))


def _matrix(f: Callable[[Tensor], Tensor], images: Tensor, scale: float | Tensor) -> tuple[Bound, ...]:
    pixels = images[0].numel()
    if pixels > MOST_PIXELS:
        return ()
    with torch.no_grad():
        width = f(images[:1]).shape[1]
    count = min(len(images), max(4, MATRIX_WORK // min(width, pixels))) // 2
    if count < 1:
        return ()
    halves = [information(f, part, scale) for part in images[: 2 * count].split(count)]
    value = van_trees_held_out(halves[0], halves[1], 1 / SMOOTHING**2)
    told = f"Two halves of {2 * count} images, each holding for the other"
    return (
        Bound("van_trees_matrix", "Least squared error, van Trees in matrix form", value, UNIT, _covers(), (told,)),
    )


def _covers() -> str:
    return (
        f"any attacker who guesses the image with noise s = {SMOOTHING:g} added; that noisy image is also what is sent"
    )


def _step(mechanism: Mechanism, model: SplitModel) -> Step | None:
    """The first random step, if noise of known density is put there on a smooth function of the image."""
    if not mechanism.steps or not isinstance(model.shield, Shields):
        return None
    step = mechanism.steps[0]
    smooth = all(layer.smooth for layer in model.shield.layers[: step.place + 1])
    known = step.noise is not None and step.noise.law in ("gaussian", "laplace")
    return step if smooth and known else None


def _noise_free(model: SplitModel, step: Step, lab: Lab) -> Callable[[Tensor], Tensor]:
    assert isinstance(model.shield, Shields)
    before = Shields(model.shield.layers[: step.place + 1])

    def f(x: Tensor) -> Tensor:
        return flat(before.quiet(model.smash(x.to(lab.device)))).cpu()

    return f


def _scale(step: Step) -> float | Tensor:
    assert step.noise is not None
    scale = step.noise.scale
    return torch.tensor(scale, dtype=torch.float64) if isinstance(scale, tuple) else scale
