"""A published experiment: its settings, its two sizes, and how it is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from unsmash.component import Component
from unsmash.reproductions.paper import Paper, paper
from unsmash.reproductions.record import Chart, Sheet, Table
from unsmash.reproductions.workbench import Workbench


@dataclass(frozen=True)
class Findings:
    """What an experiment came to: the parts of the record that only it can know."""

    headline: str
    """The finding, one sentence; `**` marks its number"""
    findings: tuple[str, ...]
    """What was put right and what came of it, a sentence each"""
    tables: tuple[Table, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    charts: tuple[Chart, ...] = ()
    pictures: dict[str, Any] | None = None
    """Arrays [n, c, h, w] in [0, 1] by `<sheet>/<line>`"""
    substitutes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    files: Mapping[str, bytes] | None = None
    """Artefacts that lie beside the record, by their path in its folder"""


PACKAGE = "unsmash.reproductions.systems"
"""The folder of reproductions, one file each"""


class Reproduction(Component):
    """Base of the published experiments. The defaults are the published sizes."""

    quick: ClassVar[dict[str, Any]] = {}
    """Settings of the small form: minutes on two cores, and no figure of it is held against a published one"""

    minutes: ClassVar[int | None] = None
    """What the full form took on two cores, roughly; None where it was not run"""

    not_run: ClassVar[str] = "its full form has not been carried out"
    """Why there is no record of the full form, where there is none"""

    @classmethod
    def paper(cls) -> Paper:
        """What was published."""
        return paper(cls.model_fields["kind"].default)

    def small(self) -> Reproduction:
        """The quick form; settings that were given stay."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate({"kind": self.kind} | self.quick | given)

    def run(self, bench: Workbench, *, quick: bool) -> Findings:
        """Carry it out. `quick` says that the sizes are not the published ones, so nothing is held against them.

        Raises:
            UnsmashError: data is missing, or a training failed.
        """
        raise NotImplementedError
