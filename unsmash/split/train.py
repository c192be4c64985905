"""Train and run a split model as the two parties it is: the server sees releases and labels, the device sees gradients.

One step: the device sends the release, the server answers with dL/d(release) and updates its half, the device carries
that gradient on through the shield and its own half. With one optimiser law on both sides this equals joint training.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from unsmash.errors import TrainingError
from unsmash.lab import Lab
from unsmash.split.model import Smashed, SplitModel, as_tuple
from unsmash.split.parties import HonestServer, Optimiser, Server, Watch, Watches


class Training(BaseModel):
    """How the split model is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int | None = Field(None, ge=0, le=10_000)
    """Passes over the training images; 0 takes the model as it is; unset, the model's own recommendation"""
    batch: int = Field(64, ge=1, le=65_536)
    """Images a step"""
    rate: float = Field(3e-3, gt=0, le=10)
    """Peak learning rate of Adam under a one-cycle schedule"""
    augment: bool = False
    """Small random affine changes of every training image"""


def train(
    model: SplitModel,
    images: Tensor,
    labels: Tensor,
    plan: Training,
    lab: Lab,
    *,
    server: Server | None = None,
    watch: Watch | None = None,
    steps: int | None = None,
) -> None:
    """Train both halves in place on images [n, c, h, w] in [0, 1] with labels [n]; leaves the model in eval mode.

    `server` takes the honest server's place; `watch` looks on from the device's side, before the shield's own guard;
    `steps` ends the training after as many batches, whatever the plan's epochs.

    Raises:
        TrainingError: the loss or the release stopped being finite, with the step and the likely cause.
        Alarm: the device's guard will take no further part; the model is as it was then, in eval mode.
    """
    total = (plan.epochs or 0) * -(-len(images) // plan.batch) if steps is None else steps
    device_optimiser, server_optimiser = _optimisers(model, plan.rate, total)
    server = server or HonestServer(model.answer, server_optimiser, model.shield.reply)
    eyes = Watches([one for one in (watch, model.shield.guard(lab.at("guard"))) if one is not None])
    model.to(lab.device).train()
    batches = _batches(images, labels, plan, total, lab)
    try:
        with lab.seeded("train"):
            for step, (rows, x, y) in enumerate(lab.track(batches, "train", total=total)):
                device_optimiser.clear()
                z = as_tuple(model.device(x))
                passed = model.shield.steps(z)
                release = passed[-1]
                sent = tuple(part.detach() for part in release)  # the wire: a server must not reach the device's graph
                gradient, loss = server.answer(sent, eyes.labels(rows, y))
                penalty = model.shield.penalties(x, passed, y)
                _check(loss + penalty.item(), release, step, total, plan)
                if eyes.returned(rows, sent, gradient):
                    _backward(release, gradient, penalty)
                    device_optimiser.step()
    finally:
        model.eval()


def _optimisers(model: SplitModel, rate: float, steps: int) -> tuple[Optimiser, Optimiser]:
    device = list(model.device_parameters())
    # a layer used on both sides of the cut is one parameter: it belongs to the device, and both gradients add up in it
    held = {id(parameter) for parameter in device}
    server = [parameter for parameter in model.server_parameters() if id(parameter) not in held]
    return Optimiser(_unique(device), rate, steps), Optimiser(_unique(server), rate, steps)


def _unique(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    return list({id(parameter): parameter for parameter in parameters if parameter.requires_grad}.values())


def _backward(release: Smashed, gradient: Smashed, penalty: Tensor) -> None:
    ends = [(r, g) for r, g in zip(release, gradient, strict=True) if r.requires_grad]
    tensors, gradients = [r for r, _ in ends], [g for _, g in ends]
    if penalty.requires_grad:
        tensors, gradients = [*tensors, penalty], [*gradients, torch.ones_like(penalty)]
    if tensors:
        torch.autograd.backward(tensors, gradients)


def _batches(
    images: Tensor, labels: Tensor, plan: Training, steps: int, lab: Lab
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """So many batches, pass after pass: which images, they themselves, their labels."""
    order = lab.generator("order")
    passes = (torch.randperm(len(images), generator=order).split(plan.batch) for _ in itertools.count())
    for index in itertools.islice(itertools.chain.from_iterable(passes), steps):
        x, y = images[index].to(lab.device), labels[index].to(lab.device)
        if plan.augment:
            from unsmash.nets import jitter

            x = jitter(x, order)
        yield index, x, y


def _check(loss: float, release: Smashed, step: int, steps: int, plan: Training) -> None:
    if loss == loss and abs(loss) != float("inf"):
        return
    finite = all(part.isfinite().all() for part in release if part.is_floating_point())
    where = "the loss on the server" if finite else "the device half's output"
    raise TrainingError(
        f"training stopped at step {step + 1} of {steps}: {where} is not finite. The likely cause is a learning rate "
        f"that is too high (train.rate={plan.rate:g}); try --set train.rate={plan.rate / 10:g}"
    )


@torch.no_grad()
def predict(model: SplitModel, images: Tensor, lab: Lab, *, batch: int = 256) -> Tensor:
    """Logits [n, classes] of the whole path, shield included, in eval mode, on the CPU.

    Draws of a random shield come from the lab's stream `predict`.
    """
    assert_eval(model)
    with lab.seeded("predict"):
        return torch.cat([model(part.to(lab.device)).float().cpu() for part in images.split(batch)])


def assert_eval(model: nn.Module) -> None:
    """Every module must be in eval mode: BatchNorm or dropout left in train mode would change the release.

    Raises:
        TrainingError: naming the first module that is not.
    """
    for name, module in model.named_modules():
        if module.training:
            raise TrainingError(
                f"module {name or 'model'!r} is in train mode while the release is measured; call eval()"
            )


@torch.no_grad()
def device_latency(model: SplitModel, image: Tensor, *, seconds: float = 0.3) -> tuple[float, float]:
    """Median and 95th percentile time of device half and shield for one image [1, c, h, w], in ms."""
    for _ in range(3):
        model.release(image)
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times) < 10:
        start = time.perf_counter()
        model.release(image)
        times.append((time.perf_counter() - start) * 1000)
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
