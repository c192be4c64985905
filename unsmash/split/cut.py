"""Cut a model at a named layer into a device half and a server half that together compute exactly what it computes.

The path to the layer is traced; where that is not possible the forward is replayed around a hook. Either way the halves
are run beside the model before they are handed out, and refused when anything differs.
"""

from __future__ import annotations

from torch import Tensor, nn

from unsmash.split.halves import Plan
from unsmash.split.model import SplitModel, as_tuple
from unsmash.split.partition import divide
from unsmash.split.sandbox import SIZES, Inputs, batch, structural_clone
from unsmash.split.trace import Recorder
from unsmash.split.verify import verify


def cut(model: nn.Module, at: str, example: Tensor | tuple[Tensor, ...]) -> SplitModel:
    """Split a model behind the layer called `at`."""
    inputs = as_tuple(example)
    plan = trace_plan(model, at, inputs)
    verify(plan, model, inputs, at)
    device, server = plan.halves(model)
    split = SplitModel(device, server, at=at)
    for module in (split, split.shield):
        module.training = model.training
    return split


def trace_plan(model: nn.Module, at: str, inputs: Inputs) -> Plan:
    constants: dict[str, Tensor] = {}
    parts = {}
    for mode in (False, True):
        clone = structural_clone(model).train(mode)
        recorder = Recorder(
            (batch(inputs, SIZES[0]), batch(inputs, SIZES[1])),
            lambda name, _: not at.startswith(name + "."),
            watch=at,
            constants=constants,
        )
        graph = recorder.record(clone)
        (call,) = [call for call in recorder.calls if call.name == at]
        parts[mode] = divide(list(graph.nodes), call)
    return Plan({m: p[0] for m, p in parts.items()}, {m: p[1] for m, p in parts.items()}, constants)
