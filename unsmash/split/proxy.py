"""The stand-ins for tensors and batch-dependent numbers while a model is traced.

A `Valued` knows its value for two batch sizes and says it is of that value's type, so `isinstance`, shapes, unpacking
and `range` work in a model's code as they do on real tensors.
"""

from __future__ import annotations

import linecache
import math
import operator
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

if TYPE_CHECKING:
    from unsmash.split.trace import Recorder


class BranchError(Exception):
    """The code asks for the value of something known only at run time: pixels, or the batch size."""

    def __init__(self, *, data: bool, ran: tuple[str, ...]) -> None:
        self.data, self.ran = data, ran
        self.where, self.code = _user_line()
        super().__init__(f"{self.where} depends on {'the data' if data else 'the batch size'} ({self.code})")


class Sizes(tuple[Any, ...]):
    """A shape whose entries are numbers, or stand-ins where they depend on the batch."""

    __slots__ = ()

    def numel(self) -> Any:
        """The product of all sizes."""
        return math.prod(self)


class Valued(fx.Proxy):
    """A node of the graph together with its values for the two example batches."""

    tracer: Recorder

    @property
    def pair_(self) -> tuple[Any, Any]:
        """What the node gives for the smaller and the larger batch; no tensor has an attribute of this name."""
        return self.node.meta["values"]

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.pair_[0])

    def __getattr__(self, name: str) -> Any:
        return self.tracer.attribute(self, name)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})

    def __bool__(self) -> bool:
        return self.tracer.answer(self, bool)

    def __int__(self) -> int:
        return self.tracer.answer(self, int)

    def __float__(self) -> float:
        return self.tracer.answer(self, float)

    def __index__(self) -> int:
        return self.tracer.answer(self, operator.index)

    def __len__(self) -> int:
        return self.tracer.answer(self, len)

    def __iter__(self) -> Iterator[Any]:
        def item(i: int) -> Any:
            return self.tracer.create_proxy("call_function", operator.getitem, (self, i), {})

        return iter([item(i) for i in range(len(self))])

    def __str__(self) -> str:
        return repr(self) if isinstance(self.pair_[0], Tensor) else self.tracer.answer(self, str)


def _in_place(name: str) -> Callable[[Valued, Any], Any]:
    def method(self: Valued, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", getattr(operator, name), (self, other), {})

    return method


# fx turns `x += y` into `x = x + y`, which loses the write that other views of x would see.
for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul", "iand", "ior", "ixor"):
    setattr(Valued, f"__{_name}__", _in_place(_name))


class Method:
    """A bound method of a stand-in: the call becomes a node."""

    def __init__(self, owner: Valued, name: str) -> None:
        self.owner, self.name = owner, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record the call."""
        tracer = self.owner.tracer
        if self.name == "size" and not args and not kwargs:
            return tracer.sizes(self.owner)
        return tracer.create_proxy("call_method", self.name, (self.owner, *args), kwargs)


def _user_line() -> tuple[str, str]:
    """The innermost line outside torch and this package: `net.py:42` and its source."""
    ours = (str(Path(__file__).parent), str(Path(torch.__file__).parent))
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        frame = frame.f_back
    path = frame.f_code.co_filename
    return f"{Path(path).name}:{frame.f_lineno}", linecache.getline(path, frame.f_lineno).strip()
