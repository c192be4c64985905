"""Whether deeper cuts give away less: the claim, as a number, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

UNRECOGNISABLE = 0.3
"""SSIM below which the authors call an image unrecognisable"""

METRICS = ("ssim", "psnr", "identification")


def kendall(values: Sequence[float]) -> float:
    """Rank correlation of values with their place: 1 where they rise throughout, −1 where they fall; ties count none.

    >>> kendall([0.9, 0.5, 0.1]), kendall([0.9, 0.1, 0.5])
    (-1.0, -0.3333333333333333)
    """
    pairs = list(combinations(values, 2))
    return sum((later > earlier) - (later < earlier) for earlier, later in pairs) / len(pairs)


@dataclass(frozen=True)
class Row:
    """One attack on one network, at every cut from shallow to deep."""

    title: str
    """Of the network"""
    attack: str
    cuts: tuple[str, ...]
    ours: tuple[Mapping[str, Any], ...]
    """Scores at each cut, as published"""
    right: tuple[Mapping[str, Any], ...] = ()
    """And of our own attack; none where there is none"""

    @property
    def name(self) -> str:
        """As the table of orders has it."""
        return f"{self.attack}, {self.title}"

    def order(self, metric: str, *, right: bool = False) -> float:
        """Kendall's τ of depth and that metric."""
        return kendall([scores[metric][0] for scores in (self.right if right else self.ours)])


def headline(rows: Sequence[Row]) -> str:
    """The finding: the order, and what it does not say."""
    fall = sum(row.order("ssim") == -1 for row in rows)
    share, count, where = deepest(rows)
    return (
        f"Deeper cuts give away less by SSIM, as published, for {fall} of {len(rows)} attacks and networks; {where} "
        f"**{share:.0%}** of {count} victims are still identified."
    )


def deepest(rows: Sequence[Row]) -> tuple[float, int, str]:
    """The most that any attack identifies at the last cut of the network with most cuts: share, victims, and where."""
    most = max(len(row.cuts) for row in rows)
    best = (-1.0, 0, "")
    for row in (row for row in rows if len(row.cuts) == most):
        for scores, whose in ((row.ours, "as published"), (row.right, "our own")):
            if scores and scores[-1]["identification"][0] > best[0]:
                share, _, _, count = scores[-1]["identification"]
                best = (share, count, f"at {row.cuts[-1]}, the deepest cut of {row.title} ({row.attack}, {whose}),")
    return best


def findings(rows: Sequence[Row]) -> tuple[str, ...]:
    """One sentence each: where the order fails, what SSIM calls unrecognisable, and what stronger attacks change."""
    return (broken(rows), unrecognisable(rows), stronger(rows))


def broken(rows: Sequence[Row]) -> str:
    """Attacks whose SSIM does not fall from cut to cut."""
    missed = [row for row in rows if row.order("ssim") != -1]
    if not missed:
        return f"SSIM falls from every cut to the next for all {len(rows)} attacks and networks."
    told = []
    for row in missed:
        values = ", ".join(f"{scores['ssim'][0]:.3f}" for scores in row.ours)
        told.append(f"{row.name} ({values})")
    return f"SSIM does not fall from every cut to the next for {'; '.join(told)}."


def unrecognisable(rows: Sequence[Row]) -> str:
    """What is identified where the authors' limit says that nothing is recognised."""
    below = [
        (scores["identification"], f"{row.name} at {at}")
        for row in rows
        for at, scores in zip(row.cuts, row.ours, strict=True)
        if scores["ssim"][0] < UNRECOGNISABLE
    ]
    if not below:
        return f"No published attack stays below SSIM {UNRECOGNISABLE}, which the authors call unrecognisable."
    (share, low, _, count), where = max(below, key=lambda one: one[0][0])
    cells = sum(len(row.cuts) for row in rows)
    return (
        f"Below SSIM {UNRECOGNISABLE}, which the authors call unrecognisable, lie {len(below)} of {cells} cells; of "
        f"these, {where} still identifies {share:.0%} of {count} victims (at least {low:.0%})."
    )


def stronger(rows: Sequence[Row]) -> str:
    """The same order under our own attacks, and what they add."""
    both = [row for row in rows if row.right]
    if not both:
        return "Our own attacks were not run."
    fall = sum(row.order("ssim", right=True) == -1 for row in both)
    gains = [row.right[-1]["ssim"][0] - row.ours[-1]["ssim"][0] for row in both]
    up = sum(gain > 0 for gain in gains)
    return (
        f"Under our own attacks of the same three kinds SSIM falls with depth for {fall} of {len(both)}; at the "
        f"deepest cut they reach a higher SSIM than the published ones for {up} of {len(both)} (by {min(gains):+.3f} "
        f"to {max(gains):+.3f})."
    )
