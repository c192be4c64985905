"""The Omniglot study: its order and sampling, the leak found by content, trainings that go on, and its sentences."""

from __future__ import annotations

import functools
import hashlib
import importlib
import math
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from unsmash.attacks.lookalike import Lookalike
from unsmash.data import Pools
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.metrics.images import mse
from unsmash.reproductions.omniglot_attacks import FLOORS, attacked, floor
from unsmash.reproductions.omniglot_images import TARGET, TRAIN, Letters, Sizes, alphabet, contamination, mixed
from unsmash.reproductions.omniglot_targets import (
    DELTA,
    PRIVATE_RATE,
    Course,
    epsilons,
    network,
    published_epsilon,
    settings,
    trained,
)
from unsmash.reproductions.paper import paper
from unsmash.reproductions.systems.omniglot import Omniglot
from unsmash.reproductions.training import Loop, accuracy, buffered, fit
from unsmash.reproductions.workbench import Workbench
from unsmash.split import SplitModel

WHOLE = Sizes(train=11_000, val=2_180, shadow=2_720, clean=2_120, leaked=1_000, candidates=500)
FEW = Sizes(train=64, val=16, shadow=96, clean=12, leaked=8, candidates=8)
PUBLISHED = Course(passes=2, leg=1, batch=32, buffer=20, inference=True)
PRIVATE = Course(passes=2, leg=1, batch=16, rate=PRIVATE_RATE, dropout=0.0, grouped=True, noise=0.5)


@functools.cache
def read(root: Path) -> Pools:
    """The three sets, read once for all tests."""
    return Letters(root, WHOLE).pools


def taken(root: Path, sizes: Sizes) -> Letters:
    letters = Letters(root, sizes)
    letters.pools = read(root)
    return letters


@pytest.fixture
def letters(root: Path) -> Letters:
    return taken(root, FEW)


# the shuffle buffer


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**32))
def test_a_buffer_lets_each_out_once_and_none_before_it_came_in(count: int, size: int, seed: int) -> None:
    order = buffered(count, size, torch.Generator().manual_seed(seed)).tolist()
    assert sorted(order) == list(range(count))
    for place, number in enumerate(order):
        assert number < place + size  # what comes out at that place had come in by then


def test_a_buffer_of_one_keeps_the_order_and_a_large_one_draws_evenly() -> None:
    draw = torch.Generator().manual_seed(1)
    assert buffered(9, 1, draw).tolist() == list(range(9))
    first = Counter(int(buffered(6, 4, draw)[0]) for _ in range(4000))
    assert set(first) == {0, 1, 2, 3}  # the first out is one of those that wait then
    assert all(abs(count / 4000 - 1 / 4) < 0.03 for count in first.values())


# the images


def test_the_leak_is_found_by_content_as_by_the_files_themselves(root: Path) -> None:
    """Against the files' own bytes, which are equal too."""
    found = contamination(read(root)).figures
    files: dict[str, list[tuple[str, str]]] = {}
    for name in ("background_small1", "background_small2"):
        with zipfile.ZipFile(root / "omniglot-py" / f"images_{name}.zip") as archive:
            names = [one for one in archive.namelist() if one.endswith(".png")]
            files[name] = [(one, hashlib.sha256(archive.read(one)).hexdigest()) for one in names]
    held = {digest for _, digest in files["background_small1"]}
    shared = [name for name, digest in files["background_small2"] if digest in held]
    assert found["shared"] == len(shared)
    assert found["tests"] == len(files["background_small2"])
    assert found["clean"] == found["tests"] - found["shared"]
    assert found["alphabets"] == Counter(map(alphabet, shared))
    assert found["with_target"] == 0


def test_whole_sets_are_used_and_validation_has_other_images_of_the_same_alphabets(root: Path) -> None:
    letters = taken(root, replace(WHOLE, train=200, val=200))
    tests = letters.tests
    assert len(tests.images) == 3_120
    assert len(letters.shadow) == 2_720
    held = {image.numpy().tobytes() for image in letters.shadow}
    known = torch.tensor([image.numpy().tobytes() in held for image in tests.images])
    assert torch.equal(known, tests.leaked)
    assert known[letters.pairs()].tolist() == [True] * 8 + [False] * 8
    assert set(np.array(tests.alphabets)[known.numpy()]) == {"Greek", "Latin"}
    order = mixed(TARGET, "target")
    assert sorted(order.tolist()) == list(range(TARGET))
    labels = letters.pools.target.labels[order]  # type: ignore[union-attr]
    assert set(labels[:TRAIN].tolist()) == set(labels[TRAIN:].tolist()) == set(range(20))
    assert torch.equal(letters.val[1], labels[TRAIN : TRAIN + 200])


def test_with_fewer_images_none_is_called_clean_that_stands_in_the_attackers_whole_set(letters: Letters) -> None:
    whole = taken(letters.root, WHOLE).shadow
    held, known = ({image.numpy().tobytes() for image in images} for images in (letters.shadow, whole))
    for image, leaked in zip(letters.tests.images, letters.tests.leaked, strict=True):
        assert (image.numpy().tobytes() in held) == bool(leaked)
        assert (image.numpy().tobytes() in known) == bool(leaked)
    assert letters.tests.leaked.sum() == FEW.leaked


def test_too_few_of_the_attackers_images_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="shadow"):
        _ = taken(root, replace(FEW, shadow=1)).tests


# ε


def test_the_published_epsilons_come_out_of_the_published_reckoning() -> None:
    pytest.importorskip("opacus")
    for row in paper("omniglot").tables["privacy"].rows:
        if row.figures["epsilon"] is not None:
            assert published_epsilon(float(row.at["noise"])) == pytest.approx(row.figures["epsilon"], abs=0.06)


def test_fewer_records_and_a_shuffle_cost_more() -> None:
    pytest.importorskip("opacus")
    course = Omniglot()
    for noise in course.noises:
        plan = Course(course.private_passes, 1, 32)
        spent, fewer = epsilons(noise, plan, 11_000, 2_180), epsilons(noise, plan, 5_500, 2_180)
        assert spent["poisson"] < fewer["poisson"]  # type: ignore[operator]
        assert spent["poisson"] < spent["shuffled"]  # type: ignore[operator]
        assert spent["shuffled"] == fewer["shuffled"]


def test_a_shuffles_epsilon_is_that_of_as_many_gaussian_mechanisms() -> None:
    """Against Rényi's bound for batches that hold everybody, which can only be larger."""
    pytest.importorskip("opacus")
    rdp = importlib.import_module("opacus.accountants.analysis.rdp")
    orders = [1 + x / 100 for x in range(1, 5000)]
    for noise, passes in ((0.7, 20), (3.0, 4)):
        spent = epsilons(noise, Course(passes, 1, 32), 640, 0)
        curve = rdp.compute_rdp(q=1.0, noise_multiplier=noise, steps=passes, orders=orders)
        bound, _ = rdp.get_privacy_spent(orders=orders, rdp=curve, delta=DELTA)
        assert spent["shuffled"] <= bound  # type: ignore[operator]
        assert spent["shuffled"] == pytest.approx(bound, rel=0.1)
        assert spent["steps"] == passes * math.ceil(640 / 32)


# targets


def norms(model: SplitModel) -> list[nn.BatchNorm2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


@pytest.mark.parametrize("inference", [True, False])
def test_as_published_the_norms_keep_what_they_start_with(letters: Letters, inference: bool) -> None:
    course = replace(PUBLISHED, passes=1, inference=inference)
    model = network(course, Lab())
    before = [layer.weight.detach().clone() for layer in norms(model)]
    loop = Loop(1, 32, lambda p: torch.optim.Adam(p, 1e-3), inference=inference)
    modes: list[bool] = []
    norms(model)[0].register_forward_hook(lambda layer, *_: modes.append(layer.training))
    fit(model, *letters.train, loop, Lab())
    assert modes == [not inference] * 2
    assert len(norms(model)) == 4
    for layer, weight in zip(norms(model), before, strict=True):
        assert isinstance(layer.running_mean, Tensor)
        assert isinstance(layer.running_var, Tensor)
        kept = not layer.running_mean.any() and bool((layer.running_var == 1).all())
        assert kept == inference
        assert not torch.equal(layer.weight, weight)  # it learns in either mode


def test_the_loop_tells_the_answers_that_it_trained_on(letters: Letters) -> None:
    images, labels = letters.train
    seen: list[tuple[Tensor, Tensor]] = []
    loop = Loop(1, 24, lambda p: torch.optim.SGD(p, lr=1e-9), buffer=10, inference=True)
    model = network(PUBLISHED, Lab())
    fit(model, images, labels, loop, Lab(), seen=lambda *pair: seen.append(pair))
    told = torch.cat([(answers.argmax(1) == y).double() for answers, y in seen])
    assert len(told) == len(images)
    assert Counter(torch.cat([y for _, y in seen]).tolist()) == Counter(labels.tolist())
    # at this rate the weights stay as they are, so the pass is as good as the network after it
    assert told.mean() == pytest.approx(accuracy(model, images, labels, Lab()).mean().item(), abs=1e-9)


@pytest.mark.parametrize("course", [PUBLISHED, PRIVATE], ids=["published", "private"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(letters: Letters, course: Course, tmp_path: Path) -> None:
    if course.noise is not None:
        pytest.importorskip("opacus")
    benches = [Workbench("omniglot", Lab(), letters.root, tmp_path / name) for name in ("stopped", "whole")]
    trained(benches[0], "target", replace(course, passes=1), letters)
    resumed, rows = trained(benches[0], "target", course, letters)
    whole, others = trained(benches[1], "target", course, letters)
    assert rows == others
    assert [row["pass"] for row in rows] == [1, 2]
    start = network(course, benches[0].lab.at("omniglot/target")).state_dict()
    for name, one in resumed.state_dict().items():
        assert torch.equal(one, whole.state_dict()[name]), name
    moved = [name for name, one in resumed.named_parameters() if not torch.equal(one, start[name])]
    assert len(moved) == len([*resumed.parameters()])


def test_a_leg_goes_on_with_adams_memory(letters: Letters, tmp_path: Path) -> None:
    """Its steps are counted on, so its averages are not begun anew."""
    bench = Workbench("omniglot", Lab(), letters.root, tmp_path)
    trained(bench, "target", PUBLISHED, letters)
    steps = []
    before = Workbench.once

    def once(self: Workbench, step: str, settings: object, make: object) -> object:
        made = before(self, step, settings, make)  # type: ignore[arg-type]
        steps.append({float(one) for name, one in made.arrays.items() if name.endswith(".step")})
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workbench, "once", once)
        trained(bench, "target", PUBLISHED, letters)
    assert steps == [{2.0}, {4.0}]


def test_the_private_network_mixes_no_records_and_has_no_dropout() -> None:
    pytest.importorskip("opacus")
    model = network(PRIVATE, Lab())
    kinds = Counter(type(layer) for layer in model.modules())
    assert kinds[nn.BatchNorm2d] == 0
    assert kinds[nn.GroupNorm] == 4
    assert all(layer.p == 0 for layer in model.modules() if isinstance(layer, nn.Dropout))


def test_the_cut_sends_32_numbers() -> None:
    model = network(PUBLISHED, Lab())
    with torch.no_grad():
        assert model.smash(torch.rand(2, 1, 105, 105))[0].shape == (2, 32)
        assert model(torch.rand(2, 1, 105, 105)).shape == (2, 50)


# what a guess is worth


def test_the_lookalike_hands_a_leaked_image_back(letters: Letters, tmp_path: Path) -> None:
    bench = Workbench("omniglot", Lab(), letters.root, tmp_path)
    model = network(PUBLISHED, Lab())
    parts = attacked(bench, "start", settings(PUBLISHED, letters), model, letters, Lookalike()).figures["parts"]
    assert parts["leaked"]["mse"][0] == 0
    assert parts["leaked"]["identified"][0] == 100
    assert parts["clean"]["mse"][0] > 0
    counts = [parts[name]["identified"][3] for name in parts]
    assert counts == [8, 8, 8]  # as many candidates for each part


def test_floors_are_what_their_names_say(letters: Letters, tmp_path: Path) -> None:
    bench = Workbench("omniglot", Lab(), letters.root, tmp_path)
    truth, clean = letters.tests.images, letters.tests.part("clean")
    wanted = {
        "blank page": (1 - truth).square(),
        "best constant": (truth - letters.shadow.mean()).square(),
        "mean image": (truth - letters.shadow.mean(0)).square(),
    }
    for name, errors in wanted.items():
        figures = floor(bench, name, letters).figures
        assert figures["parts"]["clean"]["mse"][0] == pytest.approx(errors[clean].mean().item(), rel=1e-5)
        assert figures["parts"]["all"]["identified"][0] == pytest.approx(100 / 8)  # one guess for all: chance


def test_components_draw_what_scikit_learns_do(letters: Letters) -> None:
    from sklearn.decomposition import PCA

    rows, truth = letters.shadow.flatten(1).numpy(), letters.tests.images
    pca = PCA(32, svd_solver="full").fit(rows)
    wanted = pca.inverse_transform(pca.transform(truth.flatten(1).numpy())).clip(0, 1)
    drawn = FLOORS["32 principal components"](letters.shadow, truth)
    assert np.allclose(drawn.flatten(1).numpy(), wanted, atol=2e-4)
    assert mse(truth, drawn).mean() < mse(truth, FLOORS["mean image"](letters.shadow, truth)).mean()


@pytest.mark.slow
def test_floors_of_the_whole_sets_are_those_known_before(root: Path, tmp_path: Path) -> None:
    letters = taken(root, WHOLE)
    bench = Workbench("omniglot", Lab(), root, tmp_path)
    known = paper("omniglot").tables["floors"]
    for row in known.rows:
        figures = floor(bench, row.name, letters).figures
        ours = {"small1": figures["small1"][0], "small2": figures["parts"]["all"]["mse"][0]}
        for column, figure in row.figures.items():
            assert figure is not None
            less = {"small1": 0.0012, "small2": 0.0011}[column] if column in row.incomparable else 0.0
            assert ours[column] == pytest.approx(figure - less, abs=known.columns[column].within)


@pytest.mark.slow
def test_without_clamping_the_components_err_as_was_known_before(root: Path) -> None:
    letters = taken(root, WHOLE)
    known = letters.shadow.flatten(1).double()
    centre = known.mean(0)
    values, sides = torch.linalg.eigh((known - centre) @ (known - centre).T)
    basis = (known - centre).T @ sides[:, -32:] / values[-32:].sqrt()
    row = next(one for one in paper("omniglot").tables["floors"].rows if one.incomparable)
    for name, images in (("small1", letters.shadow), ("small2", letters.tests.images)):
        pixels = images.flatten(1).double()
        drawn = (pixels - centre) @ basis @ basis.T + centre
        figure = row.figures[name]
        assert figure is not None
        assert (drawn - pixels).square().mean().item() == pytest.approx(figure, abs=5e-5)
