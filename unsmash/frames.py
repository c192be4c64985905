"""How images become smashed data: each alone, or as a burst of slightly moved frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unsmash.lab import Lab
from unsmash.nets import jitter
from unsmash.split.model import SplitModel
from unsmash.split.shield import Smashed
from unsmash.threat import Threat


def burst(images: Tensor, frames: int, generator: torch.Generator) -> list[Tensor]:
    """The images and slightly moved copies of them: up to 5 degrees and 0.6 pixels, as a hand-held camera gives."""
    if frames == 1:
        return [images]
    shift = 0.6 / (min(images.shape[-2:]) / 2)
    return [images, *(jitter(images, generator, degrees=5, scale=0, shift=shift) for _ in range(frames - 1))]


def frames_of(
    network: SplitModel, threat: Threat, lab: Lab, batch: int = 256, known: Sequence[tuple[Tensor, Smashed]] = ()
) -> Callable[[Tensor, str], list[Smashed]]:
    """How images become smashed data on the CPU: the frames of each, moved by draws of a named stream.

    An empty stream takes the images as they are. For `known` images the device half does not run.
    """

    @torch.no_grad()
    def smash(x: Tensor) -> Smashed:
        for images, z in known:
            if x is images or torch.equal(x, images):
                return z
        parts = [network.smash(part.to(lab.device)) for part in x.split(batch)]
        return tuple(torch.cat([part[index] for part in parts]).cpu() for index in range(len(parts[0])))

    def frames(x: Tensor, stream: str) -> list[Smashed]:
        moved = burst(x, threat.frames, lab.generator(f"frames/{stream}")) if stream else [x]
        return [smash(frame) for frame in moved]

    return frames
