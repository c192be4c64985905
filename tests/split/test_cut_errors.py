"""Every refusal is a CutError whose sentence says why and names layers that would do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import zoo
from torch import Tensor, nn
from zoo import images

from unsmash.errors import CutError
from unsmash.split import cut
from unsmash.split.program import Program
from unsmash.split.verify import MismatchError, verify


def refusal(model: nn.Module, at: str, example: Tensor | tuple[Tensor, ...]) -> str:
    """The sentence that a refused cut gives."""
    with pytest.raises(CutError) as caught:
        cut(model.eval(), at, example)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_code == 2
    return text


def offered(text: str) -> list[str]:
    """The names that stand in quotes behind 'such as' or 'Closest'."""
    for mark in ("such as ", "Closest: ", "Cut before that line ("):
        if mark in text:
            return text.split(mark)[1].split(". ")[0].split("'")[1::2]
    return []


def test_unknown_layer_names_the_closest() -> None:
    text = refusal(zoo.Plain(), "c4", images(2))
    assert "Plain has no layer 'c4'" in text
    assert set(offered(text)) & {"c1", "c2", "c3"}


@pytest.mark.parametrize("at", ["", "entirely_other", "c1.9", "c1..0"])
def test_unknown_layer_without_a_near_name_still_offers_cuts(at: str) -> None:
    model = zoo.Plain()
    names = offered(refusal(model, at, images(2)))
    assert names
    for name in names:
        cut(model, name, images(2))


@pytest.mark.parametrize(
    ("make", "at", "says"),
    [
        (zoo.Reused, "relu", "runs 3 times"),
        (zoo.Reused, "twice", "runs 2 times"),
        (zoo.ListLoop, "blocks", "never called itself"),
        (zoo.Unused, "aux", "does not run in eval mode"),
        (zoo.Unused, "attention.out_proj", "nn.MultiheadAttention ('attention')"),
    ],
)
def test_layers_that_are_no_place_to_cut(make: Callable[[], nn.Module], at: str, says: str) -> None:
    model = make()
    text = refusal(model, at, images(2))
    assert says in text
    names = offered(text)
    assert names
    for name in names:
        assert isinstance(cut(model, name, images(2)).device(images(3)), Tensor)


def test_nearest_in_the_models_order_comes_first() -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1)) for _ in range(9)), nn.Flatten(), nn.Linear(768, 4))
    model[6] = nn.Sequential(model.get_submodule("5.0"), nn.Conv2d(3, 3, 1))
    names = offered(refusal(model, "5.0", images(2)))
    assert names[0] in ("5", "6")
    assert {name.split(".")[0] for name in names} <= {"4", "5", "6", "7"}


def test_an_input_that_would_cross_is_an_error() -> None:
    model = zoo.TwoInputs()
    example = images(2), torch.rand(2, 5)
    text = refusal(model, "img", example)
    assert "private" in text
    for name in offered(text):
        cut(model, name, example)
    assert "join" in offered(text)


def test_an_input_that_crosses_as_a_view_is_an_error() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.Linear(8, 4))
    text = refusal(model, "0", images(2))
    assert "private" in text
    assert offered(text)[0] == "1"


def test_a_skip_from_the_image_is_an_error() -> None:
    class Skip(zoo.Plain):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.c3(self.c2(self.c1(x))).mean((2, 3))) + x.mean((1, 2, 3))[:, None]

    assert "private" in refusal(Skip(), "c1", images(2))


def test_data_branch_in_front_of_the_cut_names_its_line() -> None:
    model = zoo.RootBranch()
    text = refusal(model, "c3", images(2))
    assert "zoo.py:" in text
    assert "`if x.mean() > 0:`" in text
    assert "in front of it" in text
    names = offered(text)
    assert names
    for name in names:
        cut(model, name, images(2))


def test_data_branch_behind_with_a_skip_across_is_refused() -> None:
    text = refusal(zoo.RootBranchWithSkip(), "c2", images(2))
    assert "behind it" in text
    assert "zoo.py:" in text


def test_a_branch_on_the_batch_size_is_not_guessed() -> None:
    class OddOnes(zoo.Plain):
        def forward(self, x: Tensor) -> Tensor:
            y = self.c1(x)
            if x.shape[0] % 2:
                y = y * 2
            return self.fc(self.c3(self.c2(y)).mean((2, 3)))

    model = OddOnes().eval()
    for at in ("c1", "c2"):
        split = cut(model, at, images(2))
        assert any("replay" in note for note in split.notes)
        for size in (1, 2, 3):
            assert torch.equal(split(images(size)), model(images(size)))


def test_a_number_read_off_the_images_does_not_cross() -> None:
    class Reads(zoo.Plain):
        def forward(self, x: Tensor) -> Tensor:
            scale = float(x.max())
            return self.fc(self.c3(self.c2(self.c1(x) * scale)).mean((2, 3)) * scale)

    assert "cannot be cut" in refusal(Reads(), "c2", images(2))


def test_a_model_that_does_not_run_says_so() -> None:
    text = refusal(zoo.Plain(), "c1", torch.rand(2, 5, 16, 16))
    assert "does not run on the example in eval mode" in text


def test_custom_gradients_in_the_root_are_not_lost() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
            return gradient * 100

    class Custom(zoo.Plain):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.c3(Double.apply(self.c2(self.c1(x)))).mean((2, 3)))

    model = Custom().eval()
    split = cut(model, "c1", images(2))
    assert zoo.gap(model, split, (images(3),), train=True) == 0


def test_halves_that_compute_something_else_are_refused() -> None:
    class Head(nn.Module):
        def forward(self, z: tuple[Tensor, ...]) -> Tensor:
            return z[0].mean((2, 3))[:, :4]

    class Wrong:
        def halves(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
            return model.get_submodule("c1"), Head()

    with pytest.raises(MismatchError, match="largest difference"):
        verify(Wrong(), zoo.Plain(), (images(2),), "c1")


def test_a_program_keeps_no_tensor_longer_than_needed() -> None:
    split = cut(zoo.Plain().eval(), "c1", images(2))
    program = split.server._programs[False]  # type: ignore[union-attr, index]
    assert isinstance(program, Program)
    freed = [slot for step in program.steps for slot in step.drop]
    assert len(freed) == len(set(freed))
    assert len(freed) == len(program.steps) + program.takes - 1
