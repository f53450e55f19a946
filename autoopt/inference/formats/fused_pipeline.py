"""The arithmetic of the pipeline that a graph can do itself, written once in operations that each format supplies."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from autoopt.inference.pipeline import Pipeline

PREFIX = "in_graph"
"""What the names of the added nodes begin with."""


class Operations(Protocol):
    """The operations that are put around a network, in one format; a value is whatever that format calls one."""

    def turned(self, value: Any, order: list[int]) -> Any:
        """The axes in another order."""

    def floats(self, value: Any) -> Any:
        """float32."""

    def times(self, value: Any, factor: np.ndarray) -> Any:
        """The product."""

    def plus(self, value: Any, term: np.ndarray) -> Any:
        """The sum."""

    def plane(self, value: Any, index: int) -> Any:
        """(1, *tile) of (1, classes, *tile)."""

    def higher(self, value: Any, other: Any) -> Any:
        """Where `value` is larger."""

    def largest(self, value: Any, other: Any) -> Any:
        """The larger one."""

    def labelled(self, where: Any, label: int, others: Any | None) -> Any:
        """uint8 `label` in those places, `others` (0 without) elsewhere."""


def normalised(ops: Operations, pixels: Any, pipeline: Pipeline) -> Any:
    """float32 (1, channels, *tile) of uint8 (1, *tile, channels): (pixel / scale - mean) / std as factor and shift."""
    shape, last = (1, -1, *[1] * len(pipeline.tile)), len(pipeline.tile) + 1
    mean, std = np.asarray(pipeline.mean, np.float64), np.asarray(pipeline.std, np.float64)
    factor, shift = (item.reshape(shape).astype(np.float32) for item in (1 / (pipeline.scale * std), -mean / std))
    floats = ops.floats(ops.turned(pixels, [0, last, *range(1, last)]))
    return ops.plus(ops.times(floats, factor), shift)


def decided(ops: Operations, logits: Any, classes: int) -> Any:
    """uint8 (1, *tile) labels of logits (1, classes, *tile), as `postprocess.largest_of` finds them."""
    # Element by element, which runtimes fuse: their own search for the largest takes as long as a small network.
    best, labels = ops.plane(logits, 0), None
    for label in range(1, classes):
        plane = ops.plane(logits, label)
        labels = ops.labelled(ops.higher(plane, best), label, labels)
        if label + 1 < classes:  # else nobody would read it, and runtimes calculate it all the same
            best = ops.largest(plane, best)
    return labels
