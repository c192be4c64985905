"""Feature-space hijacking: a server that pulls the device half into a space of its own while it seems to train it.

Pasquini, Ateniese & Bernaschi, "Unleashing the Tiger: Inference Attacks on Split Learning", CCS 2021. How it is done,
and where it differs from the paper, is told in `unsmash.hijacking`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.hijacking import Hijacker, HijackPlan
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View


class Hijack(Attack):
    """Takes the server's place in training, pulls the device half into its own space, and decodes what is sent."""

    kind: Literal["hijack"] = "hijack"
    steps: int = Field(600, ge=1, le=1_000_000)
    """Batches that the training lasts: whoever runs the server says when it ends"""
    practice: int = Field(300, ge=1, le=1_000_000)
    """Steps in which the decoder learns on the adversary's own images, once the first release has come"""
    batch: int = Field(64, ge=1, le=65_536)
    """Own images in each of these steps"""
    rate: float = Field(3e-3, gt=0, le=10)
    """Peak learning rate of Adam in these steps"""
    labelled: bool = True
    """Compare each release to own images of the class that came with it; false: to all, as published"""
    gain: float = Field(0.0, ge=0, le=1e6)
    """Length of the gradient sent for one image; 0 tries out what the device half bears"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.TRAINING, Grant.SHADOW})
    # it has no queries to learn the audited device half by: a third is what it reaches at the default cut, undefended
    control_share: ClassVar[float] = 0.25
    title: ClassVar[str] = "Hijacked training"
    tiny: ClassVar[dict[str, object]] = {"steps": 1800, "practice": 300, "gain": 1.0}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w] of what the hijacked device half sends of the victims."""
        plan = HijackPlan(**{name: getattr(self, name) for name in HijackPlan.__dataclass_fields__})
        draws = len(view.repeats) if view.stochastic else 1
        server = Hijacker(view.shadow, view.shadow_labels, view.shield, draws, plan, lab)
        session = view.take_part(server, self.steps)
        if session.alarm:
            lab.emit("note", "hijack", f"Of {self.steps:,} batches it got {server.step:,}: {session.alarm}.")
        return server.decode(session.release)
