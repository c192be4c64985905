"""What can be proved about a release, as records with their premises, and the check that no attack beats a proof.

Ceilings bind any attacker, on the average over the victims. What binds unbiased attackers only, and what is measured on
this gallery alone, is said to be so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unsmash.bounds.ceilings import converse, gaussian_ceiling, message_ceiling, pure_ceiling
from unsmash.bounds.epsilon import epsilon_lower_bound
from unsmash.bounds.mmse import gallery_mmse
from unsmash.errors import BoundError
from unsmash.mechanism import Mechanism
from unsmash.records import Bound, Result
from unsmash.split.shield import flat
from unsmash.view import View

ANY = "any attacker with any candidate list; an average over the victims"
SAME = 1e-5
"""Distance within which two releases without noise are the same"""

SIGMAS = 3.0
"""Standard errors that sampling may put a share beyond its ceiling"""


@dataclass(frozen=True)
class Measured:
    """What bounds are held against: the candidate list, its labels, and the server's answers to these releases."""

    view: View
    """Of an adversary with weights and candidates who sees one message"""
    likelihood: Tensor | None
    """[n, N] of the candidates; None where the law has no closed form"""
    place: Tensor
    """[n] where each victim stands among the candidates"""
    victims: Tensor
    labels: Tensor
    answers: Tensor
    """[n] the server's answer to each victim; −1 where there is none"""


def proved(mechanism: Mechanism, found: Measured, queries: Sequence[int]) -> tuple[Bound, ...]:
    """All statements that need no derivative, for one release and for each number of releases asked about."""
    n = found.view.victims
    bounds: list[Bound] = []
    for k in dict.fromkeys((1, *queries)):
        bounds += [_epsilon(mechanism, k), *_messages(mechanism, k, n), *_ceilings(mechanism, k, n)]
    return (*bounds, *_converse(found), *_measured(found))


def _epsilon(mechanism: Mechanism, k: int) -> Bound:
    value, delta = mechanism.epsilon(k)
    told = f"(ε, δ = {delta:g})" if delta else "pure ε, δ = 0"
    return Bound(
        name=_named("epsilon", k),
        title=f"Local ε of {_releases(k)}",
        value=value if math.isfinite(value) else None,
        unit="ε",
        covers="any two inputs, whatever the attacker knows",
        premises=(*mechanism.premises, told) if math.isfinite(value) else (),
        reason="" if math.isfinite(value) else mechanism.why_unbounded,
        queries=k,
    )


def _messages(mechanism: Mechanism, k: int, n: int) -> Iterator[Bound]:
    bits, fact = mechanism.messages(k)
    finite = math.isfinite(bits)
    yield Bound(
        name=_named("messages", k),
        title=f"Distinguishable messages W of {_releases(k)}, as log2 W",
        value=bits if finite else None,
        unit="bits",
        covers="any attacker, any candidate list",
        premises=(*mechanism.premises, f"Counted by: {fact}") if finite else (),
        reason="" if finite else "Nothing bounds how many messages can be told apart",
        queries=k,
    )
    if finite and message_ceiling(bits, n) < 1:
        yield _ceiling(
            "messages", k, message_ceiling(bits, n), f"W/N of {n}: at most {_count(bits)} messages", mechanism
        )


def _ceilings(mechanism: Mechanism, k: int, n: int) -> Iterator[Bound]:
    value, delta = mechanism.epsilon(k)
    if not delta and pure_ceiling(value, n) < 1:
        told = f"ε = {value:.3g}, so no candidate's posterior exceeds this, for each single victim as well"
        yield _ceiling("epsilon", k, pure_ceiling(value, n), told, mechanism)
    reach = mechanism.reach(k)
    if math.isfinite(reach) and gaussian_ceiling(reach, n) < 1:
        yield _ceiling("gaussian", k, gaussian_ceiling(reach, n), f"C/σ = {reach:.3g}", mechanism)


def _ceiling(by: str, k: int, value: float, told: str, mechanism: Mechanism) -> Bound:
    title = f"No more than this identified from {_releases(k)}"
    return Bound(_named(f"ceiling_{by}", k), title, value, "share", ANY, (*mechanism.premises, told), "", k)


def _converse(found: Measured) -> Iterator[Bound]:
    """What the accuracy itself gives away: read the class off the answer, name any candidate of that class."""
    known = found.labels >= 0
    if not known.any() or (found.answers < 0).all():
        return
    classes = found.labels[known].unique()
    right = (found.answers == found.labels).double()
    averaged = torch.stack([right[found.labels == label].mean() for label in classes]).mean().item()
    yield Bound(
        "converse",
        "No release this useful identifies less",
        converse(len(classes), averaged, found.view.victims),
        "share",
        "any defence and any server with this accuracy on these victims",
        (f"{len(classes)} classes among the candidates, class-averaged accuracy {averaged:.3f}",),
    )


def _measured(found: Measured) -> Iterator[Bound]:
    """Of this gallery: its exact mean squared error, the most that one victim is exposed, the smallest cell."""
    if found.likelihood is None:
        return
    likelihood = found.likelihood if found.view.stochastic else _certain(found.likelihood)
    here = "any attacker on these victims, who are equally likely beforehand"
    error = gallery_mmse(likelihood, found.view.candidates, found.victims)
    yield Bound("gallery_mmse", "Least squared error", error.mean().item(), "squared error a pixel", here,
                (f"Exact for a uniform prior on the {len(error)} candidates",))  # fmt: skip
    posterior = torch.softmax(likelihood, 1)
    own = posterior[torch.arange(len(posterior)), found.place]
    yield Bound("worst_posterior", "Certainty about the most exposed victim", own.max().item(), "share",
                "this gallery alone; ceilings on the average say nothing about one victim",
                ("Posterior of the true candidate, its largest value over the victims",))  # fmt: skip
    if not found.view.stochastic:
        cells = flat(found.view.release).unique(dim=0, return_counts=True)[1]
        yield Bound("smallest_cell", "Victims that share the rarest message", float(cells.min()), "victims",
                    "this gallery alone", (f"{len(cells)} different messages were seen",))  # fmt: skip


def _certain(likelihood: Tensor) -> Tensor:
    """Of a release without noise: the candidates that would have sent it are equally likely, all others are not."""
    best = likelihood.amax(1, keepdim=True)
    return torch.where(likelihood >= best - SAME, 0.0, -math.inf).double()


def check(results: Sequence[Result], bounds: Sequence[Bound], queries: dict[str, int]) -> None:
    """Hold every attack and every candidate list against every proof.

    `queries` has the releases that each threat sees; threats that see moved frames are left out of it.

    Raises:
        BoundError: a share lies beyond its ceiling by more than sampling explains. That is a bug of ours.
    """
    ceilings = [bound for bound in bounds if bound.name.startswith("ceiling") and bound.value is not None]
    least = next((bound.value for bound in bounds if bound.name == "converse"), None)
    for result in results:
        score = result.scores.get("identification")
        if score is None or result.role == "floor" or result.threat not in queries:
            continue
        k = queries[result.threat]
        for ceiling in (one for one in ceilings if one.queries >= k):
            assert ceiling.value is not None
            if score.mean > ceiling.value + SIGMAS * _error(ceiling.value, score.n):
                raise BoundError(_impossible(result.name, score.mean, ceiling))
        exact = result.role == "ceiling" and result.card.strong is True
        if exact and least is not None and score.mean < least - SIGMAS * _error(least, score.n):
            raise BoundError(
                f"{result.name} identifies {score.mean:.4f}, less than the {least:.4f} that the accuracy alone gives "
                "away. This is a bug in unsmash: please report it"
            )


def audited_epsilon(results: Sequence[Result], bounds: Sequence[Bound], queries: dict[str, int]) -> tuple[Bound, ...]:
    """The ε that the measured identification disproves, beside the claim it is held against."""
    made = []
    for k in dict.fromkeys(queries.values()):
        rates = [r.scores["identification"] for r in results
                 if queries.get(r.threat) == k and "identification" in r.scores and r.role != "floor"]  # fmt: skip
        claim = next((bound for bound in bounds if bound.name == _named("epsilon", k)), None)
        if not rates or claim is None:
            continue
        best = max(rates, key=lambda score: score.low)
        against = f"the claim is {claim.value:.3g}" if claim.value is not None else "no finite ε is claimed"
        made.append(
            Bound(
                _named("epsilon_at_least", k),
                f"ε of {_releases(k)} is no smaller than",
                epsilon_lower_bound(best.low, best.n),
                "ε",
                "measured: the strongest attack's 95 % lower limit, pure ε",
                (f"{best.mean:.3f} of {best.n} identified; {against}",),
                queries=k,
            )
        )
    return tuple(made)


def _error(share: float, n: int) -> float:
    return math.sqrt(max(share * (1 - share), 1 / n) / n)


def _impossible(name: str, share: float, ceiling: Bound) -> str:
    return (
        f"{name} identifies {share:.4f}, more than the {ceiling.value:.4f} that is proved possible "
        f"({ceiling.premises[-1]}). This is a bug in unsmash or in a defence's premises: please report it"
    )


def _named(name: str, k: int) -> str:
    return name if k == 1 else f"{name}@{k}"


def _releases(k: int) -> str:
    return "one release" if k == 1 else f"{k} releases of one input"


def _count(bits: float) -> str:
    return f"{2**bits:.3g}" if bits < 1000 else f"2^{bits:.0f}"
