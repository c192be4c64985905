"""What defences share that send an answer instead of smashed data: a head on the device, a table on the server, and
the training of both around a network that stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from unsmash.nets import jitter
from unsmash.split.parties import Optimiser
from unsmash.split.shield import Fitting, Shield, Smashed, count, flat, unflat

MOST = 16_384
"""Numbers that a linear layer reads or writes at the cut; wider maps are averaged over squares first"""

RATE = 3e-3
"""Peak learning rate where a shield is trained around a trained network"""

BATCH = 64
"""Images a step there, fewer where that would make less than 32 steps of a pass"""

RIDGE = 1e-2
"""Penalty of the regression that a head starts from, in units of the images' mean squared distance from their mean"""

ENOUGH = 2000
"""Training images that starts and ranges are taken from"""


class Grid:
    """Smashed data as rows [n, d] and back. Maps too wide for a linear layer shrink to averages over squares."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.shapes, self.side = tuple(shapes), 1
        while self.numbers > MOST and self._coarse(self.side) != self._coarse(2 * self.side):
            self.side *= 2

    @property
    def numbers(self) -> int:
        """Length of a row."""
        return sum(map(count, self._coarse(self.side)))

    def rows(self, z: Smashed) -> Tensor:
        """[n, numbers]."""
        return flat(tuple(self._pool(part) if part.ndim == 4 and self.side > 1 else part for part in z))

    def spread(self, rows: Tensor) -> Smashed:
        """Rows [n, numbers] in the shapes of the smashed data, each average repeated over its square."""
        parts = zip(unflat(rows, self._coarse(self.side)), self.shapes, strict=True)
        return tuple(self._repeat(part, shape) if part.ndim == 4 and self.side > 1 else part for part, shape in parts)

    def _coarse(self, side: int) -> tuple[tuple[int, ...], ...]:
        """The shapes with maps [c, h, w] averaged over squares of that side; anything else as it is."""
        return tuple(
            (shape[0], -(-shape[1] // side), -(-shape[2] // side)) if len(shape) == 3 else shape
            for shape in self.shapes
        )

    def _pool(self, maps: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(maps, self.side, ceil_mode=True)

    def _repeat(self, maps: Tensor, shape: tuple[int, ...]) -> Tensor:
        return nn.functional.interpolate(maps, scale_factor=self.side, mode="nearest")[:, :, : shape[1], : shape[2]]


class Head(nn.Module):
    """Smashed data → numbers [n, outputs], on the device: one linear layer, or two with ReLU between."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], outputs: int, hidden: int | None = None) -> None:
        super().__init__()
        self.grid = Grid(shapes)
        wide = self.grid.numbers
        self.body = nn.Sequential(nn.Linear(wide, hidden), nn.ReLU()) if hidden else nn.Identity()
        self.last = nn.Linear(hidden or wide, outputs)

    def forward(self, z: Smashed) -> Tensor:
        """[n, outputs]."""
        outputs: Tensor = self.last(self.reached(z))
        return outputs

    def reached(self, z: Smashed) -> Tensor:
        """What the last layer is given."""
        rows: Tensor = self.body(self.grid.rows(z))
        return rows

    @torch.no_grad()
    def start(self, z: Smashed, outputs: Tensor) -> None:
        """Let the last layer come as near to these outputs [n, outputs] as ridge regression does."""
        rows = self.reached(z).double()
        mean, wanted = rows.mean(0), outputs.double()
        centred = rows - mean
        gram = centred @ centred.T  # as many equations as images, however wide the cut
        ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
        weight = torch.linalg.solve(gram + ridge, wanted - wanted.mean(0)).T @ centred
        self.last.weight.copy_(weight)
        self.last.bias.copy_(wanted.mean(0) - weight @ mean)


class Table(nn.Module):
    """Numbers [n, inputs] → the smashed data's shapes, on the server: of a symbol or of weights over symbols, what the
    server half is given for it; of a code, its decoding.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], inputs: int) -> None:
        super().__init__()
        self.grid = Grid(shapes)
        self.linear = nn.Linear(inputs, self.grid.numbers)
        nn.init.normal_(self.linear.weight, std=0.5)

    def forward(self, rows: Tensor) -> Smashed:
        """Tensors of the smashed data's shapes."""
        return self.grid.spread(self.linear(rows))

    @torch.no_grad()
    def start(self, weights: Tensor, z: Smashed) -> None:
        """Let each symbol stand for the mean of the smashed data that it was sent for: weights [n, inputs]."""
        rows = self.grid.rows(z)
        mass = weights.sum(0)[:, None]
        means = (weights.T @ rows) / mass.clamp(min=1e-6)
        self.linear.weight.copy_(torch.where(mass > 1e-3, means, rows.mean(0)).T)
        self.linear.bias.zero_()


def k_means(rows: Tensor, count: int, generator: torch.Generator, *, rounds: int = 20) -> Tensor:
    """Centres [count, d] of rows [n, d]: k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's rounds."""
    centres = rows[torch.randint(len(rows), (1,), generator=generator)]
    for _ in range(count - 1):
        apart = torch.cdist(rows, centres).min(1).values.square().cpu() + 1e-12
        centres = torch.cat([centres, rows[torch.multinomial(apart, 1, generator=generator)]])
    for _ in range(rounds):
        mine = nn.functional.one_hot(torch.cdist(rows, centres).argmin(1), count).to(rows)
        mass = mine.sum(0)[:, None]
        centres = torch.where(mass > 0, (mine.T @ rows) / mass.clamp(min=1), centres)
    return centres


@torch.no_grad()
def sample(fitting: Fitting) -> tuple[Smashed, Tensor]:
    """What reaches the shield for training images, at most `ENOUGH`, and their labels."""
    device = fitting.lab.device
    images, labels = fitting.images[:ENOUGH], fitting.labels[:ENOUGH].to(device)
    parts = [fitting.entering(part.to(device)) for part in images.split(256)]
    z = tuple(torch.cat([part[index] for part in parts]) for index in range(len(parts[0])))
    return z, known(fitting, z, labels)


@torch.no_grad()
def known(fitting: Fitting, z: Smashed, labels: Tensor) -> Tensor:
    """The labels, and where there is none the trained network's own answer."""
    if not fitting.trained or (labels >= 0).all():
        return labels
    return torch.where(labels >= 0, labels, answers(fitting, z).argmax(1))


@torch.no_grad()
def answers(fitting: Fitting, z: Smashed) -> Tensor:
    """The network's own logits for what reached the shield."""
    return torch.cat([fitting.answer(tuple(part[rows] for part in z)) for rows in _rows(len(z[0]))])


def learn(shield: Shield, fitting: Fitting, epochs: int) -> None:
    """Train a shield by cross-entropy and its penalty around the trained network, on gently moved training images."""
    parameters = [parameter for parameter in shield.parameters() if parameter.requires_grad]
    steps = epochs * -(-len(fitting.images) // _batch(fitting))
    optimiser = Optimiser(parameters, RATE, steps)
    shield.train()
    for x, y in fitting.lab.track(_batches(fitting, epochs), "fit", total=steps):
        with torch.no_grad():
            z = fitting.entering(x)
            y = known(fitting, z, y)
        release = shield(z)
        loss = nn.functional.cross_entropy(fitting.answer(shield.receive(release)), y)
        optimiser.clear()
        (loss + shield.penalty(x, z, release, y)).backward()
        optimiser.step()
    shield.eval()


def _batches(fitting: Fitting, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    draw, device = fitting.lab.generator("order"), fitting.lab.device
    for _ in range(epochs):
        for index in torch.randperm(len(fitting.images), generator=draw).split(_batch(fitting)):
            yield jitter(fitting.images[index].to(device), draw), fitting.labels[index].to(device)


def _batch(fitting: Fitting) -> int:
    return min(BATCH, max(2, len(fitting.images) // 32))


def _rows(total: int) -> list[slice]:
    return [slice(start, start + 256) for start in range(0, total, 256)]
