"""Scaling each release down to a ball: the step that bounds what one input can change, on which every ε stands.

All numbers of a release are one vector, whichever tensors they cross in. A vector inside the ball is sent as it is, one
outside is scaled onto its surface.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError
from torch import Tensor

from unsmash.bounds.regions import Region
from unsmash.split.drawn import DrawnShield
from unsmash.split.shield import Fitting, Smashed

Radius = float | Literal["learned"] | None


def _radius(value: object, inner: ValidatorFunctionWrapHandler) -> Radius:
    """One sentence for what would else be a finding for each kind of value."""
    try:
        return inner(value)  # type: ignore[no-any-return]
    except ValidationError:
        raise PydanticCustomError("clip", "a number above 0 and up to 1e6, or `learned`, or none") from None


Clip = Annotated[Annotated[float, Field(gt=0, le=1e6)] | Literal["learned"] | None, WrapValidator(_radius)]
"""The setting: a radius, a radius learned from the training images, or no clip at all"""


def check_budget(scale: float | None, clip: object, epsilon: float | None, *, name: str) -> None:
    """A target ε takes the place of the noise's scale, and needs a clip that is a number.

    Raises:
        ValueError: one sentence on what is missing or too much.
    """
    if epsilon is not None and scale is not None:
        raise ValueError(f"{name} or epsilon, not both: epsilon sets {name}")
    if epsilon is not None and not isinstance(clip, float):
        raise ValueError("epsilon needs clip to be a number: without a fixed clip no noise gives a finite epsilon")


def norms(z: Smashed, order: int) -> Tensor:
    """L1 or L2 norm of everything one input sends: [n]."""
    return torch.linalg.vector_norm(torch.cat([part.flatten(1) for part in z], 1), ord=order, dim=1)


def scaled(z: Smashed, radius: float, order: int) -> Smashed:
    """Each release scaled down to that norm, up to rounding; exactly as it was where it is smaller."""
    if not math.isfinite(radius):
        return z
    size = norms(z, order)
    # the factor is part of the gradient: outside, a step along z changes nothing that is sent
    factor = torch.where(size > radius, radius / size.clamp(min=radius), torch.ones_like(size))
    return tuple(part * factor.reshape(-1, *[1] * (part.ndim - 1)) for part in z)


class ClippedShield(DrawnShield):
    """A random shield whose noise is put on releases scaled down to a ball, where there is a clip."""

    order: ClassVar[int]
    """1 or 2: the norm that the noise's law goes by"""
    learned: Tensor

    def __init__(self, clip: Radius = None, *, quantile: float = 0.5, key: bytes = b"") -> None:
        super().__init__(key)
        self.clip: Radius = float(clip) if isinstance(clip, int) else clip
        self.quantile = quantile
        if clip == "learned":
            self.register_buffer("learned", torch.tensor(math.inf))

    @property
    def radius(self) -> float:
        """Radius C of the ball; inf while nothing is clipped."""
        if self.clip is None:
            return math.inf
        return self.clip if isinstance(self.clip, float) else self.learned.item()

    def quiet(self, z: Smashed) -> Smashed:
        """Scaled down to the ball."""
        return scaled(z, self.radius, self.order)

    def fit(self, fitting: Fitting) -> None:
        """A learned clip is a quantile of the training images' norms, before the training or after it."""
        if self.clip != "learned":
            return
        with torch.no_grad():
            found = [norms(fitting.entering(part), self.order).double().cpu() for part in fitting.images.split(256)]
        radius = torch.cat(found).quantile(self.quantile).item()
        self.learned.fill_(radius if radius > 0 else math.inf)

    def confine(self, region: Region) -> Region:
        """A ball of radius C if C is fixed; a learned one is no fact, for it was chosen from private data."""
        if self.clip is None:
            return region
        # scaling down to an L2 ball is a projection: no two points move further apart. To an L1 ball it is none
        kept = region.radius_l2() if self.order == 2 else math.inf
        numbers, points, premises = region.numbers, region.log2_points, region.premises
        if not isinstance(self.clip, float):
            return Region(numbers, points, l2=kept, premises=premises)
        premises += (
            f"Every release is scaled down to an L{self.order} norm of at most {self.clip:g} before the noise.",
        )
        if self.order == 2:
            return Region(numbers, points, l2=min(kept, self.clip), premises=premises)
        return Region(numbers, points, l1=self.clip, premises=premises)

    def wire_bits(self, before: float, z: Smashed, release: Smashed) -> float:
        """Every number in full: noise leaves no codes and no zeros that would take fewer bits."""
        return float(sum(part[0].numel() * part.element_size() * 8 for part in release))

    def note(self) -> str:
        """What was learned."""
        if self.clip != "learned" or not math.isfinite(self.radius):
            return ""
        return f"Clip {self.radius:.3g} learned from the training images: it bounds nothing that can be proved"
