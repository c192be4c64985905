"""Victims that are spared: a search has others, as many, and nothing that it sees is kept for the re-test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import TINY

from unsmash.data._sampling import draw, stand_ins
from unsmash.data.base import Data, Splits
from unsmash.errors import DataError
from unsmash.experiment import component, study

SETS = ("train", "shadow", "validator", "val", "victims")


def loaded(**changes: Any) -> Splits:
    data = component(TINY | changes, "data", "data")
    assert isinstance(data, Data)
    return data.load(Path("nowhere"))


def test_a_search_sees_none_of_the_spared_images() -> None:
    own, search = loaded(), loaded(spare=True)
    spared = {*own.victims.names, *own.val.names}
    assert not spared & {name for each in SETS for name in getattr(search, each).names}
    assert search.train.names == own.train.names
    assert search.validator.names == own.validator.names
    assert [len(search.victims), len(search.val)] == [len(own.victims), len(own.val)]
    assert search.report.fingerprint != own.report.fingerprint


def test_the_stand_ins_are_balanced_and_disjoint_from_all_other_sets() -> None:
    search = loaded(spare=True)
    names = [name for each in SETS for name in getattr(search, each).names]
    assert len(set(names)) == len(names)
    counts = search.victims.labels.bincount(minlength=10)
    assert counts.max() - counts.min() <= 1


def test_shadow_lends_what_no_other_images_are_there_for() -> None:
    labels = torch.arange(100) % 10
    chosen = draw({"train": 30, "validator": 10, "val": 10, "victims": 10, "shadow": 40}, labels)
    sets = stand_ins(chosen, labels, where="here")
    assert len(sets["shadow"]) == 20
    assert sets["train"] is chosen["train"]
    lent = torch.cat([sets["victims"], sets["val"]])
    assert torch.isin(lent, chosen["shadow"]).all()
    assert not torch.isin(lent, sets["shadow"]).any()


def test_too_little_to_lend_is_one_sentence() -> None:
    labels = torch.arange(100) % 10
    chosen = draw({"train": 30, "validator": 10, "val": 20, "victims": 20, "shadow": 20}, labels)
    with pytest.raises(DataError, match=r"here: spare=true needs others in the place of 20 victims.*more shadow"):
        stand_ins(chosen, labels, where="here")


def test_data_that_spares_nothing_is_written_as_before_so_that_ids_stay() -> None:
    plain = component(TINY, "data", "data").model_dump(mode="json")
    assert "spare" not in plain
    spared = component(TINY | {"spare": True}, "data", "data").model_dump(mode="json")
    assert spared == plain | {"spare": True}
    one = study({"data": TINY, "model": "shallow_net"}).experiment
    other = study({"data": TINY | {"spare": True}, "model": "shallow_net"}).experiment
    assert one.id != other.id
    assert "spare" not in one.model_dump(mode="json")["data"]
