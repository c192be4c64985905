"""The gallery's least error: by hand, at its limits, and against every guesser we can think of."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unsmash.bounds.mmse import effective_candidates, gallery_mmse
from unsmash.regression import fit


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=stream(seed), dtype=torch.float64)


def log_likelihood(law: str, z: Tensor, means: Tensor, scale: float) -> Tensor:
    """Written out number by number: [n, N] up to a constant."""
    off = (z[:, None] - means[None]).abs() / scale
    return -(off.sum(2) if law == "laplace" else off.square().sum(2) / 2)


def noise(law: str, *shape: int, seed: int) -> Tensor:
    if law == "gaussian":
        return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)
    u = torch.rand(*shape, generator=stream(seed), dtype=torch.float64) - 0.5
    return -u.sign() * torch.log1p(-2 * u.abs())


def test_a_small_case_by_hand() -> None:
    gallery = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]).reshape(3, 1, 1, 2)
    likelihoods = [[0.2, 0.6, 0.2], [0.0, 0.25, 0.75]]
    truth = gallery[[1, 2]]
    expected = []
    for weights, victim in zip(likelihoods, truth, strict=True):
        guess = [sum(w * image.flatten()[p].item() for w, image in zip(weights, gallery, strict=True)) for p in (0, 1)]
        expected.append(sum((g - victim.flatten()[p].item()) ** 2 for p, g in enumerate(guess)) / 2)
    found = gallery_mmse(torch.tensor(likelihoods, dtype=torch.float64).log(), gallery, truth)
    assert found.tolist() == pytest.approx(expected)
    assert expected == pytest.approx([0.09, 0.015625])
    entropies = [-sum(w * math.log(w) for w in weights if w) for weights in likelihoods]
    logs = torch.tensor(likelihoods, dtype=torch.float64).log()
    assert effective_candidates(logs).tolist() == pytest.approx([math.exp(h) for h in entropies])


def test_without_noise_nothing_is_left_and_in_noise_the_variance() -> None:
    gallery, n = pictures(12), 12
    means = gallery.flatten(1) @ torch.randn(16, 5, generator=stream(1), dtype=torch.float64)
    for law in ("gaussian", "laplace"):
        sharp = log_likelihood(law, means, means, 1e-4)
        assert gallery_mmse(sharp, gallery, gallery).max() < 1e-12
        assert effective_candidates(sharp).tolist() == pytest.approx([1.0] * n)
        blurred = log_likelihood(law, means + 1e9 * noise(law, 12, 5, seed=2), means, 1e9)
        about_the_mean = (gallery - gallery.mean(0)).square().flatten(1).mean(1)
        assert torch.allclose(gallery_mmse(blurred, gallery, gallery), about_the_mean, rtol=1e-6)
        assert effective_candidates(blurred).tolist() == pytest.approx([n] * n)


Guesser = Callable[[Tensor, Tensor], Tensor]


def guessers(gallery: Tensor, means: Tensor, law: str, scale: float) -> dict[str, Guesser]:
    """Guesses [n, d] from the log-likelihood [n, N] and the release [n, k]."""
    rows = gallery.flatten(1)
    nearest: Guesser = lambda known, z: rows[known.argmax(1)]  # noqa: E731
    train = torch.arange(len(rows)).repeat(100)
    ridge = fit(means[train] + scale * noise(law, len(train), means.shape[1], seed=77), rows[train], penalty=1e-3)

    def tempered(heat: float) -> Guesser:
        return lambda known, z: torch.softmax(known / heat, 1) @ rows

    def shrunk(share: float) -> Guesser:
        return lambda known, z: share * nearest(known, z) + (1 - share) * rows.mean(0)

    return {
        "nearest": nearest,
        "mean image": lambda known, z: rows.mean(0).expand(len(z), -1),
        "too sure": tempered(0.5),
        "too shy": tempered(2.0),
        "half shrunk": shrunk(0.5),
        "a bit shrunk": shrunk(0.8),
        "ridge": lambda known, z: ridge(z),
        "too dark": lambda known, z: 0.95 * tempered(1.0)(known, z),
    }


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_no_guesser_does_better(law: str, scale: float) -> None:
    gallery, k, repeats = pictures(30), 4, 300
    means = (gallery.flatten(1) - 0.5) @ torch.randn(16, k, generator=stream(1), dtype=torch.float64)
    victims = torch.arange(30).repeat(repeats)
    z = means[victims] + scale * noise(law, len(victims), k, seed=2)
    known, truth = log_likelihood(law, z, means, scale), gallery[victims]
    least = gallery_mmse(known, gallery, truth)
    for name, guess in guessers(gallery, means, law, scale).items():
        worse = (guess(known, z) - truth.flatten(1)).square().mean(1) - least
        assert worse.mean() > -3 * worse.std() / len(worse) ** 0.5, name
        if name != "ridge":
            assert worse.mean() > 0, name


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_what_is_missed_is_the_posterior_variance(law: str) -> None:
    gallery, victims = pictures(20), torch.arange(20).repeat(500)
    means = gallery.flatten(1)[:, :3] * 2
    z = means[victims] + 0.5 * noise(law, len(victims), 3, seed=4)
    known = log_likelihood(law, z, means, 0.5)
    weights, rows = known.softmax(1), gallery.flatten(1)
    variance = (weights @ rows.square() - (weights @ rows).square()).mean(1)
    gap = gallery_mmse(known, gallery, gallery[victims]) - variance
    assert abs(gap.mean()) < 4 * gap.std() / len(gap) ** 0.5


def test_a_second_release_leaves_less() -> None:
    gallery, victims = pictures(20), torch.arange(20).repeat(100)
    means = gallery.flatten(1)[:, :5]
    once, twice = (
        log_likelihood("gaussian", means[victims] + 0.4 * noise("gaussian", len(victims), 5, seed=seed), means, 0.4)
        for seed in (1, 2)
    )
    truth = gallery[victims]
    assert gallery_mmse(once + twice, gallery, truth).mean() < gallery_mmse(once, gallery, truth).mean()
    assert effective_candidates(once + twice).mean() < effective_candidates(once).mean()


def test_more_distractors_leave_more() -> None:
    gallery = pictures(200)
    means = gallery.flatten(1)[:, :5]
    z = means[:50].repeat(20, 1) + 0.3 * noise("gaussian", 1000, 5, seed=3)
    truth = gallery[:50].repeat(20, 1, 1, 1)
    known = log_likelihood("gaussian", z, means, 0.3)
    left = [gallery_mmse(known[:, :size], gallery[:size], truth).mean().item() for size in (50, 200)]
    assert left[0] < left[1]


def test_a_constant_for_each_release_does_not_matter_nor_single_precision() -> None:
    gallery, known = pictures(6), torch.randn(4, 6, generator=stream(5), dtype=torch.float64)
    expected = gallery_mmse(known, gallery, gallery[:4])
    shift = torch.tensor([[1e3], [-1e3], [0.0], [5.0]], dtype=torch.float64)
    assert torch.allclose(gallery_mmse(known + shift, gallery, gallery[:4]), expected)
    assert torch.allclose(gallery_mmse(known.float(), gallery.float(), gallery[:4].float()), expected, rtol=1e-4)
    assert expected.dtype == torch.float64


def test_candidates_that_tie_are_averaged() -> None:
    gallery = pictures(4)
    known = torch.tensor([[0.0, 0.0, -math.inf, -math.inf]])
    expected = (gallery[:2].mean(0) - gallery[0]).square().mean().item()
    assert gallery_mmse(known, gallery, gallery[:1]).item() == pytest.approx(expected)
    assert effective_candidates(known).item() == pytest.approx(2)


@pytest.mark.parametrize("row", [[-math.inf, -math.inf], [math.nan, 0.0], [math.inf, 0.0]])
def test_a_release_that_no_candidate_can_have_sent_is_refused(row: list[float]) -> None:
    gallery = pictures(2)
    with pytest.raises(ValueError, match="candidate"):
        gallery_mmse(torch.tensor([[0.0, 0.0], row]), gallery, gallery)
    with pytest.raises(ValueError, match="candidate"):
        effective_candidates(torch.tensor([row]))


def test_shapes_that_do_not_fit_are_refused() -> None:
    gallery = pictures(3)
    with pytest.raises(ValueError, match="victims × candidates"):
        gallery_mmse(torch.zeros(3, 2), gallery, gallery)
    with pytest.raises(ValueError, match="one shape"):
        gallery_mmse(torch.zeros(3, 3), gallery, torch.zeros(3, 1, 2, 2))
