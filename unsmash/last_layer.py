"""The last layer of a classifier: which it is, how many classes it answers for, and a fresh one in its place."""

from __future__ import annotations

from torch import nn

from unsmash.errors import ConfigError


def find(net: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Name and module of the last linear or convolutional layer, in the order in which the network lists them.

    Raises:
        ConfigError: it has none.
    """
    layers = [(name, part) for name, part in net.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    if not layers:
        raise ConfigError("model", got=type(net).__name__, allowed="a network with a linear or convolutional layer")
    return layers[-1]


def answers(layer: nn.Linear | nn.Conv2d) -> int:
    """How many numbers a layer gives, or how many maps."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def renew(net: nn.Module, name: str, classes: int) -> None:
    """Put a fresh layer of so many answers in the place of that one."""
    last, parent = net.get_submodule(name), net.get_submodule(name.rpartition(".")[0])
    new: nn.Module
    if isinstance(last, nn.Linear):
        new = nn.Linear(last.in_features, classes, bias=last.bias is not None)
    else:
        assert isinstance(last, nn.Conv2d)
        new = nn.Conv2d(last.in_channels, classes, last.kernel_size)  # type: ignore[arg-type]
    setattr(parent, name.rpartition(".")[2], new)
