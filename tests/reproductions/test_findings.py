"""The faults are what they are called: figures as published agree with references, and sentences follow numbers."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from unsmash.attacks.affine_decoder import AffineDecoder
from unsmash.class_inversion import Descent, invert
from unsmash.data.omniglot import Omniglot
from unsmash.lab import Lab
from unsmash.metrics.images import psnr
from unsmash.reproductions.faults import (
    contaminated_test,
    inverted_stopping,
    noise_never_attacked,
    peak_of_255,
    private_training,
    squared_distances,
    undone_by_repeats,
)
from unsmash.reproductions.faults.fault import Fault, Figures, measures, published, turn
from unsmash.reproductions.faults.ground import Ground, Sizes
from unsmash.reproductions.systems.findings import FAULTS, SevenFaults, headline
from unsmash.reproductions.workbench import Workbench
from unsmash.split import flat
from unsmash.threat import Threat
from unsmash.view import observe


def tiny(bench: Workbench) -> Ground:
    told = {name: value for name, value in SevenFaults.tiny.items() if name in Sizes.model_fields}
    return Ground(bench, Sizes.model_validate(told))


def rows(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# squared distances


def test_the_fields_measure_equals_a_naive_loop_and_the_root_of_linear_cka() -> None:
    x, z = rows(24, 7, 0), rows(24, 5, 1)
    z = z + 0.4 * x[:, :5].square()
    n = len(x)
    a, b = (np.array([[float(((p - q) ** 2).sum()) for q in r] for p in r]) for r in (x, z))
    a, b = (m - m.mean(0) - m.mean(1)[:, None] + m.mean() for m in (a, b))
    covariance = math.sqrt((a * b).sum()) / n
    loop = covariance / math.sqrt(math.sqrt((a**2).sum()) / n * math.sqrt((b**2).sum()) / n)
    xc, zc = x - x.mean(0), z - z.mean(0)
    cka = ((xc.T @ zc).norm() ** 2 / ((xc.T @ xc).norm() * (zc.T @ zc).norm())).sqrt().item()
    assert squared_distances.squared(x, z) == pytest.approx(loop, rel=1e-9)
    assert squared_distances.squared(x, z) == pytest.approx(cka, rel=1e-9)


def test_it_is_large_on_noise_where_the_corrected_one_is_nothing_and_blind_to_a_parabola() -> None:
    noise = squared_distances.both([(rows(128, 784, s), rows(128, 500, s + 50)) for s in range(6)])
    assert noise["ours"]["dependence"][0] > 0.8
    assert abs(noise["right"]["dependence"][0]) < 0.1
    x = rows(1500, 1, 3)
    parabola = squared_distances.both([(x, x.square())])
    assert parabola["ours"]["dependence"][0] < 0.2
    assert parabola["right"]["dependence"][0] > 0.4
    assert len(parabola["right"]["dependence"]) == 1, "one figure over all rows has no interval"


# decibels


def test_published_decibels_are_scikit_images_with_a_range_of_255_on_normalised_pixels() -> None:
    truth, guess = (torch.rand(3, 3, 9, 9, generator=torch.Generator().manual_seed(s)).double() for s in (0, 1))
    ours = peak_of_255.with_peak_255(truth, guess)
    for place in range(3):
        pair = (peak_of_255.normalised(one)[place].numpy() for one in (truth, guess))
        assert ours[place].item() == pytest.approx(peak_signal_noise_ratio(*pair, data_range=255))


def test_the_conversion_is_exact_where_all_channels_err_alike() -> None:
    truth = torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    guess = truth + 0.3 * torch.tensor(peak_of_255.STD, dtype=torch.float64).reshape(1, 3, 1, 1)
    reported = peak_of_255.with_peak_255(truth, guess).item()
    assert peak_of_255.true_decibels(reported) == pytest.approx(psnr(truth, guess).item())


def test_a_clipped_picture_is_the_best_that_stays_above_the_mean_colour() -> None:
    truth = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    floor = torch.tensor(peak_of_255.MEAN).reshape(1, 3, 1, 1)
    torch.testing.assert_close(peak_of_255.clipped(truth), torch.maximum(truth, floor.expand_as(truth)))


# letters


@pytest.mark.slow
def test_a_thousand_letters_of_small2_are_in_small1(bench: Workbench) -> None:
    pools = Omniglot().pools(bench.root)
    assert pools.shadow is not None
    assert pools.victims is not None
    assert len(pools.victims) == contaminated_test.SMALL2
    known = contaminated_test._in(pools.victims.pixels, pools.shadow.pixels)
    held = [pools.victims.names[place] for place in known.nonzero().flatten().tolist()]
    assert {name.split("/")[1] for name in held} == {"Greek", "Latin"}
    every = {name.split("/")[1] for name in pools.victims.names}
    assert len(every) > 2, "there are new letters too"
    assert int(known.sum()) == sum(name.split("/")[1] in ("Greek", "Latin") for name in pools.victims.names)


# the stopping rule


def test_a_class_let_go_at_once_is_no_sure_one() -> None:
    with Lab().seeded("net"):
        layer = torch.nn.Linear(16, 6)
    starts, classes = torch.zeros(6, 1, 4, 4), torch.arange(6)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([9.0, 0, 0, 0, 0, 0]))  # sure of class 0, and nearly sure that it is no other
        layer.weight.mul_(0.01)
    art = invert(
        torch.nn.Sequential(torch.nn.Flatten(), layer),
        starts,
        classes,
        Descent(rule="art", on="probability", max_iter=7),
    )
    found = inverted_stopping._figures(art)
    assert art.iterations.tolist() == [7, 1, 1, 1, 1, 1]
    assert found["stuck"][0] == pytest.approx(100 * 5 / 6)
    assert found["sure"][0] == pytest.approx(100 / 6)
    assert found["steps"][0] == pytest.approx(12 / 6)
    assert found["slope"][0] == art.slopes.min().item()


# noise


def test_one_training_answers_before_the_noise_as_that_attacker_alone_would(bench: Workbench) -> None:
    ground, lab = tiny(bench), bench.lab.at("here")
    made = noise_never_attacked._before(ground, lab)
    clean = observe(ground.quiet(), ground.digits.scene, Threat(), lab)
    with lab.seeded("attack"):
        alone = AffineDecoder(epochs=ground.sizes.attacker_passes).run(clean, lab)
    shown = ground.digits.exhibits
    torch.testing.assert_close(made.arrays["before"], alone[shown].clamp(0, 1), rtol=1e-4, atol=1e-5)
    assert not torch.equal(made.arrays["before"], made.arrays["unprepared"])
    assert flat(clean.release).abs().max() <= 1, "the activation before the noise is a tanh's"


def test_messages_seen_more_often_are_nearer_to_the_activation(bench: Workbench) -> None:
    ground = tiny(bench)
    noisy, scene = ground.noisy(), ground.digits.scene
    quiet = flat(observe(ground.quiet(), scene, Threat(), Lab()).release)
    errors = [
        (flat(observe(noisy, scene, Threat(queries=k), Lab()).release) - quiet).square().mean().item() for k in (1, 4)
    ]
    assert errors[0] == pytest.approx(2, rel=0.1), "Laplace(0, 1) has a variance of 2"
    assert errors[1] == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(("repeats", "few"), [((1, 4, 16, 64), 16), ((1, 4), 4), ((1, 64), 64), ((1, 9, 20), 9)])
def test_the_headline_takes_sixteen_repeats_or_the_nearest_below(repeats: tuple[int, ...], few: int) -> None:
    assert undone_by_repeats._undone(repeats) == few


# DP-SGD


def test_without_opacus_it_is_left_out_and_says_so(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.split(".")[0] == "opacus"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "opacus", None)
    monkeypatch.setitem(sys.modules, "opacus.validators", None)
    found = private_training.show(tiny(bench))
    assert found.shown is None
    assert any("opacus" in line and "pip install" in line for line in found.left_out)
    measured = {row.name for row in found.tables[0].rows for cell in row.cells if cell.ours or cell.right}
    assert private_training.NETWORKS["plain"] in measured
    assert private_training.NETWORKS["private"] not in measured


# words


def case(value: float, half: float = 3.0) -> list[float]:
    return [value, value - half, value + half, 500.0]


def figures(identified: float, ssim: float = 0.5) -> Figures:
    return {
        "identification": case(identified), "recognition": case(identified), "correlation": [0.9], "mse": [0.03],
        "ssim": case(ssim, 0.01),
    }  # fmt: skip


def test_turn_is_none_where_intervals_meet() -> None:
    assert turn(case(50), case(55)) == 0
    assert (turn(case(50), case(57)), turn(case(57), case(50))) == (1, -1)


def test_the_sentence_on_noise_follows_the_numbers() -> None:
    told = [noise_never_attacked._sentence(figures(90), figures(after), figures(60)) for after in (30, 91, 99)]
    assert ["nothing of the noise" in one for one in told] == [True, False, False]
    assert ["no difference" in one for one in told] == [False, True, False]
    assert ["nobody expected" in one for one in told] == [False, False, True]
    assert "30.0 %" in told[0]


def test_the_sentence_on_private_training_follows_the_numbers() -> None:
    told = {"plain": {"accuracy": case(95)}, "private": {"accuracy": case(70), "epsilon": [2.4]}, "fresh": {}}
    for after, words in ((0.7, "leaks more"), (0.5, "leaks as much"), (0.3, "leaks less")):
        kept = {
            name: {"decoder": figures(90, ssim)} for name, ssim in (("plain", 0.5), ("private", after), ("fresh", 0.6))
        }
        assert words in private_training._sentence(kept, told)


def test_the_headline_counts_what_the_figures_bear_out() -> None:
    found = [Fault("a", True, "", (), "x"), Fault("b", False, "", ()), Fault("c", None, "", ())]
    assert "**1 of 2**" in headline(found)
    assert "not here: b" in headline(found)
    assert "not here" not in headline(found[:1])


def test_a_figure_without_an_interval_is_a_measure_without_one() -> None:
    found = measures({"a": [1.0], "b": [2.0, 1.5, 2.5, 20.0]})
    assert (found["a"].low, found["a"].n) == (None, 0)
    assert (found["b"].low, found["b"].high, found["b"].n) == (1.5, 2.5, 20)


def test_published_figures_are_found_by_name_and_a_missing_one_is_an_error() -> None:
    assert published("decibels", peak_of_255.REPORTED, "psnr") > 40
    with pytest.raises(KeyError):
        published("decibels", peak_of_255.REPORTED, "ssim")


def test_every_fault_is_in_the_report_once() -> None:
    modules = {show.__module__.rpartition(".")[2] for show in FAULTS}
    assert len(modules) == len(FAULTS) == 7


@pytest.mark.parametrize("repeats", [(4, 16), (1,), (1, 16, 4), (1, 1, 4), (1, 5000)])
def test_repeats_that_do_not_rise_from_one_are_refused(repeats: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="rising order"):
        Sizes(repeats=repeats)
