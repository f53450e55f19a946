"""The inference pipeline: what goes in comes out at the same place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autoopt.inference.pipeline import Pipeline, predict, predict_both, with_tile
from tests.inference.pipelines import BRAIN, FLAT, PIXELS, PLAIN, VOLUME, fused, identity


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


def test_classification_gives_probabilities() -> None:
    """A classifier's answer is the mean over its tiles of the softmax of its logits."""
    pipeline = replace(FLAT, task="classification", classes=3)
    logits = iter([[0.0, 0.0, 0.0], [1000.0, 0.0, -1000.0]])

    answer = predict(pipeline, lambda batch: np.array([next(logits)], np.float32), np.zeros((8, 10, 3), np.uint8))

    np.testing.assert_allclose(answer, [2 / 3, 1 / 6, 1 / 6], atol=1e-6)
    assert answer.dtype == np.float32


@pytest.mark.parametrize("fit", ["tile", "resize", "center"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_probabilities_give_the_answer_of_their_logits(task: str, activation: str, fit: str) -> None:
    """A network with softmax or sigmoid at its end answers as it does without, also where tiles are joined."""
    plain = replace(PLAIN, task=task, activation=activation, fit=fit, threshold=0.6)
    image = np.random.default_rng(0).normal(scale=4, size=(13, 17, 3))

    def logits(batch: np.ndarray) -> np.ndarray:
        return batch if task == "segmentation" else batch.mean(axis=(2, 3))

    def probabilities(batch: np.ndarray) -> np.ndarray:
        values = np.exp(logits(batch))
        return values / (1 + values if activation == "sigmoid" else values.sum(axis=1, keepdims=True))

    answer = predict(replace(plain, output="probabilities"), probabilities, image)

    np.testing.assert_allclose(answer, predict(plain, logits, image), atol=1e-6)


def first_two(batch: np.ndarray) -> np.ndarray:
    """A network whose logits are its first two channels."""
    return batch[:, :2]


@pytest.mark.parametrize("restore", ["logits", "probabilities", "labels"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_probabilities_of_an_answer_lead_to_it(restore: str, activation: str) -> None:
    """The answer beside its probabilities is the one without them, and, on the image's own grid, what they decide."""
    image = np.random.default_rng(0).normal(scale=60, size=(13, 17, 3))  # also where a sigmoid would overflow
    for pipeline in (
        replace(PLAIN, restore=restore, activation=activation, threshold=0.6),
        replace(FLAT, fit="resize"),
    ):
        network = identity if pipeline.classes == 3 else first_two
        answer, likely = predict_both(pipeline, network, image)
        assert np.array_equal(answer, predict(pipeline, network, image))
        assert likely.dtype == np.float32 and likely.shape == (13, 17, pipeline.classes) and likely.flags.c_contiguous
        decided = likely >= 0.6 if pipeline.activation == "sigmoid" else likely.argmax(-1)
        assert np.array_equal(decided, answer)
    with pytest.raises(ValueError, match="there are no probabilities"):
        predict_both(replace(PIXELS, in_graph="both", overlap=0.0), fused(PIXELS), np.zeros((8, 6, 3), np.uint8))


def test_a_certain_network_gives_its_own_probabilities() -> None:
    """Zero and one have no finite logit and stay what they are."""
    pipeline = replace(FLAT, task="classification", classes=3, output="probabilities")
    answer = predict(pipeline, lambda batch: np.array([[0.0, 1.0, 0.0]], np.float32), np.zeros((8, 6, 3), np.uint8))
    np.testing.assert_allclose(answer, [0, 1, 0], atol=1e-30)


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


def test_the_numbers_of_a_regression_are_the_mean_of_its_tiles() -> None:
    """Nothing is done to the numbers of a regression, in an answer or beside it; other activations are refused."""
    call = {"classes": 1, "channels": 1, "tile": (4, 4), "overlap": 0.0}
    settings = {**call, "scale": 1.0, "mean": (0.0,), "std": (1.0,)}
    pipeline = Pipeline(task="regression", activation="identity", **settings)  # type: ignore[arg-type]
    image = np.concatenate([np.full((4, 4), -3.0), np.full((4, 4), 250.0)], axis=1)
    answer, likely = predict_both(pipeline, lambda batch: batch.mean((1, 2, 3), keepdims=True)[..., 0, 0], image)
    assert answer.tolist() == likely.tolist() == [123.5] and answer.dtype == np.float32
    with pytest.raises(ValueError, match="activation must be identity for a regression and for nothing else"):
        Pipeline(task="regression", activation="sigmoid", **settings)  # type: ignore[arg-type]


def test_one_channel_axis_may_be_left_out() -> None:
    """A grey image may come with or without its channel axis."""
    pipeline = Pipeline("segmentation", 2, 1, (4, 4), 0.0, 1.0, (0.0,), (1.0,))
    image = np.arange(20.0).reshape(4, 5)

    np.testing.assert_array_equal(pipeline.prepare(image)[0], pipeline.prepare(image[..., np.newaxis])[0])


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


def test_another_tile() -> None:
    """The tile and overlap of a search replace the pipeline's own; a tile of another number of sizes is refused."""
    assert with_tile(BRAIN, "16x8x8", 0.5) == replace(BRAIN, tile=(16, 8, 8), overlap=0.5)
    assert with_tile(BRAIN, None, None) == BRAIN
    with pytest.raises(ValueError, match="must have 3 sizes, such as 8x8x8, got 16x16"):
        with_tile(BRAIN, "16x16", None)
