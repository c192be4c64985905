"""The straight-line code of a half: steps over numbered slots, run one after the other.

Steps hold functions and names, never tensors, so a half deep-copies, pickles and exports like any module, and two
modes with the same code compare equal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Ref:
    """The value in a slot."""

    slot: int


@dataclass(frozen=True)
class Step:
    """One call: `op` says how to reach `target`; the result goes to slot `out`, and slots in `drop` are freed."""

    op: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: int
    drop: tuple[int, ...] = ()


@dataclass(frozen=True)
class Program:
    """Slots 0 … takes−1 hold the inputs; those in `owned` are copied first, because a later step writes into them."""

    takes: int
    owned: frozenset[int]
    steps: tuple[Step, ...]
    result: Any

    def run(self, root: nn.Module, inputs: Sequence[Tensor]) -> Any:
        """The result for these inputs; modules and tensors are found in `root` by name."""
        slots: dict[int, Any] = {i: z.clone() if i in self.owned else z for i, z in enumerate(inputs)}

        def look(ref: Ref) -> Any:
            return slots[ref.slot]

        for step in self.steps:
            args, kwargs = swap(step.args, Ref, look), swap(step.kwargs, Ref, look)
            slots[step.out] = execute(step.op, step.target, args, kwargs, root)
            del args, kwargs
            for slot in step.drop:
                del slots[slot]
        return swap(self.result, Ref, look)


def execute(op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], root: nn.Module) -> Any:
    """Do one call, named as torch.fx names them."""
    if op == "call_function":
        return target(*args, **kwargs)
    if op == "call_method":
        return getattr(args[0], target)(*args[1:], **kwargs)
    found = functools.reduce(getattr, target.split("."), root)
    return found(*args, **kwargs) if op == "call_module" else found


def swap(tree: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """Replace what is of this kind inside nested tuples, lists, dicts and slices."""
    if isinstance(tree, kind):
        return by(tree)
    if isinstance(tree, tuple):
        items = [swap(item, kind, by) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    if isinstance(tree, list):
        return [swap(item, kind, by) for item in tree]
    if isinstance(tree, dict):
        return {key: swap(item, kind, by) for key, item in tree.items()}
    if isinstance(tree, slice):
        return slice(*(swap(item, kind, by) for item in (tree.start, tree.stop, tree.step)))
    return tree


def with_drops(steps: Sequence[Step], keep: Any) -> tuple[Step, ...]:
    """The same steps, each freeing the slots that nobody reads after it."""
    last: dict[int, int] = {}
    for place, step in enumerate(steps):
        last.update(dict.fromkeys([step.out, *_slots((step.args, step.kwargs))], place))
    for slot in _slots(keep):
        last.pop(slot, None)
    drops: dict[int, list[int]] = {}
    for slot, place in last.items():
        drops.setdefault(place, []).append(slot)
    return tuple(
        Step(step.op, step.target, step.args, step.kwargs, step.out, tuple(sorted(drops.get(place, ()))))
        for place, step in enumerate(steps)
    )


def _slots(tree: Any) -> list[int]:
    refs: list[Ref] = []
    swap(tree, Ref, refs.append)
    return [ref.slot for ref in refs]
