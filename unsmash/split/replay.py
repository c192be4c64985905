"""The way around a forward that cannot be traced: run it for real up to a hook, and on fake tensors up to it again.

The device half runs the model and stops when the layer returns. The server half runs the model on tensors without
content until the layer returns, puts the smashed data in its place and goes on for real. Anything else that crosses
meets a fake tensor there, which torch refuses, so a wrong answer is not possible. Every call of the server walks
through the device's code; this serves to audit a model, not to deploy it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.utils.stateless import _reparametrize_module
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from unsmash.errors import CutError
from unsmash.split.halves import install
from unsmash.split.partition import scaled_size
from unsmash.split.sandbox import SIZES, Inputs, batch, seeded, structural_clone

NOTE = "a replay of the model around this layer, not two halves cut out of it: good enough to audit, not to deploy"
"""What the user is told about such a cut"""


@dataclass
class Survey:
    """What a layer does in one real forward: its outputs, and the names of weights and buffers used up to and after."""

    outputs: list[Any] = field(default_factory=list)
    before: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)


def survey(model: nn.Module, at: str, inputs: Inputs, mode: bool, size: int = SIZES[0]) -> Survey:
    """Run a clone of the model once in this mode and watch the layer."""
    clone = structural_clone(model).train(mode)
    names = {id(tensor): name for name, tensor in _tensors(clone).items()}
    found = Survey()

    class Uses(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            used = {names[id(leaf)] for leaf in pytree.tree_leaves((args, kwargs)) if id(leaf) in names}
            (found.after if found.outputs else found.before).update(used)
            return func(*args, **(kwargs or {}))

    clone.get_submodule(at).register_forward_hook(lambda module, args, output: found.outputs.append(output))
    with seeded(0), torch.no_grad(), Uses():
        clone(*batch(inputs, size))
    return found


@dataclass(frozen=True)
class Replay:
    """Everything needed to build both halves around a model or a clone of it."""

    at: str
    shapes: tuple[tuple[tuple[int, ...], torch.dtype], ...]
    """Of each input, without the batch"""
    rows: tuple[int, int]
    """The layer's first dimension at a batch of SIZES[0], and how much it grows per sample"""
    device: frozenset[str]
    server: frozenset[str]

    def halves(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Device and server half; both hold the whole model out of sight."""
        return Front(model, self, self.device), Back(model, self, self.server)


def replay_plan(model: nn.Module, at: str, inputs: Inputs, surveys: dict[bool, Survey]) -> Replay:
    """Work out which half needs what; the layer must give one tensor that grows with the batch."""
    outputs = [found.outputs[0] for found in surveys.values()]
    outputs.append(survey(model, at, inputs, False, SIZES[1]).outputs[0])
    if not all(isinstance(output, Tensor) and output.ndim > 0 for output in outputs):
        raise CutError(f"{at!r} gives more than one tensor, which a replay cannot pass on.")
    small, large = len(outputs[0]), len(outputs[-1])
    if small == large:
        raise CutError(f"the output of {at!r} does not grow with the batch.")
    tensors = {name: id(tensor) for name, tensor in _tensors(model).items()}
    early = {tensors[name] for found in surveys.values() for name in found.before}
    late = {tensors[name] for found in surveys.values() for name in found.after}
    device = frozenset(name for name, tensor in tensors.items() if tensor in early)
    server = frozenset(name for name, tensor in tensors.items() if tensor in late or tensor not in early)
    shapes = tuple((tuple(x.shape[1:]), x.dtype) for x in inputs)
    return Replay(at, shapes, (small, large - small), device, server)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, those that are tied under each of their names."""
    parameters, buffers = model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    return {**dict(parameters), **dict(buffers)}


class _Replayed(nn.Module):
    """Shows only the weights of its own half and keeps the model itself out of the list of sub-modules."""

    def __init__(self, model: nn.Module, plan: Replay, names: frozenset[str]) -> None:
        super().__init__()
        self._whole, self._plan, self._names = (model,), plan, sorted(names)
        self.training = model.training
        self._adopt()

    def _adopt(self) -> None:
        for name in self._names:
            install(self, self._whole[0], name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Replayed:
        self._whole[0]._apply(fn, recurse)
        self._adopt()  # buffers are new tensors after a move
        return self

    def train(self, mode: bool = True) -> _Replayed:
        """Set the mode of this half and, since it runs it, of the whole model."""
        self._whole[0].train(mode)
        return super().train(mode)


class _ArrivedError(BaseException):
    """Carries the output from the layer to the device half; user code that catches `Exception` does not stop it."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


class Front(_Replayed):
    """The device half: inputs → the layer's output; nothing behind the layer runs."""

    def forward(self, *inputs: Any) -> Tensor:
        """One tensor, the batch first."""
        (whole,) = self._whole

        def arrive(module: nn.Module, args: Any, output: Tensor) -> None:
            raise _ArrivedError(output)

        hook = whole.get_submodule(self._plan.at).register_forward_hook(arrive)
        try:
            whole(*inputs)
        except _ArrivedError as arrived:
            return arrived.output
        finally:
            hook.remove()
        raise CutError(f"{self._plan.at!r} did not run for this input.")


class Back(_Replayed):
    """The server half: the layer's output → the model's answer."""

    def forward(self, *smashed: Any) -> Any:
        """Whatever the model gives; raises what torch raises when more than the layer's output is needed."""
        z: Tensor = smashed[0] if isinstance(smashed[0], Tensor) else smashed[0][0]
        (whole,), plan = self._whole, self._plan
        rows = scaled_size(z, 0, plan.rows[0], SIZES[0], plan.rows[1], 1)
        fakes = FakeTensorMode()
        tensors: dict[str, Tensor] = {name: fakes.from_tensor(tensor) for name, tensor in _tensors(whole).items()}
        with ExitStack() as unreal:
            unreal.enter_context(_reparametrize_module(whole, tensors))
            unreal.enter_context(fakes)

            def arrive(module: nn.Module, args: Any, output: Any) -> Tensor:
                unreal.close()
                return z.clone()

            hook = whole.get_submodule(plan.at).register_forward_hook(arrive)
            try:
                answer = whole(
                    *(torch.empty((rows, *shape), dtype=dtype, device=z.device) for shape, dtype in plan.shapes)
                )
            finally:
                hook.remove()
        if any(isinstance(leaf, FakeTensor) for leaf in pytree.tree_leaves(answer)):
            raise CutError("the answer needs more than what crosses.")
        return answer
