"""The class-inversion example: ART's loop against a plain one, early stopping, gradients, and the tarball."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor

from unsmash import reproducing
from unsmash.class_inversion import Descent, invert
from unsmash.data.mnist import Mnist
from unsmash.lab import Lab
from unsmash.reproducing import Done
from unsmash.reproductions.miface_data import Schedule, digits, faces, target
from unsmash.reproductions.miface_descents import steepest, together
from unsmash.reproductions.systems.miface import MifaceReproduction
from unsmash.reproductions.training import answers
from unsmash.reproductions.workbench import Workbench
from unsmash.store import PICTURES

CLASSES, SIDE = 5, 6
RNG = np.random.default_rng(3)
WEIGHT, BIAS = RNG.normal(size=(CLASSES, SIDE * SIDE)) * 0.6, RNG.normal(size=CLASSES) * 4


def logits(images: Tensor) -> Tensor:
    return images.flatten(1) @ torch.from_numpy(WEIGHT).T + torch.from_numpy(BIAS)


def sure(x: np.ndarray) -> np.ndarray:
    z = WEIGHT @ x + BIAS
    e = np.exp(z - z.max())
    return e / e.sum()


def slope(x: np.ndarray, label: int) -> np.ndarray:
    p = sure(x)
    return p[label] * (WEIGHT[label] - p @ WEIGHT)


def as_art(starts: np.ndarray, plan: Descent) -> tuple[np.ndarray, list[int]]:
    """ART 1.20's loop for a batch, one class after another, with the closed form of the gradient."""
    x, steps, count = starts.copy(), [0] * len(starts), 0
    window = np.full((len(x), plan.window_length), np.inf)
    active = np.ones(len(x), dtype=bool)
    while count < plan.max_iter and active.any():
        for label in np.flatnonzero(active).tolist():
            x[label] = np.clip(x[label] + plan.learning_rate * slope(x[label], label), 0, 1)
            steps[label] += 1
        cost = np.array([1 - sure(x[label])[label] for label in range(len(x))])
        active = (cost <= plan.threshold) | (cost >= window.max(1))
        window[:, count % plan.window_length] = cost
        count += 1
    return x, steps


@pytest.mark.parametrize("threshold", [0.99, 0.7, 0.3])
@pytest.mark.parametrize("window", [3, 20])
def test_one_batch_descends_as_art_does(threshold: float, window: int) -> None:
    plan = Descent("art", on="probability", max_iter=60, window_length=window, threshold=threshold, learning_rate=0.1)
    starts = np.full((CLASSES, SIDE * SIDE), 0.2)
    images, steps = as_art(starts, plan)
    found = together(logits, _images(starts), torch.arange(CLASSES), plan)
    assert found.iterations.tolist() == steps
    assert np.abs(found.images.flatten(1).numpy() - images).max() < 1e-9


def test_a_batch_of_one_is_arts_rule_as_it_is_usually_called() -> None:
    plan = Descent("art", on="probability", max_iter=40, window_length=5, threshold=0.9)
    start = _images(np.full((CLASSES, SIDE * SIDE), 0.5))
    for label in range(CLASSES):
        one = torch.tensor([label])
        ours, usual = (run(logits, start[:1], one, plan) for run in (together, invert))
        assert torch.equal(ours.iterations, usual.iterations)
        assert (ours.images - usual.images).abs().max() < 1e-9
        assert ours.stops == usual.stops


def test_in_one_batch_a_class_that_was_let_go_comes_back() -> None:
    """The batch decides: some class takes more steps beside others than it takes alone."""
    plan = Descent("art", on="probability", max_iter=60, window_length=3, threshold=0.99)
    start = _images(np.full((CLASSES, SIDE * SIDE), 0.2))
    beside = together(logits, start, torch.arange(CLASSES), plan).iterations
    alone = invert(logits, start, torch.arange(CLASSES), plan).iterations
    assert (beside >= alone).all()
    assert (beside > alone).any()


@pytest.mark.parametrize("on", ["probability", "log_odds"])
def test_the_steepest_pixel_agrees_with_finite_differences(on: str) -> None:
    x, step = RNG.random((CLASSES, SIDE * SIDE)), 1e-6

    def climbed(row: np.ndarray, label: int) -> float:
        p = sure(row)[label]
        return float(p if on == "probability" else np.log(p) - np.log1p(-p))

    expected = [
        max((climbed(row + step * e, label) - climbed(row - step * e, label)) / (2 * step) for e in np.eye(len(row)))
        for label, row in enumerate(x)
    ]
    found = steepest(logits, _images(x), torch.arange(CLASSES), on)  # type: ignore[arg-type]
    assert np.allclose(found.numpy(), expected, rtol=1e-4, atol=1e-9)


def _images(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows).reshape(len(rows), 1, SIDE, SIDE)


def test_no_test_image_is_a_training_image_and_each_class_gives_its_first_fifth(root: Path) -> None:
    subject = digits(root, 700, Lab())
    mine = {row.numpy().tobytes() for row in torch.cat([subject.train[0], subject.held[0]])}
    judges = {row.numpy().tobytes() for row in subject.judge[0]}
    victims = {row.numpy().tobytes() for row in subject.scene.victims}
    average = {row.numpy().tobytes() for row in subject.scene.shadow}
    assert not mine & (judges | victims | average)
    assert len(judges | victims | average) == len(judges) + len(victims) + len(average)
    pool = Mnist().pools(root).target
    assert pool is not None
    for label in range(10):
        rows = pool.pixels[:700][pool.labels[:700] == label].float() / 255
        count = int((subject.held[1] == label).sum())
        assert count == int(len(rows) * 0.2)
        assert torch.equal(subject.held[0][subject.held[1] == label], rows[:count])


def test_training_stops_when_keras_would_and_keeps_the_best_weights(bench: Workbench) -> None:
    subject = digits(bench.root, 500, bench.lab)
    plan = Schedule(epochs=25, batch=32, rate=1e-2, patience=3, least=0.05)
    found = target(bench, subject, "shallow_net", plan)
    again = target(bench, subject, "shallow_net", plan)
    assert found.passes < 25, "it was to stop early"
    losses = _losses(bench, found.settings)
    best, least = 0, np.inf
    for number, loss in enumerate(losses, 1):
        if loss < least - plan.least:
            best, least = number, loss
        assert number - best < plan.patience or number == len(losses)
    assert (found.best, found.passes) == (best, best + plan.patience)
    images, labels = subject.held
    told = answers(found.model, images, bench.lab)
    assert torch.nn.functional.cross_entropy(told, labels).item() == pytest.approx(losses[best - 1], rel=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(found.model.parameters(), again.model.parameters(), strict=True))


def _losses(bench: Workbench, settings: dict[str, object]) -> list[float]:
    def never(lab: Lab) -> None:
        raise AssertionError("it was not kept")

    kept = bench.once("train shallow_net on digits", settings, never)  # type: ignore[arg-type]
    return [float(one) for one in kept.figures["losses"]]


def test_faces_are_left_out_where_none_were_asked_for_or_there_are_none(root: Path, tmp_path: Path) -> None:
    assert faces("none", root, Lab()) is None
    assert faces("auto", tmp_path, Lab()) is None


def test_the_faces_of_a_folder_share_no_image_between_their_parts(root: Path, tmp_path: Path) -> None:
    pool = Mnist().pools(root).target
    assert pool is not None
    for place in range(160):
        folder = tmp_path / f"person {int(pool.labels[place]) % 3}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(pool.pixels[place, 0].numpy()).save(folder / f"{place}.png")
    subject = faces(str(tmp_path), root, Lab())
    assert subject is not None
    assert subject.classes == ("person 0", "person 1", "person 2")
    parts = (subject.train[0], subject.held[0], subject.judge[0], subject.scene.victims, subject.scene.shadow)
    rows = [row.numpy().tobytes() for part in parts for row in part]
    assert len(set(rows)) == len(rows)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    import os

    if "UNSMASH_DATA" not in os.environ:
        pytest.skip("UNSMASH_DATA names no folder with the real data")
    made = reproducing.chosen("miface", MifaceReproduction.tiny, quick=True)
    return reproducing.conduct(made, quick=True, out=tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(("place", "line"), [("", 1), ("as_published/", 0)])
def test_the_documented_tarball_holds_the_images_that_are_shown(done: Done, place: str, line: int) -> None:
    shown = load_file(done.folder / PICTURES)[f"digits-shallow_net/{line}"]
    with tarfile.open(done.folder / f"{place}testing_adversarial_miface.tar.gz") as archive:
        for label in range(10):
            member = archive.extractfile(f"{label}/adv_inferred{label}.png")
            assert member is not None
            pixels = np.asarray(Image.open(io.BytesIO(member.read())))
            assert np.array_equal(pixels, np.rint(shown[label, 0] * 255).astype(np.uint8))


def test_the_figures_of_the_tables_are_those_of_the_tarballs_table(done: Done) -> None:
    with tarfile.open(done.folder / "testing_adversarial_miface.tar.gz") as archive:
        member = archive.extractfile("confidence.csv")
        assert member is not None
        heads, *rows = (line.split(",") for line in member.read().decode().splitlines())
    confidence = [float(row[heads.index("confidence")]) for row in rows]
    table = next(one for one in done.record.tables if one.id == "inversion")
    row = next(one for one in table.rows if one.name.endswith("entry point, grey"))
    told = {cell.column: cell.right.value for cell in row.cells if cell.right}
    assert told["confidence"] == pytest.approx(100 * np.mean(confidence), abs=1e-3)
    assert told["sure"] == pytest.approx(100 * np.mean(np.array(confidence) >= 0.99))
    assert told["iterations"] == pytest.approx(np.mean([float(row[heads.index("iterations")]) for row in rows]))
