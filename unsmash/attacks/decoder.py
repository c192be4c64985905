"""The default learned attack: a residual decoder fed the release and the ridge image.

How it is trained, and why it starts at ridge, is told in `unsmash.decoding`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from unsmash.attacks.base import Attack
from unsmash.decoding import NEEDS, DecoderPlan, trained_decoder
from unsmash.lab import Lab
from unsmash.threat import Grant
from unsmash.view import View


class Decoder(DecoderPlan, Attack):
    """Residual decoder on the release and the ridge image, trained on queries of the adversary's own images."""

    kind: Literal["decoder"] = "decoder"

    revision: ClassVar[int] = 2
    needs: ClassVar[frozenset[Grant]] = NEEDS
    learned: ClassVar[bool] = True
    title: ClassVar[str] = "Residual decoder"
    tiny: ClassVar[dict[str, object]] = {"size": "small", "epochs": 3}

    def run(self, view: View, lab: Lab) -> Tensor:
        """Reconstructions [n, c, h, w]."""
        plan = DecoderPlan(**{name: getattr(self, name) for name in DecoderPlan.model_fields})
        return trained_decoder(view, lab, plan)(view.release, lab)
