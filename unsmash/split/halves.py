"""The half modules of a traced cut: a program for each mode, and the original's layers under their own names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from unsmash.split.program import Program


class Half(nn.Module):
    """One half of a cut model. Takes its tensors one by one or as one tuple; the mode picks the program."""

    def __init__(self, evaluation: Program, training: Program) -> None:
        super().__init__()
        self._programs = {False: evaluation, True: training}

    def forward(self, *inputs: Any) -> Any:
        """Device: the inputs → one tensor, or a tuple of several. Server: those → the model's answer."""
        if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)):
            inputs = tuple(inputs[0])
        program = self._programs[self.training]
        if len(inputs) != program.takes:
            raise TypeError(f"this half takes {program.takes} tensor(s) in this mode and was given {len(inputs)}")
        return program.run(self, inputs)

    @property
    def targets(self) -> set[tuple[str, str]]:
        """How and by what name the programs reach into this module."""
        steps = [step for program in self._programs.values() for step in program.steps]
        return {(step.op, step.target) for step in steps if step.op in ("call_module", "get_attr")}


@dataclass(frozen=True)
class Plan:
    """Everything needed to build both halves of this model, or of a clone of it."""

    device: dict[bool, Program]
    """The program for evaluation (False) and for training (True)"""
    server: dict[bool, Program]
    constants: dict[str, Tensor]
    """Tensors that the forward itself makes, by the name its programs use"""

    def halves(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Device and server half around the model's own layers, parameters and buffers."""
        device, server = (Half(programs[False], programs[True]) for programs in (self.device, self.server))
        order = {name: place for place, (name, _) in enumerate(model.named_modules())}
        for half in (device, server):
            half.training = model.training
            # Whole layers first, in the model's order: a weight read directly may belong to one of them.
            for op, name in sorted(half.targets, key=lambda t: (t[0] != "call_module", order.get(t[1], 0), t[1])):
                if op == "get_attr" and name in self.constants:
                    half.register_buffer(name, self.constants[name].clone(), persistent=False)
                else:
                    install(half, model, name)
        install_rest(device, server, model)
        return device, server


def install(half: nn.Module, model: nn.Module, name: str) -> None:
    """Put one of the model's layers or tensors into a half, under the same name."""
    *path, last = name.split(".")
    for part in path:
        model = getattr(model, part)
        child = half._modules.get(part)
        if child is model:
            return  # came with a layer installed whole
        if child is None:
            child = nn.Module()
            child.training = model.training
            half.add_module(part, child)
        half = child
    thing = getattr(model, last)
    if isinstance(thing, nn.Module):
        half.add_module(last, thing)
    elif isinstance(thing, nn.Parameter):
        half.register_parameter(last, thing)
    else:
        half.register_buffer(last, thing, persistent=last in model._buffers.keys() - model._non_persistent_buffers_set)


def install_rest(device: nn.Module, server: nn.Module, model: nn.Module) -> None:
    """Give what neither half uses to the server, and other names of the device's tensors to the device."""
    mine = device.state_dict(keep_vars=True)
    have = mine.keys() | server.state_dict(keep_vars=True).keys()
    on_device = {id(tensor) for tensor in mine.values()}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name not in have and isinstance(tensor, Tensor):
            install(device if id(tensor) in on_device else server, model, name)
