"""The split model: a device half, a shield at the cut, and a server half.

Smashed data is always a tuple of tensors, one for a plain cut and several where a skip connection crosses; `flat` lays
them side by side as rows. The halves of `cut` take and give a bare tensor when there is just one, as a user expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from unsmash.split.shield import Shield, Shields, Smashed, as_tuple, flat

__all__ = ["Shield", "Shields", "Smashed", "SplitModel", "as_tuple", "flat"]


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
        """The server's logits for a release: its side of the shield, then the server half."""
        return self.serve(self.shield.receive(release))

    def serve(self, received: Smashed) -> Tensor:
        """The server half alone: what has the shapes of smashed data → logits."""
        return self.server(received[0] if len(received) == 1 else received)

    def device_parameters(self) -> Iterator[nn.Parameter]:
        """What the device trains: its half and its side of the shield."""
        received = {id(parameter) for parameter in self.shield.receiver_parameters()}
        yield from self.device.parameters()
        yield from (parameter for parameter in self.shield.parameters() if id(parameter) not in received)

    def server_parameters(self) -> Iterator[nn.Parameter]:
        """What the server trains: its half and its side of the shield."""
        yield from self.server.parameters()
        yield from self.shield.receiver_parameters()

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
