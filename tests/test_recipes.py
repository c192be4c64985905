"""The space that the advisor searches: every recipe can be armed, and the best rows made by hand are in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unsmash import recipes as spaces
from unsmash.component import discover
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.experiment import component, read_yaml
from unsmash.recipes import FIRST, Recipe, Space, parameter, recipes
from unsmash.variants import plan

CLASSES = 10
EVERY = {one.name: one for one in recipes(CLASSES)}
FRONTIER = Path(__file__).parent.parent / "examples" / "frontier.yaml"


def written(defences: Any) -> str:
    return json.dumps([component(one, "defences", "defences").model_dump(mode="json") for one in defences])


@pytest.mark.parametrize("recipe", EVERY.values(), ids=lambda one: one.name)
def test_both_ends_and_the_middle_of_every_range_are_settings(recipe: Recipe) -> None:
    strengths = recipe.strengths()
    assert all(0 < one.low < one.high for one in strengths.values())
    for settings in (
        recipe.middle(),
        recipe.settings({name: one.low for name, one in strengths.items()}),
        recipe.settings({name: one.high for name, one in strengths.items()}),
    ):
        assert len(json.loads(written(settings))) == len(recipe.defences)


def test_every_first_configuration_is_in_the_space_and_a_row_of_the_frontier() -> None:
    rows = plan(read_yaml(FRONTIER)).variants
    known = {
        (
            written(row.study.experiment.defences),
            bool(row.study.experiment.train.augment),
            row.study.experiment.epochs(),
        )
        for row in rows
    }
    assert FIRST[0].recipe == "label"
    for one in FIRST:
        recipe = EVERY[one.recipe]
        for name, value in one.strengths.items():
            assert recipe.strengths()[name].low <= value <= recipe.strengths()[name].high
        epochs = spaces.LONGER if one.longer else rows[0].study.experiment.epochs()
        assert (written(recipe.settings(one.strengths)), one.longer, epochs) in known


def test_settings_of_one_name_have_one_value() -> None:
    recipe = EVERY["bottleneck + CEM + Gaussian"]
    made = recipe.settings({"bottleneck.numbers": 7.6, "cem.weight": 0.123456, "sigma": 0.5})
    assert made[1]["sigma"] == made[2]["sigma"] == 0.5
    assert made[0]["numbers"] == 8
    assert made[1]["weight"] == 0.123


def test_every_kind_of_defence_is_searched_but_those_that_protect_the_training_alone() -> None:
    searched = {defence["kind"] for recipe in EVERY.values() for defence in recipe.defences}
    assert searched == set(discover("unsmash.defences", Defence)) - {"dpsgd", "gradient_noise", "split_guard"}


def test_a_trained_network_takes_no_recipe_that_trains_it() -> None:
    kinds = discover("unsmash.defences", Defence)
    able = {name for name, one in EVERY.items() if spaces.after_training(one, lambda kind: kinds[kind].after_training)}
    assert {"no defence", "label", "Laplace"} <= able
    assert not able & {"NoPeek + Gaussian", "adversarial + Gaussian", "bottleneck + CEM + Gaussian"}
    later = spaces.after_training(EVERY["Laplace"], lambda kind: True)
    assert later is not None
    assert [defence["when"] for defence in later.defences] == ["inference"]


def test_first_trials_keep_to_what_may_be_chosen() -> None:
    space = Space(("code", "pool"), (EVERY["label"], EVERY["simplex"]), (False,), (("code", "simplex", "too small"),))
    assert space.first() == [{"cut": "code", "recipe": "label", "longer": False}]
    both = Space(("code",), (EVERY["label"], EVERY["simplex"]), (False, True)).first()
    assert [one["longer"] for one in both] == [True, True]
    assert both[1][parameter("simplex", "simplex.radius_over_sigma")] == 5.0


def test_patterns_choose_recipes_and_an_unknown_one_is_told() -> None:
    assert [one.name for one in spaces.only(recipes(CLASSES), ["label*"])] == [
        name for name in EVERY if name.startswith("label")
    ]
    with pytest.raises(ConfigError, match=r"--only: got 'labels'.*did you mean 'label'"):
        spaces.only(recipes(CLASSES), ["labels"])
