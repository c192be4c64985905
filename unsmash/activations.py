"""What a network computes behind several of its layers, for many images, in one forward pass.

A scan of ten cuts runs the network once, not ten times. Layers that write into what they are given come after the
copy is taken, so what is kept is what a cut there would send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unsmash.lab import Lab

BATCH = 256
"""Images a pass, as where an audit runs the device half: the same batch gives the same bits"""


@torch.no_grad()
def collect(
    net: nn.Module, entry: nn.Module | None, images: Tensor, keep: Mapping[str, int], lab: Lab, *, batch: int = BATCH
) -> dict[str, Tensor]:
    """Outputs of named layers [m, …] on the CPU, for the first m of images [n, c, h, w]; `keep` has each layer's m.

    Layers that do not run exactly once in every pass, or give anything but one tensor, are left out.
    """
    most = min(len(images), max(keep.values(), default=0))
    parts: dict[str, list[Tensor]] = {name: [] for name in keep}
    runs: Counter[str] = Counter()
    odd: set[str] = set()

    def keeper(name: str) -> Any:
        def hook(_module: nn.Module, _given: Any, out: Any) -> None:
            runs[name] += 1
            left = keep[name] - sum(map(len, parts[name]))
            if not isinstance(out, Tensor):
                odd.add(name)
            elif left > 0:
                parts[name].append(out[:left].to("cpu", copy=True))

        return hook

    handles = [net.get_submodule(name).register_forward_hook(keeper(name)) for name in keep]
    try:
        for done, x in enumerate(lab.track(images[:most].split(batch), "activations"), 1):
            given = x.to(lab.device)
            net(entry(given) if entry is not None else given)
            odd |= {name for name in keep if runs[name] != done}
            for name in odd:
                parts[name].clear()
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(found) for name, found in parts.items() if name not in odd and found}


def groups(sizes: Iterable[tuple[str, int]], room: int) -> list[list[str]]:
    """Names in order, in as few groups as keep the sizes of each within the room; one that is larger goes alone.

    >>> groups([("a", 3), ("b", 3), ("c", 9), ("d", 1)], 6)
    [['a', 'b'], ['c'], ['d']]
    """
    out: list[list[str]] = []
    free = 0
    for name, size in sizes:
        if not out or size > free:
            out.append([])
            free = room
        out[-1].append(name)
        free -= size
    return out


def same(found: Tensor | None, sent: Sequence[Tensor]) -> bool:
    """Whether a layer's output is exactly what a cut there sends."""
    return found is not None and len(sent) == 1 and torch.equal(found, sent[0].cpu())
