"""The gate's files from the command line: there whatever comes, and saying what the exit code says."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from schema import cases, green
from small import TINY

from unsmash import budget, cli, settings
from unsmash.errors import TrainingError
from unsmash.experiment import component

ROOT = Path(__file__).parents[2]
SMALL = "digits:" + ",".join(f"{name}={value}" for name, value in TINY.items() if name != "kind")
AUDIT = ("audit", "--data", SMALL, "--model", "shallow_net", "--attack", "ridge", "--set", "train.epochs=1")
FILES = ("--junit", "ci/gate.xml", "--markdown", "ci/gate.md")
JUNIT, MARKDOWN = Path("ci/gate.xml"), Path("ci/gate.md")

Tell = Callable[..., int]


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tell:
    """Run the command line in this process, in an empty folder; its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr("unsmash.recogniser.STEPS", 12)

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["unsmash", *words])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        return int(leaving.value.code or 0)

    return run


def test_files_are_written_when_the_gate_closes_and_when_it_opens(tell: Tell, tmp_path: Path) -> None:
    assert tell(*AUDIT, *FILES, "--fail-if", "identification>0.05") == 1
    assert not green(cases(JUNIT.read_text()))
    assert MARKDOWN.read_text().startswith("## ❌ Leaks")
    assert tell(*AUDIT, *FILES, "--fail-if", "bytes>1000000") == 0
    assert green(cases(JUNIT.read_text()))
    assert "❌" not in MARKDOWN.read_text()
    assert tell(*AUDIT, *FILES) == 0  # without limits of one's own the verdict is told, not returned
    assert not green(cases(JUNIT.read_text()))
    assert {file.name for file in (tmp_path / "ci").iterdir()} == {"gate.xml", "gate.md"}


def test_a_run_that_fails_is_an_error_in_both(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: Any, **__: Any) -> None:
        raise TrainingError("the loss is not finite")

    monkeypatch.setattr("unsmash.auditing.measure", measure)
    assert tell(*AUDIT, *FILES, "--fail-if", "identification>0.05") == 4
    ((outcome, kind, message),) = cases(JUNIT.read_text()).values()
    assert (outcome, kind, message) == ("error", "TrainingError", "the loss is not finite")
    assert "the loss is not finite" in MARKDOWN.read_text()


def test_a_mistake_in_the_call_is_an_error_and_leaves_nothing_older(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    JUNIT.write_text("an older one, all green")
    assert tell("audit", "--data", "digitz", *FILES) == 2
    ((outcome, kind, message),) = cases(JUNIT.read_text()).values()
    assert (outcome, kind) == ("error", "ConfigError")
    assert "digitz" in message


def test_the_summary_that_github_names_is_appended_to(
    tell: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "ci" / "gate.md"
    summary.parent.mkdir()
    summary.write_text("# An earlier step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for times in (1, 2):
        assert tell("audit", "--data", "digitz", *FILES) == 2
        text = summary.read_text()
        assert text.startswith("# An earlier step\n")
        assert text.count("did not finish") == times


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    tell: Tell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for place in ("ci/", "file/under.xml"):
        (tmp_path / "ci").mkdir(exist_ok=True)
        assert tell(*AUDIT, "--junit", place) == 2
        assert "unsmash: --junit: got" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_sweep_writes_a_case_for_each_variant(tell: Tell, tmp_path: Path) -> None:
    variants = [{"name": "open", "defences": []}, {"name": "shut", "at": "no_such_layer"}]
    plain = {"data": TINY, "model": "shallow_net", "train": {"epochs": 1}, "attacks": ["ridge"], "variants": variants}
    (tmp_path / "study.yaml").write_text(json.dumps(plain))
    assert tell("sweep", "study.yaml", "--workers", "1", *FILES) == 2  # no variant may name what is not there
    assert "no_such_layer" in next(iter(cases(JUNIT.read_text()).values()))[2]
    variants[1] = {"name": "shut", "defences": [{"kind": "gaussian", "sigma": 40.0}]}  # type: ignore[dict-item]
    (tmp_path / "study.yaml").write_text(json.dumps(plain))
    words = ("sweep", "study.yaml", "--workers", "1", "--fail-if", "identification>0.5")
    code = tell(*words, *FILES)
    found = cases(JUNIT.read_text())
    assert set(found) == {"open", "shut"}
    assert found["open"][:2] == ("failure", "leaks")
    assert code == (0 if found["shut"][0] == "passed" else 3)
    assert MARKDOWN.read_text().startswith(f"## {'✅' if code == 0 else '❔'} ")


def test_a_scan_writes_a_case_for_each_cut(tell: Tell) -> None:
    words = ("scan", "--data", SMALL, "--model", "shallow_net", "--quick", "--fail-if", "identification>0.05")
    code = tell(*words, *FILES)
    found = cases(JUNIT.read_text())
    assert found
    assert (code == 0) == any(outcome == "passed" for outcome, *_ in found.values())
    assert MARKDOWN.read_text().startswith(f"## {'❌' if code == 1 else '❔' if code == 3 else '✅'} ")


def steps() -> list[dict[str, Any]]:
    workflow = yaml.safe_load((ROOT / "examples" / "ci.yml").read_text(encoding="utf-8"))
    return list(workflow["jobs"]["audit"]["steps"])


def test_the_example_workflow_calls_the_command_line_as_it_is() -> None:
    scripts = "\n".join(step.get("run", "") for step in steps()).replace("\\\n", " ")
    calls = [shlex.split(line) for line in scripts.splitlines() if line.strip().startswith("unsmash ")]
    assert calls
    group = typer.main.get_command(cli.app)
    for _, name, *words in calls:
        context = group.commands[name].make_context(name, list(words))  # type: ignore[attr-defined]
        given = context.params
        assert given["fail_if"]
        assert given["junit"]
        assert given["markdown"] == Path("$GITHUB_STEP_SUMMARY")
        budget.parse(given["fail_if"])
        raw = settings.gather(
            None, data=given["data"], model=given["model"], at=given["at"], defences=given["defence"],
            seeds=given["seeds"], queries=given["queries"], fail_if=given["fail_if"], assignments=[],
        )  # fmt: skip
        component(raw["data"], "data", "data")
        assert [component(one, "defences", "defences").kind for one in raw["defences"]] == ["laplace"]


def test_the_example_workflow_keeps_what_the_gate_says_also_when_it_is_closed() -> None:
    (upload,) = [step for step in steps() if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "always()"
    assert "gate/audit.xml" in upload["with"]["path"]
    assert "report.html" in upload["with"]["path"]
