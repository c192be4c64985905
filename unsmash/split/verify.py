"""Run a model and its halves side by side: outputs, gradients and buffers must agree, in both modes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from unsmash.errors import CutError
from unsmash.split.model import as_tuple
from unsmash.split.sandbox import SIZES, Inputs, batch, seeded, structural_clone

ALLOWED = 1e-6
"""Difference allowed, in units of the largest value compared or of 1; on a CPU it is 0"""


class Halving(Protocol):
    """Whatever can build the halves of a model or of its clone."""

    def halves(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Device and server half."""
        ...


class MismatchError(CutError):
    """The halves do not compute what the model computes."""


@dataclass(frozen=True)
class Result:
    """What one forward and backward pass leaves behind, by name."""

    outputs: dict[str, Tensor]
    gradients: dict[str, Tensor] | None
    """None where the model's own backward pass fails, as some in-place code does"""
    buffers: dict[str, Tensor]


def verify(plan: Halving, model: nn.Module, inputs: Inputs, at: str) -> None:
    """Raise MismatchError unless the halves reproduce the model at batch sizes that no trace has seen.

    Works on clones; every tensor that crosses is copied between the halves, as a wire does. Gradients are judged by the
    largest of all of them: a bias in front of BatchNorm has nothing but noise, which no relative measure survives.
    """
    for mode, size in ((False, 1), (True, SIZES[1] + 1)):
        images = batch(inputs, size)
        want = _run(structural_clone(model).train(mode), None, images)
        got = _run(structural_clone(model).train(mode), plan, images, backward=want.gradients is not None)
        for kind in ("outputs", "gradients", "buffers"):
            worst = difference(getattr(want, kind) or {}, getattr(got, kind) or {})
            if not worst <= ALLOWED:
                raise MismatchError(
                    f"the halves do not reproduce the model at {at!r} (largest difference {worst:.2g} in the {kind} in "
                    f"{'train' if mode else 'eval'} mode, allowed {ALLOWED:g}), so the cut is refused."
                )


def difference(want: dict[str, Tensor], got: dict[str, Tensor]) -> float:
    """The largest absolute difference, divided by the largest finite value wanted where that exceeds 1."""
    if any(name not in got or got[name].shape != tensor.shape for name, tensor in want.items()):
        return float("inf")
    scale, worst = 1.0, 0.0
    for name, tensor in want.items():
        a, b = tensor.detach().double(), got[name].detach().double()
        if torch.equal(a, b):
            continue
        both_nan = a.isnan() & b.isnan()
        gap = torch.where(both_nan | (a == b), 0.0, (a - b).abs())
        worst = max(worst, float(gap.nan_to_num(nan=float("inf")).max()))
        scale = max(scale, float(a.nan_to_num(0.0, 0.0, 0.0).abs().max()))
    return worst / scale


def _run(model: nn.Module, plan: Halving | None, images: Inputs, *, backward: bool = True) -> Result:
    leaves = [x.requires_grad_() if x.is_floating_point() else x for x in (image.clone() for image in images)]
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    buffers: dict[str, Tensor] = dict(model.named_buffers())
    forward: Callable[..., Any] = model
    if plan is not None:
        device, server = (half.train(model.training) for half in plan.halves(model))

        def forward(*x: Tensor) -> Any:
            return server(tuple(z.clone() for z in as_tuple(device(*x))))

    with seeded(1), torch.enable_grad():
        # Inputs are copies of leaves, so that a forward may write into them.
        outputs = _tensors(forward(*(leaf.clone() for leaf in leaves)))
        sources = {**parameters, **{f"input {i}": x for i, x in enumerate(leaves) if x.requires_grad}}
        gradients = None
        try:
            gradients = _gradients(outputs, sources) if backward else None
        except RuntimeError:
            if plan is not None:
                raise
    return Result(outputs, gradients, buffers if plan is None else _held(buffers, device, server))


def _tensors(tree: Any) -> dict[str, Tensor]:
    leaves, shape = pytree.tree_flatten(tree)
    named = {str(i): leaf for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
    return {f"{shape.type} {name}": tensor for name, tensor in named.items()}


def _gradients(outputs: dict[str, Tensor], sources: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a sum whose terms all weigh differently; a plain sum has none behind a normalisation."""
    terms = [
        (out.flatten().double() * torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=out.device)).sum()
        for out in outputs.values()
        if out.requires_grad
    ]
    if not terms:
        return {}
    found = torch.autograd.grad(torch.stack(terms).sum(), list(sources.values()), allow_unused=True)
    return {name: g for name, g in zip(sources, found, strict=True) if g is not None}


def _held(buffers: dict[str, Tensor], *halves: nn.Module) -> dict[str, Tensor]:
    """The buffers as the halves see them; one that neither needs stays what it was."""
    return buffers | {name: b for half in halves for name, b in half.named_buffers() if name in buffers}
