"""Logits become labels, labels are cleaned."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autoopt.inference.postprocess import clean_label, clean_map, decide, largest_of

FEW_LEVELS = st.sampled_from((-1.0, 0.0, 2.5))


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=FEW_LEVELS))
def test_the_largest_is_that_of_argmax(logits: np.ndarray) -> None:
    """Of equal logits the first decides, as numpy's argmax has it."""
    np.testing.assert_array_equal(largest_of(logits), logits.argmax(axis=0))


def test_holes_and_islands() -> None:
    """The largest component is kept and its holes are filled, only where they are background."""
    logits = np.zeros((3, 9, 12), np.float32)
    logits[1, 1:8, 1:8] = 1.0
    logits[1, 3:6, 3:6] = -1.0  # a hole
    logits[2, 4, 4] = 2.0  # with another label in it
    logits[1, 1, 10] = 1.0  # an island
    labels = clean_map(decide(logits, "softmax", 0.5), len(logits), fill=True, largest=True)
    assert (labels[1:8, 1:8] == 1).sum() == 48 and labels[4, 4] == 2 and labels[1, 10] == 0


def test_connected_by_faces_or_by_corners() -> None:
    """By faces a square that touches by its corner is an island, and a ring that is open at a corner has a hole."""
    touching = np.zeros((6, 6), np.uint8)
    touching[:3, :3] = touching[3:5, 3:5] = 1
    assert clean_label(touching, 1, fill=False, largest=True).sum() == 9
    assert clean_label(touching, 1, fill=False, largest=True, by=2).sum() == 13
    ring = np.ones((3, 3), np.uint8)
    ring[1, 1] = ring[0, 0] = 0
    assert clean_label(ring, 1, fill=True, largest=False)[1, 1] == 1
    assert clean_label(ring, 1, fill=True, largest=False, by=2)[1, 1] == 0
