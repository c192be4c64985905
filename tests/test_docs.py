"""What the README and the examples say is true of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from unsmash import cli, settings
from unsmash.attacks.base import Attack
from unsmash.component import discover
from unsmash.data.base import Data
from unsmash.experiment import VARIED, study
from unsmash.variants import plan

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def options() -> set[str]:
    group = typer.main.get_command(cli.app)
    commands = group.commands.values()  # type: ignore[attr-defined]
    return {flag for command in commands for parameter in command.params for flag in parameter.opts}


def test_readme_names_only_options_that_exist() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert named
    assert named <= options()


def test_readme_names_only_commands_that_exist() -> None:
    group = typer.main.get_command(cli.app)
    named = set(re.findall(r"`?\bunsmash ([a-z]+)\b", README))
    assert {"audit", "cuts", "kinds", "ls", "show", "report"} <= named & set(group.commands)  # type: ignore[attr-defined]


def test_readme_lists_every_data_set() -> None:
    for kind in discover("unsmash.data", Data):
        assert f"`{kind}`" in README or f"{kind}:" in README, f"README does not name the data set {kind}"


def test_readme_shows_a_real_picture_and_no_address() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).stat().st_size > 10_000 for picture in pictures)
    assert "http" not in README


def test_the_two_commands_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("audit", "test"):
        assert f"make {command}" in README
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.name)
def test_example_studies_are_valid(file: Path) -> None:
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    read = plan if set(VARIED) & set(raw) else study
    assert read(raw) == read(raw)
    command = "sweep" if read is plan else "audit"
    assert f"unsmash {command} examples/{file.name}" in file.read_text(encoding="utf-8").splitlines()[0]


def test_the_studies_in_the_readme_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        raw = yaml.safe_load(block)
        assert len(plan(raw).variants) > 1 if set(VARIED) & set(raw) else study(raw)


def test_example_of_an_own_model_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "own_model.py")]
    small = "import sys; sys.argv=['x']; import runpy, unsmash; real = unsmash.audit;\n" \
        "unsmash.audit = lambda **given: real(**given, attacks=['ridge', 'gallery']);\n" \
        f"runpy.run_path({command[-1]!r}, run_name='__main__')"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", small], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sentence, report = done.stdout.strip().splitlines()
    assert "private digits" in sentence
    assert (tmp_path / report).is_file()


def test_every_command_and_option_has_help() -> None:
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        for parameter in command.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_quick_settings_are_settings() -> None:
    raw = settings.gather(None, assignments=[], quick=True)
    kinds = [attack.kind for attack in study(raw).experiment.attacks]
    assert set(kinds) <= set(discover("unsmash.attacks", Attack))
    assert "decoder" in kinds
