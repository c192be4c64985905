"""Which images are the same: by content, never by place or name.

Identical images have the same hash of pixel bytes and shape. Near twins differ by less than `NEAR` root mean square.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

NEAR = 0.018
"""Root-mean-square pixel difference, images in [0,1], below which two images are near twins (L2 0.5 at 28×28)"""

EXAMPLES = 5
"""Examples kept for messages"""

BLOCKS = 8
"""Side of the coarse images that candidates for near twins are found by"""

CHUNK = 4096
"""Images compared at a time: bounds the memory"""

SLACK = 1e-6
"""Squared distance added to the candidates' limit, for rounding"""

Listing = tuple[Sequence[bytes], Sequence[str]]
"""Hashes and names of a set's images"""


@dataclass(frozen=True)
class Found:
    """How many images were found where they should not be, and a few of them."""

    count: int = 0
    examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.count > 0

    def __add__(self, other: Found) -> Found:
        return Found(self.count + other.count, (self.examples + other.examples)[:EXAMPLES])


def hashes(pixels: Tensor) -> list[bytes]:
    """A digest of each image's bytes and shape; pixels uint8 [n,c,h,w]."""
    shape = repr(tuple(pixels.shape[1:])).encode()
    return [hashlib.blake2b(image.tobytes(), digest_size=16, key=shape).digest() for image in pixels.numpy()]


def first_of_each(parts: Mapping[str, Sequence[bytes]]) -> dict[str, Tensor]:
    """Places of the images that no earlier part, and no earlier image of the same part, already has."""
    seen: set[bytes] = set()
    kept: dict[str, Tensor] = {}
    for name, digests in parts.items():
        places = []
        for place, digest in enumerate(digests):
            if digest not in seen:
                seen.add(digest)
                places.append(place)
        kept[name] = torch.tensor(places, dtype=torch.int64)
    return kept


def shared(sets: Mapping[str, Listing]) -> Found:
    """Images that an earlier set has too. Repeats inside one set are no contamination."""
    owner: dict[bytes, tuple[str, str]] = {}
    count = 0
    examples: list[str] = []
    for name, (digests, names) in sets.items():
        for digest, image in zip(digests, names, strict=True):
            first, twin = owner.setdefault(digest, (name, image))
            if first != name:
                count += 1
                if len(examples) < EXAMPLES:
                    examples.append(f"{twin} ({first}) = {image} ({name})")
    return Found(count, tuple(examples))


def near_twins(victims: tuple[Tensor, Sequence[str]], sets: Mapping[str, tuple[Tensor, Sequence[str]]]) -> Found:
    """Victims with an image of root-mean-square difference below `NEAR` in any of the sets; pixels float32 in [0,1].

    Means over blocks of pixels can only bring two images closer, so their distances, cheap to have for all pairs, name
    every candidate; candidates are then compared in full.
    """
    pixels, names = victims
    block = max(1, min(pixels.shape[-2:]) // BLOCKS)
    limit = NEAR**2 * pixels[0].numel()
    coarse = _coarse(pixels, block)
    twins: dict[int, str] = {}
    for set_name, (others, other_names) in sets.items():
        for start in range(0, len(others), CHUNK):
            chunk = others[start : start + CHUNK]
            possible = torch.cdist(coarse, _coarse(chunk, block)).square() * block**2 < limit + SLACK
            for victim in possible.any(1).nonzero().flatten().tolist():
                place = None if victim in twins else _near(pixels[victim], chunk, possible[victim], limit)
                if place is not None:
                    twins[victim] = f"{names[victim]} (victims) ≈ {other_names[start + place]} ({set_name})"
    return Found(len(twins), tuple(twins[victim] for victim in sorted(twins)[:EXAMPLES]))


def fingerprint(sets: Mapping[str, tuple[Tensor, Tensor]]) -> str:
    """Hex digest of all sets: names, shapes, pixels and labels, in order."""
    digest = hashlib.sha256()
    for name, (pixels, labels) in sets.items():
        digest.update(f"{name} {tuple(pixels.shape)}".encode())
        digest.update(pixels.contiguous().numpy().data)
        digest.update(labels.contiguous().numpy().data)
    return digest.hexdigest()


def _coarse(pixels: Tensor, block: int) -> Tensor:
    return F.avg_pool2d(pixels, block).flatten(1).double()


def _near(image: Tensor, others: Tensor, possible: Tensor, limit: float) -> int | None:
    """Place of the first possible image whose squared distance is below the limit, or None."""
    for places in possible.nonzero().flatten().split(256):
        near = ((others[places] - image).double().square().flatten(1).sum(1) < limit).nonzero()
        if len(near):
            return int(places[near[0, 0]])
    return None
