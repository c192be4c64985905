"""W = ∫ sup_x p(z|x) dz against that integral done by brute force, and attackers that must not see more messages."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from unsmash.bounds.messages import (
    ball_messages,
    box_messages,
    hull_messages,
    l1_ball_messages,
    log2_messages,
    response_messages,
)
from unsmash.bounds.regions import Noise, Region

GAUSSIAN, LAPLACE = Noise("gaussian", 1.0), Noise("laplace", 1.0)


def simplex(vertices: int, radius: float) -> np.ndarray:
    """Rows: the vertices of a regular simplex around 0, in as many dimensions as it has vertices."""
    return (np.eye(vertices) - 1 / vertices) * radius * math.sqrt(vertices / (vertices - 1))


def onto_weights(points: np.ndarray) -> np.ndarray:
    """The nearest weights (≥ 0, adding up to one) to each row, by sorting."""
    ordered = -np.sort(-points, axis=1)
    excess = (ordered.cumsum(1) - 1) / np.arange(1, points.shape[1] + 1)
    count = (ordered > excess).sum(1, keepdims=True)
    return np.maximum(points - np.take_along_axis(excess, count - 1, 1), 0)


def hull_distance(z: np.ndarray, radius: float) -> np.ndarray:
    """Distance of each row, in the plane where coordinates add up to 0, to the simplex of `simplex`."""
    vertices = z.shape[1]
    size = radius * math.sqrt(vertices / (vertices - 1))
    nearest = (onto_weights(z / size + 1 / vertices) - 1 / vertices) * size
    return np.linalg.norm(z - nearest, axis=1)


def radial(radius: float, numbers: int, density: Callable[[float], float]) -> float:
    """∫ density(distance to the ball of that radius) dz, shell by shell."""
    shell = 2 * math.pi ** (numbers / 2) / math.gamma(numbers / 2)
    inside = shell * radius**numbers / numbers * density(0.0)
    return inside + quad(lambda d: shell * (radius + d) ** (numbers - 1) * density(d), 0, 40, epsrel=1e-11)[0]


# boxes


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("side", [0.0, 0.3, 2.0, 9.0])
def test_one_side_against_quadrature(law, side: float) -> None:
    scale = 0.7
    peak = {"gaussian": 1 / (scale * math.sqrt(2 * math.pi)), "laplace": 1 / (2 * scale)}[law]
    fall = {"gaussian": lambda d: math.exp(-d * d / 2 / scale**2), "laplace": lambda d: math.exp(-d / scale)}[law]
    expected = peak * (side + 2 * quad(fall, 0, 60)[0])
    assert 2 ** box_messages((side,), Noise(law, scale)) == pytest.approx(expected)


@pytest.mark.parametrize("noise", [Noise("gaussian", (0.5, 2.0, 1.0)), Noise("laplace", (0.5, 2.0, 1.0))])
def test_sides_add_their_bits(noise: Noise) -> None:
    sides, scales = (1.0, 0.0, 7.0), (0.5, 2.0, 1.0)
    each = [box_messages((side,), Noise(noise.law, scale)) for side, scale in zip(sides, scales, strict=True)]
    assert box_messages(sides, noise) == pytest.approx(math.fsum(each))


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("queries", [1, 2, 3, 4, 7])
def test_repeats_against_importance_sampling(law, queries: int) -> None:
    """All k releases of one number at once: sup over the side of their joint density, z drawn from points along it."""
    side, draw = 3.0, np.random.default_rng(queries)
    places = np.linspace(-0.5, side + 0.5, 25)
    shape = (120_000, queries)
    noise = draw.normal(size=shape) if law == "gaussian" else draw.laplace(size=shape)
    z = draw.choice(places, (len(noise), 1)) + noise
    middle = z.mean(1) if law == "gaussian" else np.median(z, axis=1)
    best = np.clip(middle, 0, side)  # the log density is concave along the side, with its peak there

    def log_density(at: np.ndarray) -> np.ndarray:
        gap = z - at
        return -(gap**2 / 2 if law == "gaussian" else np.abs(gap)).sum(1)

    drawn = np.mean([np.exp(log_density(np.full((1, 1), place))) for place in places], axis=0)
    ratio = np.exp(log_density(best[:, None])) / drawn
    error = ratio.std() / math.sqrt(len(ratio))
    assert error < 0.02
    assert 2 ** box_messages((side,), Noise(law, 1.0), queries=queries) == pytest.approx(ratio.mean(), abs=4 * error)


def test_repeats_of_gaussians_are_one_with_less_noise() -> None:
    repeated = box_messages((1.0, 3.0), Noise("gaussian", 0.8), queries=16)
    assert repeated == pytest.approx(box_messages((1.0, 3.0), Noise("gaussian", 0.2)))


def test_repeats_of_laplace_tend_to_the_gaussian_of_the_same_score() -> None:
    """Fisher information of both is 1/scale², so many releases tell the same."""
    many = [box_messages((2.0,), Noise(law, 1.0), queries=10_000) for law in ("gaussian", "laplace")]  # type: ignore[arg-type]
    assert many[0] == pytest.approx(many[1], rel=1e-4)


# balls


@pytest.mark.parametrize("radius", [0.2, 1.0, 4.0])
def test_a_ball_of_one_number_is_an_interval(radius: float) -> None:
    assert ball_messages(radius, 1) == pytest.approx(box_messages((2 * radius,), GAUSSIAN))
    assert l1_ball_messages(radius, 1) == pytest.approx(box_messages((2 * radius,), LAPLACE))


@pytest.mark.parametrize("numbers", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("radius", [0.2, 1.0, 4.0])
def test_a_ball_against_radial_integration(radius: float, numbers: int) -> None:
    expected = radial(radius, numbers, lambda d: math.exp(-d * d / 2) / (2 * math.pi) ** (numbers / 2))
    assert 2 ** ball_messages(radius, numbers) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("numbers", "radius"), [(3000, 20.0), (50_000, 5.0), (50_000, 300.0)])
def test_a_large_ball_against_radial_integration(numbers: int, radius: float) -> None:
    """By logarithms; the ball itself, without its surroundings, is left out: it adds less than rounding does."""
    log_shell = math.log(2) + numbers / 2 * math.log(math.pi) - math.lgamma(numbers / 2)
    d = np.linspace(0, 2 * math.sqrt(numbers), 400_001)[1:]
    logs = log_shell + (numbers - 1) * np.log(radius + d) - d * d / 2 - numbers / 2 * math.log(2 * math.pi)
    outside = logs.max() + math.log(np.exp(logs - logs.max()).sum() * (d[1] - d[0]))
    assert ball_messages(radius, numbers) == pytest.approx(outside / math.log(2), rel=1e-8)


def test_a_ball_grows_with_its_mean_width_and_never_faster() -> None:
    """V_j ≤ V₁^j/j! (McMullen 1991), so ln W ≤ V₁/√2π = C·E‖noise‖, which is where it starts."""
    for numbers in (1, 40, 50_000):
        length = math.sqrt(2) * math.exp(math.lgamma((numbers + 1) / 2) - math.lgamma(numbers / 2))
        for radius in (1e-7, 1.0, 9.0):
            assert 0 < ball_messages(radius, numbers) <= radius * length / math.log(2) * (1 + 1e-9)
        assert ball_messages(1e-7, numbers) == pytest.approx(1e-7 * length / math.log(2), rel=1e-4)


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.5])
def test_an_l1_ball_of_two_numbers_against_a_grid(radius: float) -> None:
    """Mid-points of the quarter plane, in the L1 norm."""
    step = 0.01
    x = np.arange(0, 26, step) + step / 2
    distance = np.maximum(x[:, None] + x[None] - radius, 0)
    expected = 4 * np.exp(-distance).sum() * step**2 / 4
    assert 2 ** l1_ball_messages(radius, 2) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("numbers", [3, 6])
def test_an_l1_ball_against_importance_sampling(numbers: int) -> None:
    radius, draw = 2.0, np.random.default_rng(numbers)
    z = draw.laplace(size=(200_000, numbers))
    norm = np.abs(z).sum(1)
    ratio = np.exp(norm - np.maximum(norm - radius, 0))  # the supremum over the density at the centre, at most e^C
    error = ratio.std() / math.sqrt(len(ratio))
    assert 2 ** l1_ball_messages(radius, numbers) == pytest.approx(ratio.mean(), abs=4 * error)


@given(st.floats(1e-3, 50), st.integers(1, 3000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_an_l1_ball_stays_below_half_its_epsilon(radius: float, numbers: int) -> None:
    assert l1_ball_messages(radius, numbers) <= radius / math.log(2) * (1 + 1e-12)


# hulls


def test_a_triangle_against_a_grid() -> None:
    """C/σ = 2: W = ∫ φ₂(distance of z to the triangle) dz."""
    step, radius = 0.025, 2.0
    axis = np.arange(-11, 11, step)
    x, y = (part.ravel() for part in np.meshgrid(axis, axis))
    plane = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    z = np.stack([x, y], 1) @ plane
    expected = np.exp(-(hull_distance(z, radius) ** 2) / 2).sum() * step**2 / (2 * math.pi)
    assert expected == pytest.approx(3.89996, abs=2e-4)
    assert 2 ** hull_messages(radius, 3) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(("vertices", "radius"), [(4, 1.0), (10, 2.0), (30, 2.0)])
def test_a_hull_against_importance_sampling(vertices: int, radius: float) -> None:
    """z from a normal law wide enough to cover the hull, in the plane that it spans."""
    draw = np.random.default_rng(vertices)
    flat, wide = vertices - 1, math.sqrt(1 + 0.5 * radius**2 / (vertices - 1))
    z = draw.normal(size=(150_000, vertices)) * wide
    z -= z.mean(1, keepdims=True)
    drawn = -(z**2).sum(1) / (2 * wide**2) - flat * math.log(wide)
    ratio = np.exp(-(hull_distance(z, radius) ** 2) / 2 - drawn)
    error = ratio.std() / math.sqrt(len(ratio))
    assert error < 0.01 * ratio.mean()
    assert 2 ** hull_messages(radius, vertices) == pytest.approx(ratio.mean(), abs=4 * error)


@pytest.mark.parametrize("radius", [0.1, 1.0, 6.0])
def test_two_vertices_are_an_interval(radius: float) -> None:
    assert hull_messages(radius, 2) == pytest.approx(box_messages((2 * radius,), GAUSSIAN))


@pytest.mark.parametrize("vertices", [3, 20, 1000])
def test_a_hull_far_apart_holds_a_message_a_vertex_and_more_and_fits_in_its_ball(vertices: int) -> None:
    for radius in (0.1, 1.0, 5.0, 30.0):
        assert hull_messages(radius, vertices) < ball_messages(radius, vertices - 1)
    assert hull_messages(30.0, vertices) > math.log2(vertices)


def test_a_small_hull_grows_with_its_mean_width() -> None:
    """W ≈ 1 + V₁/√2π, and V₁/√2π is the mean of the largest ⟨vertex, noise⟩: for a simplex the largest of K normals."""
    for vertices in (3, 50):
        largest = np.random.default_rng(0).normal(size=(200_000, vertices)).max(1).mean()
        radius = 1e-5
        slope = (2 ** hull_messages(radius, vertices) - 1) / radius
        assert slope == pytest.approx(largest * math.sqrt(vertices / (vertices - 1)), rel=5e-3)


# randomised response


@pytest.mark.parametrize(("epsilon", "points"), [(0.0, 5), (1.0, 2), (3.0, 10), (6.21, 100)])
def test_randomised_response_by_its_table(epsilon: float, points: int) -> None:
    law = np.where(np.eye(points) > 0, math.exp(epsilon), 1.0)
    law /= law.sum(1, keepdims=True)
    assert 2 ** response_messages(epsilon, math.log2(points)) == pytest.approx(law.max(0).sum())


def test_randomised_response_at_its_ends() -> None:
    assert response_messages(5.0, 0.0) == 0
    assert response_messages(math.inf, 3.0) == 3.0
    assert response_messages(2.0, math.inf) == pytest.approx(2 / math.log(2))
    assert response_messages(2.0, 300.0) == pytest.approx(2 / math.log(2))
    assert response_messages(900.0, 3.0) == pytest.approx(3.0)


# the least of all facts


@pytest.mark.parametrize(
    ("region", "noise", "bits", "fact"),
    [
        (Region(500, sides=(2.0,) * 500), LAPLACE, 500, "box"),
        (Region(16, l2=1.0), Noise("gaussian", 0.25), 17.8, "ball"),
        (Region(10, hull=10, hull_radius=5.0), GAUSSIAN, 7.0, "hull"),
        (Region(10, hull=10, hull_radius=3.72), GAUSSIAN, 5.6, "hull"),
        (Region(1, log2_points=math.log2(10)), None, 3.3, "values"),
    ],
)
def test_published_bits(region: Region, noise: Noise | None, bits: float, fact: str) -> None:
    log2_w, name = log2_messages(region, noise)
    assert (round(log2_w, 1), name) == (bits, fact)


def test_the_least_fact_counts_and_is_named() -> None:
    facts = {"sides": (1.0,) * 20, "l2": 2.0}
    box, ball = log2_messages(Region(20, sides=(1.0,) * 20), GAUSSIAN), log2_messages(Region(20, l2=2.0), GAUSSIAN)
    assert log2_messages(Region(20, **facts), GAUSSIAN) == min(box, ball)  # type: ignore[arg-type]
    assert log2_messages(Region(20, log2_points=1.0, **facts), GAUSSIAN) == (1.0, "values")  # type: ignore[arg-type]


def test_nothing_known_bounds_nothing() -> None:
    for noise in (None, GAUSSIAN, LAPLACE):
        assert log2_messages(Region(5), noise) == (math.inf, "")
    assert log2_messages(Region(5, l2=1.0), None) == (math.inf, "")
    assert log2_messages(Region(5), Noise("response", 1.0)) == (pytest.approx(1 / math.log(2)), "epsilon")


@pytest.mark.parametrize("noise", [None, GAUSSIAN, LAPLACE, Noise("response", 3.0)])
def test_one_value_is_one_message(noise: Noise | None) -> None:
    assert log2_messages(Region(4, log2_points=0.0), noise, queries=50)[0] == 0
    assert log2_messages(Region(4, sides=(0.0,) * 4), noise, queries=50)[0] == 0


@pytest.mark.parametrize("noise", [None, Noise("gaussian", 1e-6), Noise("laplace", 1e-6), Noise("response", 40.0)])
def test_repeats_never_show_more_than_the_values_there_are(noise: Noise | None) -> None:
    region = Region(4, log2_points=5.0, sides=(1.0,) * 4)
    assert log2_messages(region, noise, queries=1000)[0] == pytest.approx(5.0)


def test_repeats_of_randomised_response_multiply_until_all_values_show() -> None:
    region = Region(1, log2_points=math.log2(10))
    once = response_messages(0.5, math.log2(10))
    assert log2_messages(region, Noise("response", 0.5), queries=3) == (pytest.approx(3 * once), "epsilon")
    assert log2_messages(region, Noise("response", 0.5), queries=90) == (math.log2(10), "values")


@pytest.mark.parametrize(
    "region", [Region(6, l2=1.0), Region(6, hull=5, hull_radius=1.0), Region(6, sides=(1.0, 2.0) * 3)]
)
def test_repeats_of_a_gaussian_release_divide_its_noise(region: Region) -> None:
    assert log2_messages(region, GAUSSIAN, queries=25)[0] == pytest.approx(
        log2_messages(region, Noise("gaussian", 0.2))[0]
    )


def test_a_ball_takes_the_least_noise_of_its_numbers() -> None:
    scales = (0.5, 1.0, 4.0)
    gaussian, laplace = Noise("gaussian", scales), Noise("laplace", scales)
    for region in (Region(3, l2=1.0), Region(3, l1=1.0)):  # the L1 ball lies in the L2 ball
        assert log2_messages(region, gaussian) == (ball_messages(2.0, 3), "ball")
    assert log2_messages(Region(3, l1=0.1), laplace)[0] <= l1_ball_messages(0.2, 3)


def test_laplace_noise_uses_the_box_around_a_ball() -> None:
    """One release is best seen in an L1 ball; repeats multiply there, and intervals of 2C a number soon say more."""
    ball, cross = Region(400, l2=2.0), Region(400, l1=2.0)
    assert log2_messages(ball, LAPLACE) == (l1_ball_messages(40.0, 400), "ball")
    assert log2_messages(cross, LAPLACE) == (l1_ball_messages(2.0, 400), "ball")
    intervals = box_messages((4.0,) * 400, LAPLACE, queries=100)
    assert log2_messages(ball, LAPLACE, queries=100) == (intervals, "box")


sizes = st.floats(0, 8)


@given(sizes, sizes, st.integers(2, 40))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_messages_start_at_one_and_grow_with_the_size(a: float, b: float, k: int) -> None:
    small, large = sorted((a, b))
    for count in (ball_messages, l1_ball_messages, hull_messages):
        assert 0 <= count(small, k) <= count(large, k) + 1e-9
        assert count(1e-9, k) == pytest.approx(0, abs=1e-7)
        assert count(0.0, k) == 0
        assert count(math.inf, k) == math.inf
    for noise in (GAUSSIAN, LAPLACE):
        assert 0 <= box_messages((small,) * k, noise) <= box_messages((large,) * k, noise)


def ball_points(draw: np.random.Generator, n: int) -> np.ndarray:
    points = draw.normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True) * draw.uniform(0, 1, (n, 1)) ** (1 / 3)


def cross_points(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.dirichlet(np.ones(4), n)[:, :3] * draw.choice([-1, 1], (n, 3))


PLACES = {
    "ball": (ball_points, Region(3, l2=1.0)),
    "cross": (cross_points, Region(3, l1=1.0)),
    "box": (lambda draw, n: draw.uniform(0, 1, (n, 3)), Region(3, sides=(1.0,) * 3)),
    "hull": (lambda draw, n: draw.dirichlet(np.ones(3) / 2, n) @ simplex(3, 1.0), Region(3, hull=3, hull_radius=1.0)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize(("scale", "queries"), [(0.1, 1), (0.5, 1), (0.5, 4)])
def test_no_attacker_tells_more_messages_apart(place: str, law, scale: float, queries: int) -> None:
    """The best attacker on 60 candidates of the region: candidates times hit rate stays below W."""
    points, region = PLACES[place][0](np.random.default_rng(1), 60), PLACES[place][1]
    draw = np.random.default_rng(2)
    truth = np.repeat(np.arange(60), 60)
    shape = (len(truth), queries, 3)
    z = points[truth][:, None] + scale * (draw.normal(size=shape) if law == "gaussian" else draw.laplace(size=shape))
    gap = np.abs(z[:, None] - points[None, :, None])
    hits = (gap**2 if law == "gaussian" else gap).sum((2, 3)).argmin(1) == truth
    error = 60 * hits.std() / math.sqrt(len(hits))
    log2_w, _ = log2_messages(region, Noise(law, scale), queries=queries)
    assert math.isfinite(log2_w)
    assert 60 * hits.mean() - 4 * error <= 2**log2_w


@pytest.mark.parametrize(
    "call",
    [
        lambda: ball_messages(-1.0, 3),
        lambda: hull_messages(1.0, 1),
        lambda: l1_ball_messages(math.nan, 3),
        lambda: response_messages(-1.0, 3.0),
        lambda: box_messages((1.0,), Noise("response", 1.0)),
        lambda: box_messages((1.0, 1.0), Noise("gaussian", (1.0,) * 3)),
        lambda: log2_messages(Region(3), None, queries=0),
    ],
)
def test_nonsense_is_refused(call) -> None:
    with pytest.raises(ValueError):
        call()
