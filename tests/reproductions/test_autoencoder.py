"""The course project's decoders: its formula and the true one, its faults one by one, and maps left out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unsmash.attacks.celeba_decoder import DEPTHS, MEAN, STD
from unsmash.data import data_root
from unsmash.lab import Lab
from unsmash.metrics.images import psnr
from unsmash.reproductions.autoencoder_maps import crossing_maps, layers
from unsmash.reproductions.autoencoder_scores import (
    BATCH,
    PIXELS,
    clipped,
    measured,
    multi_scale,
    published_psnr,
    true_psnr,
)
from unsmash.reproductions.autoencoder_subset import Sent, defended, head_hits
from unsmash.reproductions.autoencoder_training import Course, pair_of, trained
from unsmash.reproductions.autoencoder_victim import (
    MAPS,
    VALIDATION,
    Faces,
    Network,
    Wanted,
    crossing,
    held,
    load,
    network,
)
from unsmash.reproductions.paper import paper
from unsmash.reproductions.workbench import Workbench
from unsmash.split import flat

STEP = Course("medium", epochs=1, batch=16, rate=1e-3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    if "UNSMASH_DATA" not in os.environ:
        pytest.skip("UNSMASH_DATA names no folder with the real data")
    return Workbench("test", Lab(), data_root(), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def some(place: Workbench) -> Faces:
    return load(Wanted("lfw", size=32, taught=80, images=48, victims=24, photographs=100), place.root)


@pytest.fixture(scope="module")
def victim(place: Workbench, some: Faces) -> Network:
    return network(place, some, "", 1)


def test_the_published_formula_is_taken_a_batch_at_a_time() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(BATCH + 40, 3, 8, 8, generator=draw) for _ in range(2))
    expected = [
        10 * np.log10(255**2 / np.mean((a[rows].double().numpy() - b[rows].double().numpy()) ** 2))
        for rows in (slice(0, BATCH), slice(BATCH, None))
    ]
    assert published_psnr(a, b).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("error", [0.05, 0.4, 1.0])
def test_the_formula_adds_the_same_to_every_true_figure(error: float) -> None:
    """An error as large in each channel's own deviation is converted exactly."""
    truth = torch.full((4, 3, 8, 8), 0.5)
    guess = PIXELS.images(PIXELS.pixels(truth) + error)
    formula = published_psnr(PIXELS.pixels(truth), PIXELS.pixels(guess)).item()
    assert true_psnr(formula) == pytest.approx(psnr(truth, guess)[0].item(), abs=1e-3)


def test_nothing_that_a_relu_gives_is_nearer_than_the_clipped_copy(some: Faces) -> None:
    images, draw = some.splits.victims.pixels, torch.Generator().manual_seed(1)
    truth, best = PIXELS.pixels(images), clipped(images)
    least = (truth - best).square().mean()
    for size in (0.01, 0.1, 1.0):
        other = torch.relu(truth + size * torch.randn(truth.shape, generator=draw))
        assert (truth - other).square().mean() > least
    mean = torch.tensor(MEAN).reshape(1, 3, 1, 1)
    assert torch.allclose(PIXELS.images(best), images.maximum(mean), atol=1e-6)


def test_a_perfect_guess_is_perfect_and_a_flat_one_is_by_chance(some: Faces) -> None:
    images = some.splits.victims.pixels
    perfect, flat_one = measured(images, PIXELS.pixels(images)), measured(images, torch.zeros_like(images))
    assert perfect["identification"]["value"] == pytest.approx(100)
    assert perfect["ssim"]["value"] == pytest.approx(1, abs=1e-4)
    assert perfect["ms_ssim"]["value"] == pytest.approx(1, abs=1e-4)
    assert flat_one["identification"]["value"] == pytest.approx(100 / len(images))
    mean = torch.tensor(MEAN).reshape(1, 3, 1, 1)
    expected = -10 * np.log10((images - mean).double().square().flatten(1).mean(1).numpy())
    assert flat_one["psnr"]["value"] == pytest.approx(expected.mean(), abs=1e-4)


def plain_ms_ssim(truth: np.ndarray, guess: np.ndarray) -> float:
    """Wang et al.'s figure of one channel, every window by itself."""
    from scipy.signal import convolve2d
    from skimage.measure import block_reduce

    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window, out = np.outer(taps, taps) / taps.sum() ** 2, 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):

        def mean(part: np.ndarray) -> np.ndarray:
            blurred: np.ndarray = convolve2d(part, window, mode="valid")
            return blurred

        a, b = mean(truth), mean(guess)
        va, vb, cab = mean(truth**2) - a**2, mean(guess**2) - b**2, mean(truth * guess) - a * b
        likeness = (2 * cab + 0.0009) / (va + vb + 0.0009)
        if scale == 4:
            likeness = likeness * (2 * a * b + 0.0001) / (a**2 + b**2 + 0.0001)
        out *= max(likeness.mean(), 0) ** weight
        truth, guess = (block_reduce(part, (2, 2), np.mean) for part in (truth, guess))
    return out


def test_multi_scale_similarity_agrees_with_a_plain_one(some: Faces) -> None:
    images = nn.functional.interpolate(some.splits.victims.pixels[:2], size=(192, 176), mode="bicubic").clamp(0, 1)
    noise = 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(4))
    for truth, guess in ((images, images + noise), (PIXELS.pixels(images), PIXELS.pixels(images) * 0.5)):
        pairs = zip(truth.double().numpy(), guess.double().numpy(), strict=True)
        expected = [np.mean([plain_ms_ssim(a, b) for a, b in zip(one, two, strict=True)]) for one, two in pairs]
        assert multi_scale(truth, guess).tolist() == pytest.approx(expected, abs=1e-9)


def test_published_noise_falls_on_the_target_and_darkness_is_cut_off() -> None:
    images = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    course = replace(STEP, noise="published", noise_mean=0.05, noise_var=0.04)
    given, target = pair_of(images, course, torch.Generator().manual_seed(3))
    added = target - PIXELS.pixels(images)
    assert added.mean().item() == pytest.approx(0.05, abs=0.01)
    assert added.var().item() == pytest.approx(0.04, rel=0.05)
    low = torch.tensor(MEAN).reshape(1, 3, 1, 1)
    high = low + torch.tensor(STD).reshape(1, 3, 1, 1)
    assert bool((given >= low - 1e-6).all())
    assert bool((given <= high + 1e-6).all())
    assert (given - low).abs().amin() < 1e-6, "nothing was cut off"


def test_noise_put_right_falls_on_what_the_victim_sees_only() -> None:
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    course = replace(STEP, noise="right", noise_mean=0.05, noise_var=0.04)
    given, target = pair_of(images, course, torch.Generator().manual_seed(3))
    assert torch.allclose(PIXELS.images(target), images, atol=1e-6)
    assert 0 <= given.min() <= given.max() <= 1
    assert (given - images).abs().mean() > 0.01
    same, clean = pair_of(images, STEP, torch.Generator())
    assert torch.equal(same, images)
    assert torch.equal(clean, PIXELS.pixels(images))


def test_the_published_training_changes_the_victim_and_ours_does_not(
    place: Workbench, some: Faces, victim: Network
) -> None:
    before = {name: tensor.clone() for name, tensor in victim.model.device.state_dict().items()}
    drifted = trained(place, victim, some.splits, STEP).device.state_dict()
    alone = trained(place, victim, some.splits, replace(STEP, drifting=False)).device.state_dict()
    assert any(not torch.equal(drifted[name], tensor) for name, tensor in before.items())
    moved = {name.rpartition(".")[2] for name in before if not torch.equal(drifted[name], before[name])}
    assert moved <= {"running_mean", "running_var", "num_batches_tracked"}
    assert all(torch.equal(alone[name], tensor) for name, tensor in before.items())
    now = victim.model.device.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())


def test_only_the_decoder_without_relu_draws_darker_than_the_mean(
    place: Workbench, some: Faces, victim: Network
) -> None:
    images = some.splits.victims.pixels
    published = trained(place, victim, some.splits, STEP).draw(images, Lab())
    ours = trained(place, victim, some.splits, replace(STEP, drifting=False, relu=False)).draw(images, Lab())
    assert published.min() >= 0
    assert ours.min() < 0
    assert published.shape == ours.shape == images.shape


def test_a_decoder_learns(place: Workbench, some: Faces, victim: Network) -> None:
    course = replace(STEP, epochs=6, drifting=False, relu=False, rate=3e-3)
    losses = trained(place, victim, some.splits, course).losses
    assert len(losses) == 6
    assert losses[-1][0] < 0.7 * losses[0][0]


def test_the_victims_norms_know_its_task_and_are_as_slow_as_before(victim: Network) -> None:
    norms = [layer for layer in victim.model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    assert {layer.momentum for layer in norms} == {0.01}, "torchvision's own"
    steps = {int(layer.num_batches_tracked) for layer in norms if layer.num_batches_tracked is not None}
    assert steps == {3}, "80 faces, 32 a step, once"


def test_what_crosses_of_a_published_image_and_here(some: Faces, victim: Network) -> None:
    assert crossing(320) == (MAPS, 20, 20)
    assert victim.shape == (MAPS, 2, 2)
    z = victim.model.smash(some.splits.victims.pixels[:3])[0]
    assert tuple(z.shape) == (3, *victim.shape)


@pytest.mark.parametrize("choose", ["fixed", "topk", "learned"])
def test_the_maps_that_are_sent_are_those_of_the_network(some: Faces, victim: Network, choose: str) -> None:
    images = some.splits.victims.pixels[:5]
    model = defended(victim, some.splits, Sent(21, choose), Lab())  # type: ignore[arg-type]
    with torch.no_grad():
        z, received = victim.model.smash(images)[0], model.shield.receive(model.release(images))[0]
    kept = (received != 0).flatten(2).any(2)
    assert (kept.sum(1) <= 21).all()
    assert torch.equal(torch.where(received != 0, z, 0.0), received)
    if choose != "topk":
        assert int(kept.any(0).sum()) <= 21, "the same maps for every image"


def test_sending_all_maps_is_the_network_itself(some: Faces, victim: Network) -> None:
    images = some.splits.victims.pixels[:5]
    model = defended(victim, some.splits, Sent(MAPS, "fixed"), Lab())
    with torch.no_grad():
        assert torch.equal(model(images), victim.model(images))


def test_the_fitted_head_is_a_ridge_classifier(some: Faces, victim: Network) -> None:
    """No worse than scikit-learn's on the same numbers, each with a penalty of its own choice."""
    from sklearn.linear_model import RidgeClassifierCV

    model, splits = defended(victim, some.splits, Sent(168, "fixed"), Lab()), some.splits
    known = held(splits)
    with torch.no_grad():
        train, test = (flat(model.release(part.pixels)).numpy() for part in (splits.train, known))
    peer = RidgeClassifierCV(alphas=np.logspace(-3, 5, 9)).fit(train, splits.train.labels.numpy())
    theirs = peer.score(test, known.labels.numpy())
    assert head_hits(model, splits, Lab()).mean().item() >= theirs - 0.1


def test_held_out_faces_taught_nobody(some: Faces) -> None:
    splits = some.splits
    taught = {row.numpy().tobytes() for part in (splits.train, splits.shadow) for row in part.pixels}
    rows = [row.numpy().tobytes() for row in held(splits).pixels]
    assert len(rows) == len(splits.val) + len(splits.victims)
    assert len(splits.val) == min(VALIDATION, 80)
    assert not taught & set(rows)


def test_pictures_of_maps_and_layers_go_from_black_to_white(place: Workbench, some: Faces, victim: Network) -> None:
    images = some.splits.victims.pixels[:2]
    drawn = crossing_maps(victim.model, images)
    assert len(drawn) == 2
    inside = layers(trained(place, victim, some.splits, STEP), images[:1])
    assert len(inside) == len(DEPTHS["medium"])
    for one in (*drawn, inside):
        assert one.shape[1] == 1
        assert 0 <= one.min() <= one.max() <= 1


def test_the_floors_of_the_paper_convert_into_each_other() -> None:
    """A figure of the formula and the true one of the same images differ by what the conversion says, within 0.3 dB."""
    for row in paper("autoencoder").tables["floors"].rows:
        formula, true = row.figures["formula"], row.figures["psnr"]
        assert formula is not None
        assert true == pytest.approx(true_psnr(formula), abs=0.3)


def test_a_weights_file_is_taken(place: Workbench, some: Faces, victim: Network, tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from torchvision import models

    with Lab(seed=9).seeded("weights"):
        net: nn.Module = models.mobilenet_v3_large(weights=None)
    state: dict[str, Tensor] = net.state_dict()
    save_file(state, str(tmp_path / "net.safetensors"))
    given = network(place, some, str(tmp_path / "net.safetensors"), 0)
    net.eval()
    images = some.splits.victims.pixels[:2]
    with torch.no_grad():
        z = net.features[13].block[0](net.features[:13](PIXELS.pixels(images)))  # type: ignore[operator,index,union-attr]
        assert torch.allclose(given.model.smash(images)[0], z, atol=1e-5)
