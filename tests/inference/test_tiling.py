"""Tiles cover an image, and their outputs come together where they overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autoopt.inference.pipeline import Pipeline
from tests.inference.pipelines import PIXELS, PLAIN


@given(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40), st.floats(0, 0.9))
def test_tiles_cover_the_image_and_overlap_as_asked(shape: tuple[int, ...], overlap: float) -> None:
    """Every pixel lies in a tile, and neighbouring tiles share at least the fraction asked for."""
    pipeline = replace(PLAIN, overlap=overlap)

    tiles, geometry = pipeline.prepare(np.zeros((*shape, 3)))

    assert tiles.shape == (len(geometry.corners), 3, *pipeline.tile)
    for axis, size in enumerate(pipeline.tile):
        starts = sorted({corner[axis] for corner in geometry.corners})
        assert starts[0] == 0
        assert starts[-1] + size == geometry.padded[axis]
        steps = np.diff(starts)
        assert (steps <= max(1, int(size * (1 - overlap)))).all()


def test_overlapping_tiles_are_averaged() -> None:
    """Where two tiles disagree, the mean of their logits decides."""
    pipeline = Pipeline("segmentation", 2, 1, (4,), 0.5, 1.0, (0.0,), (1.0,))
    _, geometry = pipeline.prepare(np.zeros((6, 1)))
    outputs = np.zeros((2, 2, 4), np.float32)
    outputs[0, 1] = 1.0
    outputs[1, 0] = 3.0

    labels = pipeline.finish(outputs, geometry)

    assert geometry.corners == ((0,), (2,))
    assert labels.tolist() == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(("size", "overlap"), [((9, 6), 0.0), ((8, 7), 0.5), ((16, 12), 0.25)])
def test_a_graph_that_decides_refuses_tiles_that_overlap(size: tuple[int, int], overlap: float) -> None:
    """Labels have no mean: where the logits of two tiles would be averaged, the image is refused."""
    with pytest.raises(ValueError, match=rf"tiles of 8x6 that do not overlap.*one of {size[0]}x{size[1]} is not"):
        replace(PIXELS, overlap=overlap, in_graph="both").prepare(np.zeros((*size, 3), np.uint8))


def test_windows_at_fixed_distances_and_zeros_around_small_images() -> None:
    """With stride the last window is moved back to the edge; with zero what is beyond the edge is zero."""
    pipeline = Pipeline(
        "segmentation", 2, 1, (4,), 0.25, 1.0, (0.0,), (1.0,), windows="stride", padding="zero", restore="labels"
    )
    assert pipeline.prepare(np.zeros((12, 1)))[1].corners == ((0,), (3,), (6,), (8,))
    assert replace(pipeline, windows="even").prepare(np.zeros((12, 1)))[1].corners == ((0,), (3,), (5,), (8,))
    tiles, _ = pipeline.prepare(np.full((2, 1), 7.0))
    assert tiles.tolist() == [[[0.0, 7.0, 7.0, 0.0]]]
    small = replace(PIXELS, padding="zero", in_graph="input")
    with pytest.raises(ValueError, match="an image must be at least 8x6, because the graph takes pixels"):
        small.prepare(np.zeros((4, 6, 3), np.uint8))


def test_windows_of_nnunet_lie_at_least_a_voxel_apart() -> None:
    """However much they are to overlap, there are no more windows than places for them."""
    pipeline = Pipeline("segmentation", 2, 1, (4,), 1 - 1e-6, 1.0, (0.0,), (1.0,), windows="nnunet")
    _, geometry = pipeline.prepare(np.zeros((9, 1)))
    assert geometry.corners == tuple((start,) for start in range(6))
