"""Published architectures, each cut early, in the middle, late and inside a block, without any difference."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from zoo import gap, images

from unsmash.split import cut

Make = Callable[[], nn.Module]


def vision(name: str, **settings: Any) -> Make:
    """A torchvision model with random weights."""
    return lambda: getattr(torchvision.models, name)(weights=None, num_classes=10, **settings)


def timm_model(name: str, **settings: Any) -> Make:
    """A timm model with random weights; the test is skipped where timm is missing."""

    def make() -> nn.Module:
        timm = pytest.importorskip("timm", reason="timm is not installed")
        return timm.create_model(name, pretrained=False, num_classes=10, **settings)

    return make


def vgg() -> nn.Module:
    """VGG-11 with a small classifier: its own has 120 million weights and nothing of interest here."""
    model = torchvision.models.vgg11_bn(weights=None)
    model.classifier = nn.Sequential(nn.Linear(512 * 49, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 10))
    return model


def vit() -> nn.Module:
    """A vision transformer, narrow and four layers deep."""
    return torchvision.models.VisionTransformer(32, 8, 4, 4, 64, 128, num_classes=10)


def maxvit() -> nn.Module:
    """MaxViT, three blocks."""
    return torchvision.models.MaxVit(
        input_size=(64, 64),
        stem_channels=16,
        partition_size=2,
        block_channels=[16, 32],
        block_layers=[1, 2],
        head_dim=8,
        stochastic_depth_prob=0.1,
        num_classes=10,
    )


QUICK: dict[str, tuple[Make, int]] = {
    "resnet18": (vision("resnet18"), 32),
    "mobilenet_v3_small": (vision("mobilenet_v3_small"), 32),
    "shufflenet_v2_x0_5": (vision("shufflenet_v2_x0_5"), 32),
    "squeezenet1_1": (vision("squeezenet1_1"), 32),
}
SLOW: dict[str, tuple[Make, int]] = {
    "resnet50": (vision("resnet50"), 32),
    "vgg11_bn": (vgg, 32),
    "mobilenet_v2": (vision("mobilenet_v2"), 32),
    "efficientnet_b0": (vision("efficientnet_b0"), 32),
    "densenet121": (vision("densenet121"), 32),
    "googlenet": (vision("googlenet", init_weights=False), 64),
    "inception_v3": (vision("inception_v3", init_weights=False, aux_logits=False), 80),
    "mnasnet0_5": (vision("mnasnet0_5"), 32),
    "regnet_y_400mf": (vision("regnet_y_400mf"), 32),
    "convnext_tiny": (vision("convnext_tiny"), 32),
    "swin_t": (vision("swin_t"), 32),
    "swin_v2_t": (vision("swin_v2_t"), 32),
    "vit": (vit, 32),
    "maxvit": (maxvit, 64),
    "deit_tiny": (timm_model("deit_tiny_patch16_224", img_size=32, drop_path_rate=0.1), 32),
    "mixer": (timm_model("mixer_s32_224", img_size=64), 64),
    "hrnet": (timm_model("hrnet_w18_small"), 64),
    "mobilevit": (timm_model("mobilevit_xxs"), 64),
    "repvgg": (timm_model("repvgg_a0"), 32),
    "efficientformer": (timm_model("efficientformer_l1"), 224),
    "res2net": (timm_model("res2net50_14w_8s"), 32),
    "ghostnet": (timm_model("ghostnet_050"), 32),
    "xcit": (timm_model("xcit_nano_12_p16_224", img_size=32, drop_path_rate=0.2), 32),
    "poolformer": (timm_model("poolformer_s12", drop_path_rate=0.2), 32),
    "edgenext": (timm_model("edgenext_xx_small"), 64),
    "coat": (timm_model("coat_tiny", img_size=32), 32),
    "fastvit": (timm_model("fastvit_t8"), 64),
    "pvt_v2": (timm_model("pvt_v2_b0"), 32),
    "dla": (timm_model("dla34"), 32),
    "cait": (timm_model("cait_xxs24_224", img_size=32), 32),
}


def places(model: nn.Module, x: Tensor) -> list[str]:
    """Four layers that run once: blocks at a sixth, a half and five sixths of the way, and a layer inside a block."""
    calls: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda module, args, output: calls.append(name)

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    once = [name for name in calls if calls.count(name) == 1]
    inner = [name for name in once if isinstance(model.get_submodule(name), (nn.Conv2d, nn.Linear)) and "." in name]
    blocks = [name for name in once if any(child in once for child, _ in children(model, name))]
    return [
        blocks[len(blocks) // 6],
        blocks[len(blocks) // 2],
        blocks[len(blocks) * 5 // 6],
        inner[len(inner) * 2 // 3],
    ]


def children(model: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    """The modules inside one, by full name."""
    return [(f"{name}.{inner}", module) for inner, module in model.get_submodule(name).named_modules() if inner]


def check(make: Make, size: int) -> None:
    """Cut at four places; each time outputs, gradients and buffers must be equal to the last bit."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(0)
        warnings.simplefilter("ignore")  # of a library about its own constructors
        model = make().eval()
        at = places(model, images(2, size))
    assert len(set(at)) >= 3
    for name in at:
        split = cut(model, name, images(1, size))
        assert not any("replay" in note for note in split.notes), name
        assert gap(model, split, (images(3, size),), train=False) == 0, name
        assert gap(model, split, (images(2, size),), train=True) == 0, name


@pytest.mark.parametrize("name", QUICK)
def test_architecture_cuts_exactly(name: str) -> None:
    check(*QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_larger_architecture_cuts_exactly(name: str) -> None:
    check(*SLOW[name])


def test_there_are_enough_architectures() -> None:
    assert len(QUICK) + len(SLOW) >= 30
