"""A network's weights from a safetensors file: compared name by name and shape by shape before any of them is taken.

Only safetensors is read: it holds numbers and nothing that runs. The last layer may be missing or answer for other
classes than the data has; then it keeps its fresh weights, and whoever asked is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from unsmash.errors import ConfigError

SUFFIX = ".safetensors"
HOW = 'In Python: `safetensors.torch.save_file(net.state_dict(), "net.safetensors")`'
"""What to do about a file of another kind"""

Shape = tuple[int, ...]


def is_file(weights: str) -> bool:
    """Whether a setting names a file rather than published weights."""
    return weights.endswith((SUFFIX, ".pt", ".pth", ".bin", ".ckpt", ".pkl")) or "/" in weights or "\\" in weights


def shapes(weights: str, path: str) -> dict[str, Shape]:
    """Name and shape of every tensor in the file; reads its header only.

    Raises:
        ConfigError: as `read` does.
    """
    from safetensors import safe_open

    file = _require(weights, path)
    try:
        with safe_open(str(file), "pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:
        raise _unreadable(weights, path, error) from None


def read(weights: str, path: str) -> dict[str, Tensor]:
    """The tensors of the file.

    Raises:
        ConfigError: at the setting `path`: there is no such file, it is of another kind, damaged, or holds numbers that
            are not finite.
    """
    from safetensors.torch import load_file

    file = _require(weights, path)
    try:
        state: dict[str, Tensor] = load_file(str(file))
    except Exception as error:
        raise _unreadable(weights, path, error) from None
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ConfigError(path, got=weights, allowed=f"finite numbers; {name} holds others")
    return state


def fill(net: nn.Module, weights: str, path: str, *, head: str, what: str) -> None:
    """Give the network the file's weights, in place; the layer named `head` keeps its own where `fresh` says so.

    `what` names the network in the sentence.

    Raises:
        ConfigError: as `read` does; or a name or a shape differs, with the first difference.
    """
    found, mine = shapes(weights, path), {name: tuple(value.shape) for name, value in net.state_dict().items()}
    left = _parts(head, mine) if fresh(found, mine, head) else set()
    told = first_difference(found, mine, left)
    if told:
        raise ConfigError(path, got=weights, allowed=f"the state dict of {what}", hint=f"First difference: {told}")
    state = read(weights, path)
    net.load_state_dict({name: net.state_dict()[name] if name in left else state[name] for name in mine})


def fresh(found: Mapping[str, Shape], mine: Mapping[str, Shape], head: str) -> bool:
    """True when the last layer alone is missing from the file, or differs there in the number of its answers only."""
    names = _parts(head, mine)
    if not names & found.keys():
        return True
    given = [name in found and found[name][1:] == mine[name][1:] for name in names]
    return all(given) and any(found[name] != mine[name] for name in names)


def first_difference(found: Mapping[str, Shape], mine: Mapping[str, Shape], left: set[str]) -> str:
    """In the network's order the first name or shape that the file has not; empty when there is none.

    >>> first_difference({"a": (2,)}, {"a": (3,)}, set())
    'a is [2] in the file and [3] in the network'
    """
    for name, shape in mine.items():
        if name in left:
            continue
        if name not in found:
            return f"the file has no {name}"
        if found[name] != shape:
            return f"{name} is {list(found[name])} in the file and {list(shape)} in the network"
    extra = next((name for name in found if name not in mine), "")
    return f"the network has no {extra}" if extra else ""


def _parts(head: str, mine: Mapping[str, Shape]) -> set[str]:
    return {name for name in mine if name.rpartition(".")[0] == head}


def _require(weights: str, path: str) -> Path:
    file = Path(weights)
    if not weights.endswith(SUFFIX):
        raise ConfigError(path, got=weights, allowed="a safetensors file: other kinds may hold code", hint=HOW)
    if not file.is_file():
        raise ConfigError(path, got=weights, allowed="a safetensors file that exists", hint=HOW)
    return file


def _unreadable(weights: str, path: str, error: Exception) -> ConfigError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConfigError(path, got=weights, allowed="a safetensors file", hint=f"It cannot be read: {first}. {HOW}")
