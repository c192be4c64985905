"""He, Zhang & Lee's reproduction: the order as a number, their networks and attacks, words that follow figures."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from scipy.stats import kendalltau
from small import GREY, pictures, trained
from torch import Tensor, nn

from unsmash.blank import blank
from unsmash.lab import Lab
from unsmash.reproductions import he2019_order as orders
from unsmash.reproductions.he2019_attacks import Likelihood, maximum_likelihood, train_substitute, variation
from unsmash.reproductions.he2019_networks import CIFAR10, MNIST, SUBJECTS, Inverse, Subject, halves, network
from unsmash.reproductions.he2019_order import Row, kendall
from unsmash.reproductions.paper import paper
from unsmash.reproductions.training import accuracy
from unsmash.split import SplitModel

SENT = {
    "conv1": (8, 24, 24), "relu2": (16, 8, 8),
    "conv11": (64, 32, 32), "relu22": (128, 16, 16), "relu32": (128, 8, 8),
}  # fmt: skip
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def test_the_rank_correlation_agrees_with_scipy() -> None:
    draw = torch.Generator().manual_seed(0)
    for count in (2, 3, 7):
        values = torch.rand(count, generator=draw).tolist()
        assert kendall(values) == pytest.approx(kendalltau(range(count), values).statistic)
    assert kendall([0.3, 0.3, 0.3]) == 0


def test_the_published_orders_are_those_of_the_published_figures() -> None:
    published = paper("he2019").tables
    checked = 0
    for row in published["order"].rows:
        attack, title = row.name.rsplit(", ", 1)
        name = next(key for key, value in TITLES.items() if value == title)
        for metric in ("ssim", "psnr"):
            known = [published[name].at(attack=attack, cut=cut) for cut in SUBJECTS[name].cuts]  # type: ignore[index]
            values = [one.figures[metric] for one in known if one is not None]
            assert len(values) == len(known), row.name
            given = [value for value in values if value is not None]
            if len(given) < len(values):
                assert row.figures[metric] is None
            else:
                assert row.figures[metric] == pytest.approx(kendall(given), abs=1e-3)
                checked += 1
    assert checked > 10


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=list(SUBJECTS))
def test_the_networks_have_the_published_cuts_and_the_inverse_ones_give_images(subject: Subject) -> None:
    net = network(subject, 64, Lab())
    images = torch.rand(2, *subject.shape, generator=torch.Generator().manual_seed(0))
    for at in subject.cuts:
        model = halves(net, at, subject)
        with torch.no_grad():
            (sent,) = model.release(images)
            assert tuple(sent.shape[1:]) == SENT[at]
            assert Inverse(at, sent.shape[1:])((sent,)).shape == images.shape
            assert torch.allclose(model(images), net(images), atol=1e-6)


def test_the_pixels_enter_as_the_authors_normalise_them() -> None:
    net = network(CIFAR10, 4, Lab())
    colour = torch.tensor(CIFAR10.mean).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert net.get_submodule("normalise")(colour).abs().max() < 1e-6


def test_total_variation_is_the_mean_of_squares_along_each_axis() -> None:
    images, _ = pictures((3, 5, 7), 2)
    for image, value in zip(images, variation(images), strict=True):
        down = [(image[:, i + 1] - image[:, i]).square() for i in range(4)]
        across = [(image[:, :, j + 1] - image[:, :, j]).square() for j in range(6)]
        assert value == pytest.approx(torch.stack(down).mean().item() + torch.stack(across).mean().item(), rel=1e-5)


class Seen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x - 0.3


def test_descent_starts_at_the_average_colour_and_ends_at_the_image() -> None:
    images, _ = pictures((1, 28, 28), 3)
    start = maximum_likelihood(Seen(), Seen()(images), MNIST, Likelihood(0, 0.1, 0.0), Lab())
    assert (start == 0.5).all()
    end = maximum_likelihood(Seen(), Seen()(images), MNIST, Likelihood(600, 0.1, 0.0), Lab())
    assert (end - images).abs().max() < 0.01
    smooth = maximum_likelihood(Seen(), Seen()(images), MNIST, Likelihood(600, 0.1, 10.0), Lab())
    assert (variation(smooth) < variation(images)).all()


def test_no_victims_descent_depends_on_another() -> None:
    images, _ = pictures((1, 28, 28), 4)
    device = halves(network(MNIST, 64, Lab()), "relu2", MNIST).device.requires_grad_(False)
    plan = Likelihood(20, 0.05, 1.0)
    with torch.no_grad():
        sent = device(images)
    together = maximum_likelihood(device, sent, MNIST, plan, Lab())
    alone = torch.cat([maximum_likelihood(device, one[None], MNIST, plan, Lab()) for one in sent])
    assert torch.allclose(together, alone, atol=1e-3)
    assert not torch.equal(together[0], together[1])


def test_a_substitute_learns_to_serve_and_the_server_stays_as_it_is() -> None:
    real = copy.deepcopy(trained("flat", GREY))
    images, labels = pictures(GREY, 300)
    fresh = blank(real.device, Lab())
    before = {name: value.clone() for name, value in real.server.state_dict().items()}
    start = accuracy(SplitModel(copy.deepcopy(fresh), real.server), images, labels, Lab()).mean()
    train_substitute(fresh, real.server, images, labels, 10, Lab())
    assert accuracy(SplitModel(fresh, real.server), images, labels, Lab()).mean() > start + 0.2
    assert all(torch.equal(value, before[name]) for name, value in real.server.state_dict().items())
    assert all(parameter.requires_grad for parameter in real.server.parameters())
    assert not all(torch.equal(one, two) for one, two in zip(fresh.parameters(), real.device.parameters(), strict=True))


def scores(ssim: float, hits: float) -> dict[str, Any]:
    return {"ssim": [ssim, ssim, ssim, 20], "psnr": [10 * ssim] * 4, "identification": [hits, hits / 2, 1.0, 20]}


def row(attack: str, *ssim: float, hits: float = 0.9, right: tuple[float, ...] = ()) -> Row:
    ours, own = (tuple(scores(value, hits) for value in values) for values in (ssim, right))
    return Row("CIFAR-10", attack, CIFAR10.cuts, ours, own)


def test_the_words_follow_the_figures() -> None:
    falling, broken = row("rMLE", 0.9, 0.5, 0.1, right=(0.9, 0.8, 0.7)), row("inverse network", 0.9, 0.1, 0.5, hits=0.4)
    assert "for 1 of 2 attacks" in orders.headline([falling, broken])
    assert "**90%** of 20" in orders.headline([falling, broken])
    flat = Row("MNIST", "rMLE", MNIST.cuts, (scores(0.9, 1.0), scores(0.8, 1.0)))
    share, count, where = orders.deepest([flat, broken])
    assert (share, count) == (0.4, 20)
    assert where == "at relu32, the deepest cut of CIFAR-10 (inverse network, as published),"
    assert "all 1 attacks" in orders.broken([falling])
    assert "0.900, 0.100, 0.500" in orders.broken([falling, broken])
    assert "rMLE, CIFAR-10 at relu32 still identifies 90%" in orders.unrecognisable([falling, broken])
    assert "No published attack" in orders.unrecognisable([row("rMLE", 0.9, 0.5, 0.4)])
    assert "for 1 of 1" in orders.stronger([falling, broken])
    assert "not run" in orders.stronger([broken])


def test_the_inverse_network_follows_the_width() -> None:
    for width in (4, 8):
        net = network(CIFAR10, width, Lab())
        model = halves(net, "relu32", CIFAR10)
        (sent,) = model.release(torch.rand(1, 3, 32, 32))
        assert Inverse("relu32", sent.shape[1:])((sent,)).shape == (1, 3, 32, 32)
