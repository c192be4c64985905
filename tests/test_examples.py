"""The example studies and the notebook run: with few and small images here, as they stand with time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from small import TINY

import unsmash
from unsmash import sweeping, variants
from unsmash.errors import DataError, UnsmashError
from unsmash.experiment import read_yaml
from unsmash.settings import gather
from unsmash.sweeping import Sweep

EXAMPLES = Path(__file__).parent.parent / "examples"
FEW_FACES = {"kind": "lfw", "train": 80, "shadow": 60, "validator": 60, "val": 20, "victims": 20, "size": 32}
ATTACKS = ["lookalike", "ridge", "gallery"]
STUDIES = {"depth-versus-noise": TINY, "nopeek-times-noise": TINY, "faces": FEW_FACES}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unsmash.recogniser.STEPS", 12)


def quick(name: str, out: Path, limit: int) -> Sweep:
    raw = gather(EXAMPLES / f"{name}.yaml", assignments=[], quick=True)
    return sweeping.conduct(raw | {"data": STUDIES[name], "attacks": ATTACKS}, out=out, workers=1, limit=limit)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_an_example_study_runs(name: str, tmp_path: Path, short: None) -> None:
    try:
        found = quick(name, tmp_path, 2)
    except DataError as error:
        if name != "faces":
            raise
        pytest.skip(str(error))
    assert [row.failure for row in found.frontier.rows] == [None, None]
    assert found.left == len(variants.plan(read_yaml(EXAMPLES / f"{name}.yaml")).variants) - 2
    assert found.report.is_file()


def test_the_published_grid_is_the_published_grid() -> None:
    plan = variants.plan(read_yaml(EXAMPLES / "nopeek-times-noise.yaml"))
    pairs = [variant.study.experiment.defences for variant in plan.variants]
    grid = {(one[0].weight, one[1].scale) for one in pairs  # type: ignore[attr-defined]
            if [part.kind for part in one] == ["nopeek", "laplace"]}  # fmt: skip
    assert grid == {(weight, scale) for weight in (0.1, 0.25, 0.5) for scale in (0.1, 0.2, 0.5, 1.0)}


@pytest.mark.slow
def test_the_notebook_draws_the_front_that_the_study_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    found = quick("depth-versus-noise", tmp_path / "runs", 3)
    monkeypatch.chdir(tmp_path)
    names = executed()
    table = unsmash.runs("runs", study="depth versus noise")
    assert set(names["points"].index) == set(table.variant)
    rows = {row.name: row for row in found.frontier.rows}
    assert all(row.attack for row in rows.values())
    for name, point in names["points"].iterrows():
        reached, accuracy = rows[name].attack, rows[name].accuracy
        assert reached is not None
        assert accuracy is not None
        assert point.identified == pytest.approx(reached.share.mean)
        assert point.accuracy == pytest.approx(accuracy.mean)
    if not any(row.doubt for row in rows.values()):
        assert set(names["front"].index) == {row.name for row in rows.values() if row.front}
    drawn = names["axes"].collections
    assert [len(one.get_offsets()) for one in drawn] == [len(names["points"]), len(names["front"])]


def executed() -> dict[str, Any]:
    """What the notebook's cells leave behind."""
    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    for cell in notebook()["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]).replace("plt.show()", ""), cell["id"], "exec"), names)
    return names


def notebook() -> dict[str, Any]:
    made: dict[str, Any] = json.loads((EXAMPLES / "frontier.ipynb").read_text(encoding="utf-8"))
    return made


def test_the_notebook_holds_no_output() -> None:
    cells = [cell for cell in notebook()["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_a_notebook_without_its_study_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsmashError, match="unsmash sweep"):
        executed()
