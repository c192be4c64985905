"""What a defence is: settings that arm a shield for a given cut."""

from __future__ import annotations

from unsmash.component import Component
from unsmash.lab import Lab
from unsmash.split.model import Shield


class Defence(Component):
    """A change of what is sent, or of how the model is trained."""

    def arm(self, cut_shapes: tuple[tuple[int, ...], ...], input_shape: tuple[int, ...], lab: Lab) -> Shield:
        """The shield for smashed data of these shapes (one for each crossing tensor, without the batch)."""
        raise NotImplementedError
