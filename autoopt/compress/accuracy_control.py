"""What NNCF's accuracy control needs: the held-out tiles, and how good outputs on them are.

Accuracy control puts layers back into float, one after the other, until the score on the hold-out is good enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from autoopt.inference.pipeline import Pipeline
from autoopt.inference.postprocess import logits_of
from autoopt.workloads.contract import IGNORED, Workload

Item = tuple[np.ndarray, np.ndarray]
"""A tile (1, channels, *sizes) and its reference (*sizes), (), or with several labels at once (*sizes, labels)."""


def held_out(workload: Workload) -> list[Item]:
    """One tile, with its reference, of each training case that trainings hold out; never of val or test."""
    from autoopt.nets.holdout import plain_batches, split

    pairs = plain_batches(split(workload.splits.train)[1], workload)
    return [(images.contiguous().numpy(), references.numpy()[0]) for images, references in pairs]


def validation(pipeline: Pipeline) -> Callable[[Any, Iterable[Item]], tuple[float, list[float]]]:
    """The function that NNCF calls with a compiled model and items: it returns their mean score, and each score."""

    def logits(outputs: np.ndarray) -> np.ndarray:
        return outputs if pipeline.output == "logits" else logits_of(outputs, pipeline.activation)

    def validate(model: Any, items: Iterable[Item]) -> tuple[float, list[float]]:
        call = _call(model)
        if pipeline.task == "regression":
            scores = [closeness(call(tile), reference) for tile, reference in items]
        else:
            multilabel = pipeline.activation == "sigmoid"
            scores = [score(logits(call(tile)), reference, multilabel) for tile, reference in items]
        return float(np.mean(scores)), scores

    return validate


def closeness(numbers: np.ndarray, reference: np.ndarray) -> float:
    """How near numbers (1, labels) are to a reference (labels,): 1 where equal, 0 where as far off as it is large."""
    size = float(np.abs(reference).mean()) or 1.0
    return max(0.0, 1.0 - float(np.abs(numbers[0] - reference).mean()) / size)


def score(logits: np.ndarray, reference: np.ndarray, multilabel: bool) -> float:
    """How good logits (1, classes, *sizes) are for a reference, from 0 to 1.

    Segmentation: the mean Dice of the labels that reference or prediction have. Classification: the probability of the
    right class.
    """
    values = logits[0].astype(np.float64)
    if multilabel:
        answer, truth = values > 0, np.moveaxis(reference == 1, -1, 0)
        known = np.moveaxis(reference != IGNORED, -1, 0)
    else:
        if reference.ndim == 0:
            probabilities = np.exp(values - values.max())
            return float(probabilities[int(reference)] / probabilities.sum())
        labels = np.arange(len(values)).reshape(-1, *[1] * reference.ndim)
        answer, truth = values.argmax(axis=0)[None] == labels, reference[None] == labels
        known = np.broadcast_to(reference[None] != IGNORED, truth.shape)
    axes = tuple(range(1, truth.ndim))
    sizes = ((answer & known).sum(axes) + (truth & known).sum(axes)).astype(float)
    there = sizes > 0
    return float((2 * (answer & truth & known).sum(axes)[there] / sizes[there]).mean()) if there.any() else 1.0


def _call(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The function that runs what NNCF passes: a compiled OpenVINO model or an ONNX model."""
    if hasattr(model, "SerializeToString"):
        import onnxruntime

        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda tile: np.asarray(session.run(None, {name: tile})[0])
    return lambda tile: np.asarray(model(tile)[0])
