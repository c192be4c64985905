"""Which victims are stored as pictures, and their arrays: worst hit first, then typical, then least hit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unsmash.records import Pictures, Result
from unsmash.split.model import Smashed, flat
from unsmash.view import Scene

COUNTS = {"worst": 12, "typical": 6, "least": 6}
PER_CLASS = 3
MAPS = 16
RULE = (
    "Ordered by how well the strongest attack's guess matches the true image (rank, then SSIM); worst are the first, "
    f"typical the middle, least the last; at most {PER_CLASS} of one class in each group"
)


def choose(
    results: Sequence[Result], guesses: dict[str, Tensor], scene: Scene, release: Smashed, classes: Sequence[str]
) -> tuple[Pictures, dict[str, np.ndarray]]:
    """The index of pictured victims and arrays `original`, `sent/i`, `guess/name` for them."""
    shown = [result for result in results if result.name in guesses]
    if not shown:
        return Pictures(), {}
    order = _order(max(shown, key=lambda result: result.scores["identification"].mean))
    victims, groups = _pick(order, scene.labels)
    rows = torch.tensor(victims)
    arrays = {"original": as_bytes(scene.victims[rows])}
    arrays |= {f"guess/{result.name}": as_bytes(guesses[result.name][rows]) for result in shown}
    arrays |= {f"sent/{index}": _drawn(part[rows]) for index, part in enumerate(release)}
    index = Pictures(
        victims=tuple(victims),
        groups=tuple(groups),
        labels=tuple(classes[label] if label >= 0 else "" for label in scene.labels[rows].tolist()),
        rule=RULE,
        sent_scale=flat(release).std().item(),
        shown=tuple(result.name for result in shown),
    )
    return index, arrays


def _order(result: Result) -> list[int]:
    """Victims from worst hit to least hit."""
    similarity = result.scores["ssim"].values
    return sorted(range(len(result.ranks)), key=lambda victim: (result.ranks[victim], -similarity[victim]))


def _pick(order: list[int], labels: Tensor) -> tuple[list[int], list[str]]:
    middle = len(order) // 2
    typical = sorted(order, key=lambda victim: abs(order.index(victim) - middle))
    starts = {"worst": order, "least": order[::-1], "typical": typical}
    taken: dict[str, list[int]] = {}
    used: set[int] = set()
    for group, candidates in starts.items():
        taken[group] = _few_per_class([v for v in candidates if v not in used], labels, COUNTS[group])
        used |= set(taken[group])
    pairs = [(victim, group) for group in COUNTS for victim in taken[group]]
    return [victim for victim, _ in pairs], [group for _, group in pairs]


def _few_per_class(candidates: list[int], labels: Tensor, count: int) -> list[int]:
    chosen: list[int] = []
    seen: dict[int, int] = {}
    for victim in candidates:
        label = int(labels[victim])
        if label >= 0 and seen.get(label, 0) >= PER_CLASS:
            continue
        seen[label] = seen.get(label, 0) + 1
        chosen.append(victim)
        if len(chosen) == count:
            return chosen
    rest = [victim for victim in candidates if victim not in chosen]
    return (chosen + rest)[:count]


def as_bytes(images: Tensor) -> np.ndarray:
    """Images in [0, 1] as uint8, as they are stored."""
    array: np.ndarray = (images.clamp(0, 1) * 255).round().to(torch.uint8).contiguous().numpy()
    return array


def _drawn(part: Tensor) -> np.ndarray:
    """A crossing tensor for drawing: maps keep the most active ones only."""
    part = part.float()
    if part.ndim == 4 and part.shape[1] > MAPS:
        active = part.flatten(2).std(2).mean(0).topk(MAPS).indices.sort().values
        part = part[:, active]
    array: np.ndarray = part.contiguous().numpy()
    return array
