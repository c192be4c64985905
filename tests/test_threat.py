"""What an adversary may see, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError
from scipy import stats
from small import GREY, look, scene, shallow
from torch import Tensor, nn

from unsmash import scoring
from unsmash.attacks.gallery import Gallery
from unsmash.defences.gaussian import GaussianShield
from unsmash.defences.laplace import LaplaceShield
from unsmash.errors import ThreatError, TrainingError
from unsmash.lab import Lab
from unsmash.split import Shield, Smashed, flat
from unsmash.threat import Grant, Threat, standing
from unsmash.view import View, granted, make_scene, observe

AT = scene(GREY)


class Silent:
    """A server that returns nothing to learn from."""

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        return tuple(torch.zeros_like(part) for part in release), 0.0


class Deaf:
    """A reader of gradients that keeps none."""

    def returned(self, rows: Tensor, release: Smashed, gradient: Smashed) -> None:
        pass


def looked_on(view: View) -> bool:
    view.look_on(Deaf(), 1)
    return True


PARTS: dict[str, tuple[Grant, Callable[[View], Any]]] = {
    "query": (Grant.QUERIES, lambda view: view.query(AT.shadow)),
    "oracle": (Grant.QUERIES, lambda view: view.oracle(AT.shadow)),
    "device": (Grant.WEIGHTS, lambda view: view.device),
    "memo": (Grant.QUERIES, lambda view: view.memo(frozenset({Grant.QUERIES}), "key", lambda: "learned")),
    "smash": (Grant.WEIGHTS, lambda view: view.smash(AT.shadow)),
    "shadow": (Grant.SHADOW, lambda view: view.shadow),
    "shadow_labels": (Grant.SHADOW, lambda view: view.shadow_labels),
    "labels": (Grant.LABELS, lambda view: view.labels),
    "candidates": (Grant.CANDIDATES, lambda view: view.candidates),
    "attributes": (Grant.SHADOW, lambda view: view.attributes),
    "hints": (Grant.HINTS, lambda view: view.hints(1)),
    "serve": (Grant.SERVER, lambda view: view.serve(view.release)),
    "blank": (Grant.ARCHITECTURE, lambda view: view.blank(Lab())),
    "take_part": (Grant.TRAINING, lambda view: view.take_part(Silent(), 1)),
    "look_on": (Grant.GRADIENTS, looked_on),
}


def view_of(*grants: Grant, shield: Shield | None = None, queries: int = 1) -> View:
    return look(shallow("flat", GREY, shield), AT, grants, queries)


def test_every_part_of_a_view_is_either_open_or_guarded() -> None:
    """A new public part must be listed here with its grant, or be known to all."""
    known = {"threat", "repeats", "input_shape", "classes", "shield", "release", "victims", "stochastic"}
    assert {name for name in dir(View) if not name.startswith("_")} | known == known | set(PARTS) | {"answers"}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_opens_with_its_grant_alone(part: str) -> None:
    grant, take = PARTS[part]
    assert take(view_of(grant)) is not None


@pytest.mark.parametrize("part", PARTS)
def test_a_part_stays_shut_without_its_grant(part: str) -> None:
    grant, take = PARTS[part]
    others = [other for other in Grant if other is not grant]
    with pytest.raises(ThreatError, match=f"the attack asked for {grant}"):
        take(view_of(*others))
    with pytest.raises(ThreatError, match="grants nothing"):
        take(view_of())


def test_the_networks_answers_take_both_halves() -> None:
    """The device's weights alone are a stolen device, the server half alone has no way back to the image."""
    both = {Grant.WEIGHTS, Grant.SERVER}
    for missing in both:
        with pytest.raises(ThreatError, match=f"the attack asked for {missing}"):
            view_of(*(set(Grant) - {missing})).answers(AT.shadow)
    shield = GaussianShield(0.5)
    images = AT.shadow.clone().requires_grad_()
    found = view_of(*both, shield=shield).answers(images)
    assert torch.equal(found, shallow("flat", GREY)(AT.shadow))
    (slope,) = torch.autograd.grad(found.square().sum(), images)
    assert slope.abs().sum() > 0


def test_who_holds_both_halves_is_told_and_nobody_is_told_not_to_hold_the_server() -> None:
    owner = Threat(grants=(Grant.WEIGHTS, Grant.SERVER)).record(200)
    assert "both halves" in owner.title
    assert any("server half" in item for item in owner.can)
    assert not any("server half" in item for item in Threat().record(200).cannot)


def test_granting_more_opens_more_and_leaves_the_first_view() -> None:
    view = view_of(Grant.QUERIES)
    assert torch.equal(granted(view, Grant.LABELS).labels, AT.labels)
    with pytest.raises(ThreatError):
        _ = view.labels


def tensors(thing: Any, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor that public attributes lead to."""
    if id(thing) in seen or thing is None or isinstance(thing, str | int | float | bool | type):
        return
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, tuple | list | set | frozenset):
        for item in thing:
            yield from tensors(item, seen)
    elif isinstance(thing, dict):
        yield from tensors(list(thing.values()), seen)
    elif isinstance(thing, nn.Module):
        yield from tensors([*thing.state_dict().values()], seen)
    elif isinstance(thing, BaseModel):
        yield from tensors(dict(thing), seen)
    elif type(thing).__module__.startswith("unsmash"):
        for name in dir(thing):
            if not name.startswith("_"):
                try:
                    value = getattr(thing, name)
                except ThreatError:
                    continue
                if not callable(value) or isinstance(value, nn.Module):
                    yield from tensors(value, seen)


def holds(view: View, rows: Tensor) -> bool:
    wanted = {row.flatten().numpy().tobytes() for row in rows}
    return any(
        row.flatten().numpy().tobytes() in wanted
        for found in tensors(view, set())
        if found.ndim and found.shape[1:] == rows.shape[1:] and found.dtype == rows.dtype
        for row in found
    )


def test_a_query_view_holds_no_truth() -> None:
    view = view_of(*standing()[0].grants, shield=LaplaceShield(0.1), queries=3)
    assert {Grant.QUERIES, Grant.SHADOW} == set(view.threat.grants)
    assert not holds(view, AT.victims)
    assert not any(torch.equal(found, AT.labels) or torch.equal(found, AT.order) for found in tensors(view, set()))
    # the walk would find them: the adversary's own images it does find, and the victims where they are granted
    assert holds(view, AT.shadow)
    assert holds(view_of(Grant.CANDIDATES), AT.victims)


def test_the_order_of_the_candidates_is_secret_and_scored_right() -> None:
    view = view_of(Grant.WEIGHTS, Grant.CANDIDATES)
    count = len(AT.victims)
    assert not torch.equal(AT.order, torch.arange(count))
    assert torch.equal(AT.order.sort().values, torch.arange(count))
    assert torch.equal(view.candidates[AT.place], AT.victims)
    likelihood = Gallery().run(view, Lab())
    right = scoring.score_candidates(Gallery(), "gallery", "test", likelihood, AT)
    assert right.scores["identification"].mean == 1
    assert right.ranks == (1,) * count
    # who takes candidate i for victim i is right only where the lot left it in its place
    blind = scoring.score_candidates(Gallery(), "gallery", "test", torch.eye(count), AT)
    assert blind.scores["identification"].mean == (AT.order == torch.arange(count)).double().mean()


def test_the_candidates_are_the_victims_and_the_lot_is_the_seeds() -> None:
    args = (AT.victims, AT.labels, AT.shadow, AT.shadow_labels, AT.classes)
    assert torch.equal(make_scene(*args, Lab(seed=1)).order, make_scene(*args, Lab(seed=1)).order)
    assert not torch.equal(make_scene(*args, Lab(seed=1)).order, make_scene(*args, Lab(seed=2)).order)


@pytest.mark.parametrize("queries", [1, 2, 5])
def test_an_adversary_sees_k_releases_of_each_victim(queries: int) -> None:
    view = view_of(Grant.WEIGHTS, shield=GaussianShield(0.2), queries=queries)
    assert len(view.repeats) == queries
    assert view.victims == len(AT.victims)
    clean = flat(view.smash(AT.victims))
    noise = torch.stack([flat(release) - clean for release in view.repeats])
    assert noise.std().item() == pytest.approx(0.2, rel=0.05)
    for one in range(queries):
        for other in range(one):
            assert abs(torch.corrcoef(noise[[one, other]].flatten(1))[0, 1]) < 0.1
    assert torch.allclose(flat(view.release) - clean, noise.mean(0), atol=1e-6)


def test_many_messages_of_a_fixed_release_are_one() -> None:
    view = view_of(Grant.QUERIES, queries=7)
    assert len(view.repeats) == 1
    assert not view.stochastic


def test_the_release_depends_on_the_seed_and_on_how_many_are_sent() -> None:
    model = shallow("flat", GREY, GaussianShield(0.2))

    def release(seed: int, queries: int = 1) -> Tensor:
        return flat(observe(model, AT, Threat(queries=queries), Lab(seed=seed)).repeats[0])

    state = torch.random.get_rng_state()
    assert torch.equal(release(1), release(1))
    assert not torch.equal(release(1), release(2))
    assert not torch.equal(release(1), release(1, queries=2))
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_batch_does_not_change_what_is_sent() -> None:
    model = shallow("flat", GREY, GaussianShield(0.2))
    whole, parts = (observe(model, AT, Threat(), Lab(), batch=batch).release[0] for batch in (256, 5))
    assert torch.allclose(whole, parts, atol=1e-6)


@pytest.mark.parametrize("shield", [GaussianShield(0.3), LaplaceShield(0.3)], ids=["gaussian", "laplace"])
@pytest.mark.parametrize("queries", [1, 4])
def test_an_oracle_draws_fresh_noise_and_answers_as_a_query_does(shield: Shield, queries: int) -> None:
    view = view_of(Grant.QUERIES, Grant.WEIGHTS, shield=shield, queries=queries)
    clean = flat(view.smash(AT.shadow))
    oracle = view.oracle(AT.shadow)
    with Lab().seeded("ask"):
        first, second, asked = flat(oracle.ask()), flat(oracle.ask()), flat(view.query(AT.shadow))
    assert (first != second).double().mean() > 0.99
    residuals = [(answer - clean).flatten().numpy() for answer in (first, second, asked)]
    assert stats.ks_2samp(residuals[0], residuals[2]).pvalue > 1e-3
    assert stats.ks_2samp(residuals[1], residuals[2]).pvalue > 1e-3
    assert stats.ks_2samp(residuals[0], residuals[2] * 1.1).pvalue < 1e-3  # the test would see a tenth more noise
    # its own images are answered with as many draws as it sees of a victim
    assert residuals[0].std() == pytest.approx(
        (flat(view.release) - flat(view.smash(AT.victims))).std().item(), rel=0.1
    )


def test_an_oracle_answers_the_rows_it_is_asked_for() -> None:
    view = view_of(Grant.QUERIES)
    rows = torch.tensor([7, 3, 3])
    oracle = view.oracle(AT.shadow)
    assert torch.allclose(flat(oracle.ask(rows)), flat(view.query(AT.shadow[rows])), atol=1e-6)
    assert torch.equal(flat(oracle.ask()), flat(oracle.ask()))


@pytest.mark.parametrize("cut", ["flat", "maps", "several"])
def test_a_query_of_a_victim_gives_its_release(cut: str) -> None:
    view = look(shallow(cut, GREY), AT, (Grant.QUERIES,))
    for asked, sent in zip(view.query(AT.victims), view.release, strict=True):
        assert torch.equal(asked, sent)


def test_the_view_is_a_copy_of_the_model() -> None:
    model = shallow("flat", GREY, GaussianShield(0.2))
    view = look(model, AT, (Grant.WEIGHTS, Grant.QUERIES))
    before = flat(view.smash(AT.victims))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(flat(view.smash(AT.victims)), before)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in view.device.parameters())


def test_a_model_in_train_mode_is_not_observed() -> None:
    with pytest.raises(TrainingError, match="train mode"):
        observe(shallow("flat", GREY).train(), AT, Threat(), Lab())


def test_pooling_is_the_shields() -> None:
    class Last(GaussianShield):
        def pool(self, releases: Any) -> Smashed:
            return releases[-1]

    view = view_of(shield=Last(0.1), queries=3)
    assert torch.equal(view.release[0], view.repeats[-1][0])


@pytest.mark.parametrize(
    "needs", [frozenset[Grant](), frozenset({Grant.QUERIES}), frozenset({Grant.WEIGHTS, Grant.LABELS})]
)
def test_a_threat_allows_what_it_holds(needs: frozenset[Grant]) -> None:
    assert Threat(grants=tuple(needs)).allows(needs)
    assert Threat(grants=tuple(Grant)).allows(needs)
    for grant in needs:
        assert not Threat(grants=tuple(needs - {grant})).allows(needs)


def test_the_standing_threats_are_those_of_the_design() -> None:
    one, many = standing(), standing(16)
    assert [threat.name for threat in one] == ["query", "gallery"]
    assert [threat.name for threat in many] == ["query", "repeat", "gallery", "gallery_repeat"]
    assert [threat.queries for threat in many] == [1, 16, 1, 16]
    assert [threat.asked for threat in many] == [True, True, False, False]
    assert all(Grant.SHADOW in threat.grants for threat in many if threat.asked)


@pytest.mark.parametrize("threat", standing(16), ids=lambda threat: threat.name)
def test_a_threat_is_told_in_plain_words(threat: Threat) -> None:
    record = threat.record(200)
    assert (record.name, record.queries, record.asked) == (threat.name, threat.queries, threat.asked)
    assert record.grants == tuple(map(str, threat.grants))
    assert record.title
    assert record.subject
    assert ("200" in record.title) == (Grant.CANDIDATES in threat.grants)
    assert not set(record.can) & set(record.cannot)
    assert len(record.can) + len(record.cannot) >= len(Grant)


def test_a_threat_is_a_frozen_value() -> None:
    with pytest.raises(ValidationError):
        Threat(name="x", queries=0)
    with pytest.raises(ValidationError):
        Threat.model_validate({"name": "x", "grants": ["everything"]})
    with pytest.raises(ValidationError):
        Threat().name = "other"  # type: ignore[misc]
