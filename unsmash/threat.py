"""Who attacks: the grants an adversary holds, the secret it is after, and its description in plain words."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unsmash.records import ThreatRecord


class Grant(StrEnum):
    """One thing an adversary may hold. The release itself and the defence's law are always known."""

    QUERIES = "queries"
    WEIGHTS = "weights"
    SERVER = "server"
    ARCHITECTURE = "architecture"
    SHADOW = "shadow"
    LABELS = "labels"
    CANDIDATES = "candidates"
    GRADIENTS = "gradients"
    HINTS = "hints"
    TRAINING = "training"


class Secret(StrEnum):
    """What an attack is after."""

    INPUTS = "inputs"
    IDENTITY = "identity"
    LABELS = "labels"
    ATTRIBUTE = "attribute"
    CLASS = "class"


PLAIN = {
    Grant.QUERIES: ("run the device half on images of their own", "run the device half"),
    Grant.WEIGHTS: ("open the model's weights", "open the model's weights"),
    Grant.SERVER: ("run the server half and follow its gradients", ""),
    Grant.ARCHITECTURE: ("know the network's layers", "know the network's layers"),
    Grant.SHADOW: ("hold images of the same kind, none of them private ones", "hold images of the same kind"),
    Grant.LABELS: ("know the true label of each private image", "know the labels of the private images"),
    Grant.CANDIDATES: ("hold a list of candidates that has the private images in it", "hold a list of candidates"),
    Grant.GRADIENTS: ("see the gradients of the training", "see the gradients of the training"),
    Grant.HINTS: ("know the labels of a few training images", ""),
    Grant.TRAINING: ("take part in the training", "take part in the training"),
}
"""Each grant as the report says it: what such an adversary can do, and what another cannot. Not to hold the server half
is no limit worth telling: what leaves the device is the same whatever is made of it there. Nor is not to know a few
labels of training images, which only an attack on those labels would use"""


class Threat(BaseModel):
    """An adversary: a name, its grants, and how many releases of the same input it sees."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = "query"
    """query, repeat, gallery, or a name of your own"""
    grants: tuple[Grant, ...] = (Grant.QUERIES, Grant.SHADOW)
    """What it holds besides the releases and the defence's law"""
    queries: int = Field(1, ge=1, le=4096)
    """Releases of the same input it sees, each with fresh noise"""
    frames: int = Field(1, ge=1, le=1024)
    """Frames of a burst it sees: the image and slightly moved copies of it, one release each"""
    asked: bool = True
    """Counts for the verdict; otherwise its result is shown only"""

    @model_validator(mode="after")
    def _one_kind_of_many(self) -> Threat:
        if self.queries > 1 and self.frames > 1:
            raise ValueError("queries or frames above 1, not both: a burst has one release a frame")
        return self

    def allows(self, needs: frozenset[Grant]) -> bool:
        """True when every grant that is needed is held."""
        return needs <= set(self.grants)

    def record(self, candidates: int) -> ThreatRecord:
        """This adversary in plain words."""
        title, subject = self._words(candidates)
        messages = "every message" if self.queries == 1 else f"{self.queries} messages of the same image"
        if self.frames > 1:
            messages = f"the messages of {self.frames} slightly moved frames of the same image"
        held = [PLAIN[grant][0] for grant in PLAIN if grant in self.grants]
        missing = [PLAIN[grant][1] for grant in PLAIN if grant not in self.grants and PLAIN[grant][1]]
        if self.queries == self.frames == 1:
            missing.append("see two messages of the same image")
        can = (f"read {messages} that leaves the device", *held, "know the defence and how strong it is")
        grants = tuple(map(str, self.grants))
        return ThreatRecord(
            self.name, title, subject, self.queries, self.asked, can, tuple(missing), grants, self.frames
        )

    def _words(self, candidates: int) -> tuple[str, str]:
        many = self.queries > 1
        if Grant.CANDIDATES in self.grants:
            sees = f"Sees {self.queries} messages" if many else "Sees one message"
            sees = f"Sees {self.frames} moved frames" if self.frames > 1 else sees
            return (
                f"{sees}, holds the {candidates} candidates and the model",
                "Someone who holds the list of candidates can",
            )
        if Grant.TRAINING in self.grants:
            return "Took part in the training as its server", "A server that took part in the training can"
        if Grant.GRADIENTS in self.grants:
            hints = " and knows a few labels" if Grant.HINTS in self.grants else ""
            return f"Reads the gradients of the training{hints}", "Someone who reads the training's gradients can"
        if {Grant.WEIGHTS, Grant.SERVER} <= set(self.grants):
            return "Holds both halves of the model", "Someone who holds both halves of the model can"
        if Grant.WEIGHTS in self.grants:
            return "Has the model's weights", "Someone with the model's weights can"
        if {Grant.SERVER, Grant.ARCHITECTURE} <= set(self.grants) and Grant.QUERIES not in self.grants:
            title = "Holds the server half and knows the layers, but cannot run the device half"
            return title, "Someone who holds the server half but cannot run the device half can"
        if self.frames > 1:
            title = f"Sees {self.frames} moved frames of the same image"
            return title, f"A burst of {self.frames} frames lets an outsider"
        if many:
            number = "Sixteen" if self.queries == 16 else str(self.queries)
            return (
                f"Sees {self.queries} messages of the same image",
                f"{number} messages of the same image let an outsider",
            )
        return "Sees one message", "One message lets an outsider"


def standing(queries: int = 1, frames: int = 1) -> tuple[Threat, ...]:
    """The adversaries when nobody names others: query (T1) and gallery (T5, shown only); with queries > 1 those who see
    as many (T4); with frames > 1 the one with the candidates who sees a burst, shown only.
    """
    gallery = (Grant.WEIGHTS, Grant.CANDIDATES)
    threats = [Threat(name="query")]
    if queries > 1:
        threats.append(Threat(name="repeat", queries=queries))
    threats.append(Threat(name="gallery", grants=gallery, asked=False))
    if queries > 1:
        threats.append(Threat(name="gallery_repeat", grants=gallery, queries=queries, asked=False))
    if frames > 1:
        threats.append(Threat(name="gallery_burst", grants=gallery, frames=frames, asked=False))
    return tuple(threats)


def is_standing(threats: tuple[Threat, ...]) -> bool:
    """True for the standing adversaries, with however many messages or frames: then nobody has named others."""
    return threats == standing(max(threat.queries for threat in threats), max(threat.frames for threat in threats))
