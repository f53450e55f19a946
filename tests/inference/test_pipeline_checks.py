"""What cannot work, does not fit or makes no sense is refused in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.inference.pipelines import BRAIN, FLAT, PIXELS


def test_impossible_pipelines_are_refused_with_all_their_faults() -> None:
    """A pipeline that cannot work says everything that is wrong at once."""
    with pytest.raises(
        ValueError, match=r"overlap must be .* got 1\.0; scale must be .* got 0; mean and std must have 3"
    ):
        replace(FLAT, overlap=1.0, scale=0, std=(1.0,))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"orientation": "RAX"}, "orientation must be three letters"),
        ({"spacing_mm": (1.0, 1.0)}, "spacing_mm must have one size"),
        ({"sliced": True}, "sliced must mean"),
        ({"percentiles": (95.0, 2.0)}, "percentiles must be two rising"),
        ({"threshold": 1.0}, "threshold must be"),
        ({"fit": "squeeze"}, "fit must be one of tile, resize, center"),
        ({"blend_sigma": 1e-30}, "blend_sigma must be a share of the tile from 0.001 to 1"),
        ({"transposed": "no"}, "transposed must be true or false"),
        ({"connectivity": 1.5}, "connectivity must be a whole number"),
    ],
)
def test_what_cannot_work_is_said(change: dict[str, Any], match: str) -> None:
    """A pipeline that cannot work is refused with the field, the rule and what came."""
    with pytest.raises(ValueError, match=match):
        replace(BRAIN, **change)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"intensity": "zscore"}, "in_graph must be none where an image is scaled by its own zscore first, got both"),
        ({"fit": "resize", "clip": (0.0, 9.0)}, "where an image is resized and clipped first"),
        ({"fit": "center"}, "may be both only for a segmentation with softmax and fit tile, got .* fit center"),
        ({"activation": "sigmoid"}, "got a segmentation with sigmoid and fit tile"),
        ({"task": "classification"}, "got a classification with softmax"),
        ({"in_graph": "all"}, "in_graph must be one of none, input, both, got 'all'"),
    ],
)
def test_what_no_graph_can_do_exactly_is_refused(change: dict[str, Any], match: str) -> None:
    """A graph takes pixels only where nothing makes other numbers of them first, and decides only where that is all."""
    with pytest.raises(ValueError, match=match):
        replace(PIXELS, **{"in_graph": "both", **change})


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


def test_labels_of_a_graph_are_checked() -> None:
    """Logits where labels must be, and labels of another shape, never become an answer."""
    inside = replace(PIXELS, in_graph="both")
    _, geometry = inside.prepare(np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"must return shape \(1, 8, 6\), it returned \(1, 3, 8, 6\)"):
        inside.finish(np.zeros((1, 3, 8, 6), np.float32), geometry)
    with pytest.raises(ValueError, match="labels in uint8, it returned int64"):
        inside.finish(np.zeros((1, 8, 6), np.int64), geometry)


def test_bad_outputs_are_named() -> None:
    """An output of a wrong shape, or with NaN, never becomes an answer."""
    _, geometry = FLAT.prepare(np.zeros((8, 6, 3)))

    with pytest.raises(ValueError, match=r"must return shape \(1, 2, 8, 6\), it returned \(1, 2, 8, 5\)"):
        FLAT.finish(np.zeros((1, 2, 8, 5)), geometry)
    with pytest.raises(ValueError, match="finite numbers"):
        FLAT.finish(np.full((1, 2, 8, 6), np.inf), geometry)


def test_probabilities_lie_between_zero_and_one() -> None:
    """Logits where probabilities must be never become an answer; what a quantizer rounds past one does."""
    pipeline = replace(FLAT, output="probabilities")
    _, geometry = pipeline.prepare(np.zeros((8, 6, 3)))
    with pytest.raises(ValueError, match="must return probabilities from 0 to 1, it returned -3 to 0"):
        pipeline.finish(np.linspace(-3, 0, 96).reshape(1, 2, 8, 6), geometry)
    pipeline.finish(np.linspace(0, 1.004, 96).reshape(1, 2, 8, 6), geometry)
    with pytest.raises(ValueError, match="output must be one of logits, probabilities, got 'labels'"):
        replace(FLAT, output="labels")
