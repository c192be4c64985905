"""Frontiers that could have been measured: what the tests of the page and its chart are fed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sample

from unsmash.frontier import Entry, frontier
from unsmash.frontier_record import About, Frontier
from unsmash.records import Bound, Card, Failure, Result, Run, Utility

N = sample.N
HELD = 1000
"""Images that accuracy is measured on"""

ROWS: tuple[tuple[str, list[dict[str, Any]], float, int, int, int, int, dict[str, Any]], ...] = (
    # name, defences, accuracy in %, identified, with the list, from sixteen messages, bytes, more
    ("no defence", [], 96.0, 488, 500, 0, 2000, {}),
    ("NoPeek 0.1", [{"kind": "nopeek", "weight": 0.1}], 95.9, 493, 500, 0, 2000, {}),
    ("NoPeek 0.5", [{"kind": "nopeek", "weight": 0.5}], 96.0, 483, 500, 0, 2000, {}),
    ("NoPeek 5", [{"kind": "nopeek", "weight": 5.0}], 93.8, 440, 500, 0, 2000, {}),
    ("Laplace 0.5", [{"kind": "laplace", "scale": 0.5}], 95.7, 372, 499, 496, 2000, {}),
    ("Laplace 1.0", [{"kind": "laplace", "scale": 1.0}], 95.4, 181, 496, 468, 2000, {}),
    ("Laplace 1.0, inference", [{"kind": "laplace", "scale": 1.0, "when": "inference"}], 95.3, 197, 492, 470, 2000, {}),
    ("Laplace 2.0, inference", [{"kind": "laplace", "scale": 2.0, "when": "inference"}], 92.1, 61, 420, 430, 2000, {}),
    ("Laplace 4.0, inference", [{"kind": "laplace", "scale": 4.0, "when": "inference"}], 78.0, 19, 190, 300, 2000, {}),
    ("adversarial 5", [{"kind": "adversarial", "weight": 5.0}], 95.2, 395, 500, 0, 2000, {}),
    ("DP-SGD, noise 1.0", [{"kind": "dpsgd", "noise": 1.0}], 67.2, 500, 500, 0, 2000, {}),
    ("bottleneck 16 + CEM + Gaussian 0.25",
     [{"kind": "bottleneck", "numbers": 16}, {"kind": "cem", "weight": 0.1}, {"kind": "gaussian", "sigma": 0.25}],
     95.6, 11, 132, 23, 64, {}),
    ("simplex, C/σ 5", [{"kind": "simplex", "radius_over_sigma": 5.0}], 98.0, 10, 14, 18, 40,
     {"bare": 97.9, "ceiling": 0.25}),
    ("label", [{"kind": "codebook", "symbols": "label"}], 98.1, 9, 10, 0, 1, {"bare": 97.9, "ceiling": 0.02}),
    ("label and 5 levels", [{"kind": "codebook", "symbols": "levels"}], 98.0, 11, 43, 0, 1,
     {"bare": 97.9, "ceiling": 0.10}),
)  # fmt: skip


def runs(
    number: int,
    defences: Sequence[dict[str, Any]],
    accuracy: float,
    decoder: int,
    gallery: int,
    repeat: int,
    sent: int,
    *,
    seeds: Sequence[int] = (0,),
    bare: float = 96.0,
    ceiling: float | None = None,
    card: Card = sample.GOOD,
) -> tuple[Run, ...]:
    """The runs of one variant, one a seed; each seed differs a little from the one before."""
    made = []
    for seed in seeds:
        shift = seed - seeds[len(seeds) // 2]
        found: list[Result] = [
            replace(entry, card=card) if entry.role == "attack" else entry
            for entry in sample.results(
                _near(decoder, 4 * shift), _near(repeat or decoder, shift), _near(gallery, shift)
            )
            if repeat or entry.threat != "repeat"
        ]
        many = (replace(sample.REPEAT, asked=False),) if repeat else ()
        names = tuple(one["kind"] for one in defences)
        base = sample.run(found)
        assert base.split is not None
        right = round(accuracy * HELD / 100) + 3 * shift
        bounds = () if ceiling is None else (
            Bound("ceiling_messages", "No more than this identified", ceiling, "share", "any attacker"),
            Bound("ceiling_gaussian", "No more than this identified", ceiling * 2, "share", "any attacker"),
            Bound("converse", "No release this useful identifies less", 0.01, "share", "any defence"),
        )  # fmt: skip
        undefended = sample.score(round(bare * HELD / 100), HELD, metric="accuracy") if defences else None
        made.append(
            replace(
                base,
                id=f"{number:05x}{seed:02x}00bad",
                experiment={"data": {"kind": "mnist5k"}, "defences": list(defences), "seed": seed},
                seed=seed,
                split=replace(base.split, at="code", bytes_sent=sent, device_macs=9_800_000 + 5000 * len(defences),
                              whole_macs=9_870_000, stochastic=bool(repeat), defences=names),
                utility=Utility(sample.score(right, HELD, metric="accuracy"), 0.112, 5, undefended),
                threats=(sample.QUERY, *many, sample.GALLERY),
                bounds=bounds,
            )
        )  # fmt: skip
    return tuple(made)


def entries(rows: Sequence[Any] = ROWS, seeds: Sequence[int] = (0,)) -> list[Entry]:
    """Variants as they come back from a sweep."""
    out = []
    for number, (name, defences, accuracy, decoder, gallery, repeat, sent, more) in enumerate(rows):
        made = runs(number, defences, accuracy, decoder, gallery, repeat, sent, seeds=seeds, **more)
        out.append(Entry(name, made[0].experiment, made, f"../../{made[0].id}/report.html"))
    return out


def failing(name: str = "DP-SGD, noise 9", message: str = "loss is NaN at step 210; try a lower rate") -> Entry:
    """A variant that did not finish."""
    plain = {"data": {"kind": "mnist5k"}, "defences": [{"kind": "dpsgd", "noise": 9.0}], "seed": 0}
    return Entry(name, plain, failure=Failure("TrainingError", message, "victim"), seconds=12.0)


def about(kinds: Sequence[str]) -> tuple[About, ...]:
    """What a caller would tell of each kind."""
    protects = "Hides everything but the symbol, from any attacker. It does not hide the symbol itself."
    return tuple(
        About(kind, f"What {kind} does.", protects, "at most M messages", "free", "Warner 1965") for kind in kinds
    )


def study(found: Sequence[Entry], **changes: Any) -> Frontier:
    """The frontier of those variants under the usual budget."""
    kinds = dict.fromkeys(one["kind"] for entry in found for one in entry.experiment["defences"])
    settled: dict[str, Any] = {
        "id": "5eed0f00d123", "name": "fifteen settings", "budget": "identification>0.05 or accuracy<0.9",
        "seeds": (0,), "defences": about(list(kinds)), "command": "unsmash sweep examples/frontier.yaml",
    }  # fmt: skip
    return frontier(found, **(settled | changes))


def fifteen() -> Frontier:
    """A sweep as science would have it, with one failure and one setting whose attacks proved nothing."""
    found = entries()
    weak = Card(strong=False, evidence=("Identifies 3 % on the undefended cut.",))
    rows = runs(99, [{"kind": "shredder"}], 94.0, 6, 80, 0, 2000, card=weak)
    return study([*found, failing(), Entry("shredder", rows[0].experiment, rows)])


def seeds() -> Frontier:
    """The same over three seeds."""
    return study(entries(seeds=(0, 1, 2)), seeds=(0, 1, 2))


def two() -> Frontier:
    """No defence, and one."""
    return study(entries([ROWS[0], ROWS[5]]), budget="identification>0.05", name="")


def twenty() -> Frontier:
    """Many strengths of the same noise."""
    scales = [0.05 * 1.3**step for step in range(18)]
    rows: list[Any] = [(f"laplace {scale:.3g}, inference", [{"kind": "laplace", "scale": scale, "when": "inference"}],
             96 - 0.35 * scale**2, round(488 / (1 + scale**2)), round(500 / (1 + 0.05 * scale**3)), 499, 2000, {})
            for scale in scales]  # fmt: skip
    return study(entries([ROWS[0], *rows, ROWS[13]]))


def all_failing() -> Frontier:
    """Nothing finished."""
    return study([failing("one", "out of memory"), failing("two")])


def all_leaking() -> Frontier:
    """Every setting leaks, and the label is not measured."""
    found = entries(ROWS[:7])
    return study(found)


def _near(count: int, shift: int) -> int:
    return min(N, max(1, count + shift))
