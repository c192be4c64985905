"""What goes wrong when models are cut carelessly, one test for each."""

from __future__ import annotations

import copy
import random

import pytest
import torch
import torch.utils.checkpoint
import zoo
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from zoo import gap, images

from unsmash.errors import CutError
from unsmash.split import as_tuple, candidates, cut
from unsmash.split.verify import ALLOWED, difference


def test_1_no_stand_in_is_left_in_the_model() -> None:
    model = zoo.Cached().eval()
    cut(model, "c2", images(2))
    candidates(model, images(2))
    assert model.cache == {}
    assert type(model(images(2))) is Tensor


def test_2_children_may_have_any_name() -> None:
    model = zoo.MetaChild().eval()
    split = cut(model, "graph", images(2))
    assert split.server.get_submodule("meta") is model.meta
    assert gap(model, split, (images(3),), train=False) == 0


@pytest.mark.parametrize("at", ["c1.0", "c1.1"])
@pytest.mark.parametrize("train", [False, True])
def test_3_the_server_does_not_write_into_the_callers_tensors(at: str, train: bool) -> None:
    split = cut(zoo.Plain(), at, images(2)).train(train)
    with torch.no_grad():
        z = split.device(images(3))
        before = z.clone()
        assert (before < 0).any(), "the ReLU behind must have something to overwrite"
        split.server(z)
    assert torch.equal(z, before)


def test_4_views_of_one_tensor_that_both_cross_are_refused_when_that_matters() -> None:
    with pytest.raises(CutError, match="largest difference"):
        cut(zoo.AliasAcrossCut().eval(), "c2", images(2))


def test_4_the_same_tensor_under_two_names_crosses_once() -> None:
    class Twice(zoo.Plain):
        def forward(self, x: Tensor) -> Tensor:
            early = self.c1[0](x)
            late = self.c1[2](early)  # in place, so both are one tensor
            return self.fc(self.c3(self.c2(late)).mean((2, 3)) + early.mean((2, 3)))

    model = Twice().eval()
    split = cut(model, "c1.2", images(2))
    assert isinstance(split.device(images(2)), Tensor)
    assert gap(model, split, (images(3),), train=True) == 0


def test_5_the_split_model_owns_the_mode() -> None:
    model = zoo.FunctionalDropout().eval()
    split = cut(model, "c1", images(2))
    assert torch.equal(split(images(3)), split(images(3)))
    split.train()
    assert not torch.equal(split(images(3)), split(images(3)))
    split.eval()
    assert torch.equal(split(images(3)), model(images(3)))


def test_5_a_layer_frozen_in_a_training_model_stays_frozen() -> None:
    model = zoo.Plain().train()
    frozen = model.get_submodule("c2.1").eval()
    split = cut(model, "c1", images(2))
    assert not frozen.training
    before = frozen.get_buffer("running_mean").clone()
    split(images(4))
    assert torch.equal(frozen.get_buffer("running_mean"), before)


def test_6_a_weight_in_both_halves_is_one_parameter_and_noted() -> None:
    model = zoo.Reused().eval()
    split = cut(model, "mid", images(2))
    shared = split.device.state_dict().keys() & split.server.state_dict().keys()
    assert shared == {"twice.weight", "twice.bias"}
    assert any("'twice.weight'" in note and "together" in note for note in split.notes)
    assert len(list(split.parameters())) == len(list(model.parameters()))


def test_7_tied_weights_inside_a_half_save_and_load(tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    model = zoo.Tied().eval()
    split = cut(model, "stem", images(2))
    want = split(images(3))
    split.save(tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    split.load(tmp_path)
    assert torch.equal(split(images(3)), want)
    server = split.server
    assert server.get_parameter("a.weight") is server.get_parameter("b.weight")


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("aux", "does not run in eval mode"),
        ("never", "does not run in eval mode"),
        ("attention.out_proj", "reads its weight directly"),
    ],
)
def test_8_a_layer_that_never_runs_is_no_cut(at: str, says: str) -> None:
    with pytest.raises(CutError, match=says):
        cut(zoo.Unused().eval(), at, images(2))


def test_8_what_never_runs_still_belongs_to_a_half() -> None:
    split = cut(zoo.Unused().eval(), "c1", images(2))
    assert "never.weight" in split.server.state_dict()


@pytest.mark.parametrize("make", [zoo.Plain, zoo.RootBranch, zoo.FunctionalDropout])
def test_9_the_model_and_the_generators_are_as_before(make: type[nn.Module]) -> None:
    model = make().train()
    model.get_submodule("c2.1").eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    x = images(2)
    kept = x.clone()
    cut(model, "c1", x)
    candidates(model, x)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(x, kept)
    assert not any(module._forward_hooks for module in model.modules())


def test_10_gradients_are_judged_by_the_largest_of_all() -> None:
    large = {"weight": torch.tensor([1.0, -3.0]), "bias in front of BatchNorm": torch.tensor([2e-7])}
    noise = {**large, "bias in front of BatchNorm": torch.tensor([-2e-7])}
    wrong = {**large, "weight": torch.tensor([1.0, -3.1])}
    assert difference(large, noise) <= ALLOWED
    assert difference(large, wrong) > ALLOWED
    assert difference(large, {"weight": large["weight"]}) > ALLOWED
    assert difference(large, {**large, "weight": torch.tensor([1.0, float("nan")])}) > ALLOWED


@pytest.mark.parametrize("at", ["c1", "choose", "c3"])
def test_11_a_block_with_a_branch_on_data_is_kept_whole(at: str) -> None:
    model = zoo.BlockBranch().eval()
    split = cut(model, at, images(2))
    assert split.notes == ()
    for x in (images(3), -3 * images(3)):
        assert gap(model, split, (x,), train=False) == 0


def test_random_numbers_are_drawn_in_the_models_order() -> None:
    model = zoo.FunctionalDropout().train()
    split = cut(model, "c2", images(2))
    for seed in range(3):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            want = model(images(4))
            torch.manual_seed(seed)
            z = as_tuple(split.device(images(4)))
            assert torch.equal(split.server(*z), want)


def test_parametrised_layers_and_hooks_come_along() -> None:
    model = zoo.Plain()
    parametrizations.spectral_norm(model.c2[0])
    model.c3.register_forward_hook(lambda module, args, output: output * 3)
    model.eval()
    for at in ("c1", "c2.0", "c3.0"):
        split = cut(model, at, images(2))
        assert gap(model, split, (images(3),), train=False) == 0
        assert gap(model, split, (images(3),), train=True) == 0


def test_parameters_keep_the_models_order() -> None:
    model = zoo.Plain().eval()
    split = cut(model, "c1.0", images(2))
    names = [name.split(".", 1)[1] for name, _ in split.named_parameters()]
    assert names == [name for name, _ in model.named_parameters()]


def test_a_model_that_has_no_backward_pass_is_still_cut_for_inference() -> None:
    class Inference(zoo.Plain):
        def forward(self, x: Tensor) -> Tensor:
            y = self.c2(self.c1(x))
            y += 1  # overwrites what the ReLU's backward needs
            return self.fc(self.c3(y).mean((2, 3)))

    model = Inference().eval()
    split = cut(model, "c1", images(2))
    assert torch.equal(split(images(3)), model(images(3)))
    with pytest.raises(RuntimeError, match="inplace"):
        model(images(3)).sum().backward()


def test_a_replay_shares_tied_weights_and_stays_a_wire_apart() -> None:
    class Branch(zoo.Tied):
        def forward(self, x: Tensor) -> Tensor:
            z = torch.relu(self.a(self.stem(x).mean((2, 3))))
            return self.fc(self.b(z if z.sum() > 0 else -z))

    model = Branch().eval()
    split = cut(model, "stem", images(2))
    assert "a.weight" in split.server.state_dict()
    assert "b.weight" in split.server.state_dict()
    assert gap(model, split, (images(3),), train=True) == 0


def test_code_that_would_hand_a_stand_in_to_c_code_does_not_crash() -> None:
    class Checkpoints(zoo.Plain):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.utils.checkpoint.checkpoint(self.c2, self.c1(x), use_reentrant=False)
            assert isinstance(y, Tensor)
            return self.fc(self.c3(y).mean((2, 3)) + y.new_tensor([1.0]))

    model = Checkpoints().eval()
    split = cut(model, "c1", images(2))
    assert gap(model, split, (images(3),), train=False) == 0
