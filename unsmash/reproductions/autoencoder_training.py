"""How the course project trains its decoders, with its faults one by one, each to be left out.

drifting   `model.train()` reaches the victim too: its norms go by the batch, and their statistics are changed for good
noise      `published`: what is added to the images is added to the targets as well, and the input alone is clamped to
           [0, 1], after the normalisation, which cuts off all that is darker than the mean
relu       the last layer can draw nothing darker than ImageNet's mean
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unsmash.attacks.celeba_decoder import MEAN, STD
from unsmash.attacks.celeba_decoder import network as decoder_of
from unsmash.data import Splits
from unsmash.lab import Lab
from unsmash.published import Enlarger, Recipe
from unsmash.reproductions.autoencoder_victim import Network
from unsmash.reproductions.workbench import Workbench

WATCHED = 128
"""Faces that the loss is watched on"""


@dataclass(frozen=True)
class Course:
    """How one decoder is trained."""

    depth: Literal["light", "medium", "deep", "upsample"]
    epochs: int
    batch: int
    rate: float
    drifting: bool = True
    noise: Literal["none", "published", "right"] = "none"
    noise_mean: float = 0.0
    noise_var: float = 0.0
    """Mean and variance of the noise, in normalised units"""
    relu: bool = True

    def recipe(self) -> Recipe:
        """Normalisation, and Adam's settings, as published."""
        return Recipe("decoder", self.epochs, self.batch, self.rate, MEAN, STD, decay=1e-5, step=(3, 0.975))


@dataclass(frozen=True, eq=False)
class Trained:
    """A decoder, and the device half as its training left it."""

    decoder: Enlarger
    device: nn.Module
    course: Course
    losses: tuple[tuple[float, float], ...]
    """Each pass: mean over its batches, and on faces held out; squared error in normalised units"""
    settings: dict[str, Any]

    @torch.no_grad()
    def draw(self, images: Tensor, lab: Lab) -> Tensor:
        """What it draws of images in [0, 1], in normalised units: [n, 3, h, w]."""
        parts = [self.decoder((self.device(part.to(lab.device)),)).cpu() for part in images.split(64)]
        return torch.cat(parts)


def trained(bench: Workbench, network: Network, splits: Splits, course: Course) -> Trained:
    """The decoder of that course, kept from before or trained now."""
    settings = network.settings | {"course": asdict(course)}
    told = [course.depth, *(["noise " + course.noise] if course.noise != "none" else [])]
    told += [] if course.drifting else ["victim left alone"]
    told += [] if course.relu else ["no last ReLU"]
    step = f"train {', '.join(told)}"
    with bench.lab.at(step).seeded("decoder"):
        decoder = decoder_of(course.depth, [network.shape], splits.input_shape)
    if not course.relu:
        _without_relu(decoder)
    pair = nn.ModuleDict({"decoder": decoder, "device": copy.deepcopy(network.model.device)})

    def fit(both: nn.Module, lab: Lab) -> Mapping[str, Any]:
        assert isinstance(both, nn.ModuleDict)
        return {"losses": _fit(both["decoder"], both["device"], splits, course, lab)}

    made, figures = bench.network(step, settings, pair.to(bench.lab.device), fit)
    assert isinstance(made, nn.ModuleDict)
    found = made["decoder"]
    assert isinstance(found, Enlarger)
    losses = tuple((float(a), float(b)) for a, b in figures["losses"])
    return Trained(found, made["device"], course, losses, settings)


def _without_relu(decoder: nn.Module) -> None:
    assert isinstance(decoder, Enlarger)
    last = decoder.stack[-1]  # type: ignore[index]
    assert isinstance(last, nn.Sequential)
    last[-1] = nn.Identity()


def _fit(decoder: nn.Module, device: nn.Module, splits: Splits, course: Course, lab: Lab) -> list[tuple[float, float]]:
    recipe, images, order = course.recipe(), splits.shadow.pixels, lab.generator("order")
    optimiser = torch.optim.Adam(decoder.parameters(), lr=course.rate, weight_decay=recipe.decay)
    every, factor = recipe.step or (course.epochs, 1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, every, factor)
    device.requires_grad_(False)
    losses: list[tuple[float, float]] = []
    for number in range(1, course.epochs + 1):
        decoder.train()
        device.train(course.drifting)
        total, seen = 0.0, 0
        batches = torch.randperm(len(images), generator=order).split(course.batch)
        for rows in lab.track(batches, f"decoder, pass {number} of {course.epochs}"):
            if len(rows) < 2:  # a norm over a batch of one has nothing to go by
                continue
            given, target = pair_of(images[rows], course, order)
            with torch.no_grad():
                z = device(given.to(lab.device))
            loss = nn.functional.mse_loss(decoder((z,)), target.to(lab.device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total, seen = total + loss.item() * len(rows), seen + len(rows)
        schedule.step()
        losses.append((total / max(seen, 1), _watch(decoder, device, splits.val.pixels[:WATCHED], recipe, lab)))
        told = "squared error a pixel, normalised as published"
        lab.epoch("decoder", number, loss=told, train=losses[-1][0], held=losses[-1][1])
    return losses


def pair_of(images: Tensor, course: Course, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """What the victim is given, in [0, 1] as it expects, and what the decoder is to draw, normalised."""
    recipe = course.recipe()
    clean = recipe.pixels(images)
    if course.noise == "none":
        return images, clean
    noisy = clean + course.noise_mean + course.noise_var**0.5 * torch.randn(clean.shape, generator=draw)
    if course.noise == "published":
        return recipe.images(noisy.clamp(0, 1)), noisy
    return recipe.images(noisy).clamp(0, 1), clean


@torch.no_grad()
def _watch(decoder: nn.Module, device: nn.Module, images: Tensor, recipe: Recipe, lab: Lab) -> float:
    decoder.eval()
    device.eval()
    guess = decoder((device(images.to(lab.device)),)).cpu()
    return nn.functional.mse_loss(guess, recipe.pixels(images)).item()
