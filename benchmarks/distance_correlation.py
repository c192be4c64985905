"""Distance correlation as a training penalty, measured: `python benchmarks/distance_correlation.py [forms|step]…`.

Forward and backward in z, float32, one thread. Times are the process's own (on a shared machine, wall time is mostly
the others'). Each repeat runs every form in turn and compares within it; the least favourable repeat is the claim, the
median stands beside it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import Tensor, nn

from unsmash.distance_correlation import block, compat, exact
from unsmash.lab import Lab
from unsmash.models.splitnn import SplitNN

REPEATS = 7
RUNS = 3
"""Of each form within a repeat; the quickest counts"""

BATCH = 256

Form = Callable[[Tensor, Tensor], Tensor]
Row = tuple[str, str, str, bool]


def main(chosen: list[str]) -> int:
    """Run the chosen parts (both without a choice) and print a line for each figure; 1 when a target is missed."""
    torch.set_num_threads(1)
    parts = {"forms": forms, "step": step}
    missed = 0
    print(f"load {os.getloadavg()[0]:.2f} before the start; {REPEATS} repeats")
    for name in chosen or parts:
        for what, measured, target, fine in parts[name]():
            missed += not fine
            print(f"{'ok  ' if fine else 'MISS'}  {name:<6} {what:<44} {measured:>30}   {target}", flush=True)
    print(f"load {os.getloadavg()[0]:.2f} at the end")
    return 1 if missed else 0


def forms() -> Iterator[Row]:
    """Our forms against the naive one, which autograd goes through."""
    targets = {"exact": {1024: 1.6}, "block": {1024: 5.0, 4096: 25.0}, "compat": {}}
    ours: dict[str, Form] = {"exact": exact, "block": block, "compat": compat}
    for n in (64, 256, 1024, 4096):
        x, z = latent(n)
        times = interleaved({name: trained(form, x, z) for name, form in {"naive": naive, **ours}.items()})
        yield f"naive, {n} rows", milliseconds(times["naive"]), "", True
        for name in ours:
            ratios = [base / own for base, own in zip(times["naive"], times[name], strict=True)]
            target = targets[name].get(n)
            told = f"×{min(ratios):.2f} ({median(ratios):.2f})  {milliseconds(times[name])}"
            yield f"{name}, {n} rows", told, f"≥ ×{target:g}" if target else "", min(ratios) >= (target or 0)
        apart = abs(exact(x, z).item() - block(x, z).item())
        yield f"block from exact, {n} rows", f"{apart:.1e}", "< 1e-3", apart < 1e-3


def step() -> Iterator[Row]:
    """A training step of the default model, with and without each form between images and release."""
    x, y = torch.rand(BATCH, 1, 28, 28), torch.randint(10, (BATCH,))
    with_form: dict[str, Form | None] = {"plain": None, "block": block, "exact": exact, "compat": compat}
    times = interleaved({name: training_step(form, x, y) for name, form in with_form.items()})
    yield f"step without a penalty, batch {BATCH}", milliseconds(times["plain"]), "", True
    for name in list(with_form)[1:]:
        shares = [own / base - 1 for base, own in zip(times["plain"], times[name], strict=True)]
        target = 0.35 if name == "block" else None
        told = f"+{max(shares):.1%} ({median(shares):+.1%})"
        yield f"{name}'s share", told, f"≤ +{target:.0%}" if target else "", max(shares) <= (target or 99)


def training_step(form: Form | None, x: Tensor, y: Tensor) -> Callable[[], None]:
    """One step of both halves, each with its Adam; the penalty is the device's."""
    layers = list(SplitNN().build((1, 28, 28), 10, Lab()).named_children())
    cut = [name for name, _ in layers].index(SplitNN.default_cut) + 1
    device, server = (nn.Sequential(*[layer for _, layer in part]) for part in (layers[:cut], layers[cut:]))
    optimisers = [torch.optim.Adam(half.parameters()) for half in (device, server)]

    def run() -> None:
        for optimiser in optimisers:
            optimiser.zero_grad()
        z = device(x)
        sent = z.detach().requires_grad_()
        nn.functional.cross_entropy(server(sent), y).backward()
        ends, gradients = [z], [sent.grad]
        if form is not None:
            ends.append(form(x, z))
            gradients.append(torch.ones_like(ends[1]))
        torch.autograd.backward(ends, gradients)
        for optimiser in optimisers:
            optimiser.step()

    return run


def latent(n: int) -> tuple[Tensor, Tensor]:
    """Images of 12 factors [n, 784] and a layer of them [n, 1152]."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(n, 12, generator=generator)
    x = factors @ torch.randn(12, 784, generator=generator)
    return x, (x @ torch.randn(784, 1152, generator=generator)).relu()


def naive(x: Tensor, z: Tensor) -> Tensor:
    """Distances, doubly centred, as the definition reads."""

    def centred(rows: Tensor) -> Tensor:
        d = torch.cdist(rows, rows)
        return d - d.mean(0, keepdim=True) - d.mean(1, keepdim=True) + d.mean()

    a, b = centred(x), centred(z)
    return ((a * b).mean() / ((a * a).mean() * (b * b).mean()).sqrt()).sqrt()


def trained(form: Form, x: Tensor, z: Tensor) -> Callable[[], None]:
    """Forward and backward in z."""
    leaf = z.clone().requires_grad_()

    def run() -> None:
        leaf.grad = None
        form(x, leaf).backward()

    return run


def interleaved(runs: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Seconds of each run in every repeat, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(REPEATS + 1):
        for name, run in runs.items():
            took = min(timed(run) for _ in range(RUNS))
            if repeat:
                times[name].append(took)
    return times


def timed(run: Callable[[], None]) -> float:
    """Processor time in seconds."""
    start = time.process_time()
    run()
    return time.process_time() - start


def milliseconds(times: list[float]) -> str:
    """The quickest repeat."""
    return f"{min(times) * 1000:.1f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
