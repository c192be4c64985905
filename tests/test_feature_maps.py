"""What is drawn of the smashed data and the release: the maps that vary most, each at its own range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import COLOUR, GREY, scene, shallow

from unsmash.defences.gaussian import GaussianShield
from unsmash.feature_maps import MAPS, NUMBERS, SIDE, choose
from unsmash.feature_record import FeatureMaps
from unsmash.lab import Lab
from unsmash.records import Pictures
from unsmash.split import Shield, SplitModel
from unsmash.threat import Threat
from unsmash.view import observe

PICTURED = Pictures(victims=(9, 3, 7, 1, 0, 5), groups=("worst", "worst", "worst", "typical", "least", "least"))
ROWS = [9, 3, 1, 0]
"""Two of the worst, one typical, one least"""


def drawn(model: SplitModel, shape: tuple[int, int, int]) -> tuple[FeatureMaps, dict[str, np.ndarray], torch.Tensor]:
    at = scene(shape, shadow=20)
    release = observe(model, at, Threat(), Lab()).release
    maps, arrays = choose(model, at, release, PICTURED)
    return maps, arrays, release[0][ROWS]


def wide(maps: int, side: int, shield: Shield | None = None) -> SplitModel:
    """Maps as they come from a convolution of that many channels on images of that side."""
    with Lab(seed=2).seeded("wide"):
        device = torch.nn.Sequential(torch.nn.Conv2d(1, maps, 3, padding=1), torch.nn.Tanh())
    model = SplitModel(device, torch.nn.Flatten())
    if shield is not None:
        model.shield = shield
    return model.eval()


@pytest.mark.parametrize("shield", [None, GaussianShield(0.2)], ids=["plain", "noisy"])
def test_levels_are_values_between_a_maps_own_ends(shield: Shield | None) -> None:
    maps, arrays, sent = drawn(wide(24, 8, shield), GREY)
    assert maps.places == (0, 1, 3, 4)
    assert [sheet.name for sheet in maps.sheets] == (["release"] if shield is None else ["smashed", "release"])
    sheet, levels = maps.sheets[-1], arrays["maps/release"]
    assert levels.dtype == np.uint8
    assert levels.shape == (4, MAPS, 8, 8)
    for place, channel in enumerate(sheet.channels):
        mine = sent[:, channel].numpy().astype(float)
        assert sheet.low[place] == pytest.approx(mine.min())
        assert sheet.high[place] == pytest.approx(mine.max())
        back = sheet.low[place] + levels[:, place] / 255 * (sheet.high[place] - sheet.low[place])
        assert np.abs(back - mine).max() <= (sheet.high[place] - sheet.low[place]) / 255 * 0.501
        assert (levels[:, place].min(), levels[:, place].max()) == (0, 255)


def test_the_maps_that_vary_most_are_drawn_in_their_own_order() -> None:
    maps, _, sent = drawn(wide(24, 8), GREY)
    spread = {channel: np.var(sent[:, channel].numpy()) for channel in range(24)}
    kept = set(maps.sheets[0].channels)
    assert list(maps.sheets[0].channels) == sorted(kept)
    assert min(spread[c] for c in kept) >= max(spread[c] for c in set(spread) - kept)


def test_a_noisy_release_is_drawn_on_the_maps_of_its_smashed_data() -> None:
    maps, arrays, _ = drawn(wide(24, 8, GaussianShield(3.0)), GREY)
    smashed, release = maps.sheets
    assert smashed.channels == release.channels
    assert release.high[0] - release.low[0] > smashed.high[0] - smashed.low[0]
    assert not np.array_equal(arrays["maps/smashed"], arrays["maps/release"])


def test_large_maps_are_thinned_not_averaged() -> None:
    side = 3 * SIDE - 5
    maps, arrays, sent = drawn(wide(3, side), (1, side, side))
    sheet, levels = maps.sheets[0], arrays["maps/release"]
    assert sheet.step == 3
    assert max(levels.shape[2:]) <= SIDE
    thin = sent[:, list(sheet.channels), ::3, ::3].numpy()
    assert sheet.low == pytest.approx(tuple(thin.min((0, 2, 3))))
    assert sheet.shape == (3, side, side)


def test_numbers_without_neighbours_have_one_range() -> None:
    maps, arrays, sent = drawn(shallow("flat", COLOUR), COLOUR)
    (sheet,) = maps.sheets
    assert sheet.channels == ()
    assert (*sheet.low, *sheet.high) == pytest.approx((sent.min().item(), sent.max().item()))
    assert arrays["maps/release"].shape == (4, 96)
    long = SplitModel(torch.nn.Flatten(), torch.nn.Identity()).eval()
    _, arrays, _ = drawn(long, (3, 40, 40))
    assert arrays["maps/release"].shape == (4, NUMBERS)


def test_a_map_that_never_varies_is_black() -> None:
    model = wide(2, 8)
    with torch.no_grad():
        model.device[0].weight[0] = 0  # type: ignore[index]
    maps, arrays, _ = drawn(model, GREY)
    assert maps.sheets[0].low[0] == maps.sheets[0].high[0]
    assert not arrays["maps/release"][:, 0].any()
    assert arrays["maps/release"][:, 1].any()


def test_of_several_tensors_the_first_is_drawn_and_that_is_recorded() -> None:
    maps, _, _ = drawn(shallow("several", (1, 25, 25)), (1, 25, 25))
    assert maps.tensors == 2
    assert maps.sheets[0].shape[0] == 4


def test_without_pictured_victims_nothing_is_drawn() -> None:
    at = scene(GREY, shadow=20)
    model = shallow("maps", GREY)
    assert choose(model, at, observe(model, at, Threat(), Lab()).release, Pictures()) == (FeatureMaps(), {})
