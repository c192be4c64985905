"""Train the device half so that what it sends depends less on the image: NoPeek (Vepakomma et al. 2020).

The penalty is a distance correlation of images and smashed data. The unbiased estimators give R*, which estimates the
*square* of the distance correlation, and R* itself is what is paid: its root has an infinite slope at 0, just where a
strong weight leads, and is biased again. Near full dependence R* pulls up to twice as hard as its root, near none less.
The published quantity, `compat`, takes squared distances: it sees linear dependence only, and in a batch of b images it
is far above 0 however independent they are, so that part of what is paid is a constant.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unsmash.defences.base import Defence
from unsmash.distance_correlation import block, compat, exact
from unsmash.lab import Lab
from unsmash.split import Shield, Site, Smashed, flat

FEWEST = 4
"""Images that the estimators need; a batch of fewer pays nothing"""


class NoPeek(Defence):
    """Adds weight · distance correlation of images and smashed data to the loss; sends what reaches it as it is."""

    kind: Literal["nopeek"] = "nopeek"
    weight: float = Field(0.5, gt=0, le=1e6)
    """What full dependence costs, in units of the cross-entropy (nats)"""
    estimator: Literal["exact", "block", "compat"] = "exact"
    """exact: unbiased, over the whole batch; block: the same by blocks, for large batches; compat: as published"""
    size: int = Field(128, ge=4, le=65_536)
    """Images of a block, where the estimator is `block`; batches of fewer than two blocks are one"""

    after_training: ClassVar[bool] = False
    source: ClassVar[str] = "Vepakomma et al., ICDM Workshops 2020; Titcombe et al., DPML at ICLR 2021"
    protects: ClassVar[str] = (
        "Lowers the distance correlation of images and smashed data, which makes reconstructions blurrier at strong "
        "weights. It adds no noise, so whoever holds a list of candidates still names the right one every time, and a "
        "low distance correlation does not mean that images cannot be reconstructed."
    )
    guarantee: ClassVar[str] = "none"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "training"
    tiny: ClassVar[dict[str, object]] = {"estimator": "block", "size": 8}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The penalty, for any shapes."""
        return NoPeekShield(self)


class NoPeekShield(Shield):
    """The identity, with a penalty on what reaches it: behind a noise, on what is noisy already."""

    batch: Tensor

    def __init__(self, made: NoPeek) -> None:
        super().__init__()
        self.made = made
        self.register_buffer("batch", torch.zeros((), dtype=torch.long))

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        """The weight times R* of the images and all numbers that reached the shield; 0 for fewer than four images."""
        self.batch.clamp_(min=len(x))
        if len(x) < FEWEST:
            return z[0].new_zeros(())
        return self.made.weight * self._dependence(x, flat(z))

    def _dependence(self, x: Tensor, rows: Tensor) -> Tensor:
        if self.made.estimator == "block":
            return block(x, rows, self.made.size)  # the batch is in random order already
        return {"exact": exact, "compat": compat}[self.made.estimator](x, rows)

    def note(self) -> str:
        """The batch that the penalty was made of: figures from other batches do not compare."""
        if not self.batch:
            return ""
        if self.batch < FEWEST:
            return (
                f"NoPeek had no effect: its penalty needs batches of {FEWEST} images, the training's had {self.batch}"
            )
        return f"NoPeek's penalty ({self.made.estimator}) was taken over batches of {self.batch} images"
