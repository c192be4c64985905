"""What every attack keeps, with any cut, image shape and defence: a new file in `attacks/` is tested by itself."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import small
import torch
from small import GREY, look, practice, scene, shallow, trained
from torch import Tensor

from unsmash import scoring
from unsmash.attacks.base import Attack
from unsmash.component import discover
from unsmash.defences.gaussian import GaussianShield
from unsmash.defences.laplace import LaplaceShield
from unsmash.errors import ThreatError
from unsmash.experiment import Experiment
from unsmash.lab import Lab
from unsmash.records import Result
from unsmash.split import Shield, SplitModel
from unsmash.threat import Grant, Secret
from unsmash.view import Scene, View

KINDS = discover("unsmash.attacks", Attack)
every = pytest.mark.parametrize("kind", KINDS)
serious = pytest.mark.parametrize("kind", [k for k, a in KINDS.items() if not a.exhibit])
guessers = pytest.mark.parametrize(
    "kind", [k for k, a in KINDS.items() if a.role == "attack" and a.secret is Secret.INPUTS]
)
ceilings = pytest.mark.parametrize("kind", [k for k, a in KINDS.items() if a.role == "ceiling"])

Shape = tuple[int, int, int]
SHAPES: list[tuple[str, Shape]] = [
    ("flat", (1, 8, 8)),
    ("maps", (1, 17, 19)),
    ("several", (1, 25, 25)),
    ("flat", (3, 17, 19)),
    ("maps", (3, 13, 11)),
    ("several", (3, 9, 14)),
]
SHIELDS = {"gaussian": GaussianShield(0.3), "laplace": LaplaceShield(0.2)}


def tiny(kind: str) -> Attack:
    return KINDS[kind].model_validate({"kind": kind, **KINDS[kind].tiny})


FEW = 32
"""The adversary's images where only shapes matter"""


def view_of(
    kind: str, cut: str = "flat", shape: Shape = GREY, shield: Shield | None = None, queries: int = 1, shadow: int = FEW
) -> View:
    """The view of exactly what the attack declares."""
    return look(shallow(cut, shape, shield), scene(shape, shadow=shadow), needs(kind), queries)


def needs(kind: str) -> frozenset[Grant]:
    """What its smallest settings ask for."""
    return tiny(kind).required()


def require_sound(attack: Attack, guess: Tensor, view: View, at: Scene) -> None:
    if attack.secret is Secret.IDENTITY:
        assert guess.shape == (view.victims, len(at.victims))
    elif attack.secret is Secret.INPUTS:
        assert guess.shape == (view.victims, *view.input_shape)
    elif attack.secret is Secret.CLASS:
        assert guess.shape == (view.classes, *view.input_shape)
        assert guess.amin() >= 0
        assert guess.amax() <= 1
    elif attack.secret is Secret.LABELS:
        assert guess.shape[0] == len(practice(GREY)[1])
        assert guess.shape[1] in (2, view.classes)
    elif attack.secret is Secret.ATTRIBUTE:
        assert guess.shape == (view.victims, sum(len(one.answers) for one in at.attributes))
    assert guess.is_floating_point()
    assert guess.isfinite().all()
    assert not guess.requires_grad
    assert guess.device == torch.device("cpu")


@every
@pytest.mark.parametrize(
    ("cut", "shape"), SHAPES, ids=lambda value: value if isinstance(value, str) else "x".join(map(str, value))
)
def test_any_cut_and_image_shape_gives_a_sound_guess(kind: str, cut: str, shape: Shape) -> None:
    view = view_of(kind, cut, shape)
    require_sound(tiny(kind), tiny(kind).run(view, Lab()), view, scene(shape))


@every
@pytest.mark.parametrize("shield", SHIELDS)
@pytest.mark.parametrize("queries", [1, 3, 16])
def test_random_defences_and_repeats_give_a_sound_guess(kind: str, shield: str, queries: int) -> None:
    view = view_of(kind, "flat", GREY, SHIELDS[shield], queries)
    assert len(view.repeats) == queries
    require_sound(tiny(kind), tiny(kind).run(view, Lab()), view, scene(GREY))


@every
def test_a_random_defence_on_several_tensors_gives_a_sound_guess(kind: str) -> None:
    view = view_of(kind, "several", (3, 9, 14), LaplaceShield(0.1), 2)
    require_sound(tiny(kind), tiny(kind).run(view, Lab()), view, scene((3, 9, 14)))


@every
def test_one_victim_is_enough(kind: str) -> None:
    at = scene(GREY, victims=1, shadow=FEW)
    view = look(shallow("flat", GREY), at, needs(kind))
    require_sound(tiny(kind), tiny(kind).run(view, Lab()), view, at)


@every
@pytest.mark.parametrize("shield", [None, LaplaceShield(0.2)], ids=["plain", "noisy"])
def test_the_seed_decides_every_bit(kind: str, shield: Shield | None) -> None:
    guesses = []
    for noise in (1, 2):  # whatever the global random state was
        torch.manual_seed(noise)
        guesses.append(tiny(kind).run(view_of(kind, "flat", GREY, shield), Lab(seed=4)))
    assert torch.equal(*guesses)


@every
@pytest.mark.parametrize("shield", [None, GaussianShield(0.2)], ids=["plain", "noisy"])
def test_it_leaves_the_world_as_it_was(kind: str, shield: Shield | None) -> None:
    model, at = shallow("maps", GREY, shield), scene(GREY, shadow=FEW)
    view = look(model, at, needs(kind), 2)
    held = contents(model, at, view)
    before, state = copy.deepcopy(held), torch.random.get_rng_state()
    tiny(kind).run(view, Lab())
    assert torch.equal(state, torch.random.get_rng_state())
    assert held.keys() == before.keys()
    assert all(torch.equal(held[name], before[name]) for name in held)
    assert not any(parameter.requires_grad for parameter in view._device.parameters())
    assert all(parameter.grad is None for part in (model, view._device, view.shield) for parameter in part.parameters())
    assert not any(module.training for part in (model, view._device, view.shield) for module in part.modules())


def contents(model: SplitModel, at: Scene, view: View) -> dict[str, Tensor]:
    """Every tensor that an attack could reach."""
    held = {f"repeats/{k}/{i}": part for k, release in enumerate(view.repeats) for i, part in enumerate(release)}
    held |= {f"scene/{name}": getattr(at, name) for name in ("victims", "labels", "order", "shadow", "shadow_labels")}
    held |= {"candidates": view._candidates, "shadow": view._shadow[0], "known": view._shadow[1]}
    parts = {"model": model, "device": view._device, "network": view._network, "shield": view.shield}
    for place, part in parts.items():
        held |= {f"{place}/{name}": tensor for name, tensor in part.state_dict(keep_vars=True).items()}
    return {name: tensor.detach() for name, tensor in held.items()}


@pytest.mark.parametrize(
    ("kind", "missing"), [pytest.param(k, g, id=f"{k}-{g}") for k in KINDS for g in sorted(needs(k))]
)
def test_it_declares_every_grant_that_it_uses(kind: str, missing: Grant) -> None:
    view = look(shallow("flat", GREY), scene(GREY, shadow=FEW), needs(kind) - {missing})
    with pytest.raises(ThreatError, match=str(missing)):
        tiny(kind).run(view, Lab())


@every
def test_grants_beyond_its_needs_change_nothing(kind: str) -> None:
    more = look(shallow("flat", GREY), scene(GREY, shadow=FEW), tuple(Grant))
    assert torch.equal(tiny(kind).run(more, Lab()), tiny(kind).run(view_of(kind), Lab()))


MANY = 200
"""The adversary's images where an attack must succeed"""


@functools.cache
def scored(kind: str, cut: str, shape: Shape) -> tuple[Result, Tensor]:
    """Who goes by the server's answers needs a server half that has learned something."""
    attack, at = tiny(kind), scene(shape, shadow=MANY)
    model = trained(cut, shape) if Grant.SERVER in attack.needs else shallow(cut, shape)
    guess = attack.run(look(model, at, attack.needs), Lab())
    if attack.secret is Secret.IDENTITY:
        return scoring.score_candidates(attack, kind, "test", guess, at), guess
    return scoring.score_images(attack, kind, "test", guess, at, None), guess


@pytest.mark.parametrize(
    "kind", [k for k, a in KINDS.items() if (a.role, a.secret, a.exhibit) == ("attack", Secret.INPUTS, False)]
)
@pytest.mark.parametrize(("cut", "shape"), [("flat", (1, 8, 8)), ("maps", (3, 11, 12)), ("several", (1, 9, 9))])
def test_it_beats_its_floor_where_it_must(kind: str, cut: str, shape: Shape) -> None:
    """Like for like: who picks one of its own images is held to a random pick, who estimates to the mean image, and who
    holds no images to a grey one.
    """
    result, guess = scored(kind, cut, shape)
    at = scene(shape, shadow=MANY)
    picks = all((at.shadow == one).flatten(1).all(1).any() for one in guess)
    if Grant.SHADOW in KINDS[kind].needs:
        floor, _ = scored("random_image" if picks else "mean_image", cut, shape)
    else:
        floor = scoring.score_images(tiny(kind), "grey", "test", torch.full_like(guess, 0.5), at, None)
    assert result.scores["mse"].mean < floor.scores["mse"].mean
    assert result.scores["ssim"].mean > floor.scores["ssim"].mean
    assert result.scores["identification"].low > floor.scores["identification"].mean
    assert result.card.valid
    assert not result.card.collapsed


@ceilings
@pytest.mark.parametrize(("cut", "shape"), [("flat", (1, 8, 8)), ("maps", (3, 11, 12)), ("several", (1, 9, 9))])
def test_no_attack_identifies_more_than_a_ceiling(kind: str, cut: str, shape: Shape) -> None:
    top = scored(kind, cut, shape)[0].scores["identification"].mean
    for other, attack in KINDS.items():
        if attack.role == "attack" and attack.secret is Secret.INPUTS:
            assert scored(other, cut, shape)[0].scores["identification"].mean <= top


@serious
def test_floors_see_no_release(kind: str) -> None:
    """A floor answers the same whatever was sent, and so does who asks the network alone, or reads what comes back in
    training; others do not. Who takes part in the training reads what the device half sends after it, not this release.
    """
    view = view_of(kind)
    turned = copy.copy(view)
    object.__setattr__(turned, "repeats", tuple(tuple(part.flip(0) for part in release) for release in view.repeats))
    same = torch.equal(tiny(kind).run(view, Lab()), tiny(kind).run(turned, Lab()))
    other = KINDS[kind].secret in (Secret.CLASS, Secret.LABELS) or Grant.TRAINING in KINDS[kind].needs
    assert same == (KINDS[kind].role == "floor" or other)


@every
def test_an_experiment_takes_it(kind: str) -> None:
    raw: dict[str, Any] = {"data": "digits", "model": "shallow_net", "attacks": [{"kind": kind, **KINDS[kind].tiny}]}
    grants = sorted(needs(kind))
    made = Experiment.model_validate(raw | {"threats": [{"name": "own", "grants": grants}]})
    assert made.attacks == (tiny(kind),)
    assert made.threats[0].allows(needs(kind))


def test_class_mean_is_the_mean_of_the_class() -> None:
    at = scene(GREY)
    guess = tiny("class_mean").run(view_of("class_mean", shadow=MANY), Lab())
    for row, label in enumerate(at.labels):
        assert torch.allclose(guess[row], at.shadow[at.shadow_labels == label].mean(0))


def test_class_mean_of_an_unseen_class_is_the_mean_of_all() -> None:
    at = scene(GREY)
    label = int(at.labels[0])
    known = torch.where(at.shadow_labels == label, torch.full_like(at.shadow_labels, -1), at.shadow_labels)
    blind = Scene(at.victims, at.labels, at.order, at.shadow, known, at.classes)
    guess = tiny("class_mean").run(look(shallow("flat", GREY), blind, KINDS["class_mean"].needs), Lab())
    assert torch.allclose(guess[0], at.shadow.mean(0))


def test_gallery_is_bayes_rule_over_all_repeats() -> None:
    """Against the densities summed by hand with scipy."""
    from scipy.stats import laplace

    at, scale = scene(GREY), 0.2
    model = shallow("flat", GREY, LaplaceShield(scale))
    view = look(model, at, KINDS["gallery"].needs, 3)
    found = tiny("gallery").run(view, Lab())
    z = model.device(at.victims[at.order]).detach().double().numpy()
    total = sum(laplace.logpdf(release[0].double().numpy()[:, None], z[None], scale).sum(2) for release in view.repeats)
    wanted = torch.from_numpy(total)
    assert torch.allclose(found - found[:, :1], wanted - wanted[:, :1], atol=1e-6, rtol=1e-6)


def test_lookalike_finds_the_very_image_where_the_adversary_holds_it() -> None:
    shape = small.COLOUR
    at = scene(shape)
    mine = torch.cat([at.shadow, at.victims])
    holds = Scene(at.victims, at.labels, at.order, mine, torch.cat([at.shadow_labels, at.labels]), at.classes)
    guess = tiny("lookalike").run(look(shallow("flat", shape), holds, KINDS["lookalike"].needs), Lab())
    assert torch.equal(guess, at.victims)


def test_ridge_recovers_images_from_an_invertible_linear_release() -> None:
    model = SplitModel(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 64)), torch.nn.Linear(64, 10))
    with torch.no_grad(), Lab().seeded("rotation"):
        model.device[1].weight.copy_(torch.linalg.qr(torch.randn(64, 64))[0])  # type: ignore[index]
    at = scene(GREY)
    guess = tiny("ridge").run(look(model.eval(), at, KINDS["ridge"].needs), Lab())
    # what is left is what the adversary's 200 images do not span and the penalty's shrinking
    assert (guess - at.victims).square().mean() < 0.02 * at.victims.var(0).mean()
