"""Who is added when an attack needs what no standing adversary holds."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from unsmash.errors import ConfigError
from unsmash.experiment import Experiment, study, to_yaml
from unsmash.settings import gather
from unsmash.threat import Grant, Threat, is_standing, standing


def made(*attacks: str, **more: Any) -> Experiment:
    raw = gather(None, data="digits", model="shallow_net", attacks=list(attacks), assignments=[], **more)
    return study(raw).experiment


def names(experiment: Experiment, *, asked: bool) -> list[str]:
    return [threat.name for threat in experiment.threats if threat.asked is asked]


def test_nobody_is_added_where_the_standing_ones_do() -> None:
    assert made("ridge", "decoder", "gallery").threats == standing()
    assert made("ridge", queries=16).threats == standing(16)


@pytest.mark.parametrize(("attack", "name", "grant"), [
    ("rmle", "white_box", Grant.WEIGHTS), ("hijack", "active_server", Grant.TRAINING),
])  # fmt: skip
def test_an_attack_on_releases_brings_who_is_asked_for(attack: str, name: str, grant: Grant) -> None:
    one = made("ridge", attack)
    assert names(one, asked=True) == ["query", name]
    brought = next(threat for threat in one.threats if threat.name == name)
    assert grant in brought.grants
    places = [threat.name for threat in one.threats]
    assert places.index(name) < places.index("gallery")  # under whom the attack would be shown only


def test_with_several_messages_the_one_who_is_brought_sees_as_many_too() -> None:
    one = made("rmle", queries=16)
    assert names(one, asked=True) == ["query", "repeat", "white_box", "white_box_repeat"]
    assert [threat.queries for threat in one.threats if threat.name.startswith("white_box")] == [1, 16]
    assert names(made("hijack", queries=16), asked=True) == ["query", "repeat", "active_server"]


def test_attacks_on_anything_but_images_bring_someone_who_is_shown_only() -> None:
    one = made("miface", "gradient_cosine")
    assert names(one, asked=True) == ["query"]
    assert {"owner", "reader"} <= set(names(one, asked=False))


def test_who_names_the_adversaries_has_those_and_no_others() -> None:
    with pytest.raises(ConfigError, match="weights"):
        study({"data": "digits", "threats": [{"name": "mine"}], "attacks": ["rmle"]})
    held = {"name": "mine", "grants": [str(grant) for grant in Grant]}
    one = study({"data": "digits", "model": "shallow_net", "threats": [held], "attacks": ["rmle"]}).experiment
    assert [threat.name for threat in one.threats] == ["mine"]


@pytest.mark.parametrize("queries", [None, 16])
def test_a_written_experiment_is_read_back_as_it_was(queries: int | None) -> None:
    one = made("rmle", "miface", queries=queries)
    assert study(yaml.safe_load(to_yaml(one))).experiment == one


def test_standing_adversaries_are_known_as_such() -> None:
    assert is_standing(standing())
    assert is_standing(standing(16))
    assert is_standing(standing(1, 8))
    assert not is_standing((Threat(name="query"),))
    assert not is_standing((*standing(), Threat(name="mine")))
