"""Pictures of what crosses and of what a decoder makes of it, layer by layer; the project hooks its layers likewise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unsmash.published import Enlarger
from unsmash.reproductions.autoencoder_training import Trained
from unsmash.split import SplitModel

SHOWN = 16
"""Maps drawn of what crosses"""
SIDE = 40
"""Pixels a side of a drawn map: enlarged without smoothing, or thinned"""


@torch.no_grad()
def crossing_maps(model: SplitModel, images: Tensor) -> list[Tensor]:
    """For each image the busiest maps over all of them, from black to white by its own range: [maps, 1, side, side]."""
    place = next(model.parameters()).device
    z = model.smash(images.to(place))[0].float().cpu()
    chosen = z.transpose(0, 1).flatten(1).var(1, correction=0).topk(min(SHOWN, z.shape[1])).indices.sort().values
    return [drawn(one[chosen]) for one in z]


@torch.no_grad()
def layers(trained: Trained, image: Tensor) -> Tensor:
    """The busiest map after each layer of the decoder for one image [1, 3, h, w]: [layers, 1, side, side]."""
    assert isinstance(trained.decoder, Enlarger)
    seen: list[Tensor] = []
    stack = trained.decoder.stack
    assert isinstance(stack, nn.Sequential)
    hooks = [layer.register_forward_hook(lambda _, __, out: seen.append(out[0].float().cpu())) for layer in stack]
    try:
        place = next(trained.decoder.parameters()).device
        trained.decoder((trained.device(image.to(place)),))
    finally:
        for hook in hooks:
            hook.remove()
    busiest = [one[one.flatten(1).var(1, correction=0).argmax()][None] for one in seen]
    return torch.cat([drawn(one) for one in busiest])


def drawn(maps: Tensor) -> Tensor:
    """Maps [m, h, w] each from black to white: [m, 1, side, side]; one that is the same everywhere is black."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    levels = (maps - low) / torch.where(high > low, high - low, torch.ones_like(high))
    return nn.functional.interpolate(levels[:, None], size=(SIDE, SIDE), mode="nearest")
