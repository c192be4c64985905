"""The sentences of CutError: what stands in the way, and the nearest names that would do."""

from __future__ import annotations

from torch import nn

from unsmash.errors import CutError, nearest
from unsmash.split.candidates import Candidate, candidates
from unsmash.split.proxy import BranchError
from unsmash.split.sandbox import Inputs

LISTING = "`unsmash cuts` lists them all."


def no_such_layer(model: nn.Module, at: str, inputs: Inputs) -> CutError:
    """The name is not one of the model's."""
    names = [name for name, _ in model.named_modules() if name]
    close = nearest(at, names) or near(model, at, inputs)
    return CutError(f"{type(model).__name__} has no layer {at!r}. Closest: {listed(close)}. {LISTING}")


def never_ran(model: nn.Module, at: str, inputs: Inputs, mode: str) -> CutError:
    """The layer exists, but a forward in this mode never calls it."""
    layer = model.get_submodule(at)
    owners = [".".join(at.split(".")[:i]) for i in range(at.count("."), 0, -1)]
    composite = next((o for o in owners if isinstance(model.get_submodule(o), nn.MultiheadAttention)), None)
    if isinstance(layer, (nn.ModuleList, nn.ModuleDict)):
        why = f"{at!r} only holds layers and is never called itself"
    elif composite is not None:
        why = f"{at!r} is never called: nn.MultiheadAttention ({composite!r}) reads its weight directly"
    else:
        why = f"{at!r} exists but does not run in {mode} mode, so there is no place behind it"
    return CutError(f"{why}. {_instead(model, at, inputs)}")


def runs_often(model: nn.Module, at: str, inputs: Inputs, times: int) -> CutError:
    """The layer is called several times in one forward."""
    return CutError(
        f"{at!r} runs {times} times in one forward, and a cut is one place. "
        f"{_instead(model, at, inputs, 'that runs once')}"
    )


def raw_input(model: nn.Module, at: str, inputs: Inputs) -> CutError:
    """Behind the layer the model still needs one of its inputs."""
    return CutError(
        f"{at!r} does not separate the model from its input: an input would cross as it is, and nothing "
        f"would be private. {_instead(model, at, inputs, after=True)}"
    )


def cannot_follow(model: nn.Module, at: str, inputs: Inputs, why: Exception, replay: Exception) -> CutError:
    """Neither the trace nor the replay worked."""
    if isinstance(why, BranchError):
        line = f"{why.where} chooses its way by {'the images' if why.data else 'the batch size'} (`{why.code}`)"
        if at in why.ran:
            problem, remedy = f"behind it, {line}, and more than its own output is needed there", "Cut where it is not"
        else:
            problem, remedy = f"in front of it, {line}", "Cut before that line"
        names = near(model, at, inputs)
        return CutError(
            f"{at!r} cannot be cut: {problem}. {remedy}{f' ({listed(names)})' if names else ''}, or move the line into "
            f"a module of its own, which is then kept whole."
        )
    reason = str(why).strip().splitlines() or [type(why).__name__]
    return CutError(
        f"{at!r} cannot be cut: the forward of {type(model).__name__} could not be followed "
        f"({type(why).__name__}: {reason[0]}), nor replayed ({type(replay).__name__}). {_instead(model, at, inputs)}"
    )


def does_not_run(model: nn.Module, mode: str, why: Exception) -> CutError:
    """The model itself fails on the example."""
    return CutError(f"{type(model).__name__} does not run on the example in {mode} mode: {type(why).__name__}: {why}")


def near(model: nn.Module, at: str, inputs: Inputs, *, after: bool = False, count: int = 3) -> list[str]:
    """Names of cuts where one tensor crosses, nearest to `at` in the model's order first."""
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    try:
        rows: list[Candidate] = candidates(model, inputs)
    except CutError:
        return []
    here = order.get(at, 0)
    names = [row.name for row in rows if row.single and row.name != at]
    names = [name for name in names if not after or order[name] > here]
    return sorted(names, key=lambda name: (abs(order[name] - here), order[name]))[:count]


def listed(names: list[str]) -> str:
    """Names in a sentence."""
    return ", ".join(repr(name) for name in names) or "none"


def _instead(model: nn.Module, at: str, inputs: Inputs, which: str = "", *, after: bool = False) -> str:
    names = near(model, at, inputs, after=after)
    if not names:
        return LISTING.replace("them all", "the cuts of a model")
    return f"Cut at a layer {which + ', ' if which else ''}such as {listed(names)}."
