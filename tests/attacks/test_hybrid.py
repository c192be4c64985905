"""Decoder and descent together: one decoder for both attacks, and images no worse than it gave."""

from __future__ import annotations

import pytest
import torch
from small import GREY, look, scene, shallow

from unsmash import decoding
from unsmash.attacks.decoder import Decoder
from unsmash.attacks.hybrid import Hybrid
from unsmash.defences.gaussian import GaussianShield
from unsmash.errors import ThreatError
from unsmash.inversion import Target
from unsmash.lab import Lab
from unsmash.split import Shield
from unsmash.threat import Grant, Threat
from unsmash.view import Memory, View, observe

WHITE = (Grant.QUERIES, Grant.SHADOW, Grant.WEIGHTS)
SMALL, HYBRID = Decoder(size="small", epochs=3), Hybrid(size="small", epochs=3)


def seen(shield: Shield | None = None, shape: tuple[int, int, int] = GREY) -> View:
    return look(shallow("flat", shape, shield), scene(shape, shadow=300), WHITE)


@pytest.mark.parametrize("shield", [None, GaussianShield(0.3)], ids=["plain", "noisy"])
def test_it_fits_the_release_no_worse_than_the_decoder_does_and_is_nearer_to_the_truth(shield: Shield | None) -> None:
    view, truth = seen(shield), scene(GREY).victims
    start, end = (attack.run(view, Lab()).clamp(0, 1) for attack in (SMALL, HYBRID))
    target, rows = Target(view.device, view.shield, view.repeats, Lab()), torch.arange(view.victims)
    with torch.no_grad():
        before, after, level = target.misfit(start, rows), target.misfit(end, rows), target.level(end)
    assert (after <= torch.maximum(before, level) + 1e-3).all()
    assert (end - truth).square().mean() < (start - truth).square().mean()


@pytest.mark.parametrize("shield", [None, GaussianShield(0.3)], ids=["plain", "noisy"])
def test_it_is_the_same_to_the_bit_whether_or_not_the_decoder_ran_before(shield: Shield | None) -> None:
    alone = HYBRID.run(seen(shield), Lab().at("attack/hybrid"))
    view = seen(shield)
    first = SMALL.run(view, Lab().at("attack/decoder"))
    assert torch.equal(HYBRID.run(view, Lab().at("attack/hybrid")), alone)
    assert torch.equal(SMALL.run(view, Lab().at("attack/decoder")), first)
    assert torch.equal(SMALL.run(seen(shield), Lab().at("attack/decoder")), first)


def test_the_decoder_is_trained_once_for_all_threats_that_see_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[View] = []
    work = decoding._train_decoder

    def counted(view: View, lab: Lab, plan: decoding.DecoderPlan) -> decoding.TrainedDecoder:
        trained.append(view)
        return work(view, lab, plan)

    monkeypatch.setattr(decoding, "_train_decoder", counted)
    model, at, memory = shallow("flat", GREY, GaussianShield(0.3)), scene(GREY), Memory()

    def sees(queries: int, *grants: Grant) -> View:
        return observe(model, at, Threat(name="it", grants=grants, queries=queries), Lab(seed=1), memory=memory)

    SMALL.run(sees(1, Grant.QUERIES, Grant.SHADOW), Lab().at("attack/decoder"))
    HYBRID.run(sees(1, *WHITE), Lab().at("attack/hybrid"))
    assert len(trained) == 1
    HYBRID.run(sees(4, *WHITE), Lab().at("attack/hybrid@repeat"))  # it learns from four releases of an image
    assert len(trained) == 2
    HYBRID.model_copy(update={"epochs": 1}).run(sees(4, *WHITE), Lab().at("attack/hybrid"))
    HYBRID.run(sees(4, *WHITE), Lab(seed=7).at("attack/hybrid"))
    assert len(trained) == 4


def test_a_threat_gets_nothing_from_the_memory_that_it_was_not_granted() -> None:
    model, at, memory = shallow("flat", GREY), scene(GREY), Memory()
    observe(model, at, Threat(grants=WHITE), Lab(), memory=memory).memo(decoding.NEEDS, "key", lambda: "learned")
    for grant in decoding.NEEDS:
        poorer = observe(model, at, Threat(grants=(grant, Grant.WEIGHTS)), Lab(), memory=memory)
        (missing,) = decoding.NEEDS - {grant}
        with pytest.raises(ThreatError, match=str(missing)):
            poorer.memo(decoding.NEEDS, "key", lambda: "learned")


def test_held_out_images_are_none_that_the_decoder_was_trained_on() -> None:
    view = seen()
    decoder = decoding.trained_decoder(view, Lab(), decoding.DecoderPlan(size="small", epochs=1, copies=0))
    places = [(view.shadow == one).flatten(1).all(1).nonzero()[0, 0].item() for one in decoder.held]
    assert len(set(places)) == len(decoder.held) == 25
    assert torch.equal(decoder.held_release[0], view.query(decoder.held)[0])
