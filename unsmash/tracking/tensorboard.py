"""Runs as TensorBoard reads them: event files with figures, the verdict and the settings as text, and pictures.

Written record by record with the tensorboard package, without torch. A run's folder appears whole or not at all.
"""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unsmash.errors import ConfigError, DependencyError
from unsmash.records import Run
from unsmash.store import PICTURES, write_text
from unsmash.tracking import figures
from unsmash.tracking.base import Ending, Group, Stored
from unsmash.tracking.grid import grid

MARK = "unsmash.json"
"""Beside the event file: which record and which verdict it was made of"""


def connect(place: str, out: Path, group: Group) -> TensorBoard:
    """A tracker that writes into that folder, else into `OUT/tensorboard`.

    Raises:
        ConfigError: the folder is a file.
        DependencyError: tensorboard is not installed.
    """
    try:
        from tensorboard.compat.proto import event_pb2  # noqa: F401
        from tensorboard.summary.writer import record_writer  # noqa: F401
    except ImportError as error:
        sentence = 'track: tensorboard is not installed here. Install it with: pip install "unsmash[tensorboard]"'
        raise DependencyError(sentence) from error
    root = Path(place) if place else out / "tensorboard"
    if root.exists() and not root.is_dir():
        raise ConfigError("track", got=f"tensorboard:{place}", allowed="a folder, which may be new")
    return TensorBoard(root, group)


class TensorBoard:
    """Writes one folder a run, under the sweep's where there is one."""

    def __init__(self, root: Path, group: Group) -> None:
        self.root, self.group = root, group
        self.where = f"tensorboard in {root}"

    def add(self, one: Stored) -> None:
        """Write a run's folder, once; another verdict or another measurement takes its place."""
        sweep = f"{_slug(self.group.name or 'sweep')}-{self.group.sweep}" if self.group.sweep else ""
        folder = self.root / sweep / f"{_slug(one.name)}-{one.run.id}"
        mark = {"record": one.record, "judged": one.judged, "images": self.group.images}
        elsewhere = [found.parent for found in self.root.glob(f"**/*-{one.run.id}/{MARK}")]
        if elsewhere == [folder] and json.loads((folder / MARK).read_text(encoding="utf-8")) == mark:
            return
        work = folder.parent / f".{folder.name}.unfinished"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        self._write(one, work)
        write_text(work / MARK, json.dumps(mark))
        for old in {*elsewhere, folder}:
            shutil.rmtree(old, ignore_errors=True)
        work.replace(folder)

    def close(self, folder: Path | None, ending: Ending) -> None:
        """Nothing is left open."""

    def _write(self, one: Stored, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        at = figures.began(one.run) or time.time()
        with (folder / f"events.out.tfevents.{round(at)}.unsmash").open("wb") as file:
            writer = RecordWriter(file)
            writer.write(Event(wall_time=at, file_version="brain.Event:2").SerializeToString())
            for step, when, value in self._values(one, at):
                event = Event(wall_time=when, step=step)
                event.summary.value.append(value)
                writer.write(event.SerializeToString())

    def _values(self, one: Stored, at: float) -> Iterator[tuple[int, float, Any]]:
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = figures.metrics(one.run) | figures.judgement(one.verdict)
        for name, value in scalars.items():
            yield 0, at, Summary.Value(tag=name, simple_value=value)
        for point in figures.steps(one.happened()):
            yield point.step, point.at, Summary.Value(tag=point.name, simple_value=point.value)
        yield 0, at, _text("verdict", _verdict(one))
        yield 0, at, _text("parameters", _table(figures.parameters(one.run)))
        if self.group.images and (drawn := _guesses(one.run, one.folder)) is not None:
            yield 0, at, Summary.Value(tag="guesses", image=_image(drawn))


def _text(tag: str, markdown: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return Summary.Value(
        tag=tag, metadata=metadata, tensor=TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
    )


def _image(pixels: np.ndarray) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    height, width = pixels.shape[:2]
    return Summary.Image(height=height, width=width, colorspace=pixels.ndim, encoded_image_string=target.getvalue())


def _verdict(one: Stored) -> str:
    lines = [f"**{one.word.capitalize()}.** {one.sentence}"]
    if one.verdict is not None:
        lines += [f"- {reason}" for reason in one.verdict.reasons]
        lines.append(f"Budget: `{one.verdict.budget}`, {one.verdict.seeds} seed(s). Run `{one.run.id}`.")
    return "\n\n".join(lines)


def _table(values: dict[str, str]) -> str:
    rows = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in values.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _guesses(run: Run, folder: Path) -> np.ndarray | None:
    """The pictured victims over what each attack made of them."""
    file = folder / PICTURES
    if not run.pictures.shown or not file.is_file():
        return None
    from safetensors.numpy import load_file

    arrays = load_file(str(file))
    rows = [arrays.get(name) for name in ("original", *(f"guess/{name}" for name in run.pictures.shown))]
    known = [row for row in rows if row is not None]
    return grid(known) if known else None


def _slug(name: str) -> str:
    """A name as a folder's, short enough for any disk."""
    return figures.clean(name.replace("/", "_").replace(", ", "-").replace(" ", "_"))[:100]
