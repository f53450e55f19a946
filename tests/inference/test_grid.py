"""Voxel grids: turned by affines and back, resampled without moving anything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.inference import grid

CODES = sorted(
    "".join(letters) for axes in itertools.permutations(("RL", "AP", "SI")) for letters in itertools.product(*axes)
)


def affine_of(orientation: str, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """The affine of an array whose axes point to `orientation`."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(orientation):
        world = "RLAPSI".index(letter) // 2
        affine[world, axis] = spacing[axis] * (1 if letter in "RAS" else -1)
    return affine


@given(st.sampled_from(CODES), st.sampled_from(CODES))
def test_turning_brings_every_orientation_to_every_other(stored: str, wanted: str) -> None:
    """A voxel lies at the same place in the world after its array was turned, and undoing gives the array back."""
    values = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    turn = grid.turn_to(wanted, affine_of(stored))
    turned = turn.apply(values)
    # The first voxel of the turned array is the corner that is farthest against the wanted directions.
    corner = [0 if letter in wanted else size - 1 for letter, size in zip(stored, values.shape, strict=True)]
    assert turned[0, 0, 0] == values[tuple(corner)]
    assert turned.shape == tuple(values.shape[axis] for axis in turn.axes)
    assert np.array_equal(turn.undo(turned), values)


def test_oblique_axes_count_as_the_nearest() -> None:
    """A volume turned by less than 45 degrees keeps its order of axes, also when two of them lie nearest to one."""
    angle = np.deg2rad(40)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert grid.turn_to("RAS", affine).axes == (0, 1, 2)
    with pytest.raises(ValueError, match="volume"):
        grid.turn_to("RAS", np.zeros((4, 4)))


@given(st.integers(1, 40), st.integers(1, 40), st.floats(-3, 3))
def test_resampling_keeps_constants_and_the_mean_of_ramps(have: int, want: int, level: float) -> None:
    """A constant stays what it is, values stay within their range, and the field of view does not move."""
    constant = np.full((have, 2), level, np.float32)
    assert np.allclose(grid.resample(constant, (want,)), level, atol=1e-5)
    ramp = np.linspace(0, 1, have, dtype=np.float32)
    moved = grid.resample(ramp, (want,))
    assert moved.min() >= -1e-6 and moved.max() <= 1 + 1e-6
    assert abs(float(moved.mean()) - float(ramp.mean())) < 1e-3
    assert np.allclose(moved, 1 - moved[::-1] if have > 1 else moved, atol=1e-5)


def test_coarse_grids_do_not_alias() -> None:
    """Stripes finer than the new grid become grey instead of wide stripes."""
    stripes = (np.arange(240) % 2).astype(np.float32)
    assert np.ptp(grid.resample(stripes, (50,))[2:-2]) < 0.1


@given(st.integers(1, 12), st.integers(1, 12), st.integers(-6, 6))
def test_cropping_and_back(size: int, window: int, start: int) -> None:
    """What a window cut out goes back to where it was; beyond the edge is the fill."""
    values = np.arange(1, size + 1, dtype=np.int64)
    part = grid.crop(values, (start,), (window,), 0, fill=0)
    inside = np.arange(start, start + window)
    expected = np.where((inside >= 0) & (inside < size), inside + 1, 0)
    assert np.array_equal(part, expected)
    whole = np.zeros_like(values)
    grid.uncrop(whole, part, (start,), 0)
    assert np.array_equal(whole, np.where(np.isin(np.arange(size), inside), values, 0))


def test_labels_are_never_mixed() -> None:
    """A resampled label map holds only labels that were there."""
    labels = np.array([[0, 3], [7, 255]], np.uint8)
    assert set(np.unique(grid.resample_labels(labels, (5, 3)))) == {0, 3, 7, 255}
    assert np.array_equal(grid.resample_labels(labels, (2, 2)), labels)


@pytest.mark.parametrize(
    ("text", "good"), [("RAS", True), ("LPS", True), ("RRS", False), ("RA", False), ("xyz", False)]
)
def test_orientations_are_known(text: str, good: bool) -> None:
    """Three letters of three different axes are an orientation."""
    assert grid.is_orientation(text) is good
