"""Guesses scored again: what the run has comes out as recorded, what is handed in is checked before it is scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch
from sklearn.metrics import mean_absolute_error
from small import TINY

from unsmash.auditing import Audit, audit
from unsmash.data.base import Splits
from unsmash.errors import ConfigError, DataError, RecordError
from unsmash.rescoring import METRICS, Rescored, differing, score, summary
from unsmash.store import GUESSES

N = 40
"""Victims of `TINY`"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """A noisy run; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unsmash.recogniser.STEPS", 12)
        settings: Any = {
            "train": {"epochs": 2},
            "attacks": ["ridge", "lookalike", "posterior", "gallery"],
            "defences": [{"kind": "gaussian", "sigma": 0.4}],
            "seed": 3,
        }
        return audit(data=TINY, model="shallow_net", out=tmp_path_factory.mktemp("runs"), **settings)


@pytest.fixture(autouse=True)
def _short(short_recogniser: None) -> None:
    """As the run's."""


def test_what_the_run_has_comes_out_as_it_was_recorded(made: Audit) -> None:
    run = made.runs[0]
    found = score(made.folder)
    rows = {(row.attack, row.score.metric): row.score for row in found.rows}
    attacks = [one for one in run.results if one.role != "floor"]
    assert rows == {(one.name, metric): value for one in attacks for metric, value in one.scores.items()}
    assert {"identification", "feature_identification", "recognition", "ssim", "dcor"} <= {name for _, name in rows}
    assert not differing(found)
    assert found.left_out == ("gallery names candidates and draws no images: identification is all it has",)
    assert [row.attack for row in found.rows] == sorted(
        [row.attack for row in found.rows], key=[one.name for one in run.results].index
    )


def test_floors_are_the_runs_best_floors(made: Audit) -> None:
    floors = made.runs[0].of_role("floor")
    for row in score(made.folder).rows:
        held = [one.scores[row.score.metric] for one in floors if row.score.metric in one.scores]
        best = max if row.score.leak == "up" else min
        assert row.floor == best(one.mean for one in held)


def test_further_metrics_are_scored_with_their_floors(made: Audit, digits: Splits) -> None:
    found = score(made.folder, ["mae", "nmi", "mae"])
    assert [row.score.metric for row in found.rows] == ["mae", "nmi"] * 3
    arrays = load_file(str(made.folder / GUESSES))
    truth = digits.victims.pixels.numpy()
    for row in found.rows[::2]:
        each = [mean_absolute_error(a.ravel(), b.ravel()) for a, b in zip(truth, arrays[row.attack], strict=True)]
        assert row.score.mean == pytest.approx(np.mean(each), rel=1e-6)
        assert row.score.values == pytest.approx(each, abs=1e-6)
        assert row.score.low < row.score.mean < row.score.high
        assert (row.score.n, row.recorded, row.data_range) == (N, None, "[0, 1]")
    mean = digits.shadow.pixels.mean(0).numpy()
    guessers = {"mean_image": np.broadcast_to(mean, truth.shape)}
    floor = found.rows[0].floor
    assert floor is not None
    assert floor <= mean_absolute_error(truth.ravel(), guessers["mean_image"].ravel()) + 1e-9


def test_edited_guesses_are_told(made: Audit, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / made.folder.name
    shutil.copytree(made.folder, folder)
    arrays = load_file(str(folder / GUESSES))
    arrays["ridge"][3] = 1 - arrays["ridge"][3]
    save_file(arrays, str(folder / GUESSES))
    assert {row.attack for row in differing(score(folder, ["mse"]))} == {"ridge"}
    save_file({"ridge": arrays["ridge"][:-1].copy()}, str(folder / GUESSES))
    with pytest.raises(RecordError, match="taken from another run"):
        score(folder, ["mse"])


@pytest.mark.usefixtures("short_recogniser")
def test_an_attack_that_failed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unsmash.attacks.ridge import Ridge

    def broken(*_: object) -> None:
        raise RuntimeError("singular")

    monkeypatch.setattr(Ridge, "run", broken)
    settings: Any = {"train": {"epochs": 1}, "attacks": ["ridge", "lookalike"]}
    found = score(audit(data=TINY, model="shallow_net", out=tmp_path, **settings).folder, ["mae"])
    assert [row.attack for row in found.rows] == ["lookalike"]
    assert found.left_out == ("ridge did not finish: RuntimeError: singular",)


def hand_in(folder: Path, guess: np.ndarray, name: str = "guess") -> Path:
    save_file({name: np.ascontiguousarray(guess)}, str(folder / "mine.safetensors"))
    return folder / "mine.safetensors"


def by_metric(found: Rescored) -> dict[str, float]:
    assert {row.attack for row in found.rows} == {"mine"}
    return {row.score.metric: row.score.mean for row in found.rows}


def test_guesses_from_outside_get_what_the_same_guesses_of_ours_get(
    made: Audit, digits: Splits, tmp_path: Path
) -> None:
    arrays, result = load_file(str(made.folder / GUESSES)), made.runs[0].result("ridge")
    ours = by_metric(score(made.folder, guesses=hand_in(tmp_path, arrays["ridge"])))
    assert ours == {name: value.mean for name, value in result.scores.items()}
    truth = digits.victims.pixels.numpy()
    perfect = by_metric(score(made.folder, ["identification", "mse"], guesses=hand_in(tmp_path, truth)))
    assert perfect == {"identification": 1.0, "mse": 0.0}
    shifted = hand_in(tmp_path, np.roll(truth, 1, axis=0))  # everyone's image, given to somebody else
    assert by_metric(score(made.folder, ["identification"], guesses=shifted)) == {"identification": 0.0}
    found = score(made.folder, ["mse"], guesses=hand_in(tmp_path, truth.astype(np.float64)))
    assert by_metric(found)["mse"] == 0
    best = max(one.scores["identification"].mean for one in made.runs[0].of_role("attack"))
    assert f"{best:.1%}" in found.strongest
    assert summary(found)["scores"][0]["recorded"] is None


Bad = Callable[[np.ndarray], np.ndarray]


def holed(guess: np.ndarray) -> np.ndarray:
    guess = guess.copy()
    guess[2, 0, 1, 1] = np.nan
    return guess


BAD: dict[str, tuple[Bad, str]] = {
    "NaN": (holed, "1 values that are NaN"),
    "infinite": (lambda g: np.where(g > 0.9, np.inf, g).astype(np.float32), "NaN or infinite"),
    "8 bits": (lambda g: (g * 255).astype(np.uint8), "of type U8.*Divide 8-bit pixels by 255"),
    "0 to 255": (lambda g: g * 255, "values from 0 to 255.*Divide by 255"),
    "standardised": (lambda g: (g - 0.5) / 0.5, r"values from -1 to 1.*Undo your normalisation"),
    "whole numbers": (lambda g: g.round().astype(np.int64), "of type I64"),
    "too few": (lambda g: g[:-1], rf"of shape \[{N - 1}, 1, 8, 8\]'; allowed: \[{N}, 1, 8, 8\]"),
    "no channel": (lambda g: g[:, 0], rf"of shape \[{N}, 8, 8\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_guesses_that_cannot_be_scored_are_refused_in_a_sentence(
    case: str, made: Audit, digits: Splits, tmp_path: Path
) -> None:
    change, told = BAD[case]
    with pytest.raises(ConfigError, match=told) as caught:
        score(made.folder, guesses=hand_in(tmp_path, change(digits.victims.pixels.numpy())))
    assert str(caught.value).startswith("--guesses: got")
    assert "\n" not in str(caught.value)


def test_files_that_hold_no_guesses_are_refused(made: Audit, digits: Splits, tmp_path: Path) -> None:
    truth = digits.victims.pixels
    for file, told in (
        (tmp_path / "missing.safetensors", "a safetensors file that exists"),
        (hand_in(tmp_path, truth.numpy(), "guesses"), "got 'guesses'.*did you mean 'guess'"),
    ):
        with pytest.raises(ConfigError, match=told):
            score(made.folder, guesses=file)
    (tmp_path / "text.safetensors").write_text("no tensors at all")
    save_torch({"guess": truth.to(torch.bfloat16)}, str(tmp_path / "half.safetensors"))
    for name, told in (("text", "a safetensors file"), ("half", "of type BF16")):
        with pytest.raises(ConfigError, match=told):
            score(made.folder, guesses=tmp_path / f"{name}.safetensors")


def test_metrics_that_do_not_exist_or_do_not_fit_are_told(made: Audit) -> None:
    with pytest.raises(ConfigError, match="did you mean 'ssim'") as caught:
        score(made.folder, ["sism"])
    assert all(name in str(caught.value) for name in METRICS if name not in ("vif", "ms_ssim"))
    with pytest.raises(ConfigError, match="vif needs images of at least 41×41, these are 8×8"):
        score(made.folder, ["vif"])


def test_other_images_are_told(made: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    from unsmash.data.digits import Digits

    honest = Digits.pools

    def changed(self: Digits, root: Path) -> Any:
        pools = honest(self, root)
        assert pools.common is not None
        pools.common.pixels[:, 0, 0, 0] = 3
        return pools

    monkeypatch.setattr(Digits, "pools", changed)
    with pytest.raises(DataError, match=f"not the images of run {made.runs[0].id}, their fingerprint"):
        score(made.folder)
