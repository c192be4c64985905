"""What every defence keeps, and the noise laws against scipy's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from unsmash.bounds.regions import Region
from unsmash.component import discover
from unsmash.defences.base import Defence
from unsmash.defences.gaussian import GaussianShield
from unsmash.defences.laplace import MEDIAN_FROM, LaplaceShield
from unsmash.lab import Lab
from unsmash.split import Shield, Shields, Site, Smashed, flat

KINDS = discover("unsmash.defences", Defence)
every = pytest.mark.parametrize("kind", KINDS)
SHAPES: list[tuple[tuple[int, ...], ...]] = [((12,),), ((4, 3, 3),), ((4, 3, 3), (5,))]
shapes = pytest.mark.parametrize("cut", SHAPES, ids=["flat", "maps", "several"])

LAWS = {"gaussian": (GaussianShield, stats.norm), "laplace": (LaplaceShield, stats.laplace)}
laws = pytest.mark.parametrize("law", LAWS)


def armed(kind: str, cut: tuple[tuple[int, ...], ...]) -> Shield:
    made = KINDS[kind].model_validate({"kind": kind, **KINDS[kind].tiny})
    return made.arm(Site(cut, (1, 8, 8), 10), Lab()).eval()


def smashed(cut: tuple[tuple[int, ...], ...], count: int = 6) -> Smashed:
    draw = torch.Generator().manual_seed(count)
    return tuple(torch.randn(count, *shape, generator=draw) for shape in cut)


def zeros(count: int) -> Smashed:
    return (torch.zeros(count, 1),)


def send(shield: Shield, z: Smashed, seed: int = 0) -> Smashed:
    with Lab(seed=seed).seeded("release"), torch.no_grad():
        return shield(z)


@every
@shapes
def test_the_server_receives_the_shapes_of_the_smashed_data(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    z, shield = smashed(cut), armed(kind, cut)
    release = send(shield, z)
    received = shield.receive(release)
    assert isinstance(release, tuple)
    assert isinstance(received, tuple)
    assert all(part.is_floating_point() and len(part) == len(z[0]) for part in release)
    assert [part.shape for part in received] == [part.shape for part in z]
    assert [part.dtype for part in received] == [part.dtype for part in z]
    assert all(part.isfinite().all() for part in (*release, *received))


@every
@shapes
def test_two_releases_differ_exactly_when_it_says_so(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    shield, z = armed(kind, cut), smashed(cut, 400)
    with Lab().seeded("two"):
        first, second = shield(z), shield(z)
    same = all(map(torch.equal, first, second))
    assert same != shield.stochastic
    assert not shield.memoised


@every
def test_a_memoised_draw_is_one_draw_for_each_input(kind: str) -> None:
    """An option of every random defence: the key's holder repeats itself, whoever lacks the key cannot."""
    if "memoise" not in KINDS[kind].model_fields:
        assert not armed(kind, SHAPES[0]).stochastic, "a random defence has the option `memoise`"
        return
    made = KINDS[kind].model_validate({"kind": kind, **KINDS[kind].tiny, "memoise": True})
    shield, z = made.arm(Site(SHAPES[0], (1, 8, 8), 10), Lab()).eval(), smashed(SHAPES[0], 400)
    assert shield.stochastic
    assert shield.memoised
    first, again, turned = shield(z), shield(z), shield(tuple(part.flip(0) for part in z))
    assert all(map(torch.equal, first, again))
    assert all(torch.equal(one, other.flip(0)) for one, other in zip(first, turned, strict=True))
    stranger = copy.deepcopy(shield).forget()
    assert not stranger.memoised
    assert not all(map(torch.equal, stranger(z), first))
    assert shield.memoised


@every
@shapes
def test_without_its_noise_the_release_is_the_same_each_time(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    shield, z = armed(kind, cut), smashed(cut)
    first, second, release = shield.quiet(z), shield.quiet(z), send(shield, z)
    assert all(map(torch.equal, first, second))
    assert [part.shape for part in first] == [part.shape for part in release]
    if not shield.stochastic:
        assert all(map(torch.equal, first, release))


@every
def test_it_says_what_it_is_worth(kind: str) -> None:
    cls = KINDS[kind]
    assert cls.source
    assert cls.guarantee
    assert cls.protects.count(".") >= 2, "two sentences: what it protects, and what it does not"
    assert cls.cost in ("free", "training", "minutes")


@every
def test_it_can_be_put_on_a_trained_model_or_says_that_it_cannot(kind: str) -> None:
    cls = KINDS[kind]
    raw = {"kind": kind, **cls.tiny, "when": "inference"}
    if cls.after_training:
        assert cls.model_validate(raw).when == "inference"
    else:
        with pytest.raises(ValidationError, match="training"):
            cls.model_validate(raw)


@every
@shapes
def test_what_is_sent_on_the_wire_has_a_size(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    shield, z = armed(kind, cut), smashed(cut)
    before = 32.0 * flat(z).shape[1]
    assert 0 < shield.wire_bits(before, z, shield.quiet(z)) <= before + 32


@every
@shapes
def test_the_region_holds_what_is_sent_without_noise(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    """The premise of every bound: checked on extreme inputs."""
    shield = armed(kind, cut)
    z = tuple(torch.cat([part, 1e4 * part, torch.zeros_like(part)]) for part in smashed(cut, 30))
    region = shield.confine(Region(flat(z).shape[1]))
    rows = flat(shield.quiet(z)).double()
    assert region.numbers == rows.shape[1]
    spread = torch.cdist(rows, rows).max().item()
    assert spread <= region.diameter_l2() * (1 + 1e-5)
    assert torch.cdist(rows, rows, p=1).max().item() <= region.diameter_l1() * (1 + 1e-5)
    if region.sides:
        assert len(region.sides) == region.numbers
        assert ((rows.max(0).values - rows.min(0).values) <= torch.tensor(region.sides).double() * (1 + 1e-5)).all()
    if region.log2_points < 20:
        assert len(rows.unique(dim=0)) <= 2**region.log2_points * (1 + 1e-9)


@every
@shapes
def test_the_seed_decides_the_release_and_nothing_else_changes(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    shield, z = armed(kind, cut), smashed(cut)
    before = copy.deepcopy(z)
    assert all(map(torch.equal, send(shield, z, 1), send(shield, z, 1)))
    assert all(map(torch.equal, z, before))


def outcome(kind: str, **changes: object) -> list[Tensor]:
    """All that a defence does to one batch in training: release, what the server receives, penalty, reply."""
    made = KINDS[kind].model_validate({"kind": kind, **KINDS[kind].tiny, **changes})
    shield = made.arm(Site(SHAPES[0], (1, 8, 8), 10), Lab()).train()
    z = smashed(SHAPES[0], 64)
    draw = torch.Generator().manual_seed(9)
    x, y = torch.rand(64, 1, 8, 8, generator=draw), torch.arange(64) % 10
    with Lab().seeded("outcome"):
        release = shield(z)
        found = [*release, *shield.receive(release)]
        for _ in range(2):  # a learned adversary must have learned something
            found.append(shield.penalty(x, z, release, y).detach())
        found += shield.reply(tuple(part.detach().cos() for part in release), y % 2)
        claims = [claim.value or 0.0 for claim in shield.claims()]
    return [part.detach() for part in found] + [torch.tensor(claims)]


@every
def test_it_acts_in_training_as_well(kind: str) -> None:
    """It changes what is sent, adds to the loss, changes what comes back or sets a guard; one with a training of its
    own is tested apart.
    """
    made = KINDS[kind].model_validate({"kind": kind, **KINDS[kind].tiny})
    guarded = armed(kind, SHAPES[0]).guard(Lab()) is not None
    if made.trainer() is not None or made.when == "inference" or guarded:
        return
    there = outcome(kind)
    z = smashed(SHAPES[0], 64)
    sent_as_it_is = there[0].shape == z[0].shape and torch.equal(there[0], z[0])
    assert not sent_as_it_is or there[-3].abs() > 0 or not torch.equal(there[-2], there[0].cos())


@every
def test_gradients_reach_the_device_through_it(kind: str) -> None:
    shield = armed(kind, SHAPES[2])
    z = tuple(part.requires_grad_() for part in smashed(SHAPES[2]))
    release = shield(z)
    weights = [torch.randn(part.shape, generator=torch.Generator().manual_seed(2)) for part in release]
    sum((part * weight).sum() for part, weight in zip(release, weights, strict=True)).backward()  # type: ignore[union-attr]
    assert all(part.grad is not None and part.grad.isfinite().all() and part.grad.abs().sum() > 0 for part in z)


@every
@shapes
def test_the_true_candidate_is_among_the_likeliest_at_small_noise(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    shield, z = armed(kind, cut), smashed(cut, 20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    likelihood = shield.log_likelihood(send(shield, z), tuple(part[order] for part in z))
    if likelihood is None:
        return  # no closed form: the candidate list is then no exact ceiling, and the report says so
    assert likelihood.shape == (20, 20)
    assert likelihood.dtype == torch.float64
    assert not likelihood.isnan().any()
    mine = likelihood[torch.arange(20), order.argsort()]
    assert (mine >= likelihood.max(1).values - 1e-5).double().mean() >= 0.9


@every
def test_a_copy_is_independent(kind: str) -> None:
    shield, z = armed(kind, SHAPES[1]), smashed(SHAPES[1])
    before = send(shield, z)
    twin = copy.deepcopy(shield).to(torch.float64)
    for tensor in twin.state_dict().values():
        tensor.zero_()
    for name, value in list(vars(twin).items()):
        if isinstance(value, float):
            setattr(twin, name, value * 7)
    assert not {id(t) for t in twin.state_dict(keep_vars=True).values()} & {
        id(t) for t in shield.state_dict(keep_vars=True).values()
    }
    assert all(map(torch.equal, before, send(shield, z)))


@every
def test_its_state_is_all_that_it_learned(kind: str) -> None:
    """Armed alike and given the other's state, it sends the same."""
    one, other = armed(kind, SHAPES[1]), armed(kind, SHAPES[1])
    other.load_state_dict(one.state_dict())
    assert all(map(torch.equal, send(one, smashed(SHAPES[1])), send(other, smashed(SHAPES[1]))))


@every
def test_stronger_settings_are_never_silently_ignored(kind: str) -> None:
    """Every number among the settings changes what is sent, what is received, what is paid or what is proved.

    Settings of a fit or of a training of its own show only there; each such defence names them and tests them itself.
    """
    cls = KINDS[kind]
    base = cls.model_validate({"kind": kind, **cls.tiny})
    there = outcome(kind)
    for name, field in cls.model_fields.items():
        if field.annotation in (float, int) and name not in cls.fitted:
            other = outcome(kind, **{name: getattr(base, name) * 2})
            assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(there, other, strict=False)), name


@laws
@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_the_noise_has_the_law_it_claims(law: str, scale: float) -> None:
    make, truth = LAWS[law]
    noise = send(make(scale), zeros(100_000))[0].flatten().double().numpy()
    assert stats.kstest(noise, truth(scale=scale).cdf).pvalue > 0.01
    assert stats.kstest(noise, truth(scale=1.03 * scale).cdf).pvalue < 0.01  # the test would see 3 % too little
    others = stats.laplace(scale=scale / 2**0.5) if law == "gaussian" else stats.norm(scale=scale * 2**0.5)
    assert stats.kstest(noise, others.cdf).pvalue < 1e-9


@laws
def test_the_noise_of_different_numbers_is_independent(law: str) -> None:
    make, _ = LAWS[law]
    noise = send(make(1.0), (torch.zeros(4000, 6), torch.zeros(4000, 2, 2)))
    correlation = torch.corrcoef(flat(noise).T)
    off = correlation[~torch.eye(10, dtype=torch.bool)]
    assert off.abs().max() < 5 / 4000**0.5


@laws
def test_the_noise_does_not_depend_on_what_it_hides(law: str) -> None:
    make, _ = LAWS[law]
    z = (torch.full((5000, 1), 3.0),)
    assert torch.allclose(send(make(0.5), z)[0] - 3.0, send(make(0.5), zeros(5000))[0], atol=1e-5)


@laws
@pytest.mark.parametrize("cut", SHAPES[:1] + SHAPES[2:], ids=["flat", "several"])
def test_the_log_likelihood_is_the_density_ratio(law: str, cut: tuple[tuple[int, ...], ...]) -> None:
    make, truth = LAWS[law]
    shield, z = make(0.7), smashed(cut, 9)
    release = send(shield, z)
    found = shield.log_likelihood(release, z)
    assert found is not None
    density = truth(scale=0.7).logpdf((flat(release)[:, None] - flat(z)[None]).double().numpy()).sum(2)
    wanted = torch.from_numpy(density)
    # known up to a constant a row: only differences between candidates count
    assert torch.allclose(found - found[:, :1], wanted - wanted[:, :1], atol=1e-6)


def test_without_a_law_candidates_rank_by_distance_to_what_they_would_send() -> None:
    class Doubled(Shield):
        def forward(self, z: Smashed) -> Smashed:
            return tuple(2 * part for part in z)

    z = smashed(SHAPES[2], 12)
    for shield in (Shield(), Doubled(), Shields([Doubled()]), Shields([])):
        likelihood = shield.log_likelihood(shield(z), z)
        assert likelihood is not None
        assert torch.equal(likelihood.argmax(1), torch.arange(12))
        assert likelihood.max().abs() < 1e-6


def pooled(shield: Shield, count: int, numbers: int = 20_000) -> Tensor:
    with Lab(seed=count).seeded("pool"):
        return shield.pool([shield(zeros(numbers)) for _ in range(count)])[0]


def mean_of(shield: Shield, count: int, numbers: int = 20_000) -> Tensor:
    with Lab(seed=count).seeded("pool"):
        return torch.stack([shield(zeros(numbers))[0] for _ in range(count)]).mean(0)


@laws
def test_more_releases_pool_to_a_better_estimate(law: str) -> None:
    shield = LAWS[law][0](1.0)
    errors = [pooled(shield, count).square().mean().item() for count in (1, 2, 4, 16, 64)]
    for fewer, more in pairwise(errors):
        assert more < 0.6 * fewer


@laws
@pytest.mark.parametrize("count", [2, 3, MEDIAN_FROM, MEDIAN_FROM + 1, 64])
def test_the_pooled_estimate_is_not_off_centre(law: str, count: int) -> None:
    estimate = pooled(LAWS[law][0](1.0), count)
    assert abs(estimate.mean()) < 4 * estimate.std() / len(estimate) ** 0.5


@pytest.mark.parametrize("count", [MEDIAN_FROM, MEDIAN_FROM + 1, 40])
def test_many_laplace_releases_pool_better_than_their_mean(count: int) -> None:
    shield = LaplaceShield(1.0)
    assert pooled(shield, count).square().mean() < 0.85 * mean_of(shield, count).square().mean()


@every
@shapes
def test_pooling_keeps_the_shapes(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    shield, z = armed(kind, cut), smashed(cut)
    for count in (1, 2, 16):
        pooled = shield.pool([shield(z) for _ in range(count)])
        assert [part.shape for part in pooled] == [part.shape for part in shield(z)]
        assert all(part.isfinite().all() for part in pooled)


@every
@shapes
def test_a_burst_is_answered_frame_by_frame(kind: str, cut: tuple[tuple[int, ...], ...]) -> None:
    shield, z = armed(kind, cut), smashed(cut)
    sent = shield.session([z, tuple(part + 0.01 for part in z), z])
    assert len(sent) == 3
    assert all([part.shape for part in one] == [part.shape for part in shield(z)] for one in sent)


class Clip(Shield):
    """Deterministic: keeps every number between −1 and 1."""

    def forward(self, z: Smashed) -> Smashed:
        return tuple(part.clamp(-1, 1) for part in z)


class Toll(Shield):
    """Penalises large numbers."""

    def penalty(self, x: Tensor, z: Smashed, release: Smashed, y: Tensor) -> Tensor:
        return flat(z).square().mean()


def test_stacked_shields_act_in_order() -> None:
    z = (torch.tensor([[5.0, -0.5]]),)
    noise_last, clip_last = Shields([Clip(), GaussianShield(3.0)]), Shields([GaussianShield(3.0), Clip()])
    with Lab().seeded("order"):
        many = torch.cat([noise_last(z)[0] for _ in range(200)])
        kept = torch.cat([clip_last(z)[0] for _ in range(200)])
    assert many.abs().max() > 1
    assert kept.abs().max() <= 1
    # clipped before the noise, 5 becomes 1; its mean shows it
    assert abs(many[:, 0].mean() - 1) < 4 * 3 / 200**0.5


@pytest.mark.parametrize(
    ("layers", "stochastic"),
    [((), False), ((Clip(),), False), ((Clip(), LaplaceShield(1)), True), ((LaplaceShield(1), Clip()), True)],
)
def test_a_stack_draws_when_any_of_it_draws(layers: Sequence[Shield], stochastic: bool) -> None:
    assert Shields(layers).stochastic is stochastic


def test_a_stack_knows_its_law_when_only_the_last_layer_draws() -> None:
    z = smashed(SHAPES[0], 8)
    known = Shields([Clip(), LaplaceShield(0.4)])
    release = send(known, z)
    found = known.log_likelihood(release, z)
    wanted = LaplaceShield(0.4).log_likelihood(release, Clip()(z))
    assert found is not None
    assert torch.equal(found, wanted)
    assert Shields([LaplaceShield(0.4), Clip()]).log_likelihood(release, z) is None
    assert Shields([GaussianShield(0.4), LaplaceShield(0.4)]).log_likelihood(release, z) is None


def test_a_stack_pools_as_its_drawing_layer_knows_best() -> None:
    shield = Shields([Clip(), LaplaceShield(1.0)])
    with Lab().seeded("pool"):
        releases = [shield(zeros(500)) for _ in range(20)]
    assert torch.equal(shield.pool(releases)[0], LaplaceShield(1.0).pool(releases)[0])
    plain = Shields([Clip()])
    assert torch.equal(plain.pool(releases)[0], torch.stack([r[0] for r in releases]).mean(0))


def test_each_penalty_of_a_stack_sees_what_reached_its_shield() -> None:
    z = smashed(SHAPES[2])
    x, y = torch.zeros(6, 1, 8, 8), torch.zeros(6, dtype=torch.long)
    before, after = Toll().penalty(x, z, z, y), Toll().penalty(x, Clip()(z), z, y)
    assert after < before
    stack = Shields([Toll(), Clip(), Toll()])
    assert torch.equal(stack.penalties(x, stack.steps(z), y), before + after)
    assert torch.equal(stack.penalty(x, z, stack(z), y), before + after)
    assert Shields([]).penalties(x, Shields([]).steps(z), y) == 0
