"""Gaussian noise sized so that the Fisher information that leaks has a given mean (Maeng et al., NeurIPS 2023).

With J the slope of what reaches the shield in the image's d pixel values and noise N(0, σ²), dFIL = E‖J‖²_F/(σ² d).
So σ follows from the target and one estimate of E‖J‖²_F on training images of the trained network. 1/dFIL bounds the
mean squared error per pixel of *unbiased* attackers from below (Hannun, Guo & van der Maaten 2021), and every attacker
worth fearing is biased: the target makes noise comparable between networks and cuts, it does not make it safe.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unsmash.bounds.fisher import sigma_for_dfil, trace_hutchinson
from unsmash.bounds.regions import Noise, Region
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.split import Fitting, Shield, Site, Smashed, flat
from unsmash.split.drawn import DrawnShield, device_key, normal


class Fisher(Defence):
    """Adds N(0, σ²) to each number sent, σ found on the trained network for a target Fisher information leakage."""

    kind: Literal["fisher"] = "fisher"
    when: Literal["always", "inference"] = "inference"
    """Inference only: σ is found on the trained network"""
    target: float = Field(0.1, gt=0, le=1e9)
    """Mean dFIL to reach, in 1/unit² of the pixels, which lie in [0, 1]; smaller is more noise"""
    start: float = Field(1.0, gt=0, le=1e6)
    """σ before anything is found, in units of the smashed data"""
    images: int = Field(500, ge=1, le=1_000_000)
    """Training images that the slope is measured on"""
    probes: int = Field(6, ge=1, le=10_000)
    """Random directions for each of them"""
    memoise: bool = False
    """One draw for each input, by a key that stays on the device: repeats tell nothing new"""

    source: ClassVar[str] = "Maeng et al., NeurIPS 2023; Hannun, Guo & van der Maaten, UAI 2021"
    protects: ClassVar[str] = (
        "Puts as much noise on a trained network's release as its slope calls for, alike for every network and cut. "
        "Its bound binds unbiased attackers only, and real ones are biased and do better; it does not stop who holds a "
        "list of candidates, and fresh noise averages out over repeated queries."
    )
    guarantee: ClassVar[str] = "that of its σ where a fixed clip or box stands before it; 1/dFIL for unbiased attackers"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "free"
    fitted: ClassVar[tuple[str, ...]] = ("target", "images", "probes")
    tiny: ClassVar[dict[str, object]] = {"start": 0.1, "images": 32, "probes": 4}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """Noise of the starting σ."""
        return FisherShield(self, device_key(lab, self.memoise))

    @model_validator(mode="after")
    def _needs_a_trained_network(self) -> Fisher:
        if self.when == "always":
            raise ValueError("inference: fisher finds its noise on the trained network, it cannot act in training")
        return self


class FisherShield(DrawnShield):
    """z + N(0, σ²): fresh at every call, or by the key."""

    sigma: Tensor
    found: Tensor

    def __init__(self, made: Fisher, key: bytes = b"") -> None:
        super().__init__(key)
        self.made = made
        self.register_buffer("sigma", torch.tensor(made.start, dtype=torch.float64))
        self.register_buffer("found", torch.tensor(False))

    @property
    def noise(self) -> Noise:  # type: ignore[override]
        """The law, as σ stands."""
        return Noise("gaussian", self.sigma.item())

    def draw(self, quiet: Smashed, generator: torch.Generator | None) -> Smashed:
        """Noise on every number."""
        return tuple(part + normal(part, generator) * self.sigma.to(part) for part in quiet)

    def fit(self, fitting: Fitting) -> None:
        """Find σ from the slope of all that stands before the shield, over training images drawn at random."""
        if not fitting.trained:
            return
        lab, d = fitting.lab, fitting.images[0].numel()
        rows = torch.randperm(len(fitting.images), generator=lab.generator("images"))[: self.made.images]
        images = fitting.images[rows].to(lab.device)

        def sent(x: Tensor) -> Tensor:
            return flat(fitting.entering(x))

        try:
            traces, _ = trace_hutchinson(sent, images, 1.0, self.made.probes, lab.generator("probes"))
            sigma = sigma_for_dfil(traces.mean().item(), d, self.made.target)
        except ValueError as error:
            raise ConfigError("defences", got="fisher", allowed=f"only on what has a slope: {error}") from None
        if not sigma > 0:
            raise ConfigError("defences", got="fisher", allowed="only on what depends on the image: its slope is 0")
        self.sigma.fill_(sigma)
        self.found.fill_(True)

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor:
        """−‖release − z‖² / 2σ²: [n, m]."""
        return -torch.cdist(flat(release).double(), flat(z).double()).square() / (2 * self.sigma.item() ** 2)

    def confine(self, region: Region) -> Region:
        """What the noise is put on is what reaches the shield."""
        return region

    def note(self) -> str:
        """The σ that was found, and for whom its bound holds."""
        if not self.found:
            return ""
        made = self.made
        return (
            f"Noise of σ = {self.sigma.item():.3g} was found for a mean dFIL of {made.target:g} on training images; "
            f"1/dFIL = {1 / made.target:.3g} bounds the squared error of unbiased attackers only"
        )
