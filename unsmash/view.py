"""What an adversary sees: the view that its grants open, and the scene that only the score knows.

An attack is handed a `View` and nothing else. A part that was not granted raises `ThreatError` on access, so an attack
cannot use what its threat does not give it, by mistake or otherwise. The truth is never in a view.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unsmash.attribute import Attribute, Known
from unsmash.blank import blank
from unsmash.errors import ThreatError, UnsmashError
from unsmash.frames import frames_of
from unsmash.lab import Lab
from unsmash.looking_on import Along, Reader
from unsmash.sessions import Rehearse, Session
from unsmash.split.model import SplitModel
from unsmash.split.parties import Server
from unsmash.split.shield import Shield, Smashed
from unsmash.split.train import assert_eval
from unsmash.threat import Grant, Threat

T = TypeVar("T")

Memory = dict[tuple[int, int], dict[Hashable, Any]]
"""What adversaries of one model and scene have learned, by how many releases and frames they see"""


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
    _attributes: tuple[Known, ...] = ()
    _training_labels: Tensor | None = None
    _rehearse: Rehearse | None = None
    _send: Callable[[SplitModel], Smashed] | None = None
    _memory: dict[Hashable, Any] = field(default_factory=dict)

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
    def attributes(self) -> tuple[Known, ...]:
        """What may be asked of an image besides how it looks, with the answers for the adversary's own images."""
        self._require(Grant.SHADOW)
        return self._attributes

    def hints(self, each: int) -> tuple[Tensor, Tensor]:
        """The true labels of a few training images: places [k], the first `each` of every class, and labels [k].

        Raises:
            UnsmashError: the training images have no labels.
        """
        self._require(Grant.HINTS)
        if self._training_labels is None or not (self._training_labels >= 0).any():
            raise UnsmashError("the training images have no labels, so there are none to know")
        known = self._training_labels
        rows = torch.cat([(known == label).nonzero().flatten()[:each] for label in range(self.classes)])
        return rows, known[rows]

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

    def serve(self, release: Smashed) -> Tensor:
        """The server's logits [n, classes] for releases: its side of the defence, then its half; differentiable.

        They lie where the server runs.
        """
        self._require(Grant.SERVER)
        place = next(self._network.server.parameters(), release[0]).device
        return self._network.answer(tuple(part.to(place) for part in release))

    def blank(self, lab: Lab) -> nn.Module:
        """A device half with the layers of the real one and newly drawn weights, which take gradients; in eval mode."""
        self._require(Grant.ARCHITECTURE)
        return blank(self._device, lab)

    def smash(self, x: Tensor) -> Smashed:
        """The smashed data of images, before the shield; needs the weights."""
        self._require(Grant.WEIGHTS)
        return self._frames(x, "")[0]

    def take_part(self, server: Server, steps: int | None = None) -> Session:
        """The device trains with this server in place of the honest one, then sends the victims.

        The server sees what any would: each release and its labels. Needs that the adversary takes part in training.

        Raises:
            UnsmashError: there is no training to take part in.
        """
        self._require(Grant.TRAINING)
        outcome = self._training()(server, None, steps)
        assert self._send is not None
        return Session(self._send(outcome.model), outcome.alarm)

    def look_on(self, reader: Reader, steps: int | None = None) -> None:
        """The device trains with the honest server while this reader sees what it sends and what comes back.

        Raises:
            UnsmashError: there is no training to look on.
        """
        self._require(Grant.GRADIENTS)
        self._training()(None, Along(reader), steps)

    def _training(self) -> Rehearse:
        if self._rehearse is None:
            raise UnsmashError("this model is taken as it is: there is no training to take part in")
        return self._rehearse

    def memo(self, needs: frozenset[Grant], key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for a key: what several attacks learn alike is learned once.

        `make` may use the grants it needs, the defence's law and the number of releases, and never what was released:
        the same then holds for every threat that has those grants. The key names all else that it depends on.
        """
        for grant in sorted(needs):
            self._require(grant)
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

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
    attributes: tuple[Attribute, ...] = ()
    """What may be asked of an image besides how it looks"""
    training_labels: Tensor | None = None
    """Of the images that trained the target [n]: what is inferred from the gradients of that training"""

    @property
    def place(self) -> Tensor:
        """Where in the candidate list each victim stands."""
        return self.order.argsort()


def make_scene(
    victims: Tensor,
    labels: Tensor,
    shadow: Tensor,
    shadow_labels: Tensor,
    classes: int,
    lab: Lab,
    *,
    attributes: Sequence[Attribute] = (),
    training_labels: Tensor | None = None,
) -> Scene:
    """Fix the secret order of the candidate list. Without any attribute named there is one: the class."""
    order = torch.randperm(len(victims), generator=lab.generator("candidates"))
    own = Attribute("class", tuple(map(str, range(classes))), labels, shadow_labels, task=True)
    asked = tuple(attributes) or (own,)
    return Scene(victims, labels, order, shadow, shadow_labels, classes, asked, training_labels)


def observe(
    model: SplitModel,
    scene: Scene,
    threat: Threat,
    lab: Lab,
    *,
    batch: int = 256,
    memory: Memory | None = None,
    known: Sequence[tuple[Tensor, Smashed]] = (),
    rehearse: Rehearse | None = None,
) -> View:
    """Send the victims over the cut, k times or as a burst, and open the view that the threat grants.

    Views of one model and scene may share a memory: threats that see as many releases then learn alike only once.
    `known` has images with their smashed data: for those the device half does not run again. `rehearse` trains the
    model once more for adversaries who take part in its training.
    """
    assert_eval(model)
    frozen = copy.deepcopy(model).requires_grad_(False)
    there = lab.at("session")
    lab = lab.at(f"observe/k{threat.queries}" + (f"/f{threat.frames}" if threat.frames > 1 else ""))

    frames = frames_of(frozen, threat, lab, batch, known)
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
        _attributes=tuple(Known(one.name, one.answers, one.shadow) for one in scene.attributes),
        _training_labels=scene.training_labels,
        _rehearse=rehearse,
        _send=lambda other: observe(other, scene, threat, there, batch=batch).release,
        _memory={} if memory is None else memory.setdefault((threat.queries, threat.frames), {}),
    )


def substituted(view: View, device: nn.Module, lab: Lab) -> View:
    """The view of the same victims with another device half in the real one's place, which the adversary made itself:
    it can run and open that one, and the real one is out of reach. All else is granted or not as before.
    """
    network = SplitModel(device, view._network.server, view._network.shield)
    grants = tuple(sorted({*view.threat.grants, Grant.QUERIES, Grant.WEIGHTS}))
    threat = view.threat.model_copy(update={"grants": grants})
    frames = frames_of(network, threat, lab.at("substituted"))
    return replace(view, threat=threat, _frames=frames, _device=device, _network=network, _memory={})


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


def network_of(view: View) -> SplitModel:
    """The copy of the network behind a view: for those who check that attacks leave it alone, not for attacks."""
    return view._network


def granted(view: View, *grants: Grant) -> View:
    """The same view under more grants: what a floor is given, which is no adversary."""
    return replace(view, threat=view.threat.model_copy(update={"grants": (*view.threat.grants, *grants)}))
