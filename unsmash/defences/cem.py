"""Maximise what stays unknown of the image given the release: conditional entropy maximisation (Xia et al., CVPR 2025).

What reaches the shield is modelled by a mixture of Gaussians in each class. With noise of deviation σ added afterwards,
Σ_y p(y) Σ_c p(c|y) Σ_j ½ ln(1 + Var_j[μ(x)|y,c]/σ²) bounds from above, in nats, what the release tells about the image
beyond its class and component. It is paid for, so the features of one component draw together: what they differ in
drowns in the noise. The bound holds for the variances of all images; a batch only estimates them.

Two departures. Where the paper runs k-means over all features every epoch, centroids and variances here move with the
batches; without momentum and with one component they are the batch's own, the formula as it stands. And the price is
`patient`: an image is charged as far as the noise leaves its class apart from the others. At full price from the start
the device learns to send the same for all images before it learns the classes, from where no slope leads back.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.split import Shield, Site, Smashed, flat

MOST = 2**27
"""Numbers in all centroids together: half a gigabyte"""

PATIENCE = 32
"""Images of its class, times the components, that may pass by a centroid before it is placed anew"""

MANY = 0.2
"""Share of images alone of their component in their batch from which the note warns"""


class Cem(Defence):
    """Adds weight · what the release tells beyond the class, under noise of deviation σ, to the loss."""

    kind: Literal["cem"] = "cem"
    weight: float = Field(0.05, gt=0, le=1e6)
    """What one nat of information beyond the class costs, in units of the cross-entropy"""
    sigma: float = Field(0.5, gt=0, le=1e6)
    """Noise that the differences are to drown in: that of the noise it is stacked with"""
    components: int = Field(1, ge=1, le=64)
    """Gaussians in each class's mixture; what tells them apart is not charged for"""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Share of its old value that a centroid or variance keeps in each batch; 0: each batch by itself"""
    patient: bool = True
    """Charges for a class as far as it is told from the others under the noise; false: in full from the first batch"""

    after_training: ClassVar[bool] = False
    source: ClassVar[str] = "Xia et al., CVPR 2025"
    protects: ClassVar[str] = (
        "Draws what is sent for images of one class together until the noise that follows hides which of them it was. "
        "It needs that noise, put behind it and best on few numbers: alone it hides nothing from who holds a list of "
        "candidates, and fresh noise averages out over repeated queries."
    )
    guarantee: ClassVar[str] = "none; its information bound holds for the images it was estimated on"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "training"
    fitted: ClassVar[tuple[str, ...]] = ("momentum",)
    tiny: ClassVar[dict[str, object]] = {"components": 2, "momentum": 0.4}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The penalty, with a place for each centroid."""
        numbers = site.classes * self.components * site.numbers
        if numbers > MOST:
            raise ConfigError(
                "defences",
                got=f"cem with {site.classes} classes, {self.components} components and {site.numbers} numbers sent",
                allowed=f"a product of at most {MOST}",
                hint="put a bottleneck in front, or take fewer components",
            )
        return CemShield(self, site)


class CemShield(Shield):
    """The identity, with a penalty on how much images of one component differ."""

    seen: Tensor
    alone: Tensor
    means: Tensor
    variances: Tensor
    idle: Tensor

    def __init__(self, made: Cem, site: Site) -> None:
        super().__init__()
        self.made, self.classes = made, site.classes
        rows = site.classes * made.components
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("alone", torch.zeros((), dtype=torch.long))
        # of use in training only, so not part of what is saved
        self.register_buffer("means", torch.zeros(rows, site.numbers), persistent=False)
        self.register_buffer("variances", torch.zeros(rows, site.numbers), persistent=False)
        self.register_buffer("idle", torch.full((rows,), torch.inf), persistent=False)

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        """The weight times Σ p(y,c) Σ_j ½ ln(1 + Var_j/σ²) in nats, p as in this batch."""
        rows = flat(z)
        present, member = self._component(rows.detach(), y).unique(return_inverse=True)
        share = nn.functional.one_hot(member, len(present)).to(rows).T  # sums as products: alike on every run
        count = share.sum(1, keepdim=True)
        keep = self.made.momentum * (self.idle[present] <= self._patience).to(rows)[:, None]
        means = torch.lerp(share @ rows.detach() / count, self.means[present], keep)
        own = share @ (rows - means[member]).square() / count
        # the value is that of the running variances, the slope that of this batch's
        variances = own + (keep * (self.variances[present] - own)).detach()
        if self.training:
            self.seen += len(rows)
            self.alone += (count == 1).sum()
            self.means[present], self.variances[present] = means, variances.detach()
            self.idle += nn.functional.one_hot(y, self.classes).sum(0).repeat_interleave(self.made.components)
            self.idle[present] = 0
        nats = 0.5 * (variances / self.made.sigma**2).log1p().sum(1)
        if self.made.patient:
            nats = nats * (share @ self._apart(rows.detach(), means, present, y).square() / count)[:, 0]
        return self.made.weight * (nats * count[:, 0]).sum() / len(rows)

    @torch.no_grad()
    def _apart(self, rows: Tensor, means: Tensor, present: Tensor, y: Tensor) -> Tensor:
        """How much likelier each image's own class is under the noise than any other; 0 where another is likelier."""
        nearness = -torch.cdist(rows, means).square() / (2 * self.made.sigma**2)
        classes, place = (present // self.made.components).unique(return_inverse=True)
        likely = nearness.softmax(1) @ nn.functional.one_hot(place, len(classes)).to(rows)
        mine = classes == y[:, None]
        own, other = (likely.masked_fill(~part, 0).amax(1, keepdim=True) for part in (mine, ~mine))
        return (own - other).clamp(min=0)

    @property
    def _patience(self) -> int:
        return PATIENCE * self.made.components

    @torch.no_grad()
    def _component(self, rows: Tensor, y: Tensor) -> Tensor:
        """Of each image, that of its class's nearest centroid."""
        k = self.made.components
        placed = self.idle <= self._patience
        for label in y.unique().tolist() if self.training else ():
            free = label * k + (~placed[label * k : (label + 1) * k]).nonzero()[:, 0]
            seeds = rows[y == label][: len(free)]
            self.means[free[: len(seeds)]], placed[free[: len(seeds)]] = seeds, True
        mine = y[:, None] * k + torch.arange(k, device=y.device)
        far = torch.stack([(rows - self.means[one]).square().sum(1) for one in mine.T], 1)
        return mine.gather(1, far.masked_fill(~placed[mine], torch.inf).argmin(1, keepdim=True))[:, 0]

    def note(self) -> str:
        """A warning where most batches had too few images of a class to see them differ."""
        share = self.alone.item() / max(self.seen.item(), 1)
        if self.made.momentum or share < MANY:
            return ""
        return (
            f"{share:.0%} of the training images were alone of their class in their batch, and cost nothing: CEM needs "
            f"larger batches or momentum"
        )
