"""What keeps the user's model, random state and images untouched while a cut is searched and checked."""

from __future__ import annotations

import copy
import random
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Inputs = tuple[Tensor, ...]
"""The positional inputs of a model, each with the batch first"""


SIZES = (2, 3)
"""The batch sizes of the two examples; one sample alone would not do, BatchNorm refuses it and `squeeze` eats it"""


def structural_clone(model: nn.Module) -> nn.Module:
    """A copy with modules and buffers of its own and the original's parameters.

    Caches that a forward fills, BatchNorm statistics and modes stay in the copy; gradients reach the original weights.
    """
    memo: dict[int, object] = {id(parameter): parameter for parameter in model.parameters()}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:  # deepcopy refuses these
                memo[id(value)] = value.detach().clone()
            elif type(value) in (dict, OrderedDict, set) and not value:  # a dozen per module, most of a copy's time
                memo[id(value)] = type(value)()
    return copy.deepcopy(model, memo)


def batch(inputs: Inputs, size: int) -> Inputs:
    """The first `size` samples; where there are fewer, they repeat with their values moved along, so none is equal."""
    return tuple(_rows(tensor, size) for tensor in inputs)


def _rows(tensor: Tensor, size: int) -> Tensor:
    have = len(tensor)
    rows = [tensor[i % have].reshape(-1).roll(7 * (i // have)).reshape(tensor.shape[1:]) for i in range(size)]
    return torch.stack(rows).detach().clone()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Every generator starts from `seed` inside and goes on where it was afterwards; warnings are not shown."""
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    states = torch.get_rng_state(), [torch.cuda.get_rng_state(i) for i in cuda], random.getstate()
    try:
        torch.default_generator.manual_seed(seed)
        for i in cuda:
            torch.cuda.default_generators[i].manual_seed(seed)
        random.seed(seed)
        with warnings.catch_warnings():
            # Old idioms in a user's or a library's forward are not what a cut is about.
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_rng_state(states[0])
        for i, state in zip(cuda, states[1], strict=True):
            torch.cuda.set_rng_state(state, i)
        random.setstate(states[2])
