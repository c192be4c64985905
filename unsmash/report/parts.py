"""What a report is made of: plain frozen data, every sentence already written, nothing measured here.

`**bold**` and `` `code` `` are the only marks a sentence may carry; the templates turn them into elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unsmash.report.picture_parts import Gallery, Journeys, Tile, Trainings
from unsmash.verdicts import Word

Mark = Literal["floor", "attack", "ceiling", "proven", "least", "invalid", "failed"]


@dataclass(frozen=True)
class Share:
    """So many squares of one colour."""

    tone: str
    count: int
    label: str


@dataclass(frozen=True)
class Squares:
    """Every victim as a square, sorted by how easily it is found."""

    shares: tuple[Share, ...]
    """Counts of victims; they add up to `n`"""
    n: int
    limit: int | None
    """Victims that may be found; None where no adversary was asked about"""
    caption: str
    label: str
    """The finding as one sentence, for those who cannot see it"""


@dataclass(frozen=True)
class Adversary:
    """One line of the verdict's table."""

    name: str
    title: str
    note: str
    tone: str
    asked: bool
    share: float | None
    """None when no valid attack finished"""
    value: str
    limit: float | None
    remark: str
    state: Literal["over", "under", "unsure", "info"]


@dataclass(frozen=True)
class Fact:
    """A figure with its name and what to hold it against."""

    name: str
    value: str
    note: str
    terms: tuple[str, ...] = ()
    """What the budget asked of it"""


@dataclass(frozen=True)
class Who:
    """What the judged adversaries can and cannot do; each item with a remark that may be empty."""

    heading: str
    can: tuple[tuple[str, str], ...]
    cannot: tuple[tuple[str, str], ...]
    shown: tuple[str, ...]
    """Sentences on adversaries that were measured but not asked about"""


@dataclass(frozen=True)
class Row:
    """One line of the axis chart."""

    title: str
    note: str
    mark: Mark
    tone: str
    value: str
    interval: str = ""
    share: float | None = None
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Group:
    """Lines of the chart that belong to one adversary."""

    title: str
    note: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Axis:
    """Every floor, attack and ceiling on one scale."""

    heading: str
    lede: str
    top: float
    """Share at the right end"""
    limit: float | None
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Statement:
    """One proven statement, for one message and for several."""

    title: str
    note: str
    values: tuple[tuple[str, str], ...]
    """For each column the figure and what stands small beside it; empty where nothing is said"""
    covers: str
    """Whom it binds"""
    because: tuple[str, ...]
    best: bool = False
    """The heading is about this one"""


@dataclass(frozen=True)
class Scope:
    """Statements that bind the same attackers."""

    title: str
    note: str
    statements: tuple[Statement, ...]
    faint: bool = False
    """Binds no attacker worth fearing"""


@dataclass(frozen=True)
class Apart:
    """A statement that must not be mistaken for one about what is sent."""

    heading: str
    text: str
    premises: tuple[str, ...]


@dataclass(frozen=True)
class Proofs:
    """What is proven, and what must not be mistaken for it."""

    heading: str
    lines: tuple[str, ...]
    rests: tuple[str, ...]
    """Premises of all statements that bind anyone"""
    columns: tuple[str, ...]
    scopes: tuple[Scope, ...]
    training: Apart | None
    """What is proven of training records; None without such a statement"""
    note: str


@dataclass(frozen=True)
class Shielding:
    """One defence of the run: what it protects, what it does not, and what is known of it."""

    label: str
    protects: str
    exposes: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Defences:
    """What was put at the cut."""

    heading: str
    shieldings: tuple[Shielding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """What one class attack drew."""

    title: str
    tiles: tuple[tuple[str, Tile, str], ...]
    """For each class its name, its picture with the network's confidence, and how a stranger reads it"""
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Classes:
    """Prototypes of classes: no reconstruction of anything that was sent."""

    heading: str
    lede: str
    drawn: tuple[Drawn, ...]
    note: str


@dataclass(frozen=True)
class Found:
    """A line on labels or an attribute: what an attack, a floor or a ceiling tells of it."""

    title: str
    note: str
    share: float | None
    """Share right, or AUC; None where there is no figure"""
    value: str
    chance: float | None
    remark: str
    tone: str
    """Orange where an attack is above chance for certain; hollow for floors and ceilings"""


@dataclass(frozen=True)
class Inferences:
    """Labels and attributes: no picture of anything that was sent."""

    heading: str
    lede: str
    lines: tuple[Found, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Suggestion:
    """An audit worth running next."""

    title: str
    why: str
    command: str


@dataclass(frozen=True)
class Table:
    """All numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Title, note, one cell a column"""
    caption: str


@dataclass(frozen=True)
class Check:
    """One reason to trust the verdict, or not to."""

    mark: Literal["✓", "✕", "?"]
    name: str
    text: str


@dataclass(frozen=True)
class Section:
    """A heading with the facts under it."""

    heading: str
    facts: tuple[Fact, ...] = ()
    checks: tuple[Check, ...] = ()
    lines: tuple[str, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    entries: tuple[tuple[str, str], ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Body:
    """Everything under the verdict of a run that finished."""

    squares: Squares | None
    adversaries: tuple[Adversary, ...]
    n: int
    limit: str
    """Heading of the table's last column"""
    facts: tuple[Fact, ...]
    decision: str
    gallery: Gallery
    journeys: Journeys | None
    """None without pictures of what crossed"""
    who: Who
    defences: Defences | None
    """None where there is no defence"""
    axis: Axis
    proofs: Proofs
    classes: Classes | None
    """None where no class attack was asked for"""
    inferences: Inferences | None
    """None where no attack on labels or attributes was asked for"""
    cost: Section
    audits: Section
    numbers: Table
    trust: Section
    trainings: Trainings | None
    """None where nothing was trained for more than a pass"""
    edges: Section


@dataclass(frozen=True)
class Report:
    """A whole report. `body` is None when no run finished."""

    word: Word
    title: str
    crumb: str
    run_id: str
    headline: str
    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    body: Body | None
    reproduce: Section
    records: tuple[tuple[str, str], ...]
    """Element id and JSON of each record laid into the page"""
