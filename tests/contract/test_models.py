"""What every model keeps, and the facts of the published networks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unsmash.component import discover
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.models.base import Model, state_digest
from unsmash.split import SplitModel, cut

KINDS = discover("unsmash.models", Model)
every = pytest.mark.parametrize("kind", KINDS)

FITTING = {"omniglot_cnn": (1, 105, 105), "torchvision": (3, 64, 64)}
"""Smallest usual images of the networks that do not take digits of 16 × 16"""

SMALLEST = {"le_net": 6, "splitnn": 6, "pysyft_cnn": 16, "small_resnet": 16, "omniglot_cnn": 105, "cifar_cnn": 8}


def shape_of(kind: str) -> tuple[int, int, int]:
    return FITTING.get(kind, (1, 16, 16))


def images(shape: tuple[int, ...], count: int = 2) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def made(tmp_path: Path, kind: str) -> Model:
    """Each kind at its tiny settings; a user's own one through a file."""
    if kind != "own":
        return KINDS[kind].model_validate({"kind": kind, **KINDS[kind].tiny})
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n"
        "def make(classes, input_shape):\n"
        "    numbers = input_shape[0] * input_shape[1] * input_shape[2]\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(numbers, 16), nn.ReLU(), nn.Linear(16, classes))\n"
    )
    return KINDS[kind].model_validate({"kind": kind, "path": str(file), "factory": "make"})


def whole(model: Model, shape: tuple[int, ...], classes: int = 7, seed: int = 0) -> nn.Module:
    net = model.build(shape, classes, Lab(seed=seed))
    entry = model.entry()
    return (nn.Sequential(entry, net) if entry is not None else net).eval()


@every
def test_it_maps_images_to_logits(kind: str, made: Model) -> None:
    with torch.no_grad():
        logits = whole(made, shape_of(kind))(images(shape_of(kind), 3))
    assert logits.shape == (3, 7)
    assert logits.isfinite().all()
    assert logits.std() > 0


@every
def test_its_usual_cut_exists(kind: str, made: Model) -> None:
    net = made.build(shape_of(kind), 7, Lab())
    assert bool(made.default_cut) == (kind not in ("own", "torchvision"))
    if made.default_cut:
        model = cut(net.eval(), made.default_cut, images(shape_of(kind)))
        with torch.no_grad():
            x = images(shape_of(kind), 3)
            assert torch.equal(model(x), net(x))
            assert len(model.smash(x)) == 1


@every
def test_the_seed_decides_its_weights(kind: str, made: Model) -> None:
    def digest(seed: int, noise: int) -> str:
        torch.manual_seed(noise)  # whatever the global random state was
        return state_digest(made.build(shape_of(kind), 7, Lab(seed=seed)))

    assert digest(1, 10) == digest(1, 11)
    assert digest(1, 10) != digest(2, 10)


@every
def test_building_leaves_the_random_state(kind: str, made: Model) -> None:
    before = torch.random.get_rng_state()
    made.build(shape_of(kind), 7, Lab())
    assert torch.equal(before, torch.random.get_rng_state())


@every
def test_a_loss_reaches_every_weight(kind: str, made: Model) -> None:
    shape = shape_of(kind)
    net = whole(made, shape).train()
    with Lab().seeded("dropout"):
        nn.functional.cross_entropy(net(images(shape, 8)), torch.arange(8) % 7).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    weights = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in weights)


@pytest.mark.parametrize("kind", SMALLEST)
def test_too_small_images_are_refused_in_a_sentence(kind: str) -> None:
    least = SMALLEST[kind]
    model = KINDS[kind].model_validate({"kind": kind})
    with torch.no_grad():
        assert whole(model, (1, least, least))(images((1, least, least))).shape == (2, 7)
    for small in ((1, least - 1, least), (1, least, least - 1)):
        with pytest.raises(ConfigError, match=f"at least {least}×{least}; these are {small[1]}×{small[2]}") as caught:
            model.build(small, 7, Lab())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["splitnn", "le_net", "shallow_net", "pysyft_cnn"])
@pytest.mark.parametrize("shape", [(3, 17, 22), (1, 29, 16)], ids=["colour", "grey"])
def test_odd_and_colour_images_fit(kind: str, shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        assert whole(KINDS[kind].model_validate({"kind": kind}), shape)(images(shape)).shape == (2, 7)


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def halves(kind: str, shape: tuple[int, int, int], classes: int = 10, **settings: object) -> SplitModel:
    model = KINDS[kind].model_validate({"kind": kind, **settings})
    return cut(model.build(shape, classes, Lab()).eval(), model.default_cut, images(shape))


def sent(model: SplitModel, shape: tuple[int, int, int]) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(model.smash(images(shape))[0].shape[1:])


def test_splitnn_has_the_published_sizes() -> None:
    for tanh in (True, False):  # Titcombe et al.; NoPeekNN
        model = halves("splitnn", (1, 28, 28), tanh=tanh)
        assert (numbers(model.device), numbers(model.server)) == (4_627_316, 65_418)
        assert sent(model, (1, 28, 28)) == (500,)


def test_splitnn_squashes_its_cut_only_as_titcombe_et_al_do() -> None:
    x = images((1, 28, 28)) * 40
    squashed, open_ = (halves("splitnn", (1, 28, 28), tanh=tanh).smash(x)[0] for tanh in (True, False))
    assert squashed.abs().max() <= 1
    assert torch.allclose(squashed, open_.tanh())
    assert open_.abs().max() > 1


@pytest.mark.parametrize("kind", ["splitnn", "pysyft_cnn"])
def test_a_published_softmax_gives_probabilities(kind: str) -> None:
    x = images((1, 28, 28))
    ended, open_ = (halves(kind, (1, 28, 28), softmax=softmax)(x) for softmax in (True, False))
    assert torch.allclose(ended, open_.softmax(1))


def test_shallow_net_has_the_published_layers() -> None:
    model = halves("shallow_net", (1, 28, 28))
    assert numbers(model.device) == 784 * 32 + 32
    assert numbers(model.server) == 32 * 10 + 10
    assert sent(model, (1, 28, 28)) == (32,)
    z = model.smash(images((1, 28, 28)))[0]
    assert 0 < z.min() <= z.max() < 1  # sigmoid


def test_le_net_has_the_published_layers() -> None:
    net = KINDS["le_net"].model_validate({"kind": "le_net"}).build((1, 28, 28), 10, Lab())
    weights = {name: tuple(p.shape) for name, p in net.named_parameters() if name.endswith("weight")}
    assert weights == {
        "conv1.weight": (32, 1, 3, 3),
        "conv2.weight": (64, 32, 3, 3),
        "fc1.weight": (128, 9216),
        "fc2.weight": (10, 128),
    }
    assert [part.p for part in net.modules() if isinstance(part, nn.Dropout)] == [0.25, 0.5]
    assert sent(halves("le_net", (1, 28, 28)), (1, 28, 28)) == (64, 12, 12)


def test_pysyft_cnn_sends_512_numbers() -> None:
    model = halves("pysyft_cnn", (1, 28, 28))
    assert sent(model, (1, 28, 28)) == (32, 4, 4)
    assert numbers(model.device) == (25 * 32 + 32) + (32 * 25 * 32 + 32)
    assert numbers(model.server) == (512 * 256 + 256) + (256 * 10 + 10)


def test_omniglot_cnn_sends_32_numbers() -> None:
    model = halves("omniglot_cnn", (1, 105, 105), 50)
    assert sent(model, (1, 105, 105)) == (32,)
    kernels = [tuple(p.shape[2:]) for p in model.device.parameters() if p.ndim == 4]
    assert kernels == [(7, 7), (7, 7), (5, 5), (3, 3)]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_omniglot_cnn_drops_what_it_is_told(dropout: float) -> None:
    net = (
        KINDS["omniglot_cnn"]
        .model_validate({"kind": "omniglot_cnn", "dropout": dropout})
        .build((1, 105, 105), 50, Lab())
    )
    assert {part.p for part in net.modules() if isinstance(part, nn.Dropout)} == {dropout}


def test_pixels_are_normalised_inside_the_device_half() -> None:
    """Where the published network normalises, [0, 1] images at mean and at mean + deviation become 0 and 1."""
    for kind in ("splitnn", "pysyft_cnn"):
        first = next(KINDS[kind].model_validate({"kind": kind}).build((1, 28, 28), 10, Lab()).children())
        levels = torch.tensor([0.1307, 0.1307 + 0.3081]).reshape(2, 1, 1, 1).expand(2, 1, 28, 28)
        assert torch.allclose(first(levels).mean((1, 2, 3)), torch.tensor([0.0, 1.0]), atol=1e-5)
    for kind in ("shallow_net", "le_net", "omniglot_cnn"):
        net = KINDS[kind].model_validate({"kind": kind}).build(FITTING.get(kind, (1, 28, 28)), 10, Lab())
        assert not any("Normalise" in type(part).__name__ for part in net.modules())


def test_a_grey_image_is_normalised_to_three_channels_for_torchvision() -> None:
    entry = KINDS["torchvision"].model_validate({"kind": "torchvision"}).entry()
    assert entry is not None
    assert entry(images((1, 32, 32))).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("settings", "near"), [({"name": "resnet81"}, "resnet18"), ({"name": "resnet18", "weights": "IMAGENET"}, "DEFAULT")]
)
def test_torchvision_answers_a_wrong_name_with_the_right_ones(settings: dict[str, str], near: str) -> None:
    with pytest.raises(ConfigError, match=near):
        KINDS["torchvision"].model_validate({"kind": "torchvision", **settings}).build((3, 64, 64), 10, Lab())


def test_residual_blocks_halve_the_image_and_double_the_channels() -> None:
    net = (
        KINDS["small_resnet"].model_validate({"kind": "small_resnet", "width": 4}).build((3, 32, 32), 10, Lab()).eval()
    )
    for number in range(1, 5):
        model = cut(net, f"block{number}", images((3, 32, 32)))
        assert sent(model, (3, 32, 32)) == (4 * 2**number, 32 // 2**number, 32 // 2**number)


OWN = {
    "raises": "def make():\n    raise OSError('no weights here')\n",
    "no module": "def make():\n    return 3\n",
    "another name": "def create():\n    return None\n",
    "broken": "import no_such_package_at_all\n",
}


@pytest.mark.parametrize(("text", "told"), [
    ("raises", "OSError: no weights here"),
    ("no module", "torch.nn.Module"),
    ("another name", "create"),
    ("broken", "no_such_package_at_all"),
])  # fmt: skip
def test_a_wrong_file_of_ones_own_is_told_in_a_sentence(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN[text])
    with pytest.raises(ConfigError, match=told):
        KINDS["own"].model_validate({"kind": "own", "path": str(file), "factory": "make"}).build((1, 8, 8), 10, Lab())


def test_ones_own_normalisation_stands_in_front() -> None:
    entry = KINDS["own"].model_validate({"kind": "own", "mean": [0.5], "std": [0.25]}).entry()
    assert entry is not None
    assert math.isclose(entry(torch.ones(1, 1, 2, 2)).mean().item(), 2.0)
    assert KINDS["own"].model_validate({"kind": "own"}).entry() is None
