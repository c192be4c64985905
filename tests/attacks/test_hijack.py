"""A hijacking server: what it may touch, what it sends, and that it works on a small real case."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import pytest
import torch
from small import CLASSES, GREY, look, pictures, practise, scene, shallow
from torch import Tensor

from unsmash.attacks.hijack import Hijack
from unsmash.attempt import attempt
from unsmash.defences.gaussian import GaussianShield
from unsmash.errors import Alarm
from unsmash.hijacking import Hijacker, HijackPlan, Probe
from unsmash.lab import Lab
from unsmash.pilot import Pilot
from unsmash.split import Shield, Smashed
from unsmash.split.parties import Onlooker
from unsmash.split.train import Training, train
from unsmash.threat import Grant
from unsmash.view import View

NEEDS = frozenset({Grant.TRAINING, Grant.SHADOW})
SHORT = {"kind": "hijack", "steps": 300, "practice": 150, "gain": 1.0}
PLAN = HijackPlan(practice=20, batch=16, rate=3e-3, labelled=True, gain=1.0)


def server(labels: Tensor | None = None, plan: HijackPlan = PLAN) -> Hijacker:
    mine, known = pictures(GREY, 120, 24)
    return Hijacker(mine, known if labels is None else labels, Shield(), 1, plan, Lab())


class Recorded:
    """Keeps each answer of another server."""

    def __init__(self, inner: Hijacker) -> None:
        self.inner = inner
        self.sent: list[Smashed] = []

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        gradient, loss = self.inner.answer(release, y)
        self.sent.append(gradient)
        return gradient, loss


class Replayed:
    """Answers as another server did, and knows nothing."""

    def __init__(self, sent: list[Smashed]) -> None:
        self.sent = iter(sent)

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        return next(self.sent), 0.0


def test_the_device_half_changes_by_its_own_steps_on_what_was_sent_and_by_nothing_else() -> None:
    """The gradients alone, from whoever has no model at all, leave it the same to the last bit."""
    model = shallow("maps", GREY)
    recorded = Recorded(server())
    first = practise(model, GREY, recorded, None, 12).model
    second = practise(model, GREY, Replayed(recorded.sent), None, 12).model
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    start = model.device.state_dict()
    assert not all(torch.equal(tensor, start[name]) for name, tensor in first.device.state_dict().items())


def test_it_holds_no_part_of_the_device_half() -> None:
    model = shallow("flat", GREY)
    mine = server()
    trained = practise(model, GREY, mine, None, 3).model
    theirs = {tensor.data_ptr() for tensor in trained.state_dict().values()}
    parts = (mine.pilot, mine.decoder, mine.shield)
    assert not theirs & {tensor.data_ptr() for part in parts for tensor in part.state_dict().values()}


@pytest.mark.parametrize("labelled", [True, False])
def test_what_it_sends_is_the_gradient_of_the_energy_distance(labelled: bool) -> None:
    """Against autograd on pairwise distances written out, at the first batch: nothing is remembered yet."""
    mine = server(plan=replace(PLAN, labelled=labelled))
    draw = torch.Generator().manual_seed(1)
    release, y = (torch.rand(30, 7, generator=draw),), torch.arange(30) % CLASSES
    (sent,), _ = mine.answer(release, y)
    goals, classes = mine.led[0].double(), mine.labels
    z = release[0].double().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for i in range(30):
        there = [j for j in range(len(goals)) if not labelled or classes[j] == y[i]]
        here = [k for k in range(30) if not labelled or y[k] == y[i]]
        total = total + sum((z[i] - goals[j]).norm() for j in there) / len(there)  # type: ignore[arg-type]
        # the other end of a pair is held: by symmetry it pulls just as much
        total = total - sum((z[i] - z[k].detach()).norm() for k in here if k != i) / len(here)  # type: ignore[arg-type]
    (wanted,) = torch.autograd.grad(total / 30, z)
    torch.testing.assert_close(sent.double(), wanted, atol=1e-5, rtol=1e-4)


def test_where_the_classes_are_unknown_it_compares_with_all() -> None:
    release, y = (torch.rand(8, 5, generator=torch.Generator().manual_seed(2)),), torch.arange(8) % 4
    blind = server(labels=torch.full((120,), -1)).answer(release, y)[0][0]
    whole = server(plan=replace(PLAN, labelled=False)).answer(release, y)[0][0]
    assert not torch.equal(blind, server().answer(release, y)[0][0])
    # its own side is compared by class still, where it has several of one
    alone = torch.arange(8)
    blind = server(labels=torch.full((120,), -1)).answer(release, torch.full_like(alone, -1))[0][0]
    torch.testing.assert_close(blind, whole)


@pytest.mark.parametrize("numbers", [3, 96])
def test_the_pilot_of_plain_numbers_is_linear_and_as_wide_as_it_says(numbers: int) -> None:
    mine, _ = pictures(GREY, 200, 24)
    sent = torch.randn(64, numbers, generator=torch.Generator().manual_seed(3)) * 0.2 + 5 - 10 * torch.eye(64, numbers)
    pilot = Pilot(mine, (sent,), torch.Generator().manual_seed(0))
    led = pilot(mine)[0]
    width = led.std(0, correction=0).square().mean().sqrt()
    torch.testing.assert_close(width, 3 * sent.std(0, correction=0).square().mean().sqrt(), rtol=1e-3, atol=0)
    half = pilot((mine[:1] + mine[1:2]) / 2)[0]
    torch.testing.assert_close(half, (led[:1] + led[1:2]) / 2)


def test_the_pilot_keeps_to_where_the_device_half_can_send() -> None:
    mine, _ = pictures(GREY, 100, 24)
    draw = torch.Generator().manual_seed(4)
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 9.0)):
        sent = (torch.rand(40, 20, generator=draw) * (high - low) + low, torch.rand(40, 4, 3, 3, generator=draw))
        flat, maps = Pilot(mine, sent[:1], draw)(mine)[0], Pilot(mine, sent[1:], draw)(mine)[0]
        assert flat.min() >= low
        assert flat.max() <= (high if high == 1 else float("inf"))
        assert maps.shape == (100, 4, 3, 3)
        assert maps.min() >= 0


def test_the_probe_ends_when_the_push_shows_and_sooner_where_it_shows_sooner() -> None:
    """On a device half that follows every push at a known speed."""
    found = []
    for speed in (0.0, 1e2, 1e6):
        sent = torch.randn(200, 12, generator=torch.Generator().manual_seed(5))
        start, probe = sent.mean(0), Probe((sent,), torch.Generator().manual_seed(7))
        while (push := probe(sent)) is not None:
            sent = sent - speed * push
        moved = (sent.mean(0) - start).norm() / (start + sent).std()
        assert probe.found == 1 or moved > 0.1
        found.append(probe.found)
    assert found[0] == 1
    assert 0 < found[2] < found[1] < 1


class Objects(Onlooker):
    """A guard that has enough after some batches."""

    def __init__(self, stop: int) -> None:
        self.left = stop

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> bool:
        self.left -= 1
        if not self.left:
            raise Alarm("the device had enough")
        return True


class Guarded(Shield):
    """The identity, with that guard."""

    def guard(self, lab: Lab) -> Objects:
        return Objects(5)


def attack() -> Hijack:
    return Hijack.model_validate(SHORT)


def guarded() -> View:
    return look(shallow("flat", GREY, Guarded()), scene(GREY), NEEDS)


def test_an_alarm_stops_it_and_it_decodes_with_what_it_has() -> None:
    """As a server does that stops there by itself; one that goes on guesses otherwise."""
    guess, at, one = attack().run(guarded(), Lab()), scene(GREY), attack()
    plan = HijackPlan(one.practice, one.batch, one.rate, one.labelled, one.gain)
    mine = Hijacker(at.shadow, at.shadow_labels, Shield(), 1, plan, Lab())
    there = practise(shallow("flat", GREY), GREY, mine, Objects(5), one.steps).model
    with torch.no_grad():
        assert torch.equal(guess, mine.decode(there.release(at.victims)))
    assert mine.step == 5
    free = attack().run(look(shallow("flat", GREY), scene(GREY), NEEDS), Lab())
    assert not torch.equal(guess, free)


def test_the_result_says_that_the_device_noticed() -> None:
    result, guess = attempt(attack(), "hijack", guarded(), scene(GREY), None, Lab())
    assert guess is not None
    assert result.notes == (f"Of {attack().steps} batches it got 5: the device had enough.",)
    quiet, _ = attempt(attack(), "hijack", look(shallow("flat", GREY), scene(GREY), NEEDS), scene(GREY), None, Lab())
    assert quiet.notes == ()


def test_it_beats_the_mean_image_by_far_and_only_once_the_device_has_followed() -> None:
    at = scene(GREY)
    view = look(shallow("flat", GREY), at, NEEDS)
    error = (attack().run(view, Lab()) - at.victims).square().mean()
    soon = Hijack.model_validate(SHORT | {"steps": 1}).run(view, Lab())
    assert error < 0.8 * (at.shadow.mean(0) - at.victims).square().mean()
    assert error < (soon - at.victims).square().mean()


def test_the_decoder_learns_through_the_defence() -> None:
    """Noise as large as the pilot's own spread must cost the decoder what it shows."""
    errors = []
    for shield in (Shield(), GaussianShield(1.0)):
        mine, known = pictures(GREY, 120, 24)
        one = Hijacker(mine, known, shield, 1, replace(PLAN, practice=150), Lab())
        one.answer((torch.randn(32, 20, generator=torch.Generator().manual_seed(6)) * 0.1,), torch.arange(32) % 10)
        with Lab().seeded("noise"):
            errors.append((one.decode(one.shield(one.pilot(mine))) - mine).square().mean().item())
    assert errors[0] < errors[1] < mine.var(0).mean().item()


def test_training_labels_that_nobody_knows_are_no_obstacle() -> None:
    model, (images, labels) = shallow("flat", GREY), pictures(GREY, 64, 600)
    fresh = copy.deepcopy(model).requires_grad_(True)
    run = functools.partial(train, fresh, images, torch.full_like(labels, -1), Training(epochs=1, batch=32), Lab())
    run(server=server())
    assert all(tensor.isfinite().all() for tensor in fresh.state_dict().values())
