"""A network is the same after every attack: the seal sees any change, the pipeline looks at it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import small
import torch
from small import look, pictures
from torch import nn
from torchvision import models

from unsmash.attacks.base import Attack
from unsmash.attacks.ridge import Ridge
from unsmash.component import discover
from unsmash.data.base import Splits
from unsmash.errors import ChangedError, UnsmashError
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.models.base import state_digest
from unsmash.models.torchvision import Torchvision
from unsmash.pipeline import run
from unsmash.split import SplitModel, cut
from unsmash.threat import Grant
from unsmash.unchanged import require_unchanged, seal
from unsmash.view import View, make_scene, network_of

KINDS = discover("unsmash.attacks", Attack)


def network() -> nn.Module:
    with Lab().seeded("network"):
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2)).eval()


def nudge(net: nn.Module) -> None:
    with torch.no_grad():
        weight = net[0].weight  # type: ignore[index]
        weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "0.weight": nudge,
    "1.running_mean": lambda net: net[1].running_mean.add_(1e-3),  # type: ignore[index]
    "1.num_batches_tracked": lambda net: net[1].num_batches_tracked.add_(1),  # type: ignore[index]
    "mode of 1": lambda net: net[1].train(),  # type: ignore[index]
    "3.bias": lambda net: net[3].register_parameter("bias", None),  # type: ignore[index]
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_seal_sees_the_least_change_and_names_it(what: str) -> None:
    net = network()
    sealed = seal(net)
    require_unchanged(copy.deepcopy(net), sealed, "nobody")
    CHANGES[what](net)
    with pytest.raises(ChangedError, match=rf"^the culprit changed the network.*{what}.*please report it$"):
        require_unchanged(net, sealed, "the culprit")


def test_a_use_without_training_keeps_the_seal_and_one_in_train_mode_breaks_it() -> None:
    net, x = network(), torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    sealed = seal(net)
    net(x)
    require_unchanged(net, sealed, "a use")
    net.train()(x)
    with pytest.raises(ChangedError, match=r"1\.running_mean"):
        require_unchanged(net.eval(), sealed, "a use")


def test_an_attack_that_changes_the_network_fails_the_run(
    plain: Experiment, digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Ridge.run

    def careless(self: Ridge, view: View, lab: Lab) -> torch.Tensor:
        with torch.no_grad():
            next(network_of(view).parameters()).mul_(1 + 1e-6)
        return honest(self, view, lab)

    monkeypatch.setattr(Ridge, "run", careless)
    with pytest.raises(ChangedError, match="the attack ridge changed the network"):
        run(plain, digits, Lab(), name="x")


BACKBONES = {
    "mobilenet_v3_small": (8, "features.1"),
    "efficientnet_b0": (8, "features.1"),
    "resnet18": (8, "layer1"),
    "densenet121": (32, "features.pool0"),
    "vit_b_16": (16, "encoder.layers.encoder_layer_0"),
}
"""Smallest side of the images that each takes, and a cut"""


def backbone(name: str) -> tuple[SplitModel, nn.Module]:
    """A frozen victim with statistics that are not the initial ones, so that a change of them would show."""
    side, at = BACKBONES[name]
    images, _ = pictures((3, side, side), 4)
    victim = Torchvision(name=name)  # type: ignore[call-arg]
    net = victim.build((3, side, side), 10, Lab())
    with torch.no_grad(), Lab().seeded("statistics"):
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
    return cut(net.eval(), at, victim.entry()(images)), net


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_attack_leaves_a_frozen_backbone_to_the_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, net = backbone(name)
    side = BACKBONES[name][0]
    seen, labels = pictures((3, side, side), 6)
    mine, known = pictures((3, side, side), 24, 6)
    trained = pictures((3, side, side), 40, 600)  # what a training in other company is on: few, for time
    monkeypatch.setattr(small, "practice", lambda shape: trained)
    at = make_scene(seen, labels, mine, known, 10, Lab(), training_labels=trained[1])
    before, sealed = state_digest(net), seal(model)
    for kind, attack in KINDS.items():
        tiny = attack.model_validate({"kind": kind, **attack.tiny})
        view = look(model, at, frozenset(Grant), 2)
        refused = (name, kind) == ("vit_b_16", "query_free")  # its class token has no draw of its own to repeat
        with torch.enable_grad(), pytest.raises(UnsmashError, match="class_token") if refused else nullcontext():
            tiny.run(view, Lab())
        require_unchanged(network_of(view), sealed, kind)
        require_unchanged(model, sealed, kind)
        assert state_digest(net) == before, kind
        assert all(parameter.grad is None for parameter in network_of(view).parameters()), kind


def test_smallest_sizes_are_the_smallest() -> None:
    """The sizes above are what the networks take, by torchvision itself; halves of them are refused."""
    for name, side in (("densenet121", 16), ("vit_b_16", 8)):
        extra = {"image_size": side} if name == "vit_b_16" else {}
        with pytest.raises((RuntimeError, AssertionError)):
            models.get_model(name, weights=None, **extra).eval()(torch.zeros(2, 3, side, side))
