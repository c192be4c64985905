"""What a victim's record says of it."""

from __future__ import annotations

from unsmash.data.base import Splits
from unsmash.description import describe
from unsmash.experiment import Experiment, study
from unsmash.lab import Lab
from unsmash.victim import Victim, prepare


def test_the_record_tells_each_defence_in_order_and_in_its_own_words(plain: Experiment, digits: Splits) -> None:
    raw = {"data": plain.data, "model": plain.model, "train": {"epochs": 0}}
    defences = [{"kind": "gaussian", "sigma": 2.0, "when": "inference"}, {"kind": "laplace"}]
    defended = study(raw | {"defences": defences}).experiment
    split = describe(prepare(defended, digits, Lab(), None), defended, digits)
    assert [one.kind for one in split.armed] == ["gaussian", "laplace"]
    assert [one.when for one in split.armed] == ["inference", "always"]
    assert tuple(one.label for one in split.armed) == split.defences
    for one, defence in zip(split.armed, defended.defences, strict=True):
        worth = (defence.protects, defence.guarantee, defence.source, defence.cost)
        assert (one.protects, one.guarantee, one.source, one.cost) == worth


def test_without_a_defence_there_is_nothing_to_tell(victim: Victim, plain: Experiment, digits: Splits) -> None:
    assert describe(victim, plain, digits).armed == ()
