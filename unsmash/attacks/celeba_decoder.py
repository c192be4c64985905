"""The decoders of the 2023 course project that inverts MobileNetV3 on CelebA: deconvolutions, or bicubic steps.

Each layer enlarges by a transposed convolution whose kernel is its stride, or not at all, then BatchNorm and
hard-swish; the last ends in ReLU on normalised pixels, so nothing darker than ImageNet's mean can be drawn. Published
for 672 × 20 × 20 maps of a 320 × 320 face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from unsmash.attacks.base import Attack
from unsmash.lab import Lab
from unsmash.published import Enlarger, Recipe, reconstruct
from unsmash.threat import Grant
from unsmash.view import View

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

DEPTHS: dict[str, tuple[tuple[int, int], ...]] = {
    "light": ((16, 4), (0, 4)),
    "medium": ((112, 1), (80, 2), (80, 2), (16, 1), (16, 4), (0, 1)),
    "deep": ((112, 1), (112, 2), (480, 1), (480, 2), (80, 1), (80, 2), (16, 1), (16, 2), (0, 1)),
    "upsample": ((112, 2), (480, 2), (80, 2), (16, 2), (0, 1)),
}
"""Channels and enlargement of each layer; 0: the image's channels"""


class CelebaDecoder(Attack):
    """Deconvolutions with BatchNorm and hard-swish, in four depths, ending in ReLU on normalised pixels."""

    kind: Literal["celeba_decoder"] = "celeba_decoder"
    depth: Literal["light", "medium", "deep", "upsample"] = "medium"
    """light, medium, deep: transposed convolutions; upsample: 1 × 1 convolutions and bicubic steps between"""
    epochs: int = Field(10, ge=1, le=1000)
    """Passes over the adversary's images"""
    batch: int = Field(128, ge=2, le=4096)
    """Images a step"""
    rate: float = Field(1e-3, gt=0, le=1)
    """Adam's learning rate, times 0.975 every third epoch"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    exhibit: ClassVar[bool] = True
    title: ClassVar[str] = "Published decoder of the CelebA project"
    tiny: ClassVar[dict[str, object]] = {"epochs": 20, "batch": 16, "rate": 1e-2}

    @property
    def heading(self) -> str:
        """Its name with the depth."""
        return f"{self.title}, {self.depth}"

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w]."""
        recipe = Recipe(self.kind, self.epochs, self.batch, self.rate, MEAN, STD, decay=1e-5, step=(3, 0.975))
        shapes = [tuple(part.shape[1:]) for part in view.release]
        return reconstruct(view, recipe, lambda: network(self.depth, shapes, view.input_shape), lab)


def network(depth: str, shapes: Sequence[tuple[int, ...]], input_shape: tuple[int, ...]) -> nn.Module:
    """The network for a release of these shapes (without the batch) and images [c, h, w]."""
    widths = [width or input_shape[0] for width, _ in DEPTHS[depth]]

    def stack(channels: int, factors: Sequence[int]) -> nn.Module:
        reached = [channels, *widths]
        rows = zip(reached, widths, factors, strict=False)
        layers = [_layer(wide, out, factor, depth == "upsample") for wide, out, factor in rows]
        layers[-1][-1] = nn.ReLU()
        return nn.Sequential(*layers)

    return Enlarger(shapes, input_shape, stack, [factor for _, factor in DEPTHS[depth]], 64)


def _layer(channels: int, out: int, factor: int, bicubic: bool) -> nn.Sequential:
    norm = nn.BatchNorm2d(out, eps=0.001, momentum=0.01)
    if not bicubic:
        return nn.Sequential(nn.ConvTranspose2d(channels, out, factor, stride=factor), norm, nn.Hardswish())
    larger = [nn.Upsample(scale_factor=factor, mode="bicubic")] if factor > 1 else []
    return nn.Sequential(nn.Conv2d(channels, out, 1), norm, nn.Hardswish(), *larger)
