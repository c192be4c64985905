"""Curves are what the trainings told: heard in order, finite, few; and watching a training changes nothing of it."""

from __future__ import annotations

import copy
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from unsmash.curves import MOST, TARGET, Curve, Epoch, Listener, thinned
from unsmash.data.base import Splits
from unsmash.events import Event, Fan
from unsmash.experiment import Experiment, study
from unsmash.lab import Lab
from unsmash.pipeline import run
from unsmash.plain import dumps
from unsmash.run_reading import load_run
from unsmash.split import SplitModel
from unsmash.split.train import Training, predict, train
from unsmash.victim import prepare


def test_a_listener_keeps_passes_in_order_and_begins_anew_with_another_training() -> None:
    heard = Listener("decoder")
    lab = Lab(sink=heard)
    for number, held in ((0, 3.0), (1, 1.0), (2, 2.0)):
        lab.epoch("decoder", number, loss="squared error", train=None if not number else 0.5, held=held, selects=True)
    lab.emit("note", "decoder", "said beside")
    list(lab.track(range(3), "decoder"))
    lab.epoch("decoder", 1, loss="squared error", train=4.0, held=None)
    lab.epoch("other", 2, loss="cross-entropy", train=5.0, held=None)
    first, second, third = heard.curves
    assert first == Curve("decoder", "decoder", "squared error",
                          (Epoch(0, None, 3.0), Epoch(1, 0.5, 1.0), Epoch(2, 0.5, 2.0)), True)  # fmt: skip
    assert first.best == Epoch(1, 0.5, 1.0)
    assert second.rows == (Epoch(1, 4.0, None),)
    assert second.best is None
    assert (third.stage, third.loss) == ("other", "cross-entropy")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_left_open(value: float) -> None:
    heard, told = Listener("x"), list[Event]()
    Lab(sink=Fan((heard, told.append))).epoch("x", 1, loss="", train=value, held=value)
    assert heard.curves[0].rows == (Epoch(1, None, None),)
    json.dumps(told[0].data, allow_nan=False)


@pytest.mark.parametrize("count", [1, MOST, MOST + 1, 1000, 10_000])
def test_a_long_curve_is_thinned_to_its_shape(count: int) -> None:
    best = count // 3
    rows = tuple(Epoch(n, 1.0 * n, abs(n - best) + 1.0) for n in range(count))
    (kept,) = thinned([Curve("x", "x", "", rows)])
    numbers = [row.number for row in kept.rows]
    assert len(numbers) == min(count, MOST) or len(numbers) == MOST - 1
    assert numbers == sorted(set(numbers))
    assert {0, best, count - 1} <= set(numbers)
    assert kept.best == rows[best]
    widest = max((b - a for a, b in itertools.pairwise(numbers)), default=1)
    assert widest <= math.ceil(count / (MOST - 2))


def small_net() -> SplitModel:
    with Lab().seeded("net"):
        device = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3))
        return SplitModel(device, nn.Linear(108, 10))


def test_a_watched_training_gives_the_same_bits(digits: Splits) -> None:
    fit, held = digits.train, (digits.val.pixels, digits.val.labels)
    blind, watched = small_net(), small_net()
    plan = Training(epochs=3, batch=32)  # type: ignore[call-arg]
    train(blind, fit.pixels, fit.labels, plan, Lab())
    before = torch.random.get_rng_state()
    train(watched, fit.pixels, fit.labels, plan, Lab(), held)
    assert torch.equal(before, torch.random.get_rng_state())
    for name, tensor in blind.state_dict().items():
        assert torch.equal(tensor, watched.state_dict()[name]), name


def test_the_rows_are_the_losses_of_a_naive_loop(digits: Splits) -> None:
    """One step a pass at a rate too small to move float32: every loss is that of the starting weights."""
    model, heard = small_net(), Listener(TARGET)
    model.device[4].p = 0.0  # type: ignore[index, union-attr]
    start = copy.deepcopy(model)
    images, labels = digits.train.pixels, digits.train.labels
    held = digits.val.pixels, digits.val.labels.clone()
    held[1][:5] = -1  # without a label nothing can be watched
    plan = Training(epochs=1, batch=len(images), rate=1e-30)  # type: ignore[call-arg]
    train(model, images, labels, plan, Lab(sink=heard), held)
    (row,) = heard.curves[0].rows
    start.train()
    assert row.train == pytest.approx(nn.functional.cross_entropy(start(images), labels).item(), rel=1e-6)
    logits = predict(start.eval(), held[0][5:], Lab())
    each = [-logits[i].double().log_softmax(0)[held[1][5 + i]].item() for i in range(len(logits))]
    assert row.held == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_the_mean_of_a_pass_weighs_images_not_batches(digits: Splits) -> None:
    """Forty images in batches of 32 and 8: the mean over images, as one batch of all has it."""
    rows = []
    for batch in (32, 40):
        model, heard = small_net(), Listener(TARGET)
        assert isinstance(model.device, nn.Sequential)
        model.device[1], model.device[4] = nn.Identity(), nn.Identity()
        plan = Training(epochs=1, batch=batch, rate=1e-30)  # type: ignore[call-arg]
        train(model, digits.train.pixels[:40], digits.train.labels[:40], plan, Lab(sink=heard))
        rows.append(heard.curves[0].rows[0])
    assert rows[0].train == pytest.approx(rows[1].train, rel=1e-5)
    assert rows[0].held is None


def quick(plain: Experiment, **settings: object) -> Experiment:
    raw = plain.model_dump(mode="json") | {"attacks": [{"kind": "decoder", "size": "small", "epochs": 2, "copies": 1}]}
    return study(raw | settings).experiment


def test_a_run_records_the_network_and_each_learned_attack(
    plain: Experiment, digits: Splits, tmp_path: Path, short_recogniser: None
) -> None:
    told: list[Event] = []
    grants = {"grants": ["queries", "shadow"]}
    threats = [{"name": "query", **grants}, {"name": "repeat", "queries": 4, **grants}]
    one = quick(plain, defences=[{"kind": "laplace", "scale": 0.3}], threats=threats)
    measured = run(one, digits, Lab(sink=told.append), name="x", cache=tmp_path).run
    names = [curve.name for curve in measured.curves]
    attacks = [result.name for result in measured.of_role("attack")]
    assert names == [TARGET, "decoder", "decoder@repeat"]
    assert sorted(attacks) == ["decoder", "decoder@repeat"]
    target, *learned = measured.curves
    assert [row.number for row in target.rows] == [1, 2, 3, 4]
    assert all(row.train is not None and row.held is not None for row in target.rows)
    for curve in learned:
        assert [row.number for row in curve.rows] == [0, 1, 2]
        assert curve.rows[0].train is None
        assert curve.selects
    assert len({curve.rows for curve in learned}) == len(learned)
    assert sum(event.kind == "epoch" for event in told) >= 4 + 3 * len(learned)
    assert load_run(dumps(measured)) == measured
    again = run(one, digits, Lab(), name="x", cache=tmp_path).run
    assert again.curves == measured.curves  # the network came from the cache
    assert again.digest() == measured.digest()


def test_a_network_taken_as_it_is_has_no_curve(plain: Experiment, digits: Splits) -> None:
    one = quick(plain, train={"epochs": 0})
    assert prepare(one, digits, Lab(), None).curves == ()


def test_only_the_defended_training_is_recorded(plain: Experiment, digits: Splits) -> None:
    """The same network is trained without defence too, for comparison; its curve is another one."""
    defended = prepare(quick(plain, defences=[{"kind": "laplace", "scale": 2.0}]), digits, Lab(), None)
    bare = prepare(quick(plain), digits, Lab(), None)
    assert len(defended.curves) == len(bare.curves) == 1
    assert defended.curves[0].rows != bare.curves[0].rows
    assert replace(defended.curves[0], rows=()) == replace(bare.curves[0], rows=())
