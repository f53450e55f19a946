"""The inference pipeline: what goes in comes out at the same place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autoopt.inference.pipeline import Pipeline, predict, with_tile
from autoopt.inference.postprocess import decide, largest_of
from autoopt.workloads.contract import IGNORED
from tests.inference.test_grid import affine_of

FLAT = Pipeline("segmentation", 2, 3, (8, 6), 0.25, 255.0, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
PLAIN = Pipeline("segmentation", 3, 3, (8, 6), 0.25, 1.0, (0.0,) * 3, (1.0,) * 3)
VOLUME = Pipeline("segmentation", 2, 2, (4, 6, 5), 0.5, 1.0, (0.0,) * 2, (1.0,) * 2)


def identity(batch: np.ndarray) -> np.ndarray:
    """A network whose logits are its input channels."""
    return batch


@given(st.tuples(st.integers(1, 30), st.integers(1, 30)), st.floats(0, 0.9), st.integers(0, 2**32 - 1))
def test_every_pixel_gets_its_own_answer(shape: tuple[int, int], overlap: float, seed: int) -> None:
    """With a network that looks at one pixel only, an image of any size gives the label map of that network."""
    image = np.random.default_rng(seed).normal(size=(*shape, 3))

    labels = predict(replace(PLAIN, overlap=overlap), identity, image)

    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, image.astype(np.float32).argmax(axis=-1))


@given(st.tuples(st.integers(1, 11), st.integers(1, 11), st.integers(1, 11)), st.integers(0, 2**32 - 1))
def test_volumes_take_the_same_way(shape: tuple[int, int, int], seed: int) -> None:
    """Nothing in the pipeline depends on there being two spatial dimensions."""
    image = np.random.default_rng(seed).normal(size=(*shape, 2))

    np.testing.assert_array_equal(predict(VOLUME, identity, image), image.astype(np.float32).argmax(axis=-1))


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


def test_normalises_per_channel() -> None:
    """The network sees (image / scale - mean) / std, channels first."""
    image = np.random.default_rng(0).integers(0, 256, size=(8, 6, 3)).astype(np.uint8)

    tiles, _ = FLAT.prepare(image)

    expected = (image / 255.0 - np.array(FLAT.mean)) / np.array(FLAT.std)
    np.testing.assert_allclose(tiles[0], np.moveaxis(expected, -1, 0), atol=1e-5)
    assert tiles.dtype == np.float32


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


def test_classification_gives_probabilities() -> None:
    """A classifier's answer is the mean over its tiles of the softmax of its logits."""
    pipeline = replace(FLAT, task="classification", classes=3)
    logits = iter([[0.0, 0.0, 0.0], [1000.0, 0.0, -1000.0]])

    answer = predict(pipeline, lambda batch: np.array([next(logits)], np.float32), np.zeros((8, 10, 3), np.uint8))

    np.testing.assert_allclose(answer, [2 / 3, 1 / 6, 1 / 6], atol=1e-6)
    assert answer.dtype == np.float32


def fused(pipeline: Pipeline) -> Callable[[np.ndarray], np.ndarray]:
    """`identity` as a graph that does itself what `in_graph` of the pipeline names."""

    def graph(pixels: np.ndarray) -> np.ndarray:
        assert (pixels.shape, pixels.dtype) == (pipeline.input_shape, np.uint8) and pixels.flags.c_contiguous
        logits = np.stack([pipeline.normalise(image) for image in pixels])
        return logits.argmax(1).astype(np.uint8) if pipeline.gives_labels else logits

    return graph


PIXELS = replace(FLAT, classes=3)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(3))), st.floats(0, 0.9))
def test_a_graph_that_normalises_gives_the_same_answer(image: np.ndarray, overlap: float) -> None:
    """Where the graph takes pixels, images of any size have the answer that they have without, to the last bit."""
    outside = replace(PIXELS, overlap=overlap)
    inside = replace(outside, in_graph="input")

    answer = predict(inside, fused(inside), image)

    np.testing.assert_array_equal(answer, predict(outside, identity, image))


@given(st.data(), st.booleans(), st.booleans())
def test_a_graph_that_decides_gives_the_same_answer(data: st.DataObject, sliced: bool, cleaned: bool) -> None:
    """Where tiles do not overlap the graph may decide: smaller images and stacks of them, or whole rows of tiles."""
    sizes = [data.draw(st.integers(1, tile) | st.sampled_from((2 * tile, 3 * tile))) for tile in PIXELS.tile]
    shape = (*([2] if sliced else []), *sizes, 3)
    image = data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 255)))
    outside = replace(PIXELS, overlap=0.0, sliced=sliced, fill_holes=cleaned, largest_component=cleaned)
    inside = replace(outside, in_graph="both")

    answer = predict(inside, fused(inside), image)

    assert answer.dtype == np.uint8
    np.testing.assert_array_equal(answer, predict(outside, identity, image))


@pytest.mark.parametrize(("size", "overlap"), [((9, 6), 0.0), ((8, 7), 0.5), ((16, 12), 0.25)])
def test_a_graph_that_decides_refuses_tiles_that_overlap(size: tuple[int, int], overlap: float) -> None:
    """Labels have no mean: where the logits of two tiles would be averaged, the image is refused."""
    with pytest.raises(ValueError, match=rf"tiles of 8x6 that do not overlap.*one of {size[0]}x{size[1]} is not"):
        replace(PIXELS, overlap=overlap, in_graph="both").prepare(np.zeros((*size, 3), np.uint8))


def test_a_graph_that_takes_pixels_refuses_what_is_none() -> None:
    """Whole numbers from 0 to 255 are pixels in whatever type they come, everything else is refused."""
    inside = replace(PIXELS, in_graph="input")
    image = np.arange(8 * 6 * 3).reshape(8, 6, 3)
    for dtype in (np.int64, np.float32, np.uint16):
        np.testing.assert_array_equal(inside.prepare(image.astype(dtype))[0][0], image)
    for bad in (image + 113, image - 1, image / 2):
        with pytest.raises(ValueError, match=r"whole numbers from 0 to 255.*got (int64|float64) from"):
            inside.prepare(bad)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"intensity": "zscore"}, "in_graph must be none where an image is scaled by its own zscore first, got both"),
        ({"fit": "resize", "clip": (0.0, 9.0)}, "where an image is resized and clipped first"),
        ({"fit": "center"}, "must not be both but for a segmentation with softmax and fit tile, got .* fit center"),
        ({"activation": "sigmoid"}, "got a segmentation with sigmoid and fit tile"),
        ({"task": "classification"}, "got a classification with softmax"),
        ({"in_graph": "all"}, "in_graph must be one of none, input, both, got 'all'"),
    ],
)
def test_what_no_graph_can_do_exactly_is_refused(change: dict[str, Any], match: str) -> None:
    """A graph takes pixels only where nothing makes other numbers of them first, and decides only where that is all."""
    with pytest.raises(ValueError, match=match):
        replace(PIXELS, **{"in_graph": "both", **change})


def test_labels_of_a_graph_are_checked() -> None:
    """Logits where labels must be, and labels of another shape, never become an answer."""
    inside = replace(PIXELS, in_graph="both")
    _, geometry = inside.prepare(np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"must return shape \(1, 8, 6\), it returned \(1, 3, 8, 6\)"):
        inside.finish(np.zeros((1, 3, 8, 6), np.float32), geometry)
    with pytest.raises(ValueError, match="labels in uint8, it returned int64"):
        inside.finish(np.zeros((1, 8, 6), np.int64), geometry)


def test_one_channel_axis_may_be_left_out() -> None:
    """A grey image may come with or without its channel axis."""
    pipeline = Pipeline("segmentation", 2, 1, (4, 4), 0.0, 1.0, (0.0,), (1.0,))
    image = np.arange(20.0).reshape(4, 5)

    np.testing.assert_array_equal(pipeline.prepare(image)[0], pipeline.prepare(image[..., np.newaxis])[0])


def test_survives_json() -> None:
    """A pipeline is plain data: JSON and back gives an equal one."""
    assert Pipeline.from_json(json.loads(json.dumps(FLAT.to_json()))) == FLAT
    assert FLAT.input_shape == (1, 3, 8, 6)


def test_what_is_not_in_the_graph_leaves_no_trace() -> None:
    """A pipeline that keeps everything outside the graph has the text, and so the digests, that it always had."""
    assert "in_graph" not in FLAT.to_json()
    inside = replace(FLAT, in_graph="input")
    assert Pipeline.from_json(json.loads(json.dumps(inside.to_json()))) == inside
    assert (inside.input_shape, inside.output_shape) == ((1, 8, 6, 3), (1, 2, 8, 6))
    assert replace(FLAT, in_graph="both").output_shape == (1, 8, 6)


def test_another_schema_is_refused() -> None:
    """A pipeline written by a newer version is not guessed at."""
    with pytest.raises(ValueError, match="schema 2 is needed, this one has 99"):
        Pipeline.from_json({**FLAT.to_json(), "schema": 99})


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 6)), r"with 3 channel\(s\), got shape \(8, 6\)"),
        (np.zeros((8, 6, 4)), r"with 3 channel\(s\), got shape \(8, 6, 4\)"),
        (np.zeros((1, 8, 6, 3)), r"got shape \(1, 8, 6, 3\)"),
        (np.zeros((0, 6, 3)), r"no size may be zero, got shape \(0, 6, 3\)"),
        (np.full((8, 6, 3), np.nan), "of finite numbers, got NaN or infinity"),
        (np.full((8, 6, 3), "a"), "of real numbers, got dtype <U1"),
        (np.zeros((8, 6, 3), complex), "of real numbers, got dtype complex128"),
    ],
)
def test_bad_images_are_named(image: np.ndarray, message: str) -> None:
    """A bad image is refused with what must hold and what came."""
    with pytest.raises(ValueError, match=message):
        FLAT.prepare(image)


def test_bad_outputs_are_named() -> None:
    """An output of a wrong shape, or with NaN, never becomes an answer."""
    _, geometry = FLAT.prepare(np.zeros((8, 6, 3)))

    with pytest.raises(ValueError, match=r"must return shape \(1, 2, 8, 6\), it returned \(1, 2, 8, 5\)"):
        FLAT.finish(np.zeros((1, 2, 8, 5)), geometry)
    with pytest.raises(ValueError, match="finite numbers"):
        FLAT.finish(np.full((1, 2, 8, 6), np.inf), geometry)


def test_impossible_pipelines_are_refused_with_all_their_faults() -> None:
    """A pipeline that cannot work says everything that is wrong at once."""
    with pytest.raises(
        ValueError, match=r"overlap must be .* got 1\.0; scale must be .* got 0; mean and std must have 3"
    ):
        replace(FLAT, overlap=1.0, scale=0, std=(1.0,))


BRAIN = Pipeline(
    task="segmentation",
    classes=2,
    channels=1,
    tile=(8, 8, 8),
    overlap=0.25,
    scale=1.0,
    mean=(0.0,),
    std=(1.0,),
    orientation="RAS",
    spacing_mm=(2.0, 2.0, 2.0),
    intensity="percentile",
)


def logits_of(batch: np.ndarray) -> np.ndarray:
    """A network that takes what is brighter than one half for the foreground."""
    return np.concatenate([np.full_like(batch, 0.5), batch], axis=1)


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
    labels = BRAIN.standardise_labels((image > 0).astype(np.uint8), affine, outside=IGNORED)
    values, _ = BRAIN.standardise(image, affine)
    assert labels.shape == values.shape[:-1]
    assert np.mean((values[..., 0] > 0.5) == (labels == 1)) > 0.93


def test_an_affine_is_asked_for() -> None:
    """A pipeline that orients or resamples refuses an image without affine."""
    with pytest.raises(ValueError, match="must come with its affine"):
        BRAIN.prepare(np.zeros((8, 8, 8)))


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


def test_several_labels_at_once() -> None:
    """With sigmoid every label has its own map, and a classification its own probability."""
    pipeline = replace(BRAIN, tile=(4, 4), orientation=None, spacing_mm=None, intensity="fixed", activation="sigmoid")
    image = np.zeros((4, 4, 1), np.float32)
    image[0] = 1.0
    answer = predict(pipeline, lambda batch: np.concatenate([batch - 0.5, batch + 0.5], axis=1), image)
    assert answer.shape == (4, 4, 2)
    assert np.array_equal(answer[..., 0], image[..., 0]) and answer[..., 1].all()
    probabilities = predict(replace(pipeline, task="classification"), lambda batch: np.array([[2.0, 2.0]]), image)
    assert np.allclose(probabilities, 1 / (1 + np.exp(-2.0)))


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
    labels = decide(logits, "softmax", 0.5, fill=True, largest=True)
    assert (labels[1:8, 1:8] == 1).sum() == 48 and labels[4, 4] == 2 and labels[1, 10] == 0


@pytest.mark.parametrize("intensity", ["percentile", "zscore"])
def test_levels_of_an_image_do_not_matter(intensity: Literal["percentile", "zscore"]) -> None:
    """With an intensity taken from the image itself, brighter or darker by a constant changes nothing."""
    pipeline = replace(BRAIN, intensity=intensity, orientation=None, spacing_mm=None)
    image = np.random.default_rng(0).normal(size=(9, 8, 8)).astype(np.float32)
    one, _ = pipeline.prepare(image)
    other, _ = pipeline.prepare(image * 300 + 1000)
    assert np.allclose(one, other, atol=1e-3)
    assert not np.allclose(one, 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"orientation": "RAX"}, "orientation must be three letters"),
        ({"spacing_mm": (1.0, 1.0)}, "spacing_mm must have one size"),
        ({"sliced": True}, "sliced must mean"),
        ({"percentiles": (95.0, 2.0)}, "percentiles must be two rising"),
        ({"threshold": 1.0}, "threshold must be"),
        ({"fit": "squeeze"}, "fit must be one of tile, resize, center"),
    ],
)
def test_what_cannot_work_is_said(change: dict[str, Any], match: str) -> None:
    """A pipeline that cannot work is refused with the field, the rule and what came."""
    with pytest.raises(ValueError, match=match):
        replace(BRAIN, **change)


def test_another_tile() -> None:
    """The tile and overlap of a search replace the pipeline's own; a tile of another number of sizes is refused."""
    assert with_tile(BRAIN, "16x8x8", 0.5) == replace(BRAIN, tile=(16, 8, 8), overlap=0.5)
    assert with_tile(BRAIN, None, None) == BRAIN
    with pytest.raises(ValueError, match="must have 3 sizes, such as 8x8x8, got 16x16"):
        with_tile(BRAIN, "16x16", None)
