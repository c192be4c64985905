"""What a model component is: it builds a module from the input's shape, and says where it is usually cut."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import torch
from torch import nn

from unsmash.component import Component
from unsmash.errors import ConfigError
from unsmash.lab import Lab

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
"""The normalisation of the reference systems' digit networks"""


class Model(Component):
    """A network. `entry` and then `build`'s module take images in [0, 1] to logits."""

    default_cut: ClassVar[str] = ""
    """Where it is cut when nobody says; empty when there is no usual place"""

    epochs: ClassVar[int] = 6
    """Training passes when nobody says; 0 takes the model as it comes"""

    local_only: ClassVar[bool] = False
    """True when it names code: then it comes from the command line or Python, never from a file or the network"""

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """A module [n, *input_shape] in [0, 1] → logits [n, classes], initialised from the lab's streams."""
        raise NotImplementedError

    def entry(self) -> nn.Module | None:
        """What stands on the device before the network: its normalisation, unless the network has it inside."""
        return None

    def fingerprint(self) -> str:
        """What decides the starting weights besides the settings and the seed; empty when nothing else does."""
        return ""

    def given(self) -> bool:
        """Its starting weights come from outside the settings: what they are enters the run's id."""
        return self.local_only

    def remarks(self, net: nn.Module) -> tuple[str, ...]:
        """What must be told of the weights that the built network starts with."""
        return ()

    def recommended_epochs(self) -> int:
        """Training passes when the training does not say."""
        return self.epochs


def state_digest(module: nn.Module) -> str:
    """Hash of a module's parameters and buffers, names included."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def require_size(kind: str, input_shape: tuple[int, ...], smallest: int) -> None:
    """Refuse images that the network would shrink to nothing.

    Raises:
        ConfigError: with the smallest side that works.
    """
    if min(input_shape[-2:]) < smallest:
        size = f"{input_shape[-2]}×{input_shape[-1]}"
        raise ConfigError("model.kind", got=kind, allowed=f"images of at least {smallest}×{smallest}; these are {size}")
