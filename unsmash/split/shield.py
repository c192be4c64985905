"""What stands at the cut: shields, one or several in order, between the device half and the wire.

A shield takes smashed data to the release on the device, and on the server's side takes a release back to what the
server half expects. It also says what is known of itself: its noise, where its noise-free release lies, what it sends
on the wire. From that, and from nothing else, follows what can be proved.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unsmash.bounds.regions import Noise, Region
from unsmash.lab import Lab
from unsmash.records import Bound
from unsmash.split.parties import Watch, Watches

Smashed = tuple[Tensor, ...]
"""What crosses the cut: one or several tensors, the batch first"""


@dataclass(frozen=True)
class Site:
    """Where a shield is put: what reaches it, what the network takes, and what it answers."""

    shapes: tuple[tuple[int, ...], ...]
    """Shape of each tensor that reaches the shield, without the batch"""
    input_shape: tuple[int, ...]
    """[c, h, w] of an image"""
    classes: int

    @property
    def numbers(self) -> int:
        """All numbers that reach the shield for one image."""
        return sum(count(shape) for shape in self.shapes)


@dataclass(frozen=True)
class Fitting:
    """What a shield may learn from before it is used: the target's training images, and the network around it."""

    images: Tensor
    """[n, c, h, w] in [0, 1]"""
    labels: Tensor
    """[n]; −1 where unknown"""
    entering: Callable[[Tensor], Smashed]
    """Images → what reaches this shield, differentiable; the shields before it send without noise"""
    answer: Callable[[Smashed], Tensor]
    """What reached this shield (or what it receives back) → logits, by the server half as it is now; differentiable"""
    trained: bool
    """The network is trained and stays as it is; otherwise its training is about to begin"""
    lab: Lab


class Shield(nn.Module):
    """What a defence puts at the cut. This base sends the smashed data as it is."""

    stochastic = False
    """True when the law of the release is random"""

    memoised = False
    """True when the device draws once for each input, by a secret key: repeats of one input then tell nothing new"""

    smooth = True
    """The noise-free map has the derivative that autograd gives; false where a straight-through gradient stands in"""

    noise: Noise | None = None
    """The law of the noise added to the noise-free release, where there is one that bounds know"""

    def forward(self, z: Smashed) -> Smashed:
        """The release: what is really transmitted. Acts in training and at inference."""
        return z

    def quiet(self, z: Smashed) -> Smashed:
        """The release without its noise; the release itself where there is none."""
        return self(z)

    def receive(self, release: Smashed) -> Smashed:
        """On the server: what the server half is given for a release. Its shapes are those of the smashed data."""
        return release

    def receiver_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of `receive`, which the server holds and trains; those of a module named `receiver`."""
        receiver = getattr(self, "receiver", None)
        return receiver.parameters() if isinstance(receiver, nn.Module) else iter(())

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        """A term added to the device's training loss, of what reached this shield and what left it; zero by default."""
        return z[0].new_zeros(())

    def steps(self, z: Smashed) -> tuple[Smashed, ...]:
        """What reached the first shield, and what left each: the last is the release."""
        return z, self(z)

    def penalties(self, x: Tensor, steps: Sequence[Smashed], y: Tensor) -> Tensor:
        """The sum of the penalties, each shield's of what reached it and what left it."""
        return self.penalty(x, steps[0], steps[-1], y)

    def reply(self, gradient: Smashed, y: Tensor) -> Smashed:
        """On an honest server, in training: what it sends back for the gradient at the release and the labels [n].

        As it is by default; a defence of the labels changes it. An adversary's server does as it likes.
        """
        return gradient

    def guard(self, lab: Lab) -> Watch | None:
        """On the device, in training: who examines what comes back, afresh for each training. Nobody by default."""
        return None

    def fit(self, fitting: Fitting) -> None:
        """Learn what must be known before the shield is used: a range, a scale, prototypes. Nothing by default.

        Called before the training that the shield takes part in, or on a trained network that stays as it is.
        """

    def settle(self, fitting: Fitting) -> None:
        """Measure what only the final network can tell, without changing it. Nothing by default.

        Called once the network and all shields are trained and fitted; the shields before it send without noise.
        """

    def log_likelihood(self, release: Smashed, z: Smashed) -> Tensor | None:
        """Log-likelihood log p(release_i | z_j) up to a constant per row, [n, m]; None when it has no closed form.

        A deterministic shield answers 0 where the release of z_j is the one seen and −inf elsewhere; this base ranks by
        negative distance instead, which orders the candidates the same way and survives rounding.
        """
        return -torch.cdist(flat(release).double(), flat(self(z)).double())

    def pool(self, releases: Sequence[Smashed]) -> Smashed:
        """The best single estimate from k releases of one input; the mean unless a defence knows better."""
        return tuple(torch.stack(parts).mean(0) for parts in zip(*releases, strict=True))

    def session(self, frames: Sequence[Smashed]) -> list[Smashed]:
        """The releases of a burst: smashed data of frames that follow one another. Each on its own by default."""
        return [self(frame) for frame in frames]

    def forget(self) -> Shield:
        """Drop what only the device knows (the key of memoised draws): an adversary's copy draws afresh."""
        return self

    def confine(self, region: Region) -> Region:
        """Where the noise-free release lies, given where what reaches the shield lies.

        Unless a shield says better, a deterministic map keeps only how many values there can be.
        """
        same = type(self).forward is Shield.forward and type(self).quiet is Shield.quiet
        return region if same else Region(region.numbers, region.log2_points, premises=region.premises)

    def scatter(self, region: Region) -> Region:
        """Where the release lies with its noise, given where it lies without; anywhere, unless a shield says better."""
        return Region(region.numbers, premises=region.premises) if self.stochastic else region

    def wire_bits(self, before: float, z: Smashed, release: Smashed) -> float:
        """Bits that one sample's release takes, when what reached the shield would take `before`."""
        return before * _numbers(release) / max(_numbers(z), 1)

    def claims(self) -> tuple[Bound, ...]:
        """What this shield proves by itself, beyond what follows from its noise and region."""
        return ()

    def note(self) -> str:
        """One sentence on what was learned or replaced, for the report; empty when there is nothing to say."""
        return ""


class Shields(Shield):
    """Several shields, the first nearest to the device half."""

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

    @property
    def memoised(self) -> bool:  # type: ignore[override]
        """True when all that draw draw once for each input."""
        drawing = [layer for layer in self.layers if layer.stochastic]
        return bool(drawing) and all(layer.memoised for layer in drawing)

    def forward(self, z: Smashed) -> Smashed:
        """Apply all in order."""
        return self.steps(z)[-1]

    def quiet(self, z: Smashed) -> Smashed:
        """Apply all in order, without noise."""
        for layer in self.layers:
            z = layer.quiet(z)
        return z

    def steps(self, z: Smashed) -> tuple[Smashed, ...]:
        """What reached the first, and what left each."""
        return tuple(itertools.accumulate(self.layers, lambda reached, layer: layer(reached), initial=z))

    def receive(self, release: Smashed) -> Smashed:
        """Undo them on the server, the last first."""
        for layer in reversed(self.layers):
            release = layer.receive(release)
        return release

    def receiver_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of all receivers."""
        for layer in self.layers:
            yield from layer.receiver_parameters()

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        """The sum of the penalties; the shields are passed through anew, since what lies between is not given."""
        return self.penalties(x, self.steps(z), y)

    def penalties(self, x: Tensor, steps: Sequence[Smashed], y: Tensor) -> Tensor:
        """Each shield's penalty on what reached it and what left it."""
        total = steps[0][0].new_zeros(())
        for layer, (reached, left) in zip(self.layers, itertools.pairwise(steps), strict=True):
            total = total + layer.penalty(x, reached, left, y)
        return total

    def reply(self, gradient: Smashed, y: Tensor) -> Smashed:
        """Through all of them, the last first."""
        for layer in reversed(self.layers):
            gradient = layer.reply(gradient, y)
        return gradient

    def guard(self, lab: Lab) -> Watch | None:
        """All the guards together."""
        guards = [layer.guard(lab.at(str(place))) for place, layer in enumerate(self.layers)]
        found = [guard for guard in guards if guard is not None]
        return Watches(found) if found else None

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

    def session(self, frames: Sequence[Smashed]) -> list[Smashed]:
        """Each layer takes the whole burst."""
        sent = list(frames)
        for layer in self.layers:
            sent = layer.session(sent)
        return sent

    def forget(self) -> Shields:
        """Drop every layer's secrets."""
        for layer in self.layers:
            layer.forget()
        return self

    def confine(self, region: Region) -> Region:
        """Through all of them."""
        for layer in self.layers:
            region = layer.confine(region)
        return region

    def wire_bits(self, before: float, z: Smashed, release: Smashed) -> float:
        """Through all of them."""
        for layer in self.layers:
            left = layer.quiet(z)
            before, z = layer.wire_bits(before, z, left), left
        return before

    def claims(self) -> tuple[Bound, ...]:
        """What each proves by itself."""
        return tuple(claim for layer in self.layers for claim in layer.claims())


def as_tuple(z: Tensor | Smashed) -> Smashed:
    """One tensor or several, as a tuple."""
    return (z,) if isinstance(z, Tensor) else tuple(z)


def flat(z: Smashed) -> Tensor:
    """All numbers of a release as rows: [n, d] float."""
    return torch.cat([part.flatten(1).float() for part in z], 1)


def unflat(rows: Tensor, shapes: Sequence[tuple[int, ...]]) -> Smashed:
    """Rows [n, d] as tensors of these shapes (without the batch): the reverse of `flat`."""
    parts = rows.split([count(shape) for shape in shapes], 1)
    return tuple(part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True))


def count(shape: Sequence[int]) -> int:
    """Numbers in a tensor of that shape."""
    return torch.Size(shape).numel()


def _numbers(z: Smashed) -> int:
    return sum(count(part.shape[1:]) for part in z)
