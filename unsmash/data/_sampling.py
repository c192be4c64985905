"""Which images go into which set: how many, and which, the same on every machine and for every seed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unsmash.errors import DataError
from unsmash.lab import Lab

SHARES = {"train": 0.35, "shadow": 0.35, "validator": 0.10, "val": 0.10, "victims": 0.10}
"""What each set gets of a pool where no count is given"""

VICTIMS = (20, 500)
"""Fewest and most victims where no count is given: fewer tell little, more cost time"""

ORDER = ("victims", "val", "train", "validator", "shadow")
"""Victims are drawn first, so that no other set's size changes them"""

BALANCED = frozenset({"victims", "val"})
"""Sets with as many of each class as there are; the others follow the pool's own mixture"""


def sizes(wants: Mapping[str, int | None], labels: Tensor, *, where: str) -> dict[str, int]:
    """How many images each set gets from a pool with these labels; None shares what the counted sets leave.

    Raises:
        DataError: more are wanted than there are, with counts that fit.
    """
    usable = len(labels) if set(wants) == {"shadow"} else _usable(labels)
    left = usable - sum(count for count in wants.values() if count is not None)
    shares = {name: SHARES[name] for name, count in wants.items() if count is None}
    result = {name: count or 0 for name, count in wants.items()}
    if "victims" in shares:
        tenth = int(left * shares["victims"] / sum(shares.values()))
        result["victims"] = min(max(tenth, VICTIMS[0]), VICTIMS[1])
        left -= result["victims"]
        del shares["victims"]
    for name, share in shares.items():
        result[name] = max(1, int(left * share / sum(shares.values())))
    labelled = sum(count for name, count in result.items() if name != "shadow")
    if labelled > usable or sum(result.values()) > len(labels):
        raise _too_few(result, usable, len(labels), where)
    return result


def draw(counts: Mapping[str, int], labels: Tensor) -> dict[str, Tensor]:
    """Places of each set's images in the pool: disjoint, and a larger set never changes the ones drawn before it.

    Where some images have a label, only shadow takes images that have none, and takes them last.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    labelled = labels >= 0
    chosen = {}
    for name in ORDER:
        if name in counts:
            open_to_it = free & labelled if labelled.any() and name != "shadow" else free
            places = open_to_it.nonzero().flatten()
            places = places[_order(labels[places], name)][: counts[name]]
            free[places] = False
            chosen[name] = places
    return chosen


def stand_ins(chosen: Mapping[str, Tensor], labels: Tensor, *, where: str) -> dict[str, Tensor]:
    """The drawn sets with as many others in the place of victims and val: images of no set first, then of shadow.

    Raises:
        DataError: shadow would keep less than a quarter of its images.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    free[torch.cat(list(chosen.values()))] = False
    shadow = chosen.get("shadow", torch.empty(0, dtype=torch.int64))
    known = labels >= 0 if (labels >= 0).any() else torch.ones_like(free)
    sets = dict(chosen)
    for name in ("victims", "val"):
        if name not in chosen:
            continue
        wanted, open_to_it = len(chosen[name]), (free & known).nonzero().flatten()
        places = open_to_it[_order(labels[open_to_it], name)][:wanted]
        own = shadow[known[shadow]]
        lent = own[_order(labels[own], name)][: wanted - len(places)]
        shadow = shadow[~torch.isin(shadow, lent)]
        sets[name] = torch.cat([places, lent])
        free[places] = False
        if len(sets[name]) < wanted or ("shadow" in chosen and 4 * len(shadow) < len(chosen["shadow"])):
            raise DataError(
                f"{where}: spare=true needs others in the place of {wanted:,} {name}, and shadow's "
                f"{len(chosen.get('shadow', shadow)):,} images do not reach; set fewer victims and val, or more shadow."
            )
    return sets | ({"shadow": shadow} if "shadow" in chosen else {})


def _usable(labels: Tensor) -> int:
    """Images that every set may take: the labelled ones, or all where no label is known."""
    return int((labels >= 0).sum()) or len(labels)


def _order(labels: Tensor, name: str) -> Tensor:
    """The order in which a set takes images: any beginning of it has the mixture of classes that the set wants."""
    shuffled = torch.randperm(len(labels), generator=Lab(seed=0, path="data").generator(name))
    shuffled_labels = labels[shuffled]
    rank = torch.zeros(len(labels), dtype=torch.float64)
    for label in shuffled_labels.unique():
        members = (shuffled_labels == label).nonzero().flatten()
        place = torch.arange(len(members), dtype=torch.float64)
        if label < 0:
            rank[members] = len(labels) * 2.0
        elif name in BALANCED:
            # Beyond a third of a class the others' turn comes first, so that no held-out set empties a rare class.
            rank[members] = place + len(labels) * (place >= -(-len(members) // 3))
        else:
            rank[members] = place / len(members)
    return shuffled[torch.argsort(rank, stable=True)]


def _too_few(wanted: Mapping[str, int], usable: int, there: int, where: str) -> DataError:
    fit = min(1.0, usable / max(1, sum(wanted.values())))
    fewer = {name: max(2 if name == "victims" else 1, int(count * fit)) for name, count in wanted.items()}
    known = (
        f"{usable:,} images with a label among {there:,}" if usable < there else f"{there:,} image{'s' * (there != 1)}"
    )
    asked = ", ".join(f"{name} {count:,}" for name, count in wanted.items())
    advice = f"set for example {' '.join(f'{name}={count}' for name, count in fewer.items())}"
    if sum(fewer.values()) > there:
        advice = f"at least {len(wanted) + 1} are needed"
    return DataError(f"{where}: {known}, but the sets want {sum(wanted.values()):,} ({asked}); {advice}.")
