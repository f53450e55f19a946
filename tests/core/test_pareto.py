"""Pareto sets: the definitions hold for any points, the volumes agree with counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autoopt.core import pareto

# Few distinct values, so that ties and duplicates are common.
POINTS = st.integers(1, 4).flatmap(
    lambda k: hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(k)), elements=st.integers(0, 5))
)


@given(POINTS)
def test_front_is_what_nothing_dominates(points: np.ndarray) -> None:
    """A point is on the front exactly when no other point dominates it; equal points share their fate."""
    mask = pareto.front(points)
    expected = [not any(pareto.dominates(other, point) for other in points) for point in points]
    assert mask.tolist() == expected
    assert mask.any()


@given(POINTS, st.integers(0, 2**32))
def test_front_ignores_order_and_dominated_points(points: np.ndarray, seed: int) -> None:
    """Shuffling the points, or adding one that is dominated, changes no verdict."""
    mask = pareto.front(points)
    order = np.random.default_rng(seed).permutation(len(points))
    assert pareto.front(points[order]).tolist() == mask[order].tolist()
    worse = np.vstack([points, points[0] + 1])
    assert pareto.front(worse).tolist() == [*mask.tolist(), False]


@given(POINTS)
def test_ranks_peel_fronts(points: np.ndarray) -> None:
    """Rank 0 is the front, and what is left without the lower ranks has the next rank as its front."""
    ranks = pareto.ranks(points)
    assert (ranks == 0).tolist() == pareto.front(points).tolist()
    for rank in range(ranks.max() + 1):
        assert pareto.front(points[ranks >= rank]).tolist() == (ranks[ranks >= rank] == rank).tolist()


@given(POINTS)
def test_hypervolume_counts_unit_cubes(points: np.ndarray) -> None:
    """With whole coordinates the volume is the number of unit cubes that some point dominates."""
    side = 4
    k = points.shape[1]
    cubes = np.stack(np.meshgrid(*[np.arange(side)] * k), axis=-1).reshape(-1, k)
    covered = np.any(np.all(points[:, None] <= cubes[None], axis=2), axis=0)
    assert pareto.hypervolume(points, np.full(k, side)) == pytest.approx(covered.sum())


@given(POINTS, st.integers(0, 2**32))
def test_hypervolume_never_shrinks(points: np.ndarray, seed: int) -> None:
    """Another point never takes volume away, and a dominated one adds none."""
    reference = np.full(points.shape[1], 6.0)
    volume = pareto.hypervolume(points, reference)
    other = np.random.default_rng(seed).uniform(0, 7, size=points.shape[1])
    assert pareto.hypervolume(np.vstack([points, other]), reference) >= volume - 1e-9
    assert pareto.hypervolume(np.vstack([points, points[0] + 0.5]), reference) == pytest.approx(volume)


def test_hypervolume_of_nothing() -> None:
    """No points, or points beyond the reference, have no volume."""
    assert pareto.hypervolume(np.empty((0, 2)), [1, 1]) == 0
    assert pareto.hypervolume([[2.0, 0.0]], [1, 1]) == 0
    assert pareto.front([]).shape == (0,)


@given(POINTS)
def test_knee_is_on_the_front(points: np.ndarray) -> None:
    """The knee is a point of the front, whatever the units of the objectives."""
    index = pareto.knee(points)
    assert pareto.front(points)[index]
    scales = np.arange(1, points.shape[1] + 1)
    assert pareto.knee(points * scales + 7) == index


def test_differences_within_the_noise_do_not_move_the_knee() -> None:
    """Where points differ by less than its noise in one objective, the knee is the best of the other one."""
    points = [[0.0, 0.0023], [1.5, 0.0], [2.3, -0.0002]]
    assert pareto.knee(points) == 1
    assert pareto.knee(points, [0.1, 0.007]) == 0
    assert pareto.knee(points, [0.1, 0.0001]) == 1


def test_knee_is_the_bulge() -> None:
    """The knee is the point farthest below the chord; of one or two points it is the first."""
    assert pareto.knee([[0, 10], [1, 4], [2, 1], [6, 0.5], [10, 0]]) == 2
    assert pareto.knee([[3.0, 4.0]]) == 0
    assert pareto.knee([[0.0, 1.0], [1.0, 0.0]]) == 0
    # Exactly on the chord everywhere: the first, not the one that rounding prefers.
    assert pareto.knee([[x, 1 - x] for x in (0, 0.1, 0.3, 0.7, 1)]) == 0


@pytest.mark.parametrize("bad", [[[math.nan, 1.0]], [1.0, 2.0]])
def test_what_has_no_order_is_refused(bad: list[object]) -> None:
    """NaN and arrays of another shape are refused in words."""
    with pytest.raises(ValueError, match=r"points must (not hold NaN|be an array)"):
        pareto.front(bad)
    with pytest.raises(ValueError, match="a knee needs at least one point"):
        pareto.knee([])
    with pytest.raises(ValueError, match="one number per objective"):
        pareto.hypervolume([[0.0, 0.0]], [1.0])
    with pytest.raises(ValueError, match="finite"):
        pareto.hypervolume([[0.0, 0.0]], [math.inf, 1.0])
