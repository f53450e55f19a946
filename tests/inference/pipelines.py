"""Pipelines and stand-ins for networks that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from autoopt.inference.pipeline import Pipeline

FLAT = Pipeline("segmentation", 2, 3, (8, 6), 0.25, 255.0, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
PLAIN = Pipeline("segmentation", 3, 3, (8, 6), 0.25, 1.0, (0.0,) * 3, (1.0,) * 3)
VOLUME = Pipeline("segmentation", 2, 2, (4, 6, 5), 0.5, 1.0, (0.0,) * 2, (1.0,) * 2)


PIXELS = replace(FLAT, classes=3)


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


def identity(batch: np.ndarray) -> np.ndarray:
    """A network whose logits are its input channels."""
    return batch


def logits_of(batch: np.ndarray) -> np.ndarray:
    """A network that takes what is brighter than one half for the foreground."""
    return np.concatenate([np.full_like(batch, 0.5), batch], axis=1)


def fused(pipeline: Pipeline) -> Callable[[np.ndarray], np.ndarray]:
    """`identity` as a graph that does itself what `in_graph` of the pipeline names."""

    def graph(pixels: np.ndarray) -> np.ndarray:
        assert (pixels.shape, pixels.dtype) == (pipeline.input_shape, np.uint8) and pixels.flags.c_contiguous
        logits = np.stack([pipeline.normalise(image) for image in pixels])
        return logits.argmax(1).astype(np.uint8) if pipeline.gives_labels else logits

    return graph
