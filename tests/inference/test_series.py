"""A pipeline of one axis does to a time series what one of two axes does to a picture that is one pixel high."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoopt.inference.pipeline import Pipeline, predict

WIDTH = 16


def pipeline(**changes: Any) -> Pipeline:
    settings: dict[str, Any] = {
        "task": "segmentation",
        "classes": 3,
        "channels": 2,
        "tile": (WIDTH,),
        "overlap": 0.25,
        "scale": 2.0,
        "mean": (0.5, -1.0),
        "std": (1.5, 0.5),
    }
    return Pipeline(**{**settings, **changes})


def run(batch: np.ndarray) -> np.ndarray:
    """Logits of three classes at each place, each a mix of the channels there and before."""
    mixed = np.stack([batch[:, 0], batch[:, 1] - np.roll(batch[:, 0], 1, axis=-1), 0.3 - batch[:, 1]], axis=1)
    return np.asarray(mixed, np.float32)


@pytest.mark.parametrize("length", [5, WIDTH, 61])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"intensity": "zscore", "windows": "stride"},
        {"intensity": "percentile", "fit": "resize", "restore": "probabilities"},
        {"fit": "center", "padding": "zero", "activation": "sigmoid"},
        {"padding": "zero", "largest_component": True, "fill_holes": True, "clip": (-1.0, 2.0)},
    ],
)
def test_it_is_a_picture_of_one_row(changes: dict[str, Any], length: int) -> None:
    """Windows, z-score per channel, resampling, padding, joining and clean-up give the answer of the picture."""
    series = np.random.default_rng(length).normal(size=(length, 2)).astype(np.float32)
    one, flat = pipeline(**changes), replace(pipeline(**changes), tile=(1, WIDTH))
    assert one.input_shape == (1, 2, WIDTH)
    answer, wanted = predict(one, run, series), predict(flat, run, series[np.newaxis])
    assert answer.shape == wanted.shape[1:] and np.array_equal(answer, wanted[0])
