"""Experiments: their id, their YAML, and one sentence for each thing that can be wrong with a study."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unsmash.attacks.base import Attack
from unsmash.component import discover
from unsmash.data.base import Data
from unsmash.errors import ConfigError
from unsmash.experiment import DEFAULT_ATTACKS, FAMILIES, Experiment, read_yaml, study, to_yaml
from unsmash.models.base import Model
from unsmash.records import Run
from unsmash.threat import standing

RICH: dict[str, Any] = {
    "data": {"kind": "digits", "victims": 30},
    "model": {"kind": "torchvision"},
    "at": "layer2",
    "train": {"epochs": 3, "rate": 1e-5, "batch": 32},
    "defences": [{"kind": "gaussian", "sigma": 0.25}, "laplace"],
    "threats": [
        {"name": "query"},
        {"name": "many", "grants": ["queries", "shadow", "weights", "candidates"], "queries": 16},
    ],
    "attacks": ["ridge", {"kind": "decoder", "size": "large"}, "gallery"],
    "seed": 4,
}


def experiment(**changes: Any) -> Experiment:
    return study({"data": "digits"} | changes).experiment


# -- what is taken when nothing is said -------------------------------------------------------------------------------


def test_nothing_at_all_is_a_study() -> None:
    plan = study({})
    e = plan.experiment
    assert plan.seeds == (0,)
    assert e.model.kind == e.data.usual_model  # type: ignore[attr-defined]
    assert e.at == e.model.default_cut
    assert tuple(attack.kind for attack in e.attacks) == DEFAULT_ATTACKS
    assert e.threats == standing()


def test_names_mappings_and_components_mean_the_same() -> None:
    ridge = discover("unsmash.attacks", Attack)["ridge"](kind="ridge")
    ids = {experiment(attacks=[one]).id for one in ("ridge", {"kind": "ridge"}, ridge)}
    assert len(ids) == 1


# -- the id -----------------------------------------------------------------------------------------------------------


def test_the_id_is_the_same_in_another_process_with_another_hash_seed() -> None:
    code = f"from unsmash.experiment import study; print(study({RICH!r}).experiment.id)"
    seed = "123" if os.environ.get("PYTHONHASHSEED") != "123" else "124"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=os.environ | {"PYTHONHASHSEED": seed},
    )
    assert found.stdout.strip() == study(RICH).experiment.id
    assert len(study(RICH).experiment.id) == 12


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each setting of plain data with another value that is allowed in its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, (*path, key))
    elif isinstance(value, list) and value and path[-1] != "grants":
        for index, inner in enumerate(value):
            yield from numbers(inner, (*path, index))
    elif path[-1] == "kind":
        return
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, int | float):
        yield path, value + 1 if isinstance(value, int) else value * 0.5
    elif value is None:
        yield path, 12


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every setting of plain data, kinds left out."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    elif path[-1] != "kind":
        yield path


WORDS: dict[tuple[Any, ...], Any] = {
    ("at",): "layer1",
    ("attacks", 1, "size"): "small",
    ("attacks", 1, "loss"): "mixed",
    ("threats", 0, "name"): "one",
    ("threats", 1, "name"): "other",
    ("threats", 0, "grants"): ["queries", "shadow", "labels"],
    ("threats", 1, "grants"): ["queries", "shadow", "weights", "candidates", "labels"],
    ("data", "duplicates"): "stop",
    ("model", "name"): "resnet34",
    ("model", "weights"): "DEFAULT",
    ("train", "part"): "head",
    ("defences", 0, "when"): "inference",
    ("defences", 1, "when"): "inference",
}

WITH: dict[str, dict[str, Any]] = {
    "frames": {"queries": 1},
    "epsilon": {"clip": 3.0, "scale": None, "sigma": None},
    "quantile": {"clip": "learned"},
}
"""What must stand beside a setting for it to be allowed"""


def changed(plain: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    again = copy.deepcopy(plain)
    inner: Any = again
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return again


def test_the_id_changes_with_every_setting() -> None:
    first = study(RICH).experiment
    plain = first.model_dump(mode="json")
    others = [*numbers(plain), *WORDS.items()]
    assert {path[:-1] if path[-2:-1] == ("grants",) else path for path in leaves(plain)} == {path for path, _ in others}
    seen = {first.id}
    for path, value in others:
        raw = changed(plain, path, value)
        for name, beside in WITH.get(str(path[-1]), {}).items():
            holder: Any = plain
            for step in path[:-1]:
                holder = holder[step]
            if name in holder:
                raw = changed(raw, (*path[:-1], name), beside)
        one = study(raw).experiment
        assert one.id not in seen, path
        seen.add(one.id)
    assert len(seen) > 30


def test_the_id_changes_with_the_order_of_defences_and_the_set_of_components() -> None:
    ids = [
        experiment(**change).id
        for change in (
            {},
            {"defences": ["gaussian"]},
            {"defences": ["gaussian", "laplace"]},
            {"defences": ["laplace", "gaussian"]},
            {"attacks": ["ridge"]},
            {"model": "le_net"},
            {"data": "mnist5k", "model": "splitnn"},
        )
    ]
    assert len(set(ids)) == len(ids)


def test_what_is_spelled_out_is_the_same_as_what_is_taken_by_default() -> None:
    first = experiment()
    assert study(first.model_dump(mode="json")).experiment.id == first.id
    assert experiment(attacks=list(DEFAULT_ATTACKS), seed=0, defences=[]).id == first.id


def test_the_id_does_not_change_with_where_the_images_lie(tmp_path: Path) -> None:
    ids = {
        study({"data": {"kind": "folder", "path": path, "shadow_path": shadow}}).experiment.id
        for path, shadow in (("/a", "/b"), ("relative", None), (str(tmp_path), tmp_path))
    }
    assert len(ids) == 1
    sized = study({"data": {"kind": "folder", "path": "/a", "size": 32}}).experiment.id
    assert sized not in ids


def test_the_id_changes_with_a_components_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    before = experiment().id
    monkeypatch.setattr(discover("unsmash.attacks", Attack)["decoder"], "revision", 99)
    assert experiment().id != before
    assert experiment(attacks=["ridge"]).id == experiment(attacks=["ridge"]).id


# -- YAML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [{}, {"data": "digits"}, RICH], ids=["default", "digits", "rich"])
def test_yaml_reads_back_to_the_same_experiment(tmp_path: Path, raw: dict[str, Any]) -> None:
    first = study(raw)
    file = tmp_path / "experiment.yaml"
    for one in first.experiments():
        file.write_text(to_yaml(one), encoding="utf-8")
        again = study(read_yaml(file))
        assert again.experiment == one
        assert again.experiment.id == one.id
        assert again.experiments() == (one,)  # its seed too


def test_every_component_survives_yaml(tmp_path: Path) -> None:
    for family, (package, base) in FAMILIES.items():
        for kind, cls in discover(package, base).items():
            if kind == "own":
                continue
            settings = {"kind": kind} | cls.tiny | ({"path": "ünï code"} if kind == "folder" else {})
            one = study({"data": "digits", family: settings if family in ("data", "model") else [settings]}).experiment
            file = tmp_path / "one.yaml"
            file.write_text(to_yaml(one), encoding="utf-8")
            assert study(read_yaml(file)).experiment.id == one.id, kind


def test_an_attack_on_the_weights_brings_the_adversary_who_holds_them() -> None:
    """Asked for, and before the one with the candidates, under whom it would be shown only."""
    threats = study({"data": "digits", "attacks": ["ridge", "rmle", "hybrid"]}).experiment.threats
    assert [threat.name for threat in threats] == ["query", "white_box", "gallery"]
    assert threats[1].asked
    assert set(threats[1].grants) == {"queries", "shadow", "weights"}
    assert study({"data": "digits", "attacks": ["ridge", "gallery"]}).experiment.threats == standing()


def test_an_attack_on_the_server_half_brings_one_who_cannot_run_the_device_half() -> None:
    threats = study({"data": "digits", "attacks": ["ridge", "query_free", "rmle"]}).experiment.threats
    assert [threat.name for threat in threats] == ["query", "server", "white_box", "gallery"]
    assert threats[1].asked
    assert set(threats[1].grants) == {"server", "architecture", "shadow"}
    assert "cannot run the device half" in threats[1].record(200).title
    assert "run the device half" in threats[1].record(200).cannot


def test_a_study_has_one_experiment_a_seed() -> None:
    plan = study({"data": "digits", "seeds": [3, 1]})
    assert [one.seed for one in plan.experiments()] == [3, 1]
    assert len({one.id for one in plan.experiments()}) == 2
    assert [one.seed for one in study({"data": "digits", "seeds": 3}).experiments()] == [0, 1, 2]
    assert [one.seed for one in study({"data": "digits", "seed": 5}).experiments()] == [5]
    assert [one.seed for one in study({"data": "digits", "seed": 5, "seeds": 2}).experiments()] == [0, 1]


def test_an_experiment_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        experiment().seed = 3  # type: ignore[misc]


# -- what is wrong, in one sentence -----------------------------------------------------------------------------------

ATTACKS = ", ".join(discover("unsmash.attacks", Attack))
DATA = ", ".join(discover("unsmash.data", Data))
MODELS = ", ".join(discover("unsmash.models", Model))
KINDS = "`unsmash kinds` describes each"
LOW = "allowed: input should be greater than or equal to"
NO_SEEDS = "allowed: a number of seeds from 1 to 1000, or a list of different whole numbers from 0 to 2^31."

WRONG: dict[str, tuple[dict[Any, Any], str]] = {
    "unknown attack": (
        {"attacks": ["ridge", "decodr"]},
        f"attacks.1.kind: got 'decodr'; allowed: {ATTACKS} (did you mean 'decoder'?). {KINDS}",
    ),
    "unknown data": (
        {"data": "Digits"},
        f"data.kind: got 'Digits'; allowed: {DATA} (did you mean 'digits'?). {KINDS}",
    ),
    "unknown model, nothing near": (
        {"model": "zzz"},
        f"model.kind: got 'zzz'; allowed: {MODELS}. {KINDS}",
    ),
    "unknown defence": (
        {"defences": [{"kind": "gausian"}]},
        "defences.0.kind: got 'gausian'; allowed: *(did you mean 'gaussian'?). *",
    ),
    "no kind": (
        {"attacks": [{"size": "large"}]},
        f"attacks.0: got {{'size': 'large'}}; allowed: a mapping with kind, one of {ATTACKS}.",
    ),
    "a number for data": ({"data": 3}, f"data: got 3; allowed: a mapping with kind, one of {DATA}."),
    "nothing for a model": ({"model": None}, f"model: got None; allowed: a mapping with kind, one of {MODELS}."),
    "unknown key": (
        {"defence": []},
        "study: got 'defence'; allowed: *seeds, fail_if, name (did you mean 'defences'?).",
    ),
    "unknown key of train": (
        {"train": {"epoch": 2}},
        "train: got 'epoch'; allowed: epochs, batch, rate, part, augment (did you mean 'epochs'?).",
    ),
    "unknown key of a threat": (
        {"threats": [{"name": "a"}, {"querys": 2}]},
        "threats.1: got 'querys'; allowed: name, grants, queries, frames, asked (did you mean 'queries'?).",
    ),
    "unknown key of an attack": (
        {"attacks": ["ridge", {"kind": "ridge", "image": 9}]},
        "attacks.1: got 'image'; allowed: kind, images, draws, aware (did you mean 'images'?).",
    ),
    "a key that is no text": ({1: 2}, "1: got 1; allowed: keys should be strings."),
    "out of range": ({"train": {"epochs": -1}}, f"train.epochs: got -1; {LOW} 0."),
    "out of range, deeper": (
        {"attacks": [{"kind": "decoder", "epochs": 0}]},
        f"attacks.0.epochs: got 0; {LOW} 1.",
    ),
    "not finite": (
        {"defences": [{"kind": "gaussian", "sigma": float("inf")}]},
        "defences.0.sigma: got inf; allowed: input should be a finite number.",
    ),
    "not one of the words": (
        {"attacks": [{"kind": "decoder", "size": "huge"}]},
        "attacks.0.size: got 'huge'; allowed: 'small', 'medium' or 'large'.",
    ),
    "wrong type": ({"train": {"rate": "fast"}}, "train.rate: got 'fast'; allowed: input should be a valid number, *."),
    "wrong type for a mapping": ({"train": 5}, "train: got 5; allowed: input should be a valid dictionary *."),
    "a name for a list": ({"attacks": "ridge"}, "attacks: got 'ridge'; allowed: a list of components."),
    "a mapping for a list": (
        {"defences": {"kind": "gaussian"}},
        "defences: got {'kind': 'gaussian'}; allowed: a list of components.",
    ),
    "text in two lines": (
        {"defences": [{"kind": "gaussian", "sigma": "x\ny"}]},
        r"defences.0.sigma: got 'x\ny'; allowed: input should be a valid number, *.",
    ),
    "missing": ({"data": {"kind": "folder"}}, "data.path: got 'nothing'; allowed: a value. It must be given"),
    "missing grants": (
        {"threats": [{"name": "deaf", "grants": []}], "attacks": ["ridge"]},
        "attacks.0: got 'ridge'; allowed: *threat allows: it needs queries, shadow, deaf grants nothing.",
    ),
    "missing grants of two": (
        {"threats": [{"name": "a", "grants": ["shadow"]}, {"name": "b"}], "attacks": ["ridge", "gallery"]},
        "attacks.1: got 'gallery'; allowed: attacks that some threat allows: it needs candidates, weights, "
        "a grants shadow; b grants queries, shadow.",
    ),
    "unknown grant": (
        {"threats": [{"grants": ["telepathy"]}]},
        "threats.0.grants.0: got 'telepathy'; allowed: 'queries', *.",
    ),
    "no threats": ({"threats": []}, "threats: got []; allowed: *at least 1 item*."),
    "two of one name": (
        {"threats": [{"name": "a"}, {"name": "a"}]},
        "threats: got ['a', 'a']; allowed: names that differ.",
    ),
    "nobody asked": (
        {"threats": [{"name": "a", "asked": False}]},
        "threats: got ['a']; allowed: at least one with asked: true. A verdict needs an adversary",
    ),
    "own model": (
        {"model": {"kind": "own", "path": "mine.py", "factory": "make"}},
        f"model.kind: got 'own'; allowed: {MODELS.replace('own, ', '')}. "
        "Code is never named in a file: give it on the command line, --model path.py:factory",
    ),
    "own model by name": ({"model": "own"}, "model.kind: got 'own'; allowed: *. Code is never named in a file: *"),
    "no seeds": ({"seeds": 0}, f"seeds: got 0; {NO_SEEDS}"),
    "an empty list of seeds": ({"seeds": []}, f"seeds: got []; {NO_SEEDS}"),
    "fewer than no seeds": ({"seeds": -2}, f"seeds: got -2; {NO_SEEDS}"),
    "far too many seeds": ({"seeds": 10**12}, f"seeds: got 1000000000000; {NO_SEEDS}"),
    "seeds twice": ({"seeds": [1, 1]}, f"seeds: got [1, 1]; {NO_SEEDS}"),
    "a seed below zero": ({"seeds": [0, -1]}, f"seeds: got [0, -1]; {NO_SEEDS}"),
    "a seed too large": ({"seeds": [2**40]}, f"seeds: got [1099511627776]; {NO_SEEDS}"),
    "a seed that is no number": ({"seeds": ["a"]}, f"seeds: got ['a']; {NO_SEEDS}"),
    "a seed that is a truth": ({"seeds": [True]}, f"seeds: got [True]; {NO_SEEDS}"),
    "seeds in words": ({"seeds": "three"}, f"seeds: got 'three'; {NO_SEEDS}"),
    "a broken seed": ({"seed": -1}, f"seed: got -1; {LOW} 0."),
    "unknown metric": (
        {"fail_if": "idetification>0.05"},
        "fail-if: got 'idetification'; allowed: *(did you mean 'identification'?).",
    ),
    "a number for a budget": (
        {"fail_if": 0.05},
        "fail-if: got '0.05'; allowed: METRIC > NUMBER, joined by or / and. *",
    ),
    "a share above one": (
        {"fail_if": "identification>5"},
        "fail-if: got 'identification>5'; allowed: a share from 0 to 1. *",
    ),
}


def fits(sentence: str, pattern: str) -> bool:
    """Equal, where `*` in the pattern stands for any text."""
    import re

    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), sentence) is not None


def assert_one_sentence(error: ConfigError, pattern: str) -> None:
    sentence = str(error)
    assert fits(sentence, pattern), sentence
    assert "\n" not in sentence
    assert "pydantic" not in sentence
    assert "http" not in sentence
    assert sentence.startswith(f"{error.path}: got ")
    assert "; allowed: " in sentence


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence_with_path_value_and_what_is_allowed(case: str) -> None:
    raw, pattern = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        study({"data": "digits"} | raw)
    assert_one_sentence(caught.value, pattern)
    assert caught.value.exit_code == 2


FILES = {
    "not YAML": (
        "data: digits\nattacks: [ridge\nseed: 3\n",
        "study: got '{file}'; allowed: YAML. It cannot be read at line 3, column *",
    ),
    "a tab": ("data:\n\tkind: digits\n", "study: got '{file}'; allowed: YAML. It cannot be read at line 2, column 1"),
    "a list": ("- data\n- model\n", "study: got 'list'; allowed: a mapping with data, model, attacks, …."),
    "nothing": ("", "study: got 'NoneType'; allowed: a mapping with data, model, attacks, …."),
    "a word": ("digits\n", "study: got 'str'; allowed: a mapping with data, model, attacks, …."),
    "code": (
        "data: !!python/object/apply:os.getcwd []\n",
        "study: got '{file}'; allowed: YAML. It cannot be read at line 1, column *",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_study_is_one_sentence(tmp_path: Path, case: str) -> None:
    text, pattern = FILES[case]
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(file)
    shown = repr(str(file))  # long paths are shortened
    shown = shown if len(shown) <= 120 else shown[:117] + "…"
    assert_one_sentence(caught.value, pattern.replace("'{file}'", shown))


def test_a_file_that_is_not_there_or_not_text_is_one_sentence(tmp_path: Path) -> None:
    for file in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_yaml(file)
        assert_one_sentence(caught.value, "study: got *; allowed: a YAML file that exists.")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"data: \xff\xfe\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(binary)
    assert_one_sentence(caught.value, "study: got *; allowed: YAML. It cannot be read")


def test_a_users_own_model_is_taken_from_the_command_line() -> None:
    plan = study({"data": "digits", "model": {"kind": "own", "path": "mine.py", "factory": "make"}}, trusted=True)
    assert plan.experiment.model.kind == "own"
    assert plan.experiment.epochs() == 0


def test_no_component_can_be_changed() -> None:
    for package, base in FAMILIES.values():
        for kind, cls in discover(package, base).items():
            one = cls.model_construct(kind=kind)
            with pytest.raises(ValueError, match="frozen"):
                one.kind = "other"


def test_a_label_tells_what_differs_from_the_default() -> None:
    e = study({"data": "digits", "attacks": [{"kind": "decoder", "size": "large", "epochs": 5}, "ridge"]}).experiment
    assert [attack.label() for attack in e.attacks] == ["decoder(size=large)", "ridge"]


def test_the_default_budget_of_a_run_is_that_of_a_study() -> None:
    assert Run.budget == study({}).fail_if


def test_an_attack_in_the_training_brings_a_server_who_is_asked_for_and_runs_nothing_else_under_it() -> None:
    from unsmash.pipeline import plan
    from unsmash.split import Shield

    one = study({"data": "digits", "model": "shallow_net", "attacks": ["ridge", "hijack", "gallery"]}).experiment
    assert [threat.name for threat in one.threats] == ["query", "active_server", "gallery"]
    server = one.threats[1]
    assert server.asked
    assert set(server.grants) == {"training", "shadow"}
    rows = {threat.name: [name for _, name in attacks] for threat, attacks in plan(one, Shield())}
    assert rows == {"query": ["ridge"], "active_server": ["hijack"], "gallery": ["gallery"]}
    record = server.record(10)
    assert record.title.lower().startswith("took part in the training")
    assert "take part in the training" in record.can
