"""Split training is joint training to the last bit, and each party sees only what it may."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from zoo import SharedConv

from unsmash.defences.gaussian import GaussianShield
from unsmash.errors import TrainingError
from unsmash.lab import Lab
from unsmash.split import Shield, Shields, Smashed, SplitModel, as_tuple, cut, flat
from unsmash.split.parties import HonestServer, Optimiser
from unsmash.split.train import Training, assert_eval, predict, train

PLAN = Training(epochs=3, batch=8, rate=1e-2)


def data(count: int = 29) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(2)
    x = torch.rand(count, 1, 8, 8, generator=draw)
    return x, torch.randint(4, (count,), generator=draw)


class Chain(nn.Sequential):
    """Convolution, head; extra layers between them."""

    def __init__(self, *between: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.mid = nn.Sequential(*between) if between else nn.Identity()
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(144, 12)
        self.act = nn.Sigmoid()
        self.late = nn.Dropout(0.3) if between else nn.Identity()
        self.fc2 = nn.Linear(12, 4)


class Skip(nn.Module):
    """What `early` gives crosses the cut at `mid` too."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.mid, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        early = torch.tanh(self.early(x))
        return self.fc(torch.cat([self.mid(early).mean((2, 3)), early.mean((2, 3))], 1))


class Toll(Shield):
    """A penalty with a learned part, which the device trains."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        return (self.scale * flat(z)).square().mean() * (1 + y.float().mean())


Case = tuple[Callable[[], nn.Module], str, Callable[[], Shield] | None]
CASES: dict[str, Case] = {
    "plain": (Chain, "relu", None),
    "dropout": (lambda: Chain(nn.Dropout(0.4)), "relu", None),
    "batch norm": (lambda: Chain(nn.BatchNorm2d(4)), "conv", None),
    "noise": (Chain, "relu", lambda: GaussianShield(0.3)),
    "noise and dropout": (lambda: Chain(nn.Dropout(0.4), nn.BatchNorm2d(4)), "relu", lambda: GaussianShield(0.3)),
    "penalty": (Chain, "relu", Toll),
    "noise and penalty": (Chain, "act", lambda: Shields([Toll(), GaussianShield(0.1)])),
    "shared layer": (SharedConv, "mid", None),
    "several tensors": (Skip, "mid", lambda: GaussianShield(0.1)),
}


def built(case: str) -> SplitModel:
    make, at, shield = CASES[case]
    with Lab().seeded("init"):
        model = cut(make(), at, data(2)[0])
    if shield is not None:
        model.shield = Shields([shield()])
    return model


def joint(model: SplitModel, images: Tensor, labels: Tensor, plan: Training, lab: Lab) -> None:
    """One party, one graph, one Adam over all parameters: written apart from `train`."""
    assert plan.epochs
    parameters = list(dict.fromkeys(model.parameters()))
    adam = torch.optim.Adam(parameters, lr=plan.rate)
    count = plan.epochs * -(-len(images) // plan.batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, plan.rate, total_steps=count)
    order = lab.generator("order")
    model.train()
    with lab.seeded("train"):
        for _ in range(plan.epochs):
            for rows in torch.randperm(len(images), generator=order).split(plan.batch):
                x, y = images[rows], labels[rows]
                z = as_tuple(model.device(x))
                steps = model.shield.steps(z)
                release = steps[-1]
                logits = model.server(release[0] if len(release) == 1 else release)
                loss = nn.functional.cross_entropy(logits, y) + model.shield.penalties(x, steps, y)
                adam.zero_grad()
                loss.backward()
                adam.step()
                cycle.step()
    model.eval()


def difference(a: nn.Module, b: nn.Module) -> float:
    mine, other = a.state_dict(), b.state_dict()
    assert mine.keys() == other.keys()
    return max((mine[name].double() - other[name].double()).abs().max().item() for name in mine)


@pytest.mark.parametrize("case", CASES)
def test_split_training_equals_joint_training(case: str) -> None:
    apart = built(case)
    together, start = copy.deepcopy(apart), copy.deepcopy(apart)
    train(apart, *data(), PLAN, Lab())
    joint(together, *data(), PLAN, Lab())
    assert difference(apart, together) == 0
    assert difference(apart, start) > 1e-3  # and something was learned


def test_a_plain_whole_network_trained_alone_is_the_same_network() -> None:
    """The halves' parameters are the network's own: training through the cut trains it."""
    with Lab().seeded("init"):
        net = Chain()
    alone = copy.deepcopy(net)
    model = cut(net, "relu", data(2)[0])
    train(model, *data(), PLAN, Lab())
    whole = SplitModel(alone, nn.Identity())
    joint(whole, *data(), PLAN, Lab())
    assert difference(net, alone) == 0


def test_the_seed_decides_the_training() -> None:
    one, same, other = built("dropout"), built("dropout"), built("dropout")
    train(one, *data(), PLAN, Lab(seed=1))
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    train(same, *data(), PLAN, Lab(seed=1))
    assert torch.equal(before, torch.random.get_rng_state())
    train(other, *data(), PLAN, Lab(seed=2))
    assert difference(one, same) == 0
    assert difference(one, other) > 0


def test_frozen_parameters_stay() -> None:
    model = built("plain")
    for parameter in model.device.parameters():
        parameter.requires_grad_(False)
    before = copy.deepcopy(model)
    train(model, *data(), PLAN, Lab())
    assert difference(model.device, before.device) == 0
    assert difference(model.server, before.server) > 1e-3


def test_augmentation_changes_the_images_and_keeps_the_seed() -> None:
    plan = PLAN.model_copy(update={"augment": True})
    plain, one, same = built("plain"), built("plain"), built("plain")
    train(plain, *data(), PLAN, Lab())
    train(one, *data(), plan, Lab())
    train(same, *data(), plan, Lab())
    assert difference(one, same) == 0
    assert difference(one, plain) > 0


class Spy:
    """An honest server that writes down all it was handed."""

    def __init__(self, honest: HonestServer) -> None:
        self.honest = honest
        self.releases: list[Smashed] = []
        self.labels: list[Tensor] = []

    def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
        self.releases.append(release)
        self.labels.append(y)
        return self.honest.answer(release, y)


@pytest.mark.parametrize("case", ["plain", "noise", "several tensors"])
def test_each_party_sees_only_what_crosses(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (images, labels) = built(case), data()
    on_device: list[Tensor] = []
    transmitted: list[Smashed] = []
    for part in model.device.modules():
        part.register_forward_pre_hook(lambda _, inputs: on_device.extend(i for i in inputs if isinstance(i, Tensor)))
    steps_of = model.shield.steps

    def listen(z: Smashed) -> tuple[Smashed, ...]:
        steps = steps_of(z)
        transmitted.append(steps[-1])
        return steps

    monkeypatch.setattr(model.shield, "steps", listen)
    steps = 3 * 4
    spy = Spy(HonestServer(model.answer, Optimiser(list(model.server.parameters()), PLAN.rate, steps)))
    train(model, images, labels, PLAN, Lab(), server=spy)
    assert len(spy.releases) == steps
    for seen, really, y in zip(spy.releases, transmitted, spy.labels, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(seen, really, strict=True))
        assert len(y) == len(seen[0])
        for sent in seen:  # a number that crosses has no way back to the device
            assert sent.grad_fn is None
            assert not sent.requires_grad
            assert sent.shape[1:] != images.shape[1:]
    # the device is given images of the training set in batches, and nothing with integers in it
    assert all(given.is_floating_point() for given in on_device)
    assert torch.equal(torch.cat(spy.labels[:4]).sort().values, labels.sort().values)


def test_another_server_may_answer_what_it_likes() -> None:
    """The device follows whatever gradient comes back: a silent server teaches it nothing."""

    class Silent:
        def answer(self, release: Smashed, y: Tensor) -> tuple[Smashed, float]:
            return tuple(torch.zeros_like(part) for part in release), 0.0

    model = built("plain")
    before = copy.deepcopy(model)
    train(model, *data(), PLAN, Lab(), server=Silent())
    assert difference(model, before) == 0


def test_the_gradient_that_crosses_is_that_of_the_loss() -> None:
    model = built("several tensors")
    x, y = data(6)
    z = tuple(part.detach().requires_grad_() for part in model.smash(x))
    nn.functional.cross_entropy(model.answer(z), y).backward()
    server = HonestServer(copy.deepcopy(model).answer, Optimiser(list(model.server.parameters()), 1e-3, 2))
    answered, loss = server.answer(tuple(part.detach() for part in z), y)
    assert all(torch.equal(a, b.grad) for a, b in zip(answered, z, strict=True) if b.grad is not None)
    assert loss == pytest.approx(nn.functional.cross_entropy(model.answer(z), y).item())


@pytest.mark.parametrize(
    ("side", "told"), [("server", "the loss on the server"), ("device", "the device half's output")]
)
def test_numbers_that_are_not_finite_stop_the_training_with_the_cause(side: str, told: str) -> None:
    model = built("plain")
    with torch.no_grad():
        next(getattr(model, side).parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError) as caught:
        train(model, *data(), PLAN, Lab())
    assert f"at step 1 of 12: {told} is not finite" in str(caught.value)
    assert "train.rate=0.01" in str(caught.value)
    assert "--set train.rate=0.001" in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_penalty_that_is_not_finite_stops_the_training() -> None:
    class Bad(Shield):
        def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
            return flat(z).sum() * float("inf")

    model = built("plain")
    model.shield = Shields([Bad()])
    with pytest.raises(TrainingError, match="step 1 of 12"):
        train(model, *data(), PLAN, Lab())


def test_the_model_is_in_eval_mode_afterwards() -> None:
    model = built("noise and dropout")
    train(model, *data(), PLAN, Lab())
    assert_eval(model)
    assert not any(part.training for part in model.modules())


@pytest.mark.parametrize("part", ["device.mid.0", "server.late", "shield"])
def test_a_part_left_in_train_mode_is_named(part: str) -> None:
    model = built("noise and dropout").eval()
    model.get_submodule(part).training = True
    with pytest.raises(TrainingError, match=f"'{part}'"):
        assert_eval(model)
    with pytest.raises(TrainingError, match="eval"):
        predict(model, data()[0], Lab())


def test_predictions_come_from_a_stream_of_their_own() -> None:
    model = built("noise").eval()
    torch.manual_seed(1)
    first = predict(model, data()[0], Lab(), batch=7)
    torch.manual_seed(2)
    assert torch.equal(first, predict(model, data()[0], Lab(), batch=7))
    assert not torch.equal(first, predict(model, data()[0], Lab(seed=1), batch=7))


def test_predictions_are_the_whole_path() -> None:
    with Lab().seeded("init"):
        net = Chain().eval()
    wanted = net(data()[0]).detach()
    model = cut(net, "relu", data(2)[0])
    assert torch.allclose(predict(model, data()[0], Lab(), batch=7), wanted, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_halves_are_saved_and_read_back(case: str, tmp_path: Path) -> None:
    model = built(case)
    train(model, *data(), PLAN, Lab())
    model.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {f"{n}.safetensors" for n in ("device", "shield", "server")}
    fresh = built(case).eval()
    assert difference(fresh, model) > 0
    fresh.load(tmp_path)
    assert difference(fresh, model) == 0
    assert torch.equal(predict(fresh, data()[0], Lab()), predict(model, data()[0], Lab()))


def test_no_epochs_leave_every_weight() -> None:
    model = built("plain")
    before = copy.deepcopy(model)
    train(model, *data(), Training(epochs=0), Lab())
    assert difference(model, before) == 0
