"""The list of cuts agrees with the cuts themselves and with counts made another way."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torchvision
import zoo
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from zoo import images

from unsmash.errors import CutError
from unsmash.split import Candidate, as_tuple, candidates, cut

MODELS: list[Callable[[], nn.Module]] = [
    zoo.Plain,
    zoo.ListLoop,
    zoo.Reused,
    zoo.LateBatch,
    zoo.Structures,
    zoo.ViewWrites,
    zoo.BlockBranch,
    zoo.Unused,
]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_every_candidate_can_be_cut_and_sends_what_it_says(make: Callable[[], nn.Module]) -> None:
    model = make().eval()
    rows = candidates(model, images(2))
    assert rows
    for row in rows:
        device = cut(model, row.name, images(2)).device
        z = as_tuple(device(images(1)))
        assert row.tensors == len(z) == len(row.shapes)
        assert row.single == (len(z) == 1)
        assert row.shapes == tuple(tuple(part.shape) for part in z)
        assert row.bytes == sum(part.nbytes for part in as_tuple(device(images(2)))) - sum(part.nbytes for part in z)
        assert row.input_ratio == row.bytes / (3 * 16 * 16)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_device_parameters_are_those_of_the_device_half(make: Callable[[], nn.Module]) -> None:
    model = make().eval()
    for row in candidates(model, images(2)):
        half = cut(model, row.name, images(2)).device
        assert row.device_parameters == sum(parameter.numel() for parameter in half.parameters()), row.name


@pytest.fixture(scope="module")
def resnet() -> tuple[nn.Module, list[Candidate]]:
    model = torchvision.models.resnet18(weights=None).eval()
    return model, candidates(model, images(1, 64))


def test_macs_agree_with_torchs_own_counter(resnet: tuple[nn.Module, list[Candidate]]) -> None:
    model, rows = resnet
    by_name = {row.name: row for row in rows}
    for name in ("conv1", "layer2.0", "layer4", "fc"):
        half = cut(model, name, images(2, 64)).device
        with FlopCounterMode(display=False) as counter:
            half(images(1, 64))
        assert by_name[name].device_macs == counter.get_total_flops() // 2


def test_fused_attention_is_counted() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Flatten(2), nn.Linear(16, 8), layer, nn.Linear(8, 2)).eval()
    rows = {row.name: row for row in candidates(model, images(2))}
    n, d, hidden = 8, 8, 16
    linear = n * (4 * d * d + 2 * d * hidden)
    assert rows["3"].device_macs - rows["2"].device_macs >= linear
    assert torch.backends.mha.get_fastpath_enabled()


def test_resnet_cuts_are_the_known_ones(resnet: tuple[nn.Module, list[Candidate]]) -> None:
    _, rows = resnet
    names = [row.name for row in rows if row.single]
    stages = [f"layer{i}{part}" for i in range(1, 5) for part in (".0", "")]
    assert names == ["conv1", "bn1", "relu", "maxpool", *stages, "avgpool", "fc"]
    layer1 = next(row for row in rows if row.name == "layer1")
    assert "layer1.1" in layer1.aliases
    assert layer1.bytes == 64 * 16 * 16 * 4
    assert layer1.shapes == ((1, 64, 16, 16),)


def test_cost_only_grows_along_the_model(resnet: tuple[nn.Module, list[Candidate]]) -> None:
    _, rows = resnet
    for before, after in itertools.pairwise(rows):
        assert before.device_macs <= after.device_macs
        assert before.device_parameters <= after.device_parameters


def test_all_names_are_different(resnet: tuple[nn.Module, list[Candidate]]) -> None:
    _, rows = resnet
    names = [name for row in rows for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


def test_layers_that_run_often_or_never_are_left_out() -> None:
    names = {name for row in candidates(zoo.Reused(), images(2)) for name in (row.name, *row.aliases)}
    assert names == {"stem", "mid", "fc"}


def test_cuts_that_would_send_an_input_are_left_out() -> None:
    rows = candidates(zoo.TwoInputs(), (images(2), torch.rand(2, 5)))
    assert [row.name for row in rows] == ["m", "join", "fc"]  # img runs before m, which then would cross raw
    for row in rows:
        cut(zoo.TwoInputs().eval(), row.name, (images(2), torch.rand(2, 5)))


def test_an_untraceable_block_is_one_row() -> None:
    names = [name for row in candidates(zoo.BlockBranch(), images(2)) for name in (row.name, *row.aliases)]
    assert "choose" in names
    assert not any(name.startswith("choose.") for name in names)
    assert names.index("c2") < names.index("choose") < names.index("c3")


def test_nothing_is_listed_behind_a_branch_on_data_in_the_root() -> None:
    rows = candidates(zoo.RootBranch(), images(2))
    assert rows[-1].name == "c2"
    assert all(cut(zoo.RootBranch(), row.name, images(2)) for row in rows if row.single)


def test_a_forward_that_cannot_be_followed_is_a_cut_error() -> None:
    class Numpy(zoo.Plain):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.from_numpy(self.c3(self.c2(self.c1(x))).mean((2, 3)).detach().numpy()))

    with pytest.raises(CutError, match="cannot be followed"):
        candidates(Numpy(), images(2))
