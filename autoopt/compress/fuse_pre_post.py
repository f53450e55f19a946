"""Parts of the pipeline inside the graph: it takes pixels and normalises them, and where asked to it also decides.

This is the last thing done to a graph, after all compression. So calibration, scales and kernels of the network are the
same with and without it, no quantizer ever sees the arithmetic of the pipeline, and one quantized graph serves both.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.compress.comparison import relative_error
from autoopt.errors import Numeric
from autoopt.inference.formats import caller, format_of, graph_format
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.postprocess import largest_of

STAGE = "fuse_pre_post"
VERSION = 2
"""Raised when the code changes what it makes; part of the artifact's key."""
TOLERANCE = 1e-3
"""The largest error of logits that is let through: root mean square, as a fraction of theirs."""
MOST_OTHER_LABELS = 1e-3
"""The largest share of voxels with another label: only where two logits are all but equal may rounding decide."""


def fuse_pre_post(source: Path, pipeline: Pipeline, pixels: np.ndarray, folder: Path) -> dict[str, Any]:
    """Write the graph in `source` with what `pipeline.in_graph` names inside it to `folder`.

    `pixels` is a tile to check it with, uint8 (1, *tile, channels). The report tells how far its answers are from those
    with the pipeline outside. Raises Numeric when they are too far, Unsupported when the format cannot hold that.
    """
    began = time.perf_counter()
    name = format_of(source)
    graph_format(name).fuse(source, pipeline, folder)
    if not graph_format(name).NETWORK:
        return {"format": name}
    return {
        "format": name,
        **check(source, folder, pipeline, pixels),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "seconds": time.perf_counter() - began,
    }


def check(source: Path, folder: Path, pipeline: Pipeline, pixels: np.ndarray) -> dict[str, dict[str, float]]:
    """How far the graph in `folder` is from the one in `source` with the pipeline around it, on noise and on `pixels`.

    The error of logits as a fraction of theirs, or the share of other labels. Raises Numeric when it is too large.
    """
    inside, outside = caller(folder), caller(source)
    unit = "in the share of its labels" if pipeline.gives_labels else "as a fraction of its logits"

    def answer(values: np.ndarray) -> np.ndarray:
        logits = outside(values)
        return np.stack([largest_of(item) for item in logits]) if pipeline.gives_labels else logits

    noise = np.random.default_rng(0).integers(0, 256, size=pixels.shape, dtype=np.uint8)
    found = {}
    for name, batch in {"noise": noise, "case": pixels}.items():
        values = np.stack([pipeline.normalise(image) for image in batch])
        expected, got = answer(values), inside(batch)
        if got.shape != expected.shape or got.dtype != expected.dtype:
            wanted = f"{expected.dtype} of shape {expected.shape}"
            raise Numeric(f"the graph must answer with {wanted}, it gives {got.dtype} of shape {got.shape}")
        found[name] = _difference(got, expected)
        limit = MOST_OTHER_LABELS if pipeline.gives_labels else TOLERANCE
        if found[name] > limit:
            # Where pixels lie on the border between two integers of a quantizer, the last bit of a float decides.
            limit += sum(_difference(answer(np.nextafter(values, side)), expected) for side in (-np.inf, np.inf))
        if not found[name] <= limit:  # also when it is NaN
            raise Numeric(
                f"the graph with the pipeline inside differs by {found[name]:.3g} {unit} on {name} from the one with "
                f"it around (at most {limit:.3g} is let through)"
            )
    return {"other_labels" if pipeline.gives_labels else "errors": found}


def _difference(got: np.ndarray, expected: np.ndarray) -> float:
    """The share of other labels, or of logits the root mean square of their error over theirs."""
    return float(np.mean(got != expected)) if got.dtype == np.uint8 else relative_error(got, expected)
