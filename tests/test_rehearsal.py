"""The training carried out once more is the training that was, unless the company changes it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import TINY
from torch import Tensor

from unsmash.data.base import Splits
from unsmash.errors import Alarm, ThreatError, UnsmashError
from unsmash.experiment import Experiment, study
from unsmash.lab import Lab
from unsmash.rehearsal import Rehearsal
from unsmash.split import Smashed
from unsmash.split.parties import Onlooker, Watch
from unsmash.threat import Grant, Threat
from unsmash.victim import prepare
from unsmash.view import View, make_scene, observe


def experiment(**more: Any) -> Experiment:
    return study({"data": TINY, "model": "shallow_net", "train": {"epochs": 2}} | more).experiment


def state(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


DEFENCES: dict[str, list[Any]] = {
    "none": [],
    "noise": ["gaussian"],
    "noise afterwards": [{"kind": "gaussian", "when": "inference"}],
    "penalty and noise": ["nopeek", "laplace"],
}


@pytest.mark.parametrize("name", DEFENCES)
def test_in_honest_company_it_gives_the_same_victim_to_the_last_bit(name: str, digits: Splits) -> None:
    one = experiment(defences=DEFENCES[name])
    known = prepare(one, digits, Lab(), None).model
    assert same(state(Rehearsal(one, digits, Lab())(None, None, None).model), state(known))


class Counts(Onlooker):
    """Keeps what it sees."""

    def __init__(self, stop: int | None = None) -> None:
        self.rows: list[Tensor] = []
        self.stop = stop

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> bool:
        assert all(
            sent.shape == back.shape and len(rows) == len(sent) for sent, back in zip(release, gradient, strict=True)
        )
        self.rows.append(rows)
        if self.stop == len(self.rows):
            raise Alarm("enough")
        return True


def test_a_watch_sees_every_image_once_a_pass_and_changes_nothing(digits: Splits) -> None:
    one, watch = experiment(), Counts()
    outcome = Rehearsal(one, digits, Lab())(None, watch, None)
    assert torch.cat(watch.rows).bincount().tolist() == [2] * len(digits.train.pixels)
    assert same(state(outcome.model), state(prepare(one, digits, Lab(), None).model))


def test_an_alarm_ends_the_training_there_and_says_why(digits: Splits) -> None:
    watch = Counts(stop=3)
    outcome = Rehearsal(experiment(), digits, Lab())(None, watch, None)
    assert outcome.alarm == "enough"
    assert len(watch.rows) == 3
    assert not any(module.training for module in outcome.model.modules())


def test_steps_are_as_many_as_were_asked_for(digits: Splits) -> None:
    watch = Counts()
    Rehearsal(experiment(train={"epochs": 0}), digits, Lab())(None, watch, 5)
    assert len(watch.rows) == 5


class Refuses(Onlooker):
    """Lets no step through."""

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> bool:
        return False


def test_a_step_that_the_device_refuses_leaves_its_half_as_it_was(digits: Splits) -> None:
    one = experiment()
    start = Rehearsal(one, digits, Lab())(None, None, 0).model
    end = Rehearsal(one, digits, Lab())(None, Refuses(), 4).model
    assert same(state(start.device), state(end.device))
    assert not same(state(start.server), state(end.server))


class Still:
    """A server that returns nothing to learn from."""

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        return tuple(torch.zeros_like(part) for part in release), 0.0


def test_another_server_decides_what_the_device_half_becomes(digits: Splits) -> None:
    one = experiment()
    start = Rehearsal(one, digits, Lab())(None, None, 0).model
    assert same(state(start), state(Rehearsal(one, digits, Lab())(Still(), None, 4).model))


def test_training_with_differential_privacy_has_no_server_to_replace(digits: Splits) -> None:
    with pytest.raises(UnsmashError, match="no server can be replaced"):
        Rehearsal(experiment(defences=["dpsgd"]), digits, Lab())(Still(), None, None)


def opened(digits: Splits, *grants: Grant) -> View:
    one = experiment()
    victims, shadow = digits.victims, digits.shadow
    scene = make_scene(victims.pixels, victims.labels, shadow.pixels, shadow.labels, 10, Lab())
    model = prepare(one, digits, Lab(), None).model
    return observe(model, scene, Threat(name="own", grants=grants), Lab(), rehearse=Rehearsal(one, digits, Lab()))


def test_who_takes_part_gets_what_the_new_device_half_sends_of_the_victims(digits: Splits) -> None:
    view = opened(digits, Grant.TRAINING)
    session = view.take_part(Still(), 2)
    untrained = Rehearsal(experiment(), digits, Lab())(None, None, 0).model
    assert session.alarm == ""
    with torch.no_grad():
        for sent, known in zip(session.release, untrained.release(digits.victims.pixels), strict=True):
            torch.testing.assert_close(sent, known)


def test_taking_part_and_looking_on_are_granted_apart(digits: Splits) -> None:
    watch: Watch = Counts()
    with pytest.raises(ThreatError, match="training"):
        opened(digits, Grant.GRADIENTS).take_part(Still(), 1)
    with pytest.raises(ThreatError, match="gradients"):
        opened(digits, Grant.TRAINING).look_on(watch, 1)
    opened(digits, Grant.GRADIENTS).look_on(watch, 1)
