"""Training examples: reduced, cut to a tile, augmented."""

from __future__ import annotations

import numpy as np
import pytest

from autoopt.nets.batches import random_window, shrunk
from autoopt.workloads.contract import Sample


def test_shrinking_keeps_image_and_reference_together() -> None:
    """A shrunken image is the mean of blocks, in any number of dimensions, and its reference the label inside them."""
    reference = np.zeros((9, 8, 4), np.uint8)
    reference[4:8, 0:4] = 1
    sample = Sample(reference[..., np.newaxis] * np.uint8(200), reference)

    small_sample = shrunk(sample, 4)

    assert small_sample.image.shape == (2, 2, 1, 1)
    np.testing.assert_array_equal(small_sample.reference[..., 0], [[0, 0], [1, 0]])
    np.testing.assert_array_equal(small_sample.image[..., 0, 0], [[0, 0], [200, 0]])


@pytest.mark.parametrize("shape", [(5, 30), (16, 16), (40, 3)])
def test_windows_have_the_size_of_a_tile(shape: tuple[int, int]) -> None:
    """Whatever the size of a sample, its window has that of the tile, and the image stays on its reference."""
    reference = np.random.default_rng(0).integers(0, 2, size=shape).astype(np.uint8)

    window = random_window(Sample(reference[..., np.newaxis], reference), (16, 16), np.random.default_rng(1))

    assert window.reference.shape == (16, 16)
    np.testing.assert_array_equal(window.image[..., 0], window.reference)
