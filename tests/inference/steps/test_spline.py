"""Resampling as nnU-Net does, held against numbers of nnU-Net itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.inference.steps.base import Item
from autoopt.inference.steps.spline import ResampleSpline, coarse_axis, splined

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "nnunet-resampling.npz")
CASES = {
    "cubic": ((1.0, 1.2, 1.1), (0.8, 1.0, 1.4), 3),
    "coarse": ((5.0, 0.8, 0.9), (3.0, 1.0, 1.0), 3),
    "coarse_wanted": ((1.0, 1.0, 1.1), (4.0, 1.0, 1.0), 3),
    "two_coarse": ((5.0, 5.0, 1.0), (2.0, 2.0, 1.0), 3),
    "linear": ((1.0, 1.0, 2.0), (1.3, 0.7, 2.0), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_there_and_back_as_nnunet(name: str) -> None:
    """Images and answers are resampled to the very numbers of nnU-Net, also where one or two axes are coarse."""
    spacing, wanted, order = CASES[name]
    image = GOLDEN[f"{name}_image"]
    step = ResampleSpline(wanted, order=order)
    item, move = step.apply(Item(image[..., np.newaxis], np.diag([*spacing, 1.0])))
    np.testing.assert_array_equal(item.values[..., 0], GOLDEN[f"{name}_there"])
    back = move.values_back(item.values[np.newaxis, ..., 0], np.zeros(1, np.float32))
    np.testing.assert_array_equal(back[0], GOLDEN[f"{name}_back"])


def test_a_stack_keeps_its_own_spacing() -> None:
    """Of a stack of slices only the planes are resampled."""
    step = ResampleSpline((0.5, 0.5))
    item, _ = step.apply(Item(np.ones((3, 4, 4, 1), np.float32), np.diag([7.0, 1.0, 1.0, 1.0]), stack=1))
    assert item.sizes == (3, 8, 8)


@given(sizes=st.tuples(*[st.integers(1, 6)] * 3), axis=st.sampled_from([None, 0, 1, 2]), order=st.integers(0, 3))
def test_nothing_beyond_the_range_of_the_image(sizes: tuple[int, int, int], axis: int | None, order: int) -> None:
    """Whatever the sizes, the values stay within those of the image, and the sizes are those asked for."""
    image = np.random.default_rng(1).normal(size=(4, 3, 5)).astype(np.float32)
    result = splined(image, sizes, order, axis)
    assert result.shape == sizes and result.dtype == image.dtype
    assert image.min() <= result.min() and result.max() <= image.max()


def test_which_axis_is_coarse() -> None:
    """The image's spacing counts before the wanted one, one axis alone can be coarse, and it can be said outright."""
    assert coarse_axis((5, 1, 1), (1, 1, 1), None) == 0
    assert coarse_axis((1, 1, 1), (1, 1, 4), None) == 2
    assert coarse_axis((5, 5, 1), (1, 1, 1), None) is None
    assert coarse_axis((3, 1, 1), (1, 1, 1), None) is None
    assert coarse_axis((5, 1, 1), (1, 1, 1), separate=False) is None
    assert coarse_axis((2, 1, 1), (1, 1, 1), separate=True) == 0
