"""DP-SGD says what it spent on the training records, keeps that with the weights, and refuses what would void it."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from unsmash.data.base import Splits
from unsmash.data.lfw_subset import LfwSubset
from unsmash.defences.dpsgd import DpSgd, DpSgdShield, Spent
from unsmash.defences.gaussian import GaussianShield
from unsmash.errors import ConfigError, DependencyError
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.models.small_resnet import SmallResNet
from unsmash.records import Bound
from unsmash.split import Fitting, Shield, Shields, Site, Smashed, SplitModel, cut
from unsmash.split.private import training_epsilon
from unsmash.split.train import Training, predict
from unsmash.victim import Victim, prepare

PLAN = Training(epochs=2, batch=8)


TINY = {"kind": "digits", "train": 120, "shadow": 160, "validator": 80, "val": 40, "victims": 40}


class Toll(Shield):
    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        return z[0].var(0).sum()


class Fitted(Shield):
    """Takes its size from the training images when asked to; has a number of its own otherwise."""

    size: Tensor

    def __init__(self, learns: bool) -> None:
        super().__init__()
        self.learns = learns
        self.register_buffer("size", torch.full((2,), torch.nan))

    def forward(self, z: Smashed) -> Smashed:
        return tuple(part / 2 for part in z)

    def fit(self, fitting: Fitting) -> None:
        if self.learns:
            self.size[0] = fitting.entering(fitting.images)[0].abs().max().item()


def data(count: int = 40) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(2)
    return torch.rand(count, 1, 8, 8, generator=draw), torch.randint(4, (count,), generator=draw)


def small(*others: Shield, after: bool = False, **settings: Any) -> tuple[DpSgd, SplitModel, DpSgdShield]:
    """A little network with this defence, and others before or after it."""
    defence = DpSgd(**({"delta": 1e-3} | settings))
    with Lab(seed=1).seeded("model"):
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 4))
    model = cut(net, "2", torch.rand(2, 1, 8, 8))
    shield = defence.arm(Site(((12,),), (1, 8, 8), 4), Lab())
    assert isinstance(shield, DpSgdShield)
    model.shield = Shields([shield, *others] if after else [*others, shield])
    return defence, model, shield


def trained(*others: Shield, plan: Training = PLAN, after: bool = False, **settings: Any) -> tuple[SplitModel, Bound]:
    defence, model, shield = small(*others, after=after, **settings)
    defence.trainer()(model, *data(), plan, Lab())
    (claim,) = shield.claims()
    return model, claim


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def audit(digits: Splits, cache: Path | None, defences: list[dict[str, Any]], **train: Any) -> Victim:
    raw = {"data": TINY, "model": "shallow_net", "train": {"epochs": 3, **train}, "defences": defences}
    return prepare(study(raw).experiment, digits, Lab(), cache)


def test_the_claim_is_what_the_accountant_finds_for_this_training() -> None:
    _, claim = trained(noise=1.3)
    wanted, _ = training_epsilon(1.3, 8 / 40, 10, 1e-3, "prv")
    assert claim.value is not None
    assert wanted <= claim.value <= wanted * (1 + 1e-6)
    assert claim.name == "training_epsilon"
    assert claim.unit == "ε"
    assert claim.covers == "records the target was trained on; says nothing about the images sent later"
    told = " ".join(claim.premises)
    for fact in ("δ = 0.001", "Poisson", "10 steps", "0.2", "clipped to 1", "1.3 clips", "PRV", "seed", "GroupNorm"):
        assert fact in told, fact
    assert all(premise.endswith(".") for premise in claim.premises)


def test_the_other_accountant_is_asked_for_by_name() -> None:
    _, claim = trained(noise=1.3, accountant="rdp")
    assert claim.value == pytest.approx(training_epsilon(1.3, 8 / 40, 10, 1e-3, "rdp")[0])
    assert any("RDP" in premise for premise in claim.premises)


def test_without_settings_the_noise_is_one_clip() -> None:
    assert torch.equal(weights(trained()[0]), weights(trained(noise=1.0)[0]))


def test_a_target_is_kept_to_and_used_up() -> None:
    _, claim = trained(epsilon=2.0)
    assert claim.value is not None
    assert 1.9 < claim.value <= 2.0 * (1 + 1e-6)


def test_noise_and_target_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="noise or epsilon"):
        DpSgd(noise=1.0, epsilon=2.0)


@pytest.mark.parametrize("changed", [{"noise": 2.0}, {"clip": 0.1}, {"epsilon": 3.0}, {"epsilon": 3.0, "delta": 1e-4}])
def test_every_setting_of_the_training_shows_in_it(changed: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"epsilon": 3.0} if "delta" in changed else {}
    there, here = (trained(**some, accountant="rdp")[0] for some in (usual, changed))
    assert not torch.equal(weights(there), weights(here))


def test_augmentation_changes_the_weights_and_not_the_claim() -> None:
    plain, claim = trained()
    moved, same = trained(plan=PLAN.model_copy(update={"augment": True}))
    assert not torch.equal(weights(plain), weights(moved))
    assert same == claim


def test_what_is_sent_is_not_touched() -> None:
    model, _ = trained()
    z = model.smash(data()[0])
    assert torch.equal(model.shield(z)[0], z[0])
    assert not model.shield.stochastic


def test_the_seed_decides_the_training() -> None:
    assert torch.equal(weights(trained()[0]), weights(trained()[0]))
    defence, model, _ = small()
    defence.trainer()(model, *data(), PLAN, Lab(seed=1))
    assert not torch.equal(weights(model), weights(trained()[0]))


@pytest.mark.parametrize("delta", [1 / 40, 0.1])
def test_a_delta_that_allows_publishing_a_record_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match=r"defences\.dpsgd\.delta: got .*; allowed: less than 1/40 = 0\.025"):
        trained(delta=delta)


@pytest.mark.parametrize("after", [False, True])
def test_a_penalty_over_the_batch_is_refused(after: bool) -> None:
    with pytest.raises(ConfigError, match=r"dpsgd with Toll.*mixes its records"):
        trained(Toll(), after=after)


def test_twice_is_once_too_often() -> None:
    with pytest.raises(ConfigError, match=r"dpsgd 2 times"):
        trained(DpSgdShield(1.0, 1e-3))


@pytest.mark.parametrize("after", [False, True])
def test_noise_on_each_record_by_itself_is_fine(after: bool) -> None:
    model, claim = trained(GaussianShield(0.3), after=after)
    assert claim.value == trained()[1].value
    assert model.shield.stochastic
    assert not torch.equal(weights(model), weights(trained()[0]))


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_what_another_defence_learned_before_voids_the_claim(learns: bool, after: bool) -> None:
    _, claim = trained(GaussianShield(0.3), Fitted(learns), after=after)
    if learns:
        assert claim.value is None
        assert "learned from the training images" in claim.reason
        assert "when: inference" in claim.reason
    else:
        assert claim.value is not None
        assert not claim.reason


@pytest.mark.parametrize("clip", [1.0, "learned"])
def test_a_learned_clip_voids_the_claim_and_a_given_one_does_not(digits: Splits, clip: float | str) -> None:
    victim = audit(digits, None, [{"kind": "dpsgd", "delta": 1e-3}, {"kind": "gaussian", "sigma": 0.1, "clip": clip}])
    (claim,) = victim.model.shield.claims()
    assert (claim.value is None) == (clip == "learned")


def test_before_a_training_nothing_is_claimed() -> None:
    (claim,) = DpSgdShield(1.0, 1e-5).claims()
    assert claim.value is None
    assert "not trained privately" in claim.reason
    assert not claim.premises


def test_an_infinite_epsilon_is_said_to_be_none() -> None:
    shield = DpSgdShield(1.0, 1e-5)
    shield.remember(Spent(math.inf, 1e-9, 1.0, 10, 0, 1, 0))
    (claim,) = shield.claims()
    assert claim.value is None
    assert "too little noise" in claim.reason


def test_single_precision_never_understates_epsilon() -> None:
    shield = DpSgdShield(1.0, 1e-5)
    for epsilon in (0.1, 1 / 3, 2.4279446, 48.123456789):
        shield.remember(Spent(epsilon, 1.0, 0.1, 10, 1, 1, 0))
        value = shield.claims()[0].value
        assert value is not None
        assert epsilon <= value <= epsilon * (1 + 3e-7)


def test_the_slower_way_is_noted() -> None:
    shield = DpSgdShield(1.0, 1e-5)
    assert not shield.note()
    shield.remember(Spent(1.0, 1.0, 0.1, 10, 1, 1, 0))
    assert not shield.note()
    shield.remember(Spent(1.0, 1.0, 0.1, 10, 1, 0, 0))
    assert "ghost clipping" in shield.note()


def test_batch_norm_gives_way_to_group_norm() -> None:
    net, notes = DpSgd().adapt(SmallResNet(width=4).build((1, 16, 16), 2, Lab()).eval())
    kinds = [type(layer) for layer in net.modules()]
    assert nn.BatchNorm2d not in kinds
    assert kinds.count(nn.GroupNorm) == 8
    assert not any(layer.training for layer in net.modules())
    assert notes == (
        "8 × BatchNorm2d replaced by GroupNorm with fresh weights: private training allows no layer that "
        "mixes records.",
    )
    assert net(torch.rand(3, 1, 16, 16)).shape == (3, 2)


def test_one_batch_norm_in_two_places_stays_one_layer() -> None:
    norm = nn.BatchNorm1d(6, affine=False)
    net, notes = DpSgd().adapt(nn.Sequential(nn.Linear(4, 6), norm, nn.ReLU(), norm))
    first, second = net.get_submodule("1"), net.get_submodule("3")
    assert first is second
    assert isinstance(first, nn.GroupNorm)
    assert len(notes) == 1
    assert notes[0].startswith("1 ×")
    alone, _ = DpSgd().adapt(nn.BatchNorm1d(6))
    assert isinstance(alone, nn.GroupNorm)


def test_a_network_without_them_stays_as_it_is() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 6, 1), nn.GroupNorm(2, 6), nn.InstanceNorm2d(6, affine=True))
    layers = [*plain]
    net, notes = DpSgd().adapt(plain)
    assert net is plain
    assert [*plain] == layers
    assert notes == ()


@pytest.mark.parametrize("at", ["block2", "block2.conv1"])
def test_faces_are_learned_privately_between_and_inside_blocks(at: str) -> None:
    """BatchNorm is replaced, a skip connection crosses inside the block; and it learns."""
    raw = {
        "data": {"kind": "lfw_subset", "train": 100, "shadow": 20, "validator": 20, "val": 20, "victims": 20},
        "model": {"kind": "small_resnet", "width": 8},
        "at": at,
        "train": {"epochs": 6, "batch": 20},
        "defences": [{"kind": "dpsgd", "noise": 0.5, "delta": 1e-3}],
    }
    experiment = study(raw).experiment
    assert isinstance(experiment.data, LfwSubset)
    splits = experiment.data.load(Path())
    victim = prepare(experiment, splits, Lab(), None)
    assert any("BatchNorm2d replaced by GroupNorm" in note for note in victim.model.notes)
    guess = predict(victim.model, splits.val.pixels, Lab()).argmax(1)
    assert (guess == splits.val.labels).float().mean() > 0.7
    (claim,) = victim.model.shield.claims()
    assert claim.value is not None


def test_a_victim_from_the_cache_still_says_what_was_spent(digits: Splits, tmp_path: Path) -> None:
    defences = [{"kind": "dpsgd", "noise": 0.8, "delta": 1e-3}]
    fresh, again = (audit(digits, tmp_path, defences) for _ in range(2))
    assert again.cached
    assert not fresh.cached
    assert again.model.shield.claims() == fresh.model.shield.claims()
    assert fresh.model.shield.claims()[0].value is not None
    assert torch.equal(weights(fresh.model), weights(again.model))


def test_noise_put_on_afterwards_leaves_the_claim(digits: Splits, tmp_path: Path) -> None:
    private = {"kind": "dpsgd", "noise": 0.8, "delta": 1e-3}
    plain = audit(digits, tmp_path, [private])
    noised = audit(digits, tmp_path, [private, {"kind": "gaussian", "sigma": 0.5, "when": "inference"}])
    assert noised.model.shield.claims() == plain.model.shield.claims()
    assert torch.equal(weights(noised.model), weights(plain.model))


def test_a_network_taken_as_it_is_has_no_claim(digits: Splits) -> None:
    victim = audit(digits, None, [{"kind": "dpsgd", "delta": 1e-3}], epochs=0)
    (claim,) = victim.model.shield.claims()
    assert claim.value is None


def test_it_learns_digits_and_less_so_with_more_noise(digits: Splits) -> None:
    def accuracy(noise: float) -> float:
        victim = audit(digits, None, [{"kind": "dpsgd", "noise": noise, "delta": 1e-3}], epochs=20, batch=16, rate=2e-2)
        guess = predict(victim.model, digits.victims.pixels, Lab()).argmax(1)
        return (guess == digits.victims.labels).float().mean().item()

    there = accuracy(0.3)
    assert there > 0.4
    assert there > accuracy(30.0) + 0.2


def test_it_can_only_be_trained_with() -> None:
    with pytest.raises(ValidationError, match="training"):
        DpSgd(when="inference")


def test_it_says_in_two_sentences_what_it_does_not_protect() -> None:
    assert len(DpSgd.protects.split(". ")) == 2
    assert "images sent at inference are not protected" in DpSgd.protects


def test_without_opacus_adapting_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opacus"] or ["opacus"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyError, match=r'pip install "unsmash\[dp\]"') as caught:
        DpSgd().adapt(nn.Linear(2, 2))
    assert "\n" not in str(caught.value)


def test_its_claim_survives_a_move_and_a_copy() -> None:
    model, claim = trained()
    _, other, shield = small()
    other.load_state_dict(model.state_dict())
    assert shield.claims() == (claim,)
    assert dataclasses.replace(claim) == model.shield.claims()[0]
