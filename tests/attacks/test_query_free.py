"""The query-free attack: out of reach of the real device half, and tied to it by what the victims sent."""

from __future__ import annotations

import copy

import pytest
import torch
from small import GREY, look, scene, shallow, trained
from torch import Tensor, nn

from unsmash.attacks.query_free import QueryFree, tempered
from unsmash.defences.gaussian import GaussianShield
from unsmash.errors import ThreatError, UnsmashError
from unsmash.lab import Lab
from unsmash.metrics.identification import identify
from unsmash.models.base import state_digest
from unsmash.moments import Moments
from unsmash.split import Shield, Shields, SplitModel
from unsmash.split.shield import Smashed, flat
from unsmash.substitute import Doubted
from unsmash.threat import Grant
from unsmash.view import View, substituted

SHORT = {"size": "small", "epochs": 1, "steps": 5, "batch": 32}


def sent(shield: Shield | None = None, victims: int = 24) -> tuple[SplitModel, View]:
    model = copy.deepcopy(trained("flat", GREY))
    model.shield = Shields([shield] if shield else []).eval()
    return model, look(model, scene(GREY, victims=victims), QueryFree.needs)


@pytest.mark.parametrize("missing", sorted(QueryFree.needs))
def test_an_ungranted_part_raises(missing: Grant) -> None:
    view = look(shallow("flat", GREY), scene(GREY), QueryFree.needs - {missing})
    with pytest.raises(ThreatError, match=str(missing)):
        QueryFree.model_validate(SHORT).run(view, Lab())


def test_it_asks_neither_for_queries_nor_for_weights() -> None:
    _, view = sent()
    with pytest.raises(ThreatError, match="queries"):
        view.query(view.shadow)
    with pytest.raises(ThreatError, match="weights"):
        _ = view.device
    QueryFree.model_validate(SHORT).run(view, Lab())


@pytest.mark.parametrize("shield", [None, GaussianShield(0.2)], ids=["plain", "noisy"])
def test_the_real_device_halfs_weights_change_nothing_once_the_releases_are_made(shield: Shield | None) -> None:
    guesses = []
    for spoiled in (False, True):
        _, view = sent(shield)
        if spoiled:
            with torch.no_grad():
                for parameter in view._device.parameters():
                    parameter.fill_(float("nan"))
        guesses.append(QueryFree.model_validate(SHORT).run(view, Lab()))
    assert guesses[0].isfinite().all()
    assert torch.equal(*guesses)


def test_the_server_half_stays_as_it_is() -> None:
    _, view = sent()
    server = view._network.server
    before = state_digest(server)
    QueryFree.model_validate(SHORT).run(view, Lab())
    assert state_digest(server) == before
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in server.parameters())


def test_the_moments_of_the_releases_are_what_finds_the_victims() -> None:
    """Against the published attack, which goes by the server alone, and against what the label alone tells."""
    at = scene(GREY, victims=120)
    view = look(trained("maps", GREY), at, QueryFree.needs)
    settings = QueryFree.tiny | {"epochs": 5}
    ours, published = (
        QueryFree.model_validate(settings | {"moments": weight}).run(view, Lab()) for weight in (5.0, 0.0)
    )
    means = torch.stack([at.shadow[at.shadow_labels == label].mean(0) for label in at.labels.tolist()])
    found, plain, label = (identify(guess, at.victims).hits.sum() for guess in (ours, published, means))
    assert found > 2 * label
    assert found > plain
    assert (ours - at.victims).square().mean() < (published - at.victims).square().mean()


def test_images_without_labels_are_matched_as_one_class() -> None:
    model, at = trained("maps", GREY), scene(GREY)
    object.__setattr__(at, "shadow_labels", torch.full_like(at.shadow_labels, -1))
    guess = QueryFree.model_validate(SHORT).run(look(model, at, QueryFree.needs), Lab())
    assert guess.isfinite().all()


def test_a_device_half_without_weights_is_known_from_its_layers() -> None:
    view = look(SplitModel(nn.Flatten(), nn.Linear(64, 10)).eval(), scene(GREY), QueryFree.needs)
    guess = QueryFree.model_validate(SHORT).run(view, Lab())
    assert identify(guess, scene(GREY).victims).hits.mean() > 0.9


class Steps(Shield):
    """Sends signs, through which no gradient comes."""

    def forward(self, z: Smashed) -> Smashed:
        return tuple((part > 0).float() for part in z)


def test_a_defence_that_lets_no_gradient_through_is_refused_in_a_sentence() -> None:
    _, view = sent(Steps())
    with pytest.raises(UnsmashError, match="no gradient reaches the device half"):
        QueryFree.model_validate(SHORT).run(view, Lab())


# -- the parts --------------------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    """A layer that cannot draw its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((64,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * self.factor


def test_a_blank_device_half_has_no_number_of_the_real_ones() -> None:
    device = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 7)).train()
    device(scene(GREY).shadow)
    device.eval()
    model = SplitModel(device, nn.Linear(7, 10)).eval()
    view = look(model, scene(GREY), QueryFree.needs)
    one, again, other = (view.blank(Lab(seed=seed)) for seed in (1, 1, 2))
    assert state_digest(one) == state_digest(again) != state_digest(other)
    for name in ("0.weight", "0.bias", "3.weight", "3.bias", "1.running_mean", "1.running_var"):
        assert not torch.isclose(one.state_dict()[name], device.state_dict()[name]).any(), name
    assert all(parameter.requires_grad for parameter in one.parameters())
    assert not one.training
    with pytest.raises(ThreatError, match="architecture"):
        look(model, scene(GREY), tuple(set(Grant) - {Grant.ARCHITECTURE})).blank(Lab())


def test_a_weight_that_no_layer_draws_is_refused_rather_than_copied() -> None:
    view = look(SplitModel(Scaled(), nn.Linear(64, 10)).eval(), scene(GREY), QueryFree.needs)
    with pytest.raises(UnsmashError, match="'factor' cannot be drawn anew"):
        view.blank(Lab())


def test_the_server_answers_releases_as_the_network_does() -> None:
    model, view = sent(GaussianShield(0.3))
    release = tuple(part.clone().requires_grad_() for part in view.release)
    answer = view.serve(release)
    assert torch.equal(answer, model.answer(view.release))
    (slope,) = torch.autograd.grad(answer.sum(), release)
    assert slope.abs().sum() > 0


def test_a_substituted_view_opens_the_substitute_and_nothing_else() -> None:
    model, view = sent()
    mine = view.blank(Lab()).requires_grad_(False)
    own = substituted(view, mine, Lab())
    with torch.no_grad():
        assert torch.allclose(flat(own.query(own.shadow)), mine(own.shadow))
        assert not torch.allclose(flat(own.query(own.shadow)), model.device(own.shadow))
    assert own.device is mine
    assert torch.equal(own.release[0], view.release[0])
    for part in ("labels", "candidates"):
        with pytest.raises(ThreatError, match=part):
            getattr(own, part)
    with pytest.raises(ThreatError, match="queries"):
        view.query(view.shadow)


def test_gaps_of_moments_are_the_naive_ones() -> None:
    draw = torch.Generator().manual_seed(4)
    seen, classes = torch.randn(9, 4, generator=draw).double(), torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 0])
    one, other = (torch.randn(6, 4, generator=draw).double() + 1 for _ in range(2))
    left, right = torch.tensor([0, 1, 1, 0, 1, 0]), torch.tensor([1, 1, 0, 0, 0, 1])
    told = nn.functional.one_hot(classes, 2).double()
    found = Moments(seen, told, draw).gaps(one, left, other, right)
    mean = seen.mean(0)
    scale = ((seen - mean).square().sum(1).mean() + seen.square().sum(1).mean() / 9).sqrt()
    shares = [(classes == label).double().mean().item() for label in (0, 1)]

    def moments(rows: Tensor, labels: Tensor, order: int) -> list[Tensor]:
        """Each class's, and last the one over both with the shares of the fixed set."""
        rows, count = (rows - mean) / scale, len(rows)
        if order == 1:
            by = [rows[labels == label].mean(0) for label in (0, 1)]
        else:
            middle = sum(share * rows[labels == label].mean(0) for label, share in enumerate(shares))
            rows = rows - middle
            lost = (count - 1) / count if order == 2 else (count - 1) * (count - 2) / count**2
            how = "ni,nj->ij" if order == 2 else "ni,nj,nk->ijk"
            parts = [rows[labels == label] for label in (0, 1)]
            by = [torch.einsum(how, *[part] * order) / len(part) / lost for part in parts]
        return [*by, shares[0] * by[0] + shares[1] * by[1]]

    for order in (1, 2, 3):
        aim, a, b = moments(seen, classes, order), moments(one, left, order), moments(other, right, order)
        gap = [((x - t) * (y - t)).sum().item() for t, x, y in zip(aim, a, b, strict=True)]
        by_class = sum(share * one for share, one in zip(shares, gap[:2], strict=True))
        length = 1 if order == 1 else sum(s * t.square().sum().item() for s, t in zip(shares, aim[:2], strict=True))
        assert found[order - 1].tolist() == pytest.approx([gap[2] / length, (by_class - gap[2]) / length], rel=1e-6)


def test_gaps_of_a_like_law_are_nothing_on_average() -> None:
    draw = torch.Generator().manual_seed(8)
    aim = torch.rand(4000, 3, generator=draw).double() ** 2
    moments = Moments(aim, torch.ones(4000, 1).double(), draw)
    none = torch.zeros(8, dtype=torch.long)
    found = torch.stack([moments.gaps(*_pair(draw, none)) for _ in range(400)])[..., 0]
    assert (found.mean(0).abs() < 4 * found.std(0) / 20 + 0.01).all()


def _pair(draw: torch.Generator, none: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    one, other = (torch.rand(8, 3, generator=draw).double() ** 2 for _ in range(2))
    return one, none, other, none


def test_classes_that_differ_by_chance_alone_are_not_trusted() -> None:
    """Against the same releases with classes that do lie apart, and against many of them."""

    def trust(count: int, apart: float) -> float:
        known = []
        for seed in range(20):
            draw = torch.Generator().manual_seed(seed)
            classes = torch.arange(count) % 4
            rows = torch.randn(count, 6, generator=draw).double()
            rows[:, :4] += apart * nn.functional.one_hot(classes, 4)
            known.append(Moments(rows, nn.functional.one_hot(classes, 4).double(), draw).trust[0].apart)
        return sum(known) / len(known)

    assert trust(16, 0.0) < 0.35 < 0.8 < trust(16, 4.0)
    # by hand: four unit means four long lie Σ(4·¼)²·3 = 12 apart in square, each off by 6/n of variance
    assert trust(400, 4.0) == pytest.approx(1 - 0.06 * 0.75 / 12, abs=0.01)


def test_a_doubt_has_the_second_moments_of_the_errors() -> None:
    errors = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)) + 1
    device = Doubted(nn.Flatten(), (errors,), torch.Generator().manual_seed(2))
    sent = device(torch.zeros(20_000, 1, 1, 3))[0]
    assert torch.allclose(sent.T @ sent / len(sent), errors.T @ errors / 5, atol=0.06)


def test_a_guess_that_varies_more_than_images_do_is_drawn_towards_their_mean() -> None:
    at = scene(GREY, victims=120)
    noise = torch.randn(at.victims.shape, generator=torch.Generator().manual_seed(3))
    loud = (at.victims + 0.5 * noise).clamp(0, 1)
    assert torch.equal(tempered(at.victims, at.shadow), at.victims)
    error, before = ((guess - at.victims).square().mean() for guess in (tempered(loud, at.shadow), loud))
    assert error < 0.9 * before
