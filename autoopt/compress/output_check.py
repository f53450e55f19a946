"""Whether a model answers with what its pipeline takes its outputs for, judged by a few of its answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autoopt.errors import WorkloadError
from autoopt.inference.pipeline_checks import probability_problem
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import MODEL
from autoopt.workloads.models import checkpoint, onnx_file

SUM_SLACK = 1e-4
"""How far the probabilities of all classes may be from one in sum, in float32."""
LEAST_SPREAD = 0.1
"""Outputs that differ by less say nothing: those of a network that was not trained may all lie near zero."""


def check(workload: Workload, answers: Mapping[str, np.ndarray]) -> None:
    """Raise WorkloadError where `answers` of the model, (n, classes[, *sizes]) each, show that it answers otherwise.

    Outputs that sum to one over the classes are probabilities, unless the option `output` says that they are logits.
    """
    for outputs in answers.values():
        problem = probability_problem(workload.pipeline, outputs)
        if problem is not None:
            raise WorkloadError(
                f"the model of {workload.name} {problem}: give --option output=logits if they are logits"
            )
    if _is_open(workload) and answers and all(_sum_to_one(outputs) for outputs in answers.values()):
        raise WorkloadError(
            f"the model of {workload.name} must answer with logits, its outputs lie between 0 and 1 and sum to one "
            f"as probabilities do: {_remedy(workload)}"
        )


def remarks(workload: Workload, answers: Mapping[str, np.ndarray]) -> list[str]:
    """What users should be told of outputs that may be probabilities, though nothing says so."""
    low, high = (min(map(np.min, answers.values()), default=0), max(map(np.max, answers.values()), default=0))
    if not _is_open(workload) or low < 0 or high > 1 or high - low < LEAST_SPREAD:
        return []
    text = (
        f"the outputs of the model of {workload.name} lie between {low:.3g} and {high:.3g} on noise and on a training "
        f"case, and are taken for logits; if they are probabilities, {_remedy(workload)}"
    )
    return [text]


def _is_open(workload: Workload) -> bool:
    """Whether outputs are taken for logits though nobody said that they are."""
    said = workload.origin is not None and workload.origin.options.get("output") in onnx_file.MEANINGS
    return workload.pipeline.output == "logits" and workload.task != "regression" and not said


def _sum_to_one(outputs: np.ndarray) -> bool:
    return bool(outputs.min() >= 0 and np.abs(outputs.sum(axis=1) - 1).max() <= SUM_SLACK)


def _remedy(workload: Workload) -> str:
    source = "" if workload.origin is None else workload.origin.source
    model = source.removeprefix(MODEL)
    if source != model and (onnx_file.matches(model) or checkpoint.matches(model)):
        return "give --option output=probabilities (output=logits if they are none)"
    return "take the softmax or sigmoid at its end out of the network, the pipeline does it"
