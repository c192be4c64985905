"""What a metric is: a function over victims, its unit, and which direction means more leakage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from unsmash.errors import UnsmashError


@dataclass(frozen=True)
class Metric:
    """A per-victim measure of leakage: function(truth, guess), both [n, c, h, w] in [0, 1] → [n] float64."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    unit: str
    leak: Literal["up", "down"]
    """Which direction means more leakage"""
    source: str
    """Where the definition comes from, and its data range"""
    data_range: str = "[0, 1]"
    """Values of a pixel that the definition is computed on"""
    least: int = 1
    """Least side of an image in pixels"""

    def fits(self, shape: tuple[int, ...]) -> bool:
        """True when images of shape [c, h, w] are large enough."""
        return min(shape[-2:]) >= self.least

    def __call__(self, truth: Tensor, guess: Tensor) -> Tensor:
        """The metric of each victim."""
        require_images(truth, guess)
        return self.function(truth, guess)


def require_images(truth: Tensor, guess: Tensor) -> None:
    """Refuse what would give a wrong figure: another shape, values outside [0, 1], or numbers that are not finite.

    Raises:
        UnsmashError: with the range that came. A PSNR of 48.6 dB that is 13.4 dB begins with the wrong range.
    """
    if truth.shape != guess.shape or truth.ndim != 4:
        raise UnsmashError(
            f"images are {tuple(truth.shape)} and guesses {tuple(guess.shape)}; both must be [n, c, h, w]"
        )
    for name, images in (("images", truth), ("guesses", guess)):
        low, high = images.min().item(), images.max().item()
        if not (low >= 0 and high <= 1):
            raise UnsmashError(
                f"{name} lie in [{low:.3g}, {high:.3g}]; every metric here is defined on [0, 1]: clamp first"
            )
