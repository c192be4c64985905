"""DP-SGD: the network is trained with differential privacy for its training records; what is sent stays as it is.

Abadi et al., CCS 2016. The accountants are opacus': the privacy loss distribution composed numerically (Gopi, Lee &
Wutschitz, NeurIPS 2021), within 0.01 of the exact ε, and Rényi's (Mironov, CSF 2017), an upper bound. It is here
because it is so often taken for a protection of the images sent, which it is not: Titcombe et al. 2021 say so, and a
noisily trained device half stays near its random start, and a random projection is easier to undo than a trained one.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from unsmash.defences.base import Defence, Trainer
from unsmash.errors import ConfigError
from unsmash.lab import Lab
from unsmash.records import Bound
from unsmash.split import Fitting, Shield, Shields, Site, SplitModel
from unsmash.split.clipping import differ, opacus
from unsmash.split.private import BEYOND, Accountant, least_noise, schedule, train_privately, training_epsilon
from unsmash.split.train import Held, Training

NOISE_IMAGES = 256
"""Random images that other defences are fitted to, to see whether they learn from images at all"""


class DpSgd(Defence):
    """Trains both halves with differential privacy for the training records; does not protect the images sent."""

    kind: Literal["dpsgd"] = "dpsgd"
    noise: float | None = Field(None, gt=0, le=1000)
    """Standard deviation of the noise on a step's sum of gradients, in clips; 1 when neither this nor epsilon is set"""
    epsilon: float | None = Field(None, gt=0, le=BEYOND)
    """The ε to spend on the whole training, by the least noise that keeps to it; in place of `noise`"""
    clip: float = Field(1.0, gt=0, le=1e6)
    """Longest gradient of one record, over all weights of both halves (L2)"""
    delta: float = Field(1e-5, ge=1e-10, lt=1)
    """Probability with which ε may be exceeded; must be less than one over the number of training images"""
    accountant: Accountant = "prv"
    """prv: ε to within 0.01; rdp: a looser upper bound, quick at any size"""

    source: ClassVar[str] = "Abadi et al., CCS 2016"
    protects: ClassVar[str] = (
        "The records of the training set: the trained weights say little of any one of them. The images sent at "
        "inference are not protected: measured on digits at ε 2.4, they are reconstructed better than without any "
        "defence (SSIM 0.94 against 0.85)."
    )
    guarantee: ClassVar[str] = "(ε, δ)-differential privacy of the training records"
    cost: ClassVar[Literal["free", "training", "minutes"]] = "training"
    after_training: ClassVar[bool] = False
    fitted: ClassVar[tuple[str, ...]] = ("noise", "epsilon", "clip", "delta")
    tiny: ClassVar[dict[str, object]] = {"noise": 0.5, "delta": 1e-3}

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The identity, which remembers what the training spent."""
        return DpSgdShield(self.clip, self.delta)

    def adapt(self, net: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
        """BatchNorm gives way to GroupNorm, and whatever else opacus knows a replacement for."""
        fixers = opacus("validators").ModuleValidator.FIXERS
        done: dict[int, nn.Module] = {}
        kinds: Counter[tuple[str, str]] = Counter()
        for name, layer in [*net.named_modules(remove_duplicate=False)]:
            if type(layer) not in fixers:
                continue
            if id(layer) not in done:
                place = next((tensor.device for tensor in layer.state_dict().values()), None)
                done[id(layer)] = new = fixers[type(layer)](layer).train(layer.training).to(place)
                kinds[type(layer).__name__, type(new).__name__] += new is not layer
            if name:
                net.set_submodule(name, done[id(layer)])
            else:
                net = done[id(layer)]
        return net, tuple(_replaced(number, *names) for names, number in kinds.items() if number)

    def trainer(self) -> Trainer:
        """The private training of the whole network."""
        return self._train

    def _train(
        self, model: SplitModel, images: Tensor, labels: Tensor, plan: Training, lab: Lab, held: Held | None = None
    ) -> None:
        shield, others = _alone(model)
        n, (rate, steps) = len(images), schedule(len(images), plan)
        if self.delta >= 1 / n:
            hint = "A larger δ allows publishing whole records"
            allowed = f"less than 1/{n} = {1 / n:.2g}, one over the number of training images"
            raise ConfigError("defences.dpsgd.delta", got=self.delta, allowed=allowed, hint=hint)
        noise = self.noise or 1.0
        if self.epsilon is not None:
            noise = least_noise(self.epsilon, rate, steps, self.delta, self.accountant)
        epsilon, accountant = training_epsilon(noise, rate, steps, self.delta, self.accountant)
        learned = any(_learned(model, layer, images, lab.at("learned")) for layer in others)
        clipping = train_privately(model, images, labels, plan, lab, held, noise=noise, clip=self.clip)
        shield.remember(Spent(epsilon, noise, rate, steps, accountant == "prv", clipping == "ghost", learned))

    @model_validator(mode="after")
    def _one_of_two(self) -> DpSgd:
        if self.noise is not None and self.epsilon is not None:
            raise ValueError("noise or epsilon: one follows from the other, so give just one of them")
        return self


class Spent(NamedTuple):
    """What a private training spent, and how."""

    epsilon: float = math.nan
    """nan: nothing was trained yet"""
    noise: float = 0.0
    rate: float = 0.0
    steps: float = 0.0
    prv: float = 0.0
    """1: by the prv accountant; 0: by rdp"""
    ghost: float = 0.0
    """1: by ghost clipping; 0: each record's gradient was made"""
    learned: float = 0.0
    """1: another defence learned from the training images before"""


class DpSgdShield(Shield):
    """Sends the smashed data as it is; holds what the private training spent."""

    spent: Tensor

    def __init__(self, clip: float, delta: float) -> None:
        super().__init__()
        self.clip, self.delta = clip, delta
        self.register_buffer("spent", torch.tensor(Spent()))

    def remember(self, spent: Spent) -> None:
        """Keep what was spent with the weights; single precision, so ε is rounded up."""
        up = torch.nextafter(torch.tensor(spent.epsilon, dtype=torch.float32), torch.tensor(math.inf))
        self.spent.copy_(torch.tensor(spent._replace(epsilon=up.item())))

    def claims(self) -> tuple[Bound, ...]:
        """The ε of the training records, or why there is none."""
        spent = Spent(*self.spent.tolist())
        reason = ""
        if math.isnan(spent.epsilon):
            reason = "The network was not trained privately: it was taken as it is."
        elif spent.learned:
            reason = (
                "Another defence learned from the training images without noise before the private training. "
                "With when: inference it would learn afterwards, from the trained network."
            )
        elif math.isinf(spent.epsilon):
            reason = "There is too little noise for the accountant to find a finite ε."
        return (
            Bound(
                name="training_epsilon",
                title="Privacy of the training records",
                value=None if reason else spent.epsilon,
                unit="ε",
                covers="records the target was trained on; says nothing about the images sent later",
                premises=() if math.isnan(spent.epsilon) else self._premises(spent),
                reason=reason,
            ),
        )

    def _premises(self, spent: Spent) -> tuple[str, ...]:
        accountant = (
            "The accountant composes the privacy loss numerically (PRV, Gopi et al. 2021); ε is the upper end of its "
            "error of 0.01."
            if spent.prv
            else "The accountant is Rényi's (RDP, Mironov 2017); ε is an upper bound."
        )
        return (
            f"(ε, δ)-differential privacy with δ = {self.delta:g}, for one record more or less in the training set.",
            accountant,
            f"Poisson sampling: in each of {spent.steps:.0f} steps, every record takes part with probability "
            f"{spent.rate:.4g}, by a coin of its own.",
            f"Each record's gradient over all weights of both halves is clipped to {self.clip:g}; each number of their "
            f"sum gets Gaussian noise of {spent.noise:.4g} clips.",
            "No layer mixes records (GroupNorm in place of BatchNorm); random changes of a training image are its own.",
            "It holds for the weights as trained here: not for what the server sees while it takes part, nor for what "
            "another defence learns from the training images afterwards.",
            "Sampling and noise come from the run's seed, which must stay as secret as the records.",
        )

    def note(self) -> str:
        """How gradients were clipped, where it was not the usual way."""
        spent = Spent(*self.spent.tolist())
        if math.isnan(spent.epsilon) or spent.ghost:
            return ""
        return "DP-SGD made each record's gradient, for a layer does not allow ghost clipping: slower, the same result."


def _alone(model: SplitModel) -> tuple[DpSgdShield, list[Shield]]:
    """The shield of this defence, and the others of the model: none of them may add to the loss."""
    layers = _layers(model)
    own = [layer for layer in layers if isinstance(layer, DpSgdShield)]
    others = [layer for layer in layers if not isinstance(layer, DpSgdShield)]
    mixing = [type(layer).__name__ for layer in others if type(layer).penalty is not Shield.penalty]
    if mixing:
        why = "defences that add no penalty: one taken over a batch mixes its records, so none could be clipped alone"
        raise ConfigError("defences", got=f"dpsgd with {mixing[0]}", allowed=why)
    if len(own) != 1:
        raise ConfigError("defences", got=f"dpsgd {len(own)} times", allowed="dpsgd once")
    return own[0], others


def _layers(model: SplitModel) -> list[Shield]:
    return model.shield.layers if isinstance(model.shield, Shields) else [model.shield]


def _learned(model: SplitModel, layer: Shield, images: Tensor, lab: Lab) -> bool:
    """Whether a defence learned something from the training images: a copy of it, fitted to noise, is another one."""
    if type(layer).fit is Shield.fit and type(layer).settle is Shield.settle:
        return False
    before = Shields(_layers(model)[: _layers(model).index(layer)])
    draw = lab.generator("images")
    fitting = Fitting(
        images=torch.rand(NOISE_IMAGES, *images.shape[1:], generator=draw),
        labels=torch.arange(NOISE_IMAGES) % 2,
        entering=lambda x: before.quiet(model.smash(x.to(lab.device))),
        answer=lambda z: model.serve(before.receive(z)),
        trained=False,
        lab=lab,
    )
    twin = copy.deepcopy(layer)
    with lab.seeded("fit"):
        twin.fit(fitting)
        twin.settle(fitting)
    return any(map(differ, layer.state_dict().values(), twin.state_dict().values()))


def _replaced(number: int, old: str, new: str) -> str:
    fresh = " with fresh weights" if new == "GroupNorm" else ""
    return f"{number} × {old} replaced by {new}{fresh}: private training allows no layer that mixes records."
