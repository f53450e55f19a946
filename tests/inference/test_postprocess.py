"""Logits become labels, labels are cleaned."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autoopt.inference.frame import Frame
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.postprocess import clean_label, clean_map, decide, largest_of, layers_of

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


def test_regions_are_painted_over_each_other() -> None:
    """A later region lies over an earlier one, at the threshold itself nothing is painted, and layers come back."""
    logits = np.array([[3.0, 3.0, 3.0, -1.0, 0.0], [-1.0, 2.0, 2.0, -1.0, -1.0], [-1.0, -1.0, 1.0, 1.0, -1.0]])
    pipeline = Pipeline(
        *("segmentation", 3, 1, (5,), 0.0, 1.0, (0.0,), (1.0,)),
        activation="sigmoid",
        paint=(2, 1, 3),
        regions=((1, 2, 3), (1, 3), (3,)),
    )
    labels = pipeline.answer(logits.astype(np.float32), Frame((), (5,), None))
    assert labels.tolist() == [2, 1, 3, 3, 0]
    expected = [[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], [0, 0, 0]]
    assert layers_of(labels, pipeline).tolist() == expected
    assert Pipeline.from_json(json.loads(json.dumps(pipeline.to_json()))) == pipeline


@pytest.mark.parametrize(
    "change",
    [{"paint": (1, 2)}, {"paint": (0, 1, 2)}, {"activation": "softmax"}, {"regions": ((1,),)}, {"regions": (1, 2, 3)}],
)
def test_what_cannot_be_painted(change: dict[str, object]) -> None:
    """A label per class is needed, none of them the background, for probabilities of their own, of regions of them."""
    fields: dict[str, object] = {"activation": "sigmoid", "paint": (2, 1, 3), **change}
    with pytest.raises(ValueError, match=r"paint must|regions must"):
        Pipeline("segmentation", 3, 1, (5,), 0.0, 1.0, (0.0,), (1.0,), **fields)  # type: ignore[arg-type]
