"""Fisher information of the default model's release, timed: `python benchmarks/fisher.py [trained]`, one thread.

Without the word the weights are random, as initialised from seed 0: the times are those of a trained model, the trace
and the standard error are not, for training makes the slopes steeper and less alike. With it half a minute of training
comes first. Wall times on a shared machine vary; the targets leave room for that.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from unsmash.bounds.fisher import dfil, trace_exact, trace_hutchinson
from unsmash.bounds.jacobian import Encoder

IMAGES, PROBES, COMPARED = 500, 6, 20


def main(trained: bool) -> int:
    """Print seconds and relative standard errors; 1 when a target is missed."""
    torch.set_num_threads(1)
    f, images = default_encoder(trained)
    return max(mean_of_many(f, images[:IMAGES]), against_exact(f, images[:COMPARED]))


def default_encoder(trained: bool) -> tuple[Encoder, Tensor]:
    """The device half of `splitnn` cut at its usual place, and the victims of `mnist5k`."""
    from unsmash.data.base import data_root
    from unsmash.experiment import study
    from unsmash.lab import Lab
    from unsmash.models.splitnn import SplitNN
    from unsmash.split.cut import cut
    from unsmash.victim import prepare

    experiment = study({"data": "mnist5k", "model": "splitnn"}).experiment
    splits = experiment.data.load(data_root(None))
    images = splits.victims.pixels
    if trained:
        model = prepare(experiment, splits, Lab(), None).model
    else:
        net = SplitNN().build(tuple(images.shape[1:]), 10, Lab()).eval()
        model = cut(net, SplitNN.default_cut, images[:2])
    return lambda x: model.smash(x)[0], images


def mean_of_many(f: Encoder, images: Tensor) -> int:
    """Mean dFIL at noise 1 by few probes on many images."""
    start = time.perf_counter()
    found = dfil(f, images, 1.0, probes=PROBES, generator=torch.Generator().manual_seed(0))
    took, relative = time.perf_counter() - start, found.error / found.mean
    print(f"{found.images} images, {found.probes} probes: mean dFIL {found.mean:.4g} at noise 1", end="; ")
    print(f"standard error {relative:.2%} (target 2 %), {took:.1f} s (target 10 s)", flush=True)
    return int(relative > 0.02 or took > 10)


def against_exact(f: Encoder, images: Tensor) -> int:
    """The same images by whole Jacobians: the mean traces must agree within three standard errors."""
    start = time.perf_counter()
    exact = trace_exact(f, images, 1.0)
    took = time.perf_counter() - start
    traces, errors = trace_hutchinson(f, images, 1.0, PROBES, torch.Generator().manual_seed(1))
    error = errors.square().sum().sqrt().item() / len(images)
    z = (traces.mean() - exact.mean()).item() / error
    print(f"{len(images)} images: mean trace {exact.mean():.4g} exact ({took / len(images):.2f} s an image)", end="; ")
    print(f"{traces.mean():.4g} ± {error:.2g} by {PROBES} probes, {z:+.1f} standard errors off (target 3)", flush=True)
    return int(abs(z) > 3)


if __name__ == "__main__":
    sys.exit(main("trained" in sys.argv[1:]))
