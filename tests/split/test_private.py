"""Private training clips every record, adds the noise it says, and spends what an independent computation finds."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from zoo import SharedConv

from unsmash.bounds.epsilon import gaussian_epsilon
from unsmash.errors import ConfigError, DependencyError, TrainingError
from unsmash.lab import Lab
from unsmash.models.small_resnet import SmallResNet
from unsmash.models.splitnn import SplitNN
from unsmash.split import Shield, Shields, Smashed, SplitModel, cut, private
from unsmash.split.private import least_noise, schedule, train_privately, training_epsilon
from unsmash.split.train import Training, train

PLAN = Training(epochs=2, batch=8, rate=1e-2)


def data(count: int = 40, shape: tuple[int, ...] = (1, 8, 8), classes: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(2)
    return torch.rand(count, *shape, generator=draw), torch.randint(classes, (count,), generator=draw)


def seeded(make: Callable[[], nn.Module], at: str, shape: tuple[int, ...] = (1, 8, 8)) -> SplitModel:
    with Lab(seed=1).seeded("model"):
        return cut(make(), at, torch.rand(2, *shape))


class Plain(nn.Module):
    def __init__(self, mid: nn.Module | None = None, late: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.mid, self.fc1 = nn.Conv2d(1, 4, 3), mid or nn.Identity(), nn.Linear(144, 12)
        self.late, self.fc2 = late or nn.Identity(), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv(x))
        return self.fc2(self.late(torch.tanh(self.fc1(torch.relu(x).flatten(1)))))


class SharedLinear(nn.Module):
    """One linear layer runs on both sides of `mid`."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.mid, self.fc = nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.twice(self.mid(self.twice(x.flatten(1))))))


class Skip(nn.Module):
    """What `early` gives crosses the cut at `mid` too, and is added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.mid, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        early = torch.tanh(self.early(x))
        x = self.mid(early)
        x += early
        return self.fc(nn.functional.relu(x, inplace=True).mean((2, 3)))


class Token(nn.Module):
    """A weight that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.fc1, self.fc2 = nn.Parameter(torch.ones(64)), nn.Linear(64, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.tanh(self.fc1(x.flatten(1) * self.token)))


def resnet() -> nn.Module:
    net = SmallResNet(width=4).build((3, 16, 16), 4, Lab())
    for name, layer in [*net.named_modules()]:
        if isinstance(layer, nn.BatchNorm2d):
            net.set_submodule(name, nn.GroupNorm(4, layer.num_features))
    return net


GREY, COLOUR, DIGIT = (1, 8, 8), (3, 16, 16), (1, 12, 12)
Case = tuple[Callable[[], nn.Module], str, tuple[int, ...], str]
CASES: dict[str, Case] = {
    "splitnn": (lambda: SplitNN().build(DIGIT, 4, Lab()), "code", DIGIT, "ghost"),
    "splitnn early": (lambda: SplitNN().build(DIGIT, 4, Lab()), "conv1", DIGIT, "ghost"),
    "resnet between blocks": (resnet, "block2", COLOUR, "ghost"),
    "resnet inside a block": (resnet, "block2.conv1", COLOUR, "ghost"),
    "skip connection": (Skip, "mid", GREY, "ghost"),
    "a layer in both halves": (SharedConv, "mid", GREY, "ghost"),
    "a linear layer in both halves": (SharedLinear, "mid", GREY, "hooks"),
    "dropout": (lambda: Plain(late=nn.Dropout(0.3)), "fc1", GREY, "ghost"),
    "a weight of no layer": (Token, "fc1", GREY, "ghost"),
}
each = pytest.mark.parametrize("case", CASES)


def build(case: str) -> tuple[SplitModel, tuple[int, ...], str]:
    make, at, shape, clipping = CASES[case]
    return seeded(make, at, shape), shape, clipping


class Descent:
    """In place of Adam, which would hide how long a step is: plain descent by one."""

    def __init__(self, parameters: list[nn.Parameter], rate: float, steps: int) -> None:
        self.adam = torch.optim.SGD(parameters, lr=1.0)
        self.cycle = torch.optim.lr_scheduler.LambdaLR(self.adam, lambda _: 1.0)


@pytest.fixture
def descent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "Optimiser", Descent)


@pytest.fixture(params=["ghost", "hooks"])
def clipping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(private, "choose", lambda *_: request.param)
    return str(request.param)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).double()


def step(
    model: SplitModel, x: Tensor, y: Tensor, *, noise: float = 0.0, clip: float = 1.0, lab: Lab | None = None
) -> Tensor:
    """How one step on all records at once moves the weights."""
    before = weights(model)
    train_privately(model, x, y, Training(epochs=1, batch=len(x)), lab or Lab(), noise=noise, clip=clip)
    return weights(model) - before


def gradients(model: SplitModel, x: Tensor, y: Tensor) -> Tensor:
    """Each record's own gradient, by plain autograd on the record alone: [n, weights]."""
    rows = []
    for one, label in zip(x.split(1), y.split(1), strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(one), label).backward()
        rows.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    model.zero_grad()
    return torch.stack(rows).double()


@each
def test_every_kind_of_cut_trains_and_nothing_of_opacus_stays(case: str) -> None:
    model, shape, clipping = build(case)
    frozen = next(model.parameters())
    frozen.requires_grad_(False)
    before, attributes = copy.deepcopy(model.state_dict()), [set(vars(layer)) for layer in model.modules()]
    assert train_privately(model, *data(24, shape), PLAN, Lab(), noise=1.0, clip=1.0) == clipping
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    names = {id(p): name for name, p in model.named_parameters()}
    assert names[id(frozen)] not in trained
    for name, tensor in model.state_dict().items():
        if name in trained:
            assert not torch.equal(tensor, before[name]), name
    assert torch.equal(frozen, before[names[id(frozen)]])
    assert not any(module.training for module in model.modules())
    assert [set(vars(layer)) for layer in model.modules()] == attributes
    assert not any(vars(p) or p.grad is not None for p in model.parameters())
    assert not any(layer._forward_hooks or layer._backward_hooks for layer in model.modules())
    twin = copy.deepcopy(model)
    train(twin, *data(24, shape), PLAN, Lab())  # the usual training still works on it


@each
@pytest.mark.usefixtures("descent")
def test_a_step_is_the_mean_of_the_clipped_gradients_of_both_halves(case: str) -> None:
    if case == "dropout":
        return  # the records' masks differ from call to call
    model, shape, _ = build(case)
    x, y = data(6, shape)
    rows = gradients(model.train(), x, y)
    clip = float(rows.norm(dim=1).median())  # some are shortened, some are not
    shortened = rows * (clip / rows.norm(dim=1)).clamp(max=1)[:, None]
    assert 0 < int((rows.norm(dim=1) > clip).sum()) < len(x)
    assert torch.allclose(step(model, x, y, clip=clip), -shortened.mean(0), atol=1e-5 * clip, rtol=1e-4)


@pytest.mark.usefixtures("descent")
def test_one_record_moves_the_weights_by_the_clip_at_most(clipping: str) -> None:
    x, y = data(1)
    outlier = 1e4 * x
    free = gradients(seeded(SharedConv, "mid").train(), outlier, y).norm()
    moved = step(seeded(SharedConv, "mid"), outlier, y, clip=0.5).norm()
    assert free > 100
    assert moved == pytest.approx(0.5, rel=1e-4)


@pytest.mark.usefixtures("descent")
def test_another_record_in_its_place_changes_a_step_by_two_clips_at_most(clipping: str) -> None:
    x, y = data(10)
    there = torch.cat([x[:9], 1e4 * x[9:]])
    difference = step(seeded(SharedConv, "mid"), x, y, clip=0.5) - step(seeded(SharedConv, "mid"), there, y, clip=0.5)
    assert 0 < difference.norm() <= 2 * 0.5 / 10 * (1 + 1e-4)


def test_ghost_clipping_and_hooks_train_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for way in ("ghost", "hooks"):
        monkeypatch.setattr(private, "choose", lambda *_, way=way: way)
        model = seeded(resnet, "block2", COLOUR)
        assert train_privately(model, *data(24, COLOUR), PLAN, Lab(), noise=0.7, clip=0.8) == way
        found.append(weights(model))
    assert torch.allclose(found[0], found[1], atol=2e-3)
    start = weights(seeded(resnet, "block2", COLOUR))
    assert (found[0] - found[1]).norm() < 0.01 * (found[0] - start).norm()


@pytest.mark.usefixtures("descent")
def test_the_noise_is_gaussian_of_the_size_it_says_even_when_nobody_is_drawn(
    clipping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(images: Tensor, labels: Tensor, plan: Training, lab: Lab) -> Iterator[tuple[Tensor, Tensor]]:
        yield images[:0], labels[:0]

    monkeypatch.setattr(private, "_poisson", nobody)
    moved = step(seeded(Plain, "fc1"), *data(10), noise=3.0, clip=0.5).numpy()
    assert stats.kstest(moved, stats.norm(scale=3.0 * 0.5 / 10).cdf).pvalue > 0.01
    assert stats.kstest(moved, stats.norm(scale=2.5 * 0.5 / 10).cdf).pvalue < 0.01


def test_empty_batches_come_up_and_are_survived(clipping: str) -> None:
    x, y = data(4)
    plan = Training(epochs=8, batch=1, augment=True)
    sizes = [len(part) for part, _ in private._poisson(x, y, plan, Lab())]
    assert 0 in sizes
    model = seeded(Plain, "fc1")
    train_privately(model, x, y, plan, Lab(), noise=1.0, clip=1.0)
    assert weights(model).isfinite().all()


def test_every_record_flips_a_coin_of_its_own() -> None:
    x, plan = torch.arange(50.0)[:, None, None, None], Training(epochs=200, batch=5)
    taken = torch.zeros(schedule(50, plan)[1], 50)
    for row, (part, _) in enumerate(private._poisson(x, torch.zeros(50), plan, Lab())):
        taken[row, part.flatten().long()] = 1
    assert len(taken) == 2000
    for counts in (taken.sum(0), taken.sum(1)):  # over the steps, and over the records
        size = taken.numel() // len(counts)
        assert stats.kstest((counts + 0.5).numpy(), stats.binom(size, 0.1).cdf).statistic < 0.2
        assert counts.var() == pytest.approx(size * 0.1 * 0.9, rel=0.5)
    together = torch.corrcoef(taken.T)[~torch.eye(50, dtype=torch.bool)]
    assert together.abs().max() < 5 / 2000**0.5


def test_the_seed_decides_and_nobody_elses_randomness_is_touched() -> None:
    def trained(seed: int) -> Tensor:
        model = seeded(lambda: Plain(late=nn.Dropout(0.3)), "fc1")
        train_privately(model, *data(), Training(epochs=1, batch=8, augment=True), Lab(seed=seed), noise=1.0, clip=1.0)
        return weights(model)

    torch.manual_seed(4)
    before, first = torch.get_rng_state(), trained(0)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    assert torch.equal(first, trained(0))
    assert not torch.equal(first, trained(1))


def test_what_the_loss_does_not_reach_stays_as_it_is() -> None:
    model = seeded(Plain, "fc1")
    spare = nn.Linear(3, 3)
    model.server.add_module("spare", spare)
    before = spare.weight.clone()
    train_privately(model, *data(), PLAN, Lab(), noise=1.0, clip=1.0)
    assert torch.equal(before, spare.weight)
    assert spare.weight.requires_grad


def test_learned_shields_are_trained_privately_with_the_halves() -> None:
    class Scaled(Shield):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(12, 12)

        def forward(self, z: Smashed) -> Smashed:
            return (z[0] + self.inner(z[0]) + 0.1 * torch.randn_like(z[0]),)

    model = seeded(Plain, "fc1")
    model.shield = Shields([Scaled()])
    before = weights(model.shield)
    train_privately(model, *data(), PLAN, Lab(), noise=1.0, clip=1.0)
    assert not torch.equal(before, weights(model.shield))


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Watching(nn.Module):
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.detach().mean()
        return x


class Twofold(nn.Module):
    """The weight is used by its layer, which is hooked, and beside it, which is not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + x @ self.inner.weight


class Turned(nn.Module):
    """A layer that is given the batch in the second place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.reshape(len(x), 3, 4).transpose(0, 1)).transpose(0, 1).flatten(1)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "BatchNorm": (lambda: Plain(mid=nn.BatchNorm2d(4)), "mixes the records"),
    "BatchNorm without weights": (lambda: Plain(mid=nn.BatchNorm2d(4, affine=False)), "mixes the records"),
    "a mean over the batch": (lambda: Plain(late=Centred()), "mixes the records"),
    "a running mean": (lambda: Plain(late=Watching()), "'server.late.seen' remembers"),
    "a layer's weight used beside it": (lambda: Plain(late=Twofold()), "'server.late.inner.weight' would escape"),
    "the batch not first": (lambda: Plain(late=Turned()), "'server.late.inner.weight' is not known record by record"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_would_void_the_claim_is_refused(case: str) -> None:
    make, why = REFUSED[case]
    model = seeded(make, "fc1")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match=why) as caught:
        train_privately(model, *data(), PLAN, Lab(), noise=1.0, clip=1.0)
    assert "\n" not in str(caught.value)
    assert not any(vars(p) for p in model.parameters())
    if case not in ("BatchNorm", "BatchNorm without weights", "a running mean"):
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_frozen_network_is_refused() -> None:
    model = seeded(Plain, "fc1").requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing in it can be trained"):
        train_privately(model, *data(), PLAN, Lab(), noise=1.0, clip=1.0)


def test_a_layer_that_is_left_out_of_a_step_is_noticed() -> None:
    class Moody(nn.Module):
        """Runs on dark images only; the random probes are not."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(12, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) if x.abs().max() > 1e-3 else x

    model = SplitModel(nn.Flatten(), nn.Sequential(nn.Linear(64, 12, bias=False), Moody(), nn.Linear(12, 4)))
    x, y = data()
    with pytest.raises(ConfigError, match=r"'server.1.inner.weight' is not known record by record"):
        train_privately(model, 0 * x, y, PLAN, Lab(), noise=1.0, clip=1.0)


def test_a_training_that_is_not_finite_stops_with_the_step() -> None:
    x, y = data()
    with pytest.raises(TrainingError, match=r"step 1 of 10: .* not finite.*train.rate=0.001"):
        train_privately(seeded(Plain, "fc1"), x * math.nan, y, PLAN, Lab(), noise=1.0, clip=1.0)


@pytest.mark.parametrize(
    ("records", "batch", "epochs", "wanted"),
    [(2000, 64, 6, (0.032, 192)), (10, 64, 3, (1.0, 3)), (65, 64, 1, (64 / 65, 2))],
)
def test_as_many_steps_as_the_usual_training(records: int, batch: int, epochs: int, wanted: tuple[float, int]) -> None:
    assert schedule(records, Training(epochs=epochs, batch=batch)) == wanted


def test_the_accountants_agree_with_what_was_known() -> None:
    rdp, by = training_epsilon(1.0, 0.1, 30, 1e-5, "rdp")
    assert rdp == pytest.approx(4.848, abs=1e-3)
    assert by == "rdp"
    prv, by = training_epsilon(1.0, 0.1, 30, 1e-5, "prv")
    assert prv < rdp
    assert by == "prv"


@pytest.mark.parametrize("noise", [0.7, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("steps", [1, 10, 100])
@pytest.mark.parametrize("delta", [1e-4, 1e-10])
def test_with_everybody_in_every_step_epsilon_is_the_gaussian_mechanisms(
    noise: float, steps: int, delta: float
) -> None:
    exact = gaussian_epsilon(math.sqrt(steps), noise, delta)
    for accountant, slack in (("prv", 0.02), ("rdp", 0.35 + 0.2 * exact)):
        found, by = training_epsilon(noise, 1.0, steps, delta, accountant)  # type: ignore[arg-type]
        assert exact <= found
        assert by == "rdp" or found <= exact + slack


def composed_delta(epsilon: float, noise: float, rate: float, steps: int, *, remove: bool) -> float:
    """δ at that ε by brute force: the loss of one step on a grid, rounded up, convolved with itself."""
    x = np.linspace(-14 * noise, 1 + 14 * noise, 2_000_001)
    middle, mass = (x[1:] + x[:-1]) / 2, np.diff(stats.norm.cdf(x, scale=noise))
    mixed = (1 - rate) * mass + rate * np.diff(stats.norm.cdf(x, loc=1, scale=noise))
    loss = np.log1p(rate * np.expm1((2 * middle - 1) / (2 * noise**2)))
    loss, mass = (loss, mixed) if remove else (-loss, mass)
    width, half = 2e-4, 2**17
    place = np.clip(np.ceil(loss / width).astype(int), -half, half - 1) % (2 * half)
    line = np.bincount(place, weights=mass, minlength=2 * half)
    total = np.fft.irfft(np.fft.rfft(line) ** steps)
    losses = np.fft.fftfreq(2 * half, 1 / (2 * half)) * width
    return float((total * -np.expm1(np.minimum(epsilon - losses, 0))).sum())


@pytest.mark.parametrize(("noise", "rate", "steps", "delta"), [(1.0, 0.1, 30, 1e-5), (1.0, 0.032, 192, 1e-4)])
def test_epsilon_agrees_with_a_composition_by_brute_force(noise: float, rate: float, steps: int, delta: float) -> None:
    found, _ = training_epsilon(noise, rate, steps, delta, "prv")
    upper = [composed_delta(found + 0.03, noise, rate, steps, remove=remove) for remove in (True, False)]
    lower = composed_delta(found - 0.05, noise, rate, steps, remove=True)
    assert max(upper) <= delta < lower


def test_more_noise_fewer_steps_and_rarer_records_cost_less() -> None:
    there = training_epsilon(1.0, 0.05, 100, 1e-5, "prv")[0]
    for cheaper in ((1.2, 0.05, 100, 1e-5), (1.0, 0.04, 100, 1e-5), (1.0, 0.05, 80, 1e-5), (1.0, 0.05, 100, 1e-4)):
        assert training_epsilon(*cheaper, "prv")[0] < there


@pytest.mark.parametrize(("noise", "rate"), [(0.05, 0.5), (1e-3, 1.0)])
def test_too_little_noise_still_has_an_answer(noise: float, rate: float) -> None:
    found, by = training_epsilon(noise, rate, 100, 1e-5, "prv")
    assert found > private.BEYOND
    assert by == "rdp"


@pytest.mark.parametrize(("accountant", "target"), [("prv", 2.4), ("rdp", 0.5), ("rdp", 10.0)])
def test_the_least_noise_spends_the_target_and_no_more(accountant: Any, target: float) -> None:
    noise = least_noise(target, 0.05, 60, 1e-5, accountant)
    assert training_epsilon(noise, 0.05, 60, 1e-5, accountant)[0] <= target
    assert training_epsilon(noise * 0.995, 0.05, 60, 1e-5, accountant)[0] > target


def test_a_target_out_of_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"defences.dpsgd.epsilon: got 1e-05.*noise ≤ 1000"):
        least_noise(1e-5, 1.0, 1000, 1e-10, "prv")


def test_without_opacus_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opacus"] or ["opacus"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyError, match=r'pip install "unsmash\[dp\]"'):
        training_epsilon(1.0, 0.1, 30, 1e-5, "prv")


def test_nothing_imports_opacus_before_it_is_asked_for() -> None:
    code = "import sys, unsmash.defences.dpsgd, unsmash.victim; sys.exit('opacus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
