"""What TensorBoard's own reader finds in what is written for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import kept
import numpy as np
import pytest
from PIL import Image

from unsmash.store import Store
from unsmash.tracking import figures, opened
from unsmash.tracking.grid import GAP, grid

pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")


def written(root: Path) -> list[Path]:
    return sorted(root.rglob("events.out.tfevents.*"))


def read(root: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = written(root)
    reader = EventAccumulator(str(file.parent), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return reader.Reload()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return kept.store(tmp_path)


def test_its_own_reader_finds_every_figure_the_verdict_and_the_pictures(store: Store) -> None:
    run = kept.run()
    with opened("tensorboard", store) as mirror:
        mirror.add(kept.keep(store, run))
    reader = read(store.root / "tensorboard")
    wanted = figures.metrics(run)
    for name, value in wanted.items():
        (event,) = reader.Scalars(name)
        assert (event.step, event.value) == (0, pytest.approx(value, rel=1e-6))
    steps = [event.step for event in reader.Scalars("progress/victim/train")]
    assert steps[0] == 1
    assert steps[-1] == 200
    verdict = store.verdict(run.id)
    assert verdict is not None
    (told,) = reader.Tensors("verdict")
    assert verdict.sentence in told.tensor_proto.string_val[0].decode()
    (image,) = reader.Images("guesses")
    pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert pixels.shape == (image.height, image.width)
    assert {255, 85} == set(np.unique(pixels).tolist())  # white victims above, their guesses a third as bright
    assert pixels[image.height * 3 // 4, GAP + 3] == 85


def test_a_run_is_there_once_and_a_new_verdict_takes_the_old_ones_place(store: Store) -> None:
    run = kept.run()
    stamps = []
    for budget in ("identification>0.05", "identification>0.05", "identification>0.5"):
        with opened("tensorboard", store) as mirror:
            mirror.add(kept.keep(store, run, budget=budget))
        (file,) = written(store.root / "tensorboard")
        stamps.append(file.stat().st_mtime_ns)
        told = read(store.root / "tensorboard").Tensors("verdict")[0].tensor_proto.string_val[0].decode()
        assert f"`{budget}`" in told
    assert stamps[0] == stamps[1] != stamps[2]


def test_a_sweep_takes_a_run_in_under_its_own_name(store: Store) -> None:
    names = kept.keep(store, kept.run())
    for sweep in ("", "abc"):
        with opened("tensorboard", store, name="my study", sweep=sweep) as mirror:
            mirror.add(names, "noise, strong" if sweep else "")
    (file,) = written(store.root / "tensorboard")
    assert file.parent.name.startswith("noise-strong")
    assert file.parent.name.endswith(names[0])
    assert file.parent.parent.name == "my_study-abc"


def test_without_images_there_is_none(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "elsewhere" / "boards"
    with opened(f"tensorboard:{root}", store, images=False) as mirror:
        mirror.add(kept.keep(store, kept.run()))
    assert read(root).Tags()["images"] == []
    assert not (store.root / "tensorboard").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_holds_each_image_in_its_place(channels: int) -> None:
    rows = [np.random.default_rng(row).integers(0, 250, (4, channels, 8, 5), dtype=np.uint8) for row in range(3)]
    picture = grid(rows)
    scale = (picture.shape[0] - GAP) // 3 // 8
    assert scale > 1
    for down, row in enumerate(rows):
        for across, image in enumerate(row):
            for y, x in ((0, 0), (7, 4), (3, 2)):
                place = (GAP + down * (8 * scale + GAP) + y * scale, GAP + across * (5 * scale + GAP) + x * scale)
                assert np.array_equal(picture[place], image[:, y, x] if channels == 3 else image[0, y, x])
