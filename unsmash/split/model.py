"""The split model: a device half, a shield at the cut, and a server half.

Smashed data is always a tuple of tensors, one for a plain cut and several where a skip connection crosses; `flat` lays
them side by side as rows. The halves of `cut` take and give a bare tensor when there is just one, as a user expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

Smashed = tuple[Tensor, ...]
"""What crosses the cut: one or several tensors, the batch first"""


class Shield(nn.Module):
    """What defences put at the cut. This base sends the smashed data as it is; several compose in order."""

    stochastic = False
    """True when two releases of the same input differ"""

    def forward(self, z: Smashed) -> Smashed:
        """The release: what is really transmitted. Acts in training and at inference."""
        return z

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        """A term added to the device's training loss; zero by default."""
        return z[0].new_zeros(())

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor | None:
        """Log-likelihood log p(release_i | z_j) up to a constant per row, [n, m]; None when it has no closed form.

        A deterministic shield answers 0 where the release of z_j is the one seen and −inf elsewhere; this base ranks by
        negative distance instead, which orders the candidates the same way and survives rounding.
        """
        return -torch.cdist(flat(release).double(), flat(self(z)).double())

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """The best single estimate from k releases of one input; the mean unless a defence knows better."""
        return tuple(torch.stack(parts).mean(0) for parts in zip(*releases, strict=True))


class Shields(Shield):
    """Several shields, the first nearest to the device."""

    def __init__(self, shields: Iterable[Shield]) -> None:
        super().__init__()
        self.inner = nn.ModuleList(shields)

    @property
    def layers(self) -> list[Shield]:
        """The shields in order."""
        return [layer for layer in self.inner if isinstance(layer, Shield)]

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """True when any of them draws."""
        return any(layer.stochastic for layer in self.layers)

    def forward(self, z: Smashed) -> Smashed:
        """Apply all in order."""
        for layer in self.layers:
            z = layer(z)
        return z

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        """The sum of their penalties, each on what entered and left it."""
        total = z[0].new_zeros(())
        for layer in self.layers:
            total = total + layer.penalty(x, z, release, y)
        return total

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor | None:
        """Known in closed form when only the last layer draws."""
        if not self.layers:
            return super().log_likelihood(release, z)
        if any(layer.stochastic for layer in self.layers[:-1]):
            return None
        for layer in self.layers[:-1]:
            z = layer(z)
        return self.layers[-1].log_likelihood(release, z)

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """As the last layer that draws knows best."""
        drawing = [layer for layer in self.layers if layer.stochastic]
        return drawing[-1].pool(releases) if drawing else super().pool(releases)


class SplitModel(nn.Module):
    """A model in two halves: device(x) → z, shield(z) → release, server(release) → logits [n, classes].

    `x` is [n, c, h, w] in [0, 1]; normalisation is the device half's first layer. The mode (train or eval) has one
    owner, this module: use it, not the original model, once the cut is made.
    """

    def __init__(self, device: nn.Module, server: nn.Module, shield: Shield | None = None, *, at: str = "") -> None:
        super().__init__()
        self.device, self.server = device, server
        self.shield = shield if shield is not None else Shields(())
        self.at = at
        self.notes: tuple[str, ...] = ()

    def smash(self, x: Tensor) -> Smashed:
        """The smashed data of a batch, before any defence."""
        return as_tuple(self.device(x))

    def release(self, x: Tensor) -> Smashed:
        """What the device transmits for a batch."""
        return self.shield(self.smash(x))

    def answer(self, release: Smashed) -> Tensor:
        """The server half's logits for a release."""
        return self.server(release[0] if len(release) == 1 else release)

    def forward(self, x: Tensor) -> Tensor:
        """The whole path: [n, c, h, w] → logits [n, classes]."""
        return self.answer(self.release(x))

    def save(self, folder: Path) -> None:
        """Write `device.safetensors`, `shield.safetensors` and `server.safetensors`; tied weights are stored once."""
        from safetensors.torch import save_model

        folder.mkdir(parents=True, exist_ok=True)
        for name in ("device", "shield", "server"):
            save_model(getattr(self, name), str(folder / f"{name}.safetensors"))

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote, into halves of the same architecture."""
        from safetensors.torch import load_model

        for name in ("device", "shield", "server"):
            load_model(getattr(self, name), str(folder / f"{name}.safetensors"))


def as_tuple(z: Tensor | Smashed) -> Smashed:
    """One tensor or several, as a tuple."""
    return (z,) if isinstance(z, Tensor) else tuple(z)


def flat(z: Smashed) -> Tensor:
    """All numbers of a release as rows: [n, d] float."""
    return torch.cat([part.flatten(1).float() for part in z], 1)
