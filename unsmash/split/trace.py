"""Trace a model's forward in program order, with real values at two batch sizes beside every node.

A size that is equal for both is a plain number; one that differs is the batch and stays symbolic. Nothing is ever
decided on the content of a tensor: the trace stops there with a `BranchError`.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from unsmash.split.program import execute, swap
from unsmash.split.proxy import Applied, BranchError, Method, Sizes, Valued, disguised
from unsmash.split.sandbox import Inputs, seeded
from unsmash.split.values import reads_data, same, settled, unpacks

FACTORIES = (
    *("zeros", "ones", "full", "empty", "arange", "linspace", "eye", "tensor", "as_tensor"),
    *("rand", "randn", "randint", "randperm", "normal"),
)
"""Functions of `torch` that make tensors without taking any, and so would escape the trace"""


@dataclass(frozen=True)
class Call:
    """The return of one module call: how many nodes there were, what it gave, and what everything so far cost."""

    name: str
    position: int
    output: Any
    macs: int
    """Multiply-accumulates per sample up to here; 0 when not counted"""
    parameters: int
    """Numbers in the weights used up to here, shared ones once"""
    versions: dict[fx.Node, int]
    """How often each tensor had been written to, for the watched layer only"""


class Recorder(fx.Tracer):
    """The tracer. Modules for which `leaf(name, module)` holds are called whole; all others are traced through.

    Tensors that traced code makes are kept in `constants` by name. With `forgiving`, a module that cannot be traced is
    called whole instead, and a branch on data in the root's own code takes the way of the first example; `limit` is
    then the number of nodes in front of it.
    """

    def __init__(
        self,
        examples: tuple[Inputs, Inputs],
        leaf: Callable[[str, nn.Module], bool],
        *,
        watch: str = "",
        forgiving: bool = False,
        meters: tuple[Any, Any] | None = None,
        constants: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.examples, self.leaf, self.watch, self.forgiving, self.meters = examples, leaf, watch, forgiving, meters
        self.constants = constants if constants is not None else {}
        self.calls: list[Call] = []
        self.kept: list[Tensor] = []
        self.limit: int | None = None
        self.depth = 0
        self.computing = False
        self.names: dict[int, str] = {}
        self.seen: set[int] = set()
        self.parameters = 0

    def record(self, model: nn.Module) -> fx.Graph:
        """Trace a model, which must be a throw-away clone: a forward may keep what it computes."""
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            self.names[id(tensor)] = name
        self.examples = tuple(tuple(t.clone() for t in inputs) for inputs in self.examples)  # type: ignore[assignment]
        with seeded(0), disguised(), self._patched():
            return self.trace(model)

    # -- what fx asks a tracer ------------------------------------------------------------------------------------

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Called whole or traced through."""
        return self.leaf(module_qualified_name, m)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """One placeholder per example input; every other argument keeps its default."""
        proxies = []
        for i, values in enumerate(zip(*self.examples, strict=True)):
            node = self.create_node("placeholder", f"input_{i}", (), {})
            proxies.append(self._note(node, values))
        return root_fn, [self.root, *proxies]

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Record the call's return, and with `forgiving` fall back to calling the module whole."""
        paths = self.submodule_paths or {}
        if self.computing or m not in paths:
            return forward(*args, **kwargs)
        name, nodes, calls, stack = paths[m], len(self.graph.nodes), len(self.calls), list(self.module_stack.items())
        self.depth += 1
        try:
            output = super().call_module(m, forward, args, kwargs)
        except Exception:
            if not self.forgiving or self.leaf(name, m):
                raise
            self._rewind(nodes, calls, stack)
            output = self.create_proxy("call_module", name, args, kwargs)
        finally:
            self.depth -= 1
        self.calls.append(self._call(name, output))
        return output

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        """Weights and buffers that traced code reads become nodes."""
        if not self.computing and isinstance(attr_val, Tensor) and id(attr_val) in self.names:
            return Valued(self._held(attr_val), self)
        return attr_val

    def create_arg(self, a: Any) -> Any:
        """As fx, for stand-ins that claim to be tensors, for raw tensors, and for dicts that are more than dicts."""
        if isinstance(a, fx.Proxy):
            return a.node
        if isinstance(a, Tensor):
            return self._held(a)
        if isinstance(a, nn.Module) and a in (self.submodule_paths or {}):
            node = self.create_node("get_attr", self.path_of_module(a), (), {})
            return self._note(node, (a, a)) and node
        if isinstance(a, Sizes):
            return tuple(self.create_arg(item) for item in a)
        if isinstance(a, dict) and is_dataclass(a):
            items = {field.name: getattr(a, field.name) for field in fields(a)}
            return self.create_proxy("call_function", type(a), (), items).node
        if isinstance(a, OrderedDict):
            return self.create_proxy("call_function", OrderedDict, (list(a.items()),), {}).node
        return super().create_arg(a)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *_: Any, **__: Any) -> Any:
        """Compute both values, then a node, or a plain value where both agree."""
        args, kwargs = self.create_arg(args), self.create_arg(kwargs)
        values = tuple(self._compute(kind, target, args, kwargs, which) for which in (0, 1))
        data = reads_data(kind, target, (args, kwargs), values[0])
        if kind != "call_module" and not data and settled(values):
            return values[0]
        return self._note(self.create_node(kind, target, args, kwargs), values, data=data)

    # -- what stand-ins ask ---------------------------------------------------------------------------------------

    def answer(self, proxy: Valued, ask: Callable[[Any], Any]) -> Any:
        """A plain value where both examples agree and no pixel is looked at; else the trace ends here."""
        a, b = proxy.pair_
        data = proxy.node.meta["data"] or (isinstance(a, Tensor) and ask is not len)
        if self.forgiving and data and self.depth == 0:
            self.limit = len(self.graph.nodes) if self.limit is None else self.limit
            return ask(a)
        if data or ask(a) != ask(b):
            raise BranchError(data=data, ran=tuple(call.name for call in self.calls))
        return ask(a)

    def attribute(self, proxy: Valued, name: str) -> Any:
        """An attribute of a stand-in: a method to call, a shape, or a value."""
        value = proxy.pair_[0]
        if isinstance(value, Tensor) and name == "shape":
            return self.sizes(proxy)
        found = getattr(value, name)
        if callable(found) and not isinstance(found, Tensor):
            return Method(proxy, name)
        return found if found is None else self.create_proxy("call_function", getattr, (proxy, name), {})

    def sizes(self, proxy: Valued) -> Sizes:
        """The shape, with numbers where both examples agree."""
        return Sizes(
            a if a == b else self.create_proxy("call_method", "size", (proxy, i), {})
            for i, (a, b) in enumerate(zip(*(value.shape for value in proxy.pair_), strict=True))
        )

    # -- how ------------------------------------------------------------------------------------------------------

    def _compute(self, kind: str, target: Any, args: Any, kwargs: Any, which: int) -> Any:
        args, kwargs = (swap(tree, fx.Node, lambda node: node.meta["values"][which]) for tree in (args, kwargs))
        if kind == "call_module":
            self._use(*self.root.get_submodule(target).parameters())
        meter: AbstractContextManager[Any] = self.meters[which] if self.meters else contextlib.nullcontext()
        before, self.computing = self.computing, True
        try:
            with torch.no_grad(), meter:
                return execute(kind, target, args, kwargs, self.root)
        finally:
            self.computing = before

    def _note(self, node: fx.Node, values: tuple[Any, ...], *, data: bool = False) -> Any:
        """Put the values on the node; give plain structures back unpacked, so that only tensors are stand-ins."""
        value = values[0]
        inside = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
        queries = node.op == "get_attr" or (not inside and value is not None and node.op != "call_module")
        node.meta.update(values=values, data=data, query=queries)
        if value is None or (not data and settled(values)):
            return value
        proxy = Valued(node, self)
        if data or not unpacks(values):
            return proxy
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        items = [self._item(proxy, key) for key in keys]
        if isinstance(value, dict):
            return type(value)(zip(keys, items, strict=True))
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)

    def _item(self, whole: Valued, key: Any) -> Any:
        values = tuple(value[key] for value in whole.pair_)
        # A truth value or a fraction out of a block may well be computed from pixels; a whole number is a size.
        data = isinstance(values[0], (bool, float))
        if values[0] is None or (not data and settled(values)):
            return values[0]
        node = self.create_node("call_function", operator.getitem, (whole.node, key), {})
        result = self._note(node, values, data=data)
        node.meta["query"] = True
        return result

    def _held(self, tensor: Tensor) -> fx.Node:
        """A node for a tensor of the model, or for a constant made by traced code."""
        name = self.names.get(id(tensor)) or self.tensor_attrs.get(tensor)
        if name is None:
            name = next((name for name, known in self.constants.items() if same(known, tensor)), None)
            name = name or f"_constant{len(self.constants)}"
            self.constants.setdefault(name, tensor.detach())
            self.names[id(tensor)] = name
            self.kept.append(tensor)  # or its id might soon be another's
        self._use(tensor)
        node = self.create_node("get_attr", name, (), {})
        self._note(node, (tensor, tensor))
        return node

    def _use(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            if isinstance(tensor, nn.Parameter) and id(tensor) not in self.seen:
                self.seen.add(id(tensor))
                self.parameters += tensor.numel()

    def _call(self, name: str, output: Any) -> Call:
        macs = (self.meters[1].flops - self.meters[0].flops) // 2 if self.meters else 0
        versions = {}
        if name == self.watch:
            values = {node: node.meta["values"][0] for node in self.graph.nodes}
            versions = {node: value._version for node, value in values.items() if isinstance(value, Tensor)}
        return Call(name, len(self.graph.nodes), output, macs, self.parameters, versions)

    def _rewind(self, nodes: int, calls: int, stack: list[Any]) -> None:
        for node in reversed(list(self.graph.nodes)[nodes:]):
            self.graph.erase_node(node)
        del self.calls[calls:]
        self.module_stack = OrderedDict(stack)

    @contextmanager
    def _patched(self) -> Iterator[None]:
        """Calls that would escape the trace, or not survive it, become nodes."""
        with contextlib.ExitStack() as stack:
            for name in FACTORIES:
                stack.enter_context(mock.patch.object(torch, name, self._recorded(getattr(torch, name))))
            apply = torch.autograd.Function.__dict__["apply"]

            def call(function: Any, *args: Any, **kwargs: Any) -> Any:
                if self.computing:
                    return apply.__get__(None, function)(*args, **kwargs)
                return self.create_proxy("call_function", Applied(function), args, kwargs)

            stack.enter_context(mock.patch.object(torch.autograd.Function, "apply", classmethod(call)))
            yield

    def _recorded(self, factory: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(factory)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.computing:
                return factory(*args, **kwargs)
            try:
                return self.create_proxy("call_function", factory, args, kwargs)
            except NotImplementedError:  # an argument that no graph can hold, such as a generator
                return factory(*args, **kwargs)

        return call
