"""The run record: the one versioned document that scoring writes and everything else reads.

A `Run` is what one experiment measured. It is plain data, ↔ JSON without loss, and knows nothing of torch: reports, the
command line's tables and later the service read records, never live objects. Times and machine facts stand apart in
`environment` and `seconds`, so that `digest` is the same when the same experiment runs again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from unsmash.curves import Curve
from unsmash.feature_record import FeatureMaps
from unsmash.subject import DataRecord, SplitRecord

VERSION = 1
"""Raised when a record's meaning changes; `load_run` refuses what it does not know"""

Role = Literal["floor", "attack", "ceiling"]


@dataclass(frozen=True)
class Score:
    """One metric of one attack over all victims, with its 95 % interval."""

    metric: str
    unit: str
    leak: Literal["up", "down"]
    """Which direction means more leakage"""
    mean: float
    low: float
    high: float
    n: int
    """Victims"""
    values: tuple[float, ...] = ()
    """One number a victim, in the victims' order"""
    method: str = ""
    """How the interval was made: `Wilson` or `bootstrap`"""


@dataclass(frozen=True)
class Card:
    """An attack's strength card: whether its low number would mean anything."""

    strong: bool | None = None
    """Succeeds on the undefended shallow cut within its budget; None when that control was not needed or not run"""
    collapsed: bool = False
    """Gave nearly the same guess to every victim"""
    beats_ridge: bool | None = None
    """A learned attack's error is no worse than ridge's; None for attacks this does not apply to"""
    evidence: tuple[str, ...] = ()
    """One sentence for each finding"""
    exhibit: bool = False
    """Kept as published, for comparison: it counts where it succeeds, and where it fails that raises no doubt"""

    @property
    def valid(self) -> bool:
        """The cell may be counted."""
        fit = self.exhibit or (self.beats_ridge is not False and self.strong is not False)
        return not self.collapsed and fit

    @property
    def good(self) -> bool:
        """A low number of this attack may support a pass."""
        return self.valid and self.strong is True


@dataclass(frozen=True)
class Result:
    """What one attack, floor or ceiling reached under one threat."""

    name: str
    """Unique in the run: `decoder`, or `decoder@repeat` under another threat than the first"""
    kind: str
    title: str
    """Name for people: `Residual decoder`"""
    role: Role
    threat: str
    """Name of the threat it ran under; empty for floors"""
    scores: dict[str, Score] = field(default_factory=dict)
    """By metric: identification, feature_identification, recognition, mse, psnr, ssim, ms_ssim, dcor"""
    ranks: tuple[int, ...] = ()
    """Rank of the true image among the N candidates for each victim; 1 is found"""
    matcher: str = ""
    """The better matcher here: `cosine` or `l2`"""
    card: Card = field(default_factory=Card)
    settings: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    """One sentence on how it works"""
    failure: str = ""
    """Why it did not finish; empty when it did"""
    notes: tuple[str, ...] = ()
    """What happened in its run that a reader must know: the device noticed, and ended the training"""

    def mean(self, metric: str) -> float | None:
        """The mean of a metric, or None where it was not measured."""
        score = self.scores.get(metric)
        return None if score is None else score.mean


@dataclass(frozen=True)
class Prototype:
    """What a class attack shows of one class: an image of no input in particular, and what it is like."""

    label: str
    """Name of the class"""
    confidence: float
    """The audited network's probability of the class"""
    start: float
    """The same for the start image"""
    iterations: int
    stopped: str
    """Why the descent ended, in words; empty for a floor"""
    flat: bool = False
    """The start had no gradient to follow"""
    recognised: bool | None = None
    """The independent recogniser reads it as the class; None without one"""
    read: float | None = None
    """The independent recogniser's probability of the class"""
    mean_ssim: float | None = None
    """Likeness to the mean of the class's victims; None, like all below, where it has none"""
    mean_mse: float | None = None
    own_mse: float | None = None
    """Error against the nearest victim of the class"""
    own_ssim: float | None = None
    other_mse: float | None = None
    """Error against the nearest victim of any other class"""
    other_ssim: float | None = None


@dataclass(frozen=True)
class ClassResult:
    """What one class attack reached, or one of its floors: never a reconstruction of an input."""

    name: str
    kind: str
    title: str
    role: Role
    threat: str
    """Name of the threat it ran under"""
    prototypes: tuple[Prototype, ...] = ()
    """One a class"""
    scores: dict[str, Score] = field(default_factory=dict)
    """Over classes: class_confidence, class_recognition, class_ssim, class_mse, class_nearest"""
    settings: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    notes: tuple[str, ...] = ()
    """What must be said of it: starts without a gradient, classes that were not reached"""
    failure: str = ""

    def mean(self, metric: str) -> float | None:
        """The mean of a metric, or None where it was not measured."""
        score = self.scores.get(metric)
        return None if score is None else score.mean


@dataclass(frozen=True)
class ThreatRecord:
    """An adversary of the run, in plain words."""

    name: str
    """query, repeat, gallery, …"""
    title: str
    """`Sees one message`"""
    subject: str
    """Start of the headline: `One message lets an outsider`"""
    queries: int
    """Releases of the same input it sees"""
    asked: bool
    """Counts for the verdict; otherwise shown only"""
    can: tuple[str, ...]
    cannot: tuple[str, ...]
    grants: tuple[str, ...] = ()
    frames: int = 1
    """Slightly moved frames of the same image it sees"""


@dataclass(frozen=True)
class ClassRecord:
    """What the network itself gives away of its classes, apart from anything that is sent."""

    results: tuple[ClassResult, ...]
    """Each attack after its floors"""
    threats: tuple[ThreatRecord, ...]
    """Who holds what that takes"""
    chance: float
    """Share of classes that any one image would be read as: 1 / classes"""

    @property
    def attacks(self) -> tuple[ClassResult, ...]:
        """Without the floors."""
        return tuple(result for result in self.results if result.role == "attack")


@dataclass(frozen=True)
class InferenceResult:
    """What one attack found out of labels or an attribute, or one of its floors and ceilings: never a picture."""

    name: str
    """Unique in the run: `gradient_cosine`, or `attribute_probe/ink` and its `attribute_probe/ink/label`"""
    kind: str
    title: str
    role: Role
    secret: Literal["labels", "attribute"]
    of: str
    """What is inferred, in a few words: `label of each training image`, `ink`"""
    threat: str
    """Name of the threat it ran under; empty for floors and ceilings"""
    scores: dict[str, Score] = field(default_factory=dict)
    """inferred (share right), leak_auc, balanced (mean share right over the answers)"""
    chance: dict[str, float] = field(default_factory=dict)
    """What each of them is without the release or the gradients"""
    course: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Over the training: each score by the gradients of one pass alone, and `pass`, their numbers from 1"""
    task: bool = False
    """The network was trained to answer this"""
    card: Card = field(default_factory=Card)
    settings: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    notes: tuple[str, ...] = ()
    """What must be said of it: where it does not apply, what its interval stands for"""
    failure: str = ""


@dataclass(frozen=True)
class InferenceRecord:
    """What was found out besides pictures: labels from gradients, attributes from releases."""

    results: tuple[InferenceResult, ...]
    """Each attack after its floors and ceilings"""
    threats: tuple[ThreatRecord, ...]
    """Who holds what that takes"""

    @property
    def attacks(self) -> tuple[InferenceResult, ...]:
        """Without floors and ceilings."""
        return tuple(result for result in self.results if result.role == "attack")


@dataclass(frozen=True)
class Utility:
    """What the split model is good for, defended as audited."""

    accuracy: Score | None
    """Share of held-out images (val and victims) classified rightly; None where the data has no classes"""
    chance: float
    """Share of the commonest class"""
    trained_epochs: int
    undefended_accuracy: Score | None = None
    """The same model without defence; None when there is no defence"""
    questions: dict[str, Score] = field(default_factory=dict)
    """Accuracy on each question, where the classes answer several at once"""
    undefended_questions: dict[str, Score] = field(default_factory=dict)


@dataclass(frozen=True)
class Bound:
    """One proven statement about the release, with what it rests on and whom it binds."""

    name: str
    """epsilon, messages, identification, converse, dfil, van_trees, …; `@k` after it where it is for k releases"""
    title: str
    """Name for people"""
    value: float | None
    """None where nothing finite can be said; `reason` says why"""
    unit: str = ""
    """`share`, `bits`, `ε`, `squared error a pixel`, …"""
    covers: str = ""
    """Whom or what it binds: `any attacker, average over victims`, `unbiased attackers only`, …"""
    premises: tuple[str, ...] = ()
    """Why it holds, one sentence each"""
    reason: str = ""
    """Why there is no finite value; empty when there is one"""
    queries: int = 1
    """Releases of one input it allows for"""
    error: float = 0.0
    """Standard error where the value is an estimate"""


@dataclass(frozen=True)
class Pictures:
    """Which victims were stored as pictures (`pictures.safetensors`), worst hit first, then typical, then least hit."""

    victims: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    """`worst`, `typical` or `least` for each"""
    labels: tuple[str, ...] = ()
    """Class name of each"""
    rule: str = ""
    """How they were chosen"""
    sent_scale: float = 1.0
    """Standard deviation of the release, for drawing it at ±3σ"""
    shown: tuple[str, ...] = ()
    """Names of results with stored guesses, weakest first"""


@dataclass(frozen=True)
class Failure:
    """Why a run did not finish, stored as data."""

    error: str
    """Name of the error class"""
    message: str
    stage: str


@dataclass(frozen=True)
class Run:
    """One experiment and everything measured in it."""

    id: str
    experiment: dict[str, Any]
    """The experiment as YAML would have it"""
    seed: int
    data: DataRecord | None = None
    split: SplitRecord | None = None
    utility: Utility | None = None
    threats: tuple[ThreatRecord, ...] = ()
    results: tuple[Result, ...] = ()
    """Floors, attacks and ceilings, weakest first inside each threat"""
    classes: ClassRecord | None = None
    """What the network gives away of its classes; None where nobody asked"""
    inferences: InferenceRecord | None = None
    """What was found out of labels and attributes; None where nobody asked"""
    dependence: dict[str, Score] = field(default_factory=dict)
    """Distance correlation of input and release: `dcor` (bias-corrected), `dcor_compat` (the field's squared form)"""
    bounds: tuple[Bound, ...] = ()
    """What can be proved about the release"""
    recogniser: Score | None = None
    """Share of the true images that the independent recogniser reads rightly: the ceiling of `recognition`"""
    pictures: Pictures = field(default_factory=Pictures)
    curves: tuple[Curve, ...] = ()
    """How the trainings went: the audited network's first, then the attacks'; what was not trained has none"""
    maps: FeatureMaps = field(default_factory=FeatureMaps)
    """What crossed the cut for a few of the pictured victims, as it is drawn"""
    notes: tuple[str, ...] = ()
    budget: str = "identification>0.05"
    """The expression the verdict was asked about"""
    failure: Failure | None = None
    started: str = ""
    """ISO time, UTC"""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by stage, `total` among them"""
    latency_ms: tuple[float, ...] = ()
    """Median and 95th percentile of the device half for one image, in ms"""
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    version: int = VERSION

    def result(self, name: str) -> Result:
        """The result of that name."""
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)

    def of_role(self, role: Role) -> tuple[Result, ...]:
        """Results of one role, in order."""
        return tuple(result for result in self.results if result.role == role)

    def digest(self) -> str:
        """Hash of everything measured, without times, machine and command: what must be the same when run again."""
        blank = dataclasses.replace(
            self, started="", seconds={}, latency_ms=(), environment={}, command="", budget=Run.budget
        )
        plain = dataclasses.asdict(blank)
        if self.inferences is None:  # as it was before there was such a thing
            del plain["inferences"]
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()
