"""Divide a trace at one call's return: a program for the device, one for the server, and what crosses between them."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from unsmash.errors import CutError
from unsmash.split.program import Program, Ref, Step, swap, with_drops
from unsmash.split.sandbox import SIZES
from unsmash.split.trace import Call
from unsmash.split.values import PLAIN


class RawInputError(CutError):
    """An input of the model would cross as it is."""


@dataclass(frozen=True)
class Crossing:
    """What is alive at a cut. `nodes` cross, the cut's own output first; `early` run on the device, the rest after."""

    nodes: tuple[fx.Node, ...]
    early: frozenset[fx.Node]
    same: dict[fx.Node, fx.Node]
    """Nodes that hold the very tensor of a crossing node, such as the result of an in-place layer"""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes per sample of each tensor; 0 for one that does not depend on the batch."""
        return tuple(b.nbytes - a.nbytes for a, b in (node.meta["values"] for node in self.nodes))

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each tensor for a batch of one."""
        ahead = SIZES[0] - 1
        pairs = (node.meta["values"] for node in self.nodes)
        return tuple(tuple(p - (q - p) * ahead for p, q in zip(a.shape, b.shape, strict=True)) for a, b in pairs)


def crossing(nodes: list[fx.Node], call: Call) -> Crossing:
    """What crosses when everything up to this call's return runs on the device."""
    order = {node: i for i, node in enumerate(nodes)}
    early = set(nodes[: call.position])
    alive: dict[fx.Node, None] = {}
    for node in nodes[call.position :]:
        if _is_lift(node, early):
            early.add(node)
            continue
        for operand in node.all_input_nodes:
            _collect(operand, early, alive)
    own: list[fx.Node] = []
    swap(call.output, fx.Proxy, lambda proxy: own.append(proxy.node))
    first = [node for node in own if node in alive]
    rest = sorted((node for node in alive if node not in first), key=order.__getitem__)
    unique: dict[int, fx.Node] = {}
    same = {node: unique.setdefault(id(node.meta["values"][0]), node) for node in [*first, *rest]}
    found = Crossing(tuple(unique.values()), frozenset(early), same)
    _refuse_raw(found, nodes)
    return found


def divide(nodes: list[fx.Node], call: Call) -> tuple[Program, Program, Crossing]:
    """The device's and the server's program."""
    found = crossing(nodes, call)
    if not any(found.sizes):
        raise CutError(f"nothing that depends on the images crosses at {call.name!r}.")
    device = _Writer([node for node in nodes if node.op == "placeholder"])
    device.write([node for node in nodes if node in found.early], keep=found.nodes)
    result = [device.look(node) for node in found.nodes]
    server = _Writer(found.nodes, found)
    late = [node for node in nodes if node not in found.early]
    server.write(late, keep=())
    # The output node comes last and holds the structure the model gives.
    answer = swap(late[-1].args[0], fx.Node, server.look)
    written = {
        i
        for i, node in enumerate(found.nodes)
        if node in call.versions and node.meta["values"][0]._version > call.versions[node]
    }
    return (
        device.finish(result[0] if len(result) == 1 else tuple(result), frozenset()),
        server.finish(answer, frozenset(written)),
        found,
    )


class _Writer:
    """Turns nodes into steps; what the other half computed is taken from the crossing tensors."""

    def __init__(self, inputs: Iterable[fx.Node], wire: Crossing | None = None) -> None:
        self.inputs, self.wire = tuple(inputs), wire
        self.slots = {node: i for i, node in enumerate(self.inputs)}
        for node, twin in (wire.same if wire else {}).items():
            self.slots[node] = self.slots[twin]
        self.count = len(self.inputs)
        self.steps: list[Step] = []

    def write(self, nodes: list[fx.Node], keep: Iterable[fx.Node]) -> None:
        """Write these nodes but for queries and weights that nobody here reads."""
        wanted = set(keep)
        chosen = []
        for node in reversed(nodes):
            if node in wanted or not (node.meta.get("query") or node.op in ("placeholder", "output")):
                chosen.append(node)
            if node in wanted or not node.meta.get("query"):
                wanted.update(node.all_input_nodes)
        for node in reversed(chosen):
            if node not in self.slots:
                self._step(node.op, node.target, node.args, node.kwargs, node)

    def look(self, node: fx.Node) -> Ref:
        """Where a node's value is; weights and batch-dependent numbers of the other half are made again here."""
        if node not in self.slots:
            if node.op == "get_attr" or not _asks_tensor(node):
                self._step(node.op, node.target, node.args, node.kwargs, node)
            else:
                self._rebuild(node)
        return Ref(self.slots[node])

    def finish(self, result: Any, owned: frozenset[int]) -> Program:
        """The program that gives this result."""
        return Program(len(self.inputs), owned, with_drops(self.steps, result), result)

    def _step(self, op: str, target: Any, args: Any, kwargs: Any, node: fx.Node) -> None:
        args, kwargs = swap(args, fx.Node, self.look), swap(kwargs, fx.Node, self.look)
        self.steps.append(Step(op, target, tuple(args), dict(kwargs), self.count))
        self.slots[node] = self.count
        self.count += 1

    def _rebuild(self, node: fx.Node) -> None:
        """A device or a batch-dependent size, read off a tensor that crosses anyway."""
        assert self.wire is not None
        a, b = node.meta["values"]
        if isinstance(a, torch.device):
            self._step("call_function", getattr, (self.wire.nodes[0], "device"), {}, node)
            return
        for source in self.wire.nodes:
            small, large = (value.shape for value in source.meta["values"])
            for dim, (p, q) in enumerate(zip(small, large, strict=True)):
                if p != q:
                    self._step("call_function", scaled_size, (source, dim, p, a, q - p, b - a), {}, node)
                    return
        raise CutError(f"the batch size is needed behind the cut ({node.name}), and nothing that crosses shows it.")


def scaled_size(z: Tensor, dim: int, size: int, value: int, by: int, step: int) -> int:
    """A number that was `value` when z's dimension was `size`, and grows by `step` whenever that grows by `by`."""
    grown = z.shape[dim] - size
    return value + (grown * (step // by) if step % by == 0 else grown * step // by)


def _asks_tensor(node: fx.Node) -> bool:
    return any(isinstance(operand.meta["values"][0], Tensor) for operand in node.all_input_nodes)


def _is_lift(node: fx.Node, early: set[fx.Node]) -> bool:
    """Whether a step behind the cut only asks what the device knows: a size, or an item of a structure it computed.

    Such a step counts as the device's, or a late `x.shape[0]` would make the image itself cross.
    """
    operands = node.all_input_nodes
    if not operands or not all(operand in early for operand in operands):
        return False
    if node.meta.get("query") and not node.meta["data"]:
        return True
    whole = operands[0].meta["values"][0]
    return node.target in (operator.getitem, getattr) and not isinstance(whole, (Tensor, *PLAIN, torch.device))


def _collect(node: fx.Node, early: set[fx.Node], alive: dict[fx.Node, None]) -> None:
    """Add the tensors that must cross so that a later step has this operand."""
    if node not in early or node.op == "get_attr":
        return
    value = node.meta["values"][0]
    if isinstance(value, Tensor):
        alive[node] = None
    elif isinstance(value, (int, float)) and not node.meta["data"]:
        if not _asks_tensor(node):
            for operand in node.all_input_nodes:
                _collect(operand, early, alive)
    elif not isinstance(value, torch.device):
        raise CutError(f"a {type(value).__name__} computed in front of the cut ({node.name}) would have to cross.")


def _refuse_raw(found: Crossing, nodes: list[fx.Node]) -> None:
    inputs = [node.meta["values"][0] for node in nodes if node.op == "placeholder"]
    storages = {value.untyped_storage().data_ptr() for value in inputs}
    for node in found.nodes:
        if node.meta["values"][0].untyped_storage().data_ptr() in storages:
            raise RawInputError("the raw input would cross")
