"""Labeled Faces in the Wild: press photographs of faces, many of a few people and few of many."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import torch
from pydantic import Field

from unsmash.data import _reading
from unsmash.data._download import fetching
from unsmash.data._tree import open_tree
from unsmash.data.base import Count, Data, Pool, Pools
from unsmash.errors import DataError
from unsmash.lab import Lab

FACE = 0.6
"""Share of the original 250×250 frames, about their centre, that the face fills"""

SPARE = 1.05
"""Shadow faces decoded for each that is wanted, in case some are repeats"""


class Lfw(Data):
    """Faces in colour: tell apart the people with many photographs; the adversary has others' faces as well."""

    kind: Literal["lfw"] = "lfw"
    noun: ClassVar = ("face", "faces")
    tiny: ClassVar = {
        "train": 80,
        "shadow": 80,
        "validator": 40,
        "val": 20,
        "victims": 20,
        "size": 32,
        "min_images": 100,
    }

    train: Count = 1500
    """Faces that train the target"""

    shadow: Count = 3000
    """Faces of the adversary's own: what the other sets leave of the people told apart, then other people's"""

    validator: Count = 600
    """Faces that train the independent recogniser"""

    val: Count = 250
    """Held-out faces for the target's accuracy"""

    victims: Count = 250
    """Held-out faces that are attacked"""

    size: int = Field(default=64, ge=8, le=250)
    """Side of the images in pixels"""

    min_images: int = Field(default=20, ge=2)
    """Photographs that a person must have to be told apart"""

    def pools(self, root: Path) -> Pools:
        """From a zip or folder with files `Person/Person_0001.jpg`; only the faces that may be drawn are decoded."""
        with open_tree(_where(root)) as tree:
            people = {name: PurePosixPath(name).parent.name for name in tree.names}
            counts = Counter(people.values())
            classes = tuple(sorted(person for person, count in counts.items() if count >= self.min_images))
            if len(classes) < 2:
                most = [f"{person} {count}" for person, count in counts.most_common(2)]
                found = f"most photographs: {', '.join(most)}" if most else "it holds no photographs"
                raise DataError(f"{tree.path}: fewer than two people have {self.min_images} images ({found}).")
            numbers = {person: label for label, person in enumerate(classes)}
            known = [name for name in tree.names if people[name] in numbers]
            others = self._others([name for name in tree.names if people[name] not in numbers], len(known))
            frame = _reading.measure(tree.read(known[0]), tree.title(known[0]))
            crop = FACE if min(frame) >= 200 else 1.0
            pixels = _reading.pictures(tree, known + others, size=self.size, crop=crop)
        made = f"the centre {crop:.0%} " if crop < 1 else ""
        made += f"resized from {frame[0]}×{frame[1]}" if crop < 1 or frame != (self.size, self.size) else "as stored"
        return Pools(
            classes=tuple(person.replace("_", " ") for person in classes),
            source=f"Labeled Faces in the Wild ({self.size}×{self.size} colour, {made.strip()}): {len(classes)} people "
            f"with at least {self.min_images} images; shadow topped up with faces of other people",
            common=Pool(
                pixels=pixels,
                labels=torch.tensor([numbers.get(people[name], -1) for name in known + others]),
                names=known + others,
            ),
        )

    def _others(self, names: list[str], known: int) -> list[str]:
        """As many faces of other people as shadow may need, always the same ones."""
        left = known - sum(count or 0 for count in (self.train, self.validator, self.val, self.victims))
        wanted = max(0, (self.shadow or 0) - max(0, left))
        order = torch.randperm(len(names), generator=Lab(seed=0, path="data").generator("others"))
        return [names[place] for place in order[: int(wanted * SPARE + 20)].tolist()] if wanted else []


def _where(root: Path) -> Path:
    """The zip or folder that has the faces; scikit-learn downloads them where none has."""
    downloaded = root / "lfw_home" / "lfw_funneled"
    folder = root / "lfw"
    places = [folder / "lfw_64px.zip", *sorted(folder.glob("*.zip")), folder]
    places += [root / "lfw-py" / "lfw-deepfunneled", downloaded]
    for place in places:
        if place.exists():
            return place
    with fetching("LFW", folder):
        from sklearn.datasets import fetch_lfw_people

        # Only its download is wanted: one person and tiny images keep its own decoding and its cache small.
        fetch_lfw_people(data_home=root, min_faces_per_person=500, resize=0.1, n_retries=1)
    return downloaded
