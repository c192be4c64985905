"""Data: pools of images, and the five sets that are drawn from them without sharing an image.

A component says where its images come from (`pools`); `Data.load` draws the sets, checks them by content and reports
what it found. The draw depends on the settings alone, never on a run's seed: all seeds attack the same victims.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from unsmash.component import Component
from unsmash.data import _contamination, _sampling
from unsmash.data._contamination import Found
from unsmash.data._sets import SETS, Images, Pool, Pools, Question, SplitReport, Splits
from unsmash.errors import ContaminationError, DataError

__all__ = ["SETS", "Count", "Data", "Images", "Pool", "Pools", "Question", "SplitReport", "Splits", "data_root"]

Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)] | None


class Data(Component):
    """Base of the data sets. Subclasses say which images there are; drawing and checking is done here."""

    noun: ClassVar[tuple[str, str]] = ("image", "images")
    """Singular and plural of what an image shows"""

    default: ClassVar[bool] = False
    """True for the one set that is taken where none is named"""

    usual_model: ClassVar[str] = "small_resnet"
    """Kind of the model taken where none is named"""

    train: Count = None
    """Images that train the target; none: a share of what there is"""

    shadow: Count = None
    """Images of the adversary's own, to train its attack; none: a share of what there is"""

    validator: Count = None
    """Images that train the independent recogniser of the guesses; none: a share of what there is"""

    val: Count = None
    """Held-out images for the target's accuracy; none: a share of what there is"""

    victims: Count = None
    """Held-out images that are attacked; none: a tenth of what there is, from 20 to 500"""

    duplicates: Literal["stop", "drop"] = "drop"
    """What an image in two sets means: `stop` refuses the data, `drop` keeps it in the first set and says so"""

    spare: bool = False
    """Leave victims and val untouched and take others, mostly of shadow, in their place: for choosing among settings,
    which are then measured on those left"""

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `spare` where it is not asked for: it says nothing then, and no known run's id changes for it."""
        plain: dict[str, Any] = handler(self)
        return plain if self.spare else {name: value for name, value in plain.items() if name != "spare"}

    @abstractmethod
    def pools(self, root: Path) -> Pools:
        """Read the images.

        Raises:
            DataError: something is missing or unreadable, with what to do.
        """

    def load(self, root: Path, *, allow_contamination: bool = False) -> Splits:
        """Read, draw, check. The sets depend on the settings and the images only.

        Raises:
            DataError: images are missing, unreadable or too few.
            ContaminationError: sets share images, `duplicates` is `stop` and contamination is not allowed.
        """
        pools = self.pools(root)
        parts = pools.parts()
        _require_one_shape(parts)
        dropped, found = 0, Found()
        if self.duplicates == "drop":
            parts, dropped = _without_repeats(parts)
        else:
            found = _shared(parts)  # the parts whole: which of their images are drawn is chance
        drawn = self._draw(pools, parts)
        if self.duplicates == "stop":
            for part in parts:
                found += _shared({name: drawn[name] for name in SETS if pools.part_of(name) == part})
        if found and not allow_contamination:
            raise _contaminated(self.kind, found)
        sets = {name: Images.of(pool) for name, pool in drawn.items()}
        near = _contamination.near_twins(
            (sets["victims"].pixels, sets["victims"].names),
            {name: (sets[name].pixels, sets[name].names) for name in ("train", "shadow", "validator")},
        )
        report = SplitReport(
            source=pools.source,
            sizes={name: len(sets[name]) for name in SETS},
            fingerprint=_contamination.fingerprint({name: (sets[name].pixels, sets[name].labels) for name in SETS}),
            contamination=found.count,
            contamination_examples=found.examples,
            repeats_dropped=dropped,
            near_duplicates=near.count,
            near_examples=near.examples,
            notes=pools.notes + _notes(sets, pools.classes),
        )
        return Splits(
            **sets,
            classes=pools.classes,
            noun=self.noun,
            report=report,
            questions=pools.questions,
            traits=pools.traits,
        )

    def _draw(self, pools: Pools, parts: dict[str, Pool]) -> dict[str, Pool]:
        """Each set's images, part by part."""
        drawn: dict[str, Pool] = {}
        for part, pool in parts.items():
            wants = {name: getattr(self, name) for name in SETS if pools.part_of(name) == part}
            sizes = _sampling.sizes(
                wants, pool.labels, where=f"{self.kind}, part {part}" if len(parts) > 1 else self.kind
            )
            chosen = _sampling.draw(sizes, pool.labels)
            if self.spare:
                chosen = _sampling.stand_ins(chosen, pool.labels, where=self.kind)
            drawn |= {name: pool.take(places) for name, places in chosen.items()}
        return drawn


def data_root(option: Path | None = None) -> Path:
    """Folder that data sets are read from and downloaded to: the option, else UNSMASH_DATA, else the user's cache."""
    if option is not None:
        return option.expanduser()
    if named := os.environ.get("UNSMASH_DATA"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "unsmash"


def _without_repeats(parts: dict[str, Pool]) -> tuple[dict[str, Pool], int]:
    """The parts with the first of identical images only, and how many others there were."""
    first = _contamination.first_of_each({name: _contamination.hashes(pool.pixels) for name, pool in parts.items()})
    kept = {name: pool if len(first[name]) == len(pool) else pool.take(first[name]) for name, pool in parts.items()}
    return kept, sum(len(parts[name]) - len(kept[name]) for name in parts)


def _shared(pools: dict[str, Pool]) -> Found:
    listings = {name: (_contamination.hashes(pool.pixels), pool.names) for name, pool in pools.items()}
    return _contamination.shared(listings)


def _require_one_shape(parts: dict[str, Pool]) -> None:
    shapes = {name: tuple(pool.pixels.shape[1:]) for name, pool in parts.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(f"the parts have images of different shapes [c,h,w]: {listed}. Set size and colour for all.")


def _contaminated(kind: str, found: Found) -> ContaminationError:
    images = "1 image stands" if found.count == 1 else f"{found.count:,} images stand"
    return ContaminationError(
        f"{kind}: {images} in two sets that must share none, e.g. {'; '.join(found.examples[:2])}. "
        "Set duplicates=drop in --data to leave out the repeats, or go on as it is with --allow-contamination.",
        count=found.count,
        examples=found.examples,
    )


def _notes(sets: dict[str, Images], classes: tuple[str, ...]) -> tuple[str, ...]:
    """What a reader of the results should know about the sets drawn."""
    present = set(sets["train"].labels.tolist())
    absent = [name for label, name in enumerate(classes) if label not in present]
    notes = [f"No train image of {len(absent)} classes: {', '.join(absent[:5])}"] if absent else []
    if len(classes) == 1:
        notes.append("One class only: accuracy says nothing here")
    return tuple(notes)
