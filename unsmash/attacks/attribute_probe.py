"""Attributes from what was sent: a classifier learned on the adversary's own releases, for each question.

Song and Shmatikov, "Overlearning Reveals Sensitive Attributes", ICLR 2020: what a network computes tells more of its
input than the task asked for. The adversary knows the answers for images of its own, asks the device half what it
sends of them, learns, and reads the victims' releases.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from unsmash.attacks.base import AttributeAttack, Probe
from unsmash.errors import ConfigError
from unsmash.features import Features
from unsmash.lab import Lab
from unsmash.principal import Principal
from unsmash.threat import Grant
from unsmash.view import View

PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Inverse penalties of the logistic regression that are tried"""

ROWS = 8000
"""Most rows that fresh draws are added up to"""

UNSEEN = -30.0
"""Log-probability of an answer that none of its images has"""

FEWEST = 10
"""Images with a known answer below which nothing is learned"""


class AttributeProbe(AttributeAttack):
    """Learns each attribute of the adversary's own images from their releases, then reads the victims' releases."""

    kind: Literal["attribute_probe"] = "attribute_probe"
    attributes: tuple[str, ...] = ()
    """Which to infer, by name; empty: all that the data tells"""
    images: int = Field(4000, ge=FEWEST, le=100_000)
    """Most of the adversary's images it learns from"""
    components: int = Field(200, ge=1, le=10_000)
    """Principal components of the release that it is given"""
    hidden: int = Field(128, ge=0, le=10_000)
    """Width of a hidden layer that is tried beside the linear classifier; 0 leaves it out. What does best on a held-out
    fifth of the adversary's images is taken"""
    draws: int = Field(4, ge=1, le=256)
    """Most fresh releases of each image it learns from, where the defence draws noise"""

    needs: ClassVar[frozenset[Grant]] = frozenset({Grant.QUERIES, Grant.SHADOW})
    title: ClassVar[str] = "Attribute probe"
    tiny: ClassVar[dict[str, object]] = {"components": 20, "hidden": 0}

    def probe(self, view: View, lab: Lab) -> Mapping[str, Tensor]:
        """Log-probabilities [n, answers] by attribute."""
        wanted = [one for one in view.attributes if not self.attributes or one.name in self.attributes]
        missing = set(self.attributes) - {one.name for one in view.attributes}
        if missing:
            allowed = [one.name for one in view.attributes]
            raise ConfigError("attacks.attribute_probe.attributes", got=sorted(missing)[0], allowed=allowed)
        index = torch.randperm(len(view.shadow), generator=lab.generator("rows"))[: self.images]
        oracle = view.oracle(view.shadow)
        draws = max(1, min(self.draws, ROWS // len(index))) if view.stochastic else 1
        with lab.seeded("queries"):
            first = oracle.ask(index)
            features = Features.of(first)
            rows = torch.stack([features(first), *(features(oracle.ask(index)) for _ in range(draws - 1))], 1)
        release = features(view.release)
        found = {}
        for one in wanted:
            known = one.shadow[index]
            told = known >= 0
            if told.sum() >= FEWEST and len(known[told].unique()) > 1:
                answers = known[told].repeat_interleave(draws)
                found[one.name] = self.learn(rows[told].flatten(0, 1), answers, len(one.answers), lab)(release)
        return found

    def learn(self, rows: Tensor, known: Tensor, answers: int, lab: Lab) -> Probe:
        """The classifier that does best on the last fifth of the rows, learned again from all of them.

        All draws of an image stand together, so hardly an image is on both sides.
        """
        held = max(1, len(rows) // 5)
        x, y = rows.double().numpy(), known.numpy()
        state = lab.stream("probe") % 2**32
        tried: list[tuple[float, int]] = [(c, 0) for c in PENALTIES] + ([(0.0, self.hidden)] if self.hidden else [])
        best = tried[0]
        if len(set(y[:-held].tolist())) > 1:
            first = Principal(self.components).fit(x[:-held])
            fitted, left = first.transform(x[:-held]), first.transform(x[-held:])
            best = max(tried, key=lambda one: _fit(fitted, y[:-held], one[0], one[1], state).score(left, y[-held:]))
        principal = Principal(self.components).fit(x)
        model = _fit(principal.transform(x), y, best[0], best[1], state)
        there = torch.from_numpy(model.classes_).long()

        def answer(release: Tensor) -> Tensor:
            out = torch.full((len(release), answers), UNSEEN, dtype=torch.float64)
            found = model.predict_log_proba(principal.transform(release.double().numpy()))
            out[:, there] = torch.from_numpy(found).clamp(min=UNSEEN)
            return out

        return answer


def _fit(x: np.ndarray, y: np.ndarray, penalty: float, hidden: int, state: int) -> Any:
    """A classifier of scikit-learn's: logistic regression, or a network of one hidden layer."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    model = (
        MLPClassifier((hidden,), alpha=1.0, max_iter=60, random_state=state)
        if hidden
        else LogisticRegression(C=penalty, max_iter=1000)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # held-out images judge what was reached
        return model.fit(x, y)
