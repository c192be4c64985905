"""From flags to settings: `KIND:key=value`, `--set path=value`, the study file beneath them, and `--quick`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unsmash.errors import ConfigError
from unsmash.experiment import DEFAULT_ATTACKS, default_data, study
from unsmash.settings import assign, component, gather
from unsmash.threat import standing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits", {"kind": "digits"}),
        ("digits:", {"kind": "digits"}),
        (" digits : victims = 30 ", {"kind": "digits", "victims": 30}),
        ("decoder:size=large,epochs=2", {"kind": "decoder", "size": "large", "epochs": 2}),
        ("gaussian:sigma=0.5", {"kind": "gaussian", "sigma": 0.5}),
        ("x:a=[1,2],b={c: 1, d: [2,3]},e=(4,5)", {"kind": "x", "a": [1, 2], "b": {"c": 1, "d": [2, 3]}, "e": "(4,5)"}),
        ("x:on=true,off=false,none=null,text='1'", {"kind": "x", "on": True, "off": False, "none": None, "text": "1"}),
        ("folder:path=/a b/c.zip", {"kind": "folder", "path": "/a b/c.zip"}),
        (r"folder:path=C:\images", {"kind": "folder", "path": r"C:\images"}),
        ("x:a=b=c", {"kind": "x", "a": "b=c"}),
        ("x:a=1,,b=2,", {"kind": "x", "a": 1, "b": 2}),
        ("x:a=", {"kind": "x", "a": None}),
        ("x:a=[1", {"kind": "x", "a": "[1"}),
    ],
)
def test_kind_and_pairs(text: str, expected: dict[str, Any]) -> None:
    assert component(text, "data") == expected


@pytest.mark.parametrize("part", ["victims", "=3", " = 3", "victims:3"])
def test_what_is_no_pair_is_refused(part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        component(f"digits:{part}", "data")
    hint = "Write for example --data KIND:key=value,key=value"
    assert str(caught.value) == f"data: got {part!r}; allowed: key=value. {hint}"


def test_a_model_of_ones_own_is_a_file_and_a_function() -> None:
    expected = {"kind": "own", "path": "nets/mine.py", "factory": "make"}
    assert component("nets/mine.py:make", "model", trusted=True) == expected
    settings = component("nets/mine.py:make,mean=[0.5],std=[0.25]", "model", trusted=True)
    assert settings == expected | {"mean": [0.5], "std": [0.25]}
    with pytest.raises(ConfigError, match=r"^model: got 'mine\.py'; allowed: path\.py:factory\. Name the function"):
        component("mine.py", "model", trusted=True)


def test_files_of_code_are_models_only() -> None:
    with pytest.raises(ConfigError, match=r"^data: got 'make'; allowed: key=value"):
        component("mine.py:make", "data")


SETS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({}, "seed=3", {"seed": 3}),
    ({}, " at =conv1", {"at": "conv1"}),
    ({}, "train.epochs=2", {"train": {"epochs": 2}}),
    ({"train": {"rate": 1}}, "train.epochs=2", {"train": {"rate": 1, "epochs": 2}}),
    ({}, "seeds=[0, 4]", {"seeds": [0, 4]}),
    ({"data": "digits"}, "data.victims=30", {"data": {"kind": "digits", "victims": 30}}),
    ({"attacks": ["ridge"]}, "attacks.0.images=40", {"attacks": [{"kind": "ridge", "images": 40}]}),
    ({"attacks": ["ridge", "decoder"]}, "attacks.1=lookalike", {"attacks": ["ridge", "lookalike"]}),
    ({"defences": [{"kind": "gaussian"}]}, "defences.0.sigma=2", {"defences": [{"kind": "gaussian", "sigma": 2}]}),
    ({"fail_if": "a"}, "fail_if=ssim>0.4", {"fail_if": "ssim>0.4"}),
]


@pytest.mark.parametrize(("raw", "assignment", "expected"), SETS, ids=[assignment for _, assignment, _ in SETS])
def test_set_changes_one_place(raw: dict[str, Any], assignment: str, expected: dict[str, Any]) -> None:
    assign(raw, assignment)
    assert raw == expected


def test_set_reaches_into_what_is_taken_by_default() -> None:
    raw: dict[str, Any] = {}
    place = DEFAULT_ATTACKS.index("decoder")
    for assignment in (f"attacks.{place}.epochs=2", "data.victims=30", "threats.0.queries=4"):
        assign(raw, assignment)
    assert [item if isinstance(item, str) else item["kind"] for item in raw["attacks"]] == list(DEFAULT_ATTACKS)
    assert raw["data"] == {"kind": default_data(), "victims": 30}
    threats = study(raw).experiment.threats
    assert [threat.name for threat in threats] == [threat.name for threat in standing()]
    assert [threat.queries for threat in threats] == [4, 1]


@pytest.mark.parametrize("data", ["digits", "lfw_subset", "cifar10"])
def test_setting_a_part_of_the_model_keeps_the_model_that_the_data_would_have(data: str) -> None:
    raw: dict[str, Any] = {"data": data}
    assign(raw, "model.kind_of=x")
    assert raw["model"]["kind"] == study({"data": data}).experiment.model.kind


@pytest.mark.parametrize(
    ("raw", "assignment", "sentence"),
    [
        ({}, "train", "--set: got 'train'; allowed: path=value. Write for example --set train.epochs=2"),
        ({}, "=3", "--set: got '=3'; allowed: path=value. Write for example --set train.epochs=2"),
        ({}, "a..b=1", "--set: got 'a..b=1'; allowed: path=value. Write for example --set train.epochs=2"),
        ({}, ".a=1", "--set: got '.a=1'; allowed: path=value. Write for example --set train.epochs=2"),
        ({}, "attacks.9.x=1", "--set: got 'attacks.9.x=1'; allowed: a number from 0 to 5 in place of '9'."),
        (
            {},
            "attacks.decoder.x=1",
            "--set: got 'attacks.decoder.x=1'; allowed: a number from 0 to 5 in place of 'decoder'.",
        ),
        ({"seeds": [1]}, "seeds.1=2", "--set: got 'seeds.1=2'; allowed: a number from 0 to 0 in place of '1'."),
        ({"seed": 3}, "seed.x=2", "--set: got 'seed.x=2'; allowed: a path; seed is 3 and has no parts."),
        (
            {},
            "defences.0.sigma=1",
            "--set: got 'defences.0.sigma=1'; allowed: a path into defences that were given. Add --defence first",
        ),
    ],
)
def test_set_refuses_in_one_sentence(raw: dict[str, Any], assignment: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        assign(raw, assignment)
    assert str(caught.value) == sentence


def test_flags_change_the_file_and_assignments_change_both(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "data: digits\nat: code\ntrain: {epochs: 9, rate: 0.01}\nattacks: [ridge]\nseeds: 2\nfail_if: ssim>0.4\n"
    )
    found = gather(
        file, data="digits:victims=30", defences=["gaussian:sigma=1", "laplace"], seeds=3, queries=16,
        fail_if="identification>0.1", assignments=["train.epochs=1", "defences.1.scale=2", "fail_if=ssim>0.9"],
    )  # fmt: skip
    plan = study(found)
    assert plan.seeds == (0, 1, 2)
    assert plan.fail_if == "ssim>0.9"
    e = plan.experiment
    assert e.data.label() == "digits(victims=30)"
    assert e.at == "code"
    assert (e.train.epochs, e.train.rate) == (1, 0.01)
    assert [defence.label() for defence in e.defences] == ["gaussian(sigma=1.0)", "laplace(scale=2.0)"]
    assert [attack.kind for attack in e.attacks] == ["ridge"]
    assert e.threats == standing(16)


def test_frames_add_the_one_who_sees_a_burst() -> None:
    assert study(gather(None, frames=8, assignments=[])).experiment.threats == standing(frames=8)
    both = study(gather(None, queries=4, frames=8, assignments=[])).experiment.threats
    assert both == standing(4, 8)


def test_without_flags_the_file_is_the_study(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("data: digits\nseed: 5\n")
    assert gather(file, assignments=[]) == {"data": "digits", "seed": 5}
    assert gather(None, assignments=[]) == {}


def test_quick_is_less_work_but_never_undoes_what_was_asked(tmp_path: Path) -> None:
    plain = study(gather(None, data="digits", assignments=[])).experiment
    quick = study(gather(None, data="digits", assignments=[], quick=True)).experiment
    assert quick.epochs() < plain.epochs()
    assert [attack.kind for attack in quick.attacks] == [attack.kind for attack in plain.attacks]
    asked = study(gather(None, data="digits", attacks=["ridge"], assignments=["train.epochs=7"], quick=True)).experiment
    assert asked.epochs() == 7
    assert [attack.kind for attack in asked.attacks] == ["ridge"]


def test_quick_does_not_train_a_model_of_ones_own() -> None:
    own = gather(None, model="mine.py:make", assignments=[], quick=True)
    assert study(own, trusted=True).experiment.epochs() == 0
