"""Quality: predictions and references to per-case scores and one aggregate, named by its rule. numpy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoopt import stats
from autoopt.errors import BadData, Numeric, TrialError, WorkloadError
from autoopt.records import CaseScore, Quality
from autoopt.workload import Case, SplitName, Task, Workload

RULE = "mean over groups of the mean over cases"

CaseFunction = Callable[[np.ndarray], float | None]
"""One case's score from its confusion matrix, counts (references, predictions); None when it is not defined."""

SplitFunction = Callable[[np.ndarray, np.ndarray], float]
"""One score from all cases' references (cases,) and predictions (cases, classes), where a case alone has none."""


@dataclass(frozen=True)
class Metric:
    """A number from 0 to 1, larger is better: of each case, then aggregated by `RULE`, or of the whole split."""

    task: Task
    description: str
    of_case: CaseFunction | None = None
    of_split: SplitFunction | None = None


def dice_macro(confusion: np.ndarray) -> float | None:
    """The mean over all labels of Dice."""
    return _mean(_dice(confusion))


def dice_foreground(confusion: np.ndarray) -> float | None:
    """The mean over all labels but the first, the background, of Dice."""
    return _mean(_dice(confusion)[1:])


def iou_macro(confusion: np.ndarray) -> float | None:
    """The mean over all labels of intersection over union."""
    return _mean(_iou(confusion))


def iou_foreground(confusion: np.ndarray) -> float | None:
    """The mean over all labels but the first, the background, of intersection over union."""
    return _mean(_iou(confusion)[1:])


METRICS: dict[str, Metric] = {
    "dice_macro": Metric("segmentation", "mean Dice of all labels", dice_macro),
    "dice_foreground": Metric("segmentation", "mean Dice of the labels but the background", dice_foreground),
    "iou_macro": Metric("segmentation", "mean intersection over union of all labels", iou_macro),
    "iou_foreground": Metric(
        "segmentation", "mean intersection over union of the labels but the background", iou_foreground
    ),
}
"""Name to metric. A label that is in neither reference nor prediction of a case has no score there."""


def score(workload: Workload, split: SplitName, predictions: Sequence[np.ndarray]) -> Quality:
    """The quality of `predictions`, one per case of the split in its order, as `Pipeline.finish` gives them.

    Raises Numeric for a prediction of a wrong shape, with NaN or an unknown label, BadData for a case
    that cannot be read, WorkloadError for metrics that the task does not have.
    """
    metrics = _metrics(workload)
    cases = workload.splits[split]
    if len(predictions) != len(cases):
        raise Numeric(f"{split} needs one prediction for each of its {len(cases)} cases, got {len(predictions)}")
    references = [_reference(workload, case) for case in cases]
    checked = [_checked(workload, *item) for item in zip(cases, references, predictions, strict=True)]
    matrices = [
        confusion_matrix(reference, _labels(workload, prediction), len(workload.labels))
        for reference, prediction in zip(references, checked, strict=True)
    ]
    scores = [
        {name: metric.of_case(matrix) for name, metric in metrics.items() if metric.of_case is not None}
        for matrix in matrices
    ]
    values = {}
    for name, metric in metrics.items():
        if metric.of_split is not None:
            values[name] = metric.of_split(np.array(references), np.array(checked))
        else:
            values[name] = _aggregate(name, [item[name] for item in scores], cases)
    return Quality(
        split=split,
        primary=workload.metrics[0],
        rule=RULE,
        values=values,
        cases=tuple(CaseScore(case.id, case.group, item) for case, item in zip(cases, scores, strict=True)),
        undefined={name: sum(item[name] is None for item in scores) for name in (scores[0] if scores else ())},
    )


def confusion_matrix(reference: np.ndarray, prediction: np.ndarray, labels: int) -> np.ndarray:
    """Counts of (reference, prediction) pairs, int64 (labels, labels), of two integer arrays of one shape."""
    pairs = reference.astype(np.int64).ravel() * labels + prediction.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=labels * labels).reshape(labels, labels)


def _metrics(workload: Workload) -> Mapping[str, Metric]:
    fitting = [name for name, metric in METRICS.items() if metric.task == workload.task]
    problems = [
        f"{workload.name}: metric {name!r} is not one of a {workload.task} task: use {', '.join(fitting)}"
        for name in workload.metrics
        if name not in fitting
    ]
    if problems:
        raise WorkloadError(*problems)
    return {name: METRICS[name] for name in workload.metrics}


def _reference(workload: Workload, case: Case) -> np.ndarray:
    try:
        reference = np.asarray(case.read().reference)
    except TrialError:
        raise
    except Exception as error:  # the workload's own code: name the case, keep its traceback as the cause
        raise BadData(f"case {case.id} of {workload.name} cannot be read: {type(error).__name__}: {error}") from error
    labels = len(workload.labels)
    if reference.dtype.kind not in "bui" or reference.size == 0 or reference.min() < 0 or reference.max() >= labels:
        raise BadData(
            f"case {case.id} of {workload.name} must have whole numbers from 0 to {labels - 1} for its reference, "
            f"got {reference.dtype} {reference.shape}"
            + (f" from {reference.min()} to {reference.max()}" if reference.size else "")
        )
    return reference


def _checked(workload: Workload, case: Case, reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    prediction, labels = np.asarray(prediction), len(workload.labels)
    expected = reference.shape if workload.task == "segmentation" else (labels,)
    if prediction.shape != expected:
        raise Numeric(f"the prediction of case {case.id} must have shape {expected}, it has {prediction.shape}")
    if not np.isfinite(prediction).all():
        raise Numeric(f"the prediction of case {case.id} must be finite numbers, it has NaN or infinity")
    if workload.task == "segmentation" and (prediction.min() < 0 or prediction.max() >= labels):
        raise Numeric(
            f"the prediction of case {case.id} must have labels from 0 to {labels - 1}, "
            f"it has {prediction.min()} to {prediction.max()}"
        )
    return prediction


def _labels(workload: Workload, prediction: np.ndarray) -> np.ndarray:
    return prediction if workload.task == "segmentation" else np.asarray(prediction.argmax())


def _aggregate(name: str, values: Sequence[float | None], cases: Sequence[Case]) -> float:
    if all(value is None for value in values):
        raise BadData(f"{name} is not defined for any of the {len(values)} cases: their labels are all empty")
    return stats.mean_over_groups(values, [case.group for case in cases])


def _dice(confusion: np.ndarray) -> list[float | None]:
    hits, sizes = np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    return [float(2 * hit / size) if size else None for hit, size in zip(hits, sizes, strict=True)]


def _iou(confusion: np.ndarray) -> list[float | None]:
    hits = np.diag(confusion)
    unions = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return [float(hit / union) if union else None for hit, union in zip(hits, unions, strict=True)]


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
