"""A cut model computes exactly what the model computes, at every batch size and in both modes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import zoo
from torch import Tensor, nn
from zoo import gap, images

from unsmash.split import SplitModel, as_tuple, cut

CUTS = pytest.mark.parametrize(("make", "at"), zoo.EXACT, ids=lambda value: getattr(value, "__name__", value))


def made(make: Callable[[], nn.Module]) -> nn.Module:
    """A model with the same random weights in every test."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make().eval()


@CUTS
def test_halves_reproduce_the_model(make: Callable[[], nn.Module], at: str) -> None:
    model = made(make)
    split = cut(model, at, images(2))
    assert not any("replay" in note for note in split.notes)
    for size in (1, 3, 7):
        assert gap(model, split, (images(size, seed=size),), train=False) == 0
    for size in (2, 5):
        assert gap(model, split, (images(size, seed=size),), train=True) == 0


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_any_size_of_example_gives_the_same_cut(size: int) -> None:
    model = made(zoo.LateBatch)
    split = cut(model, "b1", images(size))
    for n in (1, 3, 7):
        assert gap(model, split, (images(n, seed=n),), train=False) == 0


def test_several_inputs_cut_where_they_have_joined() -> None:
    model = made(zoo.TwoInputs)
    split = cut(model, "join", (images(2), torch.rand(2, 5)))
    for size, train in ((1, False), (3, False), (4, True)):
        assert gap(model, split, (images(size), torch.rand(size, 5)), train=train) == 0


def test_data_branch_behind_the_cut_is_replayed() -> None:
    model = made(zoo.RootBranch)
    split = cut(model, "c1", images(2))
    assert "replay" in " ".join(split.notes)
    assert "not to deploy" in " ".join(split.notes)
    for x in (images(3), 1 - images(3), -images(3)):
        assert gap(model, split, (x,), train=False) == 0
        assert gap(model, split, (x,), train=True) == 0


def test_replayed_halves_know_their_own_weights() -> None:
    model = made(zoo.RootBranch)
    split = cut(model, "c1", images(2))
    device, server = set(split.device.state_dict()), set(split.server.state_dict())
    assert device | server == set(model.state_dict())
    assert {name.split(".")[0] for name in device} == {"c1"}
    assert not device & server
    moved = copy.deepcopy(split).double()
    assert moved.smash(images(2).double())[0].dtype == torch.float64


@CUTS
def test_names_survive(make: Callable[[], nn.Module], at: str) -> None:
    model = made(make)
    split = cut(model, at, images(2))
    device, server = split.device.state_dict(), split.server.state_dict()
    assert device.keys() | server.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict(keep_vars=True).items():
        for half in (device, server):
            if name in half:
                assert half[name].data_ptr() == tensor.data_ptr()


def test_one_crossing_tensor_is_bare_and_several_are_a_tuple() -> None:
    model = made(zoo.ListLoop)
    one, several = cut(model, "stem", images(2)), cut(model, "blocks.2", images(2))
    assert isinstance(one.device(images(3)), Tensor)
    assert isinstance(several.device(images(3)), tuple)


@pytest.mark.parametrize("at", ["stem", "blocks.2"])
def test_server_takes_its_tensors_in_any_wrapping(at: str) -> None:
    model = made(zoo.ListLoop)
    split = cut(model, at, images(2))
    z = as_tuple(split.device(images(3)))
    answer = model(images(3))
    assert torch.equal(split.server(z), answer)
    assert torch.equal(split.server(*z), answer)
    assert torch.equal(split(images(3)), answer)
    with pytest.raises(TypeError, match="takes"):
        split.server(*z, z[0])


def test_own_output_of_the_layer_comes_first() -> None:
    model = made(zoo.ListLoop)
    z = as_tuple(cut(model, "blocks.2", images(2)).device(images(3)))
    kept: list[Tensor] = []
    hook = model.get_submodule("blocks.2").register_forward_hook(lambda module, args, output: kept.append(output))
    model(images(3))
    hook.remove()
    assert torch.equal(z[0], kept[0])


def test_a_block_that_gives_a_dict_crosses_as_tensors() -> None:
    split = cut(made(zoo.Structures), "pair", images(2))
    z = split.device(images(3))
    assert isinstance(z, tuple)
    assert all(isinstance(part, Tensor) for part in z)


def test_batch_size_never_makes_the_image_cross() -> None:
    x = images(3)
    for part in as_tuple(cut(made(zoo.LateBatch), "b1", images(2)).device(x)):
        assert part.shape != x.shape
        assert part.ndim == 3


def test_several_tensors_are_noted_with_their_bytes_and_a_better_cut() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x)

    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Block(), nn.Flatten(), nn.Linear(8 * 256, 4)).eval()
    (note,) = cut(model, "1.conv", images(2)).notes
    bytes_each = 8 * 16 * 16 * 4
    assert f"2 tensors cross at '1.conv' ({bytes_each:,} + {bytes_each:,} bytes per image)" in note
    assert f"'1' sends one of {bytes_each:,} bytes" in note
    assert cut(model, "1", images(2)).notes == ()


@CUTS
def test_training_the_halves_trains_the_model(make: Callable[[], nn.Module], at: str) -> None:
    model = made(make)
    split = cut(model, at, images(2)).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    answer = split(images(4))
    logits = answer["logits"] if isinstance(answer, dict) else answer[0] if isinstance(answer, tuple) else answer
    optimiser = torch.optim.SGD(split.parameters(), lr=0.5)
    nn.functional.cross_entropy(logits, torch.arange(4) % 4).backward()
    optimiser.step()
    first = next(name for name in before if name.endswith("weight"))
    last = "code.weight" if make is zoo.MetaChild else "fc.weight"
    for name in (first, last):
        assert not torch.equal(model.get_parameter(name), before[name]), name


@pytest.mark.parametrize("mode", [False, True])
def test_the_mode_is_that_of_the_model(mode: bool) -> None:
    split = cut(made(zoo.FunctionalDropout).train(mode), "c2", images(2))
    assert all(module.training == mode for module in split.modules())


def test_halves_save_and_load(tmp_path: Path) -> None:
    model = made(zoo.Plain)
    split = cut(model, "c2", images(2))
    want = split(images(3))
    split.save(tmp_path)
    other = made(zoo.Plain)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    fresh = cut(other, "c2", images(2))
    assert not torch.equal(fresh(images(3)), want)
    fresh.load(tmp_path)
    assert torch.equal(fresh(images(3)), want)


def test_a_half_exports_with_a_dynamic_batch() -> None:
    split = cut(made(zoo.LateBatch), "b1", images(2))
    z = tuple(part.detach() for part in as_tuple(split.device(images(2))))
    n = torch.export.Dim("n", min=1, max=64)
    exported = torch.export.export(split.server, z, dynamic_shapes=((*({0: n} for _ in z),),))
    for size in (1, 3, 7):
        z = tuple(part.detach() for part in as_tuple(split.device(images(size))))
        torch.testing.assert_close(exported.module()(*z), split.server(*z))


def test_a_copied_half_is_independent() -> None:
    split = cut(made(zoo.Plain), "c2", images(2))
    want = split(images(3))
    adversary = copy.deepcopy(split.server)
    with torch.no_grad():
        for parameter in adversary.parameters():
            parameter.zero_()
    assert torch.equal(split(images(3)), want)
    assert not adversary(split.device(images(3))).any()


def test_halves_pickle(tmp_path: Path) -> None:
    split: SplitModel = cut(made(zoo.LateBatch), "b1", images(2))
    torch.save(split, tmp_path / "split.pt")
    back = torch.load(tmp_path / "split.pt", weights_only=False)
    assert torch.equal(back(images(3)), split(images(3)))


def test_halves_follow_the_model_to_another_precision() -> None:
    model = made(zoo.LateBatch)
    split = copy.deepcopy(cut(model, "b1", images(2))).double()
    x = images(3).double()
    torch.testing.assert_close(split(x), copy.deepcopy(model).double()(x))
