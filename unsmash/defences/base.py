"""What a defence is: settings that arm a shield for a given cut, and what is said of it to those who choose."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from pydantic import model_validator
from torch import Tensor, nn

from unsmash.component import Component
from unsmash.lab import Lab
from unsmash.split.model import SplitModel
from unsmash.split.shield import Shield, Site
from unsmash.split.train import Held, Training


class Trainer(Protocol):
    """Trains a split model in place on images [n, c, h, w] and labels [n], and leaves it in eval mode."""

    def __call__(
        self, model: SplitModel, images: Tensor, labels: Tensor, plan: Training, lab: Lab, held: Held | None = None
    ) -> None:
        """What is held out is only looked at."""
        ...


class Defence(Component):
    """A change of what is sent, or of how the model is trained."""

    when: Literal["always", "inference"] = "always"
    """always: in training and at inference; inference: put on the trained model, which is not trained again"""

    after_training: ClassVar[bool] = True
    """It can be put on a trained model"""

    source: ClassVar[str] = ""
    """Where the method comes from: authors, venue, year"""

    protects: ClassVar[str] = ""
    """Two sentences: what it protects, and what it does not"""

    guarantee: ClassVar[str] = "none"
    """What can be proved about it, in a few words"""

    cost: ClassVar[Literal["free", "training", "minutes"]] = "free"
    """free: nothing beside the training that happens anyway; training: makes that training longer; minutes: needs one
    of its own"""

    fitted: ClassVar[tuple[str, ...]] = ()
    """Settings that show only once the shield is fitted or the network is trained"""

    def arm(self, site: Site, lab: Lab) -> Shield:
        """The shield for what reaches the cut there."""
        raise NotImplementedError

    def adapt(self, net: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
        """The network as this defence can train it, and a note on each thing replaced; before it is cut."""
        return net, ()

    def trainer(self) -> Trainer | None:
        """A training that takes the place of the usual one; None for the usual one."""
        return None

    @model_validator(mode="after")
    def _can_wait(self) -> Defence:
        if self.when == "inference" and not self.after_training:
            raise ValueError(f"always: {self.kind} acts through the training, it cannot be put on afterwards")
        return self
