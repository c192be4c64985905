"""Distances of regions against random pairs of points inside them, and what a region or a noise refuses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash.bounds.regions import Noise, Region

ROOT3 = math.sqrt(3)


def simplex(vertices: int, radius: float) -> np.ndarray:
    """Rows: the vertices of a regular simplex around 0, in as many dimensions as it has vertices."""
    return (np.eye(vertices) - 1 / vertices) * radius * math.sqrt(vertices / (vertices - 1))


def box(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.uniform(-0.5, 0.5, (n, 3)) * [1.0, 2.0, 0.5]


def ball(draw: np.random.Generator, n: int) -> np.ndarray:
    directions = draw.normal(size=(n, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) * 1.5


def cross(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.dirichlet(np.ones(3) / 3, n) * draw.choice([-1, 1], (n, 3)) * 1.5


def hull(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.dirichlet(np.ones(3) / 3, n) @ simplex(3, 1.5)


INSIDE = {
    box: Region(3, sides=(1.0, 2.0, 0.5)),
    ball: Region(3, l2=1.5),
    cross: Region(3, l1=1.5),
    hull: Region(3, hull=3, hull_radius=1.5),
}


@pytest.mark.parametrize("draw", INSIDE, ids=lambda draw: draw.__name__)
def test_no_two_points_are_further_apart_than_the_diameter(draw) -> None:
    region, points = INSIDE[draw], draw(np.random.default_rng(0), 400)
    apart = points[:, None] - points[None]
    farthest_l1, farthest_l2 = np.abs(apart).sum(-1).max(), np.linalg.norm(apart, axis=-1).max()
    assert 0.9 * region.diameter_l2() < farthest_l2 <= region.diameter_l2() * (1 + 1e-12)
    assert farthest_l1 <= region.diameter_l1() * (1 + 1e-12)
    assert 0.9 * region.radius_l2() < np.linalg.norm(points, axis=1).max() <= region.radius_l2() * (1 + 1e-12)
    assert (np.ptp(points, axis=0) <= np.array(region.widths()) * (1 + 1e-12)).all()


@pytest.mark.parametrize("draw", [box, ball, cross], ids=lambda draw: draw.__name__)
def test_the_l1_diameter_is_reached(draw) -> None:
    corners = {box: [0.5, 1.0, 0.25], ball: [1.5 / ROOT3] * 3, cross: [1.5, 0.0, 0.0]}[draw]
    assert 2 * math.fsum(corners) == pytest.approx(INSIDE[draw].diameter_l1())


def test_the_simplex_has_the_edge_its_vertices_have() -> None:
    for vertices in (2, 3, 7):
        corners = simplex(vertices, 2.0)
        edge = Region(vertices, hull=vertices, hull_radius=2.0).diameter_l2()
        assert edge == pytest.approx(np.linalg.norm(corners[0] - corners[1]))
        assert np.linalg.norm(corners, axis=1) == pytest.approx(2.0)


lengths = st.floats(0, 5) | st.just(math.inf)
regions = st.builds(
    Region,
    numbers=st.just(3),
    log2_points=st.floats(0, 40) | st.just(math.inf),
    sides=st.just(()) | st.tuples(lengths, lengths, lengths),
    l1=lengths,
    l2=lengths,
    hull=st.sampled_from([0, 2, 4]),
    hull_radius=st.floats(0, 5),
)


@given(regions, st.floats(0, 5))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_facts_only_ever_tighten(region: Region, radius: float) -> None:
    more = dataclasses.replace(region, l2=min(region.l2, radius))
    for measure in ("diameter_l1", "diameter_l2", "radius_l2"):
        assert getattr(more, measure)() <= getattr(region, measure)()
    assert more.bounded
    assert region.diameter_l2() <= region.diameter_l1() * (1 + 1e-12)
    assert region.bounded == math.isfinite(region.diameter_l2())


def test_nothing_known_bounds_nothing() -> None:
    region = Region(4, log2_points=3.0)
    assert (region.diameter_l1(), region.diameter_l2(), region.radius_l2()) == (math.inf,) * 3
    assert not region.bounded
    assert region.widths() == (math.inf,) * 4


def test_one_value_is_one_place() -> None:
    region = Region(4, log2_points=0.0)
    assert (region.diameter_l1(), region.diameter_l2(), region.radius_l2()) == (0.0,) * 3
    assert region.bounded
    assert region.widths() == (0.0,) * 4


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"numbers": 0}, "numbers"),
        ({"sides": (1.0,)}, "1 sides for 3 numbers"),
        ({"l2": -1.0}, "≥ 0"),
        ({"l1": math.nan}, "≥ 0"),
        ({"sides": (1.0, math.nan, 1.0)}, "≥ 0"),
        ({"hull": 1, "hull_radius": 1.0}, "2 to 4 vertices"),
        ({"hull": 5, "hull_radius": 1.0}, "2 to 4 vertices"),
        ({"hull": 3, "hull_radius": math.inf}, "hull_radius"),
    ],
)
def test_a_region_refuses_what_cannot_be(facts, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Region(**{"numbers": 3, **facts})


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, (), (1.0, 0.0)])
def test_noise_refuses_a_scale_that_hides_nothing(scale) -> None:
    with pytest.raises(ValueError, match="scale"):
        Noise("gaussian", scale)


def test_randomised_response_has_one_epsilon() -> None:
    assert Noise("response", 0).smallest == 0
    with pytest.raises(ValueError, match="one ε"):
        Noise("response", (1.0, 2.0))


def test_noise_has_a_scale_for_each_number() -> None:
    assert Noise("laplace", 0.5).scales(3) == (0.5,) * 3
    assert Noise("laplace", (0.5, 1.0)).scales(2) == (0.5, 1.0)
    with pytest.raises(ValueError, match="noise for 2 numbers"):
        Noise("laplace", (0.5, 1.0)).scales(3)
