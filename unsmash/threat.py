"""Who attacks: the grants an adversary holds, the secret it is after, and the view those grants open.

An attack is handed a `View` and nothing else. A part that was not granted raises `ThreatError` on access, so an attack
cannot use what its threat does not give it, by mistake or otherwise. The truth is never in a view.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from unsmash.errors import ThreatError
from unsmash.lab import Lab
from unsmash.nets import jitter
from unsmash.records import ThreatRecord
from unsmash.split.model import SplitModel
from unsmash.split.shield import Shield, Smashed
from unsmash.split.train import assert_eval


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
    Grant.TRAINING: ("take part in the training", "take part in the training"),
}
"""Each grant as the report says it: what such an adversary can do, and what another cannot. Not to hold the server half
is no limit worth telling: what leaves the device is the same whatever is made of it there"""


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
        if {Grant.WEIGHTS, Grant.SERVER} <= set(self.grants):
            return "Holds both halves of the model", "Someone who holds both halves of the model can"
        if Grant.WEIGHTS in self.grants:
            return "Has the model's weights", "Someone with the model's weights can"
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


def burst(images: Tensor, frames: int, generator: torch.Generator) -> list[Tensor]:
    """The images and slightly moved copies of them: up to 5 degrees and 0.6 pixels, as a hand-held camera gives."""
    if frames == 1:
        return [images]
    shift = 0.6 / (min(images.shape[-2:]) / 2)
    return [images, *(jitter(images, generator, degrees=5, scale=0, shift=shift) for _ in range(frames - 1))]


@dataclass(frozen=True)
class View:
    """All that an adversary has. Parts that were not granted raise `ThreatError` on access."""

    threat: Threat
    repeats: tuple[Smashed, ...]
    """The releases of the victims, k of them; each is a tuple of tensors [n, …]"""
    input_shape: tuple[int, ...]
    """[c, h, w] of the private images"""
    classes: int
    """Classes of the task; the label is −1 where the adversary does not know it"""
    shield: Shield
    """The defence's law: its noise, clip and masks, known to every adversary (a private copy)"""
    _frames: Callable[[Tensor, str], list[Smashed]]
    _device: nn.Module
    _network: SplitModel
    _shadow: tuple[Tensor, Tensor]
    _labels: Tensor
    _candidates: Tensor

    @functools.cached_property
    def release(self) -> Smashed:
        """The best single estimate of each victim's release: the release itself, or what k of them pool to."""
        return self.repeats[0] if len(self.repeats) == 1 else self.shield.pool(self.repeats)

    @property
    def victims(self) -> int:
        """How many victims there are."""
        return len(self.repeats[0][0])

    @property
    def stochastic(self) -> bool:
        """True when the law of the release is random: an adversary must learn from fresh draws."""
        return self.shield.stochastic

    def query(self, x: Tensor) -> Smashed:
        """Releases of images of the adversary's own, pooled over as many draws as it sees of a victim."""
        self._require(Grant.QUERIES)
        return self.oracle(x).ask()

    def oracle(self, images: Tensor, *, aware: bool = True) -> Oracle:
        """The device half on a fixed set of images of the adversary's own, to be asked again and again.

        Unaware of the defence, it answers without noise whatever is sent: the mistake of many published evaluations.
        """
        self._require(Grant.QUERIES)
        mine = images is self._shadow[0]  # every attack asks about these: the device half need not run for each
        frames = self._shadow_frames if mine else self._frames(images, "own")
        return Oracle(images, tuple(frames), self.shield, len(self.repeats), aware)

    @functools.cached_property
    def _shadow_frames(self) -> list[Smashed]:
        return self._frames(self._shadow[0], "own")

    @property
    def device(self) -> nn.Module:
        """The device half with its weights, frozen, without the shield."""
        self._require(Grant.WEIGHTS)
        return self._device

    @property
    def shadow(self) -> Tensor:
        """The adversary's images [m, c, h, w] in [0, 1]."""
        self._require(Grant.SHADOW)
        return self._shadow[0]

    @property
    def shadow_labels(self) -> Tensor:
        """Labels of the adversary's images [m]; −1 where it does not know."""
        self._require(Grant.SHADOW)
        return self._shadow[1]

    @property
    def labels(self) -> Tensor:
        """True labels of the victims [n]."""
        self._require(Grant.LABELS)
        return self._labels

    @property
    def candidates(self) -> Tensor:
        """The candidate list [N, c, h, w]: all victims, in an order that tells nothing."""
        self._require(Grant.CANDIDATES)
        return self._candidates

    def answers(self, x: Tensor) -> Tensor:
        """The whole network's logits [n, classes] for images, through the defence without its noise; differentiable.

        They lie where the network runs. Needs both halves: the device's weights and the server.
        """
        self._require(Grant.WEIGHTS)
        self._require(Grant.SERVER)
        return _answers(self._network, x)

    def smash(self, x: Tensor) -> Smashed:
        """The smashed data of images, before the shield; needs the weights."""
        self._require(Grant.WEIGHTS)
        return self._frames(x, "")[0]

    def _require(self, grant: Grant) -> None:
        if grant not in self.threat.grants:
            held = ", ".join(self.threat.grants) or "nothing"
            raise ThreatError(f"the threat {self.threat.name!r} grants {held}; the attack asked for {grant}")


@dataclass(frozen=True)
class Oracle:
    """Answers queries about fixed images, with fresh noise each time. The device half itself runs once, to save time:
    what an adversary sees is the same as if it ran anew.
    """

    images: Tensor
    """[m, c, h, w]"""
    _frames: tuple[Smashed, ...]
    """Smashed data of the images, and of each further frame of a burst"""
    _shield: Shield
    _draws: int
    """Releases of one input that the adversary sees"""
    _aware: bool = True

    @torch.no_grad()
    def ask(self, rows: Tensor | None = None) -> Smashed:
        """The releases of all images, or of those rows, pooled over as many as the adversary sees of a victim."""
        frames = [frame if rows is None else tuple(part[rows] for part in frame) for frame in self._frames]
        if not self._aware:
            return self._shield.quiet(frames[0])
        if len(frames) > 1:
            return self._shield.pool(self._shield.session(frames))
        draws = self._draws if self._shield.stochastic else 1
        releases = [self._shield(frames[0]) for _ in range(draws)]
        return releases[0] if draws == 1 else self._shield.pool(releases)

    @torch.no_grad()
    def log_likelihood(self, release: Smashed) -> Tensor | None:
        """Log p(release_i | image_j), [n, m]: it can run the device half and knows the defence's law."""
        return self._shield.log_likelihood(release, self._frames[0])


@dataclass(frozen=True)
class Scene:
    """What is true, kept from the attacks: the victims, and the secret order of the candidate list."""

    victims: Tensor
    labels: Tensor
    order: Tensor
    """Candidate j is victim order[j]"""
    shadow: Tensor
    shadow_labels: Tensor
    classes: int

    @property
    def place(self) -> Tensor:
        """Where in the candidate list each victim stands."""
        return self.order.argsort()


def make_scene(victims: Tensor, labels: Tensor, shadow: Tensor, shadow_labels: Tensor, classes: int, lab: Lab) -> Scene:
    """Fix the secret order of the candidate list."""
    order = torch.randperm(len(victims), generator=lab.generator("candidates"))
    return Scene(victims, labels, order, shadow, shadow_labels, classes)


def observe(model: SplitModel, scene: Scene, threat: Threat, lab: Lab, *, batch: int = 256) -> View:
    """Send the victims over the cut, k times or as a burst, and open the view that the threat grants."""
    assert_eval(model)
    frozen = copy.deepcopy(model).requires_grad_(False)
    lab = lab.at(f"observe/k{threat.queries}" + (f"/f{threat.frames}" if threat.frames > 1 else ""))

    @torch.no_grad()
    def smash(x: Tensor) -> Smashed:
        parts = [frozen.smash(part.to(lab.device)) for part in x.split(batch)]
        return tuple(torch.cat([part[index] for part in parts]).cpu() for index in range(len(parts[0])))

    def frames(x: Tensor, stream: str) -> list[Smashed]:
        """An empty stream takes the images as they are."""
        moved = burst(x, threat.frames, lab.generator(f"frames/{stream}")) if stream else [x]
        return [smash(frame) for frame in moved]

    with lab.seeded("release"), torch.no_grad():
        repeats = _transmit(copy.deepcopy(frozen.shield).cpu(), frames(scene.victims, "victims"), threat)
    return View(
        threat=threat,
        repeats=repeats,
        input_shape=tuple(scene.victims.shape[1:]),
        classes=scene.classes,
        shield=copy.deepcopy(frozen.shield).cpu().forget(),
        _frames=frames,
        _device=frozen.device,
        _network=frozen,
        _shadow=(scene.shadow, scene.shadow_labels),
        _labels=scene.labels,
        _candidates=scene.victims[scene.order],
    )


def _answers(network: SplitModel, x: Tensor) -> Tensor:
    place = next(network.parameters(), x).device
    return network.answer(network.shield.quiet(network.smash(x.to(place))))


def _transmit(shield: Shield, frames: list[Smashed], threat: Threat) -> tuple[Smashed, ...]:
    if len(frames) > 1:
        return tuple(shield.session(frames))
    return tuple(shield(frames[0]) for _ in range(threat.queries if varies(shield) else 1))


def varies(shield: Shield) -> bool:
    """True when two releases of one input differ."""
    return shield.stochastic and not shield.memoised


def granted(view: View, *grants: Grant) -> View:
    """The same view under more grants: what a floor is given, which is no adversary."""
    return replace(view, threat=view.threat.model_copy(update={"grants": (*view.threat.grants, *grants)}))
