"""The adversary's images, weighted by how likely each would have sent what was seen: Bayes' estimate from its own list.

It uses the law of the defence exactly, over all releases of one input at once, where averaging them would be wrong: for
masks, random answers, or bursts. With one sharp release it is the nearest look-alike.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.errors import UnsmashError
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View


class Posterior(Attack):
    """Mean of the adversary's images, each weighted by the likelihood of all the releases seen."""

    kind: Literal["posterior"] = "posterior"

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    control_share: ClassVar[float] = 0.05
    title: ClassVar[str] = "Likelihood-weighted look-alikes"
    for_noise: ClassVar[bool] = True

    def run(self, view: View, lab: Lab) -> Tensor:
        """Weighted means of shadow images [n, c, h, w]."""
        oracle = view.oracle(view.shadow)
        total = torch.zeros(view.victims, len(view.shadow), dtype=torch.float64)
        for release in view.repeats:
            known = oracle.log_likelihood(release)
            if known is None:
                raise UnsmashError("the law of this stack of defences has no closed form to weigh images by")
            total = total + known
        if not view.stochastic:  # a distance orders the images but is no likelihood: the nearest stands for all
            return view.shadow[total.argmax(1)]
        # what no image of its own would send tells nothing: all weigh the same
        weights = torch.softmax(total.clamp(min=-1e300), 1)
        return (weights @ view.shadow.flatten(1).double()).float().reshape(-1, *view.input_shape)
