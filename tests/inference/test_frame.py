"""An image goes to the network's grid, and the answer comes back to the same place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from autoopt.inference.pipeline import predict
from autoopt.inference.steps.base import Step
from autoopt.inference.steps.resample import Resample
from autoopt.inference.steps.spline import ResampleSpline
from autoopt.workloads.contract import IGNORED
from tests.inference.pipelines import BRAIN, PIXELS, fused, identity, logits_of
from tests.inference.test_grid import affine_of


@pytest.mark.parametrize("stored", ["RAS", "LPS", "SAL"])
def test_a_volume_comes_back_on_its_own_grid(stored: str) -> None:
    """Whatever the orientation and spacing it is stored in, the answer lies where the bright box is."""
    spacing = (1.0, 1.5, 3.0)
    affine = affine_of(stored, spacing)
    image = np.zeros((24, 20, 12), np.float32)
    image[6:18, 6:14, 4:9] = 100.0
    answer = predict(BRAIN, logits_of, image, affine)
    assert answer.shape == image.shape
    overlap = 2 * np.sum((answer == 1) & (image > 0)) / (np.sum(answer == 1) + np.sum(image > 0))
    assert overlap > 0.85
    values, frame = BRAIN.standardise(image, affine)
    labels = BRAIN.standardise_labels((image > 0).astype(np.uint8), frame, outside=IGNORED)
    assert labels.shape == values.shape[:-1]
    assert np.mean((values[..., 0] > 0.5) == (labels == 1)) > 0.93


def test_an_affine_is_asked_for() -> None:
    """A pipeline that orients or resamples refuses an image without affine."""
    with pytest.raises(ValueError, match="must come with its affine"):
        BRAIN.prepare(np.zeros((8, 8, 8)))


@pytest.mark.parametrize(
    ("affine", "match"),
    [
        (np.zeros((4, 4)), "must map voxels to a volume"),
        (np.eye(3), "must map voxels to a volume"),
        (np.diag([1e300, 1, 1, 1]), "must map voxels to a volume"),
        (np.full((4, 4), "a"), "must have 16 numbers"),
        (np.diag([1e9, 1, 1, 1]), r"at most .* voxels after it is resampled, .* x 8 x 8"),
    ],
)
@pytest.mark.parametrize("step", [ResampleSpline, Resample, partial(Resample, grid="first_voxel")])
def test_affines_that_lead_nowhere_are_refused(step: Callable[..., Step], affine: np.ndarray, match: str) -> None:
    """An affine without lengths, of another shape, or that makes an image too large for memory is a ValueError."""
    pipeline = replace(BRAIN, orientation=None, spacing_mm=None, intensity="fixed", steps=(step((1.0, 1.0, 1.0)),))
    with pytest.raises(ValueError, match=match):
        pipeline.prepare(np.zeros((8, 8, 8)), affine)


@pytest.mark.parametrize("size", [(30, 40), (10, 50), (6, 7)])
def test_a_centred_stack_is_background_outside(size: tuple[int, int]) -> None:
    """Slice by slice the middle is judged, outside it nothing is found, and small slices are filled up."""
    pipeline = replace(
        BRAIN, tile=(16, 16), fit="center", sliced=True, orientation=None, spacing_mm=None, intensity="fixed"
    )
    stack = np.ones((3, *size), np.float32)
    answer = predict(pipeline, logits_of, stack)
    inside = np.zeros(size, bool)
    rows, columns = ((length - 16) // 2 for length in size)
    inside[max(0, rows) : rows + 16, max(0, columns) : columns + 16] = True
    assert answer.shape == stack.shape
    assert np.array_equal(answer == 1, np.broadcast_to(inside, stack.shape))


def test_resizing_gives_the_answer_at_full_size() -> None:
    """A picture of any size is one call of the network, its label map has the size of the picture."""
    pipeline = replace(BRAIN, tile=(16, 16), fit="resize", orientation=None, spacing_mm=None, intensity="fixed")
    image = np.zeros((64, 32, 1), np.float32)
    image[:32] = 1.0
    tiles, _ = pipeline.prepare(image)
    assert tiles.shape == (1, 1, 16, 16)
    answer = predict(pipeline, logits_of, image)
    assert np.mean((answer == 1) == (image[..., 0] > 0)) > 0.95


def test_axes_that_are_not_perpendicular_are_refused() -> None:
    """A grid that begins with the first voxel follows the axes of the image, which a sheared image does not have."""
    affine = np.eye(4)
    affine[0, 1] = 0.01
    pipeline = replace(BRAIN, spacing_grid="first_voxel")
    with pytest.raises(ValueError, match="axes of an image must be perpendicular"):
        pipeline.prepare(np.zeros((8, 8, 8)), affine)


def test_a_single_voxel_has_no_corners_to_align() -> None:
    """Where corners are aligned, an axis of one voxel is refused: MONAI's values are other ones there."""
    pipeline = replace(BRAIN, spacing_grid="first_voxel", interpolation="corners")
    with pytest.raises(ValueError, match="at least two voxels along each axis"):
        pipeline.prepare(np.zeros((8, 8, 1)), np.eye(4))


def test_a_transposed_picture_in_the_graph() -> None:
    """Where the graph decides, its labels come back to rows and columns as logits do."""
    pipeline = replace(PIXELS, overlap=0.0, transposed=True)
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    inside = replace(pipeline, in_graph="both")
    expected = predict(pipeline, identity, image)
    np.testing.assert_array_equal(predict(inside, fused(inside), image), expected)
    np.testing.assert_array_equal(
        expected.T, predict(replace(pipeline, transposed=False), identity, image.swapaxes(0, 1))
    )
