"""What attackers of the Omniglot study get from 32 numbers, on the leaked and on the clean test images apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unsmash import scoring
from unsmash.attacks.base import Attack
from unsmash.curves import Listener
from unsmash.events import Fan
from unsmash.lab import Lab
from unsmash.metrics.identification import identify
from unsmash.metrics.images import mse, ssim
from unsmash.principal import Principal
from unsmash.records import Score
from unsmash.reproductions.omniglot_images import PARTS, Letters, Tests
from unsmash.reproductions.workbench import Made, Workbench
from unsmash.split import Smashed, SplitModel
from unsmash.threat import Threat
from unsmash.view import Scene, make_scene, observe

CODE = 32
"""Numbers of the cut, and principal components to hold against it"""

CHUNK = 256
"""Images scored at a time: bounds the memory"""

SEVERAL = 500
"""Test images on which it is looked whether a guess is the same for all"""

OUTPUTS = 50
"""Of the server half; no attack here looks at its labels"""

Shares = dict[str, dict[str, list[float]]]
"""Of each part of the test images: `mse`, `ssim` and `identified` (per cent), each [mean, low, high, n]"""


def sent(bench: Workbench, who: str, settings: Mapping[str, Any], model: SplitModel, letters: Letters) -> Tensor:
    """The codes of the attacker's images and, behind them, of the test images."""

    @torch.no_grad()
    def make(lab: Lab) -> Made:
        images = torch.cat([letters.shadow, letters.tests.images])
        model.to(lab.device).eval()
        parts = [model.smash(part.to(lab.device))[0].cpu() for part in lab.track(images.split(CHUNK), "codes")]
        return Made({}, {"codes": torch.cat(parts)})

    return bench.once(f"codes of {who}", {**settings, **letters.plain()}, make).arrays["codes"]


def attacked(
    bench: Workbench, who: str, settings: Mapping[str, Any], model: SplitModel, letters: Letters, attack: Attack
) -> Made:
    """One attack on one target: its scores, its training error by pass, and the guesses that sheets show."""

    def make(lab: Lab) -> Made:
        view = observe(model, _scene(letters, lab), Threat(), lab, known=_known(letters, codes))
        heard = Listener(attack.kind)
        # the same streams for every target: a decoder starts alike on all, so that their figures can be compared
        hearing = replace(lab, sink=Fan((lab.sink, heard)), path=f"omniglot/attack/{attack.kind}")
        with hearing.seeded("attack"):
            guess = attack.run(view, hearing).float().clamp(0, 1)
        errors = [row.train for curve in heard.curves for row in curve.rows if row.number > 0]
        return _made(guess, letters, {"errors": errors})

    codes = sent(bench, who, settings, model, letters)
    depends = {**settings, **letters.plain(), "attack": attack.model_dump(mode="json"), "revision": attack.revision}
    return bench.once(f"{attack.kind} on {who}", depends, make)


def floor(bench: Workbench, name: str, letters: Letters) -> Made:
    """What one of `FLOORS` is worth, with its error on the attacker's own images, where it was fitted, as `small1`."""

    def make(lab: Lab) -> Made:
        shadow, truth = letters.shadow, letters.tests.images
        both = FLOORS[name](shadow, torch.cat([shadow, truth]))
        own = _squares(shadow, both[: len(shadow)])
        return _made(both[len(shadow) :], letters, {"small1": _triple(scoring.mean_score("mse", "", "down", own))})

    return bench.once(f"{name} as a guess", letters.plain(), make)


def _principal(shadow: Tensor, images: Tensor) -> Tensor:
    """Images drawn from 32 principal components of the attacker's: a code made for pictures. It sees the images."""
    rows = images.flatten(1).numpy()
    found = Principal(CODE).fit(shadow.flatten(1).numpy())
    # its basis is scaled as a whole, which is undone on the way back
    back = found.basis.T / max(float(np.square(found.basis[:, 0]).sum()), 1e-300)
    drawn = found.centre + np.concatenate([found.transform(part) @ back for part in np.array_split(rows, 8)])
    return torch.from_numpy(drawn).to(images).reshape(images.shape).clamp(0, 1)


FLOORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "blank page": lambda shadow, images: torch.ones_like(images),
    "best constant": lambda shadow, images: shadow.mean().expand(images.shape),
    "mean image": lambda shadow, images: shadow.mean(0, keepdim=True).expand(images.shape),
    "32 principal components": _principal,
}
"""(attacker's images, images to guess) → guesses; all but the last look at nothing"""


def shown(bench: Workbench, letters: Letters) -> Made:
    """The test images of the sheets with what stands under them, and how many candidates a guess has."""

    def make(lab: Lab) -> Made:
        tests, rows = letters.tests, {"first": letters.first(), "pairs": letters.pairs()}
        under = {name: [_under(tests, int(place)) for place in places] for name, places in rows.items()}
        counts = {name: len(tests.part(name)) for name in PARTS}
        return Made(
            {"under": under, "candidates": _candidates(letters), "counts": counts},
            {name: tests.images[places].contiguous() for name, places in rows.items()},
        )

    return bench.once("test images", letters.plain(), make)


def _under(tests: Tests, place: int) -> str:
    return tests.alphabets[place] + (", leaked" if tests.leaked[place] else "")


def _made(guess: Tensor, letters: Letters, extra: Mapping[str, Any]) -> Made:
    """Scores of guesses at all test images, part by part, and the guesses that sheets show."""
    tests = letters.tests
    figures = {"parts": _scores(guess, letters), "collapsed": _collapsed(guess, letters), **extra}
    rows = {"first": letters.first(), "pairs": letters.pairs()}
    assert len(guess) == len(tests.images)
    return Made(figures, {name: guess[places].contiguous() for name, places in rows.items()})


def _scores(guess: Tensor, letters: Letters) -> Shares:
    tests, count = letters.tests, _candidates(letters)
    squares, likeness = _squares(tests.images, guess), _by_chunks(ssim, tests.images, guess)
    told: Shares = {}
    for name in PARTS:
        places = tests.part(name)
        few = places[:count]
        hits = identify(guess[few], tests.images[few]).hits
        told[name] = {
            "mse": _triple(scoring.mean_score("mse", "", "down", squares[places])),
            "ssim": _triple(scoring.mean_score("ssim", "", "up", likeness[places])),
            "identified": _triple(scoring.share_score("identification", hits), 100),
        }
    return told


def _candidates(letters: Letters) -> int:
    """As many for each part, for a rate hangs on how many there are."""
    leaked = letters.tests.leaked
    return min(letters.sizes.candidates, int(leaked.sum()), int((~leaked).sum()))


def _collapsed(guess: Tensor, letters: Letters) -> bool:
    few = letters.tests.part("all")[:SEVERAL]
    return scoring.is_collapsed(guess[few], letters.tests.images[few], letters.shadow.mean(0))


def _squares(truth: Tensor, guess: Tensor) -> Tensor:
    return _by_chunks(mse, truth, guess)


def _by_chunks(measure: Callable[[Tensor, Tensor], Tensor], truth: Tensor, guess: Tensor) -> Tensor:
    """A figure of each image, some images at a time: SSIM in double precision takes fifty times their size."""
    return torch.cat([measure(*pair) for pair in zip(truth.split(CHUNK), guess.split(CHUNK), strict=True)])


def _triple(score: Score, factor: float = 1.0) -> list[float]:
    return [factor * score.mean, factor * score.low, factor * score.high, score.n]


def _scene(letters: Letters, lab: Lab) -> Scene:
    unknown = [torch.full((len(images),), -1) for images in (letters.tests.images, letters.shadow)]
    return make_scene(letters.tests.images, unknown[0], letters.shadow, unknown[1], OUTPUTS, lab.at("scene"))


def _known(letters: Letters, codes: Tensor) -> list[tuple[Tensor, Smashed]]:
    """Images whose codes are there already: the device half need not run for each attack."""
    count = len(letters.shadow)
    return [(letters.tests.images, (codes[count:],)), (letters.shadow, (codes[:count],))]
