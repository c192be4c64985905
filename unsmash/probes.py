"""What tries each cut of a scan, and on how many of the adversary's images: enough to see a leak, within seconds."""

from __future__ import annotations

from math import isqrt

from unsmash.attacks.base import Attack
from unsmash.component import discover

WORK = 8e10
"""Products of a cut's linear fit: what keeps it to seconds. Where more crosses, fewer images are learned from"""
IMAGES, FEWEST = 1500, 100
"""Most and fewest of the adversary's images that are learned from"""


def affordable(numbers: int, pixels: int, own: int, *, quick: bool = False) -> int:
    """How many of the adversary's own images a cut's attacks learn from, by its width and the images' size."""
    within = isqrt(int(WORK / (4 if quick else 1) / (numbers + 2 * pixels)))
    return min(own, IMAGES, max(FEWEST, within))


def attacks(images: int, *, quick: bool = False) -> list[Attack]:
    """What tries every cut: ridge, and a short decoder on the same images."""
    kinds = discover("unsmash.attacks", Attack)
    few = max(16, images)
    short = {"size": "small", "copies": 0, "epochs": 2 if quick else 4, "images": few}
    return [kinds["ridge"](kind="ridge", images=few), kinds["decoder"](kind="decoder", **short)]
