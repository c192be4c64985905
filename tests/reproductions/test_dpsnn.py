"""dpsnn: its numbers, its networks as published, the attack with its fault and without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unsmash import reproducing
from unsmash.attacks.affine_decoder import MEAN, STD, Affine
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.reproductions import dpsnn_networks as networks
from unsmash.reproductions.dpsnn_attacks import Learning, clean_decoder, decoded, examples
from unsmash.reproductions.dpsnn_names import Classifier
from unsmash.reproductions.dpsnn_networks import Plan
from unsmash.reproductions.dpsnn_tables import Results, tables
from unsmash.reproductions.dpsnn_words import adaptive, clearly
from unsmash.reproductions.paper import paper
from unsmash.reproductions.systems.dpsnn import EVERY, NAMED, PLAIN, SUBSETS, Dpsnn
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import as_tuple

SMALL = Plan(train=96, val=60, epochs=3, batch=32, nopeek_batch=16, rate=1e-3)


def published_dcorr(x: Tensor, z: Tensor) -> float:
    """The published definition, pair by pair: squared distances, centred by rows and columns, a biased sum."""

    def centred(rows: Tensor) -> Tensor:
        n = len(rows)
        matrix = torch.zeros(n, n, dtype=torch.float64)
        for i in range(n):
            for j in range(n):
                matrix[i, j] = (rows[i].double() - rows[j].double()).square().sum()
        return matrix - matrix.mean(0, keepdim=True) - matrix.mean(1, keepdim=True) + matrix.mean()

    a, b = centred(x.flatten(1)), centred(z.flatten(1))
    n = len(x)
    covariance, own, other = ((one * two).sum().sqrt() / n for one, two in ((a, b), (a, a), (b, b)))
    return float(covariance / (own * other).sqrt())


def test_dcorr_over_batches_is_the_published_double_loop() -> None:
    draw = torch.Generator().manual_seed(1)
    x, z = torch.rand(22, 1, 5, 5, generator=draw), torch.randn(22, 7, generator=draw)
    pairs = zip(x.split(8), z.split(8), strict=True)
    values = torch.tensor([published_dcorr(a, b) for a, b in pairs], dtype=torch.float64)
    mean, error = networks.by_batches(x, z, 8)
    assert mean == pytest.approx(values.mean().item(), abs=1e-9)
    assert error == pytest.approx(values.std(correction=0).item() / 3**0.5, abs=1e-9)


def test_the_network_has_the_published_parameters_and_ends_in_a_softmax() -> None:
    model = networks.network(PLAIN, Lab()).eval()
    assert sum(one.numel() for one in model.device.parameters()) == 4_627_316
    assert sum(one.numel() for one in model.server.parameters()) == 65_418
    x = torch.rand(3, 1, 28, 28)
    z = as_tuple(model.device(x))[0]
    assert z.shape == (3, 500)
    assert z.abs().max() <= 1
    assert torch.allclose(model(x).sum(1), torch.ones(3))


def test_nopeek_is_paid_for_the_activations_before_the_noise() -> None:
    model = networks.network(Classifier(5.0, 0.5), Lab())
    x, y = torch.rand(8, 1, 28, 28), torch.zeros(8, dtype=torch.long)
    with torch.no_grad():
        z = as_tuple(model.device(x))
        steps = model.shield.steps(z)
        paid = model.shield.penalties(x, steps, y).item()
    assert not torch.allclose(steps[-1][0], z[0], atol=0.1)
    assert paid == pytest.approx(0.5 * published_dcorr(x, z[0]), abs=1e-4)


@pytest.mark.parametrize("cell", [PLAIN, Classifier(1.0, 0)], ids=lambda cell: cell.title)
def test_noise_is_drawn_afresh_also_at_inference(cell: Classifier) -> None:
    model = networks.network(cell, Lab()).eval()
    z = (torch.zeros(200, 500),)
    first, second = model.shield(z)[0], model.shield(z)[0]
    assert torch.equal(first, second) == (cell.noise == 0)
    if cell.noise:  # the mean size of Laplace(0, b) is b
        assert first.abs().mean().item() == pytest.approx(1.0, abs=0.02)


def test_the_images_are_divided_by_index(bench: Workbench) -> None:
    data = networks.digits(bench.root, SMALL, shadow=30, scored=20, spare=10)
    begins = {"train": 0, "shadow": 40_000, "scored": 45_000, "spare": 50_000}
    for name, first in begins.items():
        assert getattr(data, name).names[0] == f"MNIST train {first}"
    assert (data.val.names[0], data.test.names[0]) == ("MNIST test 0", "MNIST test 5000")
    sizes = [len(getattr(data, name)) for name in ("train", "shadow", "scored", "spare", "val", "test")]
    assert sizes == [96, 30, 20, 10, 60, 60]
    whole = networks.digits(bench.root, Plan(), shadow=5000, scored=5000, spare=10_000)
    assert [len(one) for one in (whole.train, whole.shadow, whole.scored, whole.spare)] == [40_000, 5000, 5000, 10_000]
    assert whole.spare.names[-1] == "MNIST train 59999"


def test_the_first_of_the_best_passes_is_kept(bench: Workbench) -> None:
    data = networks.digits(bench.root, SMALL, shadow=16, scored=16, spare=16)
    model, told = networks.trained(bench, PLAIN, data, SMALL)
    shares = told["accuracies"]
    assert len(shares) == SMALL.epochs
    assert told["epoch"] == shares.index(max(shares))
    with torch.no_grad():
        found = (model(data.val.pixels).argmax(1) == data.val.labels).double().mean().item()
    assert found == pytest.approx(max(shares))
    again, _ = networks.trained(bench, PLAIN, data, SMALL)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    measured = networks.measured(bench, PLAIN, model, data, SMALL)
    assert measured["val"][0] == pytest.approx(max(shares))
    assert measured["unbiased"] == measured["unbiased_clean"]  # it sends its activations as they are


def test_the_published_decoder_learns_in_the_order_of_the_file() -> None:
    draw, lab, how = torch.Generator().manual_seed(2), Lab(), Learning(epochs=2, batch=8, rate=1e-3)
    z, images = torch.rand(20, 500, generator=draw), torch.rand(20, 1, 28, 28, generator=draw)
    with lab.seeded("network"):
        naive = Affine(500, (1, 28, 28))
    optimiser = torch.optim.Adam(naive.parameters(), lr=how.rate)
    pairs = torch.utils.data.TensorDataset(z, (images - MEAN) / STD)
    for _ in range(how.epochs):
        for rows, truth in torch.utils.data.DataLoader(pairs, batch_size=how.batch):
            optimiser.zero_grad()
            nn.functional.mse_loss(naive((rows,)), truth).backward()
            optimiser.step()
    with torch.no_grad():
        expected = naive((z,)) * STD + MEAN
    assert torch.allclose(decoded(clean_decoder(z, images, how, lab), z, lab), expected, atol=1e-6)


def test_one_example_of_each_digit_in_turn() -> None:
    labels = torch.arange(10).repeat(6).roll(3)
    places = examples(labels)
    assert labels[places].tolist() == list(range(10))
    assert places == sorted(places)
    assert places[0] >= 10
    assert examples(torch.full((30,), 7)) == []


def test_every_network_asked_for_by_name_is_published() -> None:
    models = paper("dpsnn").tables["models"]
    assert len(set(NAMED)) == len(NAMED) >= 10
    for cell in NAMED:
        row = models.at(noise=cell.noise, nopeek=cell.nopeek)
        assert row is not None
        assert row.name == cell.title
    known = {cell.title for cell in EVERY}
    assert {row.name for row in models.rows} <= known
    assert {row.name for row in paper("dpsnn").tables["attacks"].rows} <= known


def test_subsets_and_cells_choose_the_networks(bench: Workbench) -> None:
    def titles(**settings: Any) -> set[Classifier]:
        return set(Dpsnn(**settings).chosen(bench))

    assert titles() == set(EVERY)
    for name, cells in SUBSETS.items():
        assert titles(subset=name) == set(cells)
    assert titles(cells="named") == set(NAMED)
    assert titles(subset="combo", cells="named") == set(NAMED) & set(SUBSETS["combo"])
    assert titles(cells=("mnist_05noise_005nopeek_epoch=04.ckpt", "noise3.0_peek0.2")) == {
        Classifier(0.5, 0.05), Classifier(3, 0.2),
    }  # fmt: skip
    with pytest.raises(ConfigError, match="mnist_00noise_00nopeek"):
        titles(cells=())
    with pytest.raises(ConfigError, match="subset plain"):
        titles(subset="plain", cells=("mnist_05noise_00nopeek",))


def test_performance_takes_what_is_trained_already(bench: Workbench) -> None:
    asked = Dpsnn(subset="performance", train=96, val=60, epochs=3, batch=32, nopeek_batch=16, rate=1e-3)
    with pytest.raises(ConfigError, match="trained by earlier calls"):
        asked.chosen(bench)
    data = networks.digits(bench.root, SMALL, shadow=16, scored=16, spare=16)
    networks.trained(bench, Classifier(0.5, 0), data, SMALL)
    assert asked.chosen(bench) == [Classifier(0.5, 0)]
    with pytest.raises(ConfigError, match="trained by earlier calls"):
        Dpsnn(subset="performance").chosen(bench)  # of other sizes


def test_ours_come_to_stand_in_the_published_rows() -> None:
    """Were ours the published figures, every judged cell would be reproduced, and no row would stand apart."""
    published = paper("dpsnn").tables

    def share(percent: float | None) -> list[float]:
        value = (percent or 0.0) / 100
        return [value, value, value, 5000]

    found = Results(examples=None, candidates=500)  # type: ignore[arg-type]
    for row in published["models"].rows:
        cell, told = Classifier(float(row.at["noise"]), float(row.at["nopeek"])), row.figures
        seen = published["training"].at(noise=row.at["noise"], nopeek=row.at["nopeek"])
        assert seen is not None
        half = published["notebooks"].at(noise=row.at["noise"], nopeek=row.at["nopeek"])
        found.models[cell] = {
            "val": share(told["accuracy"]), "train": share(seen.figures["accuracy"]), "test": share(90.0),
            "val_dcorr": [told["dcorr"], seen.figures["error"]], "train_dcorr": [seen.figures["dcorr"], 0.001],
            "at_128": [0.5, 0.01], "epoch": seen.figures["epoch"], "unbiased": 0.3,
            "train_half": share(half.figures["accuracy"] if half else 99.0), "val_half": share(98.2),
        }  # fmt: skip
    for row in published["attacks"].rows:
        told = row.figures
        clean = {"dcorr": [told["dcorr"], told["error"]], "recognised": share(told["recognised"])}
        clean |= {"recognised_apart": share(50.0), "identified": share(80.0), "ssim": share(60.0), "unbiased": 0.8}
        every = dict.fromkeys(("clean", "ridge", "decoder"), clean)
        found.attacks[Classifier(float(row.at["noise"]), float(row.at["nopeek"]))] = Made(every)
    for row in published["post_training"].rows:
        cell, scale = Classifier(0, float(row.at["nopeek"])), f"{float(row.at['scale']):g}"
        half = published["notebooks"].at(nopeek=row.at["nopeek"], scale=row.at["scale"])
        found.afterwards.setdefault(cell, {})[scale] = {
            "val": share(row.figures["accuracy"]), "train": share(row.figures["train_accuracy"]), "test": share(90.0),
            "train_half": share(half.figures["accuracy"] if half else 99.0),
        }  # fmt: skip
    for row in published["rerun"].rows:
        cell = Classifier(float(row.at["noise"]), float(row.at["nopeek"]))
        mean, spread = ((row.figures[name] or 0.0) / 100 for name in ("accuracy", "deviation"))
        found.rerun[cell] = {
            "draws": [mean - spread, mean + spread], "val_dcorr": [row.figures["dcorr"], 0.003], "test": share(90.0)
        }  # fmt: skip
    made = {table.id: table for table in tables(found, published, "")}
    assert set(made) == {"models", "training", "attacks", "identification", "post_training", "notebooks", "rerun"}
    for name in ("models", "attacks", "post_training", "notebooks", "rerun"):
        judged = made[name].judged()
        assert judged, name
        assert all(judged), name
        assert [row.name for row in made[name].rows] == [row.name for row in published[name].rows]
    deviations = [cell for row in made["rerun"].rows for cell in row.cells if cell.column == "deviation"]
    assert all(cell.ours and cell.ours.value == pytest.approx(cell.published, abs=1e-9) for cell in deviations)
    for table in tables(found, published, "smaller"):
        assert not table.judged(), "nothing of a quick run is held against a published figure"


def test_a_difference_is_clear_where_the_intervals_lie_apart() -> None:
    assert clearly([0.5, 0.45, 0.55, 500], [0.3, 0.26, 0.35, 500])
    assert not clearly([0.3, 0.26, 0.35, 500], [0.5, 0.45, 0.55, 500])
    assert not clearly([0.5, 0.45, 0.55, 500], [0.48, 0.43, 0.53, 500])


def test_a_sentence_on_two_attackers_follows_their_numbers() -> None:
    high, low, near = [0.5, 0.45, 0.55, 500], [0.3, 0.26, 0.35, 500], [0.48, 0.43, 0.53, 500]
    assert "flatter" in adaptive(high, low)
    assert "does not make" in adaptive(low, high)
    assert "no clear difference" in adaptive(high, near)


def test_the_fault_switched_off_meets_the_noise(bench: Workbench) -> None:
    """With noise that drowns everything the published way sees no difference; what is sent tells hardly anything."""
    tiny: dict[str, Any] = Dpsnn.tiny | {"cells": ("mnist_200noise_00nopeek",), "shadow": 400, "attack_epochs": 4}
    made = reproducing.chosen("dpsnn", tiny, quick=True)
    assert isinstance(made, Dpsnn)
    found = made.run(bench, quick=True)
    cells = {
        cell.column: cell for table in found.tables if table.id == "identification" for cell in table.rows[0].cells
    }
    published, ridge = cells["published"], cells["ridge"].right
    assert published.ours is not None
    assert published.right is not None
    assert ridge is not None
    assert published.ours.value > 3 * max(published.right.value, ridge.value, 100 / 60)
