"""Search in a generator: the code whose image would have sent what was seen, by the device half's weights.

As GMI and its successors do for networks, here for a release (Zhang et al., CVPR 2020; Bora, Jalal, Price & Dimakis,
ICML 2017). Each victim starts from those of the adversary's own images whose generated likeness sends most nearly the
same; a code's density under N(0, 1) is its prior, and weighs against the noise of the defence as Bayes' rule has it.

The generator is learned from the adversary's images, or it is one's own: `GeneratorPrior.of(network, numbers=128)`.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator
from torch import Tensor, nn

from unsmash.attacks.base import Attack
from unsmash.generator import NEEDS, Generator, GeneratorPlan, learned_generator
from unsmash.inversion import Descent, Target, invert
from unsmash.lab import Lab
from unsmash.search_space import Codes
from unsmash.threat import Grant
from unsmash.view import View

POOL, POOL_NUMBERS = 2000, 40_000_000
"""Most codes that are compared with each release to begin from, and most numbers in what they would send"""


class GeneratorPrior(GeneratorPlan, Attack):
    """Searches a generator's codes for an image whose release is the victim's; by default it learns the generator."""

    kind: Literal["generator_prior"] = "generator_prior"
    steps: int = Field(120, ge=1, le=100_000)
    """Steps of Adam from each start"""
    rate: float = Field(0.2, gt=0, le=10)
    """Its first step's size, in deviations of a code's numbers; falls along a cosine"""
    starts: int = Field(2, ge=1, le=100)
    """Most starts; those after the first only for victims that no earlier one has fitted"""
    spread: float = Field(1e-5, ge=0, le=1000)
    """Least weight of a code's squared length, against the misfit as a share of a grey image's; behind a random
    defence it weighs as a prior does against the noise"""
    refine: int = Field(0, ge=0, le=100_000)
    """Steps that free pixels go on from the generated image; the error falls, and so does likeness, since what the
    release does not fix fills with noise"""
    tv: float = Field(0.03, ge=0, le=1000)
    """Weight of the mean total variation while pixels are free"""
    own: str = Field("", max_length=64)
    """Hash of a generator of one's own; written by `GeneratorPrior.of`, in Python, and never set by hand"""

    needs: ClassVar[frozenset[Grant]] = NEEDS | {Grant.WEIGHTS}
    learned: ClassVar[bool] = True
    title: ClassVar[str] = "White-box search in a generator"
    tiny: ClassVar[dict[str, object]] = {"numbers": 24, "width": 16, "epochs": 25, "steps": 60}

    _generator: Generator | None = PrivateAttr(None)

    @classmethod
    def of(cls, network: nn.Module, *, numbers: int, **settings: Any) -> GeneratorPrior:
        """The attack with a generator of one's own: a module [n, numbers] → images [n, c, h, w] in [0, 1].

        A copy is used as it is, in eval mode, with codes near N(0, 1). The attack then holds no images of its own: what
        the generator was made from is for its maker to tell. Its hash is among the settings, so runs of different
        generators are different runs; a file cannot name one.
        """
        mine = Generator(copy.deepcopy(network).eval().requires_grad_(False), numbers)
        raw = {**settings, "numbers": numbers, "own": mine.digest()[:16]}
        return cls.model_validate(raw, context={"generator": mine})

    @model_validator(mode="after")
    def _given(self, info: ValidationInfo) -> GeneratorPrior:
        given = (info.context or {}).get("generator")
        if bool(self.own) != (given is not None):
            raise ValueError("a generator of one's own is given in Python, by GeneratorPrior.of(network, numbers=…)")
        self._generator = given
        return self

    @property
    def heading(self) -> str:
        """Name for people; a generator that was brought along is named as such."""
        return self.title + (" that was brought along" if self.own else "")

    def required(self) -> frozenset[Grant]:
        """With a generator of one's own no images of this adversary's are used."""
        return self.needs - NEEDS if self.own else self.needs

    def run(self, view: View, lab: Lab) -> Tensor:
        """Images [n, c, h, w] in [0, 1]."""
        # the first frame of a burst is the image as it is
        seen = view.repeats[:1] if view.threat.frames > 1 else view.repeats
        target = Target(view.device, view.shield, seen, lab)
        generator = self._made(view, lab)
        space = Codes(generator.network)
        plan = Descent(self.steps, self.rate, 0.0, self.spread)
        images = invert(target, self._starts(generator, space, target, lab), plan, lab, "generator_prior", space).images
        if self.refine:
            images = invert(target, [images], Descent(self.refine, 0.03, self.tv), lab, "generator_prior").images
        return images

    def _made(self, view: View, lab: Lab) -> Generator:
        """The generator to search in: the one given, else the one learned from the adversary's images."""
        if self._generator is None:
            return learned_generator(
                view, lab, GeneratorPlan(**{n: getattr(self, n) for n in GeneratorPlan.model_fields})
            )
        self._generator.network.to(lab.device)
        self._generator.require_fit(view.input_shape, lab)
        return self._generator

    def _starts(self, generator: Generator, space: Codes, target: Target, lab: Lab) -> list[Tensor]:
        """The codes [n, q] of the first start of every victim, of the second, …: the likeliest of a pool."""
        most = max(self.starts, min(POOL, POOL_NUMBERS // target.rows.shape[2]))
        pool = torch.randn(most, generator.numbers, generator=lab.generator("codes"))
        if generator.known is not None:
            pool = torch.cat([generator.known, pool])[: max(self.starts, most)]
        images = torch.cat([space.shown(part.to(lab.device)).cpu() for part in pool.split(256)])
        places = target.misfits(images).topk(self.starts, 1, largest=False).indices
        return [pool[places[:, place]] for place in range(self.starts)]
