"""The stand-ins for tensors and batch-dependent numbers while a model is traced.

A `Valued` knows its value for two batch sizes. Shapes, unpacking, `range` and, inside `disguised`, `isinstance` work in
a model's code as they do on real tensors.
"""

from __future__ import annotations

import builtins
import linecache
import math
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

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


@contextmanager
def disguised() -> Iterator[None]:
    """Inside, Python's `isinstance` takes a stand-in for what it stands for.

    A false `__class__` would do the same and deceive torch's C++ code too, which then reads a tensor where none is.
    """
    real = builtins.isinstance

    def isinstance_(thing: Any, kinds: Any) -> bool:
        return real(thing, kinds) or (type(thing) is Valued and real(thing.pair_[0], kinds))

    with mock.patch.object(builtins, "isinstance", isinstance_):
        yield


@dataclass(frozen=True)
class Applied:
    """The call of a custom autograd function, kept as one step so that its own backward is."""

    function: type[torch.autograd.Function]

    @property
    def __name__(self) -> str:
        return "applied"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives."""
        return self.function.apply(*args, **kwargs)


def _user_line() -> tuple[str, str]:
    """The innermost line outside torch and this package: `net.py:42` and its source."""
    ours = (str(Path(__file__).parent), str(Path(torch.__file__).parent))
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        frame = frame.f_back
    path = frame.f_code.co_filename
    return f"{Path(path).name}:{frame.f_lineno}", linecache.getline(path, frame.f_lineno).strip()
