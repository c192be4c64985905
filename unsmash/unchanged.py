"""A seal on a network: proof that attacks left every weight, every running statistic and every mode as it was.

An attack that trains on queries may leave a norm in train mode; its statistics then follow the adversary's images, and
every number measured afterwards is of another network.
"""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from unsmash.errors import ChangedError


def seal(module: nn.Module) -> dict[str, str]:
    """A hash for each parameter and buffer by its name, and of who is in train mode; equal for equal networks."""
    awake = [name or "the network" for name, part in module.named_modules() if part.training]
    tensors = (*module.named_parameters(), *module.named_buffers())
    hashes = {name: _hash(tensor) for name, tensor in tensors}
    return hashes | {"": ", ".join(awake)}


def require_unchanged(module: nn.Module, sealed: dict[str, str], who: str) -> None:
    """Compare a network, or a copy of it, with its seal.

    Raises:
        ChangedError: naming who had it and the first thing that differs.
    """
    now = seal(module)
    if now == sealed:
        return
    names = [name for name in (*sealed, *now) if now.get(name) != sealed.get(name)]
    what = names[0] or f"the mode of {now[''] or sealed['']}"
    raise ChangedError(
        f"{who} changed the network it attacks: {what} is not what it was. This is a bug in unsmash or in the attack:"
        " please report it"
    )


def _hash(tensor: torch.Tensor) -> str:
    raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return hashlib.sha256(raw).hexdigest()
