"""What a cut sends, in bytes: as it is, in 8 bits a number, and those compressed without loss."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from unsmash.metrics.identification import by_similarity, l2
from unsmash.metrics.intervals import wilson
from unsmash.records import Score

LEVELS = 255
ENDS = 8
"""Bytes of a message's smallest and largest number, as two float32: without them its codes mean nothing"""


@dataclass(frozen=True)
class Payload:
    """One tensor of a cut for n images, coded in 8 bits between each image's own smallest and largest number."""

    codes: Tensor
    """uint8 [n, d]"""
    low: Tensor
    """[n, 1]"""
    step: Tensor
    """[n, 1]; 0 where all of an image's numbers are the same"""
    element: int
    """Bytes of a number as it is"""

    @classmethod
    def of(cls, z: Tensor) -> Payload:
        """Code smashed data [n, …]."""
        rows = z.flatten(1).float()
        low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
        step = (high - low) / LEVELS
        codes = ((rows - low) / torch.where(step > 0, step, 1.0)).round().clamp(0, LEVELS).to(torch.uint8)
        return cls(codes, low, step, z.element_size())

    def values(self) -> Tensor:
        """The numbers as the server reads them back: [n, d], each within half a step of what it was."""
        return self.low + self.codes.float() * self.step

    @property
    def raw(self) -> int:
        """Bytes of one image's numbers as they are."""
        return self.codes.shape[1] * self.element

    @property
    def quantised(self) -> int:
        """Bytes of one image's codes, its ends with them."""
        return self.codes.shape[1] + ENDS

    def compressed(self) -> float:
        """Mean bytes of an image's codes deflated, its ends with them."""
        packed = [len(zlib.compress(row.numpy().tobytes(), 9)) + ENDS for row in self.codes]
        return sum(packed) / max(len(packed), 1)

    def found(self, z: Tensor) -> Score:
        """Share of the n images that one who holds all of them and the model tells by the codes alone."""
        hits = by_similarity(-l2(self.values().double(), z.flatten(1).double())).hits
        low, high = wilson(hits.sum().item(), len(hits))
        return Score("identification", "share", "up", hits.mean().item(), low, high, len(hits), (), "Wilson")
