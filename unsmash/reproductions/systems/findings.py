"""Seven faults that published evaluations of split networks share, each shown again on real data, in one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from unsmash.reproductions.faults import (
    contaminated_test,
    inverted_stopping,
    noise_never_attacked,
    peak_of_255,
    private_training,
    squared_distances,
    undone_by_repeats,
)
from unsmash.reproductions.faults.fault import Fault
from unsmash.reproductions.faults.ground import Ground, Sizes
from unsmash.reproductions.systems.base import Findings, Reproduction
from unsmash.reproductions.workbench import Workbench

FAULTS = (
    noise_never_attacked.show,
    squared_distances.show,
    contaminated_test.show,
    peak_of_255.show,
    inverted_stopping.show,
    private_training.show,
    undone_by_repeats.show,
)
"""In the order of the report"""

LEADING = ("noise never attacked",)
"""Those whose figures stand in the headline"""


class SevenFaults(Sizes, Reproduction):
    """Noise never attacked, squared distances, a contaminated test set, 48.6 dB, an inverted stopping rule, DP-SGD for
    inputs, and repeats: what each does to the figures, on real data.
    """

    kind: Literal["findings"] = "findings"

    quick: ClassVar[dict[str, Any]] = {
        "train": 2000, "passes": 4, "shadow": 1000, "validator": 500, "val": 512, "victims": 256,
        "attacker_passes": 8, "decoder_images": 800, "decoder_passes": 4, "private_train": 600,
        "letters_train": 400, "letters_passes": 2, "letters_shadow": 1360,
        "letters_test": 1200, "letters_victims": 150,
        "faces": 60, "iterations": 200, "batches": 10,
    }  # fmt: skip
    tiny: ClassVar[dict[str, Any]] = {
        "train": 60, "passes": 1, "shadow": 40, "validator": 40, "val": 60, "victims": 20, "attacker_passes": 1,
        "decoder_images": 40, "decoder_passes": 1, "repeats": (1, 4), "private_train": 40, "private_passes": 1,
        "letters_train": 40, "letters_passes": 1, "letters_shadow": 150, "letters_test": 600, "letters_victims": 8,
        "faces": 10, "iterations": 10, "batches": 2,
    }  # fmt: skip

    def run(self, bench: Workbench, *, quick: bool) -> Findings:
        """Show every fault, one after the other; what two of them need is made once."""
        ground = Ground(bench, Sizes.model_validate({name: getattr(self, name) for name in Sizes.model_fields}))
        found = [show(ground) for show in FAULTS]
        return Findings(
            headline=headline(found),
            findings=tuple(one.sentence for one in found),
            tables=tuple(table for one in found for table in one.tables),
            sheets=tuple(replace(sheet, after=one.last) for one in found for sheet in one.sheets),
            charts=tuple(replace(chart, after=one.last) for one in found for chart in one.charts),
            pictures={name: images for one in found for name, images in one.pictures.items()},
            substitutes=tuple(line for one in found for line in one.substitutes),
            left_out=tuple(line for one in found for line in one.left_out),
        )


def headline(found: Sequence[Fault]) -> str:
    """How many of the faults the figures bear out, which they do not, and some of those figures."""
    tried = [one for one in found if one.shown is not None]
    shown = [one for one in tried if one.shown]
    told = f"**{len(shown)} of {len(tried)}** faults of published evaluations show on real data"
    if others := [one.name for one in tried if not one.shown]:
        told += f" (not here: {', '.join(others)})"
    briefs = [one.brief for name in LEADING for one in shown if one.name == name]
    return f"{told}: {'; '.join(briefs)}" if briefs else told
