"""Weights from a file: taken whole or refused with the first difference; the content decides the run's id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from unsmash import last_layer
from unsmash.data.base import Splits
from unsmash.errors import ConfigError
from unsmash.experiment import Experiment, study
from unsmash.lab import Lab
from unsmash.models.base import Model, state_digest
from unsmash.models.torchvision import Torchvision
from unsmash.pipeline import run, run_id
from unsmash.victim import prepare

NAME, SHAPE = "squeezenet1_1", (3, 32, 32)


def state(name: str = NAME, classes: int = 10, seed: int = 1) -> dict[str, Tensor]:
    with Lab(seed=seed).seeded("file"):
        made: dict[str, Tensor] = models.get_model(name, weights=None, num_classes=classes).state_dict()
    return made


def stored(folder: Path, tensors: dict[str, Tensor], name: str = "net.safetensors") -> str:
    save_file(tensors, str(folder / name))
    return str(folder / name)


def model(weights: str, name: str = NAME) -> Model:
    return Torchvision(name=name, weights=weights)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "mobilenet_v3_small", "densenet121", "efficientnet_b0"])
def test_a_file_of_the_same_network_is_taken_whole(name: str, tmp_path: Path) -> None:
    tensors = state(name)
    net = model(stored(tmp_path, tensors), name).build(SHAPE, 10, Lab(seed=7))
    assert net.state_dict().keys() == tensors.keys()
    assert all(torch.equal(value, tensors[key]) for key, value in net.state_dict().items())
    assert model(stored(tmp_path, tensors), name).remarks(net) == ()


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "mobilenet_v3_small", "vit_b_16"])
@pytest.mark.parametrize("missing", [False, True], ids=["other classes", "no head"])
def test_only_a_head_for_other_classes_starts_fresh_and_that_is_told(name: str, missing: bool, tmp_path: Path) -> None:
    extra = {"image_size": 32} if name.startswith("vit") else {}
    tensors = models.get_model(name, weights=None, num_classes=13, **extra).state_dict()
    head = {"squeezenet1_1": "classifier.1", "resnet18": "fc", "mobilenet_v3_small": "classifier.3",
            "vit_b_16": "heads.head"}[name]  # fmt: skip
    if missing:
        tensors = {key: value for key, value in tensors.items() if not key.startswith(head)}
    made = model(stored(tmp_path, tensors), name)
    net = made.build(SHAPE, 10, Lab(seed=7))
    blank = Torchvision(name=name).build(SHAPE, 10, Lab(seed=7))  # type: ignore[call-arg]
    for key, value in net.state_dict().items():
        ours = key.startswith(f"{head}.")
        assert torch.equal(value, blank.state_dict()[key] if ours else tensors[key]), key
    (told,) = made.remarks(net)
    assert head in told
    assert ("no last layer" if missing else "13 classes") in told


def without(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if key != name}


def spoilt(kind: str) -> dict[str, Tensor]:
    tensors = state()
    first = next(iter(tensors))
    changed = {
        "a name less": without(first, tensors),
        "a name more": tensors | {"surplus.weight": torch.zeros(2)},
        "another shape": tensors | {first: tensors[first][:5].clone()},
        "another head": tensors | {"classifier.1.weight": torch.zeros(10, 7, 1, 1)},
        "half a head": without("classifier.1.bias", tensors),
        "no number": tensors | {first: torch.full_like(tensors[first], torch.nan)},
        "another network": state("resnet18"),
    }
    return changed[kind]


@pytest.mark.parametrize(("kind", "told"), [
    ("a name less", "the file has no features.0.weight"),
    ("a name more", "the network has no surplus.weight"),
    ("another shape", "features.0.weight is [5, 3, 3, 3] in the file and [64, 3, 3, 3] in the network"),
    ("another head", "classifier.1.weight is [10, 7, 1, 1] in the file"),
    ("half a head", "the file has no classifier.1.bias"),
    ("no number", "finite numbers; features.0.weight holds others"),
    ("another network", "the file has no features.0.weight"),
])  # fmt: skip
def test_another_state_is_refused_with_the_first_difference(kind: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        model(stored(tmp_path, spoilt(kind))).build(SHAPE, 10, Lab())
    assert told in str(caught.value)
    assert str(caught.value).startswith("model.weights: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("file", "content", "told"), [
    ("gone.safetensors", None, "a safetensors file that exists"),
    ("net.safetensors", b"not at all", "cannot be read"),
    ("net.pth", b"\x80\x04.", "other kinds may hold code"),
])  # fmt: skip
def test_what_is_no_such_file_is_told_in_a_sentence(
    file: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigError, match=told) as caught:
        model(str(tmp_path / file)).build(SHAPE, 10, Lab())
    assert "save_file(net.state_dict()" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_transformer_is_made_for_the_images_and_a_file_for_others_is_refused(tmp_path: Path) -> None:
    weights = stored(tmp_path, models.vit_b_16(image_size=48, num_classes=10).state_dict())
    with pytest.raises(ConfigError, match=r"pos_embedding is \[1, 10, 768\] in the file and \[1, 5, 768\]"):
        model(weights, "vit_b_16").build((3, 32, 32), 10, Lab())
    for shape in ((3, 30, 30), (3, 32, 48)):
        with pytest.raises(ConfigError, match="square images of a multiple of 16 pixels"):
            model("", "vit_b_16").build(shape, 10, Lab())


def study_of(weights: str, **settings: Any) -> Experiment:
    data = {"kind": "digits", "train": 40, "shadow": 60, "validator": 40, "val": 20, "victims": 20}
    chosen = {"kind": "torchvision", "name": "resnet18", "weights": weights}
    raw = {"data": data, "model": chosen, "at": "layer1", "train": {"epochs": 0}, "attacks": ["ridge"]}
    return study(raw | settings).experiment


def test_the_content_of_a_file_decides_the_run_and_its_place_does_not(digits: Splits, tmp_path: Path) -> None:
    def name(weights: str) -> str:
        one = study_of(weights)
        return run_id(one, digits, state_digest(one.model.build(digits.input_shape, 10, Lab())))

    first = stored(tmp_path, state("resnet18"), "a.safetensors")
    again = stored(tmp_path, state("resnet18"), "b.safetensors")
    other = stored(tmp_path, state("resnet18", seed=2), "c.safetensors")
    assert study_of(first).id == study_of(again).id != study_of("").id
    assert name(first) == name(again) != name(other)
    assert study_of(first).model.given()
    assert not study_of("").model.given()


def test_a_fresh_head_stands_in_the_notes_of_the_run(digits: Splits, tmp_path: Path, short_recogniser: None) -> None:
    weights = stored(tmp_path, state("resnet18", classes=1000))
    measured = run(study_of(weights), digits, Lab(), name="x")
    assert measured.run.split is not None
    assert any("1000 classes and the data has 10" in note for note in measured.run.split.notes)


def test_the_head_alone_is_trained_and_the_rest_stays_to_the_bit(digits: Splits, tmp_path: Path) -> None:
    tensors = state("resnet18", classes=1000)
    weights = stored(tmp_path, tensors)
    chosen = {"kind": "torchvision", "name": "resnet18", "weights": weights}
    one = study_of("", model=chosen, at="layer1", train={"epochs": 2, "part": "head"})
    start = one.model.build(digits.input_shape, 10, Lab().at("victim")).state_dict()
    trained = prepare(one, digits, Lab(), None).net
    moved = {key for key, value in trained.state_dict().items() if not torch.equal(value, start[key])}
    assert moved == {"fc.weight", "fc.bias"}
    assert all(torch.equal(trained.state_dict()[key], tensors[key]) for key in tensors if not key.startswith("fc."))
    assert all(parameter.requires_grad for parameter in trained.parameters())
    whole = prepare(study_of("", model=chosen, at="layer1", train={"epochs": 1}), digits, Lab(), None).net
    assert not torch.equal(whole.state_dict()["bn1.running_mean"], tensors["bn1.running_mean"])


def test_a_head_for_other_classes_or_a_defence_in_the_training_is_refused(digits: Splits) -> None:
    with pytest.raises(ConfigError, match="nopeek acts through the training"):
        study_of("", train={"epochs": 1, "part": "head"}, defences=["nopeek"])
    one = study_of("", train={"epochs": 1, "part": "head"})
    wide = models.resnet18(num_classes=12)
    with pytest.raises(ConfigError, match=r"fc, does not answer for the data's 10 classes"):
        prepare(one, digits, Lab(), None, module=wide)


def test_the_last_layer_is_found_where_torchvision_has_it() -> None:
    for name, head in (("resnet18", "fc"), ("densenet121", "classifier"), ("efficientnet_b0", "classifier.1")):
        found, layer = last_layer.find(models.get_model(name, weights=None, num_classes=11))
        assert (found, last_layer.answers(layer)) == (head, 11)
