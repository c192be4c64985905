"""What a traced value is: a plain constant, a structure to unpack, or something only known at run time."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from unsmash.split.program import swap

PLAIN = (int, float, str, Enum, torch.dtype, torch.layout, torch.memory_format, torch.Size)
"""Values that become constants when both examples give the same; a device does not, models move"""

METADATA = frozenset(
    [
        *("getattr", "size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "element_size"),
        *("type", "get_device", "is_contiguous", "is_floating_point", "is_complex", "is_tensor", "is_same_size"),
        *("result_type", "promote_types", "__len__"),
    ]
)
"""Functions that ask a tensor for a plain value without looking at its content"""


def unpacks(values: tuple[Any, ...]) -> bool:
    """Whether both are the same kind of structure, of the same length, that can be built again from its items."""
    a, b = values
    known = type(a) in (tuple, list, dict, OrderedDict) or (isinstance(a, tuple) and hasattr(a, "_fields"))
    return known and type(a) is type(b) and len(a) == len(b)


def settled(values: tuple[Any, ...]) -> bool:
    """Whether both examples give the same plain value, which then is a constant."""
    a, b = values
    if isinstance(a, slice) or (isinstance(a, tuple) and not hasattr(a, "_fields")):
        parts = (a.start, a.stop, a.step) if isinstance(a, slice) else a
        return type(a) is type(b) and all(part is None or isinstance(part, PLAIN) for part in parts) and a == b
    return isinstance(a, PLAIN) and type(a) is type(b) and a == b


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two constants are one."""
    return a.dtype == b.dtype and a.device == b.device and a.shape == b.shape and torch.equal(a, b)


def reads_data(kind: str, target: Any, operands: Any, value: Any) -> bool:
    """Whether a value that is no tensor was computed from what tensors contain."""
    nodes: list[fx.Node] = []
    swap(operands, fx.Node, nodes.append)
    if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(value)):
        return False
    if any(node.meta["data"] for node in nodes):
        return True
    if kind == "call_module":
        return isinstance(value, (bool, float))
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return name not in METADATA and any(isinstance(node.meta["values"][0], Tensor) for node in nodes)
