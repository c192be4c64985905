"""Which maps of the smashed data and of the release are drawn for a handful of victims, and their levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unsmash.feature_record import FeatureMaps, Sheet
from unsmash.records import Pictures
from unsmash.split.model import Smashed, SplitModel
from unsmash.view import Scene

CHOSEN = (("worst", 2), ("typical", 1), ("least", 1))
"""How many of each group of pictured victims"""
MAPS = 16
SIDE = 32
"""Cells a side of a drawn map; larger ones are thinned, not averaged: averaging would hide the noise"""
NUMBERS = 2048
"""Numbers drawn where what crosses has no maps"""


@torch.no_grad()
def choose(
    model: SplitModel, scene: Scene, release: Smashed, pictures: Pictures
) -> tuple[FeatureMaps, dict[str, np.ndarray]]:
    """The index of the sheets and their arrays, uint8 [victims, maps, h, w] or [victims, numbers].

    The smashed data is left out where it is what is sent.
    """
    places = [place for group, count in CHOSEN for place in _first(pictures.groups, group, count)]
    if not places:
        return FeatureMaps(), {}
    rows = torch.tensor([pictures.victims[place] for place in places])
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    smashed = model.smash(scene.victims[rows].to(device))[0].float().cpu()
    sent = release[0][rows].float()
    same = smashed.shape == sent.shape and torch.equal(smashed, sent)
    sheets, arrays = [], {}
    chosen = None
    parts: list[tuple[Literal["smashed", "release"], Tensor]] = [("smashed", smashed), ("release", sent)]
    for name, part in parts[1:] if same else parts:
        if chosen is None or part.shape != smashed.shape:
            chosen = _busiest(part)
        sheet, levels = _drawn(name, part, chosen)
        sheets.append(sheet)
        arrays[f"maps/{name}"] = levels
    return FeatureMaps(tuple(places), tuple(sheets), len(release)), arrays


def _first(groups: Sequence[str], group: str, count: int) -> list[int]:
    return [place for place, name in enumerate(groups) if name == group][:count]


def _busiest(part: Tensor) -> Tensor:
    """The maps of largest variance over these victims and their cells, in their own order; none without maps."""
    if part.ndim != 4 or part.shape[2] * part.shape[3] == 1:
        return torch.zeros(0, dtype=torch.long)
    spread = part.transpose(0, 1).flatten(1).var(1, correction=0)
    return spread.topk(min(MAPS, part.shape[1])).indices.sort().values


def _drawn(name: Literal["smashed", "release"], part: Tensor, chosen: Tensor) -> tuple[Sheet, np.ndarray]:
    shape, step = tuple(part.shape[1:]), 1
    if len(chosen):
        step = -(-max(part.shape[2:]) // SIDE)
        part = part[:, chosen, ::step, ::step]
        low, high = (getattr(part, end)((0, 2, 3)) for end in ("amin", "amax"))
        levels = _levels(part, low[:, None, None], high[:, None, None])
    else:
        part = part.flatten(1)[:, :NUMBERS]
        low, high = part.amin()[None], part.amax()[None]
        levels = _levels(part, low, high)
    return Sheet(name, shape, tuple(chosen.tolist()), tuple(low.tolist()), tuple(high.tolist()), step), levels


def _levels(part: Tensor, low: Tensor, high: Tensor) -> np.ndarray:
    """Values as 0 … 255 between the ends of their range; a range of nothing is level 0."""
    width = torch.where(high > low, high - low, torch.ones_like(high))
    array: np.ndarray = ((part - low) / width * 255).round().to(torch.uint8).contiguous().numpy()
    return array
