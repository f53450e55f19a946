"""Pictures for people: labels where they are, slices the right way up, demo data called so."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from autoopt.deploy.overlay import COLOURS, overlay_bytes


def drawn(
    image: np.ndarray, mask: np.ndarray, *, multilabel: bool = False, axis: int = 0, demo: bool = False
) -> np.ndarray:
    data = overlay_bytes(image, mask, "m", multilabel=multilabel, stack_axis=axis, demo=demo)
    return np.asarray(Image.open(io.BytesIO(data)))


def test_labels_are_drawn_where_they_are() -> None:
    """The edge of a label has its colour, its inside is tinted, the rest is the picture as it is."""
    image = np.full((12, 12, 3), 100, np.uint8)
    mask = np.zeros((12, 12), np.uint8)
    mask[2:8, 2:8] = 2
    found = drawn(image, mask)
    assert tuple(found[2, 2]) == COLOURS[1] and (found[0, 0] == 100).all()
    assert np.array_equal(found[4, 4], np.rint(0.6 * 100 + 0.4 * np.array(COLOURS[1])))
    labels = np.stack([mask > 0, mask > 9], axis=-1).astype(np.uint8)
    assert tuple(drawn(image, labels, multilabel=True)[2, 2]) == COLOURS[0]


def test_a_volume_shows_slices_with_labels_upright() -> None:
    """Of a NIfTI volume slices along the last axis are shown, those with labels, the second axis upwards."""
    volume = np.zeros((6, 10, 40, 1), np.float32)
    mask = np.zeros((6, 10, 40), np.uint8)
    mask[0, 9, 30:34] = 1
    found = drawn(volume, mask, axis=2)
    assert found.shape == (2 * 10, 2 * 6, 3)  # four slices have the label
    assert all(tuple(found[row, column]) == COLOURS[0] for row in (0, 10) for column in (0, 6))
    assert drawn(volume, np.zeros_like(mask), axis=2).shape == (3 * 10, 3 * 6, 3)


def test_demo_data_is_called_so() -> None:
    """A picture of a model made from demo data has a line above it."""
    image = np.zeros((12, 80, 3), np.uint8)
    found = drawn(image, np.zeros((12, 80), np.uint8), demo=True)
    assert found.shape[0] > 12 and found[:-12].min() < 100 < found[:-12].max()
