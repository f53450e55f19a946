"""Quality: predictions and references to per-case scores and one aggregate, named by its rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from autoopt.core import stats
from autoopt.core.scores import DISAGREEMENT, CaseScore, Quality
from autoopt.core.store import Artifact
from autoopt.errors import BadData, Numeric, TrialError, WorkloadError
from autoopt.inference import grid
from autoopt.inference.postprocess import layers_of
from autoopt.measure.metrics import Compared, Metric, SplitFunction, metric_named, metrics_of
from autoopt.measure.own_scores import scoring
from autoopt.measure.pack import PackedReferences
from autoopt.workloads.checks import reference_problem
from autoopt.workloads.contract import IGNORED, Case, SplitName, Workload
from autoopt.workloads.own_metrics import OwnMetric

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
    label, BadData for a case that cannot be read, or scored by a metric of the user's own, WorkloadError for metrics
    that the task does not have.
    """
    now = ""  # the case that is being scored, for the message of a metric that fails
    metrics = chosen_metrics(workload, lambda: now)
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
        compared, now = _compared(workload, reference, affine, checked), case.id
        scores.append({name: item.of_case(compared) for name, item in metrics.items() if item.of_case is not None})
        if source is not None:
            scores[-1][DISAGREEMENT] = _disagreement(workload, checked, source[len(scores) - 1])
        if workload.task != "segmentation":
            references.append(reference)
            probabilities.append(checked)
    values, pseudo = {}, {}
    for name, metric in metrics.items():
        if metric.of_split is not None:
            values[name] = _of_split(metric.of_split, name, split, references, probabilities)
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
        cases=tuple(CaseScore(c.id, c.group, item, dict(c.tags)) for c, item in zip(cases, scores, strict=True)),
        undefined={name: sum(item[name] is None for item in scores) for name in (scores[0] if scores else ())},
        pseudo={name: item for name, item in pseudo.items() if item},
        errors=tuple(name for name, metric in metrics.items() if not metric.larger_is_better),
    )


def _of_split(
    function: SplitFunction, name: str, split: str, references: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> float:
    value = function(np.array(references), np.array(found))
    if not np.isfinite(value):
        count, what = len(references), "they, or what is predicted of them, are all alike"
        raise BadData(f"{name} is not defined on {split} with its {count} cases: {what}")
    return value


def chosen_metrics(workload: Workload, case: Callable[[], str] = lambda: "") -> Mapping[str, Metric]:
    """The workload's metrics by name, also those of the user's own. Raises WorkloadError for a name that is none.

    `case` gives the name of the case that is being scored, for the message of one of the user's own that fails.
    """
    own = {item.name: _of_own(item, workload, case) for item in workload.own_metrics}
    found = {name: own.get(name) or metric_named(name, workload.labels) for name in workload.metrics}
    fitting = ", ".join([*own, *metrics_of(workload.task)])
    problems = [
        f"{workload.name}: metric {name!r} is not one of a {workload.task} task: use {fitting}"
        for name, metric in found.items()
        if metric is None or metric.task != workload.task
    ]
    problems += [
        f"{workload.name}: a metric of your own must have a name of its own, {name!r} is the name of another metric"
        for name in own
        if metric_named(name, workload.labels) is not None
    ]
    if problems:
        raise WorkloadError(*problems)
    return {name: metric for name, metric in found.items() if metric is not None}


def try_own_metrics(workload: Workload) -> None:
    """Score cases of val with the metrics of the user's own: found exactly, not at all, and wrongly.

    The first case is scored, further ones until each metric was defined once. Raises WorkloadError for metrics that
    fail, and for those that are defined for no case, before they fail in every trial.
    """
    left = [item.name for item in workload.own_metrics if item.name in workload.metrics]
    cases = workload.splits.val
    for index, case in enumerate(cases):
        if not left:
            return
        reference, _ = _reference(workload, case)
        defined: set[str] = set()
        for prediction in (*predictions_of(workload, reference), _wrong(workload, reference)):
            try:
                defined |= set(score(replace(workload, metrics=tuple(left)), "val", [prediction], only=[index]).values)
            except BadData as error:
                raise WorkloadError(error.message) from error
        left = [name for name in left if name not in defined]
    if left and cases:
        raise WorkloadError(
            *(
                f"the metric {name} must give a number for a case of val, it gave None for all {len(cases)}, whether "
                "all is found, nothing, or something wrong: return None only where it is not defined"
                for name in left
            )
        )


def _wrong(workload: Workload, reference: np.ndarray) -> np.ndarray:
    """A prediction that finds what is not there: some metrics are defined only where something is wrong."""
    found, nothing = predictions_of(workload, reference)
    if workload.task == "segmentation" or workload.pipeline.activation == "sigmoid":
        return np.ones_like(nothing)
    return np.roll(found, 1)


def predictions_of(workload: Workload, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The prediction that a reference would have where all is found, and the one that finds nothing."""
    labels = len(workload.labels)
    if workload.task == "regression":
        return np.asarray(reference, np.float32), np.zeros(labels, np.float32)
    if workload.task == "segmentation" or workload.pipeline.activation == "sigmoid":
        found = np.where(reference == IGNORED, 0, reference).astype(np.uint8)
        return found, np.zeros_like(found)
    return np.eye(labels, dtype=np.float32)[int(reference) % labels], np.full(labels, 1 / labels, np.float32)


def primary_sign(workload: Workload) -> float:
    """-1 where less of the workload's primary metric is better, else 1. Raises WorkloadError for unknown metrics."""
    return 1.0 if chosen_metrics(workload)[workload.metrics[0]].larger_is_better else -1.0


def _of_own(own: OwnMetric, workload: Workload, case: Callable[[], str]) -> Metric:
    function = scoring(own, case)
    return Metric(workload.task, own.description, of_case=function, larger_is_better=own.larger_is_better)


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
    if workload.task == "regression":
        return Compared(np.asarray(reference, np.float64), prediction.astype(np.float64), len(workload.labels), False)
    probabilities = prediction if workload.task == "classification" else None
    if workload.task == "classification":
        prediction = (prediction > workload.pipeline.threshold) if multilabel else np.asarray(prediction.argmax())
    spacing = None if affine is None else grid.spacing_of(affine)
    decided = prediction.astype(np.uint8)
    return Compared(reference, decided, len(workload.labels), multilabel, spacing, probabilities)


def _disagreement(workload: Workload, prediction: np.ndarray, source: np.ndarray) -> float:
    """The share of voxels with another label than the source model gives; of a classification that of decisions.

    Of a regression the mean absolute difference of the numbers.
    """
    if workload.task == "regression":
        return float(np.mean(np.abs(prediction.astype(np.float64) - source)))
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
        raise BadData(
            f"{name} is not defined for any of the {len(values)} cases: their labels are all empty, or it returns None"
        )
    return stats.mean_over_groups(values, [case.group for case in cases])
