"""The values of an image: normalised, scaled by the image, or the pixels as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from tests.inference.pipelines import BRAIN, FLAT, PIXELS


def test_normalises_per_channel() -> None:
    """The network sees (image / scale - mean) / std, channels first."""
    image = np.random.default_rng(0).integers(0, 256, size=(8, 6, 3)).astype(np.uint8)

    tiles, _ = FLAT.prepare(image)

    expected = (image / 255.0 - np.array(FLAT.mean)) / np.array(FLAT.std)
    np.testing.assert_allclose(tiles[0], np.moveaxis(expected, -1, 0), atol=1e-5)
    assert tiles.dtype == np.float32


def test_a_graph_that_takes_pixels_refuses_what_is_none() -> None:
    """Whole numbers from 0 to 255 are pixels in whatever type they come, everything else is refused."""
    inside = replace(PIXELS, in_graph="input")
    image = np.arange(8 * 6 * 3).reshape(8, 6, 3)
    for dtype in (np.int64, np.float32, np.uint16):
        np.testing.assert_array_equal(inside.prepare(image.astype(dtype))[0][0], image)
    for bad in (image + 113, image - 1, image / 2):
        with pytest.raises(ValueError, match=r"whole numbers from 0 to 255.*got (int64|float64) from"):
            inside.prepare(bad)


@pytest.mark.parametrize("intensity", ["percentile", "zscore"])
def test_levels_of_an_image_do_not_matter(intensity: Literal["percentile", "zscore"]) -> None:
    """With an intensity taken from the image itself, brighter or darker by a constant changes nothing."""
    pipeline = replace(BRAIN, intensity=intensity, orientation=None, spacing_mm=None)
    image = np.random.default_rng(0).normal(size=(9, 8, 8)).astype(np.float32)
    one, _ = pipeline.prepare(image)
    other, _ = pipeline.prepare(image * 300 + 1000)
    assert np.allclose(one, other, atol=1e-3)
    assert not np.allclose(one, 0)
