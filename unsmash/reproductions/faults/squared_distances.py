"""A "distance correlation" that is none: the field computes it from squared distances, with a biased sum.

Doubly centred squared distances are −2 times the centred inner products, so what comes out is the root of linear CKA:
it does not see dependence that is not linear, and on few images of many pixels it is large for anything.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unsmash.distance_correlation import exact
from unsmash.lab import Lab
from unsmash.metrics.dependence import distance_correlation_compat
from unsmash.metrics.intervals import bootstrap
from unsmash.reproductions.faults.fault import Fault, Figures, mean, measures, percent, published, table
from unsmash.reproductions.faults.ground import DIGITS, Ground, require
from unsmash.reproductions.record import Chart
from unsmash.reproductions.workbench import Made
from unsmash.split import flat

BATCH = 128
"""Images a batch of the published figures"""

PIXELS, NUMBERS = 784, 500
"""Numbers of a digit and of what is sent of it"""

SIZES = (32, 64, 128, 256, 512, 1024)
"""Rows of the chart"""

CURVE = 2000
"""Rows of the parabola"""

ROWS = {
    "parabola": "y = x², x normal",
    "noise": "independent noise",
    "others": "digits and others' code",
    "digits": "digits and their code",
}


def show(ground: Ground) -> Fault:
    """Both measures on a parabola, on independent noise, and on digits with their own and with others' smashed data."""
    made_up = ground.step("distances: a parabola and noise", ("batches",), lambda lab: _made_up(ground, lab))
    told = f" (The network is {percent(ground.noisy_accuracy)} accurate.)"
    real = ground.step("distances: digits", (*DIGITS, "passes"), lambda lab: _digits(ground, lab))
    kept: dict[str, dict[str, Figures]] = made_up.figures["rows"] | real.figures
    ours = {ROWS[name]: measures(kept[name]["ours"]) for name in ROWS}
    right = {ROWS[name]: measures(kept[name]["right"]) for name in ROWS}
    by_size: list[list[float]] = made_up.figures["by_size"]
    return Fault(
        name="squared distances",
        shown=_shown(kept),
        sentence=_sentence(kept) + told,
        brief=f'a "distance correlation" reads {_value(kept, "noise", "ours"):.2f} on independent noise',
        tables=(table("distances", ours, right, SAME, UNBIASED),),
        charts=(
            Chart(
                title="What independent noise scores, by the rows of a batch",
                about="784 and 500 normal numbers a row that have nothing to do with each other; the truth is 0.",
                x="rows of a batch",
                y="distance correlation",
                lines=tuple(
                    (name, tuple((rows[0], rows[place]) for rows in by_size))
                    for place, name in ((1, "squared distances"), (2, "bias-corrected"))
                ),
            ),
        ),
    )


SAME = (
    "As published the distances are squared, so the figure is the root of linear CKA (whose column is computed from "
    "inner products, the other from distances) and sees only what is linear."
)
UNBIASED = (
    "Put right it is the bias-corrected estimator on Euclidean distances (Székely & Rizzo 2014), averaged over batches "
    "before the root is taken; noise may make it slightly negative."
)


def _value(kept: dict[str, dict[str, Figures]], row: str, which: str) -> float:
    return kept[row][which]["dependence"][0]


def _shown(kept: dict[str, dict[str, Figures]]) -> bool:
    low, high = kept["noise"]["right"]["dependence"][1:3]
    blind = 2 * _value(kept, "parabola", "ours") < _value(kept, "parabola", "right")
    return blind and low <= 0.05 and high >= -0.05 and _value(kept, "noise", "ours") > max(0.5, high)


def _sentence(kept: dict[str, dict[str, Figures]]) -> str:
    apart = max(abs(one["ours"]["dependence"][0] - one["ours"]["cka"][0]) for one in kept.values())
    was = published("distances", ROWS["digits"], "dependence")
    told = {name: (_value(kept, name, "ours"), _value(kept, name, "right")) for name in ROWS}
    return (
        '**Squared distances.** The field\'s "distance correlation" is the root of linear CKA (largest difference here '
        f"{apart:.0e}). It gives y = x² {told['parabola'][0]:.2f} where the distance correlation is "
        f"{told['parabola'][1]:.2f}; to independent noise of 784 and 500 numbers, in batches of {BATCH}, it gives "
        f"{told['noise'][0]:.2f} where the bias-corrected estimate is {told['noise'][1]:.2f}; to digits and what is "
        f"sent of other digits {told['others'][0]:.2f} where that is {told['others'][1]:.2f}, against "
        f"{told['digits'][0]:.2f} and {told['digits'][1]:.2f} for their own (published: {was:.3f})."
    )


def squared(x: Tensor, z: Tensor) -> float:
    """The fault, as the field computes it: doubly centred squared distances of rows [n, d] and [n, e], biased sums."""
    a, b = (_centred(torch.cdist(rows.double(), rows.double()).square()) for rows in (x, z))
    n = len(x)
    covariance, spreads = (a * b).sum().clamp(min=0).sqrt() / n, [one.square().sum().sqrt() / n for one in (a, b)]
    return (covariance / (spreads[0] * spreads[1]).sqrt()).item()


def _centred(matrix: Tensor) -> Tensor:
    return matrix - matrix.mean(0, keepdim=True) - matrix.mean(1, keepdim=True) + matrix.mean()


def both(pairs: list[tuple[Tensor, Tensor]]) -> dict[str, Figures]:
    """The field's figure, the root of linear CKA, and the bias-corrected one, over batches of rows."""
    flawed = mean([squared(x, z) for x, z in pairs])
    cka = mean([distance_correlation_compat(x, z) for x, z in pairs])
    # the estimator is of the square: its mean is unbiased, the mean of roots would not be
    squares = [exact(x.double(), z.double()).item() for x, z in pairs]
    low, high = bootstrap(squares)
    right = [root(one) for one in (sum(squares) / len(squares), low, high)]
    if len(pairs) == 1:  # one figure over all rows has no interval
        return {"ours": {"dependence": flawed[:1], "cka": cka[:1]}, "right": {"dependence": right[:1]}}
    return {"ours": {"dependence": flawed, "cka": cka}, "right": {"dependence": [*right, len(pairs)]}}


def root(squared_estimate: float) -> float:
    """The root with the sign kept."""
    return math.copysign(math.sqrt(abs(squared_estimate)), squared_estimate)


def _made_up(ground: Ground, lab: Lab) -> Made:
    x = torch.randn(CURVE, 1, generator=lab.generator("parabola"), dtype=torch.float64)
    draw = lab.generator("noise")
    count = ground.sizes.batches
    by_size = []
    for rows in lab.track(SIZES, "batch sizes"):
        few = both([_noise(rows, draw) for _ in range(max(2, min(count, 4096 // rows)))])
        by_size.append([rows, few["ours"]["dependence"][0], few["right"]["dependence"][0]])
    noise = both([_noise(BATCH, draw) for _ in range(count)])
    return Made({"rows": {"parabola": both([(x, x.square())]), "noise": noise}, "by_size": by_size})


def _noise(rows: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, PIXELS, generator=draw), torch.randn(rows, NUMBERS, generator=draw)


@torch.no_grad()
def _digits(ground: Ground, lab: Lab) -> Made:
    """Held-out digits with the activations of the network that was trained with noise, before the noise."""
    images, model = ground.digits.splits.val.pixels, ground.noisy()
    rows = torch.randperm(len(images), generator=lab.generator("order"))
    size = min(BATCH, len(rows) // 2)
    parts = [part for part in rows.split(size) if len(part) == size]
    require(len(parts) > 1, "two batches of held-out digits")
    sent = [flat(model.smash(images[part].to(lab.device))).cpu() for part in lab.track(parts, "digits")]
    digits = [images[part].flatten(1) for part in parts]
    strangers = [*sent[1:], sent[0]]
    return Made(
        {
            "digits": both(list(zip(digits, sent, strict=True))),
            "others": both(list(zip(digits, strangers, strict=True))),
        }
    )
