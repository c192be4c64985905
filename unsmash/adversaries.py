"""Adversaries that attacks bring: whoever asks for an attack wants to know what its adversary can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unsmash.attacks.base import Attack
from unsmash.threat import Grant, Secret, Threat


@dataclass(frozen=True)
class Brought:
    """An adversary that no standing one stands for."""

    name: str
    grant: Grant
    """An attack that needs this brings it…"""
    without: frozenset[Grant] = frozenset()
    """…unless it needs one of these too"""
    usual: frozenset[Grant] = frozenset()
    """What it holds besides what the attacks need"""
    repeated: bool = True
    """Where the standing adversaries see several messages, one who sees as many is brought too"""

    def needs(self, attacks: Sequence[Attack]) -> list[frozenset[Grant]]:
        """What each of the attacks needs that bring it."""
        needs = [attack.required() for attack in attacks]
        return [need for need in needs if self.grant in need and not self.without & need]


BROUGHT = (
    Brought("server", Grant.SERVER, without=frozenset({Grant.WEIGHTS, Grant.QUERIES, Grant.TRAINING})),
    Brought("white_box", Grant.WEIGHTS, usual=frozenset({Grant.QUERIES, Grant.SHADOW})),
    Brought("active_server", Grant.TRAINING, repeated=False),
)
"""Those whom attacks on releases bring; all are asked for"""

BESIDE = {Secret.CLASS: "owner", Secret.LABELS: "reader", Secret.ATTRIBUTE: "prober"}
"""Adversaries that attacks on anything but images bring, where no other holds what they take"""


def with_needed(attacks: tuple[Attack, ...], threats: tuple[Threat, ...]) -> tuple[Threat, ...]:
    """The threats, and the adversaries that some attacks bring because no standing one holds what they need."""
    threats = _with_brought(attacks, threats)
    return (*threats, *_beside(attacks, threats))


def _with_brought(attacks: tuple[Attack, ...], threats: tuple[Threat, ...]) -> tuple[Threat, ...]:
    """Where an attack on releases needs what none of them holds, an adversary who holds it, who is asked for.

    It stands before whoever holds a list of candidates, under whom the attack would be shown only.
    """
    reading = [attack for attack in attacks if attack.role == "attack" and attack.secret is Secret.INPUTS]
    most = max((threat.queries for threat in threats), default=1)
    added: list[Threat] = []
    for one in BROUGHT:
        needs = one.needs(reading)
        grants = one.usual.union(*needs)
        if not needs or any(threat.asked and threat.allows(grants) for threat in threats):
            continue
        held = tuple(sorted(grants))
        added.append(Threat(name=one.name, grants=held))
        if one.repeated and most > 1:
            added.append(Threat(name=f"{one.name}_repeat", grants=held, queries=most))
    place = next((at for at, threat in enumerate(threats) if Grant.CANDIDATES in threat.grants), len(threats))
    return (*threats[:place], *added, *threats[place:])


def _beside(attacks: tuple[Attack, ...], threats: tuple[Threat, ...]) -> tuple[Threat, ...]:
    """The adversaries that attacks on anything but images ask for, shown only: no standing one holds what they take."""
    added: tuple[Threat, ...] = ()
    for secret, name in BESIDE.items():
        needs = [attack.required() for attack in attacks if attack.secret is secret]
        grants = frozenset[Grant]().union(*needs)
        if not any(threat.allows(grants) for threat in (*threats, *added)):
            added = (*added, Threat(name=name, grants=tuple(sorted(grants)), asked=False))
    return added
