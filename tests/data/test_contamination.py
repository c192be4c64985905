from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unsmash.data import Data, Pool, Pools, Splits
from unsmash.data._contamination import NEAR, first_of_each, hashes, near_twins
from unsmash.errors import ContaminationError, DataError

COUNTS = {"train": 20, "shadow": 20, "validator": 10, "val": 10, "victims": 20}
TRAINING = ("train", "shadow", "validator")
ALL = (*TRAINING, "val", "victims")


class Given(Data):
    """Pools handed in by the test."""

    kind: Literal["given"] = "given"
    held: ClassVar[Pools]

    def pools(self, root: Path) -> Pools:
        return self.held


def pool(pixels: Tensor, name: str = "image") -> Pool:
    labels = torch.arange(len(pixels)) % 2
    return Pool(pixels, labels, [f"{name} {index}" for index in range(len(pixels))])


def noise(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def load(pools: Pools, *, allow: bool = False, **settings: object) -> Splits:
    Given.held = pools
    return Given.model_validate(COUNTS | settings).load(Path(), allow_contamination=allow)


def common(pixels: Tensor) -> Pools:
    return Pools(classes=("even", "odd"), source="noise", common=pool(pixels))


def images_of(splits: Splits) -> dict[str, set[bytes]]:
    return {name: {image.numpy().tobytes() for image in getattr(splits, name).pixels} for name in ALL}


def test_the_hash_sees_content_and_shape_only() -> None:
    image = noise(1)
    other = image.clone()
    other[0, 0, 3, 3] += 1
    assert hashes(image) == hashes(image.clone())
    assert hashes(image) != hashes(other)
    assert hashes(torch.zeros(1, 1, 4, 9, dtype=torch.uint8)) != hashes(torch.zeros(1, 1, 6, 6, dtype=torch.uint8))


def test_the_hash_does_not_see_how_memory_is_laid_out() -> None:
    image = torch.stack([noise(5)[:, 0], noise(5, seed=1)[:, 0]], dim=1)
    assert hashes(image) == hashes(image.contiguous(memory_format=torch.channels_last))
    assert hashes(image.flip(0)) == hashes(image)[::-1]


@given(st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=4))
def test_the_first_of_each_is_kept_and_nothing_else(parts: list[list[int]]) -> None:
    named = {str(index): [bytes([value]) for value in part] for index, part in enumerate(parts)}
    kept = first_of_each(named)
    left = [named[name][place] for name, places in kept.items() for place in places.tolist()]
    assert left == list(dict.fromkeys(value for part in named.values() for value in part))


def refusal(pools: Pools) -> ContaminationError | None:
    try:
        load(pools, duplicates="stop")
    except ContaminationError as error:
        return error
    return None


@settings(deadline=None, max_examples=60)
@given(repeats=st.integers(0, 40), seed=st.integers(0, 1000))
def test_sets_are_disjoint_or_refused(repeats: int, seed: int) -> None:
    distinct = noise(100, seed)
    pixels = torch.cat([distinct, distinct[:repeats]])
    dropped = load(common(pixels), duplicates="drop")
    sets = images_of(dropped)
    assert dropped.report.repeats_dropped == repeats
    assert sum(map(len, sets.values())) == sum(COUNTS.values()) == len(set().union(*sets.values()))
    error = refusal(common(pixels))
    allowed = load(common(pixels), duplicates="stop", allow=True)
    drawn = images_of(allowed).values()  # repeats inside one set, which are allowed, count once here
    overlap = sum(map(len, drawn)) > len(set().union(*drawn))
    assert overlap == (allowed.report.contamination > 0) == (error is not None)
    if error is not None:
        assert allowed.report.contamination == error.count
        assert allowed.report.contamination_examples == error.examples


def test_the_sentence_names_both_images_and_the_two_ways_on() -> None:
    pixels = noise(40)
    pools = Pools(
        classes=("even", "odd"),
        source="noise",
        target=pool(noise(60, 1), "t"),
        shadow=pool(pixels, "s"),
        victims=pool(torch.cat([noise(30, 2), pixels[:7]]), "v"),
    )
    with pytest.raises(ContaminationError, match=r"given: 7 images stand") as caught:
        load(pools, duplicates="stop")
    assert "s 0 (shadow) = v 30 (victims)" in str(caught.value)
    assert "duplicates=drop" in str(caught.value)
    assert "--allow-contamination" in str(caught.value)
    assert (caught.value.count, len(caught.value.examples)) == (7, 5)


def test_dropping_takes_repeats_from_the_later_part() -> None:
    shadow = noise(40)
    parts: dict[str, Any] = {
        "target": pool(noise(60, 1)),
        "shadow": pool(shadow),
        "victims": pool(torch.cat([noise(30, 2), shadow[:7]])),
    }
    splits = load(Pools(classes=("even", "odd"), source="noise", **parts), duplicates="drop", shadow=40)
    assert splits.report.repeats_dropped == 7
    assert not images_of(splits)["shadow"] & images_of(splits)["victims"]
    with pytest.raises(DataError, match="part victims: 30 images, but the sets want 31"):
        load(Pools(classes=("even", "odd"), source="noise", **parts), duplicates="drop", victims=31)


def test_repeats_inside_one_set_are_no_contamination() -> None:
    shadow = noise(1).expand(30, 1, 6, 6).contiguous()
    pools = Pools(classes=("even", "odd"), source="noise", common=pool(noise(80, 1)), shadow=pool(shadow))
    assert load(pools, duplicates="stop").report.contamination == 0


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 20), (1, 30, 9)])
def test_near_twins_agree_with_comparing_every_pair(shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(1)
    victims = torch.rand(40, *shape, generator=random)
    others = torch.rand(120, *shape, generator=random)
    others[:20] = (
        victims[:20]
        + torch.randn(20, *shape, generator=random) * torch.linspace(0.5, 1.5, 20)[:, None, None, None] * NEAR
    )
    distance = (victims[:, None] - others[None]).double().square().flatten(2).mean(2).sqrt()
    found = near_twins((victims, [f"v{i}" for i in range(40)]), {"train": (others, [f"t{i}" for i in range(120)])})
    assert found.count == int((distance < NEAR).any(1).sum())
    assert 0 < found.count < 20
    assert found.examples[0] == "v0 (victims) ≈ t0 (train)"


def test_near_twins_are_reported_and_not_fatal() -> None:
    pixels = torch.cat([noise(100), (noise(100).int() ^ 1).to(torch.uint8)])
    report = load(common(pixels), duplicates="stop").report
    assert report.contamination == 0
    assert report.near_duplicates > 0
    assert "(victims) ≈" in report.near_examples[0]
