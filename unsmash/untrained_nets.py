"""A deep image prior (Ulyanov, Vedaldi & Lempitsky, CVPR 2018): for each victim an untrained convolutional network.

Its input is fixed noise; its weights are what descends. Such a network makes what is smooth and repeats itself in few
steps and noise in many, before it has seen any image. All start alike, from the same noise and the same weights. The
networks of all victims are one grouped convolution a layer: as quick as `torch.func.vmap`, which comes to the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unsmash.search_space import Search, Space, within

INPUTS = 16
"""Channels of the noise that enters"""

LEAK = 0.1
"""Slope of the activation below zero"""


class UntrainedNets(Space):
    """Starts are images; a network of its own, which begins at nothing, is added to each.

    At each level, from the coarsest grid to the image's, the maps are enlarged to twice the side, convolved 3 × 3,
    standardised within the image and rectified. A last 1 × 1 convolution makes the image.
    """

    def __init__(self, shape: tuple[int, ...], width: int, levels: int, generator: torch.Generator) -> None:
        sizes = [tuple(shape[1:])]
        for _ in range(levels - 1):
            sizes.insert(0, tuple(max(1, -(-side // 2)) for side in sizes[0]))
        self.sizes = sizes
        self.noise = torch.rand(1, INPUTS, *sizes[0], generator=generator) * 2 - 1
        self.layers: list[tuple[Tensor, Tensor]] = []
        """First weight [out, in, 3, 3] and bias [out] of each layer"""
        channels = INPUTS
        for _ in sizes:
            weight = torch.randn(width, channels, 3, 3, generator=generator) * (2 / (9 * channels)) ** 0.5
            self.layers.append((weight, torch.zeros(width)))
            channels = width
        self.layers.append((torch.zeros(shape[0], channels, 1, 1), torch.zeros(shape[0])))

    def search(self, starts: Tensor, victims: Tensor) -> Search:
        """From images [n, c, h, w], which the networks change nothing of at first."""
        return _Grown(starts, self)


class _Grown(Search):
    def __init__(self, start: Tensor, nets: UntrainedNets) -> None:
        n = len(start)
        super().__init__([part.to(start).repeat(n, *[1] * (part.ndim - 1)) for pair in nets.layers for part in pair])
        self.start, self.sizes = start, nets.sizes
        self.noise = nets.noise.to(start).repeat(1, n, 1, 1)

    def images(self) -> Tensor:
        maps, n = self.noise, len(self.start)
        weights, biases = self.free[::2], self.free[1::2]
        for size, weight, bias in zip(self.sizes, weights, biases, strict=False):
            if maps.shape[2:] != size:
                maps = nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
            maps = _standard(nn.functional.conv2d(maps, weight, bias, padding=1, groups=n))
            maps = nn.functional.leaky_relu(maps, LEAK)
        added = nn.functional.conv2d(maps, weights[-1], biases[-1], groups=n)
        return within(self.start + added.reshape_as(self.start))


def _standard(maps: Tensor) -> Tensor:
    """Every map of every victim by itself to mean 0 and deviation 1; one of a single number is left as it is."""
    if maps.shape[2:].numel() == 1:
        return maps
    return nn.functional.batch_norm(maps, None, None, training=True)
