"""The victim of an audit: a model built, cut, armed with its defences and trained, once for every setting that matters.

The trained weights are kept under the hash of all they depend on, so ten attacks on one victim train it once; without a
defence the cut does not change the training, so ten cuts share it too.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from unsmash import keeping, last_layer
from unsmash.curves import TARGET, Curve, Listener, thinned
from unsmash.data.base import Splits
from unsmash.defences.base import Trainer
from unsmash.errors import ConfigError, UnsmashError
from unsmash.events import Fan
from unsmash.experiment import Experiment, digest
from unsmash.lab import Lab
from unsmash.models.base import state_digest
from unsmash.plain import build as rebuild
from unsmash.split import (
    Candidate,
    Fitting,
    Shield,
    Shields,
    Site,
    Smashed,
    SplitModel,
    as_tuple,
    candidates,
    cut,
)
from unsmash.split.train import Training, train

TRAINED = "the same trained network"
"""What others wait for while one process makes it"""


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
    curves: tuple[Curve, ...] = ()
    """How the training went, when it was done"""


def prepare(
    experiment: Experiment, splits: Splits, lab: Lab, cache: Path | None, *, module: nn.Module | None = None
) -> Victim:
    """Build, cut, arm and train (or take from the cache) the model of an experiment.

    Raises:
        CutError: the model cannot be cut there. ConfigError: the model does not fit the data.
        TrainingError: the training was not finite.
    """
    net = build(experiment, splits, lab, module=module)
    notes = () if module is not None else experiment.model.remarks(net)
    net, replaced = experiment.adapted(net)
    entry = experiment.model.entry()
    start = state_digest(net)
    model = split(net, entry, experiment.at, splits)
    model.notes += notes + replaced
    layers = arm(experiment, model, splits, lab)
    plan = experiment.train.model_copy(update={"epochs": experiment.epochs()})
    first = early(experiment) if plan.epochs else []
    key, stages = victim_key(experiment, splits, start), Stages(net, model, layers, splits, lab)
    file = _file(cache, key) if plan.epochs or layers else None
    if plan.epochs or layers:
        with keeping.alone(None if _there(file) else file, lab, TRAINED):
            if file and _there(file):
                stages.heard.curves = _load(net, layers, file)
            else:
                trained = _file(cache, victim_key(experiment, splits, start, first)) if plan.epochs else None
                _make(experiment, stages, plan, first, file, trained)
    cached = bool(file and file.is_file()) and not stages.worked
    model.shield = Shields(layers)
    model.notes += tuple(note for layer in layers if (note := layer.note()))
    return Victim(model.to(lab.device).eval(), net, entry, key, cached, thinned(stages.heard.curves))


def _make(
    experiment: Experiment, stages: Stages, plan: Training, first: list[int], file: Path | None, trained: Path | None
) -> None:
    """Train with the defences that take part, unless that is kept already, and fit the others; keep both."""
    net, layers = stages.net, stages.layers
    with keeping.alone(trained if trained != file and not _there(trained) else None, stages.lab, TRAINED):
        if trained and trained != file and _there(trained):
            stages.heard.curves = _load(net, layers, trained)
        elif plan.epochs:
            _require_labels(stages.splits, net, experiment.model.entry())
            stages.train(first, plan, _trainer(experiment))
            if trained:
                _save(net, [layers[place] for place in first], first, stages.heard.curves, trained)
    stages.fit([place for place in range(len(layers)) if place not in first], trained=True)
    if file and file != trained:
        _save(net, layers, range(len(layers)), stages.heard.curves, file)


def early(experiment: Experiment) -> list[int]:
    """The places of the defences that take part in the training."""
    return [place for place, one in enumerate(experiment.defences) if one.when == "always"]


def arm(experiment: Experiment, model: SplitModel, splits: Splits, lab: Lab) -> list[Shield]:
    """A shield for each defence, each armed for what leaves the one before it."""
    z, layers = crossing(model, splits), []
    for index, defence in enumerate(experiment.defences):
        site = Site(tuple(tuple(part.shape[1:]) for part in z), splits.input_shape, len(splits.classes))
        layer = defence.arm(site, lab.at(f"defence/{index}")).eval()
        with torch.no_grad(), lab.seeded("arming"):
            z = layer(z)
        layers.append(layer)
    return layers


def _trainer(experiment: Experiment) -> Trainer:
    own = [trainer for defence in experiment.defences if (trainer := defence.trainer()) is not None]
    return own[0] if own else train


@dataclass
class Stages:
    """Training with some of the layers, then fitting the others to the trained network."""

    net: nn.Module
    model: SplitModel
    layers: list[Shield]
    splits: Splits
    lab: Lab
    worked: bool = False
    """Something was trained or fitted here"""
    heard: Listener = field(default_factory=lambda: Listener(TARGET))
    """How the training went"""

    def train(self, places: list[int], plan: Training, trainer: Trainer) -> None:
        """Train the network with these layers in place; what they must know before comes first."""
        self.model.to(self.lab.device).eval()
        self.model.shield = Shields(self.layers[place] for place in places)
        self.fit(places, trained=False)
        with _only_head(self.net, plan, len(self.splits.classes)):
            fit, held = self.splits.train, self.splits.val
            lab = replace(self.lab, sink=Fan((self.lab.sink, self.heard))).at("victim")
            trainer(self.model, fit.pixels, fit.labels, plan, lab, (held.pixels, held.labels))
        self.model.eval()
        for place in places:
            self._with(place, [other for other in places if other < place], trained=True, learning=False)
        self.worked = True

    def fit(self, places: list[int], *, trained: bool) -> None:
        """Let each of these layers learn what it must know, in order; all before it stand already."""
        self.model.to(self.lab.device).eval()
        for place in places:
            before = [other for other in range(place) if trained or other in places]
            self._with(place, before, trained=trained, learning=True)
            if trained:
                self._with(place, before, trained=True, learning=False)
            self.worked = True

    def _with(self, place: int, before: list[int], *, trained: bool, learning: bool) -> None:
        """Fit one layer behind these, or settle it."""
        lab, layers = self.lab.at(f"fit/{place}"), [self.layers[other] for other in before]
        layer = self.layers[place].to(self.lab.device)
        with lab.seeded("fit" if learning else "settle"), _frozen(self.model, *layers, only=trained):
            (layer.fit if learning else layer.settle)(self._fitting(layers, trained, lab))
        layer.eval()

    def _fitting(self, before: list[Shield], trained: bool, lab: Lab) -> Fitting:
        stack = Shields(before)
        return Fitting(
            images=self.splits.train.pixels,
            labels=self.splits.train.labels,
            entering=lambda x: stack.quiet(self.model.smash(x.to(lab.device))),
            answer=lambda z: self.model.serve(stack.receive(z)),
            trained=trained,
            lab=lab,
        )


@contextlib.contextmanager
def _frozen(*modules: nn.Module, only: bool) -> Iterator[None]:
    """The parameters of these modules take no gradients meanwhile."""
    held = [p for module in modules for p in module.parameters() if p.requires_grad] if only else []
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def _only_head(net: nn.Module, plan: Training, classes: int) -> Iterator[None]:
    """Where the plan is for the head alone, no other parameter of the network takes gradients meanwhile."""
    name, layer = last_layer.find(net) if plan.part == "head" else ("", None)
    if layer is not None and last_layer.answers(layer) != classes:
        allowed = f"all, because the network's last layer, {name}, does not answer for the data's {classes} classes"
        raise ConfigError("train.part", got="head", allowed=allowed)
    others = [module for path, module in net.named_modules() if path != name and layer is not None]
    held = [p for module in others for p in module.parameters(recurse=False) if p.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def build(experiment: Experiment, splits: Splits, lab: Lab, *, module: nn.Module | None = None) -> nn.Module:
    """The network with its starting weights, before any cut."""
    if module is not None:
        return copy.deepcopy(module)
    return experiment.model.build(splits.input_shape, len(splits.classes), lab.at("victim"))


def split(net: nn.Module, entry: nn.Module | None, at: str, splits: Splits) -> SplitModel:
    """Cut the network, with its normalisation as the device half's first layer."""
    example = splits.train.pixels[:2].to(place_of(net))
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
    return candidates(net, _entered(entry, example.to(place_of(net))))


def _entered(entry: nn.Module | None, x: Tensor) -> Tensor:
    """Images as the network itself gets them."""
    entered: Tensor = entry(x) if entry is not None else x
    return entered


def victim_key(experiment: Experiment, splits: Splits, start: str, places: Sequence[int] | None = None) -> str:
    """Hash of everything the trained weights depend on; with places, of the training with those defences alone."""
    plain = experiment.canonical()
    chosen = range(len(experiment.defences)) if places is None else places
    defences = [experiment.defences[place] for place in chosen]
    defended = bool(defences)
    return digest(
        {
            "data": splits.report.fingerprint,
            "model": plain["model"],
            "start": start,
            "train": plain["train"] | {"epochs": experiment.epochs()},
            "defences": [plain["defences"][place] for place in chosen],
            "streams": list(chosen),
            "revisions": [type(part).revision for part in (experiment.model, *defences)],
            "at": experiment.at if defended else "",
            "seed": experiment.seed,
            "torch": torch.__version__,
        }
    )[:24]


def training_keys(
    experiment: Experiment, splits: Splits, lab: Lab, *, module: nn.Module | None = None
) -> tuple[str, ...]:
    """The keys under which the trainings are kept that an audit of this experiment rests on: with those defences that
    take part in it, and without any; none where the model is taken as it is.
    """
    if not experiment.epochs():
        return ()
    bare = experiment.model_copy(update={"defences": ()})
    net = build(experiment, splits, lab, module=module)
    keys = [victim_key(bare, splits, state_digest(net))]
    if first := early(experiment):
        adapted, _ = experiment.adapted(net)
        keys.append(victim_key(experiment, splits, state_digest(adapted), first))
    return tuple(keys)


def crossing(model: SplitModel, splits: Splits) -> Smashed:
    """Smashed data of two training images, on the CPU."""
    was = model.training
    model.eval()
    with torch.no_grad():
        z = tuple(part.cpu() for part in as_tuple(model.device(splits.train.pixels[:2].to(place_of(model)))))
    model.train(was)
    return z


def place_of(model: nn.Module) -> torch.device:
    """Where a model's parameters lie."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


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


def _file(cache: Path | None, key: str) -> Path | None:
    return cache / "victims" / f"{key}.safetensors" if cache else None


def _there(file: Path | None) -> bool:
    return file is not None and file.is_file()


def _save(net: nn.Module, layers: Sequence[Shield], places: Sequence[int], curves: Sequence[Curve], file: Path) -> None:
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    for place, layer in zip(places, layers, strict=True):
        state |= {f"shield.{place}.{name}": tensor for name, tensor in layer.state_dict().items()}
    keeping.save(file, state, {"curves": json.dumps([asdict(curve) for curve in curves])})


def _load(net: nn.Module, layers: Sequence[Shield], file: Path) -> list[Curve]:
    """The network's weights, and the state of each layer that has been stored; gives how the training went."""
    state, told = keeping.load(file)
    for prefix, part in (("net.", net), *((f"shield.{place}.", layer) for place, layer in enumerate(layers))):
        mine = {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
        if mine or part is net:
            part.load_state_dict(mine)
    return [rebuild(Curve, curve) for curve in json.loads(told.get("curves", "[]"))]
