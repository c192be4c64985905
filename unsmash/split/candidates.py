"""List where a model can be cut: what would cross at every layer, and what the device would have to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from unsmash.errors import CutError
from unsmash.split.model import as_tuple
from unsmash.split.partition import crossing
from unsmash.split.proxy import BranchError
from unsmash.split.sandbox import SIZES, batch, structural_clone
from unsmash.split.trace import Call, Recorder


@dataclass(frozen=True)
class Candidate:
    """A layer that a model can be cut behind."""

    name: str
    tensors: int
    """How many cross"""
    shapes: tuple[tuple[int, ...], ...]
    """Of each, for a batch of one; the layer's own output first"""
    bytes: int
    """Sent per sample, before any defence"""
    input_ratio: float
    """`bytes` by the bytes of the input as 8-bit values"""
    device_macs: int
    """Multiply-accumulates of the device half per sample"""
    device_parameters: int
    """Numbers in the weights of the device half, shared ones once"""
    aliases: tuple[str, ...] = ()
    """Other layers whose return is the same cut"""

    @property
    def single(self) -> bool:
        """Whether one tensor alone crosses."""
        return self.tensors == 1


def candidates(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> list[Candidate]:
    """Every cut of the model in eval mode, in the order of execution; one name for layers that return the same.

    `example` is [n, c, h, w], or one such tensor per input; n may be 1. Layers that run several times, that do not run,
    or behind which the raw input is still needed are left out, and so is all that comes after a branch on the data.
    Raises CutError when the model's own forward cannot be followed.
    """
    inputs = as_tuple(example)
    meters = _Flops(), _Flops()
    recorder = Recorder(
        (batch(inputs, SIZES[0]), batch(inputs, SIZES[1])),
        lambda _, module: _is_elementary(module),
        forgiving=True,
        meters=meters,
    )
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fused attention is one opaque operation, whose cost no counter knows.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        graph = recorder.record(structural_clone(model).eval())
    except BranchError as error:
        raise CutError(f"the layers of {type(model).__name__} cannot be listed: {error}.") from error
    except Exception as error:
        raise CutError(f"the forward of {type(model).__name__} cannot be followed: {error}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    pixels = sum(x[0].numel() for x in inputs)
    return _merged(_rows(recorder, list(graph.nodes), pixels))


def _rows(recorder: Recorder, nodes: list[fx.Node], pixels: int) -> list[tuple[Any, Candidate]]:
    runs = Counter(call.name for call in recorder.calls)
    limit = len(nodes) if recorder.limit is None else recorder.limit
    rows = []
    for call in recorder.calls:
        if runs[call.name] == 1 and call.position <= limit:
            try:
                rows.append(_row(nodes, call, pixels))
            except CutError:
                continue
    return [row for row in rows if row[1].bytes > 0]


def _row(nodes: list[fx.Node], call: Call, pixels: int) -> tuple[Any, Candidate]:
    found = crossing(nodes, call)
    total = sum(found.sizes)
    cost = total / pixels, call.macs, call.parameters
    return frozenset(found.nodes), Candidate(call.name, len(found.nodes), found.shapes, total, *cost)


def _merged(rows: list[tuple[Any, Candidate]]) -> list[Candidate]:
    """One candidate per set of crossing tensors, under its shortest name."""
    groups: dict[Any, list[Candidate]] = {}
    for key, candidate in rows:
        groups.setdefault(key, []).append(candidate)
    merged = []
    for group in groups.values():
        best = min(group, key=lambda candidate: candidate.name.count("."))
        merged.append(replace(best, aliases=tuple(other.name for other in group if other is not best)))
    return merged


class _Flops(TorchDispatchMode):
    """Counts floating-point operations as torch's own counter does, which cannot be used inside a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


def _is_elementary(module: nn.Module) -> bool:
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return type(module).__module__.startswith(("torch.nn.", "torch.ao.nn.")) and not isinstance(module, containers)
