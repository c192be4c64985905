"""Train a split model with differential privacy for its training records, by opacus: DP-SGD (Abadi et al., CCS 2016).

Each step takes every record with the same small probability, shortens each record's gradient over *both* halves to the
clip, adds noise to the sum and hands it to the optimiser. Apart, two parties would exchange one squared length for
each record; the weights would be the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unsmash.errors import ConfigError, TrainingError
from unsmash.lab import Lab
from unsmash.nets import jitter
from unsmash.split.clipping import Clipping, choose, hooked, opacus, reached_parameters
from unsmash.split.model import SplitModel
from unsmash.split.parties import Optimiser
from unsmash.split.train import Held, Passes, Training

Accountant = Literal["prv", "rdp"]

BEYOND = 50.0
"""Above this ε by Rényi nothing is protected, and the numerical composition would need gigabytes"""

PROBES = 2
"""Random images on which the network is looked at before any training image is used"""


def schedule(records: int, plan: Training) -> tuple[float, int]:
    """The probability of a record to be in a step, such that `plan.batch` are expected, and the number of steps."""
    return min(plan.batch / records, 1.0), (plan.epochs or 0) * -(-records // plan.batch)


def train_privately(
    model: SplitModel,
    images: Tensor,
    labels: Tensor,
    plan: Training,
    lab: Lab,
    held: Held | None = None,
    *,
    noise: float,
    clip: float,
    adam: torch.optim.Adam | None = None,
) -> Clipping:
    """Train both halves and their shields in place, noise `noise` × `clip`; leaves the model in eval mode.

    What the loss does not reach stays as it is. `held` is looked at after each pass. `adam`, with all that the loss
    reaches, moves the weights at its own rate, so that a training can go on where it stopped; without it a new one does
    under the plan's schedule. Answers how gradients were clipped.

    Raises:
        ConfigError: the network mixes the records of a batch, or part of a gradient would escape the clip.
        TrainingError: the training stopped being finite.
    """
    rate, steps = schedule(len(images), plan)
    model.to(lab.device).train()
    probe = torch.rand(PROBES, *images.shape[1:], generator=lab.generator("probe")).to(lab.device)
    reached = reached_parameters(model, probe, lab)
    clipping = choose(model, reached, probe, lab)
    with hooked(model, reached, clipping, clip) as private, lab.seeded("train"):
        law = Optimiser(reached, plan.rate, steps) if adam is None else None
        optimiser = _noisy(
            law.adam if law else adam, clipping, lab, noise=noise, clip=clip, expected=rate * len(images)
        )
        batches = _poisson(images, labels, plan, lab)
        passes = Passes(model, held, -(-len(images) // plan.batch), lab)
        for step, (x, y) in enumerate(lab.track(batches, "train", total=steps)):
            loss = _gradient(private, optimiser, x, y)
            optimiser.step()
            if law:
                law.cycle.step()  # type: ignore[union-attr]
            _check(loss, reached, step, steps, plan)
            passes.step(step, loss.item(), len(x))
    model.eval()
    return clipping


def _poisson(images: Tensor, labels: Tensor, plan: Training, lab: Lab) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that each record joins by a coin of its own; one may be empty."""
    order = lab.generator("order")
    rate, steps = schedule(len(images), plan)
    for _ in range(steps):
        index = (torch.rand(len(images), generator=order, dtype=torch.float64) < rate).nonzero().flatten()
        x, y = images[index].to(lab.device), labels[index].to(lab.device)
        yield (jitter(x, order) if plan.augment and len(x) else x), y


def _gradient(private: Any, optimiser: Any, x: Tensor, y: Tensor) -> Tensor:
    """Leave on each parameter what the optimiser clips and noises; gives the mean loss."""
    optimiser.zero_grad(set_to_none=True)
    if not len(x):  # nobody was drawn: the sum is zero, and the noise comes all the same
        for p in optimiser.params:
            if private.clipping == "ghost":
                p.grad = torch.zeros_like(p)
            else:
                p.grad_sample = p.new_zeros((0, *p.shape))
        return x.new_zeros(())
    losses = nn.functional.cross_entropy(private(x), y, reduction="none")
    if private.clipping == "ghost":
        twice = opacus("utils.fast_gradient_clipping_utils").DPTensorFastGradientClipping
        twice(private, optimiser, losses).backward()
    else:
        losses.mean().backward()
        private.samples()  # all of them are there
    return losses.detach().mean()


def _noisy(
    adam: torch.optim.Adam | None, clipping: Clipping, lab: Lab, *, noise: float, clip: float, expected: float
) -> Any:
    """The optimiser behind clip and noise; the noise is drawn where the parameters are."""
    optimisers = opacus("optimizers")
    kinds = {"ghost": optimisers.DPOptimizerFastGradientClipping, "hooks": optimisers.DPOptimizer}
    generator = torch.Generator(lab.device).manual_seed(lab.stream("noise"))
    return kinds[clipping](
        adam, noise_multiplier=noise, max_grad_norm=clip, expected_batch_size=expected, generator=generator
    )


def _check(loss: Tensor, parameters: Sequence[Tensor], step: int, steps: int, plan: Training) -> None:
    if loss.isfinite() and all(p.isfinite().all() for p in parameters):
        return
    raise TrainingError(
        f"private training stopped at step {step + 1} of {steps}: the loss or a weight is not finite. The likely cause "
        f"is a learning rate that is too high (train.rate={plan.rate:g}); try --set train.rate={plan.rate / 10:g}"
    )


def training_epsilon(
    noise: float, rate: float, steps: int, delta: float, accountant: Accountant
) -> tuple[float, Accountant]:
    """The ε of so many steps, and the accountant that found it: rdp where prv has no answer."""
    import numpy as np

    accountants = opacus("accountants")
    rdp, prv = accountants.RDPAccountant(), accountants.PRVAccountant()
    rdp.history = prv.history = [(noise, rate, steps)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal order is the")  # at tiny and huge ε; still an upper bound
        bound = float(rdp.get_epsilon(delta))
    if accountant == "rdp" or not bound <= BEYOND:
        return bound, "rdp"
    try:
        # at rate 1 it takes log(1 − rate) = −inf, rightly; whatever else is wrong numerically means no answer
        with np.errstate(divide="ignore"), warnings.catch_warnings(action="error"):
            found = float(prv.get_epsilon(delta))
    except (ArithmeticError, RuntimeError, ValueError, Warning):
        return bound, "rdp"
    return (found, "prv") if found <= bound else (bound, "rdp")


def least_noise(epsilon: float, rate: float, steps: int, delta: float, accountant: Accountant) -> float:
    """The least noise, to a thousandth, whose training spends at most that ε.

    Raises:
        ConfigError: no noise up to 1000 does.
    """
    low, high = 0.0, 1.0
    while training_epsilon(high, rate, steps, delta, accountant)[0] > epsilon:
        low, high = high, 2 * high
        if low > 1000:
            hint = "Train for fewer epochs, or by smaller batches"
            raise ConfigError("defences.dpsgd.epsilon", got=epsilon, allowed="what noise ≤ 1000 can reach", hint=hint)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        enough = training_epsilon(middle, rate, steps, delta, accountant)[0] <= epsilon
        low, high = (low, middle) if enough else (middle, high)
    return high
