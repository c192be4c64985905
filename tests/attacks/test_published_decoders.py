"""The decoders of the reference systems: their published sizes and habits, and what makes them fit other cuts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import look, pictures
from torch import Tensor, nn

from unsmash.attacks import celeba_decoder, pysyft_decoder
from unsmash.attacks.affine_decoder import Affine, AffineDecoder
from unsmash.attacks.celeba_decoder import DEPTHS, CelebaDecoder
from unsmash.attacks.omniglot_decoder import OmniglotDecoder, Waist
from unsmash.attacks.pysyft_decoder import PysyftDecoder
from unsmash.lab import Lab
from unsmash.published import Enlarger, Recipe, fitted, needed_factors
from unsmash.split import SplitModel
from unsmash.view import make_scene

FACE, CUT = (3, 320, 320), (672, 20, 20)
NEEDS = AffineDecoder.needs


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def sides(network: nn.Module, given: Tensor, kind: type[nn.Module]) -> list[int]:
    """Height of what each layer of a kind gives."""
    seen: list[int] = []
    hooks = [
        part.register_forward_hook(lambda _, __, out: seen.append(out.shape[-1]))
        for part in network.modules()
        if isinstance(part, kind)
    ]
    with torch.no_grad():
        network((given,))
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize(
    ("depth", "published"), [("light", 172_857), ("medium", 143_049), ("deep", 1_171_289), ("upsample", 170_825)]
)
def test_at_the_published_cut_the_networks_have_the_published_size(depth: str, published: int) -> None:
    assert parameters(celeba_decoder.network(depth, [CUT], FACE)) == published


def test_the_affine_network_has_the_published_size() -> None:
    assert parameters(Affine(500, (1, 28, 28))) == 4_674_993


def test_the_omniglot_network_grows_as_published() -> None:
    network = Waist([(32, 1, 1)], (1, 105, 105))
    assert sides(network, torch.zeros(1, 32, 1, 1), nn.ConvTranspose2d) == [9, 23, 51, 105]
    assert network.layers[5].out_channels == 1  # the waist


def test_the_omniglot_network_starts_as_keras_would() -> None:
    with Lab().seeded("network"):
        network = Waist([(32, 1, 1)], (1, 105, 105))
    for layer in network.layers:
        if isinstance(layer, nn.ConvTranspose2d):
            side = layer.kernel_size[0]
            limit = (6 / (side**2 * (layer.in_channels + layer.out_channels))) ** 0.5  # Glorot & Bengio 2010
            assert layer.weight.abs().max() <= limit
            assert layer.weight.std() > 0.4 * limit  # a uniform law has 0.58 of it
            assert layer.bias is not None
            assert not layer.bias.any()


def test_the_pysyft_network_grows_as_published() -> None:
    network = pysyft_decoder.network([(32, 4, 4)], (1, 28, 28))
    assert sides(network, torch.zeros(1, 32, 4, 4), nn.ConvTranspose2d) == [12, 26, 28]
    assert isinstance(network, Enlarger)
    assert network.first is None


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_faces_networks_grow_sixteenfold(depth: str) -> None:
    network = celeba_decoder.network(depth, [(672, 2, 2)], (3, 32, 32)).eval()
    kind = nn.Upsample if depth == "upsample" else nn.ConvTranspose2d
    assert sides(network, torch.zeros(1, 672, 2, 2), kind)[-1] == 32


SHAPES: list[list[tuple[int, ...]]] = [[(7,)], [(4, 5, 5)], [(3, 1, 1)], [(2, 3, 3), (5,)], [(1, 40, 40)]]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("image", [(1, 28, 28), (3, 33, 21)], ids=str)
def test_all_fit_any_cut_and_any_image(shapes: list[tuple[int, ...]], image: tuple[int, int, int]) -> None:
    release = tuple(torch.randn(2, *shape) for shape in shapes)
    numbers = sum(torch.Size(shape).numel() for shape in shapes)
    networks = [Affine(numbers, image), Waist(shapes, image), pysyft_decoder.network(shapes, image)]
    networks += [celeba_decoder.network(depth, shapes, image) for depth in DEPTHS]
    for network in networks:
        assert network.eval()(release).shape == (2, *image)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 300))
def test_enlargements_are_kept_from_the_first_until_they_are_enough(factors: list[int], needed: int) -> None:
    kept = needed_factors(factors, needed)
    reached = torch.Size(kept).numel()
    assert len(kept) == len(factors)
    assert all(one in (1, other) for one, other in zip(kept, factors, strict=True))
    assert reached >= min(needed, torch.Size(factors).numel())
    grown = [place for place, factor in enumerate(kept) if factor > 1]
    if grown:  # without the last of them it would not have been enough
        assert reached // kept[grown[-1]] < needed


def test_the_affine_network_is_affine_and_the_others_are_not() -> None:
    a, b = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))[:, None]

    def bent(network: nn.Module) -> float:
        with torch.no_grad():
            middle, ends = network.eval()(((a + b) / 2,)), (network((a,)), network((b,)))
            return ((middle - (ends[0] + ends[1]) / 2).norm() / (ends[0] - ends[1]).norm()).item()

    with Lab().seeded("networks"):
        assert bent(Affine(6, (1, 12, 12))) < 1e-5
        assert bent(pysyft_decoder.network([(6,)], (1, 12, 12))) > 1e-3
        assert bent(celeba_decoder.network("medium", [(6,)], (1, 12, 12))) > 1e-3


def test_pixels_and_images_undo_each_other_for_any_number_of_channels() -> None:
    recipe = Recipe("", 1, 1, 1.0, celeba_decoder.MEAN, celeba_decoder.STD)
    for channels in (1, 3, 4):
        images = torch.rand(2, channels, 4, 4, generator=torch.Generator().manual_seed(channels))
        assert torch.allclose(recipe.images(recipe.pixels(images)), images, atol=1e-6)
    assert recipe.pixels(torch.tensor(celeba_decoder.MEAN).reshape(1, 3, 1, 1)).abs().max() == 0


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    images = torch.rand(1, 1, 9, 9)
    assert fitted(images, (9, 9)) is images
    assert fitted(images, (20, 7)).shape == (1, 1, 20, 7)


def test_the_faces_decoder_draws_nothing_darker_than_the_mean() -> None:
    x, y = pictures((1, 8, 8), 60)
    shadow, known = pictures((1, 8, 8), 120, 100)
    view = look(SplitModel(nn.Flatten(), nn.Linear(64, 10)).eval(), make_scene(x, y, shadow, known, 10, Lab()), NEEDS)
    guess = CelebaDecoder(epochs=3, batch=16).run(view, Lab())
    assert guess.min() >= sum(celeba_decoder.MEAN) / 3 - 1e-6
    assert x.min() == 0


@pytest.mark.parametrize(
    "attack",
    [
        AffineDecoder(rate=1e-3, epochs=30, batch=16),
        PysyftDecoder(rate=3e-3, epochs=30, batch=16),
        OmniglotDecoder(epochs=15),
    ],
    ids=lambda attack: attack.kind,
)
def test_they_learn_to_invert_an_easy_cut(attack: AffineDecoder | PysyftDecoder | OmniglotDecoder) -> None:
    x, y = pictures((1, 8, 8), 60)
    shadow, known = pictures((1, 8, 8), 400, 100)
    view = look(SplitModel(nn.Flatten(), nn.Linear(64, 10)).eval(), make_scene(x, y, shadow, known, 10, Lab()), NEEDS)
    error = (attack.run(view, Lab()) - x).square().mean()
    assert error < 0.7 * (shadow.mean(0) - x).square().mean()


def test_the_faces_decoder_learns_where_nothing_is_dark() -> None:
    x, y = pictures((1, 8, 8), 60)
    shadow, known = pictures((1, 8, 8), 400, 100)
    x, shadow = 0.5 + x / 2, 0.5 + shadow / 2
    scene = make_scene(x, y, shadow, known, 10, Lab())
    view = look(SplitModel(nn.Flatten(), nn.Linear(64, 10)).eval(), scene, NEEDS)
    error = (CelebaDecoder(epochs=40, batch=32, rate=1e-2).run(view, Lab()) - x).square().mean()
    assert error < 0.9 * (shadow.mean(0) - x).square().mean()
