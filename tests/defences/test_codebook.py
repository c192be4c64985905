"""The codebook: so many symbols and no more, picked and passed back as meant, and randomised response to the letter."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from unsmash.bounds.epsilon import local_epsilon
from unsmash.bounds.messages import log2_messages
from unsmash.bounds.regions import Region
from unsmash.data.base import Splits
from unsmash.defences.codebook import PASSED, Codebook, CodebookShield, confidence
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.nets import jitter
from unsmash.split import Fitting, Site, Smashed
from unsmash.split.burst import NEAR
from unsmash.split.heads import k_means
from unsmash.split.train import predict
from unsmash.victim import prepare

KINDS: list[tuple[dict[str, Any], int]] = [
    ({}, 10),
    ({"symbols": "levels"}, 50),
    ({"symbols": "levels", "levels": 3}, 30),
    ({"symbols": "prototypes"}, 50),
    ({"symbols": "prototypes", "size": 17}, 17),
    ({"symbols": "prototypes", "size": 17, "hidden": 8}, 17),
]
kinds = pytest.mark.parametrize(("raw", "points"), KINDS, ids=[str(raw) for raw, _ in KINDS])


def armed(classes: int = 10, **raw: Any) -> CodebookShield:
    made = Codebook.model_validate({"kind": "codebook", **raw})
    shield = made.arm(Site(((12,),), (1, 8, 8), classes), Lab()).eval()
    assert isinstance(shield, CodebookShield)
    return shield


def smashed(count: int, size: float = 3.0) -> Smashed:
    return (size * torch.randn(count, 12, generator=torch.Generator().manual_seed(count)),)


def send(shield: CodebookShield, z: Smashed, seed: int = 0) -> Tensor:
    with Lab(seed=seed).seeded("send"), torch.no_grad():
        return shield(z)[0]


def fitting(count: int = 80, *, trained: bool = False) -> Fitting:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 10
    images = nn.functional.one_hot(labels, 64).float().reshape(count, 1, 8, 8) + 0.2 * torch.rand(
        count, 1, 8, 8, generator=draw
    )
    return Fitting(
        images / 1.2, labels, lambda x: (x.flatten(1)[:, :12],), lambda z: 9 * z[0][:, :10], trained=trained, lab=Lab()
    )


@kinds
def test_the_release_is_one_of_so_many_symbols(raw: dict[str, Any], points: int) -> None:
    for response in (None, 3.0):
        shield = armed(**raw, response=response)
        release = send(shield, (torch.cat([smashed(300)[0], 1e4 * smashed(300)[0], torch.zeros(1, 12)]),))
        assert release.shape == (601, points)
        assert release.sum(1).eq(1).all()
        assert release.unique().tolist() == [0, 1]  # to the bit: a rounding error would be a message
        region = shield.confine(Region(12))
        assert region.log2_points == math.log2(points)
        assert len(region.premises) == 1
        assert shield.wire_bits(384, smashed(1), (release[:1],)) == math.ceil(math.log2(points))
        assert 2 ** log2_messages(region, shield.noise)[0] <= points * (1 + 1e-9)
        assert shield.confine(Region(12, log2_points=1.5)).log2_points == 1.5


@kinds
def test_gradients_pass_as_if_the_soft_choice_had_been_sent(raw: dict[str, Any], points: int) -> None:
    shield, weight = armed(**raw), torch.randn(30, points, generator=torch.Generator().manual_seed(2))
    z = smashed(30)[0].requires_grad_()
    (shield((z,))[0] * weight).sum().backward()
    found, z.grad = z.grad, None
    soft = shield.soft(shield.head((z,)))
    (soft * weight).sum().backward()
    assert found is not None
    assert z.grad is not None
    assert torch.allclose(found, z.grad * (PASSED if raw.get("symbols") == "prototypes" else 1), atol=1e-7)
    assert torch.allclose(soft.sum(1), torch.ones(30), atol=1e-5)
    assert torch.equal(shield((z,))[0].argmax(1), soft.argmax(1))
    if raw.get("symbols") != "levels":
        assert torch.equal(soft, shield.head((z,)).softmax(1))


def test_randomised_response_changes_no_gradient() -> None:
    plain, drawn = armed(), armed(response=0.5)
    drawn.load_state_dict(plain.state_dict())
    found = []
    for shield in (plain, drawn):
        z = smashed(30)[0].requires_grad_()
        with Lab().seeded("draw"):
            (shield((z,))[0] * torch.arange(10.0)).sum().backward()
        assert z.grad is not None
        found.append(z.grad)
    assert torch.equal(found[0], found[1])


def test_the_label_is_the_heads_best() -> None:
    shield, z = armed(), smashed(200)
    assert torch.equal(send(shield, z).argmax(1), shield.head(z).argmax(1))


def test_a_level_tells_the_label_and_how_sure_it_is() -> None:
    shield, z = armed(symbols="levels", levels=4), smashed(400)
    with torch.no_grad():
        logits = shield.head(z)
        shield.edges.copy_(confidence(logits).quantile(torch.tensor([0.25, 0.5, 0.75])))
    symbol = send(shield, z).argmax(1)
    assert torch.equal(symbol // 4, logits.argmax(1))
    assert (symbol % 4).bincount().tolist() == [100] * 4
    sure = [confidence(logits)[symbol % 4 == level] for level in range(4)]
    assert all(low.max() <= high.min() for low, high in pairwise(sure))


def test_the_edges_of_the_levels_follow_the_confidence_in_training() -> None:
    shield, z = armed(symbols="levels", levels=5), smashed(500, 40.0)
    start = shield.edges.clone()
    send(shield, z)
    assert torch.equal(shield.edges, start)  # at inference they stand still
    shield.train()
    for _ in range(200):
        send(shield, z)
    wanted = confidence(shield.head(z)).quantile(torch.tensor([0.2, 0.4, 0.6, 0.8]))
    assert torch.allclose(shield.edges, wanted, rtol=1e-3)
    assert (send(shield.eval(), z).argmax(1) % 5).bincount().tolist() == pytest.approx([100] * 5, abs=2)


def test_levels_are_fitted_to_the_training_images() -> None:
    shield, given = armed(symbols="levels"), fitting()
    with Lab().seeded("fit"):
        shield.fit(given)
    counts = (send(shield, given.entering(given.images)).argmax(1) % 5).bincount(minlength=5)
    assert counts.min() > 14


@pytest.mark.parametrize("size", [10, 20])
def test_prototypes_start_at_each_class_s_centres_and_send_the_nearest(size: int) -> None:
    shields = []
    for _ in range(2):
        shields.append(armed(symbols="prototypes", size=size))
        with Lab().seeded("fit"):
            shields[-1].fit(fitting())
    one, other = shields
    assert all(torch.equal(one.state_dict()[name], other.state_dict()[name]) for name in one.state_dict())
    given = fitting()
    rows = given.entering(given.images)[0]
    draw = given.lab.generator("prototypes")
    centres = torch.cat([k_means(rows[given.labels == label], size // 10, draw) for label in range(10)])
    assert torch.equal(send(one, (rows,)).argmax(1), torch.cdist(rows, centres).argmin(1))
    assert one.reading is not None
    sent = send(one, (rows,)).argmax(1)
    assert (one.reading[sent].argmax(1) == given.labels).double().mean() > 0.9  # each tells the class of its images


def test_fewer_prototypes_than_classes_share_them() -> None:
    shield = armed(symbols="prototypes", size=4)
    with Lab().seeded("fit"):
        shield.fit(fitting())
    given = fitting()
    assert len(send(shield, given.entering(given.images)).unique(dim=0)) == 4


@pytest.mark.parametrize(("raw", "points"), [({}, 10), ({"symbols": "levels", "levels": 2}, 20)])
@pytest.mark.parametrize("epsilon", [0.3, 2.0, 4.0])
def test_randomised_response_has_the_law_it_claims(raw: dict[str, Any], points: int, epsilon: float) -> None:
    shield, count = armed(**raw, response=epsilon), 60_000
    z = (smashed(1)[0].expand(count, 12),)
    true = int(shield.quiet(z)[0][0].argmax())
    seen = send(shield, z).sum(0)
    kept = math.exp(epsilon) / (math.exp(epsilon) + points - 1)
    wanted = torch.full((points,), count * (1 - kept) / (points - 1))
    wanted[true] = count * kept
    assert stats.chisquare(seen.numpy(), wanted.numpy()).pvalue > 0.01


def test_the_likelihood_under_randomised_response_is_exact() -> None:
    shield, z = armed(response=1.5), smashed(40)
    found = shield.log_likelihood((send(shield, z),), z)
    kept = math.exp(1.5) / (math.exp(1.5) + 9)
    seen, true = send(shield, z).argmax(1), shield.quiet(z)[0].argmax(1)
    wanted = torch.where(seen[:, None] == true, math.log(kept), math.log((1 - kept) / 9)).double()
    assert found.dtype == torch.float64
    assert torch.allclose(found - found.max(), wanted - wanted.max())


def test_without_response_candidates_of_one_symbol_tie_exactly() -> None:
    shield, z = armed(), smashed(60)
    found = shield.log_likelihood((send(shield, z),), z)
    symbol = shield.quiet(z)[0].argmax(1)
    assert torch.equal(found == 0, symbol[:, None] == symbol)
    assert found.unique().tolist() == [-1e6, 0]
    assert found.isfinite().all()


def test_repeats_pool_to_the_most_frequent_symbol() -> None:
    shield, z = armed(response=1.0), smashed(100)
    with Lab().seeded("repeats"):
        releases = [shield(z) for _ in range(400)]
    pooled = shield.pool(releases)
    assert torch.equal(pooled[0].sum(1), torch.ones(100))
    assert torch.equal(pooled[0], shield.quiet(z)[0])  # 400 repeats see through randomised response
    assert torch.equal(shield.pool(releases[:1])[0], releases[0][0])


def test_the_bounds_know_the_law() -> None:
    region = armed(response=2.0).confine(Region(12))
    assert local_epsilon(region, armed(response=2.0).noise, delta=0) == 2.0
    assert armed().noise is None
    assert log2_messages(armed().confine(Region(12)), None, queries=64) == (math.log2(10), "values")


def test_the_key_draws_once_for_each_input_though_inputs_share_their_symbol() -> None:
    shield = armed(response=0.5, memoise=True)
    z = (smashed(1)[0] + 1e-4 * smashed(300)[0],)
    assert len(shield.quiet(z)[0].unique(dim=0)) == 1
    release = shield(z)[0]
    assert torch.equal(shield(z)[0], release)
    assert len(release.unique(dim=0)) > 5
    assert not armed(memoise=True).memoised  # nothing is drawn


def test_the_server_is_given_the_symbols_row() -> None:
    shield, z = armed(), smashed(20)
    release = send(shield, z)
    found = shield.receive((release,))[0]
    table = shield.receiver(torch.eye(10))[0]
    assert torch.equal(found, table[release.argmax(1)])


@kinds
def test_the_penalty_trains_the_head_to_tell_the_classes(raw: dict[str, Any], points: int) -> None:
    shield, given = armed(**raw), fitting(160)
    with Lab().seeded("fit"):
        shield.fit(given)
    z, y = given.entering(given.images), given.labels
    adam = torch.optim.Adam(shield.parameters(), lr=0.05)
    for _ in range(60):
        adam.zero_grad()
        shield.penalty(given.images, z, z, y).backward()
        adam.step()
    symbol, told = send(shield, z).argmax(1), torch.zeros(points, 10)
    told.index_put_((symbol, y), torch.ones(len(y)), accumulate=True)
    assert told.max(1).values.sum() / len(y) > 0.9  # the symbol tells the class


def test_one_class_and_two() -> None:
    for classes in (1, 2):
        for raw in ({}, {"symbols": "levels"}, {"response": 1.0}):
            shield, z = armed(classes, **raw), smashed(5)
            release = send(shield, z)
            assert release.sum(1).eq(1).all()
            assert shield.receive((release,))[0].shape == (5, 12)
            assert shield.wire_bits(384, z, (release,)) >= 1


def test_a_burst_has_one_answer_with_one_draw() -> None:
    shield = armed(response=0.1, burst=1.0)
    shield.reach.fill_(1e3)
    with Lab().seeded("burst"):
        sent = [release[0] for release in shield.session([smashed(50, 3.0), smashed(50, 3.1), smashed(50, 2.9)])]
    assert torch.equal(sent[0], sent[1])
    assert torch.equal(sent[0], sent[2])


def trained(digits: Splits, **raw: Any) -> Any:
    one = study(
        {
            "data": {"kind": "digits"},
            "model": "shallow_net",
            "defences": [{"kind": "codebook", **raw}],
            "train": {"epochs": 30, "batch": 8},
        }
    )
    return prepare(one.experiment, digits, Lab(), None).model


@pytest.mark.parametrize("when", ["always", "inference"])
def test_on_real_digits_the_server_reads_the_label_and_loses_nothing(digits: Splits, when: str) -> None:
    model = trained(digits, when=when, burst=1.5)
    shield, x, y = model.shield.layers[0], digits.shadow.pixels, digits.shadow.labels
    with torch.no_grad():
        head = shield.head(model.smash(x)).argmax(1)
    answers = predict(model, x, Lab()).argmax(1)
    assert (answers == y).double().mean() > 0.75
    assert (answers == head).all()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        frames = [model.smash(jitter(x, draw, **NEAR)) for _ in range(9)]
        apart = torch.stack([(shield.place(z) - shield.place(frames[0])).norm(dim=1) for z in frames[1:]])
        own = torch.stack([shield(z)[0].argmax(1) for z in frames])
        kept = torch.stack([release[0].argmax(1) for release in shield.session(frames)])
    assert (apart <= shield.reach).double().mean() > 0.95
    assert (own != own[0]).any(0).double().mean() > 2 * (kept != kept[0]).any(0).double().mean()


@pytest.mark.parametrize(("symbols", "hidden"), [("levels", None), ("prototypes", None), ("prototypes", 64)])
@pytest.mark.parametrize("when", ["always", "inference"])
def test_on_real_digits_every_kind_of_symbol_serves(
    digits: Splits, when: str, symbols: str, hidden: int | None
) -> None:
    model = trained(digits, when=when, symbols=symbols, hidden=hidden, epochs=20)
    answers = predict(model, digits.shadow.pixels, Lab()).argmax(1)
    assert (answers == digits.shadow.labels).double().mean() > 0.7
    with torch.no_grad():
        used = model.release(digits.shadow.pixels)[0].argmax(1).unique()
    assert len(used) > (9 if hidden else 11)  # with a linear head, more than the label alone tells


def test_more_passes_fit_another_shield() -> None:
    made = []
    for epochs in (1, 2):
        shield = armed(epochs=epochs)
        with Lab().seeded("fit"):
            shield.fit(fitting(trained=True))
        made.append(shield.head.last.weight)
    assert not torch.equal(made[0], made[1])
