"""The course project that draws CelebA's faces from MobileNetV3's feature maps, and the mitigation that it proposes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from unsmash.reproductions.autoencoder_report import Rows, charts, sheets, substitutes, tables
from unsmash.reproductions.autoencoder_scores import clipped
from unsmash.reproductions.autoencoder_sentences import findings, headline
from unsmash.reproductions.autoencoder_subset import Adversary, Choice, Sent
from unsmash.reproductions.autoencoder_training import Course
from unsmash.reproductions.autoencoder_victim import MAPS, Wanted, load, network
from unsmash.reproductions.autoencoder_works import Work
from unsmash.reproductions.systems.base import Findings, Reproduction
from unsmash.reproductions.workbench import Workbench

Depth = Literal["light", "medium", "deep", "upsample"]


class AutoencoderReproduction(Reproduction):
    """Decoders of MobileNetV3's feature maps, PSNR by the published formula and as it is, and maps left out."""

    kind: Literal["autoencoder"] = "autoencoder"
    faces: Literal["auto", "celeba", "lfw"] = "auto"
    """celeba: as published; lfw: its substitute; auto: CelebA where the data root has it"""
    size: int = Field(64, ge=32, le=320)
    """Side of the images in pixels. Published: 320, which needs 1.2 MB of memory an image and a GPU"""
    weights: str = ""
    """State dict of torchvision's mobilenet_v3_large in a safetensors file, such as ImageNet's, published; empty:
    random ones"""
    taught: int = Field(700, ge=50, le=100_000)
    """Faces that the network learns its task from, so that its accuracy can be told"""
    task_epochs: int = Field(30, ge=0, le=1000)
    """Passes over them; 0 leaves the weights as they are"""
    photographs: int = Field(70, ge=2)
    """Photographs that a person of LFW must have to be told apart"""
    images: int = Field(5000, ge=16, le=100_000)
    """Faces of the adversary's own that the decoders learn from. Published: about 38,000"""
    victims: int = Field(250, ge=2, le=10_000)
    """Faces that are reconstructed"""
    depths: tuple[Depth, ...] = Field(("light", "medium", "deep", "upsample"), min_length=1)
    """Decoders; those put right are the first of them that is not light"""
    epochs: int = Field(10, ge=1, le=1000)
    """Passes of a decoder"""
    batch: int = Field(32, ge=2, le=4096)
    """Faces a step. Published: 128 of many more"""
    rate: float = Field(1e-3, gt=0, le=1)
    """Adam's learning rate, times 0.975 every third pass"""
    noise_mean: float = Field(0.05, ge=-10, le=10)
    """Mean of the noise that augments, in normalised units"""
    noise_var: float = Field(0.05, ge=0, le=10)
    """Its variance"""
    shares: tuple[float, ...] = Field((1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125), min_length=1)
    """Shares of the feature maps that are sent"""
    choices: tuple[Choice, ...] = Field(("fixed", "learned"), min_length=1)
    """How they are chosen: once by lot, the largest of each image, or those that the task needs most"""
    attack_images: int = Field(3000, ge=16, le=100_000)
    """Faces that the attacks on maps left out learn from"""
    attack_epochs: int = Field(5, ge=1, le=1000)
    """Passes of the residual decoder on them"""

    tiny: ClassVar[dict[str, Any]] = {
        "size": 32, "taught": 60, "task_epochs": 1, "photographs": 100, "images": 64, "victims": 20,
        "depths": ["light"], "epochs": 1, "shares": [1, 0.0625], "choices": ["fixed"], "attack_images": 48,
        "attack_epochs": 1,
    }  # fmt: skip
    quick: ClassVar[dict[str, Any]] = {
        "task_epochs": 10, "images": 1000, "victims": 150, "epochs": 4, "depths": ["light", "medium", "upsample"],
        "shares": [1, 0.25, 0.0625, 0.015625], "choices": ["fixed"], "attack_images": 800, "attack_epochs": 3,
    }  # fmt: skip
    not_run: ClassVar[str] = "not yet carried out; about two hours on two cores"

    def run(self, bench: Workbench, *, quick: bool) -> Findings:
        """Teach the network, train the decoders, score them by both formulas, and leave maps out."""
        faces = load(
            Wanted(self.faces, self.size, self.taught, self.images, self.victims, self.photographs), bench.root
        )
        victim = network(bench, faces, self.weights, self.task_epochs)
        work = Work(bench, faces, victim, clipped(faces.splits.victims.pixels))
        for name, course in self.courses().items():
            work.train(name, course, published=name in self.depths)
        adversary = Adversary(self.attack_images, self.attack_epochs)
        for sent in self.sent():
            work.send(sent, adversary)
        rows = Rows(work, tuple(self.depths), self.apart(quick=quick, published=faces.published))
        return Findings(
            headline=headline(work, rows.best), findings=findings(work, rows.best),
            tables=tables(rows, self.paper(), quick=quick), sheets=sheets(rows), charts=charts(rows),
            pictures=rows.pictures, substitutes=substitutes(rows, self.weights),
        )  # fmt: skip

    def courses(self) -> dict[str, Course]:
        """Every training of a decoder: as published by depth, then with noise, then put right."""
        plain = Course("medium", self.epochs, self.batch, self.rate)
        best = replace(plain, depth=next((one for one in self.depths if one != "light"), self.depths[0]))
        noisy = replace(best, noise="published", noise_mean=self.noise_mean, noise_var=self.noise_var)
        courses: dict[str, Course] = {depth: replace(plain, depth=depth) for depth in self.depths}
        courses[f"{best.depth}, noise as published"] = noisy
        courses[f"{best.depth}, noise put right"] = replace(noisy, noise="right", drifting=False, relu=False)
        courses[f"{best.depth}, put right"] = replace(best, drifting=False, relu=False)
        return courses

    def sent(self) -> list[Sent]:
        """Which maps are sent: all once, and each share chosen in each way."""
        keeps = {max(1, round(share * MAPS)): None for share in sorted(self.shares, reverse=True) if share < 1}
        return [Sent(MAPS, "fixed"), *(Sent(keep, choose) for choose in self.choices for keep in keeps)]

    def apart(self, *, quick: bool, published: bool) -> str:
        """Why our decoders' figures cannot be held against the published; empty where they can."""
        if quick:
            return "fewer faces and passes than published"
        told = [] if published else ["other faces (LFW)"]
        told += [] if self.size == 320 else [f"{self.size} × {self.size} pixels"]
        told += [] if self.weights and not self.task_epochs else ["a network with other weights"]
        told += [] if self.images >= 30_000 else [f"{self.images:,} faces to learn from"]
        return ", ".join(told)
