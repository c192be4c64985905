"""The victim of an audit: a model built, cut, armed with its defences and trained, once for every setting that matters.

The trained weights are kept under the hash of all they depend on, so ten attacks on one victim train it once; without a
defence the cut does not change the training, so ten cuts share it too.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from unsmash.data.base import Splits
from unsmash.errors import ConfigError, CutError, UnsmashError
from unsmash.experiment import Experiment, digest
from unsmash.lab import Lab
from unsmash.models.base import state_digest
from unsmash.records import SplitRecord
from unsmash.split import Candidate, Shields, SplitModel, as_tuple, candidates, cut
from unsmash.split.train import train


@dataclass(frozen=True)
class Victim:
    """A split model ready to be attacked."""

    model: SplitModel
    net: nn.Module
    """The whole network; shares its parameters with both halves"""
    entry: nn.Module | None
    """Normalisation in front of the network"""
    key: str
    """Hash of everything the weights depend on"""
    cached: bool
    """The training was taken from the cache"""


def prepare(
    experiment: Experiment, splits: Splits, lab: Lab, cache: Path | None, *, module: nn.Module | None = None
) -> Victim:
    """Build, cut, arm and train (or take from the cache) the model of an experiment.

    Raises:
        CutError: the model cannot be cut there. ConfigError: the model does not fit the data.
        TrainingError: the training was not finite.
    """
    net = build(experiment, splits, lab, module=module)
    entry = experiment.model.entry()
    start = state_digest(net)
    model = split(net, entry, experiment.at, splits)
    shapes = tuple(tuple(part.shape[1:]) for part in _smashed(model, splits))
    model.shield = Shields(
        defence.arm(shapes, splits.input_shape, lab.at(f"defence/{index}"))
        for index, defence in enumerate(experiment.defences)
    )
    key = victim_key(experiment, splits, start)
    plan = experiment.train.model_copy(update={"epochs": experiment.epochs()})
    if plan.epochs == 0:
        return Victim(model.to(lab.device).eval(), net, entry, key, cached=False)
    file = cache / "victims" / f"{key}.safetensors" if cache else None
    if file and file.is_file():
        _load(net, model, file)
        return Victim(model.to(lab.device).eval(), net, entry, key, cached=True)
    _require_labels(splits, net, entry)
    train(model, splits.train.pixels, splits.train.labels, plan, lab.at("victim"))
    if file:
        _save(net, model, file)
    return Victim(model, net, entry, key, cached=False)


def build(experiment: Experiment, splits: Splits, lab: Lab, *, module: nn.Module | None = None) -> nn.Module:
    """The network with its starting weights, before any cut."""
    if module is not None:
        return copy.deepcopy(module)
    return experiment.model.build(splits.input_shape, len(splits.classes), lab.at("victim"))


def split(net: nn.Module, entry: nn.Module | None, at: str, splits: Splits) -> SplitModel:
    """Cut the network, with its normalisation as the device half's first layer."""
    example = splits.train.pixels[:2]
    if not at:
        names = ", ".join(row.name for row in places(net, entry, example) if row.single)
        raise ConfigError("at", got="nothing", allowed=f"a layer's name, such as: {names}", hint="Write --at LAYER")
    model = cut(net, at, _entered(entry, example))
    if entry is not None:
        device = nn.Sequential(OrderedDict(entry=entry, net=model.device))
        notes = model.notes
        model = SplitModel(device, model.server, at=at)
        model.notes = notes
    return model


def places(net: nn.Module, entry: nn.Module | None, example: Tensor) -> list[Candidate]:
    """Where a network behind its normalisation can be cut; the example is images [n, c, h, w] in [0, 1]."""
    return candidates(net, _entered(entry, example))


def _entered(entry: nn.Module | None, x: Tensor) -> Tensor:
    """Images as the network itself gets them."""
    entered: Tensor = entry(x) if entry is not None else x
    return entered


def victim_key(experiment: Experiment, splits: Splits, start: str) -> str:
    """Hash of everything the trained weights depend on."""
    defended = bool(experiment.defences)
    plain = experiment.canonical()
    return digest(
        {
            "data": splits.report.fingerprint,
            "model": plain["model"],
            "start": start,
            "train": plain["train"] | {"epochs": experiment.epochs()},
            "defences": plain["defences"],
            "revisions": [type(part).revision for part in (experiment.model, *experiment.defences)],
            "at": experiment.at if defended else "",
            "seed": experiment.seed,
            "torch": torch.__version__,
        }
    )[:24]


def describe(victim: Victim, experiment: Experiment, splits: Splits) -> SplitRecord:
    """What crosses the cut and what the device must carry."""
    z = _smashed(victim.model, splits)
    shapes = tuple(tuple(part.shape[1:]) for part in z)
    with torch.no_grad():
        sent = victim.model.shield(z)
    earlier, later = neighbours(victim, experiment.at, splits)
    return SplitRecord(
        earlier=earlier,
        later=later,
        model=experiment.model.label(),
        at=experiment.at,
        shapes=shapes,
        bytes_sent=sum(part[0].numel() * part.element_size() for part in sent),
        bytes_input=splits.train.pixels[0].numel(),
        device_parameters=_count(victim.model.device),
        server_parameters=_count(victim.model.server),
        device_macs=macs(victim.model.device, splits.train.pixels[:1]),
        defences=tuple(defence.label() for defence in experiment.defences),
        stochastic=victim.model.shield.stochastic,
        notes=victim.model.notes,
    )


def neighbours(victim: Victim, at: str, splits: Splits) -> tuple[str, str]:
    """The next shallower and the next deeper place where one tensor of another size crosses, logits left out."""
    try:
        rows = places(victim.net, victim.entry, splits.train.pixels[:2])
    except CutError:  # a forward that branches on data can be cut, though not listed
        return "", ""
    here = next((index for index, row in enumerate(rows) if at in (row.name, *row.aliases)), None)
    if here is None:
        return "", ""
    others = [(index, row) for index, row in enumerate(rows[:-1]) if row.single and row.bytes != rows[here].bytes]
    before = [row.name for index, row in others if index < here and row.device_parameters]
    after = [row.name for index, row in others if index > here]
    return (before[-1] if before else ""), (after[0] if after else "")


def macs(module: nn.Module, image: Tensor) -> int:
    """Multiply-adds of one forward pass, half the floating-point operations that torch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused attention path is not counted
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(image.to(next((p.device for p in module.parameters()), image.device)))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops()) // 2


def _smashed(model: SplitModel, splits: Splits) -> tuple[Tensor, ...]:
    was = model.training
    model.eval()
    with torch.no_grad():
        place = next((p.device for p in model.parameters()), torch.device("cpu"))
        z = as_tuple(model.device(splits.train.pixels[:2].to(place)))
    model.train(was)
    return z


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _require_labels(splits: Splits, net: nn.Module, entry: nn.Module | None) -> None:
    labels = splits.train.labels
    if labels.min() < 0:
        raise UnsmashError("the training images have no labels, so the model cannot be trained: set train.epochs=0")
    net.eval()
    with torch.no_grad():
        logits = net(_entered(entry, splits.train.pixels[:2]))
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] <= int(labels.max()):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(
            "model", got=f"outputs {shape}", allowed=f"logits [n, {len(splits.classes)}] for the data's classes"
        )


def _save(net: nn.Module, model: SplitModel, file: Path) -> None:
    from safetensors.torch import save_file

    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    state |= {f"shield.{name}": tensor for name, tensor in model.shield.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{id(net)}.partial")
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}, str(partial))
    partial.replace(file)


def _load(net: nn.Module, model: SplitModel, file: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(str(file))
    for prefix, part in (("net.", net), ("shield.", model.shield)):
        mine = {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
        part.load_state_dict(mine)
