"""NoPeekNN's reproduction: two parties train as one network would, letters lie as they lay, words follow figures."""

from __future__ import annotations

import copy
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import GREY, pictures, shallow
from torch import Tensor

from unsmash.defences.nopeek import NoPeek
from unsmash.errors import DataError, TrainingError
from unsmash.lab import Lab
from unsmash.reproductions import nopeeknn_words as words
from unsmash.reproductions.letters import found, letters
from unsmash.reproductions.measures import alike, measure, share
from unsmash.reproductions.nopeeknn_target import Plan, Target, dependence, digits, target
from unsmash.reproductions.training import Loop, MakeOptimiser, accuracy, fit
from unsmash.reproductions.two_parties import Party, fit_apart
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import Site, SplitModel

PLAN = Plan(0.1, False, "no-syft", train=256, epochs=3, batch=64, held=100, test=100, victims=20)

OPTIMISERS: dict[str, MakeOptimiser] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.6),
    "adadelta": lambda parameters: torch.optim.Adadelta(parameters, lr=1.0),
}


def nopeek(model: SplitModel) -> SplitModel:
    made = NoPeek(weight=0.5, estimator="compat")
    model.shield = made.arm(Site(((96,),), GREY, 10), Lab())
    return model


def apart(model: SplitModel, other: SplitModel) -> float:
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max((one - two).abs().max().item() for one, two in pairs)


@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_two_parties_train_what_one_network_would(optimiser: MakeOptimiser, shuffle: bool) -> None:
    images, labels = pictures(GREY, 150)
    loop = Loop(2, 32, optimiser, shuffle=shuffle, decay=0.7)
    start = shallow("flat", GREY)
    joint, parties = copy.deepcopy(start), copy.deepcopy(start)
    fit(joint, images, labels, loop, Lab())
    fit_apart(parties, images, labels, loop, Lab())
    assert apart(joint, parties) == 0
    assert apart(joint, start) > 0.01


def test_two_parties_pay_the_penalty_too() -> None:
    images, labels = pictures(GREY, 150)
    loop = Loop(2, 32, OPTIMISERS["sgd"])
    start = shallow("flat", GREY)
    joint, parties, free = nopeek(copy.deepcopy(start)), nopeek(copy.deepcopy(start)), copy.deepcopy(start)
    fit(joint, images, labels, loop, Lab())
    fit_apart(parties, images, labels, loop, Lab())
    fit_apart(free, images, labels, loop, Lab())
    assert apart(joint, parties) < 1e-5
    assert apart(parties, free) > 1e-3


def test_each_party_holds_its_own_half_only_and_its_rate_falls() -> None:
    model = shallow("flat", GREY)
    loop = Loop(1, 32, OPTIMISERS["adadelta"], decay=0.7)
    device, server = Party(model.device_parameters(), loop), Party(model.server_parameters(), loop)
    held = [
        {id(one) for group in party.optimiser.param_groups for one in group["params"]} for party in (device, server)
    ]
    assert not held[0] & held[1]
    assert held[0] | held[1] == {id(one) for one in model.parameters()}
    device.optimiser.step()
    device.passed()
    assert device.optimiser.param_groups[0]["lr"] == pytest.approx(0.7)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    images, labels = pictures(GREY, 64)
    with pytest.raises(TrainingError, match="pass 1 of 1"):
        fit_apart(shallow("flat", GREY), images * float("nan"), labels, Loop(1, 32, OPTIMISERS["sgd"]), Lab())


def emnist(root: Path, upright: Tensor) -> None:
    """Files as NIST's: every image with rows and columns exchanged."""
    folder = root / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        pixels = upright[:, 0].transpose(1, 2).contiguous().numpy().tobytes()
        head = struct.pack(">HBBIII", 0, 8, 3, len(upright), 28, 28)
        (folder / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(head + pixels)
        labels = struct.pack(">HBBI", 0, 8, 1, len(upright)) + bytes(len(upright))
        (folder / f"emnist-letters-{part}-labels-idx1-ubyte").write_bytes(labels)


def test_emnist_is_turned_upright_and_as_published_it_lies(tmp_path: Path) -> None:
    upright = (pictures((1, 28, 28), 12)[0] * 255).round().to(torch.uint8)
    emnist(tmp_path, upright)
    assert found(tmp_path) == "emnist"
    mine = letters(tmp_path, "emnist", 10)
    assert torch.equal(mine.images, upright[:10].float() / 255)
    assert torch.equal(mine.as_in_the_file(), upright[:10].transpose(2, 3).float() / 255)
    assert not mine.substitute
    with pytest.raises(DataError, match="12 images, 13 are wanted"):
        letters(tmp_path, "emnist", 13)


def test_without_it_other_characters_stand_in_and_are_named(root: Path) -> None:
    if found(root) != "omniglot":
        pytest.skip("the data root has EMNIST, or no Omniglot")
    mine, more, others = (
        letters(root, "omniglot", count, test=test) for count, test in ((8, False), (20, False), (20, True))
    )
    assert torch.equal(mine.images, more.images[:8])
    assert alike(more.images, others.images) == 0
    assert more.images.min() >= 0
    assert more.images.max() <= 1
    ink, _ = digits(root, "train", 0, 200)
    assert 0.5 < more.images.mean() / ink.mean() < 2, "not as light on dark as digits"
    assert "Omniglot" in mine.substitute


def test_where_there_is_nothing_else_digits_stand_in_as_they_are(root: Path, tmp_path: Path) -> None:
    (tmp_path / "MNIST").symlink_to(root / "MNIST")
    assert found(tmp_path) == "digits"
    mine, others = letters(tmp_path, "digits", 50), letters(tmp_path, "digits", 50, test=True)
    assert torch.equal(mine.as_in_the_file(), mine.images)
    assert alike(mine.images, others.images) == 0
    assert "stand in" in mine.substitute


def test_the_fields_distance_correlation_is_there_without_any_dependence() -> None:
    draw = torch.Generator().manual_seed(0)
    x, z = torch.randn(500, 784, generator=draw), torch.randn(500, 500, generator=draw)
    told = dependence(x, z, 64)
    assert told["compat"][0] > 0.8
    assert abs(told["unbiased"][0]) < 0.15
    assert abs(told["compat"][0] - told["compat_unpaired"][0]) < 0.02
    same = dependence(x, x, 64)
    assert same["compat"][0] == pytest.approx(1)
    assert same["compat_unpaired"][0] < same["compat"][0] - 0.02


def test_the_weights_kept_are_those_of_the_best_pass(bench: Workbench) -> None:
    test, held = target(bench, PLAN, "test"), target(bench, PLAN, "held")
    columns = list(zip(*test.passes, strict=True))
    assert test.best == 1 + columns[0].index(max(columns[0]))
    assert held.best == 1 + columns[1].index(max(columns[1]))
    images, labels = digits(bench.root, "test", 0, 200)
    assert accuracy(test.model, images, labels, Lab()).mean().item() == pytest.approx(max(columns[0]))
    images, labels = digits(bench.root, "train", 256, 356)
    assert accuracy(held.model, images, labels, Lab()).mean().item() == pytest.approx(max(columns[1]))


def heard(hits: dict[tuple[str, int], float], figures: dict[str, float], shared: int = 0) -> words.Heard:
    made = {
        key: Made(
            {"identification": [share, share - 0.05, share + 0.05, 100], "mse": [1 - share] * 4, "shared": shared}
        )
        for key, share in hits.items()
    }
    told = {name: [value, value, value, 100] for name, value in figures.items()}
    at = Target(PLAN, "test", shallow("flat", GREY), told, [[0.9, 0.8], [0.95, 0.9]], 2)
    behind = {(weight, False): {"ridge_few": made["ridge", 500].figures} for weight in (0.0, 0.1)}
    targets = {(0.1, False): at, (0.1, True): replace(at, chosen="held")}
    return words.Heard(0.1, 500, 5000, 5, 100, "letters", targets, made, behind)


FIGURES = {"accuracy": 0.95, "compat": 0.5, "compat_unpaired": 0.4, "unbiased": 0.6, "label_only": 0.1}


def hits(few: float, many: float) -> dict[tuple[str, int], float]:
    kinds = ("published", "upright", "longer", "ridge", "decoder")
    return {(name, count): share for count, share in ((500, few), (5000, many)) for name in kinds}


@pytest.mark.parametrize(
    ("few", "many", "told"),
    [(0.5, 0.9, "does not hold for the first number"), (0.1, 0.9, "is not contradicted"), (0.1, 0.1, "the second")],
)
def test_the_claim_is_judged_by_what_was_measured(few: float, many: float, told: str) -> None:
    assert told in words.protection(heard(hits(few, many), FIGURES))


def test_the_words_name_the_better_attack_and_the_relation_measured() -> None:
    strong = hits(0.2, 0.3) | {("ridge", 500): 0.6}
    assert "ridge regression identifies **60.0%**" in words.headline(heard(strong, FIGURES))
    assert "above ridge" in words.attacker(heard(strong, FIGURES))
    weak = hits(0.2, 0.3) | {("upright", 500): 0.9}
    assert "below ridge" in words.attacker(heard(weak, FIGURES))
    assert "within what chance allows" in words.nopeek(heard(weak, FIGURES))
    assert "No victim" in words.shared(heard(weak, FIGURES))
    assert "3 of 100" in words.shared(heard(weak, FIGURES, shared=3))
    assert len(set(words.findings(heard(weak, FIGURES)))) == 7


def test_what_more_steps_do_is_told_apart_from_what_more_images_do() -> None:
    assert words.longer(5, 500, 5000) * -(-500 // 128) == 5 * -(-5000 // 128) == 200
    found = hits(0.1, 0.9)
    assert "takes 20 steps, with 5,000 200" in words.steps(heard(found, FIGURES))
    assert "is the number of images" in words.steps(heard(found | {("longer", 500): 0.2}, FIGURES))
    assert "is the length of the training" in words.steps(heard(found | {("longer", 500): 0.8}, FIGURES))


def test_a_share_has_an_interval_and_a_single_figure_none() -> None:
    told = {"hits": share(torch.tensor([1.0, 0, 1, 1])), "one": [0.5, 0.5, 0.5, 9]}
    made = measure(told, "hits", percent=True)
    assert made is not None
    assert made.value == 75
    assert made.low is not None
    assert made.high is not None
    assert 0 < made.low < 75 < made.high < 100
    alone = measure(told, "one")
    assert alone is not None
    assert alone.low is None
    assert measure(told, "another") is None
