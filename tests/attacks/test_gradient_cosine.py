"""Labels from directions: exact on gradients whose law is known, and on the real training of a small network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import CLASSES, GREY, look, practice, scene, shallow
from torch import Tensor

from unsmash.attacks.gradient_cosine import GradientCosine
from unsmash.attacks.gradient_norm import GradientNorm
from unsmash.defences.gradient_noise import GradientNoiseShield
from unsmash.errors import ThreatError, UnsmashError
from unsmash.inference_scoring import score_labels
from unsmash.lab import Lab
from unsmash.split import Shield, Smashed
from unsmash.threat import Grant
from unsmash.view import View

READER = (Grant.GRADIENTS, Grant.HINTS)


def view_of(shield: Shield | None = None, grants: Any = READER) -> View:
    return look(shallow("flat", GREY, shield), scene(GREY), grants)


def truth() -> Tensor:
    return practice(GREY)[1]


@pytest.mark.parametrize("anchors", [0, 1, 3])
def test_a_linear_server_half_gives_its_labels_away(anchors: int) -> None:
    found = score_labels(GradientCosine(anchors=anchors).infer(view_of(), Lab()), truth(), tuple("0123456789"))
    assert found.scores["inferred"].low > 0.8
    assert found.scores["inferred"].n == len(truth()) - anchors * CLASSES
    assert len(found.course["pass"]) == 2


def test_what_the_anchors_tell_is_not_counted_as_found() -> None:
    guess = GradientCosine(anchors=2).infer(view_of(), Lab())
    assert torch.equal(truth()[guess.known].bincount(), torch.full((CLASSES,), 2))


def test_lines_see_through_noise_that_only_turns_gradients_round() -> None:
    view = view_of(GradientNoiseShield("max_norm", 1.0))
    shares = [
        score_labels(GradientCosine(axes=axes, rounds=1).infer(view, Lab()), truth(), tuple("0123456789"))
        .scores["inferred"]
        .mean
        for axes in (None, True, False)
    ]
    assert shares[0] == shares[1]
    assert shares[1] > shares[2]


def test_the_longer_gradients_are_the_rare_classes() -> None:
    """Against every class whose share of these images is as it is: none is rare, so the attack says so."""
    found = score_labels(GradientNorm().infer(view_of(), Lab()), truth(), tuple("0123456789"))
    assert not found.scores
    assert "No class is rare" in found.notes[0]


class Eavesdrops:
    """Writes into whatever it is shown."""

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> None:
        for part in (rows, *release, *gradient):
            part.zero_()


class Sees:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []

    def returned(self, *shown: Any) -> None:
        rows, _, gradient = shown
        assert len(rows) == len(gradient[0])
        self.gradients.append(gradient[0])


def test_who_reads_along_changes_nothing_and_is_shown_no_label() -> None:
    view, one, other = view_of(), Sees(), Sees()
    view.look_on(one)
    view.look_on(Eavesdrops())
    view.look_on(other)
    assert all(map(torch.equal, one.gradients, other.gradients))
    assert not hasattr(one, "labels")


def test_hints_are_a_grant_of_their_own() -> None:
    with pytest.raises(ThreatError, match="hints"):
        GradientCosine().infer(view_of(grants=(Grant.GRADIENTS,)), Lab())
    assert Grant.HINTS not in GradientCosine(anchors=0).required()


def test_a_model_taken_as_it_is_has_no_gradients_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of()
    monkeypatch.setattr(View, "look_on", lambda self, reader, steps=None: None)
    with pytest.raises(UnsmashError, match=r"train\.epochs"):
        GradientCosine().infer(view, Lab())
