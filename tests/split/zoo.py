"""Small models, each with one habit that makes cutting hard, and the independent judge of a cut."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from unsmash.split import SplitModel, as_tuple


class Plain(nn.Module):
    """Three blocks and a head, all in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.c2 = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.c3 = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2), nn.Dropout(0.3), nn.ReLU())
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.c3(self.c2(self.c1(x))).mean((2, 3)))


class SharedConv(nn.Module):
    """One convolution runs on both sides of `mid`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.mid = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.mid(torch.relu(self.twice(self.stem(x)))))
        return self.fc(self.twice(x).mean((2, 3)))


class RootBranch(Plain):
    """An `if` on the data between c2 and c3, in the root's own forward."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.c2(self.c1(x))
        if x.mean() > 0:
            x = x * 2
        return self.fc(self.c3(x).mean((2, 3)))


class RootBranchWithSkip(Plain):
    """The same, and a skip around c1 that must cross too."""

    def forward(self, x: Tensor) -> Tensor:
        early = self.c1(x)
        x = self.c2(early)
        if x.mean() > 0:
            x = x * 2
        return self.fc(self.c3(x).mean((2, 3)) + early.mean((2, 3)))


class Chooser(nn.Module):
    """A block that chooses its path by the data."""

    def __init__(self) -> None:
        super().__init__()
        self.even, self.odd = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.even(x) if x.mean() > 0 else self.odd(x)


class BlockBranch(Plain):
    """The `if` stands in a block of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.choose = Chooser()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.c3(self.choose(self.c2(self.c1(x)))).mean((2, 3)))


class ListLoop(nn.Module):
    """A loop over a ModuleList that collects a mean per block, as dense heads do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4))
        self.fc = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        means = []
        for i, block in enumerate(self.blocks):
            x = F.relu(block(x)) if i % 2 else block(x)
            means.append(x.mean((2, 3)))
        return self.fc(torch.cat(means, 1))


class Reused(nn.Module):
    """One ReLU for three places, and one convolution for two."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.mid = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.twice(self.relu(self.stem(x))))
        return self.fc(self.relu(self.twice(self.mid(x))).mean((2, 3)))


class DictOutput(Plain):
    """Gives logits and features in a dict."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.c3(self.c2(self.c1(x))).mean((2, 3))
        return {"logits": self.fc(features), "features": features}


class TwoInputs(nn.Module):
    """An image and a vector, joined late."""

    def __init__(self) -> None:
        super().__init__()
        self.img, self.m, self.join = nn.Conv2d(3, 8, 3), nn.Linear(5, 8), nn.Linear(16, 8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor, m: Tensor) -> Tensor:
        x = self.img(x).mean((2, 3))
        return self.fc(torch.relu(self.join(torch.cat([x, torch.tanh(self.m(m))], 1))))


class ViewWrites(Plain):
    """Writes into a slice whose own value nobody reads."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.c1(x) * 1
        part = y[:, :4]
        part.mul_(2)
        y[:, 0] = 1.0
        y = self.c2(y) * 1
        y += 1
        return self.fc(self.c3(y).mean((2, 3)))


class AliasAcrossCut(Plain):
    """A tensor and a view of it both cross, and the server's write through one is read through the other."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.c1(x) * 1
        part = y[:, :4]
        z = self.c2(y.clone())
        part.mul_(2)
        return self.fc(self.c3(z).mean((2, 3)) + y.mean((2, 3)))


class FunctionalDropout(Plain):
    """Dropout as a function, and random numbers drawn in the root: eval and train are different programs."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.c1(x), 0.5, training=self.training)
        x = self.c2(x)
        if self.training:
            keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device).add_(0.8)
            keep.floor_()
            x = x.div(0.8) * keep
        return self.fc(self.c3(F.dropout(x, 0.5, training=self.training)).mean((2, 3)))


class LateBatch(nn.Module):
    """Asks for the batch size first and uses it last; a token and a position table on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.places: Tensor
        self.register_buffer("places", torch.randn(1, 17, 8))
        self.b1, self.b2 = nn.Linear(8, 8), nn.Linear(8, 8)
        self.fc = nn.Linear(17 * 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        B, _, H, W = x.shape
        if H % 4 or W % 4:
            raise ValueError("sizes must be multiples of 4")
        y = self.stem(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(B, -1, -1), y], 1) + self.places
        y = y + self.b1(y)
        windows = y.reshape(B * 17, 8)
        y = self.b2(windows).view(B, 17, 8)
        y = y + torch.zeros(B, 1, 8, device=x.device) + torch.arange(8.0)
        return self.fc(y.reshape(B, -1))


class Cached(Plain):
    """Keeps what it computed from a weight in eval mode, as timm's EfficientFormer does."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(8))
        self.cache: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        x = self.c1(x)
        if self.training:
            bias = self.bias[torch.arange(8)]
        else:
            if str(x.device) not in self.cache:
                self.cache[str(x.device)] = self.bias[torch.arange(8)]
            bias = self.cache[str(x.device)]
        return self.fc(self.c3(self.c2(x + bias.view(1, 8, 1, 1))).mean((2, 3)))


class MetaChild(nn.Module):
    """A child with a name that fx.GraphModule wants for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.graph, self.meta, self.code = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self.meta(self.graph(x).relu()).mean((2, 3)))


class Tied(nn.Module):
    """The same weight under two names, both in the server's half."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.b.weight = self.a.weight
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.b(torch.relu(self.a(self.stem(x).mean((2, 3))))))


class Unused(Plain):
    """A layer that exists and runs in training only, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.aux = nn.Linear(8, 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.never = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        x = self.c2(self.c1(x))
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        main = self.fc(tokens.mean(1))
        return (main, self.aux(tokens.amax(1))) if self.training else main


class Structures(nn.Module):
    """Blocks that give dicts, tuples with sizes, and torch's own result types."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> tuple[dict[str, Tensor], int, int]:
            x = self.conv(x)
            return {"main": x, "side": x.mean((2, 3))}, x.shape[2], x.shape[3]

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.mid, self.fc = Structures.Pair(), nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps, h, w = self.pair(x)
        best = maps["main"].flatten(2).max(2)
        y = self.mid(maps["main"]).reshape(-1, 8, h * w).mean(2)
        return self.fc(y + best.values + maps["side"] + best[1].float())


# Two test processes with two threads each spend their time waiting for each other.
torch.set_num_threads(1)

EXACT: list[tuple[Callable[[], nn.Module], str]] = [
    *((Plain, at) for at in ("c1", "c1.0", "c2.1", "c3", "fc")),
    *((BlockBranch, at) for at in ("c1", "choose", "c3.0")),
    *((ListLoop, at) for at in ("stem", "blocks.0", "blocks.3")),
    *((Reused, at) for at in ("stem", "mid", "fc")),
    *((DictOutput, at) for at in ("c1", "c3", "fc")),
    *((ViewWrites, at) for at in ("c1", "c2", "c3.1")),
    *((FunctionalDropout, at) for at in ("c1", "c2", "c3")),
    *((LateBatch, at) for at in ("stem", "b1", "b2")),
    *((Cached, at) for at in ("c1", "c2", "c2.0")),
    *((MetaChild, at) for at in ("graph", "meta")),
    *((Tied, at) for at in ("stem", "a")),
    *((Unused, at) for at in ("c1", "attention")),
    *((Structures, at) for at in ("pair", "pair.conv", "mid")),
]
"""Models that take one image, and layers where each can be cut"""


def images(n: int, size: int = 16, seed: int = 0) -> Tensor:
    """Random images [n, 3, size, size] in [0, 1]."""
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def gap(model: nn.Module, split: SplitModel, inputs: tuple[Tensor, ...], *, train: bool) -> float:
    """The largest difference in outputs, gradients and buffers between a model and its halves, run apart.

    Both are deep copies, so nothing is shared; every tensor that crosses is copied, as a wire would.
    """
    whole, halves = copy.deepcopy(model).train(train), copy.deepcopy(split).train(train)

    def sent(*x: Tensor) -> Any:
        z = tuple(part.clone() for part in as_tuple(halves.device(*x)))
        return halves.server(z[0] if len(z) == 1 else z)

    want = _pass(whole, whole, inputs)
    got = _pass(sent, halves, inputs)
    assert want.keys() <= got.keys(), sorted(want.keys() - got.keys())
    differ = [name for name in want if not torch.equal(want[name], got[name])]
    return max((float((want[name].double() - got[name].double()).abs().max()) for name in differ), default=0.0)


def _pass(forward: Callable[..., Any], owner: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    with torch.random.fork_rng():
        torch.manual_seed(11)
        outputs = pytree.tree_leaves(forward(*(leaf.clone() for leaf in leaves)))
    sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in outputs).backward()

    def bare(name: str) -> str:
        return name.removeprefix("device.").removeprefix("server.")

    parameters = owner.named_parameters(remove_duplicate=False)
    found = {f"output {i}": out.detach() for i, out in enumerate(outputs)}
    found |= {f"input {i}": x.grad for i, x in enumerate(leaves) if x.grad is not None}
    found |= {f"gradient {bare(name)}": p.grad for name, p in parameters if p.grad is not None}
    return found | {f"buffer {bare(name)}": b for name, b in owner.named_buffers()}
