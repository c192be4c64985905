"""Identification: closed forms, ties, invariances, and a double loop as the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unsmash.metrics.identification import by_similarity, centred_cosine, identify, l2


def rows(n: int, d: int = 30, *, seed: int = 0) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop(similarity: np.ndarray, truth: list[int]) -> tuple[list[float], list[int]]:
    """Hits and ranks by the book, on exact figures."""
    hits, ranks = [], []
    for row, own in zip(similarity, truth, strict=True):
        better = sum(1 for value in row if value > row[own])
        others = sum(1 for value in row if value == row[own]) - 1
        hits.append(0.0 if better else 1 / (others + 1))
        ranks.append(1 + better + math.ceil(others / 2))
    return hits, ranks


def test_each_image_identifies_itself() -> None:
    images = rows(40)
    matching = identify(images, images)
    assert matching.hits.tolist() == [1.0] * 40
    assert matching.ranks.tolist() == [1] * 40


def test_a_cyclic_shift_identifies_nobody_and_ranks_nobody_first() -> None:
    images = rows(40)
    matching = identify(images.roll(1, 0), images)
    assert matching.hits.sum() == 0
    assert (matching.ranks > 1).all()


@pytest.mark.parametrize("right", [0, 1, 13, 40])
def test_the_share_is_the_share_of_guesses_that_are_right(right: int) -> None:
    images = rows(40)
    guess = torch.cat([images[:right], images[right:].roll(1, 0)]) if right < 40 else images
    assert identify(guess, images).hits.sum().item() == right


@pytest.mark.parametrize("index", [0, 7, 24])
def test_naming_one_candidate_for_everybody_earns_one_in_n_whatever_its_index(index: int) -> None:
    images = rows(25)
    assert identify(images[index].expand(25, -1), images).hits.mean().item() == pytest.approx(1 / 25)


@given(n=st.integers(2, 30), level=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_blank_guess_earns_one_in_n(n: int, level: float, seed: int) -> None:
    images = rows(n, 12, seed=seed)
    assert identify(torch.full((n, 12), level, dtype=torch.float64), images).hits.mean().item() == pytest.approx(1 / n)


def test_the_mean_image_earns_one_in_n_and_not_everything() -> None:
    images = rows(50)
    matching = identify(images.mean(0).expand(50, -1), images)
    assert matching.hits.mean().item() == pytest.approx(1 / 50)
    cosine = by_similarity(centred_cosine(images.mean(0).expand(50, -1), images))
    assert cosine.hits.mean().item() == pytest.approx(1 / 50)


@pytest.mark.parametrize("n", [2, 3, 11])
def test_a_tie_of_all_shares_the_hit_and_stands_in_the_middle(n: int) -> None:
    matching = by_similarity(torch.zeros(n, n, dtype=torch.float64))
    assert matching.hits.tolist() == pytest.approx([1 / n] * n)
    assert matching.ranks.tolist() == [1 + math.ceil((n - 1) / 2)] * n


def test_shrunken_images_are_won_by_cosine() -> None:
    images = rows(60)
    shrunken = images.mean(0) + 0.02 * (images - images.mean(0))
    # blurred towards the mean, every guess lies nearest to whichever candidate is most like the mean
    assert by_similarity(-l2(shrunken, images)).hits.mean() < 0.2
    shrunken = 0.02 * images + 0.49
    matching = identify(shrunken, images)
    assert matching.matcher == "cosine"
    assert matching.hits.mean() == 1
    assert by_similarity(-l2(shrunken, images)).hits.mean() < 0.2


def test_a_wrong_offset_is_won_by_l2() -> None:
    # candidates differ in brightness, which cosine takes off; a guess off by one pattern misleads it
    shape, pattern = rows(1, 40, seed=1), rows(1, 40, seed=2)
    images = torch.linspace(0, 3, 20, dtype=torch.float64)[:, None] + 0.01 * rows(20, 40, seed=3) + shape
    guess = images + 0.05 * pattern
    matching = identify(guess, images)
    assert matching.matcher == "l2"
    assert matching.hits.mean() == 1
    assert by_similarity(centred_cosine(guess, images)).hits.mean() < 1


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_reordering_the_victims_reorders_the_hits(seed: int) -> None:
    images = rows(17, 9, seed=seed)
    guess = images + 0.4 * rows(17, 9, seed=seed + 1)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(seed))
    plain, moved = identify(guess, images), identify(guess[order], images[order])
    assert moved.matcher == plain.matcher
    assert moved.hits.tolist() == plain.hits[order].tolist()
    assert moved.ranks.tolist() == plain.ranks[order].tolist()


@given(
    st.integers(2, 9).flatmap(
        lambda n: st.tuples(
            st.lists(st.lists(st.integers(-3, 3), min_size=n + 2, max_size=n + 2), min_size=n, max_size=n),
            st.permutations(range(n + 2)),
        )
    )
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_hits_and_ranks_equal_a_double_loop(case: tuple[list[list[int]], list[int]]) -> None:
    table, places = np.array(case[0], dtype=np.float64), case[1][: len(case[0])]
    matching = by_similarity(torch.tensor(table), truth=torch.tensor(places))
    hits, ranks = loop(table, places)
    assert matching.hits.tolist() == pytest.approx(hits)
    assert matching.ranks.tolist() == ranks


@pytest.mark.parametrize("n", [30, 110])  # both forms of the distance
def test_both_matchers_equal_a_double_loop_over_images(n: int) -> None:
    images = rows(n, 20)
    guess = (images + 0.5 * rows(n, 20, seed=5)).numpy()
    figures = {"cosine": np.empty((n, n)), "l2": np.empty((n, n))}
    for i, a in enumerate(guess):
        for j, b in enumerate(images.numpy()):
            figures["cosine"][i, j] = np.corrcoef(a, b)[0, 1]
            figures["l2"][i, j] = -math.dist(a, b)
    expected = {name: loop(table, list(range(n))) for name, table in figures.items()}
    best = max(expected, key=lambda name: sum(expected[name][0]))
    matching = identify(torch.tensor(guess), images)
    assert matching.matcher == best
    assert matching.hits.tolist() == expected[best][0]
    assert matching.ranks.tolist() == expected[best][1]


def test_distractors_only_take_hits_away() -> None:
    images = rows(40)
    guess = images + rows(40, seed=9) - 0.5
    alone = identify(guess, images).hits.mean()
    crowd = identify(guess, torch.cat([images, rows(200, seed=10)])).hits.mean()
    assert 0 < crowd < alone
    thieves = identify(guess, torch.cat([images, guess]))
    assert thieves.hits.sum() == 0


@pytest.mark.parametrize("n", [20, 500])  # 500 is where distances are computed by matrix products
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_exact_duplicates_among_the_candidates_share_the_hit(n: int, noise: float) -> None:
    half = rows(n // 2, 64)
    images = torch.cat([half, half])
    guess = images + noise * rows(n, 64, seed=4)
    for matching in (by_similarity(-l2(guess, images)), by_similarity(centred_cosine(guess, images))):
        assert matching.hits.tolist() == [0.5] * n
        assert matching.ranks.tolist() == [2] * n


def test_identification_does_not_depend_on_the_precision_that_images_come_in() -> None:
    images = rows(50).float()
    guess = (images + 0.3 * rows(50, seed=3)).float()
    single, double = identify(guess, images), identify(guess.double(), images.double())
    assert single.hits.tolist() == double.hits.tolist()


def test_images_and_their_rows_are_matched_alike() -> None:
    images = rows(12, 3 * 4 * 5).reshape(12, 3, 4, 5)
    guess = images + 0.5 * rows(12, 60, seed=2).reshape(images.shape)
    assert identify(guess, images).ranks.tolist() == identify(guess.flatten(1), images.flatten(1)).ranks.tolist()


@given(scale=st.floats(0.1, 10), shift=st.floats(-1, 1))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_centred_cosine_forgives_contrast_and_brightness(scale: float, shift: float) -> None:
    images = rows(8, 16)
    assert torch.allclose(centred_cosine(images * scale + shift, images), centred_cosine(images, images), atol=1e-9)


def test_cosine_of_a_constant_row_is_zero_with_everything() -> None:
    assert centred_cosine(torch.full((2, 6), 0.3, dtype=torch.float64), rows(4, 6)).tolist() == [[0.0] * 4] * 2
