import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash.data._sampling import draw, sizes
from unsmash.errors import DataError

SETS = ("train", "shadow", "validator", "val", "victims")
NONE: dict[str, int | None] = dict.fromkeys(SETS)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-1, 5), min_size=60, max_size=300), st.integers(0, 12))
def test_draws_are_disjoint_and_of_the_size_asked_for(labels: list[int], each: int) -> None:
    known = torch.tensor(labels)
    if int((known >= 0).sum()) < 5 * each:
        known = known.clamp(min=0)
    drawn = draw(dict.fromkeys(SETS, each), known)
    places = torch.cat(list(drawn.values())).tolist()
    assert len(set(places)) == len(places) == 5 * each
    if (known >= 0).any():
        assert all((known[drawn[name]] >= 0).all() for name in SETS if name != "shadow")


def test_held_out_sets_are_balanced_and_training_covers_every_class() -> None:
    labels = torch.arange(10).repeat_interleave(torch.arange(12, 202, 19))  # 12 images of class 0, 183 of class 9
    drawn = draw({"train": 300, "shadow": 200, "validator": 50, "val": 30, "victims": 40}, labels)
    assert labels[drawn["victims"]].bincount().tolist() == [4] * 10
    assert labels[drawn["val"]].bincount().tolist() == [3] * 10
    assert all(labels[drawn[name]].bincount(minlength=10).min() > 0 for name in SETS)


def test_a_rare_class_is_not_emptied_by_the_held_out_sets() -> None:
    labels = torch.tensor([0] * 6 + [1] * 300)
    drawn = draw({"train": 100, "val": 20, "victims": 40}, labels)
    assert (labels[drawn["train"]] == 0).any()


def test_victims_do_not_depend_on_the_other_sets() -> None:
    labels = torch.arange(500) % 7
    few = draw({"train": 20, "shadow": 20, "victims": 30}, labels)
    many = draw({"train": 200, "shadow": 200, "val": 30, "victims": 30}, labels)
    assert few["victims"].tolist() == many["victims"].tolist()


def test_shadow_takes_what_is_labelled_before_what_is_not() -> None:
    labels = torch.tensor([-1] * 50 + [0, 1] * 20)
    drawn = draw({"train": 20, "victims": 10, "shadow": 30}, labels)
    assert (labels[drawn["shadow"]] >= 0).sum() == 10


@pytest.mark.parametrize("there", [60, 200, 1000, 20_000])
def test_shares_use_what_there_is(there: int) -> None:
    counts = sizes(NONE, torch.zeros(there, dtype=torch.int64), where="x")
    assert there - 5 <= sum(counts.values()) <= there
    assert 20 <= counts["victims"] <= 500


def test_counts_given_are_kept_and_the_rest_is_shared() -> None:
    counts = sizes({**NONE, "train": 10, "victims": 30}, torch.zeros(100, dtype=torch.int64), where="x")
    assert (counts["train"], counts["victims"]) == (10, 30)
    assert 55 <= counts["shadow"] + counts["validator"] + counts["val"] <= 60


def test_too_few_images_come_with_counts_that_fit() -> None:
    wants = {"train": 2000, "shadow": 2000, "validator": 400, "val": 100, "victims": 500}
    labels = torch.zeros(300, dtype=torch.int64)
    with pytest.raises(
        DataError, match=r"x: 300 images, but the sets want 5,000 \(train 2,000, shadow 2,000"
    ) as caught:
        sizes(wants, labels, where="x")
    advised = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", str(caught.value))}
    assert set(advised) == set(SETS)
    assert sizes(advised, labels, where="x") == advised


@pytest.mark.parametrize("there", [1, 4])
def test_hopelessly_few_images_say_how_many_are_needed(there: int) -> None:
    with pytest.raises(DataError, match=r"at least 6 are needed"):
        sizes(NONE, torch.zeros(there, dtype=torch.int64), where="x")


def test_labels_limit_all_but_the_shadow_set() -> None:
    labels = torch.tensor([-1] * 500 + [0] * 50)
    assert sizes({"train": 30, "victims": 20, "shadow": 500}, labels, where="x")["shadow"] == 500
    with pytest.raises(DataError, match="50 images with a label among 550"):
        sizes({"train": 40, "victims": 20, "shadow": 100}, labels, where="x")
