"""Quality: predictions and references to per-case scores and one aggregate, named by its rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from autoopt.core import stats
from autoopt.core.scores import DISAGREEMENT, CaseScore, Quality
from autoopt.core.store import Artifact
from autoopt.errors import BadData, Numeric, TrialError, WorkloadError
from autoopt.inference import grid
from autoopt.inference.postprocess import layers_of
from autoopt.measure.metrics import Compared, Metric, SplitFunction, metric_named, metrics_of
from autoopt.measure.pack import PackedReferences
from autoopt.workloads.checks import reference_problem
from autoopt.workloads.contract import Case, SplitName, Workload

RULE = "mean over groups of the mean over cases"

Reference = tuple[np.ndarray, np.ndarray | None]
"""The reference of a case and its affine."""


def score(
    workload: Workload,
    split: SplitName,
    predictions: Sequence[np.ndarray],
    source: Sequence[np.ndarray] | None = None,
    only: Sequence[int] | None = None,
    *,
    packed: Artifact | None = None,
) -> Quality:
    """The quality of `predictions`, one per case of the split in its order, as `Pipeline.finish` gives them.

    With the predictions of the `source` model beside them, the share in which they differ is one more metric. `only`
    are the indices of the cases that were predicted, by default all; with it, metrics of a whole split and those that
    are defined for none of the cases are left out. `packed` are the packed cases of the split: then the references come
    from there, and no case is decoded again. Raises Numeric for a prediction of a wrong shape, with NaN or an unknown
    label, BadData for a case that cannot be read, WorkloadError for metrics that the task does not have.
    """
    metrics = chosen_metrics(workload)
    every = workload.splits[split]
    indices = range(len(every)) if only is None else only
    cases = tuple(every[index] for index in indices)
    if only is not None:
        metrics = {name: metric for name, metric in metrics.items() if metric.of_case is not None}
        source = None if source is None else [source[index] for index in only]
    if len(predictions) != len(cases):
        raise Numeric(f"{split} needs one prediction for each of its {len(cases)} cases, got {len(predictions)}")
    scores: list[dict[str, float | None]] = []
    references, probabilities = [], []
    read = _references(workload, split, indices, packed)
    for case, prediction, (reference, affine) in zip(cases, predictions, read, strict=True):  # volumes are large
        checked = _checked(workload, case, reference, prediction)
        compared = _compared(workload, reference, affine, checked)
        scores.append({name: item.of_case(compared) for name, item in metrics.items() if item.of_case is not None})
        if source is not None:
            scores[-1][DISAGREEMENT] = _disagreement(workload, checked, source[len(scores) - 1])
        if workload.task == "classification":
            references.append(reference)
            probabilities.append(checked)
    values, pseudo = {}, {}
    for name, metric in metrics.items():
        if metric.of_split is not None:
            values[name] = metric.of_split(np.array(references), np.array(probabilities))
            if not np.isfinite(values[name]):
                raise BadData(f"{name} is not defined on {split}: its {len(cases)} cases are all of one class")
            pseudo[name] = _pseudo_values(metric.of_split, values[name], references, probabilities, cases)
        elif only is None or any(item[name] is not None for item in scores):
            values[name] = _aggregate(name, [item[name] for item in scores], cases)
    if source is not None:
        values[DISAGREEMENT] = _aggregate(DISAGREEMENT, [item[DISAGREEMENT] for item in scores], cases)
    return Quality(
        split=split,
        primary=workload.metrics[0],
        rule=RULE,
        values=values,
        cases=tuple(
            CaseScore(case.id, case.group, item, dict(case.tags)) for case, item in zip(cases, scores, strict=True)
        ),
        undefined={name: sum(item[name] is None for item in scores) for name in (scores[0] if scores else ())},
        pseudo={name: item for name, item in pseudo.items() if item},
    )


def chosen_metrics(workload: Workload) -> Mapping[str, Metric]:
    """The workload's metrics by name. Raises WorkloadError for a name that is none, or a primary one to minimise."""
    found = {name: metric_named(name, workload.labels) for name in workload.metrics}
    fitting = ", ".join(metrics_of(workload.task))
    problems = [
        f"{workload.name}: metric {name!r} is not one of a {workload.task} task: use {fitting}"
        for name, metric in found.items()
        if metric is None or metric.task != workload.task
    ]
    primary = found[workload.metrics[0]]
    if primary is not None and not primary.larger_is_better:
        problems.append(
            f"{workload.name}: the first metric must be one where more is better, {workload.metrics[0]} is not"
        )
    if problems:
        raise WorkloadError(*problems)
    return {name: metric for name, metric in found.items() if metric is not None}


def _references(
    workload: Workload, split: SplitName, indices: Sequence[int], packed: Artifact | None
) -> Iterator[Reference]:
    """The references of the cases with these indices, one after the other, because volumes are large."""
    cases = workload.splits[split]
    if packed is None:
        yield from (_reference(workload, cases[index]) for index in indices)
        return
    stored = PackedReferences(packed)
    if stored.ids != [case.id for case in cases]:
        raise ValueError(f"the packed cases must be those of {split} of {workload.name}, they are others")
    yield from (stored.read(index) for index in indices)


def _reference(workload: Workload, case: Case) -> Reference:
    try:
        sample = case.read()
        reference = np.asarray(sample.reference)
    except TrialError:
        raise
    except Exception as error:  # the workload's own code: name the case, keep its traceback as the cause
        raise BadData(f"case {case.id} of {workload.name} cannot be read: {type(error).__name__}: {error}") from error
    problem = reference_problem(workload, reference)
    if problem is not None:
        raise BadData(f"case {case.id} of {workload.name} {problem}")
    return reference, sample.affine


def _checked(workload: Workload, case: Case, reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    prediction, labels = np.asarray(prediction), len(workload.labels)
    if workload.pipeline.paint and prediction.shape == reference.shape[:-1]:
        prediction = layers_of(prediction, workload.pipeline)  # scored as the regions that it stands for
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


def _compared(workload: Workload, reference: np.ndarray, affine: np.ndarray | None, prediction: np.ndarray) -> Compared:
    multilabel = workload.pipeline.activation == "sigmoid"
    if workload.task == "classification":
        prediction = (prediction > workload.pipeline.threshold) if multilabel else np.asarray(prediction.argmax())
    spacing = None if affine is None else grid.spacing_of(affine)
    return Compared(reference, prediction.astype(np.uint8), len(workload.labels), multilabel, spacing)


def _disagreement(workload: Workload, prediction: np.ndarray, source: np.ndarray) -> float:
    """The share of voxels with another label than the source model gives; of a classification that of decisions."""
    if workload.task == "segmentation":
        return float(np.mean(prediction != source))
    if workload.pipeline.activation == "sigmoid":
        threshold = workload.pipeline.threshold
        return float(np.mean((prediction > threshold) != (source > threshold)))
    return float(prediction.argmax() != source.argmax())


def _pseudo_values(
    metric: SplitFunction,
    whole: float,
    references: Sequence[np.ndarray],
    probabilities: Sequence[np.ndarray],
    cases: Sequence[Case],
) -> dict[str, float]:
    """n times the metric less n - 1 times that without the group, for each of n groups; none where one is undefined."""
    owners = np.array([case.group for case in cases])
    groups = list(dict.fromkeys(case.group for case in cases))
    found = {}
    for group in groups if len(groups) > 1 else ():
        kept = np.flatnonzero(owners != group).tolist()
        without = metric(
            np.array([references[index] for index in kept]), np.array([probabilities[index] for index in kept])
        )
        if not np.isfinite(without):  # a class is in one group only
            return {}
        found[group] = len(groups) * whole - (len(groups) - 1) * without
    return found


def _aggregate(name: str, values: Sequence[float | None], cases: Sequence[Case]) -> float:
    if all(value is None for value in values):
        raise BadData(f"{name} is not defined for any of the {len(values)} cases: their labels are all empty")
    return stats.mean_over_groups(values, [case.group for case in cases])
