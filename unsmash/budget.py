"""The budget: an expression such as `identification>0.05 or ssim>0.4`, and its three-valued evaluation.

A comparison is true, false or unknown; `or` and `and` follow Kleene's logic, `and` binds tighter. The expression says
when an audit fails, so `true` is a leak (or a broken limit), `false` a pass, and unknown is inconclusive.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from unsmash.errors import ConfigError

DEFAULT = "identification>0.05"

LEAKAGE = (
    "identification",
    "gallery_identification",
    "feature_identification",
    "recognition",
    "ssim",
    "ms_ssim",
    "psnr",
    "mse",
)
"""Metrics of leakage: judged by the strongest valid attack of each adversary asked for"""

CLASSES = ("class_recognition", "class_ssim")
"""Metrics of what the network gives away of its classes: judged by the class attacks, only where a term asks for it"""

COST = ("accuracy", "bytes", "latency_ms")
"""Metrics of cost: judged as they are"""

PERCENT = (
    "identification",
    "gallery_identification",
    "feature_identification",
    "recognition",
    "accuracy",
    "ssim",
    "ms_ssim",
    *CLASSES,
)
"""Metrics whose limit may be written in per cent"""

SHARES = (
    "identification",
    "gallery_identification",
    "feature_identification",
    "recognition",
    "accuracy",
    "class_recognition",
)

FEWER = (*(name for name in LEAKAGE if name != "mse"), *CLASSES, "bytes", "latency_ms")
"""Metrics of which less is better for the owner"""

FORMS = {
    "fail-if": ("identification>0.05 or ssim>0.4", "METRIC > NUMBER, joined by or / and"),
    "budget": ("identification<=0.05 and accuracy>=0.9", "METRIC <= NUMBER, joined by and / or"),
}
"""For each option that takes an expression, an example and what its terms look like"""

OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}

COMPARISON = re.compile(r"\s*([a-z_]+)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*(%?)\s*$")


@dataclass(frozen=True)
class Comparison:
    """One term: metric, operator, limit."""

    metric: str
    operator: str
    limit: float

    @property
    def upper(self) -> bool:
        """True when the metric must stay below the limit."""
        return self.operator.startswith(">")

    def holds(self, value: float) -> bool:
        """The comparison at one value."""
        if self.operator == ">":
            return value > self.limit
        if self.operator == ">=":
            return value >= self.limit
        return value < self.limit if self.operator == "<" else value <= self.limit

    def over(self, low: float, high: float) -> bool | None:
        """The comparison over an interval: true or false where all of it agrees, else unknown."""
        first, last = self.holds(low), self.holds(high)
        return first if first == last else None

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.limit:g}"


Terms = tuple[tuple[Comparison, ...], ...]
"""`or` over `and`s of comparisons"""


def parse(text: str, where: str = "fail-if") -> Terms:
    """Read the expression; `where` is what an error calls it.

    Raises:
        ConfigError: naming the part that is not understood, and what is.
    """
    return tuple(
        tuple(_comparison(part, text, where) for part in re.split(r"\band\b", group))
        for group in re.split(r"\bor\b", text)
    )


def identification_limit(text: str) -> float:
    """The smallest share of identified victims that the expression forbids; 1 when it sets no such limit."""
    terms = [term for group in parse(text) for term in group]
    limits = [term.limit for term in terms if term.metric == "identification" and term.upper]
    return min(limits, default=1.0)


def forbidden(allowed: str, where: str = "budget") -> str:
    """The `--fail-if` that an allowed side means: what is allowed holds exactly where that does not.

    >>> forbidden("identification<=5% and accuracy>=0.9")
    'identification>0.05 or accuracy<0.9'

    Raises:
        ConfigError: it cannot be read, or a term allows the bad side, such as `identification>0.05`.
    """
    terms = parse(allowed, where)
    for term in itertools.chain(*terms):
        if (term.metric in FEWER) != term.operator.startswith("<"):
            hint = "A budget says what is allowed, --fail-if what is not"
            raise ConfigError(where, got=str(term), allowed=str(replace(term, operator=_turned(term))), hint=hint)
    opposite = [[replace(term, operator=OPPOSITE[term.operator]) for term in group] for group in terms]
    groups = [dict.fromkeys(map(str, picked)) for picked in itertools.product(*opposite)]
    return " or ".join(dict.fromkeys(" and ".join(group) for group in groups))


def _turned(term: Comparison) -> str:
    return ("<" if term.operator.startswith(">") else ">") + "=" * term.operator.endswith("=")


def _comparison(part: str, text: str, where: str) -> Comparison:
    match = COMPARISON.match(part)
    sample, form = FORMS[where]
    example = f"Write for example --{where} '{sample}'"
    if not match:
        raise ConfigError(where, got=part.strip() or text, allowed=form, hint=example)
    metric, operator, number, percent = match.groups()
    if metric not in LEAKAGE + CLASSES + COST:
        raise ConfigError(where, got=metric, allowed=LEAKAGE + CLASSES + COST)
    try:
        limit = float(number) / (100 if percent else 1)
    except ValueError:
        raise ConfigError(where, got=number, allowed="a number", hint=example) from None
    if not math.isfinite(limit):
        raise ConfigError(where, got=number, allowed="a finite number", hint=example)
    if percent and metric not in PERCENT:
        raise ConfigError(
            where, got=f"{metric}{operator}{number}%", allowed=f"{metric} without a per cent sign", hint=example
        )
    if metric in SHARES and not 0 <= limit <= 1:
        raise ConfigError(where, got=f"{metric}{operator}{number}", allowed="a share from 0 to 1", hint=example)
    return Comparison(metric, operator, limit)


def evaluate(terms: Terms, value: Callable[[Comparison], bool | None]) -> bool | None:
    """Kleene's value of the expression, given each comparison's."""
    return _any(_all(value(comparison) for comparison in group) for group in terms)


def _any(values: object) -> bool | None:
    seen = list(values)  # type: ignore[call-overload]
    return True if True in seen else (None if None in seen else False)


def _all(values: object) -> bool | None:
    seen = list(values)  # type: ignore[call-overload]
    return False if False in seen else (None if None in seen else True)
