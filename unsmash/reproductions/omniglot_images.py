"""The letters of the Omniglot study: which train the target, which the attacker holds, and which are attacked.

The study takes each official set in the order that its data package gives, which mixes alphabets; that order is not to
be had without the package, so a fixed draw of ours stands in for it. Names sorted by alphabet would not do: the last
alphabets would be in the validation set only, and accuracy there would be zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsmash.data import Pool, Pools
from unsmash.data._contamination import hashes
from unsmash.data.omniglot import Omniglot
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.reproductions.workbench import Made

TARGET, SMALL1, SMALL2 = 13_180, 2_720, 3_120
"""Images of the three official sets"""

TRAIN = 11_000
"""How many of the target's come first and train it; those that follow validate it"""

SHOWN = 16
"""Test images of a sheet"""

PARTS = ("all", "clean", "leaked")


@dataclass(frozen=True)
class Sizes:
    """How many images of each kind are used."""

    train: int
    val: int
    shadow: int
    clean: int
    leaked: int
    candidates: int
    """Test images of each part among which a guess must find its own"""


@dataclass(frozen=True, eq=False)
class Tests:
    """The test images in their order."""

    images: Tensor
    """[n, 1, 105, 105] in [0, 1]"""
    leaked: Tensor
    """[n] bool: the attacker holds the very same image"""
    alphabets: tuple[str, ...]

    def part(self, name: str) -> Tensor:
        """Places of a part's images."""
        chosen = {"all": torch.ones_like(self.leaked), "clean": ~self.leaked, "leaked": self.leaked}[name]
        return chosen.nonzero().flatten()


class Letters:
    """The images of one run; nothing is read before it is asked for."""

    def __init__(self, root: Path, sizes: Sizes) -> None:
        self.root, self.sizes = root, sizes

    @cached_property
    def pools(self) -> Pools:
        """The three official sets, whole, in the order of their names."""
        return Omniglot().pools(self.root)

    @cached_property
    def train(self) -> tuple[Tensor, Tensor]:
        """Images and alphabets that train the target."""
        return self._target(torch.arange(self.sizes.train))

    @cached_property
    def val(self) -> tuple[Tensor, Tensor]:
        """Images and alphabets that validate it."""
        return self._target(torch.arange(TRAIN, TRAIN + self.sizes.val))

    @cached_property
    def shadow(self) -> Tensor:
        """The attacker's images."""
        return _floats(self._part("shadow"), self._held)

    @cached_property
    def tests(self) -> Tests:
        """The images attacked: those that the attacker holds too and those without a twin in its whole set, mixed.

        Raises:
            ConfigError: among the attacker's images are too few that stand in the test set.
        """
        pool, twins = self._part("victims"), hashes(self._part("shadow").pixels)
        held, known = {twins[place] for place in self._held.tolist()}, set(twins)
        order = mixed(len(pool), "small2")
        digests = hashes(pool.pixels)
        leaked = [place for place in order.tolist() if digests[place] in held][: self.sizes.leaked]
        clean = [place for place in order.tolist() if digests[place] not in known][: self.sizes.clean]
        if min(len(leaked), len(clean)) < 2:
            allowed = f"more; {self.sizes.shadow} hold {len(leaked)} of the test images"
            raise ConfigError("omniglot.shadow", got=self.sizes.shadow, allowed=allowed)
        chosen = torch.tensor([place for place in order.tolist() if place in {*leaked, *clean}])
        marks = torch.isin(chosen, torch.tensor(leaked))
        return Tests(_floats(pool, chosen), marks, tuple(alphabet(pool.names[place]) for place in chosen.tolist()))

    def plain(self) -> dict[str, int]:
        """What a step depends on that uses the attacker's and the test images."""
        return {name: getattr(self.sizes, name) for name in ("shadow", "clean", "leaked", "candidates")}

    @cached_property
    def _held(self) -> Tensor:
        return mixed(SMALL1, "small1")[: self.sizes.shadow]

    def _target(self, places: Tensor) -> tuple[Tensor, Tensor]:
        pool = self._part("target")
        rows = mixed(len(pool), "target")[places]
        return _floats(pool, rows), pool.labels[rows]

    def _part(self, name: str) -> Pool:
        pool: Pool = getattr(self.pools, name)
        return pool

    def first(self) -> Tensor:
        """Places of the first test images, which the figures show."""
        return torch.arange(min(SHOWN, len(self.tests.leaked)))

    def pairs(self) -> Tensor:
        """Places of the first leaked test images, then as many clean ones."""
        half = SHOWN // 2
        return torch.cat([self.tests.part("leaked")[:half], self.tests.part("clean")[:half]])


def contamination(pools: Pools) -> Made:
    """Which test images stand in the attacker's set too, and whether any stands in the target's: by content."""
    target, shadow, victims = (set(hashes(one.pixels)) for one in _three(pools))
    assert pools.victims is not None
    digests = hashes(pools.victims.pixels)
    twins = [name for name, digest in zip(pools.victims.names, digests, strict=True) if digest in shadow]
    counts: Mapping[str, int] = Counter(map(alphabet, twins))
    figures: dict[str, Any] = {
        "tests": len(digests), "shared": len(twins), "clean": len(digests) - len(twins),
        "alphabets": dict(sorted(counts.items())), "with_target": len(target & (shadow | victims)),
    }  # fmt: skip
    return Made(figures)


def _three(pools: Pools) -> tuple[Pool, Pool, Pool]:
    assert pools.target is not None
    assert pools.shadow is not None
    assert pools.victims is not None
    return pools.target, pools.shadow, pools.victims


def alphabet(name: str) -> str:
    """The alphabet of an image by its place in the archive: `set/alphabet/character/image`."""
    return name.split("/")[1]


def mixed(count: int, name: str) -> Tensor:
    """The order in which a set is taken: the same for all seeds, which attack the same letters."""
    return torch.randperm(count, generator=Lab(seed=0, path="reproductions/omniglot").generator(name))


def _floats(pool: Pool, places: Tensor) -> Tensor:
    return pool.pixels[places].to(torch.float32).div_(pool.peak)
