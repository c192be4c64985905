"""Linear attacks where one linear map is not enough: codes that hide within the class, and softmaxes."""

from __future__ import annotations

import pytest
import torch
from small import look
from torch import Tensor, nn

from unsmash.attacks.class_ridge import ClassRidge
from unsmash.attacks.ridge import Ridge
from unsmash.features import SMALLEST, Features
from unsmash.lab import Lab
from unsmash.split import SplitModel
from unsmash.view import Scene, make_scene

CLASSES, SIDE = 4, 4


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images [n, 1, 4, 4] of four classes; within a class they differ along directions of the class's own."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=draw)
    fixed = torch.Generator().manual_seed(99)
    centres = torch.rand(CLASSES, SIDE * SIDE, generator=fixed)
    directions = torch.randn(CLASSES, 2, SIDE * SIDE, generator=fixed) * 0.08
    within = torch.randn(count, 2, generator=draw)
    rows = centres[labels] + (within[:, None] @ directions[labels])[:, 0]
    return rows.reshape(count, 1, SIDE, SIDE), labels


def stage(count: int = 60) -> Scene:
    victims, labels = drawn(count, 1)
    shadow, known = drawn(600, 2)
    return make_scene(victims, labels, shadow, known, CLASSES, Lab())


class Folded(nn.Module):
    """Sends the class, far apart, and what is within it in the same two numbers for every class."""

    def __init__(self) -> None:
        super().__init__()
        fixed = torch.Generator().manual_seed(99)
        self.centres = torch.rand(CLASSES, SIDE * SIDE, generator=fixed)
        self.directions = torch.randn(CLASSES, 2, SIDE * SIDE, generator=fixed) * 0.08

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1)
        label = torch.cdist(rows, self.centres).argmin(1)
        rest = rows - self.centres[label]
        within = torch.linalg.lstsq(self.directions[label].mT, rest[:, :, None]).solution[:, :, 0]
        return torch.cat([within, 20.0 * nn.functional.one_hot(label, CLASSES).float()], 1)


def error(attack: Ridge | ClassRidge, model: SplitModel) -> float:
    at = stage()
    view = look(model.eval(), at, type(attack).needs)
    return (attack.run(view, Lab()) - at.victims).square().mean().item()


def test_a_map_for_each_class_finds_what_one_map_cannot() -> None:
    model = SplitModel(Folded(), nn.Linear(2 + CLASSES, CLASSES))
    assert error(ClassRidge(), model) < 1e-4 < 0.2 * error(Ridge(), model)


def test_without_labels_all_share_one_map() -> None:
    at = stage()
    blind = make_scene(at.victims, at.labels, at.shadow, torch.full_like(at.shadow_labels, -1), CLASSES, Lab())
    view = look(SplitModel(Folded(), nn.Linear(2 + CLASSES, CLASSES)).eval(), blind, ClassRidge.needs)
    assert ClassRidge().run(view, Lab()).isfinite().all()


class Softmaxed(nn.Module):
    """Sends a softmax of a linear map: its small entries hide what its logarithm shows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(SIDE * SIDE, 12, generator=torch.Generator().manual_seed(7)) * 8

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x.flatten(1) @ self.weight, 1)


def test_a_clean_softmax_is_read_through_its_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SplitModel(Softmaxed(), nn.Linear(12, CLASSES))
    told = error(Ridge(), model)
    monkeypatch.setattr("unsmash.features.MOST", 0)
    assert told < 0.3 * error(Ridge(), model)


def test_logarithms_stand_beside_numbers_that_are_nowhere_negative() -> None:
    positive = (torch.tensor([[0.0, 0.25, 1.0], [0.5, 0.1, 1.0]]),)
    kind = Features.of(positive)
    assert kind.logged
    rows = kind(positive)
    assert torch.equal(rows[:, :3], positive[0])
    assert torch.equal(rows[:, 3:], positive[0].clamp(min=SMALLEST).log())
    assert rows.isfinite().all()


@pytest.mark.parametrize(
    "release", [torch.tensor([[0.0, -0.1]]), torch.eye(3), torch.rand(2, 5000)], ids=["negative", "symbols", "wide"]
)
def test_they_are_left_out_where_they_add_nothing(release: Tensor) -> None:
    kind = Features.of((release,))
    assert not kind.logged
    assert torch.equal(kind((release,)), release)
