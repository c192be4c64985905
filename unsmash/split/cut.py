"""Cut a model at a named layer into a device half and a server half that together compute exactly what it computes.

The path to the layer is traced; where that is not possible the forward is replayed around a hook. Either way the halves
are run beside the model before they are handed out, and refused when anything differs.
"""

from __future__ import annotations

from torch import Tensor, fx, nn

from unsmash.errors import CutError
from unsmash.split import refusals, replay
from unsmash.split.halves import Plan
from unsmash.split.model import SplitModel, as_tuple
from unsmash.split.partition import Crossing, RawInputError, crossing, divide
from unsmash.split.replay import Survey
from unsmash.split.sandbox import SIZES, Inputs, batch, structural_clone
from unsmash.split.trace import Recorder
from unsmash.split.verify import Halving, MismatchError, verify


def cut(model: nn.Module, at: str, example: Tensor | tuple[Tensor, ...]) -> SplitModel:
    """Split a model behind the layer called `at`: device(x) → what crosses, server(what crosses) → model(x).

    `example` is a batch [n, c, h, w] of images, or a tuple with one such batch per positional input; n may be 1, and
    the halves take any batch size. The halves share layers, weights and buffers with `model`, under the same names;
    both modes work, and the mode is that of `model` when cut. `notes` of the result says what the user should know.

    Raises CutError, with the nearest names that would do, when there is no such layer, it does not run exactly once, an
    input would cross as it is, or the halves do not reproduce outputs, gradients and buffers in both modes.
    """
    inputs = as_tuple(example)
    name = _canonical(model, at, inputs)
    surveys = _surveys(model, name, inputs)
    try:
        plan, notes = _traced(model, name, inputs)
    except RawInputError as error:
        raise refusals.raw_input(model, name, inputs) from error
    except Exception as error:  # whatever a model's code does on stand-ins; the replay is the answer to all of it
        plan, notes = _replayed(model, name, inputs, surveys, error)
    device, server = plan.halves(model)
    split = SplitModel(device, server, at=at)
    for module in (split, *split.shield.modules()):
        module.training = model.training
    split.notes = (*notes, *_shared(device, server))
    return split


def _canonical(model: nn.Module, at: str, inputs: Inputs) -> str:
    """The first name of the module, where it has several."""
    try:
        layer = model.get_submodule(at)
    except AttributeError:
        raise refusals.no_such_layer(model, at, inputs) from None
    if layer is model:
        raise refusals.no_such_layer(model, at, inputs)
    return next(name for name, module in model.named_modules() if module is layer)


def _surveys(model: nn.Module, at: str, inputs: Inputs) -> dict[bool, Survey]:
    """One real forward per mode, in which the layer must run once."""
    surveys = {}
    for mode in (False, True):
        word = "train" if mode else "eval"
        try:
            surveys[mode] = replay.survey(model, at, inputs, mode)
        except Exception as error:
            raise refusals.does_not_run(model, word, error) from error
        times = len(surveys[mode].outputs)
        if times == 0:
            raise refusals.never_ran(model, at, inputs, word)
        if times > 1:
            raise refusals.runs_often(model, at, inputs, times)
    return surveys


def _traced(model: nn.Module, at: str, inputs: Inputs) -> tuple[Halving, list[str]]:
    """Both modes' programs from the path to the layer, verified."""
    constants: dict[str, Tensor] = {}
    parts, notes = {}, []
    for mode in (False, True):
        recorder = Recorder(
            (batch(inputs, SIZES[0]), batch(inputs, SIZES[1])),
            lambda name, _: not at.startswith(name + "."),
            watch=at,
            constants=constants,
        )
        nodes = list(recorder.record(structural_clone(model).train(mode)).nodes)
        parts[mode] = divide(nodes, next(call for call in recorder.calls if call.name == at))
        if not mode and len(parts[mode][2].nodes) > 1:
            notes.append(_several(at, parts[mode][2], recorder, nodes))
    counts = {mode: len(found.nodes) for mode, (_, _, found) in parts.items()}
    if counts[False] != counts[True]:
        notes.append(f"{counts[True]} tensor(s) cross at {at!r} in training, {counts[False]} at inference.")
    plan = Plan(
        {mode: device for mode, (device, _, _) in parts.items()},
        {mode: server for mode, (_, server, _) in parts.items()},
        constants,
    )
    verify(plan, model, inputs, at)
    return plan, notes


def _replayed(
    model: nn.Module, at: str, inputs: Inputs, surveys: dict[bool, Survey], why: Exception
) -> tuple[Halving, list[str]]:
    """The replay around the layer, verified, or the refusal."""
    try:
        plan = replay.replay_plan(model, at, inputs, surveys)
        verify(plan, model, inputs, at)
    except Exception as error:  # fake tensors refuse in many ways, and each of them means no
        if isinstance(why, MismatchError):
            raise why from error
        raise refusals.cannot_follow(model, at, inputs, why, error) from error
    return plan, [f"{at!r}: {replay.NOTE}."]


def _several(at: str, found: Crossing, recorder: Recorder, nodes: list[fx.Node]) -> str:
    """The note on several crossing tensors, with the smallest block around the layer where one does."""
    sizes = " + ".join(f"{size:,}" for size in found.sizes)
    note = f"{len(found.nodes)} tensors cross at {at!r} ({sizes} bytes per image)"
    for call in recorder.calls:
        if at.startswith(call.name + "."):
            try:
                around = crossing(nodes, call)
            except CutError:
                continue
            if len(around.nodes) == 1:
                return f"{note}; a cut at {call.name!r} sends one of {around.sizes[0]:,} bytes."
    return f"{note}."


def _shared(device: nn.Module, server: nn.Module) -> list[str]:
    """The note on weights that both halves hold."""
    mine = {id(parameter) for parameter in device.parameters()}
    both = [name for name, parameter in server.named_parameters() if id(parameter) in mine]
    if not both:
        return []
    return [f"both halves use {', '.join(map(repr, both[:3]))}{' …' if len(both) > 3 else ''}: train them together."]
